"""Whatever a manifest holds, it is taken or refused, and never a fault."""

import contextlib
import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from policies.flows import Direction, Protocol
from policies.labels import LabelSet
from policies.parsing import PolicyRejected
from policies.repository import Repository
from tests.policies.builders import a_network_policy, a_policy, a_query

FULL = a_policy(
    labels={"app.gitlab.com/proj": "1"},
    annotations={"app.gitlab.com/alert": "true", "picket.dev/threshold": "5/1m"},
    ingress=[
        {
            "fromEndpoints": [
                {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}
            ],
            "toPorts": [
                {
                    "ports": [{"port": "80", "endPort": 90, "protocol": "TCP"}],
                    "rules": {"http": [{"path": "/", "headers": ["X-A b"], "host": "h"}]},
                }
            ],
        },
        {"fromCIDRSet": [{"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}]},
        {"icmps": [{"fields": [{"type": "EchoRequest", "family": "IPv6"}]}]},
    ],
    ingressDeny=[{"fromEntities": ["world"]}],
    egress=[
        {"toFQDNs": [{"matchPattern": "*.example.com"}]},
        {"toServices": [{"k8sService": {"serviceName": "s", "namespace": "n"}}]},
        {"toCIDR": ["2001:db8::/32"], "authentication": {"mode": "required"}},
        {"toPorts": [{"ports": [{"port": "53"}], "rules": {"dns": [{"matchName": "a.b"}]}}]},
    ],
    enableDefaultDeny={"ingress": True},
)
PLAIN = a_network_policy(
    policyTypes=["Ingress"],
    ingress=[
        {
            "from": [{"podSelector": {}, "namespaceSelector": {}}, {"ipBlock": {"cidr": "::/0"}}],
            "ports": [{"port": "http", "protocol": "TCP"}, {"port": 1, "endPort": 2}],
        }
    ],
)
FACTS = [
    {"kind": "Service", "metadata": {"name": "s"}, "spec": {"selector": {"a": "b"}}},
    {"kind": "EndpointSlice", "metadata": {"name": "s"}, "endpoints": [{"addresses": ["::1"]}]},
    {"kind": "CiliumCIDRGroup", "metadata": {"name": "g"}, "spec": {"externalCIDRs": ["::/0"]}},
    {
        "kind": "NamedPorts",
        "metadata": {"namespace": "n"},
        "spec": {"pods": [{"labels": {"a": "b"}, "ports": [{"name": "x", "port": 1}]}]},
    },
    {"kind": "AgentOptions", "spec": {"enablePolicy": "always", "clusterName": "c"}},
]
junk = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(),
        st.text(alphabet=st.characters(categories=["Cs"]), min_size=1, max_size=2),
        st.sampled_from(["", "*", "10.0.0.0/8", "http", "80", "In", "all", "::/129", "٣"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.text(max_size=5), st.integers()), inner, max_size=3),
    ),
    max_leaves=5,
)


def _paths(value: Any, path: tuple = ()) -> list[tuple]:
    found = [path] if path else []
    entries = value.items() if isinstance(value, dict) else []
    if isinstance(value, list):
        entries = enumerate(value)
    for key, inner in entries:
        found += _paths(inner, (*path, key))
    return found


def _with(manifest: dict, path: tuple, value: Any) -> dict:
    changed = copy.deepcopy(manifest)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed


damaged = st.sampled_from([FULL, PLAIN, *FACTS]).flatmap(
    lambda manifest: st.builds(
        lambda path, value: _with(manifest, path, value), st.sampled_from(_paths(manifest)), junk
    )
)


@settings(max_examples=200, deadline=None)
@given(damaged)
def test_a_damaged_object_is_taken_or_refused(manifest):
    """And what is taken can be asked."""
    repository = Repository()
    with contextlib.suppress(PolicyRejected):
        repository.apply("k", manifest, since=None)
    subject = repository.subject(LabelSet.of(["k8s:app=web"])).newest
    subject.port_class(Direction.INGRESS, Protocol.TCP, 80)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.text(max_size=12), max_size=4),
    st.text(max_size=12),
    st.sampled_from(list(Protocol)),
    st.integers(0, 2**32 - 1),
)
def test_whatever_a_flow_says_has_an_answer(labels, ip, protocol, port):
    """Labels without a source, addresses that are none, ports beyond all ports."""
    repository = Repository()
    repository.apply("k", a_policy(subject={}, ingress=FULL["spec"]["ingress"]), since=None)
    peer = LabelSet.of(labels)
    subject = repository.subject(peer).newest
    query = a_query(peer, ip=ip, protocol=protocol, port=port)
    assert subject.port_class(query.direction, protocol, port) >= 0
    assert isinstance(subject.cidr_class(query.direction, ip), str)
