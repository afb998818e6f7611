"""What a topic must be like: settings for new ones, and what of an existing one breaks a promise."""

import pytest

from bus import kafka_topics
from schemas import topics
from schemas.topics import Cleanup, Topic
from tests.contracts.log.harness import a_topic

pytestmark = pytest.mark.kafka


def known(
    topic: Topic,
    *,
    brokers: int = 3,
    replicas: int = 3,
    partitions: int | None = None,
    **changed: str,
) -> kafka_topics.Known:
    """Return what the cluster would tell of a topic made by us, with some settings changed."""
    settings = kafka_topics.settings(topic, brokers=brokers)
    settings |= {name.replace("_", "."): value for name, value in changed.items()}
    return kafka_topics.Known(
        name=topic.name,
        id="1",
        replicas=dict.fromkeys(range(partitions or topic.partitions), replicas),
        max_record_bytes=topic.max_record_bytes,
        compacted=topic.cleanup is Cleanup.COMPACT,
        settings=settings,
    )


@pytest.mark.parametrize("topic", topics.ALL, ids=lambda topic: topic.name)
@pytest.mark.parametrize("brokers", [1, 2, 3, 7])
def test_what_we_make_is_as_it_must_be(topic: Topic, brokers: int) -> None:
    """Each of our topics, as created, passes its own check on every size of cluster."""
    made = known(topic, brokers=brokers, replicas=min(3, brokers))
    assert kafka_topics.broken(topic, made, brokers=brokers) == []


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"cleanup_policy": "compact"}, "cleanup.policy is compact, must be delete"),
        ({"cleanup_policy": "compact,delete"}, "cleanup.policy"),
        ({"retention_ms": "1000"}, "retention.ms is 1000, must be at least 3600000"),
        ({"retention_bytes": "1000000"}, "retention.bytes"),
        ({"max_message_bytes": "9999"}, "max.message.bytes"),
        ({"min_insync_replicas": "1"}, "min.insync.replicas is 1, must be at least 2"),
        ({"unclean_leader_election_enable": "true"}, "unclean.leader.election.enable"),
    ],
)
def test_each_broken_promise_is_named(changed: dict[str, str], named: str) -> None:
    """A setting that breaks a promise is told with its value and what it must be."""
    topic = a_topic()
    (problem,) = kafka_topics.broken(topic, known(topic, **changed), brokers=3)
    assert named in problem


@pytest.mark.parametrize("setting", ["min_compaction_lag_ms", "delete_retention_ms"])
def test_compaction_may_not_hurry(setting: str) -> None:
    """A compacted topic keeps superseded records and tombstones for its time at least."""
    topic = a_topic(cleanup=Cleanup.COMPACT)
    (problem,) = kafka_topics.broken(topic, known(topic, **{setting: "0"}), brokers=3)
    assert setting.replace("_", ".") in problem


def test_more_is_fine() -> None:
    """Longer retention, more partitions and larger records than asked for break nothing."""
    topic = a_topic()
    generous = known(topic, partitions=12, retention_ms="-1", max_message_bytes="100000000")
    assert kafka_topics.broken(topic, generous, brokers=3) == []


def test_too_few_replicas_and_partitions_are_named() -> None:
    """What cannot be mended by a setting is told as well."""
    topic = a_topic(partitions=4)
    problems = kafka_topics.broken(topic, known(topic, replicas=1, partitions=2), brokers=5)
    assert problems == ["has 2 partitions, needs 4", "has 1 replicas, needs 3"]


def test_a_topic_is_kept_for_ever_where_it_says_so() -> None:
    """Without a retention nothing may be deleted."""
    topic = a_topic(retention_ms=None)
    assert kafka_topics.settings(topic, brokers=1)["retention.ms"] == "-1"
    (problem,) = kafka_topics.broken(topic, known(topic, retention_ms="86400000"), brokers=3)
    assert "retention.ms" in problem
