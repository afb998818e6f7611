"""A real Kubernetes control plane: etcd, the API server, and on demand controllers and fake nodes.

Modules are imported one by one: `plane` runs it, `programs` builds it, `crds` has Cilium's kinds,
`fakes` has nodes without a kubelet, `fixtures` is the pytest plugin.
"""
