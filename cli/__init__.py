"""The command `picket`: the only reader of the environment and of signals."""
