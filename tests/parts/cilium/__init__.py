"""A real Cilium with eBPF on nodes that are network namespaces of this machine, with relay."""
