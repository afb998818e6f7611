"""Manifests spoilt at some places, out of a row of choices: what people and broken tools write."""

import json
from typing import Any

from tests.policies.generating import Below


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


JUNK = _words(
    r"""
    null true false 0 1 -1 8 255 256 65535 65536 2147483648 -9223372036854775808 1.5 1e400 {} []
    "" "\u0020" "*" "**." "." "-" "a.b" "A" "\u0663" "\ud800" "\u0000" "a\nb" "+1" "0x50" "8_0" "010"
    "0" "65536" "99999999999999999999" "http" "-http" "a--b" "TCP" "tcp" "any" "ICMP" "VRRP" "IPv6"
    "EchoRequest" "Exists" "In" "NotIn" "10.0.0.0/8" "10.0.0.1" "10.0.0.0/33" "::/0" "1.2.3/8" "/8"
    "::ffff:1.2.3.4/96" "reserved:host" "k8s:a" "any:a" ":" "$host" "a=b" "a/b/c" "a/b" "reserved.x"
    "io.cilium.k8s.policy.cluster" "all" "none" "world-ipv4" "(" "[a" "(?i)a" "\\C" "a{2000}" "X:y"
    "required" "produce" "fetch" "5/1m" "1h" "critical" "https://x/" "subject,peer" "Ingress" "LOG"
    [null] [{}] [""] {"a":"b"} {"a":null} {"matchLabels":{"a":"b"}} {"name":"a"} {"ports":null}
    {"matchExpressions":[{"key":"a","operator":"In","values":[]}]} [[[[[[[[]]]]]]]] ["a","a"]
    {"ports":[{"port":"80","protocol":"TCP"}]} {"http":[{"path":"/","method":"GET"}]} {"http":[]}
    [{"ports":[{"port":"53"}],"rules":{"dns":[{"matchPattern":"*"}]}}] {"l7proto":"x","l7":[{"a":"b"}]}
    {"kafka":[{"role":"produce","topic":"t"}]} [{"cidr":"10.0.0.0/8","except":["11.0.0.0/8"]}]
    {"secret":{"name":"s"}} {"envoyConfig":{"name":"e"},"name":"l"} {"type":"EchoRequest"}
    """
)
"""As JSON."""
KEYS = _words(
    """
    spec specs ingress egress ingressDeny egressDeny fromEndpoints toEndpoints fromCIDR toCIDRSet
    toServices toNodes fromGroups toFQDNs toPorts icmps fields rules http dns kafka l7 l7proto
    serverNames listener terminatingTLS headers headerMatches mismatch secret name value path method
    host role apiKey apiVersion topic clientID matchName matchPattern port endPort protocol family
    type matchLabels matchExpressions key operator values cidr cidrGroupRef cidrGroupSelector except
    k8sService k8sServiceSelector endpointSelector nodeSelector enableDefaultDeny description
    authentication mode namespace serviceName selector annotations labels metadata kind podSelector
    namespaceSelector ipBlock policyTypes from to ports app.gitlab.com/alert app.gitlab.com/proj
    picket.dev/severity picket.dev/threshold picket.dev/group-by picket.dev/runbook
    picket.dev/resolve-after a.b [0]
    """
)
_DEEPEST = 12
_LONGEST = 41


def spoil(value: Any, below: Below) -> Any:
    """The same with one place changed, in place where it can be; returns what stands there now."""
    place = _place(value, below)
    if place is None:
        return _junk(below)
    holder, key = place
    inner = holder[key]
    kind = below(8)
    if kind == 0 and isinstance(holder, dict):
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[KEYS[below(len(KEYS))]] = inner
    elif kind == 2 and isinstance(inner, dict):
        inner[KEYS[below(len(KEYS))]] = _junk(below)
    elif kind == 3 and isinstance(inner, list):
        # Long lists of small things only: an input must stay quick.
        inner.extend(inner[:1] * (below(_LONGEST) if key in ("ports", "fields") else 1))
    elif kind == 4 and isinstance(inner, str):
        holder[key] = inner + str(_junk(below)) * (1 + below(2) * 99)
    else:
        holder[key] = _junk(below)
    return value


def _junk(below: Below) -> Any:
    return json.loads(JUNK[below(len(JUNK))])


def _place(value: Any, below: Below) -> tuple[Any, Any] | None:
    """Some place within, as what holds it and its key there; None where nothing is within."""
    found = None
    for _ in range(_DEEPEST):
        if not isinstance(value, dict | list) or not value or (found and below(5) == 4):
            break
        keys = list(value) if isinstance(value, dict) else range(len(value))
        found = (value, keys[below(len(keys))])
        value = value[found[1]]
    return found
