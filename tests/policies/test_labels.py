import gc

from policies.labels import LabelSet
from tests.policies.builders import a_pod


def test_equal_labels_are_the_same_set():
    """The order in which labels are written does not matter."""
    assert LabelSet.of(["k8s:b=2", "k8s:a=1"]) is LabelSet.of(["k8s:a=1", "k8s:b=2"])


def test_a_bare_key_is_of_any_source():
    """A label is found by its key alone, or by source and key."""
    labels = LabelSet.of(["container:app=x"])
    assert labels.get("app") == "x"
    assert labels.get("app", "container") == "x"
    assert labels.get("app", "k8s") is None


def test_namespace_and_cluster_are_those_of_kubernetes():
    """A pod says where it runs."""
    pod = a_pod(namespace="shop", cluster="c2")
    assert (pod.namespace, pod.cluster) == ("shop", "c2")


def test_an_ipv6_prefix_keeps_its_colons():
    """Only the first colon parts source and key."""
    labels = LabelSet.of(["cidr:2001:db8::/32", "reserved:world-ipv6"])
    assert labels.get("2001:db8::/32", "cidr") == ""
    assert labels.is_outside


def test_what_cilium_manages_is_not_outside():
    """CIDR rules are not about pods and nodes."""
    assert not a_pod().is_outside
    assert not LabelSet.of(["reserved:remote-node"]).is_outside


def test_names_are_compared_in_one_spelling():
    """A final dot and upper case make no difference."""
    assert LabelSet.of(["fqdn:API.example.com."]).fqdns == {"api.example.com"}


def test_sets_that_nobody_holds_are_forgotten():
    """Identities come and go: memory does not grow with those that went."""
    gc.collect()
    before = len(LabelSet._known)
    held = [LabelSet.of([f"k8s:forgotten={number}"]) for number in range(100)]
    assert len(LabelSet._known) == before + 100
    del held
    gc.collect()
    assert len(LabelSet._known) <= before
