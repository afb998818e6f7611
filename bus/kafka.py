"""The log on Apache Kafka 3 or 4, or on what speaks its protocol.

Together with `bus.kafka_*` the only importer of the client. What the client does by itself
(threads, retries, recovery) is described and bounded where it is used.
"""

import contextlib
import threading
from collections.abc import Sequence
from typing import Any

from kafka import IsolationLevel, KafkaAdminClient, OffsetSpec, errors
from kafka.partitioner.default import murmur2

from bus import (
    kafka_connection,
    kafka_errors,
    kafka_groups,
    kafka_producing,
    kafka_reading,
    kafka_topics,
    kafka_transport,
    port,
)
from schemas.topics import Topic

kafka_transport.mend()


class KafkaLog:
    """`port.Log` over a Kafka cluster."""

    def __init__(
        self, cluster: kafka_connection.Cluster, *, session_ms: int = kafka_groups.SESSION_MS
    ) -> None:
        """Connect. Raises Unavailable, Misconfigured, and UserError for a secret's file."""
        self._cluster = cluster
        self._session_ms = session_ms
        options = cluster.options()
        cluster.look()
        with kafka_errors.translated("connecting to Kafka"):
            self._admin = kafka_connection.made(KafkaAdminClient, **options)
        self._topics = kafka_topics.Topics(self._admin)
        self._lock = threading.Lock()
        self._closed = False

    def ensure(self, topics: Sequence[Topic]) -> None:
        """Create the missing topics and check the others."""
        self._topics.ensure(topics)

    def identity(self, topic: str) -> str:
        """Return the cluster's id and the topic's: the latter changes when a topic is made anew."""
        known = self._topics.known(topic)
        with self._lock:
            cluster = kafka_errors.patiently(
                self._admin.describe_cluster, doing="asking for the cluster's id"
            )
        return f"{cluster['cluster_id']}/{known.id}"

    def consumer(
        self, group: str, topics: Sequence[str], *, listener: port.RebalanceListener | None = None
    ) -> kafka_groups.Consumer:
        """Join a group."""
        for topic in topics:
            self._topics.known(topic)
        return kafka_groups.Consumer.open(
            self._cluster, group, topics, listener=listener, session_ms=self._session_ms
        )

    def reader(self, topics: Sequence[str]) -> kafka_reading.Reader:
        """Open a reader at the beginning of all partitions."""
        partitions = [each for topic in topics for each in self._topics.known(topic).partitions]
        return kafka_reading.Reader.open(self._cluster, partitions)

    def producer(self, transactional_id: str) -> kafka_producing.Producer:
        """Open a producer, fencing any other of this id and resolving what it left open."""
        return kafka_producing.Producer(self._cluster, self._topics, transactional_id)

    def partition_for(self, topic: str, key: bytes) -> port.Partition:
        """Return where the client's partitioner (Java's murmur2) puts this key."""
        partitions = self._topics.known(topic).partitions
        number = int(murmur2(key) & 0x7FFFFFFF) % len(partitions)
        return partitions[number]

    def lag(self, group: str, topics: Sequence[str]) -> Sequence[port.Lag]:
        """Return how far a group is behind the read-committed ends."""
        partitions = [each for topic in topics for each in self._topics.known(topic).partitions]
        theirs = [kafka_reading.theirs(partition) for partition in partitions]

        def ask() -> tuple[Any, Any]:
            try:
                committed = self._admin.list_group_offsets({group: theirs}).get(group, {})
            except errors.GroupIdNotFoundError:
                committed = {}
            return committed, self._admin.list_partition_offsets(
                dict.fromkeys(theirs, OffsetSpec.LATEST),
                isolation_level=IsolationLevel.READ_COMMITTED,
                timeout_ms=kafka_reading.CALL_MS,
            )

        with self._lock:
            committed, ends = kafka_errors.patiently(ask, doing=f"asking for the lag of {group}")
        # An offset of -1 is the broker's way of saying that none was committed.
        offsets = {each: found.offset for each, found in committed.items() if found.offset >= 0}
        return [
            port.Lag(partition, offsets.get(each), ends[each].offset)
            for partition, each in zip(partitions, theirs, strict=True)
        ]

    def close(self) -> None:
        """Close the connection of this object; consumers, readers and producers have their own."""
        with self._lock, contextlib.suppress(errors.KafkaError, OSError):
            if not self._closed:
                self._closed = True
                self._admin.close()
