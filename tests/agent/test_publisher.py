"""The agent over a real embedded log, as a folder changes under it."""

import contextlib
import json
import threading

import prometheus_client
import pytest

from agent import table
from agent.folder import Folder
from agent.metrics import Metrics
from agent.publisher import Publisher
from bus import embedded, port
from runtime.errors import UserError
from schemas import messages, topics
from tests.agent.builders import a_policy, write
from tests.waiting import until


@pytest.fixture
def log(tmp_path_factory):
    """An embedded log of this test's own."""
    opened = embedded.EmbeddedLog(tmp_path_factory.mktemp("log") / "log.db")
    opened.ensure(topics.ALL)
    yield opened
    opened.close()


def a_publisher(log, folder, *, cluster="demo", registry=None):
    return Publisher(
        bus=log,
        cluster=cluster,
        source=Folder(folder),
        rescan_seconds=30,
        metrics=Metrics(registry or prometheus_client.CollectorRegistry()),
    )


@contextlib.contextmanager
def running(publisher):
    """The publisher on a thread of its own; what it raises fails the test."""
    stop = threading.Event()
    raised = []

    def run():
        try:
            publisher.run(stop)
        except BaseException as error:  # noqa: BLE001 - raised again below
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield raised
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()
    if raised:
        raise raised[0]


def records(log, topic=topics.POLICIES):
    reader = log.reader([topic.name])
    try:
        return list(port.read_to_end(reader))
    finally:
        reader.close()


def known(log, cluster="demo"):
    return table.read(log, cluster)


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
