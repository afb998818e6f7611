"""The agent on a real API server: what is there, what changes, and what is gone."""

import contextlib
import json
import uuid
from datetime import datetime

import pytest

from policies.repository import Repository
from runtime.errors import UserError
from schemas import messages, topics
from tests.agent import objects
from tests.agent.running import (
    Asked,
    a_cluster_publisher,
    complete,
    known,
    messages_of,
    newest,
    records,
    running,
)
from tests.parts.kubernetes import crds, programs
from tests.waiting import until

pytestmark = pytest.mark.kubernetes


@pytest.fixture
def unique():
    """A name for what has no namespace."""
    return f"t{uuid.uuid4().hex[:12]}"


def everything(namespace, name):
    """One object of each kind, and how many of them are published."""
    return [
        objects.a_cnp(namespace),
        objects.a_ccnp(name),
        objects.a_network_policy(namespace),
        objects.a_cidr_group(name),
        objects.a_service(namespace, selector={"app": "web"}),
        objects.an_endpoint_slice(namespace),
        objects.a_pod(namespace),
        objects.a_cilium_config(name, enable_policy="Always", cluster_name="Prod"),
    ]


def check_everything(log, namespace, name):
    """Each is there as a reader of the topic needs it, and matching takes it."""
    said = [message for message in messages_of(log, namespace) if message]
    assert {message["manifest"]["kind"] for message in said if "manifest" in message} == {
        "CiliumNetworkPolicy",
        "NetworkPolicy",
        "Service",
        "EndpointSlice",
        "NamedPorts",
    }
    assert newest(log, "CiliumClusterwideNetworkPolicy", "", name)
    assert newest(log, "CiliumCIDRGroup", "", name)
    assert newest(log, "Namespace", "", namespace)
    options = newest(log, "AgentOptions", "", name)
    assert options["spec"] == {
        "clusterName": "Prod",
        "enablePolicy": "always",
        "enableHostFirewall": False,
    }
    repository = Repository()
    for record in records(log):
        if record.value is not None and not record.key.endswith(b"/synced"):
            found = json.loads(record.value)
            if "manifest" in found:  # of others' objects in this API server some may be gone by now
                repository.apply(record.key.decode(), found["manifest"], since=None)
            text = record.value.decode()
            assert "managedFields" not in text
            assert "secret" not in text, "an annotation of a service, or a variable of a pod"


def test_every_kind_is_published_and_then_the_marker(control_plane, namespace, unique, log):
    """What was there before the agent came; the marker names the cluster."""
    control_plane.apply(everything(namespace, unique))
    with complete(a_cluster_publisher(log, control_plane.kubeconfig, config=unique)):
        check_everything(log, namespace, unique)
        uid = control_plane.get("v1", "Namespace", "kube-system")["metadata"]["uid"]
        assert known(log).synced.cluster_uid == uid

        def counts():
            found = known(log)
            return found.synced.objects == len(found.objects)

        # Others' objects in this API server come and go, and the marker follows them.
        until(counts)


def test_every_kind_is_followed(control_plane, namespace, unique, log):
    """What comes after the agent, changes and goes."""
    with complete(a_cluster_publisher(log, control_plane.kubeconfig, config=unique)):
        made = everything(namespace, unique)
        control_plane.apply(made)
        until(lambda: newest(log, "AgentOptions", "", unique))
        until(lambda: len({m["manifest"]["kind"] for m in messages_of(log, namespace)}) == 5)
        check_everything(log, namespace, unique)
        control_plane.delete(made)

        def left():
            ours = (identity for identity in known(log).objects if unique in str(identity))
            return [*ours, *(i for i in known(log).objects if i.namespace == namespace)]

        until(lambda: not left())


def test_another_minor_of_kubernetes_is_read_as_well(make_plane, unique, log):
    """The same objects, from the API server of the other version."""
    cluster = make_plane(version=programs.OTHER)
    crds.install(cluster)
    cluster.apply([objects.a_namespace("shop"), *everything("shop", unique)])
    with complete(a_cluster_publisher(log, cluster.kubeconfig, config=unique)):
        check_everything(log, "shop", unique)


def test_a_changed_policy_holds_from_its_change(control_plane, namespace, log):
    """Not from when the agent saw it; its first version from its creation."""
    (made,) = control_plane.apply(objects.a_cnp(namespace))
    with complete(a_cluster_publisher(log, control_plane.kubeconfig)):
        until(lambda: messages_of(log, namespace))
        control_plane.apply(objects.a_cnp(namespace, peer="other"))
        first, second = until(
            lambda: found if len(found := messages_of(log, namespace)) == 2 else None
        )
    changed = control_plane.get("cilium.io/v2", "CiliumNetworkPolicy", "web", namespace)
    assert first["since"] == made["metadata"]["creationTimestamp"]
    times = [entry["time"] for entry in changed["metadata"]["managedFields"]]
    noted = datetime.fromisoformat(max(times))
    # Of the same second: then the moment when it was seen.
    assert 0 <= (datetime.fromisoformat(second["since"]) - noted).total_seconds() < 5
    assert second["manifest"]["spec"]["ingress"] == changed["spec"]["ingress"]


def test_status_and_bookkeeping_are_no_news(control_plane, namespace, log):
    """Cilium writes the status of each policy; nothing is published for it."""
    control_plane.apply(objects.a_cnp(namespace))
    with complete(a_cluster_publisher(log, control_plane.kubeconfig)):
        until(lambda: messages_of(log, namespace))
        condition = {
            "type": "Valid",
            "status": "True",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        control_plane.apply(
            {**objects.a_cnp(namespace), "status": {"conditions": [condition]}},
            subresource="status",
        )
        control_plane.apply(objects.a_cnp(namespace, "later"))
        until(lambda: newest(log, "CiliumNetworkPolicy", namespace, "later"))
    assert len(messages_of(log, namespace, name="web")) == 1
    assert "status" not in newest(log, "CiliumNetworkPolicy", namespace, "web")


def test_a_relabelled_namespace_is_published(control_plane, namespace, log):
    """Its labels are what policies select it by."""
    with complete(a_cluster_publisher(log, control_plane.kubeconfig)):
        control_plane.apply(objects.a_namespace(namespace, team="shop"))

        def labels():
            return newest(log, "Namespace", "", namespace)["metadata"]["labels"]

        until(lambda: labels().get("team") == "shop")


def test_pods_that_look_alike_are_one_object(control_plane, namespace, log):
    """It comes with the first and goes with the last; another port is another object."""
    with complete(a_cluster_publisher(log, control_plane.kubeconfig)):
        one, two = objects.a_pod(namespace, "web-1"), objects.a_pod(namespace, "web-2")
        other = objects.a_pod(namespace, "web-3", port=9090)
        control_plane.apply([one, two, other])
        until(lambda: len(messages_of(log, namespace, "NamedPorts")) == 2)
        specs = [m["manifest"]["spec"]["pods"] for m in messages_of(log, namespace, "NamedPorts")]
        assert [pods[0]["labels"] for pods in specs] == [{"app": "web"}, {"app": "web"}]
        assert sorted(pods[0]["ports"][0]["port"] for pods in specs) == [8080, 9090]
        control_plane.delete(one)
        control_plane.delete(other)
        until(lambda: None in messages_of(log, namespace, "NamedPorts"))
        assert len([i for i in known(log).objects if i.namespace == namespace]) == 1
        control_plane.delete(two)
        until(lambda: not [i for i in known(log).objects if i.namespace == namespace])


def test_options_decide_which_labels_pods_are_known_by(control_plane, namespace, unique, log):
    """Cilium's own choice of labels, also when it changes."""
    control_plane.apply(objects.a_pod(namespace, tier="front"))

    def labels():
        found = [i for i in known(log).objects if i.namespace == namespace]
        if len(found) != 1:
            return None
        ports = newest(log, "NamedPorts", namespace, found[0].name)
        # Between the two looks another set of labels may have taken its place.
        return ports and ports["spec"]["pods"][0]["labels"]

    config = objects.a_cilium_config(unique, labels="k8s:app")
    control_plane.apply(config)
    with complete(a_cluster_publisher(log, control_plane.kubeconfig, config=unique)):
        until(lambda: labels() == {"app": "web"})
        control_plane.apply(objects.a_cilium_config(unique, labels="!app"))
        until(lambda: labels() == {"tier": "front"})
        control_plane.delete(config)
        until(lambda: labels() == {"app": "web", "tier": "front"})


def test_what_went_while_no_agent_ran_is_told_at_start(control_plane, namespace, log):
    """A tombstone for what is gone, a version for what changed, nothing for the rest."""
    stays, goes, changes = (objects.a_cnp(namespace, name) for name in ("stays", "goes", "changes"))
    control_plane.apply([stays, goes, changes])
    with complete(a_cluster_publisher(log, control_plane.kubeconfig)):
        pass
    before = len(messages_of(log, namespace))
    control_plane.delete(goes)
    control_plane.apply(objects.a_cnp(namespace, "changes", peer="other"))
    with complete(a_cluster_publisher(log, control_plane.kubeconfig)):
        pass
    news = messages_of(log, namespace)[before:]
    assert [
        message and message.get("deleted", message.get("manifest", {}).get("spec"))
        for message in news
    ] == [
        objects.a_cnp(namespace, peer="other")["spec"],
        True,
        None,
    ]


def test_a_second_agent_asks_for_nothing_until_it_takes_over(control_plane, namespace, log):
    """It stands by, and begins with a list when the first is gone."""
    asked = Asked()
    second = a_cluster_publisher(log, control_plane.kubeconfig, asked=asked)
    with contextlib.ExitStack() as stack:
        with complete(a_cluster_publisher(log, control_plane.kubeconfig)):
            stack.enter_context(running(second))
            until(lambda: second.problem() is None)
            assert asked == []
        until(lambda: asked and second.problem() is None)
        control_plane.apply(objects.a_cnp(namespace))
        until(lambda: newest(log, "CiliumNetworkPolicy", namespace, "web"))


def test_another_cluster_of_the_same_name_is_refused(make_plane, control_plane, log):
    """The UID of kube-system binds the name; nothing of the other cluster is published."""
    with complete(a_cluster_publisher(log, control_plane.kubeconfig)):
        pass
    before = len(records(log))
    other = make_plane()
    other.apply(objects.a_namespace("intruder"))
    with (
        pytest.raises(UserError, match="the name demo belongs to the cluster with UID"),
        running(a_cluster_publisher(log, other.kubeconfig)) as raised,
    ):
        until(lambda: raised)
    assert len(records(log)) == before
    assert messages.Synced.model_validate(json.loads(records(log)[-1].value))
    assert not records(log, topics.DEADLETTER)
