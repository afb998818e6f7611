"""The example consumers over a real embedded log."""

import json
from pathlib import Path

import pytest

from bus import embedded, port
from examples.consumers import alerts, matches
from schemas import jsonschemas, topics

EXAMPLES = Path(jsonschemas.__file__).parent / "examples"


def an_example(name):
    return json.loads((EXAMPLES / f"{name}.json").read_text())


@pytest.fixture
def log(tmp_path):
    """An embedded log of this test's own."""
    opened = embedded.EmbeddedLog(tmp_path / "log.db")
    opened.ensure(topics.ALL)
    yield opened
    opened.close()


def write(log, topic, *records):
    producer = log.producer("test")
    with producer.transaction() as transaction:
        for key, value in records:
            body = None if value is None else json.dumps(value).encode()
            transaction.send(port.Outgoing(topic=topic, key=key.encode(), value=body))
    producer.close()


def entries(log, topic):
    reader = log.reader([topic])
    for record in port.read_to_end(reader):
        yield record.key, record.value
    reader.close()


def test_matches_are_added_up_and_counted_once(log):
    """Progress is passed over, and an event that comes twice counts once."""
    match = an_example("picket.matches")["value"]
    other = json.loads(json.dumps(match))
    other["id"] = "another"
    other["data"]["count"] = 5
    progress = an_example("picket.matches.progress")["value"]
    write(log, matches.TOPIC, ("a", match), ("demo", progress), ("a", match), ("a", other))
    *_, last = matches.totals(entries(log, matches.TOPIC))
    assert last == {"shop/backend-ingress": 21}


def test_alerts_become_a_table_of_their_newest_states(log):
    """An older version that comes late changes nothing; a tombstone purges."""
    first = an_example("picket.alerts")["value"]
    alert = first["data"]["id"]
    newer = json.loads(json.dumps(first))
    newer["data"].update(version=3, status="resolved")
    write(log, alerts.TOPIC, (alert, first), (alert, newer), (alert, first))
    states = [table[alert]["status"] for _, table in alerts.tables(entries(log, alerts.TOPIC))]
    assert states == ["triggered", "resolved"]
    write(log, alerts.TOPIC, (alert, None))
    *_, (_, table) = alerts.tables(entries(log, alerts.TOPIC))
    assert table == {}
