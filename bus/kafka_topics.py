"""The topics of a Kafka cluster: creating them, checking them, and what is known of them.

Checks only what a promise depends on, and names every setting that breaks one, so that an operator
mends a topic in one go. Never changes a topic that is there.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from kafka import KafkaAdminClient, errors
from kafka.admin import ConfigResource, ConfigResourceType

from bus import kafka_errors, port
from schemas.topics import MEBIBYTE, Cleanup, Topic

log = structlog.get_logger()

OVERHEAD_BYTES = 64 * 1024
"""What a batch of one record may need on top of it: headers, and lz4 on what does not shrink."""
REPLICAS = 3
SEGMENTS_A_RETENTION = 4
"""A segment is deleted whole: with this many a retention, records stay at most a quarter longer."""
KNOWN_SECONDS = 30.0
UNKNOWN_TOPIC = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a topic is now."""

    name: str
    id: str
    replicas: Mapping[int, int]
    """How many replicas each partition has, by its number."""
    max_record_bytes: int
    compacted: bool
    settings: Mapping[str, str]
    """Empty where they may not be read."""

    @property
    def partitions(self) -> tuple[port.Partition, ...]:
        """Return all partitions in order."""
        return tuple(port.Partition(self.name, number) for number in sorted(self.replicas))


@dataclass(slots=True)
class Topics:
    """Asks and changes the cluster; thread-safe."""

    admin: KafkaAdminClient
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _known: dict[str, tuple[float, Known]] = field(default_factory=dict)

    def known(self, name: str) -> Known:
        """Return a topic as it was at most half a minute ago. Raises Misconfigured if unknown."""
        with self._lock:
            at, topic = self._known.get(name, (0.0, None))
            if topic is not None and time.monotonic() - at < KNOWN_SECONDS:
                return topic
            found = self._ask([name])
            if name not in found:
                raise port.Misconfigured(f"there is no topic {name} in this Kafka cluster")
            self._known[name] = time.monotonic(), found[name]
            return found[name]

    def ensure(self, topics: Sequence[Topic]) -> None:
        """Create the missing topics and check the others."""
        doing = "making sure of the topics"
        with self._lock:
            cluster = kafka_errors.patiently(self.admin.describe_cluster, doing=doing)
            brokers = len(cluster["brokers"])
            there = self._ask([topic.name for topic in topics])
            missing = [topic for topic in topics if topic.name not in there]
            with kafka_errors.translated(doing):
                for topic in missing:
                    self._create(topic, brokers)
                self.admin.wait_for_topics([topic.name for topic in missing])
        wrong = [
            f"{topic.name}: {problem}"
            for topic in topics
            if topic.name in there
            for problem in broken(topic, there[topic.name], brokers=brokers)
        ]
        if wrong:
            raise port.Misconfigured("topics are not as they must be: " + "; ".join(wrong))

    def _create(self, topic: Topic, brokers: int) -> None:
        try:
            self.admin.create_topics(
                {
                    topic.name: {
                        "num_partitions": topic.partitions,
                        "replication_factor": min(REPLICAS, brokers),
                        "configs": settings(topic, brokers=brokers),
                    }
                }
            )
        except errors.TopicAlreadyExistsError:
            log.info("another process created the topic", topic=topic.name)
        else:
            log.info("created the topic", topic=topic.name, partitions=topic.partitions)

    def _ask(self, names: Sequence[str]) -> dict[str, Known]:
        def ask() -> tuple[list[Any], Any]:
            described = [
                topic
                for topic in self.admin.describe_topics(list(names))
                if topic["error_code"] != UNKNOWN_TOPIC
            ]
            for topic in described:
                if topic["error_code"]:
                    raise errors.for_code(topic["error_code"])(topic["name"])
            resources = [
                ConfigResource(ConfigResourceType.TOPIC, topic["name"]) for topic in described
            ]
            if not resources:
                return [], {}
            found = self.admin.describe_configs(resources, config_filter="all")
            return described, found.get("topic", {})

        described, configured = kafka_errors.patiently(ask, doing="asking for topics")
        return {topic["name"]: _known(topic, configured) for topic in described}


def settings(topic: Topic, *, brokers: int) -> dict[str, str]:
    """Return the settings that a topic is created with."""
    chosen = {
        "cleanup.policy": topic.cleanup.value,
        "max.message.bytes": str(topic.max_record_bytes + OVERHEAD_BYTES),
        "min.insync.replicas": str(in_sync(brokers)),
        "unclean.leader.election.enable": "false",
    }
    keep = topic.retention_ms
    if topic.cleanup is Cleanup.COMPACT:
        lag = str(keep or 0)
        # The first two promise, the third bounds how long what is due may stay.
        chosen |= {
            "min.compaction.lag.ms": lag,
            "delete.retention.ms": lag,
            "max.compaction.lag.ms": str(max(keep or 0, 1)),
        }
    else:
        chosen |= {"retention.ms": str(-1 if keep is None else keep), "retention.bytes": "-1"}
        if keep is not None:
            chosen["segment.ms"] = str(max(keep // SEGMENTS_A_RETENTION, 1))
    return chosen


def in_sync(brokers: int) -> int:
    """Return how many replicas must have a record before it counts as written."""
    return max(1, min(REPLICAS, brokers) - 1)


def broken(topic: Topic, known: Known, *, brokers: int) -> list[str]:
    """Return what of an existing topic breaks a promise, a phrase each."""
    problems = []
    if len(known.replicas) < topic.partitions:
        problems.append(f"has {len(known.replicas)} partitions, needs {topic.partitions}")
    replicas = min(known.replicas.values())
    if replicas < min(REPLICAS, brokers):
        problems.append(f"has {replicas} replicas, needs {min(REPLICAS, brokers)}")
    if not known.settings:
        log.warning("the settings of the topic may not be read", topic=topic.name)
        return problems
    exact, least = _promised(topic, known, brokers=brokers)
    for name, value in exact.items():
        found = known.settings.get(name)
        if found is not None and found != value:
            problems.append(f"{name} is {found}, must be {value}")
    for name, number in least.items():
        found = known.settings.get(name)
        if found is not None and int(found) < number:
            problems.append(f"{name} is {found}, must be at least {number}")
    return problems


def _promised(topic: Topic, known: Known, *, brokers: int) -> tuple[dict[str, str], dict[str, int]]:
    """Return the settings that must be just so, and those that must be at least so."""
    keep = topic.retention_ms
    least = {
        "max.message.bytes": topic.max_record_bytes + OVERHEAD_BYTES,
        "min.insync.replicas": in_sync(brokers),
    }
    exact = {
        "cleanup.policy": topic.cleanup.value,
        "unclean.leader.election.enable": "false",
    }
    if topic.cleanup is Cleanup.COMPACT:
        least |= {"min.compaction.lag.ms": keep or 0, "delete.retention.ms": keep or 0}
        return exact, least
    exact["retention.bytes"] = "-1"
    if keep is None:
        exact["retention.ms"] = "-1"
    elif known.settings.get("retention.ms") != "-1":
        least["retention.ms"] = keep
    return exact, least


def _known(topic: Mapping[str, Any], configured: Mapping[str, Any]) -> Known:
    values = {
        name: str(setting["value"])
        for name, setting in configured.get(topic["name"], {}).items()
        if setting.get("value") is not None
    }
    return Known(
        name=topic["name"],
        id=str(topic.get("topic_id") or ""),
        replicas={
            partition["partition_index"]: len(partition["replica_nodes"])
            for partition in topic["partitions"]
        },
        max_record_bytes=int(values.get("max.message.bytes", MEBIBYTE + OVERHEAD_BYTES))
        - OVERHEAD_BYTES,
        compacted="compact" in values.get("cleanup.policy", ""),
        settings=values,
    )
