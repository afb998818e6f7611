"""Which labels of a pod a flow will show."""

import pytest

from policies import identitylabels


@pytest.mark.parametrize(
    ("key", "taken"),
    [
        ("app", True),
        ("app.kubernetes.io/name", True),
        ("team.example.com/owner", True),
        ("pod-template-hash", False),
        ("controller-revision-hash", False),
        ("statefulset.kubernetes.io/pod-name", False),
        ("apps.kubernetes.io/pod-index", False),
        ("topology.kubernetes.io/zone", False),
        ("beta.kubernetes.io/os", False),
        ("kubernetes.io/whatever", False),
        ("job-name", True),
    ],
)
def test_the_defaults_are_those_of_cilium(key, taken):
    """As its page on limiting identity-relevant labels lists them."""
    assert identitylabels.DEFAULT.takes(key) is taken


def test_words_that_are_wanted_leave_all_others_out():
    """One word without an exclamation mark turns the option into a list of what is taken."""
    labels = identitylabels.parse("k8s:app k8s:!app-secret")
    found = labels.identity(
        {"app": "a", "app-secret": "b", "tier": "c", "app.kubernetes.io/x": "d"}
    )
    assert found == {"app": "a", "app.kubernetes.io/x": "d"}


def test_words_that_are_not_wanted_add_to_the_defaults():
    """Everything else stays as it is without the option."""
    labels = identitylabels.parse("!tier")
    assert labels.identity({"app": "a", "tier": "b", "pod-template-hash": "c"}) == {"app": "a"}


def test_a_word_of_another_source_turns_the_option_into_a_list_as_well():
    """It names no label of a pod, and Cilium counts it all the same."""
    labels = identitylabels.parse("reserved:.* k8s:tier")
    assert (labels.takes("app"), labels.takes("tier")) == (False, True)


def test_a_broken_expression_is_said():
    """Cilium would not start with it."""
    with pytest.raises(identitylabels.Unusable, match="no regular expression"):
        identitylabels.parse("k8s:(")
