"""What the schema of Cilium's CRDs refuses: the API server, before any agent sees the object."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from policies import crd
from policies.linting import engine, kubernetes
from policies.linting.findings import Finding, Rule, Severity

REFUSED: Final = Rule(
    id="refused-by-schema",
    severity=Severity.ERROR,
    what="The schema of Cilium's CRD refuses the policy.",
    why="The API server never stores it, so `kubectl apply` or the sync from Git fails.",
    mend="Follow the message; the path says which value is not taken.",
    wrong="""\
        ingress:
          - toPorts:
              - ports:
                  - port: "80"
                    protocol: tcp
        """,
    right="""\
        ingress:
          - toPorts:
              - ports:
                  - port: "80"
                    protocol: TCP
        """,
)

_REQUIRES: Final = frozenset({"fromRequires", "toRequires"})
_GONE: Final = "Cilium 1.19 has no requirements any more: say it in the selectors of the rules"
_ENUM: Final = re.compile(r"must be one of (.*), not '(.*)'\Z")
_FIELDS: Final = dict.fromkeys(
    (
        *("spec", "specs", "endpointSelector", "nodeSelector", "ingress", "ingressDeny"),
        *("egress", "egressDeny", "enableDefaultDeny", "description", "labels", "log"),
        *("fromEndpoints", "fromEntities", "fromCIDR", "fromCIDRSet", "fromGroups", "fromNodes"),
        *("toEndpoints", "toEntities", "toCIDR", "toCIDRSet", "toGroups", "toNodes"),
        *("toFQDNs", "toServices", "toPorts", "icmps", "authentication", "mode"),
        *("ports", "port", "endPort", "protocol", "rules", "http", "dns", "kafka", "l7", "l7proto"),
        *("serverNames", "listener", "terminatingTLS", "originatingTLS", "matchLabels"),
        *("matchExpressions", "key", "operator", "values", "matchName", "matchPattern"),
        *("cidr", "except", "cidrGroupRef", "cidrGroupSelector", "fields", "family", "type"),
        *("k8sService", "k8sServiceSelector", "serviceName", "namespace", "selector"),
        *("path", "method", "host", "headers", "headerMatches", "mismatch", "value", "secret"),
    ),
    "",
)
_MEANT: Final = {
    "podSelector": "endpointSelector",
    "from": "fromEndpoints",
    "to": "toEndpoints",
    "fromPorts": "toPorts, on ingress too",
    "matchLabel": "matchLabels",
    "toFQDN": "toFQDNs",
    "ipBlock": "fromCIDRSet or toCIDRSet",
}
_ADVICE: Final = {
    "policyTypes": (
        "a CiliumNetworkPolicy has none: a direction with rules denies by default;"
        " `ingress: [{}]` alone denies all"
    ),
    "fromFQDNs": "names are for egress only: toFQDNs",
    "fromServices": "services are for egress only: toServices",
    "namespaceSelector": (
        "choose a namespace in fromEndpoints: matchLabels: k8s:io.kubernetes.pod.namespace"
    ),
}


def check(manifest: Mapping[str, Any]) -> Iterator[Finding]:
    """What the CRD side refuses; nothing for kinds that have no CRD of Cilium's."""
    for found in crd.check(manifest):
        if found.stage is crd.Stage.UNKNOWN_FIELD:
            name = str(found.path[-1]) if found.path else ""
            hint = _ADVICE.get(name) or kubernetes.meant(name, _FIELDS, _MEANT)
            yield kubernetes.unknown(found.path, hint)
        else:
            hint = _GONE if _REQUIRES.intersection(found.path) else _hint(found.message)
            yield Finding(rule=REFUSED, path=found.path, message=found.message, hint=hint)


def _hint(message: str) -> str:
    if message.startswith("must be a string, not a") and not message.endswith(("list", "object")):
        return "write it in quotes"
    if found := _ENUM.match(message):
        return engine.close(found[2], found[1].split(", "))
    return ""
