"""A capture takes the same path as a relay's flows, and is counted once however often it is read."""

import gzip
import io
import json
from pathlib import Path

import pytest

from runtime import clock
from runtime.errors import UserError
from schemas.hubble import flow_pb2
from schemas.picket.v1 import flows_pb2
from tests.collector import builders, harness

CAPTURES = Path(__file__).parents[1] / "data" / "captures"


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(lines))
    return path


def some(count: int, **fields) -> list[flow_pb2.Flow]:
    return [builders.a_flow(**fields) for _ in range(count)]


def lines(flows) -> list[str]:
    return [builders.a_line(flow) for flow in flows]


def once(flows) -> dict[str, int]:
    return {flow.uuid: 1 for flow in flows}


def test_the_recorded_denials_are_all_there(log):
    """As many as an independent script counted in a recording of a real cluster."""
    run = harness.collected(log, flows=str(CAPTURES / "shop.jsonl.gz"))
    written = harness.Written(log)
    assert len(written.uuids()) == 143
    assert set(written.counts().values()) == {1}
    assert written.states()[-1] == flows_pb2.ENDED
    assert run.progress[-1].ended
    assert (run.progress[-1].lines, run.progress[-1].flows) == (1120, 143)
    assert run.progress[-1].bytes_done == run.progress[-1].bytes_total


def test_twice_the_same_capture_doubles_nothing(log, tmp_path):
    """Also under another name, packed, or by way of a pipe."""
    flows = some(50)
    plain = write(tmp_path / "a.jsonl", *lines(flows))
    packed = tmp_path / "b.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    moved = write(tmp_path / "moved.jsonl", plain.read_text())
    for path in (plain, plain, packed, moved):
        harness.collected(log, flows=str(path))
    piped(log, plain.read_bytes())
    written = harness.Written(log)
    assert written.counts() == once(flows)
    assert len(written.checkpoint().captures) == 1


def test_a_day_later_it_doubles_nothing_either(tmp_path):
    """Retention has emptied the flows topic by then; the position in the checkpoint decides."""
    now = [1_000_000_000.0]
    moving = clock.Clock(now=lambda: now[0])
    log = harness.a_log(tmp_path, time=moving, retention_seconds=0.0)
    # So many that several transactions are needed: the last one has the position, too.
    capture = write(tmp_path / "a.jsonl", *lines(some(4500)))
    harness.collected(log, flows=str(capture))
    now[0] += 2 * 86400
    harness.collected(log, flows=str(write(tmp_path / "other.jsonl", *lines(some(1)))))
    now[0] += 60
    assert len(harness.Written(log).uuids()) <= 1, "retention did not empty the topic"
    run = harness.collected(log, flows=str(capture))
    assert run.progress[-1].flows == 0
    log.close()


def test_a_longer_capture_goes_on_where_the_shorter_one_ended(log, tmp_path):
    """Appended lines are new, whatever the packing."""
    flows = some(30)
    harness.collected(log, flows=str(write(tmp_path / "a.jsonl", *lines(flows[:10]))))
    longer = tmp_path / "a.jsonl.gz"
    longer.write_bytes(gzip.compress("".join(lines(flows[:20])).encode()))
    run = harness.collected(log, flows=str(longer))
    assert run.progress[-1].flows == 10
    run = piped(log, "".join(lines(flows)).encode())
    assert run.progress[-1].flows == 10
    assert harness.Written(log).counts() == once(flows)


def test_a_capture_that_only_begins_alike_is_another_one(log, tmp_path):
    """Its other lines are read, the common ones known by their uuids."""
    first, second, third = some(3)
    harness.collected(log, flows=str(write(tmp_path / "a.jsonl", *lines([first, second]))))
    harness.collected(log, flows=str(write(tmp_path / "b.jsonl", *lines([first, third]))))
    piped(log, "".join(lines([first, third, second])).encode())
    assert harness.Written(log).counts() == once([first, second, third])


def test_a_bad_line_is_a_dead_letter_and_the_rest_goes_on(log, tmp_path):
    """With its number; the path stands for the topic."""
    flows = some(3)
    good = lines(flows)
    bad = ["not json\n", "[]\n", '{"x": 1}\n', '{"flow": {"time": "never"}}\n', "\n"]
    path = write(tmp_path / "a.jsonl", good[0], *bad, good[1], '{"flow": 7}\n', good[2])
    run = harness.collected(log, flows=str(path))
    written = harness.Written(log)
    assert written.counts() == once(flows)
    assert [letter.index for letter in written.letters()] == [2, 3, 4, 5, 8]
    assert {letter.topic for letter in written.letters()} == {str(path)}
    assert run.progress[-1].rejected == 5
    harness.collected(log, flows=str(path))
    assert len(written.letters()) == 5


@pytest.mark.parametrize("packed", [False, True])
def test_a_capture_that_was_cut_off_keeps_what_stands_before(log, tmp_path, packed):
    """The cut is told, and mended when the whole capture is read."""
    flows = some(400)
    content = "".join(lines(flows)).encode()
    data = gzip.compress(content) if packed else content
    path = tmp_path / "a.jsonl"
    path.write_bytes(data[: len(data) * 2 // 3])
    harness.collected(log, flows=str(path))
    written = harness.Written(log)
    kept = len(written.uuids())
    assert 100 < kept < 400
    (letter,) = written.letters()
    assert letter.index == kept + 1
    assert ("gzip" in letter.reason) == packed
    path.write_bytes(data)
    harness.collected(log, flows=str(path))
    assert written.counts() == once(flows)


def test_a_last_line_without_its_end_counts_when_it_is_whole(log, tmp_path):
    """And is not read again when its end comes."""
    flows = some(3)
    text = "".join(lines(flows[:2]))
    path = write(tmp_path / "a.jsonl", text.rstrip("\n"))
    harness.collected(log, flows=str(path))
    assert harness.Written(log).counts() == once(flows[:2])
    write(path, text, *lines(flows[2:]))
    run = harness.collected(log, flows=str(path))
    assert harness.Written(log).counts() == once(flows)
    assert run.progress[-1].rejected == 0


def test_a_growing_capture_is_followed(log, tmp_path):
    """Lines count as soon as they are whole; a file that took the place is read from its start."""
    flows = some(6)
    text = lines(flows)
    path = write(tmp_path / "a.jsonl", text[0])
    written = harness.Written(log)
    with harness.collecting(log, flows=str(path), follow=True):
        harness.wait_for(lambda: len(written.uuids()) == 1)
        with path.open("a") as stream:
            stream.write(text[1] + text[2][:40])
            stream.flush()
            harness.wait_for(lambda: len(written.uuids()) == 2)
            stream.write(text[2][40:])
        harness.wait_for(lambda: len(written.uuids()) == 3)
        path.rename(tmp_path / "a.jsonl.1")
        write(path, text[3], text[4])
        harness.wait_for(lambda: len(written.uuids()) == 5)
        harness.wait_for(lambda: flows_pb2.LIVE in written.states())
    with path.open("a") as stream:
        stream.write(text[5])
    harness.collected(log, flows=str(path))
    assert written.counts() == once(flows)
    assert not written.letters()


def test_filters_choose_as_relay_would(log, tmp_path):
    """Ready-made ones and own ones; fields are ANDed, values ORed."""
    denied = some(1) + some(1, event=129) + some(1, verdict=flow_pb2.AUDIT)
    allowed = some(1, verdict=flow_pb2.FORWARDED)
    traced = some(1, event=4, verdict=flow_pb2.FORWARDED) + some(1, event=1)
    path = str(write(tmp_path / "a.jsonl", *lines(denied + allowed + traced)))
    for name, settings, wanted in (
        ("one", {}, denied),
        ("two", {"filter": "verdicts"}, denied + allowed),
        ("three", {"filter": "all"}, denied + allowed + traced),
        ("four", {"allow": '[{"event_type": [{"type": 4}]}]'}, traced[:1]),
        ("five", {"deny": '{"verdict": ["AUDIT"]}'}, denied[:2]),
        (
            "six",
            {"filter": "all", "allow": '{"node_name": ["n*"], "verdict": ["AUDIT"]}'},
            denied[2:],
        ),
    ):
        harness.collected(log, flows=path, cluster=name, **settings)
        mine = [batch for batch in harness.Written(log).batches() if batch.cluster == name]
        found = [
            flows_pb2.ResponseHead.FromString(raw).flow.uuid
            for batch in mine
            for raw in batch.responses
        ]
        assert found == [flow.uuid for flow in wanted], name


def test_all_shapes_that_hubble_writes_are_read(log, tmp_path):
    """The exporter's events, a bare flow, lost events, JSON names, fields from the future."""
    one, two, three = some(3)
    exporter = json.loads(builders.a_line(one)) | {"a_new_field": {"x": 1}}
    bare = json.loads(builders.a_line(two))["flow"]
    camel = json.loads(builders.a_line(three))
    camel["nodeName"] = camel.pop("node_name")
    rest = [
        '{"agent_event": {"type": "AGENT_STARTED"}}\n',
        '{"node_status": {"state_change": "NODE_CONNECTED"}, "node_name": "relay"}\n',
        json.dumps(
            {
                "lost_events": {"source": "PERF_EVENT_RING_BUFFER", "num_events_lost": "4"},
                "node_name": "demo/n1",
                "time": "2026-11-21T02:47:12.343174607Z",
            }
        )
        + "\n",
    ]
    texts = [json.dumps(item) + "\n" for item in (exporter, bare, camel)]
    harness.collected(log, flows=str(write(tmp_path / "a.jsonl", *texts, *rest)))
    written = harness.Written(log)
    assert written.counts() == once([one, two, three])
    assert {item.node_name for item in written.responses()} == {"demo/n1"}
    assert sum(item.HasField("lost_events") for item in written.responses()) == 1
    assert not written.letters()


@pytest.mark.slow
def test_a_flood_keeps_its_lost_events(log):
    """Of both sources, as the recording holds them."""
    harness.collected(log, flows=str(CAPTURES / "flood.jsonl.gz"))
    lost = {flow_pb2.PERF_EVENT_RING_BUFFER: 0, flow_pb2.HUBBLE_RING_BUFFER: 0}
    for item in harness.Written(log).responses():
        if item.HasField("lost_events"):
            lost[item.lost_events.source] += item.lost_events.num_events_lost
    assert lost == {flow_pb2.PERF_EVENT_RING_BUFFER: 4399, flow_pb2.HUBBLE_RING_BUFFER: 6493}


def test_a_capture_moves_no_watermark(log, tmp_path, relay):
    """What a capture holds says nothing of how far the living cluster was read."""
    now = builders.fresh(1)[0]
    captured = write(tmp_path / "a.jsonl", builders.a_line(now))
    older = builders.a_flow(at=builders.START)
    harness.collected(log, flows=str(captured))
    assert not harness.Written(log).checkpoint().nodes
    relay.emit(*(flows := builders.fresh(3)))
    with harness.collecting(log, relay=relay.address):
        harness.wait_for(lambda: len(harness.Written(log).uuids()) == 4)
    before = harness.Written(log).checkpoint().nodes
    harness.collected(log, flows=str(write(tmp_path / "b.jsonl", builders.a_line(older))))
    after = harness.Written(log).checkpoint().nodes
    assert [node.newest for node in before] == [node.newest for node in after]
    assert harness.Written(log).counts() == once([now, older, *flows])


@pytest.mark.parametrize("path", ["nowhere.jsonl", "."])
def test_a_path_that_is_no_capture_is_a_users_error(log, path):
    """One line names it."""
    with pytest.raises(UserError, match="capture"):
        harness.collected(log, flows=path)


def test_secrets_of_http_flows_can_be_left_out(log, tmp_path):
    """Authorization, cookies and query values; the rest of the flow stays."""
    flow = builders.a_flow(event=129)
    http = flow.l7.http
    http.url = "http://user:pw@shop.example/buy?token=s3cret&item"
    http.headers.add(key="Authorization", value="Bearer s3cret")
    http.headers.add(key="cookie", value="s3cret")
    http.headers.add(key="Accept", value="text/html")
    flow.Summary = f"HTTP/1.1 GET {http.url}"
    path = str(write(tmp_path / "a.jsonl", builders.a_line(flow)))
    harness.collected(log, flows=path, redact=True)
    (found,) = harness.Written(log).responses()
    assert b"s3cret" not in found.SerializeToString()
    assert found.flow.l7.http.url == "http://REDACTED@shop.example/buy?token=REDACTED&REDACTED"
    assert found.flow.l7.http.headers[2].value == "text/html"
    assert found.flow.uuid == flow.uuid


def test_a_line_without_end_is_not_held_in_memory(log, tmp_path, monkeypatch):
    """Over the limit it is a dead letter of its beginning, and the next line is read."""
    monkeypatch.setattr("collector.capture_file.LONGEST_LINE", 4096)
    flows = some(2)
    text = lines(flows)
    path = write(tmp_path / "a.jsonl", text[0], "x" * 20_000 + "\n", text[1])
    harness.collected(log, flows=str(path))
    written = harness.Written(log)
    assert written.counts() == once(flows)
    (letter,) = written.letters()
    assert letter.index == 2
    assert "longer than" in letter.reason


def piped(log, content: bytes) -> harness.Run:
    """Run a collector over a pipe to its end."""
    return harness.collected(log, flows="-", stdin=io.BufferedReader(io.BytesIO(content)))
