"""The enricher over a real Apache Kafka: the same truth, shared out and handed over."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import prometheus_client
import pytest

from bus import port
from enricher import app
from enricher.settings import EnricherSettings
from runtime.clock import Clock
from schemas import topics
from tests.parts import cache, demand
from tests.parts import kafka as kafka_part  # before anything else that loads the client

from bus import kafka, kafka_connection, opening  # isort: skip
from tests.enricher import builders, harness  # isort: skip
from tests.enricher.test_recorded_truth import TRUTH  # isort: skip

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
DEADLINE = 90.0
GROUP_TOPICS = [topics.FLOWS.name, topics.FLOWS_RETRY.name, topics.FLOWS_RETRY_LATE.name]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[port.Log]:
    """A broker of its own: the stages' topics have fixed names."""
    try:
        with kafka_part.running(tmp_path) as broker:
            cluster = kafka_connection.Cluster(servers=opening.servers(broker.url))
            made = kafka.KafkaLog(cluster, session_ms=6000)
            yield made
            made.close()
    except cache.Missing as missing:
        demand.require("Apache Kafka", str(missing))


class Running:
    """An enricher on a thread of its own."""

    def __init__(self, log: port.Log, slot: str) -> None:
        began = time.time()
        built = app.build(
            EnricherSettings(slot=slot),
            log=log,
            clock=Clock(now=lambda: builders.CAPTURE_END + 900 + time.time() - began),
            registry=prometheus_client.CollectorRegistry(),
        )
        self.stop = built.stop
        self.thread = threading.Thread(target=built.serve)
        self.thread.start()

    def end(self) -> None:
        self.stop.set()
        self.thread.join(DEADLINE)
        assert not self.thread.is_alive()


def test_several_enrichers_come_and_go_and_count_the_truth(log: port.Log) -> None:
    """Partitions are handed over twice in the middle of the work; nothing is lost or doubled."""
    log.ensure(topics.ALL)
    stage = harness.Stage(log, harness.Hand())
    responses = builders.shop_responses()
    records = [builders.a_batch(responses[n : n + 10]) for n in range(0, len(responses), 10)]
    third = len(records) // 3
    stage.write(
        *(builders.a_policy_record(manifest) for manifest in builders.shop_policies()),
        builders.a_marker(),
    )
    with ExitStack() as stack:
        first = Running(log, "first")
        stack.callback(first.end)
        stage.write(*records[:third])
        _eventually(stage.matches)
        second = Running(log, "second")
        stack.callback(second.end)
        stage.write(*records[third : 2 * third])
        _eventually(lambda: _lag(log) == 0)
        first.end()
        stage.write(*records[2 * third :])
        _eventually(lambda: _lag(log) == 0)
        _eventually(lambda: harness.counted(stage.matches()) == TRUTH)
        _eventually(lambda: stage.notices() == {("unexplained", "l7-no-rule"): 7})
    assert harness.counted(stage.matches()) == TRUTH
    assert stage.letters() == []
    keys = {record.partition.number for record in stage.records(topics.MATCHES.name)}
    assert len(keys) > 1, "matches are spread by fingerprint"


def _lag(log: port.Log) -> int:
    return sum(lag.end - (lag.committed or 0) for lag in log.lag("picket-enricher", GROUP_TOPICS))


def _eventually(condition: object) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.1)
