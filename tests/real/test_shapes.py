"""The flows of synthetic nodes look as those of real agents do: the same fields, class by class."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

import pytest
from google.protobuf.message import Message

from tests.parts.cilium import standard
from tests.parts.cilium.cluster import Cluster
from tests.parts.cilium.standard import Cast
from tests.parts.synthetic import mix
from tests.real.test_traffic import ALLOWED, ONE_PACKET, STOPPED
from tests.real.watching import Flow, named, watching

pytestmark = [pytest.mark.cilium, pytest.mark.xdist_group("cilium"), pytest.mark.timeout(120)]

LOCAL = ("ID", "workloads")
"""What an endpoint tells on its own node only."""
MADE_LATER = {"time", "uuid", "node_name"}
"""What a synthetic node adds as it writes."""


def kind(flow: Flow) -> tuple:
    """Return the class of a flow."""
    return (
        flow.event_type.type,
        flow.verdict,
        flow.drop_reason_desc,
        flow.traffic_direction,
        flow.l4.WhichOneof("protocol"),
        flow.l7.type,
        bool(named(flow.source)),
        named(flow.destination) == "world",
    )


def fields(message: Message, prefix: str = "") -> Iterator[str]:
    """Yield the paths of all fields that are set."""
    for field, value in message.ListFields():
        yield f"{prefix}{field.name}"
        if field.name not in LOCAL and isinstance(value, Message):
            yield from fields(value, f"{prefix}{field.name}.")


def shape(flows: Iterable[Flow], how: Callable[..., set[str]]) -> set[str]:
    """Return the fields of all, or of any, of some flows; less those of one side alone."""
    return {
        path
        for path in how(*(set(fields(flow)) for flow in flows))
        if path.partition(".")[0] not in MADE_LATER and path.rpartition(".")[2] not in LOCAL
    }


@pytest.fixture(scope="module")
def real(cilium_cluster: Cluster, cilium_cast: Cast) -> dict[tuple, list[Flow]]:
    """Flows of the real cluster by class."""
    cast = cilium_cast
    with cilium_cluster.enforced(standard.policies()), watching(cilium_cluster) as watch:
        cast.audited.audit()
        for act, _ in (*STOPPED.values(), *ALLOWED.values()):
            act(cilium_cluster, cast)
        cast.bare.ping(cast.backend.ip, timeout=ONE_PACKET)
        cast.backend.curl(cast.audited.ip, 8080)
        cast.frontend.dns(standard.KNOWN_NAME, cast.dns_service)
        cast.frontend.dns(standard.BLOCKED_NAME, cast.dns_service)
        last = cast.frontend.curl(standard.KNOWN, 443)
        watch.until(lambda flow: flow.l4.TCP.source_port == last.port, "the last call")
        cast.audited.audit(on=False)
        flows = watch.flows
    found = defaultdict(list)
    for flow in flows:
        found[kind(flow)].append(flow)
    return found


@pytest.fixture(scope="module")
def synthetic() -> dict[tuple, list[Flow]]:
    """Flows of the synthetic nodes by class."""
    found = defaultdict(list)
    for scenario in mix.Cast(["demo/n1", "demo/n2"]).scenarios.values():
        for step in scenario.steps:
            found[kind(step.flow)].append(step.flow)
    return found


def test_each_class_of_synthetic_flows_has_the_fields_of_the_real_ones(real, synthetic):
    """None that a real flow always has is missing, and none is there that no real flow has."""
    compared = set(real) & set(synthetic)
    for each in compared:
        always, ever = shape(real[each], set.intersection), shape(real[each], set.union)
        made = shape(synthetic[each], set.union)
        assert always <= made, each
        assert made <= ever, each
    events = {(each[0], each[1]) for each in compared}
    assert {(1, 2), (4, 1), (5, 1), (5, 2), (5, 4), (5, 5), (129, 1), (129, 2)} <= events
