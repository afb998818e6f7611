"""Objects as one applies them to an API server, one of each kind that the agent reads."""


def a_namespace(name, **labels):
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def a_cnp(namespace, name="web", *, app="web", peer="api", **metadata):
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "spec": {
            "endpointSelector": {"matchLabels": {"app": app}},
            "ingress": [{"fromEndpoints": [{"matchLabels": {"app": peer}}]}],
        },
    }


def a_ccnp(name):
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumClusterwideNetworkPolicy",
        "metadata": {"name": name},
        "spec": {"endpointSelector": {"matchLabels": {"app": "nobody"}}, "egress": [{}]},
    }


def a_network_policy(namespace, name="web"):
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"]},
    }


def a_cidr_group(name):
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumCIDRGroup",
        "metadata": {"name": name},
        "spec": {"externalCIDRs": ["10.1.0.0/16"]},
    }


def a_service(namespace, name="web", *, selector=None):
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace, "annotations": {"secret": "x"}},
        "spec": {"ports": [{"port": 80}], **({"selector": selector} if selector else {})},
    }


def an_endpoint_slice(namespace, name="web-1", *, addresses=("10.0.0.1",)):
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"kubernetes.io/service-name": "web"},
        },
        "addressType": "IPv4",
        "endpoints": [
            {"addresses": [address], "conditions": {"ready": True}} for address in addresses
        ],
    }


def a_pod(namespace, name="web-1", *, app="web", port=8080, port_name="http", **labels):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"app": app, "pod-template-hash": name, **labels},
        },
        "spec": {
            "nodeName": "none",
            "containers": [
                {
                    "name": "c",
                    "image": "i",
                    "ports": [{"name": port_name, "containerPort": port, "protocol": "TCP"}],
                    "env": [{"name": "PASSWORD", "value": "secret"}],
                }
            ],
        },
    }


def a_cilium_config(name="cilium-config", **data):
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "kube-system"},
        "data": {key.replace("_", "-"): value for key, value in data.items()},
    }
