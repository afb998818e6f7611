"""Generated policies on a real Cilium, and packets that try whether the matcher says the same."""
