"""The stage over a real broker and a real PostgreSQL: several partitions, several replicas."""

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus import opening, port
from schemas import topics
from tests.alert_api import builders, test_app
from tests.alert_api.builders import a_match, put
from tests.parts import kafka as kafka_part  # before anything else that loads the client
from tests.parts.kafka import kafka
from tests.parts.postgres import Postgres

__all__ = ["kafka"]

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.slow]


@contextlib.contextmanager
def a_log(url: str) -> Iterator[port.Log]:
    made = opening.open_log(opening.BusSettings(bus=url))
    try:
        yield made
    finally:
        made.close()


def test_replicas_share_the_partitions_and_count_everything_once(
    tmp_path: Path, postgres: Postgres, kafka: kafka_part.Broker
) -> None:
    """One is stopped under load and another starts: each match is counted, and told, once."""
    names = [f"f{number}-{uuid.uuid4().hex[:8]}" for number in range(40)]
    address = postgres.create()
    with a_log(kafka.url) as log:
        log.ensure(topics.ALL)
        # The broker is shared by the whole session: what others left there is not ours to count.
        for slot in "abc":
            (tmp_path / slot).mkdir()
        made = {
            slot: test_app.built(tmp_path / slot, log, address, slot=slot, recount=True)
            for slot in "abc"
        }
        with test_app.serving(made["a"]) as first:
            with test_app.serving(made["b"]):
                for _ in range(10):
                    put(log, *(a_match(name) for name in names))
            for _ in range(5):
                put(log, *(a_match(name) for name in names))
            with test_app.serving(made["c"]):
                for _ in range(5):
                    put(log, *(a_match(name) for name in names))

            def counted() -> dict[str, int]:
                found = first.get("/api/v1/alerts", params={"limit": 500}).json()["alerts"]
                return {
                    alert["fingerprint"]: alert["events"]
                    for alert in found
                    if alert["fingerprint"] in names
                }

            test_app.until(lambda: counted() == dict.fromkeys(names, 20))
            alerts = first.get("/api/v1/alerts", params={"limit": 500}).json()["alerts"]
            ours = {alert["id"] for alert in alerts if alert["fingerprint"] in names}
            test_app.until(lambda: ours <= {record[0] for record in builders.sent(log)})
        told = [record for record in builders.sent(log) if record[0] in ours]
        assert len({(alert, version) for alert, version, _ in told}) == len(told)
    postgres.drop(address)
