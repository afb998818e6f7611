import pytest

from policies import selecting
from policies.decoding import Field, PolicyRejected
from policies.labels import LabelSet
from tests.policies.builders import HOST, a_pod


def matches(selector: dict, labels: LabelSet) -> bool:
    """Whether a selector as written selects these labels."""
    return selecting.cilium(Field("", selector)).matches(labels)


@pytest.mark.parametrize(
    ("operator", "values", "with_value", "with_other", "without"),
    [
        ("In", ["a", "b"], True, False, False),
        ("NotIn", ["a", "b"], False, True, True),
        ("Exists", [], True, True, False),
        ("DoesNotExist", [], False, False, True),
    ],
)
def test_operators(operator, values, with_value, with_other, without):
    """NotIn and DoesNotExist hold where the label is absent."""
    selector = {"matchExpressions": [{"key": "tier", "operator": operator, "values": values}]}
    assert matches(selector, a_pod(tier="a")) is with_value
    assert matches(selector, a_pod(tier="z")) is with_other
    assert matches(selector, a_pod()) is without


def test_values_compare_exactly():
    """A prefix of a value is another value."""
    assert not matches({"matchLabels": {"app": "web"}}, a_pod("webhook"))


def test_a_source_prefix_pins_the_source():
    """A label of a container is not one of Kubernetes."""
    labels = LabelSet.of(["container:app=web"])
    assert matches({"matchLabels": {"app": "web"}}, labels)
    assert matches({"matchLabels": {"any:app": "web"}}, labels)
    assert not matches({"matchLabels": {"k8s:app": "web"}}, labels)


def test_labels_and_expressions_must_all_hold():
    """They are one condition."""
    selector = {
        "matchLabels": {"app": "web"},
        "matchExpressions": [{"key": "tier", "operator": "Exists"}],
    }
    assert matches(selector, a_pod(tier="x"))
    assert not matches(selector, a_pod())


def test_reserved_all_is_a_label_that_nobody_has():
    """`all` is an entity, and no identity."""
    assert not matches({"matchLabels": {"reserved:all": ""}}, HOST)


@pytest.mark.parametrize(
    "selector",
    [
        {"matchLabels": {"": "web"}},
        {"matchLabels": {"app": "a b"}},
        {"matchLabels": {"app": "x" * 64}},
        {"matchLabels": {"Upper.example/app": "x"}},
        {"matchLabels": {"app": True}},
        {"matchLabels": ["app"]},
        {"matchExpressions": [{"key": "app", "operator": "In"}]},
        {"matchExpressions": [{"key": "app", "operator": "Exists", "values": ["x"]}]},
        {"matchExpressions": [{"key": "app", "operator": "Gt", "values": ["1"]}]},
        {"matchExpressions": [{"operator": "Exists"}]},
    ],
)
def test_broken_selectors_are_refused(selector):
    """What Kubernetes refuses is refused."""
    with pytest.raises(PolicyRejected):
        selecting.cilium(Field("spec", selector))


def test_a_selector_reads_like_a_sentence():
    """Texts leave out what Cilium adds."""
    selector = {
        "matchLabels": {"k8s:app": "web", "k8s:io.kubernetes.pod.namespace": "evil"},
        "matchExpressions": [
            {"key": "tier", "operator": "NotIn", "values": ["a", "b"]},
            {"key": "env", "operator": "DoesNotExist"},
        ],
    }
    text = str(selecting.cilium(Field("", selector)))
    assert text == "app=web, namespace=evil, tier not in (a, b), no env"
