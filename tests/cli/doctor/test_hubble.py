"""What the doctor says of relay, over a real relay and an observer under our thumb."""

import time

import pytest

from cli.doctor import hubble
from cli.doctor.finding import State
from collector import instants
from collector.settings import CollectorSettings
from schemas.hubble import flow_pb2
from tests.cli.doctor.examined import about
from tests.collector import builders, observer
from tests.parts import nodes, ports, relay
from tests.waiting import until


def examined(address, **settings):
    given = CollectorSettings.model_validate({"relay": address, **settings})
    return list(hubble.examine(given, now=instants.of_seconds(time.time())))


@pytest.fixture
def watched():
    with observer.serving() as (served, address):
        served.address = address
        yield served


def a_drop():
    return builders.fresh(1, event=1, drop_reason_desc=flow_pb2.POLICY_DENIED)


def test_a_healthy_relay_is_fine(watched):
    """Nodes, verdicts and clocks: nothing to do."""
    watched.emit(*builders.fresh(1))
    found = examined(watched.address)
    assert {finding.state for finding in found} == {State.FINE}


def test_drops_without_verdicts_mean_that_verdicts_are_off(watched):
    """Alerts are made of verdicts only, so this is a problem that names the option."""
    watched.emit(*a_drop())
    found = about(examined(watched.address), "policy verdicts")
    assert found.state is State.PROBLEM
    assert "policy-verdict-notification" in found.next


def test_without_either_nobody_can_tell(watched):
    """Silence is no proof."""
    watched.emit(*builders.fresh(1, event=4, verdict=flow_pb2.FORWARDED))
    assert about(examined(watched.address), "policy verdicts").state is State.UNSURE


def test_a_node_that_is_away_is_named(watched):
    """Its flows are missing."""
    watched.node("demo/n7").connected = False
    found = about(examined(watched.address), "nodes")
    assert found.state is State.PROBLEM
    assert "demo/n7" in found.what


def test_a_clock_that_is_ahead_is_named(watched):
    """By a node's newest event."""
    ahead = instants.of_seconds(time.time() + 60)
    watched.emit(builders.a_flow(at=ahead))
    found = about(examined(watched.address), "clocks")
    assert found.state is State.WARNING
    assert "demo/n1" in found.what


def test_a_clock_that_may_be_behind_is_named(watched):
    """A node's newest event is old: nobody can tell from here whether nothing happens there."""
    watched.emit(builders.a_flow(at=instants.of_seconds(time.time() - 600)))
    found = about(examined(watched.address), "clocks")
    assert found.state is State.UNSURE
    assert "demo/n1" in found.what


def test_lost_events_are_counted(watched):
    """By where they were lost."""
    watched.emit(builders.lost(count=7))
    found = about(examined(watched.address), "lost events")
    assert found.state is State.WARNING
    assert "7 (" in found.what


def test_a_short_ring_is_a_warning(watched):
    """It holds less than a minute of what happens."""
    watched.node(capacity=100)
    watched.rate = 50.0
    found = about(examined(watched.address), "rings")
    assert found.state is State.WARNING
    assert "eventBufferCapacity" in found.next


def test_nobody_there_is_one_finding():
    """With what to try next."""
    (found,) = examined(f"127.0.0.1:{ports.free()}")
    assert found.state is State.PROBLEM
    assert "port-forward" in found.next


def test_a_missing_authority_is_told_before_anything_is_tried(tmp_path):
    """With the settings to mend."""
    (found,) = examined(
        f"127.0.0.1:{ports.free()}", tls=True, tls_ca_file=str(tmp_path / "none.pem")
    )
    assert found.state is State.PROBLEM
    assert "tls_" in found.next


@pytest.mark.relay
@pytest.mark.usefixtures("hubble")
@pytest.mark.parametrize(
    ("speaks_tls", "advice"), [(True, "set tls = true"), (False, "that relay speaks TLS at all")]
)
def test_one_end_in_plaintext_is_explained(tmp_path, speaks_tls, advice):
    """The likely cause is told, whichever end it is."""
    tls = relay.certify(tmp_path / "tls", mutual=False)
    mine = {} if speaks_tls else {"tls": True, "tls_ca_file": tls.ca_file}
    with (
        nodes.Nodes(1) as behind,
        relay.running(
            tmp_path / "relay", behind.peers, nodes=None, tls=tls if speaks_tls else None
        ) as front,
    ):
        (found,) = examined(front.address, **mine)
    assert found.state is State.PROBLEM
    assert advice in found.next


@pytest.mark.relay
def test_a_real_relay_is_understood(hubble, tmp_path):
    """Its version, its nodes and its rings."""
    with (
        nodes.Nodes(2) as behind,
        relay.running(tmp_path / "relay", behind.peers, nodes=2) as front,
    ):
        behind.start(200)

        def with_verdicts():
            found = examined(front.address)
            return about(found, "policy verdicts").state is State.FINE and found

        found = until(with_verdicts, every=0.5)
    assert about(found, "relay").what.endswith(f"hubble-relay {relay.VERSION}+g{relay.COMMIT})")
    assert about(found, "nodes").state is State.FINE
    assert "4095 events a node" in about(found, "rings").what
