"""Cilium's ConfigMap as an AgentOptions object: the options that change verdicts. Pure.

The agents of Cilium read it when they start: a change holds from their restart on, which nobody
tells. What a value means where it is absent is written in policies.options.
"""

from typing import Any, Final

from agent import kinds, plan, shaping, versions
from policies import identitylabels

KIND: Final = "AgentOptions"
API_VERSION: Final = "picket.dev/v1"
LABELS: Final = "labels"

_TEXTS: Final = {
    "cluster-name": "clusterName",
    "enable-policy": "enablePolicy",
    "allow-localhost": "allowLocalhost",
}
_SWITCHES: Final[dict[str, tuple[str, bool | None]]] = {
    "policy-default-local-cluster": ("policyDefaultLocalCluster", None),
    # The matching assumes it on where nothing is known; where there is a ConfigMap, Cilium is
    # without it unless the ConfigMap says so.
    "enable-host-firewall": ("enableHostFirewall", False),
    "enable-node-selector-labels": ("enableNodeSelectorLabels", None),
}
"""The name in our object, and what is true where the ConfigMap does not say."""
_WORDS: Final = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False", ""), False),
}


def wanted(name: str, config: shaping.Config) -> tuple[kinds.Identity, plan.Wanted]:
    """Return the object and which it is."""
    spec: dict[str, Any] = {}
    for key, ours in _TEXTS.items():
        if text := config.data.get(key, "").strip():
            # Only of names case is a part.
            spec[ours] = text if key == "cluster-name" else text.lower()
    for key, (ours, absent) in _SWITCHES.items():
        value = _WORDS.get(config.data[key].strip()) if key in config.data else absent
        if value is not None:
            spec[ours] = value
    manifest = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name},
        "spec": spec,
    }
    return identity(name), plan.Wanted(
        manifest=manifest,
        meaning=versions.meaning(manifest),
        changed_at=config.changed_at,
        created_at=config.created_at,
    )


def identity(name: str) -> kinds.Identity:
    """Return which object it is."""
    return kinds.Identity(KIND, "", name)


def unread(config: shaping.Config) -> list[str]:
    """Return the names of options whose values are not understood."""
    return [key for key in _SWITCHES if config.data.get(key, "").strip() not in _WORDS]


def labels(config: shaping.Config | None) -> identitylabels.LabelFilter:
    """Return which labels identities have. Raises identitylabels.Unusable."""
    return identitylabels.parse(config.data.get(LABELS, "") if config else "")
