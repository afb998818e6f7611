"""The stage as a process runs it."""

import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import prometheus_client
import pytest

from bus import port
from bus.embedded import EmbeddedLog
from enricher import app, loop
from enricher.metrics import Metrics
from enricher.settings import EnricherSettings
from runtime.clock import SYSTEM
from runtime.errors import UserError
from runtime.lifecycle import App
from schemas import topics
from tests.enricher import builders, harness
from tests.waiting import until

DEADLINE = 20.0


class Running:
    """An app on a thread of its own."""

    def __init__(self, built: App) -> None:
        self.app = built
        self.thread = threading.Thread(target=built.serve)

    def __enter__(self) -> App:
        self.thread.start()
        return self.app

    def __exit__(self, *_: object) -> None:
        self.app.stop.set()
        self.thread.join(DEADLINE)
        assert not self.thread.is_alive()


@pytest.fixture
def log(tmp_path: Path) -> EmbeddedLog:
    return EmbeddedLog(tmp_path / "log.db", lease_seconds=1.0)


def an_app(log: port.Log, **settings: object) -> App:
    return app.build(
        EnricherSettings(**settings),
        log=log,
        registry=prometheus_client.CollectorRegistry(),
    )


def test_it_makes_its_topics_and_counts(log: EmbeddedLog) -> None:
    """On an empty log, with policies and flows that come later, until it is told to stop."""
    with Running(an_app(log)):
        stage = harness.Stage(log, harness.Hand())
        stage.write(
            builders.a_policy_record(builders.a_policy()),
            builders.a_marker(),
            builders.a_batch([builders.a_response(at=time.time() - 100)] * 3),
        )
        until(lambda: sum(match.count for match in stage.matches()) == 3)
    log.close()


def test_started_again_it_counts_nothing_twice(log: EmbeddedLog) -> None:
    """A day later, too."""
    stage = harness.Stage(log, harness.Hand())
    log.ensure(topics.ALL)
    stage.write(
        builders.a_policy_record(builders.a_policy()),
        builders.a_marker(),
        builders.a_batch([builders.a_response(at=time.time() - 100)] * 3),
    )
    for _ in range(2):
        with Running(an_app(log)):
            until(stage.matches)
            until(lambda: log.lag("picket-enricher", [topics.FLOWS.name])[0].committed == 1)
    assert [match.count for match in stage.matches()] == [3]
    log.close()


def test_health_and_metrics(log: EmbeddedLog, unused_port: int) -> None:
    """Ready once the policies are read; the counters are there to be scraped."""
    with Running(an_app(log, health_port=unused_port)):

        def get(path: str) -> tuple[int, str]:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{unused_port}{path}") as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, error.read().decode()
            except OSError:
                return 0, ""

        until(lambda: get("/readyz") == (200, "ok\n"))
        assert get("/livez") == (200, "ok\n")
        assert "picket_enricher_matches_total" in get("/metrics")[1]
    log.close()


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_when_the_log_is_away_it_comes_back(
    log: EmbeddedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so while it waits, and goes on from what was committed."""
    monkeypatch.setattr(loop, "FIRST_PAUSE", 0.02)
    log.ensure(topics.ALL)
    stage = harness.Stage(log, harness.Hand())
    stage.write(
        builders.a_policy_record(builders.a_policy()),
        builders.a_marker(),
        builders.a_batch([builders.a_response(at=time.time() - 100)] * 3),
    )
    producer, failures = EmbeddedLog.producer, []

    def flaky(self: EmbeddedLog, name: str) -> port.Producer:
        if len(failures) < 3:
            failures.append(enricher.ready())
            kind = (port.Unavailable, port.Fenced)[len(failures) % 2]
            raise kind("not now")
        return producer(self, name)

    monkeypatch.setattr(EmbeddedLog, "producer", flaky)
    enricher = loop.Enricher(
        EnricherSettings(),
        connection=log,
        clock=SYSTEM,
        metrics=Metrics(prometheus_client.CollectorRegistry()),
    )
    assert enricher.ready() == "not started"
    built = App(name="enricher", run=enricher.run)
    with Running(built):
        until(stage.matches)
        assert enricher.ready() is None
        assert enricher.live() is None
    assert len(failures) == 3
    assert [match.count for match in stage.matches()] == [3]
    log.close()


def test_a_stuck_loop_is_not_live(log: EmbeddedLog) -> None:
    """Whoever watches may then start it anew."""
    hand = harness.Hand()
    enricher = loop.Enricher(
        EnricherSettings(),
        connection=log,
        clock=hand.clock(),
        metrics=Metrics(prometheus_client.CollectorRegistry()),
    )
    assert enricher.live() is None
    hand.seconds += 61
    assert enricher.live() == "no step for 61 s"
    log.close()


def test_a_wrong_setting_is_one_line() -> None:
    """It names what is wrong and where it came from."""
    with pytest.raises(UserError, match="--slot"):
        EnricherSettings.load("enricher", flags={"slot": "a b"}, environment={})


def test_every_setting_is_described() -> None:
    """The description is the flag's help."""
    for name, field in EnricherSettings.model_fields.items():
        assert field.description, name
