"""The whole stage, with its threads, over HTTP."""

import contextlib
import functools
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import prometheus_client
import pytest

from alert_api import app as module
from alert_api.app import Built
from alert_api.ingest import Ingest
from alert_api.metrics import Metrics
from bus import port
from runtime.errors import UserError
from tests import waiting
from tests.alert_api import builders
from tests.alert_api.builders import TOKEN, a_match, put
from tests.parts import ports
from tests.parts import postgres as part
from tests.parts.gitlab import GitLab, Project

DEADLINE = 30.0
until = functools.partial(waiting.until, despite=(httpx.TransportError,))


def built(folder: Path, log: port.Log, database: str, **given: Any) -> Built:
    settings = builders.settings(folder, database, **given)
    figures = Metrics(prometheus_client.CollectorRegistry())
    return module.assemble(settings, log=log, instruments=figures)


@contextlib.contextmanager
def serving(made: Built) -> Iterator[httpx.Client]:
    """Run a stage on a thread; its error, if any, is raised at the end."""
    errors: list[BaseException] = []

    def serve() -> None:
        try:
            made.app.serve()
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        until(lambda: errors or made.server._socket is not None)
        if not errors:
            headers = {"Authorization": f"Bearer {TOKEN}"}
            with httpx.Client(base_url=made.server.url, headers=headers, timeout=10) as client:
                yield client
        else:
            yield httpx.Client()
    finally:
        made.app.stop.set()
        thread.join(DEADLINE)
        assert not thread.is_alive()
        if errors:
            raise errors[0]


def alerts(client: httpx.Client) -> list[dict[str, Any]]:
    response = client.get("/api/v1/alerts")
    return list(response.json()["alerts"]) if response.status_code == 200 else []


def counted(client: httpx.Client) -> dict[str, int]:
    return {alert["fingerprint"]: alert["events"] for alert in alerts(client)}


def test_a_match_reaches_the_list_the_topic_and_gitlab(address: str, tmp_path: Path) -> None:
    """Within a second or so, and a status set by hand goes the same way."""
    log = builders.a_log(tmp_path / "log.db")
    with GitLab(Project(id="42")) as gitlab:
        (tmp_path / "key").write_text(gitlab.projects["42"].key)
        project = {
            "project": "42",
            "url": gitlab.address("42"),
            "token_file": str(tmp_path / "key"),
        }
        made = built(tmp_path, log, address, gitlab=[project])
        with serving(made) as client:
            put(log, a_match(count=2))
            (alert,) = until(lambda: alerts(client))
            until(lambda: builders.sent(log) == [(alert["id"], 1, "triggered")])
            until(lambda: gitlab.of("42"))
            status = f"/api/v1/alerts/{alert['id']}/status"
            changed = client.put(status, json={"status": "resolved"}, headers={"If-Match": "*"})
            assert changed.status_code == 200
            until(lambda: builders.sent(log)[-1] == (alert["id"], 2, "resolved"))
            until(lambda: gitlab.of("42")[0].status == "resolved")
    log.close()


def test_a_stage_that_is_started_again_goes_on_where_it_was(address: str, tmp_path: Path) -> None:
    """Run twice, it counts nothing twice."""
    log = builders.a_log(tmp_path / "log.db")
    put(log, a_match("f1"))
    for turn in (1, 2):
        with serving(built(tmp_path, log, address)) as client:
            until(lambda: counted(client).get("f1") == turn)  # noqa: B023 - used at once
        put(log, a_match("f1"))
    log.close()


def test_a_log_that_does_not_fit_ends_the_stage(tmp_path: Path) -> None:
    """The error of a thread is the error of the process."""
    address = f"sqlite:///{tmp_path}/alerts.db"
    log = builders.a_log(tmp_path / "log.db")
    put(log, a_match())
    with serving(built(tmp_path, log, address)) as client:
        until(lambda: alerts(client))
    log.close()
    other = builders.a_log(tmp_path / "other.db")
    made = built(tmp_path, other, address)
    with pytest.raises(UserError, match="another log"), serving(made):
        until(lambda: made.app.parts[-1].error or made.app.parts[2].error)  # type: ignore[attr-defined]
    other.close()


def test_a_fault_in_a_thread_ends_the_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No process goes on with half of its parts."""

    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Ingest, "_consume", broken)
    log = builders.a_log(tmp_path / "log.db")
    made = built(tmp_path, log, f"sqlite:///{tmp_path}/alerts.db")
    with pytest.raises(ZeroDivisionError):
        made.app.serve()
    log.close()


def test_the_health_port_tells_when_it_is_ready_and_shows_no_alert(tmp_path: Path) -> None:
    """Migrated, reading, and the log within reach."""
    log = builders.a_log(tmp_path / "log.db")
    put(log, a_match())
    health = ports.free()
    made = built(tmp_path, log, f"sqlite:///{tmp_path}/alerts.db", health_port=health)
    with serving(made):
        base = f"http://127.0.0.1:{health}"
        until(lambda: httpx.get(f"{base}/readyz").status_code == 200)
        assert httpx.get(f"{base}/livez").status_code == 200
        text = until(
            lambda: (t := httpx.get(f"{base}/metrics").text).find("matches_total 1.0") > 0 and t
        )
        assert "f1" not in text
    log.close()


def test_an_unreachable_log_is_waited_for_and_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not ready meanwhile, and everything is counted after."""
    log = builders.a_log(tmp_path / "log.db")
    put(log, a_match())
    away = threading.Event()
    away.set()
    real = log.consumer

    def consumer(*given: Any, **more: Any) -> Any:
        if away.is_set():
            raise port.Unavailable("the broker is away")
        return real(*given, **more)

    monkeypatch.setattr(log, "consumer", consumer)
    health = ports.free()
    made = built(tmp_path, log, f"sqlite:///{tmp_path}/alerts.db", health_port=health)
    with serving(made) as client:
        ready = f"http://127.0.0.1:{health}/readyz"
        until(lambda: "the broker is away" in httpx.get(ready).text)
        away.clear()
        until(lambda: alerts(client))
        until(lambda: httpx.get(ready).status_code == 200)
    log.close()


@pytest.mark.postgres
@pytest.mark.slow
def test_a_database_restarted_under_load_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """Stopped and killed while matches come in."""
    log = builders.a_log(tmp_path / "log.db")
    with part.running() as server:
        made = built(tmp_path, log, server.create(), batch_records=20)
        with serving(made) as client:
            for turn in range(4):
                for _ in range(5):
                    put(log, *(a_match(f"f{n}") for n in range(20)))
                server.restart(kill=turn % 2 == 0)
            until(lambda: counted(client) == {f"f{n}": 20 for n in range(20)})
    log.close()


def test_two_stages_at_once_count_everything_once(address: str, tmp_path: Path) -> None:
    """One reads, publishes and delivers; the other stands by."""
    log = builders.a_log(tmp_path / "log.db")
    (tmp_path / "b").mkdir()
    one = built(tmp_path, log, address, slot="0")
    two = built(tmp_path / "b", log, address, slot="1")
    with serving(one) as first, serving(two) as second:
        for turn in range(10):
            put(log, a_match("f1"), a_match(f"g{turn}"))
        until(lambda: counted(first).get("f1") == 10)
        assert len(alerts(second)) == 11
        until(lambda: len({record[0] for record in builders.sent(log)}) == 11)
    versions = [(alert, version) for alert, version, _ in builders.sent(log)]
    assert len(versions) == len(set(versions))
    log.close()


# What must not start.


@pytest.mark.parametrize(
    ("token", "said"), [("short", "16 characters"), ("", "empty"), (None, "cannot read")]
)
def test_no_token_no_server(tmp_path: Path, token: str | None, said: str) -> None:
    """Beyond loopback or not."""
    log = builders.a_log(tmp_path / "log.db")
    settings = builders.settings(tmp_path, f"sqlite:///{tmp_path}/x.db", host="0.0.0.0")
    settings.token_file.unlink()
    if token is not None:
        settings.token_file.write_text(token)
    with pytest.raises(UserError, match=said):
        module.build(settings, log=log)
    log.close()


def test_a_taken_port_is_the_users_error(tmp_path: Path) -> None:
    """With a hint, and everything that was started is stopped."""
    log = builders.a_log(tmp_path / "log.db")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        made = built(tmp_path, log, f"sqlite:///{tmp_path}/x.db", port=number)
        with pytest.raises(UserError, match="choose another --port"):
            made.app.serve()
    log.close()


def test_a_slow_client_does_not_keep_the_stage_from_stopping(tmp_path: Path) -> None:
    """Half a request, and then nothing."""
    log = builders.a_log(tmp_path / "log.db")
    made = built(tmp_path, log, f"sqlite:///{tmp_path}/x.db")
    with serving(made), socket.create_connection(made.server.address) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        started = time.monotonic()
        made.app.stop.set()
    assert time.monotonic() - started < 10
    log.close()


def test_what_is_served_is_what_the_application_says(tmp_path: Path) -> None:
    """Through a real server: no hint of its kind, problems as JSON."""
    log = builders.a_log(tmp_path / "log.db")
    made = built(tmp_path, log, f"sqlite:///{tmp_path}/x.db")
    with serving(made) as client:
        response = client.get("/api/v1/nothing")
        assert "server" not in response.headers
        assert json.loads(response.text)["status"] == 404
        assert httpx.get(made.server.url + "/api/v1/alerts").status_code == 401
    log.close()
