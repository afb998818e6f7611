"""Any JSON, and policies spoilt at some places: a policy comes of it, or one clear refusal."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from policies import parsing
from policies.decoding import PolicyRejected
from policies.model import KINDS, Policy
from policies.repository import Repository
from tests.fuzz import corpora, spoiling
from tests.policies import generating
from tests.policies.builders import a_network_policy, a_policy
from tests.policies.generating import FACTS, WEB

_JSON = 0
_OPTIONS = {"kind": "AgentOptions", "spec": {"enablePolicy": "default", "clusterName": "c1"}}
_TUNING = {
    "severity": ("high", "worst"),
    "threshold": ("5/1m", "5", "0/1m", "x/1m"),
    "group-by": ("subject", "subject,peer", "nobody"),
    "runbook": ("https://x/", "no address"),
    "resolve-after": ("1h", "10", "-1s"),
}
_REQUESTS: tuple[dict[str, Any], ...] = (
    {"kafka": [{"role": "fetch", "topic": "a/b"}]},
    {"kafka": [{"role": "consume", "apiKey": "fetch"}]},
    {"kafka": [{"apiKey": "fetch", "apiVersion": "x"}]},
    {"kafka": [{"apiKey": "fetch", "apiVersion": "3", "topic": "t", "clientID": "c"}]},
    {"kafka": [{"apiKey": "none"}]},
    {"kafka": [{"role": "produce", "topic": "t" * 300}]},
    {"http": [{"headerMatches": [{"name": "X", "mismatch": "ADD"}, {"name": "Y", "value": "v"}]}]},
    {"http": [{"headerMatches": [{"name": "X", "secret": {"name": "s"}}]}]},
    {"http": [{"headerMatches": [{"name": "X", "secret": {"namespace": "s"}}]}]},
    {"http": [{"headerMatches": [{"name": "X", "mismatch": "DROP"}]}]},
    {"http": [{"headerMatches": [{"value": "x"}], "headers": ["A", "B: c"], "host": "h"}]},
    {"http": [{}], "dns": [{"matchName": "a"}]},
    {"dns": [{"matchName": "a", "matchPattern": "*"}]},
    {"l7proto": "x", "l7": [{"a": "b"}]},
    {"l7": [{"a": "b"}]},
    {"http": [{"path": "/a/*", "method": "get", "host": "*.b"}, {"path": "a|b"}, {"path": "^c"}]},
)
"""What rules may ask of requests, some of it refused."""
_LISTENER = {"envoyConfig": {"name": "e"}, "name": "l"}
_PROXIES: tuple[dict[str, Any], ...] = (
    {"listener": _LISTENER},
    {"listener": _LISTENER, "rules": {"http": [{}]}},
    {"serverNames": ["a.b", ""]},
    {"serverNames": ["a.b"], "rules": {"http": [{}]}},
    {"terminatingTLS": {"secret": {"name": "s"}}, "rules": {"http": [{"host": "h"}]}},
)
"""What else hands traffic to a proxy."""
_LEFT_ALONE: tuple[dict[str, Any], ...] = (
    {"labels": [{"key": "a", "source": "k8s", "value": "b"}, "k8s:a=b"], "log": {"value": "x"}},
    {"labels": [""]},
    {"labels": [{"source": "k8s"}]},
    {"labels": [5]},
    {"description": 5},
    {"ingress": [{"fromGroups": [{"aws": {"region": "r", "labels": {"a": "b"}}}]}]},
    {"ingress": [{"fromGroups": [{"aws": {"securityGroupsIds": ["i"]}}, {"aws": {"region": 1}}]}]},
    {"egress": [{"toServices": [{}]}]},
)
"""What says nothing about who may talk to whom, or hardly anything."""
_SELECTORS: tuple[Any, ...] = (
    {"matchLabels": {"a": "b c"}},
    {"matchLabels": {"a b": "c", "io.kubernetes.pod.namespace": "not one"}},
    {"matchExpressions": [{"key": "a", "operator": "In"}]},
    {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]},
    {"matchExpressions": [{"key": "a", "operator": "exists"}]},
    {"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["b", "c d"]}]},
    {"matchExpressions": [{"key": "-a", "operator": "Gt"}, {"key": 5}]},
    {"matchExpressions": [{"key": "kind", "operator": "DoesNotExist"}]},
    {"matchLabels": {"reserved:all": "", "kind": "one"}},
)
_PEERS: tuple[Any, ...] = (
    *(
        {},
        None,
        {"ipBlock": {"cidr": "10.0.0.1"}},
        {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["::/0"]}},
    ),
    {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16", "x"]}, "podSelector": {}},
    {"podSelector": {}, "namespaceSelector": {"matchLabels": {"team": "b c"}}},
)
_KUBERNETES_PORTS: tuple[Any, ...] = (
    *({"port": 70_000}, {"port": "80"}, {"port": "a--b"}, {"port": "web", "endPort": 90}),
    *(
        {"port": 90, "endPort": 80},
        {"endPort": 9},
        {"port": 1, "endPort": 70_000},
        {"protocol": "tcp"},
    ),
)
_PORTS = [{"port": "443", "protocol": "TCP"}, {"port": "53"}]
_POLICIES = tuple(KINDS)
_OTHERS = (*FACTS, _OPTIONS)


def one(data: bytes) -> None:
    """Take one input: its first byte says whether the rest is JSON or choices."""
    for manifest in manifests(data):
        if isinstance(manifest, dict):
            take(manifest, thoroughly=len(data) % 8 == 0)


def manifests(data: bytes) -> Iterator[Any]:
    """What these bytes stand for."""
    if data[:1] == bytes([_JSON]):
        with contextlib.suppress(ValueError, RecursionError):
            yield json.loads(data[1:])
        return
    generator = generating.out_of(data[1:])
    if generator.maybe(8):
        made: Any = json.loads(json.dumps(generator.one(_OTHERS)))
    else:
        made = generator.policy("p")
        if generator.maybe():
            made["metadata"]["annotations"] = {
                f"picket.dev/{key}": generator.one(values) for key, values in _TUNING.items()
            } | {"app.gitlab.com/alert": "true"}
    for _ in range(generator.below(4)):
        made = spoiling.spoil(made, generator.below)
    yield made


def take(manifest: dict[str, Any], *, thoroughly: bool) -> None:
    """Parse it; see that a refusal says something and a policy can be asked."""
    policy = _parsed(manifest)
    if policy is not None:
        assert not thoroughly or policy == parsing.parse(manifest, node_selector_labels=True)
        for rule in policy.rules:
            for entry in (*rule.ingress.allow, *rule.ingress.deny, *rule.egress.allow):
                assert all(str(peer) for peer in entry.peers or ()), "a peer without a name"
    if thoroughly or manifest.get("kind") not in _POLICIES:
        repository = Repository()
        with contextlib.suppress(PolicyRejected):
            repository.apply("k", manifest, since=None)
        assert repository.subject(WEB).newest.version > 0


def _parsed(manifest: dict[str, Any]) -> Policy | None:
    try:
        return parsing.parse(manifest, node_selector_labels=True)
    except PolicyRejected as error:
        refused = error
    assert refused.message, "a refusal without a word"
    assert str(refused).startswith(refused.path)
    return None


def _written() -> Iterator[Any]:
    """Policies with what the generator leaves out."""
    for spec in _LEFT_ALONE:
        yield a_policy(ingress=[{}]) | {"spec": {"endpointSelector": {}, "ingress": [{}], **spec}}
    for selector in _SELECTORS:
        yield a_network_policy(
            podSelector=selector, ingress=[{"from": [{"podSelector": selector}]}]
        )
        block = {"cidrGroupSelector": selector}
        yield a_policy(
            subject=selector, egress=[{"toCIDRSet": [block]}, {"toEndpoints": [selector]}]
        )
    for peer in _PEERS:
        yield a_network_policy(egress=[{"to": [peer], "ports": [{"port": 80}]}])
    for port in _KUBERNETES_PORTS:
        yield a_network_policy(egress=[{"ports": [port]}])


def seeds() -> Iterator[bytes]:
    """Policies as JSON, and rows of choices."""
    for manifest in corpora.policies():
        yield bytes([_JSON]) + json.dumps(manifest).encode()
    for asked in (*({"rules": rules} for rules in _REQUESTS), *_PROXIES):
        for direction in ("ingress", "egress"):
            for ports in (_PORTS[:1], _PORTS):
                manifest = a_policy(**{direction: [{"toPorts": [{"ports": ports, **asked}]}]})
                yield bytes([_JSON]) + json.dumps(manifest).encode()
            spec = manifest["spec"]
            spec["nodeSelector"] = spec.pop("endpointSelector")
            manifest |= {"kind": "CiliumClusterwideNetworkPolicy", "metadata": {"name": "p"}}
            yield bytes([_JSON]) + json.dumps(manifest).encode()
    for manifest in _written():
        yield bytes([_JSON]) + json.dumps(manifest).encode()
    for choices in corpora.choices(2):
        yield b"\1" + choices
