"""A publisher on a thread, and what stands on the topic meanwhile."""

import contextlib
import json
import threading

import prometheus_client

from agent import credentials, resources, table
from agent.cluster import FollowedCluster
from agent.following import FollowedFolder
from agent.metrics import Metrics
from agent.publisher import Publisher
from bus import port
from schemas import topics
from tests.waiting import until


def a_publisher(log, folder, *, cluster="demo", registry=None):
    """One that follows a folder."""
    return Publisher(
        bus=log,
        cluster=cluster,
        source=FollowedFolder(root=folder, rescan_seconds=30),
        metrics=Metrics(registry or prometheus_client.CollectorRegistry()),
    )


class Asked(list):
    """The requests of an agent, by kind and verb."""

    def __call__(self, kind, verb):
        self.append((kind, verb))

    def lists(self, kind):
        return self.count((kind, "list"))

    def watches(self, kind):
        return self.count((kind, "watch"))


def a_cluster_publisher(
    log, kubeconfig, *, cluster="demo", config="cilium-config", asked=None, who=None
):
    """One that follows a cluster, as a kubeconfig says or as `who`."""
    return Publisher(
        bus=log,
        cluster=cluster,
        source=FollowedCluster(
            credentials=who or credentials.of_kubeconfig(kubeconfig, None),
            config=resources.cilium_config("kube-system", config),
            asked=asked if asked is not None else Asked(),
        ),
        metrics=Metrics(prometheus_client.CollectorRegistry()),
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


@contextlib.contextmanager
def complete(publisher, seconds=60):
    """A running publisher that has told everything."""
    with running(publisher) as raised:
        until(
            lambda: raised or publisher.problem() is None,
            what=f"complete, but {publisher.problem()}",
            seconds=seconds,
        )
        if not raised:
            yield raised
    assert not raised


def records(log, topic=topics.POLICIES):
    reader = log.reader([topic.name])
    try:
        return list(port.read_to_end(reader))
    finally:
        reader.close()


def known(log, cluster="demo"):
    return table.read(log, cluster)


def messages_of(log, namespace, kind=None, name=None):
    """What was said of a namespace's objects, in order; None is a tombstone."""
    found = []
    for record in records(log):
        parts = record.key.decode().split("/")
        if len(parts) != 4 or parts[2] != namespace:
            continue
        if kind in {None, parts[1]} and name in {None, parts[3]}:
            found.append(None if record.value is None else json.loads(record.value))
    return found


def newest(log, kind, namespace, name):
    """The newest manifest of an object, None where it is gone or never was."""
    found = messages_of(log, namespace, kind, name)
    return found[-1]["manifest"] if found and found[-1] and "manifest" in found[-1] else None
