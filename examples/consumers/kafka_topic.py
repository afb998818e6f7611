"""Reads a topic of Kafka from its beginning: what every consumer here has in common.

It knows nothing of Picket's code, only of its topics; see schemas/asyncapi.json.
"""

from collections.abc import Iterator

from kafka import KafkaConsumer

Entry = tuple[bytes | None, bytes | None]
"""A record's key and value; a value of None is a tombstone."""


def entries(servers: str, topic: str, *, idle_seconds: float | None = None) -> Iterator[Entry]:
    """Yield records from the beginning on, and for ever unless nothing came for so long."""
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=servers.split(","),
        # What a transaction took back must not be counted: the default would show it.
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        group_id=None,
        **({} if idle_seconds is None else {"consumer_timeout_ms": int(idle_seconds * 1000)}),
    )
    try:
        for record in consumer:
            yield record.key, record.value
    finally:
        consumer.close()
