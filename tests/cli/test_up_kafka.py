"""`picket up` over a real Kafka, and the example consumers from outside."""

import json
import shutil

import pytest

from tests.parts import cache, demand, ports
from tests.parts import kafka as kafka_part  # before anything else that loads the client

from examples.consumers import alerts, kafka_topic, matches  # isort: skip
from tests.cli import stand  # isort: skip

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

IDLE_SECONDS = 5.0


@pytest.fixture
def broker(tmp_path):
    """A broker of this test's own, since the topics have fixed names."""
    try:
        with kafka_part.running(tmp_path / "kafka") as running:
            yield running
    except cache.Missing as missing:
        demand.require("Apache Kafka", str(missing))


@pytest.mark.timeout(300)
def test_the_example_over_kafka(broker, tmp_path):
    """The same counts as embedded, the same again, and what outsiders read adds up to them."""
    arguments = ("--flows", stand.EXAMPLES / "shop.jsonl.gz", "--cluster", "demo")
    for _ in range(2):
        with stand.running(tmp_path, *arguments, "--bus", broker.url) as up:
            up.ready()
            assert up.printed_counts() == stand.COUNTS
    read = kafka_topic.entries(broker.bootstrap, matches.TOPIC, idle_seconds=IDLE_SECONDS)
    *_, totals = matches.totals(read)
    assert totals == {
        "shop/db-deny-attacker": 73,
        "shop/backend-ingress": 41,
        "shop/frontend-egress": 14,
        "shop/audited-ingress": 8,
    }
    read = kafka_topic.entries(broker.bootstrap, alerts.TOPIC, idle_seconds=IDLE_SECONDS)
    *_, (_, table) = alerts.tables(read)
    assert sorted(alert["events"] for alert in table.values()) == sorted(stand.COUNTS)
    of_topic = newly_allowed(tmp_path, "topic", "--cluster", "demo", "--bus", broker.url)
    assert of_topic == newly_allowed(tmp_path, stand.EXAMPLES / "shop.jsonl.gz")
    assert sum(group["flows"] for group in of_topic) == 73


def newly_allowed(state, flows, *more):
    """What of the example's flows would no longer be stopped without one of its policies."""
    folder = state / "fewer"
    folder.mkdir(exist_ok=True)
    for file in (stand.EXAMPLES / "policies").glob("*.yaml"):
        if file.stem != "db-deny-attacker":
            shutil.copy(file, folder)
    found = stand.picket(
        *("policy", "backtest", "--policies", folder, "--flows", flows, "-o", "json", *more),
        state=state,
    )
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)["groups"]


def test_a_broker_that_is_away_is_one_line(tmp_path):
    """Nothing is started, and the address is told."""
    address = f"kafka://127.0.0.1:{ports.free()}"
    found = stand.picket(
        *("up", "--flows", stand.EXAMPLES / "shop.jsonl.gz", "--bus", address),
        *("--policies", stand.EXAMPLES / "policies"),
        *("--listen", f"127.0.0.1:{ports.free()}"),
        state=tmp_path,
    )
    assert found.returncode == 1, found.stderr
    assert found.stderr.startswith("picket: the log: ")
    assert found.stderr.count("\n") == 1
    assert address.removeprefix("kafka://") in found.stderr
