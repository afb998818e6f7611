import pytest

from policies import parsing
from policies.alerting import duration
from policies.model import Alerting, Severity, Threshold
from tests.policies.builders import a_policy

PROJECT = {"app.gitlab.com/proj": "123"}
ON = {"app.gitlab.com/alert": "true"}


def read(labels: dict | None = None, annotations: dict | None = None):
    """What a policy with these labels and annotations asks for."""
    policy = parsing.parse(a_policy(ingress=[{}], labels=labels, annotations=annotations))
    return policy.alerting, policy.warnings


def test_label_and_annotation_together_alert():
    """Neither does so alone, and only the missing label is worth a warning."""
    assert read(PROJECT, ON) == (Alerting(project="123"), ())
    assert read(PROJECT) == (None, ())
    alerting, warnings = read(None, ON)
    assert alerting is None
    assert "app.gitlab.com/proj" in warnings[0]


@pytest.mark.parametrize(("value", "warns"), [("false", False), ("yes", True), ("", True)])
def test_only_true_switches_alerts_on(value, warns):
    """What was probably meant to switch them on is worth a warning."""
    alerting, warnings = read(PROJECT, {"app.gitlab.com/alert": value})
    assert alerting is None
    assert bool(warnings) is warns


def test_annotations_tune_the_alert():
    """All of them are read."""
    alerting, warnings = read(
        PROJECT,
        {
            **ON,
            "picket.dev/severity": "Critical",
            "picket.dev/threshold": "5/1m",
            "picket.dev/group-by": "peer, subject",
            "picket.dev/runbook": "https://example.com/runbook",
            "picket.dev/resolve-after": "2h",
        },
    )
    assert warnings == ()
    assert alerting == Alerting(
        project="123",
        severity=Severity.CRITICAL,
        threshold=Threshold(5, 60),
        group_by=("peer", "subject"),
        runbook="https://example.com/runbook",
        resolve_after=7200,
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("severity", "worst"),
        ("threshold", "5"),
        ("threshold", "0/1m"),
        ("threshold", "many/1m"),
        ("threshold", "5/soon"),
        ("group-by", "colour"),
        ("runbook", "javascript:alert(1)"),
        ("resolve-after", "0s"),
        ("unheard-of", "x"),
    ],
)
def test_a_wrong_value_is_a_warning_and_never_a_lost_alert(key, value):
    """The policy alerts with the default in its place."""
    alerting, warnings = read(PROJECT, {**ON, f"picket.dev/{key}": value})
    assert alerting == Alerting(project="123")
    assert len(warnings) == 1
    assert f"picket.dev/{key}" in warnings[0]


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("5m", 300), ("1d", 86400), ("5", None), ("-1s", None)]
)
def test_durations(text, seconds):
    """A number and a unit."""
    assert duration(text) == seconds
