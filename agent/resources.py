"""What the agent asks the API server for: one resource a kind, and the right each one needs. Pure.

`examples/kubernetes/agent-rbac.yaml` grants exactly this; a test holds the two together.
"""

from dataclasses import dataclass

SYSTEM_NAMESPACE = "kube-system"
CILIUM_GROUP = "cilium.io"
VERBS = ("list", "watch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One kind of objects, as it is asked for."""

    kind: str
    group: str = ""
    versions: tuple[str, ...] = ("v1",)
    """Those that can be read, the best first; which of them is served has to be found out."""
    plural: str
    namespace: str = ""
    """The one namespace that is of interest; all where it is empty."""
    name: str = ""
    """The one object that is of interest; all where it is empty."""
    field_selector: str = ""
    page: int = 500
    is_optional: bool = False
    """Whether its definition may be missing."""

    def path(self, version: str) -> str:
        """Return where its list is."""
        root = f"/apis/{self.group}/{version}" if self.group else f"/api/{version}"
        scope = f"/namespaces/{self.namespace}" if self.namespace else ""
        return f"{root}{scope}/{self.plural}"

    def selection(self) -> dict[str, str]:
        """Return the query that picks what is of interest."""
        selector = f"metadata.name={self.name}" if self.name else self.field_selector
        return {"fieldSelector": selector} if selector else {}

    def rule(self) -> str:
        """Return the rule of a role that is needed, as it stands in a manifest."""
        named = f", resourceNames: [{self.name}]" if self.name else ""
        return (
            f'{{apiGroups: ["{self.group}"], resources: [{self.plural}]{named}, '
            f"verbs: [{', '.join(VERBS)}]}}"
        )

    def missing_right(self, verb: str) -> str:
        """Return what to say where that right is missing."""
        what = f"{self.plural}.{self.group}" if self.group else self.plural
        role = f"a Role in namespace {self.namespace}" if self.namespace else "its ClusterRole"
        return f"may not {verb} {what}: {role} needs the rule {self.rule()}"


POD = Resource(
    kind="Pod",
    plural="pods",
    # A finished pod has no endpoint any longer.
    field_selector="status.phase!=Succeeded,status.phase!=Failed",
    page=250,
)
NAMESPACE = Resource(kind="Namespace", plural="namespaces")
_CILIUM = ("v2", "v2alpha1")
OBJECTS = (
    NAMESPACE,
    Resource(
        kind="CiliumNetworkPolicy",
        group=CILIUM_GROUP,
        versions=_CILIUM,
        plural="ciliumnetworkpolicies",
        page=250,
        is_optional=True,
    ),
    Resource(
        kind="CiliumClusterwideNetworkPolicy",
        group=CILIUM_GROUP,
        versions=_CILIUM,
        plural="ciliumclusterwidenetworkpolicies",
        page=250,
        is_optional=True,
    ),
    Resource(
        kind="CiliumCIDRGroup",
        group=CILIUM_GROUP,
        versions=_CILIUM,
        plural="ciliumcidrgroups",
        page=100,
        is_optional=True,
    ),
    Resource(kind="NetworkPolicy", group="networking.k8s.io", plural="networkpolicies"),
    Resource(kind="Service", plural="services"),
    Resource(kind="EndpointSlice", group="discovery.k8s.io", plural="endpointslices"),
)
"""What is published as it is, trimmed."""


def cilium_config(namespace: str, name: str) -> Resource:
    """Return the ConfigMap that holds the options of Cilium."""
    return Resource(kind="ConfigMap", plural="configmaps", namespace=namespace, name=name)
