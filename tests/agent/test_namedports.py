"""Many pods, few objects."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from agent import namedports, shaping
from policies import inventory
from policies.labels import LabelSet
from tests.agent import objects

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def a_pod(name="web-1", **others):
    return shaping.pod(objects.a_pod("shop", name, **others))


def put(pods, *some):
    return [change for pod in some for change in pods.put(pod, NOW)]


def test_the_object_is_what_matching_reads():
    """A subject with the labels of such pods has their ports."""
    (change,) = put(namedports.NamedPorts(), a_pod())
    (found,) = inventory.named_ports(change.want.manifest)
    subject = LabelSet.of(["k8s:app=web", "k8s:io.kubernetes.pod.namespace=shop"])
    assert found.namespace == subject.namespace
    assert found.labels.matches(subject)
    assert [(port.name, port.port) for port in found.ports] == [("http", 8080)]


def test_pods_of_one_sort_make_one_object():
    """The second says nothing new, and only the last takes it away."""
    pods = namedports.NamedPorts()
    assert len(put(pods, a_pod("web-1"), a_pod("web-2"))) == 1
    assert list(pods.remove("shop", "web-1", NOW)) == []
    (gone,) = pods.remove("shop", "web-2", NOW)
    assert gone.want is None


def test_a_pod_without_names_is_none():
    """Nor is one that shares its node's network: it is no endpoint of its own."""
    pods = namedports.NamedPorts()
    on_host = objects.a_pod("shop")
    on_host["spec"]["hostNetwork"] = True
    assert put(pods, a_pod(port_name=""), shaping.pod(on_host)) == []


def test_a_relabelled_pod_changes_its_sort():
    """What comes is told before what goes."""
    pods = namedports.NamedPorts()
    put(pods, a_pod())
    assert [change.want is None for change in put(pods, a_pod(app="other"))] == [False, True]


def test_the_same_sort_has_the_same_name_after_a_restart():
    """Whichever of its pods is seen first."""
    (one,) = put(namedports.NamedPorts(), a_pod("web-1"))
    (two,) = put(namedports.NamedPorts(), a_pod("web-9"))
    assert (one.identity, one.want.meaning) == (two.identity, two.want.meaning)


PODS = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d"]),
    st.tuples(st.sampled_from(["web", "api"]), st.sampled_from(["", "http"])),
)


@given(st.lists(PODS, max_size=6))
def test_the_changes_add_up_to_what_is_there(lists):
    """However pods come, change and go."""
    pods = namedports.NamedPorts()
    there = set()
    for listed in lists:
        some = {name: a_pod(name, app=app, port_name=port) for name, (app, port) in listed.items()}
        changes = put(pods, *some.values())
        changes += pods.keep(frozenset(("shop", name) for name in some), NOW)
        for change in changes:
            (there.discard if change.want is None else there.add)(change.identity)
        assert there == pods.identities()
        assert len(there) == len({app for app, port in listed.values() if port})
