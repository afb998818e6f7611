"""Keeps a table of all alerts, from picket.alerts.

    python -m examples.consumers.alerts kafka-1:9092,kafka-2:9092

The topic is compacted: read from the beginning, it gives the newest state of each alert, then what
changes. A record without a value says that the alert was purged.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from typing import Any

TOPIC = "picket.alerts"
ALERT = "picket.alert.v1"

Entry = tuple[bytes | None, bytes | None]
Table = dict[str, dict[str, Any]]


def tables(entries: Iterable[Entry]) -> Iterator[tuple[str, Table]]:
    """Yield the id of the alert that changed, and all alerts by id."""
    table: Table = {}
    for key, value in entries:
        alert = (key or b"").decode()
        if value is None:
            table.pop(alert, None)
            yield alert, table
            continue
        event = json.loads(value)
        if event["type"] != ALERT:
            continue
        data = event["data"]
        # A state may come again after a newer one: the version tells.
        if data["version"] > table.get(alert, {"version": -1})["version"]:
            table[alert] = data
            yield alert, table


def main() -> None:
    """Print each change as it comes."""
    from examples.consumers import kafka_topic  # noqa: PLC0415 - the table works without Kafka

    for alert, table in tables(kafka_topic.entries(sys.argv[1], TOPIC)):
        state = table.get(alert)
        words = (
            "purged" if state is None else f"{state['status']} {state['events']} {state['title']}"
        )
        sys.stdout.write(f"{alert} {words}\n")


if __name__ == "__main__":
    main()
