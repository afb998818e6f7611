"""The agent over a real embedded log, as a folder changes under it."""

import contextlib
import json

import prometheus_client
import pytest

from bus import port
from runtime.errors import UserError
from schemas import messages, topics
from tests.agent.builders import a_policy, write
from tests.agent.running import a_publisher, known, records, running
from tests.waiting import until


def names(log):
    return sorted(identity.name for identity in known(log).objects)


def test_the_folder_is_published_and_marked_complete(log, tmp_path):
    """Policies, what they refer to, and then the marker; a reader finds path and line."""
    write(tmp_path, a=a_policy("a"), ns="{apiVersion: v1, kind: Namespace, metadata: {name: shop}}")
    with running(a_publisher(log, tmp_path)):
        until(lambda: known(log).synced)
    last = records(log)[-1]
    assert last.key == b"demo/synced"
    assert messages.Synced.model_validate_json(last.value).objects == 2
    found = {identity.name: entry.provenance for identity, entry in known(log).objects.items()}
    assert (found["a"].path, found["a"].line) == ("a.yaml", 1)


def test_changes_are_followed(log, tmp_path):
    """A new file, an edited one and a deleted one, as they happen."""
    write(tmp_path, a=a_policy("a"))
    with running(a_publisher(log, tmp_path)):
        until(lambda: names(log) == ["a"])
        write(tmp_path, b=a_policy("b"))
        until(lambda: names(log) == ["a", "b"])
        write(tmp_path, b=a_policy("b", app="other"))
        until(lambda: any(entry.since for entry in known(log).objects.values()))
        (tmp_path / "a.yaml").unlink()
        until(lambda: names(log) == ["b"])
    told = [record for record in records(log) if record.key.endswith(b"/a")]
    assert [json.loads(record.value or b"null") for record in told][-1] is None
    assert json.loads(told[-2].value)["deleted"] is True


def test_a_second_start_publishes_only_what_changed_meanwhile(log, tmp_path):
    """What is gone is deleted, what is new appears, the rest is left alone."""
    write(tmp_path, a=a_policy("a"), b=a_policy("b"))
    with running(a_publisher(log, tmp_path)):
        until(lambda: known(log).synced)
    before = len(records(log))
    (tmp_path / "a.yaml").unlink()
    write(tmp_path, c=a_policy("c"))
    with running(a_publisher(log, tmp_path)):
        until(lambda: names(log) == ["b", "c"])
    keys = [record.key.rpartition(b"/")[2] for record in records(log)[before:]]
    assert keys == [b"c", b"a", b"a"]


def test_a_broken_file_becomes_a_dead_letter_once_and_its_objects_stay(log, tmp_path):
    """Its text, which may hold secrets, is not in the letter; file and line are."""
    write(tmp_path, a=a_policy("a"), b=a_policy("b"))
    with running(a_publisher(log, tmp_path)):
        until(lambda: names(log) == ["a", "b"])
        write(tmp_path, a="kind: Secret\ndata: {password: [")
        until(lambda: records(log, topics.DEADLETTER))
        write(tmp_path, b=a_policy("c"))
        until(lambda: names(log) == ["a", "c"])
        write(tmp_path, a=a_policy("d"))
        until(lambda: names(log) == ["c", "d"])
    (record,) = records(log, topics.DEADLETTER)
    letter = messages.DeadLetter.model_validate_json(record.value)
    assert (letter.stage, letter.topic, letter.index, letter.payload) == ("agent", "a.yaml", 2, "")


def test_what_a_broken_file_held_stays_over_a_restart(log, tmp_path):
    """The table remembers which file each object came from."""
    write(tmp_path, a=a_policy("a"), b=a_policy("b"))
    with running(a_publisher(log, tmp_path)):
        until(lambda: names(log) == ["a", "b"])
    write(tmp_path, a="a: [", b=a_policy("c"))
    with running(a_publisher(log, tmp_path)):
        until(lambda: names(log) == ["a", "c"])


@pytest.mark.slow
def test_a_policy_of_a_megabyte_is_published(log, tmp_path):
    """Well below the topic's limit, well above what a record usually is."""
    rules = "\n".join(f"  - 10.{n >> 8 & 255}.{n & 255}.0/24" for n in range(60_000))
    text = a_policy("big").replace("  - fromEndpoints: [{}]\n", f"  - fromCIDR:\n{rules}\n")
    write(tmp_path, big=text)
    assert len(text) > 1_000_000
    with running(a_publisher(log, tmp_path)):
        until(lambda: names(log) == ["big"], seconds=60)


@pytest.mark.slow
def test_an_object_over_the_limit_is_told_with_both_sizes(log, tmp_path):
    """The others go on, and the letter says how large it is and may be."""
    huge = a_policy("huge") + "  description: " + "x" * (4 * 1024 * 1024) + "\n"
    write(tmp_path, huge=huge, small=a_policy("small"))
    with running(a_publisher(log, tmp_path)):
        until(lambda: known(log).synced, seconds=60)
    assert names(log) == ["small"]
    (record,) = records(log, topics.DEADLETTER)
    assert "an object may have 4,177,920" in json.loads(record.value)["reason"]


def test_two_clusters_share_the_topic(log, tmp_path):
    """Neither deletes what the other published."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    write(one, a=a_policy("a"))
    write(two, b=a_policy("b"))
    with running(a_publisher(log, one, cluster="one")):
        until(lambda: known(log, "one").synced)
    with running(a_publisher(log, two, cluster="two")):
        until(lambda: known(log, "two").synced)
    assert [identity.name for identity in known(log, "one").objects] == ["a"]


def test_a_second_cluster_of_the_same_name_is_refused(log, tmp_path):
    """The UID of kube-system binds the name."""
    text = "{{apiVersion: v1, kind: Namespace, metadata: {{name: kube-system, uid: {}}}}}"
    write(tmp_path, ns=text.format("one"))
    with running(a_publisher(log, tmp_path)):
        until(lambda: known(log).synced)
    write(tmp_path, ns=text.format("two"))
    with (
        pytest.raises(UserError, match="belongs to the cluster with UID one"),
        running(a_publisher(log, tmp_path)) as raised,
    ):
        until(lambda: raised)


def test_a_second_agent_stands_by(log, tmp_path):
    """Only one of a cluster publishes; the other takes over when it goes."""
    write(tmp_path, a=a_policy("a"))
    registry = prometheus_client.CollectorRegistry()
    second = a_publisher(log, tmp_path, registry=registry)

    def is_active():
        return registry.get_sample_value("picket_agent_active", {"cluster": "demo"})

    with contextlib.ExitStack() as stack:
        with running(a_publisher(log, tmp_path)):
            until(lambda: known(log).synced)
            stack.enter_context(running(second))
            until(lambda: is_active() == 0.0)
            assert second.problem() is None
        until(lambda: is_active() == 1.0)
        write(tmp_path, b=a_policy("b"))
        until(lambda: names(log) == ["a", "b"])


class Flaky:
    """A log whose first transactions fail, before or after they were committed."""

    def __init__(self, log, *, failures, after):
        self._log, self.failures, self._after = log, failures, after

    def __getattr__(self, name):
        return getattr(self._log, name)

    def producer(self, name):
        return self._Producer(self, self._log.producer(name))

    class _Producer:
        def __init__(self, log, producer):
            self._log, self._producer = log, producer
            self.close = producer.close

        @contextlib.contextmanager
        def transaction(self):
            fails = self._log.failures > 0
            self._log.failures -= fails
            if fails and not self._log._after:
                raise port.Unavailable("away")
            with self._producer.transaction() as transaction:
                yield transaction
            if fails:
                raise port.Unavailable("the answer was lost")


@pytest.mark.parametrize("after", [False, True])
def test_what_the_log_did_not_take_is_written_once_it_is_back(log, tmp_path, after):
    """Once, whether or not it was committed all the same; the source is not asked again."""
    write(tmp_path, a=a_policy("a"), b=a_policy("b"))
    publisher = a_publisher(Flaky(log, failures=2, after=after), tmp_path)
    asked = []
    read = publisher.source.read
    publisher.source = Told(read, asked)
    with running(publisher):
        until(lambda: publisher.problem() is None)
    keys = [record.key.rpartition(b"/")[2] for record in records(log)]
    assert keys == [b"a", b"b", b"synced"]
    assert len([reading for reading in asked if reading]) == 1


class Told:
    """A source that reads once, and notes it."""

    def __init__(self, read, asked):
        self._read, self._asked = read, asked

    def restart(self):
        """Nothing to begin anew."""

    def pause(self):
        """Nothing to let go of."""

    def problem(self):
        return None

    def read(self, stop, *, timeout):
        if any(self._asked):
            stop.wait(0.01)
            return None
        self._asked.append(self._read(stop, timeout=timeout))
        return self._asked[-1]
