import pytest

from policies import backtesting
from policies.backtesting import Backtest, Change
from policies.flows import (
    AUTH_REQUIRED,
    POLICY_DENIED,
    Direction,
    Event,
    HttpRequest,
    Protocol,
    Verdict,
)
from policies.recordings import Recorded
from tests.policies.builders import (
    WORLD,
    a_pod,
    a_policy,
    a_repository,
    from_app,
    ports,
)

WEB = a_pod("web")
BATCH = a_pod("batch")
SECOND = 1_000_000_000
GET = {**ports("80/TCP")[0], "rules": {"http": [{"method": "GET"}]}}
ALLOWS_BATCH = a_policy(ingress=[from_app("batch")])
ALLOWS_API = a_policy(ingress=[from_app("api")])


def a_record(**changes) -> Recorded:
    """A flow of batch to web that passed."""
    usual = Recorded(
        direction=Direction.INGRESS,
        subject=WEB,
        peer=BATCH,
        peer_ip="10.0.0.1",
        protocol=Protocol.TCP,
        port=80,
        verdict=Verdict.FORWARDED,
        event=Event.VERDICT,
        drop_reason=0,
        denied_by=(),
        allowed_by=(),
        request=None,
    )
    return usual._replace(**changes)


def stopped(**changes) -> Recorded:
    """The same, stopped."""
    return a_record(**{"verdict": Verdict.DROPPED, "drop_reason": POLICY_DENIED, **changes})


def a_request(method="GET", **changes) -> Recorded:
    """An HTTP request that passed."""
    asked = HttpRequest(method=method, path="/", host="")
    return a_record(**{"event": Event.L7, "request": asked, **changes})


def changed(flow, *after, before=None) -> Change:
    """What changes for one flow."""
    old = None if before is None else a_repository(*before)
    test = Backtest(a_repository(*after), old)
    test.add(flow, SECOND)
    (change,) = test.totals.changes
    return change


@pytest.mark.parametrize(
    ("change", "flow", "after"),
    [
        (Change.SAME, a_record(), [ALLOWS_BATCH]),
        (Change.SAME, a_record(), []),
        (Change.STOPPED, a_record(), [ALLOWS_API]),
        (Change.STOPPED, a_record(), [a_policy(ingressDeny=[from_app("batch")])]),
        (Change.SAME, stopped(), [ALLOWS_API]),
        (Change.ALLOWED, stopped(), [ALLOWS_BATCH]),
        (Change.ALLOWED, stopped(verdict=Verdict.AUDIT, drop_reason=0), [ALLOWS_BATCH]),
        (Change.SAME, stopped(verdict=Verdict.AUDIT, drop_reason=0), [ALLOWS_API]),
        (Change.INSPECTED, a_record(), [a_policy(ingress=[{"toPorts": [GET]}])]),
        (
            Change.SAME,
            a_record(),
            [a_policy(ingress=[{"toPorts": [GET]}], enableDefaultDeny={"ingress": False})],
        ),
        (
            Change.SAME,
            a_record(verdict=Verdict.REDIRECTED),
            [a_policy(ingress=[{"toPorts": [GET]}])],
        ),
        (Change.SAME, a_request(), [a_policy(ingress=[{"toPorts": [GET]}])]),
        (Change.STOPPED, a_request("PUT"), [a_policy(ingress=[{"toPorts": [GET]}])]),
        (Change.STOPPED, a_request(), [ALLOWS_API]),
        (
            Change.ALLOWED,
            a_request(verdict=Verdict.DROPPED),
            [a_policy(ingress=[{"toPorts": [GET]}])],
        ),
        (
            Change.SAME,
            stopped(drop_reason=AUTH_REQUIRED),
            [a_policy(ingress=[{**from_app("batch"), "authentication": {"mode": "required"}}])],
        ),
        (
            Change.UNDECIDED,
            a_record(peer=WORLD, peer_ip="198.51.100.7"),
            [a_policy(ingress=[{"fromGroups": [{"aws": {}}]}])],
        ),
        (
            Change.UNDECIDED,
            a_record(peer=WORLD, peer_ip="198.51.100.7"),
            [a_policy(ingressDeny=[{"fromGroups": [{"aws": {}}]}], ingress=[{"toPorts": [GET]}])],
        ),
        (
            Change.UNDECIDED,
            a_request(),
            [a_policy(ingress=[{"toPorts": [{**ports("80/TCP")[0], "rules": {"l7proto": "x"}}]}])],
        ),
    ],
)
def test_the_record_stands_for_the_policies_before(change, flow, after):
    """What passed and would be stopped, and the other way round."""
    assert changed(flow, *after) is change


def test_a_baseline_stands_for_the_record():
    """A flow that the record has as stopped is compared by the policies alone."""
    assert changed(stopped(), ALLOWS_API, before=[ALLOWS_BATCH]) is Change.STOPPED
    assert changed(a_record(), ALLOWS_BATCH, before=[ALLOWS_API]) is Change.ALLOWED
    assert changed(stopped(), ALLOWS_API, before=[ALLOWS_API]) is Change.SAME


def test_a_baseline_that_contradicts_the_record_is_counted():
    """It was not what was in force."""
    test = Backtest(a_repository(ALLOWS_API), a_repository(ALLOWS_BATCH))
    for flow in (stopped(), a_record(), a_record()):
        test.add(flow, SECOND)
    assert test.totals.disagreeing == 1


def test_flows_are_grouped_by_their_ends_and_port():
    """With counts, first and last; newly stopped ones first."""
    test = Backtest(a_repository(ALLOWS_API))
    for time, flow in enumerate(
        [a_record(port=81), a_record(), a_record(), stopped(peer=a_pod("api")), a_record()], 1
    ):
        test.add(flow, time * SECOND)
    found = [
        (group.key.change, group.key.peer.text, group.key.port, group.count)
        for group in test.groups()
    ]
    assert found == [
        (Change.STOPPED, "shop/batch", "80/TCP", 3),
        (Change.STOPPED, "shop/batch", "81/TCP", 1),
        (Change.ALLOWED, "shop/api", "80/TCP", 1),
    ]
    first = test.groups()[0]
    assert (first.first, first.last) == (2 * SECOND, 5 * SECOND)
    assert first.sentence == "shop/p allows any traffic from app=api; this came from shop/batch"
    assert first.policies == ("CiliumNetworkPolicy/shop/p",)


def test_flows_of_several_nodes_come_out_of_order():
    """First and last are those of their times."""
    test = Backtest(a_repository(ALLOWS_API))
    for time in (5, 9, 2, 7):
        test.add(a_record(), time * SECOND)
    (group,) = test.groups()
    assert (group.first, group.last) == (2 * SECOND, 9 * SECOND)


def test_what_no_policy_stopped_is_left_aside():
    """Such as a packet without a route."""
    test = Backtest(a_repository(ALLOWS_BATCH))
    test.add(stopped(drop_reason=139), SECOND)
    test.add(stopped(verdict=Verdict.ERROR), SECOND)
    assert (test.totals.flows, test.totals.not_by_policy) == (2, 2)
    assert test.groups() == []


def test_a_scan_of_ports_and_addresses_stays_bounded(monkeypatch):
    """Nothing is lost of its count."""
    monkeypatch.setattr(backtesting, "GROUPS", 10)
    monkeypatch.setattr(backtesting, "KNOWN", 50)
    test = Backtest(a_repository(ALLOWS_API))
    for number in range(1000):
        peer = a_pod(f"app-{number % 100}")
        test.add(a_record(port=number + 1, peer=peer), SECOND)
    groups = test.groups()
    assert sum(group.count for group in groups) == 1000
    assert len(groups) == 2 * 10 + 1
    assert groups[0].key.peer.text == "many others"


def test_addresses_of_one_class_are_decided_once(monkeypatch):
    """A hundred thousand sources are one question."""
    asked = []
    decide = backtesting._decide
    monkeypatch.setattr(backtesting, "_decide", lambda *args: asked.append(1) or decide(*args))
    test = Backtest(a_repository(a_policy(ingress=[{"fromCIDR": ["192.0.2.0/24"]}])))
    for number in range(256):
        for net in ("192.0.2", "198.51.100"):
            test.add(a_record(peer=WORLD, peer_ip=f"{net}.{number}", port=number), SECOND)
    assert len(asked) == 2
    assert test.totals.changes == {Change.SAME: 256, Change.STOPPED: 256}
