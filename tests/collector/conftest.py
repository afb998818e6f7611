import pytest

from collector import continuity, relay_source, relay_watch, stage
from tests.collector import harness, observer


@pytest.fixture
def log(tmp_path):
    opened = harness.a_log(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def _in_a_hurry(monkeypatch):
    """What waits for a living cluster's pace waits less here; the proportions stay."""
    monkeypatch.setattr(relay_watch, "EVERY_SECONDS", 0.2)
    monkeypatch.setattr(relay_watch, "SOON_SECONDS", 0.05)
    monkeypatch.setattr(continuity, "GRACE_SECONDS", 0.5)
    monkeypatch.setattr(continuity, "ATTACH_SECONDS", 0.2)
    monkeypatch.setattr(continuity, "REATTACH_SECONDS", 0.5)
    monkeypatch.setattr(continuity, "STALLED_SECONDS", 1.0)
    monkeypatch.setattr(continuity, "SAMPLE_SECONDS", 0.05)
    monkeypatch.setattr(continuity, "NOTICE_SECONDS", 1.0)
    monkeypatch.setattr(continuity, "MARGIN_SECONDS", 0.3)
    monkeypatch.setattr(relay_source, "REOPEN_SECONDS", 1.0)
    monkeypatch.setattr(relay_source, "START_SECONDS", 0.5)
    monkeypatch.setattr(relay_source, "OVERLAP_SECONDS", 0.3)
    monkeypatch.setattr(stage, "FENCED_SECONDS", 0.5)
    monkeypatch.setattr(stage, "PATIENCE_SECONDS", 1.0)


@pytest.fixture
def relay(_in_a_hurry):
    with observer.serving() as (steered, address):
        steered.address = address
        steered.node()
        yield steered
