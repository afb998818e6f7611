"""Reading topics for people, over a real embedded log."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from bus import embedded, port
from cli import flows, reading
from runtime.errors import UserError
from schemas import topics
from schemas.hubble import flow_pb2, observer_pb2
from schemas.picket.v1 import flows_pb2

TOPIC = topics.FLOWS.name
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.fixture
def log(tmp_path):
    """An embedded log of this test's own."""
    opened = embedded.EmbeddedLog(tmp_path / "log.db")
    opened.ensure(topics.ALL)
    yield opened
    opened.close()


@pytest.fixture
def reader(log):
    """A reader of the flows."""
    opened = log.reader([TOPIC])
    yield opened
    opened.close()


def write(log, *values):
    producer = log.producer("test")
    for value in values:
        with producer.transaction() as transaction:
            transaction.send(port.Outgoing(topic=TOPIC, value=value))
    producer.close()


def numbers(record):
    return [int(record.value)]


def test_the_newest_are_found_from_the_end(log, reader, monkeypatch):
    """Step by step further back, until there are enough."""
    monkeypatch.setattr(reading, "WINDOWS", (2, 5, 1 << 62))
    write(log, *(str(number).encode() for number in range(12)))
    assert reading.newest(reader, numbers, wanted=2) == [10, 11]
    assert reading.newest(reader, numbers, wanted=4) == [8, 9, 10, 11]
    assert reading.newest(reader, numbers, wanted=50) == list(range(12))
    assert reading.newest(reader, numbers, wanted=0) == []


def test_following_begins_where_it_is_told(log, reader):
    """After the end come only new ones, until it is stopped."""
    write(log, b"1")
    reading.at_end(reader)
    write(log, b"2")
    stop = threading.Event()
    found = reading.follow(reader, stop)
    assert next(found).value == b"2"
    stop.set()
    assert list(found) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", NOW - timedelta(seconds=90)),
        ("1h30m", NOW - timedelta(minutes=90)),
        ("2d", NOW - timedelta(days=2)),
        ("2026-05-01T00:00:00Z", datetime(2026, 5, 1, tzinfo=UTC)),
        ("2026-05-01", datetime(2026, 5, 1, tzinfo=UTC)),
    ],
)
def test_times_are_durations_or_moments(text, expected):
    """So long ago, or then; without a zone it is UTC."""
    assert reading.moment(text, NOW) == expected


@pytest.mark.parametrize("text", ["", "10", "m", "10 m", "1h x", "yesterday"])
def test_other_times_are_refused(text):
    """With what would do."""
    with pytest.raises(UserError, match="must be like 10m"):
        reading.moment(text, NOW)


def a_batch(*responses, cluster="demo"):
    return flows_pb2.FlowBatch(cluster=cluster, responses=responses).SerializeToString()


def a_response(verdict=flow_pb2.DROPPED, namespace="shop", seconds=100):
    response = observer_pb2.GetFlowsResponse()
    response.flow.verdict = verdict
    response.flow.destination.namespace = namespace
    response.time.seconds = seconds
    return response.SerializeToString()


def found(log, reader, wanted):
    return reading.newest(reader, flows.finder(wanted), wanted=100)


def test_flows_are_chosen(log, reader):
    """By cluster, namespace at either end, verdict and time."""
    write(
        log,
        a_batch(a_response(), a_response(verdict=flow_pb2.AUDIT), a_response(namespace="other")),
        a_batch(a_response(seconds=500), cluster="second"),
    )
    assert len(found(log, reader, flows.Wanted())) == 4
    assert len(found(log, reader, flows.Wanted(cluster="second"))) == 1
    assert len(found(log, reader, flows.Wanted(namespace="shop"))) == 3
    assert len(found(log, reader, flows.Wanted(verdict=flow_pb2.AUDIT))) == 1
    since = datetime.fromtimestamp(200, tz=UTC)
    assert len(found(log, reader, flows.Wanted(since=since))) == 1


def test_what_is_no_flow_is_passed_over(log, reader):
    """A broken record or response does not keep the others from being seen."""
    write(log, b"\xff\xff garbage", a_batch(b"\xff\xff", a_response()))
    assert len(found(log, reader, flows.Wanted())) == 1
