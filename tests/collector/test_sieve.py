"""The hot path by itself: what is new is kept as it is, in order, and counted."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector import instants, sieve
from collector.windows import Windows
from schemas.hubble import flow_pb2, observer_pb2, relay_pb2
from tests.collector import builders

NOW = builders.START + 3600 * instants.SECOND


def raw(item) -> bytes:
    if isinstance(item, flow_pb2.Flow):
        item = builders.a_response(item)
    return item.SerializeToString()


def test_a_known_uuid_is_a_duplicate_of_its_node_only():
    """Whatever its time; the same uuid of another node is another flow."""
    flow = builders.a_flow()
    other = builders.a_flow(node="demo/n2")
    other.uuid = flow.uuid
    sifter = sieve.Sieve(Windows())
    first = sifter.sift([raw(flow), raw(flow), raw(other)], now=NOW)
    assert first.responses == [raw(flow), raw(other)]
    assert (first.duplicates, first.duplicates_by_time) == (1, 0)
    assert first.proofs == {"demo/n1": (instants.of(flow.time), instants.of(flow.time))}
    assert sifter.sift([raw(flow)], now=NOW).responses == []


def test_a_ring_of_uuids_is_remembered():
    """At least as many as the node's ring holds; at most about twice as many."""
    windows = Windows()
    windows.size("demo/n1", 100)
    sifter = sieve.Sieve(windows)
    flows = [raw(builders.a_flow()) for _ in range(1000)]
    for flow in flows:
        sifter.sift([flow], now=NOW)
    assert sifter.sift(flows[-100:], now=NOW).responses == []
    window = windows.of("demo/n1")
    assert len(window.recent) + len(window.older) <= 202


@pytest.mark.parametrize("garbage", [b"\xff\xff\xff", b"", b"\x0a\x02\x08", b"\x12\x02\xff\xff"])
def test_what_cannot_be_read_is_rejected_and_the_rest_goes_on(garbage):
    """One response is one dead letter."""
    good = raw(builders.a_flow())
    found = sieve.Sieve(Windows()).sift([garbage, good], now=NOW)
    assert found.responses == [good]
    assert [item.payload for item in found.rejected] == [garbage]


@given(st.lists(st.binary(max_size=64), max_size=8))
def test_no_bytes_stop_it(raws):
    """Whatever comes is kept, known, a state, or rejected."""
    found = sieve.Sieve(Windows()).sift(raws, now=NOW)
    total = len(found.responses) + found.duplicates + len(found.rejected) + len(found.statuses)
    assert total == len(raws)


def test_a_flow_without_a_uuid_is_known_by_its_content():
    """Some other producer's flow is kept once as well."""
    flow = builders.a_flow()
    flow.uuid = ""
    found = sieve.Sieve(Windows()).sift([raw(flow), raw(flow)], now=NOW)
    assert (len(found.responses), found.duplicates) == (1, 1)


def test_a_flow_from_the_future_does_not_move_the_watermark():
    """Or nothing would be asked for until then."""
    windows = Windows()
    flow = builders.a_flow(at=NOW + 86400 * instants.SECOND)
    found = sieve.Sieve(windows).sift([raw(flow)], now=NOW)
    assert found.responses
    assert windows.newest() == {"demo/n1": 0}


def test_states_of_nodes_are_no_flows():
    """They are told apart, with relay's time."""
    status = observer_pb2.GetFlowsResponse(
        node_status=relay_pb2.NodeStatusEvent(
            state_change=relay_pb2.NODE_ERROR, node_names=["demo/n1"]
        ),
        node_name="relay",
        time=instants.timestamp(NOW),
    )
    windows = Windows()
    found = sieve.Sieve(windows).sift([raw(status)], now=NOW)
    assert found.responses == []
    assert [(time, list(item.node_names)) for time, item in found.statuses] == [(NOW, ["demo/n1"])]
    assert not windows.by_node


def test_time_decides_only_for_what_is_old_enough():
    """Up to the watermark of the mark, and counted; a younger unknown one is new."""
    windows = Windows()
    windows.of("demo/n1").known_by_time = builders.START
    old = builders.a_flow(at=builders.START)
    young = builders.a_flow(at=builders.START + 1)
    found = sieve.Sieve(windows).sift([raw(old), raw(young)], now=NOW)
    assert found.responses == [raw(young)]
    assert (found.duplicates, found.duplicates_by_time) == (1, 1)
    assert sieve.Sieve(windows, by_time=False).sift([raw(old)], now=NOW).duplicates_by_time == 0


@given(st.integers(min_value=0, max_value=2**62))
def test_instants_keep_every_nanosecond(nanoseconds):
    """There and back."""
    assert instants.of(instants.timestamp(nanoseconds)) == nanoseconds


@given(st.text(string.ascii_letters + "=&;#?/%:@.", max_size=40))
def test_redacted_urls_keep_no_values(query):
    """What follows an equals sign in the query is gone, whatever it looks like."""
    from collector import redaction

    clean = redaction.url(f"http://shop.example/?token=S3CRET0{query}")
    assert "S3CRET0" not in clean
