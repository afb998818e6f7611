"""A strict stand-in for GitLab's HTTP endpoint integrations, on loopback.

It answers, cuts off and de-duplicates as GitLab is known to (docs/decisions/0004-each-alert-exists-once-in-gitlab.md
has the facts), keeps every request as it came, and can be told to misbehave. In a test it is an
object; a journey runs it as a process:

    python -m tests.parts.gitlab --project 42 --key-file 42.key [--port 0] [--state held.json]

prints one line of JSON ({"url": …, "projects": {"42": …}}), serves until SIGTERM, and shows what it
holds at GET /-/held, writing it to the state file too whenever it changes. POST /-/faults takes a
list of faults as `Fault` has them.
"""

import argparse
import base64
import dataclasses
import hashlib
import hmac
import json
import secrets
import signal
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

MAX_BYTES = 1_000_000
MAX_DEPTH = 100
SEVERITIES = ("critical", "high", "medium", "low", "info", "unknown")
CUT = {"title": 200, "description": 1000, "service": 100, "monitoring_tool": 100}
HOSTS = 255
KNOWN = {
    *("title", "description", "start_time", "end_time", "service", "monitoring_tool", "hosts"),
    *("severity", "fingerprint", "gitlab_environment_name", "runbook"),
}
PROMETHEUS = {"version", "groupKey", "status", "receiver", "groupLabels", "alerts", "externalURL"}
"""Keys of a payload that GitLab gives to another parser."""


@dataclass(slots=True, kw_only=True)
class Fault:
    """How one of the next requests goes wrong."""

    status: int | None = None
    """Answer this without looking at the request."""
    headers: dict[str, str] = field(default_factory=dict)
    lose: str = ""
    """`request`: close before acting on it; `answer`: act on it, then close."""
    delay: float = 0.0
    """Seconds before anything is done."""


@dataclass(slots=True, kw_only=True)
class Project:
    """A project with one integration."""

    id: str
    key: str = field(default_factory=lambda: secrets.token_hex(16))
    active: bool = True
    name: str = ""
    """Name and id of the integration; the same for the same key, so that it outlives a restart."""
    limit: int = 3600
    """Requests within `period` seconds."""
    period: float = 3600.0

    @property
    def path(self) -> str:
        """Return the path of the integration."""
        name = self.name or f"picket/{hashlib.sha256(self.key.encode()).hexdigest()[:16]}"
        return f"/group/project-{self.id}/alerts/notify/{name}.json"


@dataclass(slots=True, kw_only=True)
class Alert:
    """An alert as GitLab keeps it."""

    iid: int
    project: str
    title: str
    description: str | None
    severity: str
    status: str
    fingerprint: str | None
    started_at: str | None
    ended_at: str | None
    service: str | None
    monitoring_tool: str | None
    hosts: list[str]
    runbook: str | None
    environment: str | None
    details: dict[str, Any]
    events: int = 1


@dataclass(slots=True, kw_only=True)
class Request:
    """A request as it came, and how it was answered (0: not at all)."""

    project: str
    payload: Any
    status: int
    at: float
    size: int
    complaints: list[str]


class GitLab:
    """The server. Use as a context manager."""

    def __init__(self, *projects: Project, port: int = 0, state: Path | None = None) -> None:
        self.projects = {project.id: project for project in projects}
        self.alerts: list[Alert] = []
        self.requests: list[Request] = []
        self.faults: deque[Fault] = deque()
        self._state = state
        self._lock = threading.Lock()
        self._counted: dict[str, deque[float]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Return the server's address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def address(self, project: str) -> str:
        """Return the address of a project's integration."""
        return self.url + self.projects[project].path

    def of(self, project: str) -> list[Alert]:
        """Return a project's alerts."""
        with self._lock:
            return [alert for alert in self.alerts if alert.project == project]

    def set_status(self, iid: int, status: str) -> None:
        """Do what a person does on GitLab's page."""
        with self._lock:
            self.alerts[iid - 1].status = status

    def held(self) -> dict[str, Any]:
        """Return all alerts and requests as JSON can say them."""
        with self._lock:
            return self._held()

    def _held(self) -> dict[str, Any]:
        return {
            "alerts": [dataclasses.asdict(alert) for alert in self.alerts],
            "requests": [dataclasses.asdict(request) for request in self.requests],
        }

    def answer(
        self, path: str, authorization: str, body: bytes
    ) -> tuple[int, dict[str, str], Any] | None:
        """Act on a request; return status, headers and JSON, or None for no answer."""
        with self._lock:
            fault = self.faults.popleft() if self.faults else Fault()
        if fault.delay:
            time.sleep(fault.delay)
        with self._lock:
            project = next((p for p in self.projects.values() if p.path == path), None)
            name = project.id if project else ""
            status, headers, reply, payload, complaints = 0, {}, None, None, []
            if fault.status is not None:
                status, headers, reply = fault.status, fault.headers, {"message": "fault"}
            elif fault.lose != "request":
                status, headers, reply, payload, complaints = self._act(
                    project, authorization, body
                )
            self.requests.append(
                Request(
                    project=name,
                    payload=_parsed(body) if payload is None else payload,
                    status=0 if fault.lose else status,
                    at=time.time(),
                    size=len(body),
                    complaints=complaints,
                )
            )
            if self._state is not None:
                temporary = self._state.with_suffix(".writing")
                temporary.write_text(json.dumps(self._held()))
                temporary.replace(self._state)
        return None if fault.lose else (status, headers, reply)

    def _act(  # noqa: PLR0911 - one an answer
        self, project: Project | None, authorization: str, body: bytes
    ) -> tuple[int, dict[str, str], Any, Any, list[str]]:
        if project is None:
            return 404, {}, {"message": "404 Not Found"}, None, []
        wait = self._over_limit(project)
        if wait is not None:
            return 429, {"Retry-After": str(wait)}, {"message": "Retry later"}, None, []
        if not project.active:
            return 403, {}, {"message": "403 Forbidden"}, None, []
        if not _authorized(project, authorization):
            return 401, {}, {"message": "401 Unauthorized"}, None, []
        payload = _parsed(body)
        if len(body) > MAX_BYTES or not isinstance(payload, dict) or _depth(payload) > MAX_DEPTH:
            return 400, {}, {"message": "400 Bad Request"}, payload, ["too large, or no object"]
        complaints = _complaints(payload)
        if any(complaint.startswith("!") for complaint in complaints):
            return 400, {}, {"message": "400 Bad Request"}, payload, complaints
        alert = self._store(project, payload)
        if alert is None:
            return 400, {}, {"message": "400 Bad Request"}, payload, complaints
        return 200, {}, [{"iid": alert.iid, "title": alert.title}], payload, complaints

    def _over_limit(self, project: Project) -> int | None:
        now = time.monotonic()
        counted = self._counted.setdefault(project.id, deque())
        while counted and counted[0] <= now - project.period:
            counted.popleft()
        if len(counted) >= project.limit:
            return max(1, int(counted[0] + project.period - now) + 1)
        counted.append(now)
        return None

    def _store(self, project: Project, payload: dict[str, Any]) -> Alert | None:
        fingerprint = payload.get("fingerprint")
        if isinstance(fingerprint, list):
            fingerprint = "\n".join(map(str, fingerprint))
        known = next(
            (
                alert
                for alert in self.alerts
                if alert.project == project.id
                and fingerprint is not None
                and alert.fingerprint == fingerprint
                and alert.status != "resolved"
            ),
            None,
        )
        ended = payload.get("end_time")
        if ended:
            if known is not None:
                known.status, known.ended_at = "resolved", ended
            return known
        if known is not None:
            known.events += 1
            return known
        hosts = payload.get("hosts", [])
        cut = {
            name: payload[name][:length] if name in payload else None
            for name, length in CUT.items()
        }
        alert = Alert(
            iid=len(self.alerts) + 1,
            project=project.id,
            title=cut["title"] or "New: Alert",
            description=cut["description"],
            severity=payload.get("severity", "critical"),
            status="triggered",
            fingerprint=fingerprint,
            started_at=payload.get("start_time"),
            ended_at=None,
            service=cut["service"],
            monitoring_tool=cut["monitoring_tool"],
            hosts=_cut_hosts([hosts] if isinstance(hosts, str) else hosts),
            runbook=payload.get("runbook"),
            environment=payload.get("gitlab_environment_name"),
            details={name: value for name, value in payload.items() if name not in KNOWN},
        )
        self.alerts.append(alert)
        return alert


def _complaints(payload: dict[str, Any]) -> list[str]:
    """Return what GitLab would cut off, misread or (with !) refuse."""
    found = []
    if PROMETHEUS & payload.keys():
        found.append("! looks like Prometheus's")
    for name in ("title", "description", "service", "monitoring_tool", "runbook"):
        if name in payload and not isinstance(payload[name], str):
            found.append(f"! {name} is no text")
        elif len(payload.get(name, "")) > CUT.get(name, MAX_BYTES):
            found.append(f"{name} is cut off")
    if payload.get("severity", "critical") not in SEVERITIES:
        found.append("severity is none of GitLab's")
    for name in ("start_time", "end_time"):
        if name in payload and not isinstance(payload[name], str):
            found += [f"! {name} is no text"]
    hosts = payload.get("hosts", [])
    if sum(map(len, [hosts] if isinstance(hosts, str) else hosts)) > HOSTS:
        found.append("hosts are cut off")
    if "fingerprint" not in payload:
        found.append("no fingerprint: every call makes an alert")
    return found


def _cut_hosts(hosts: list[str]) -> list[str]:
    kept, room = [], HOSTS
    for host in hosts:
        if len(host) > room:
            break
        kept.append(host)
        room -= len(host)
    return kept


def _authorized(project: Project, authorization: str) -> bool:
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() == "basic":
        user, _, given = base64.b64decode(given).decode(errors="replace").partition(":")
        if user:
            return False
    elif scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(given.encode(), project.key.encode())


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    return 0


def _handler(gitlab: GitLab) -> type[BaseHTTPRequestHandler]:  # noqa: C901 - one class
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def do_GET(self) -> None:
            if self.path == "/-/held":
                self._reply(200, {}, gitlab.held())
            else:
                self._reply(404, {}, {"message": "404 Not Found"})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            if self.path == "/-/faults":
                gitlab.faults.extend(Fault(**fault) for fault in json.loads(body))
                self._reply(200, {}, {})
                return
            if self.headers.get_content_type() != "application/json":
                self._reply(415, {}, {"message": "415 Unsupported Media Type"})
                return
            answer = gitlab.answer(self.path, self.headers.get("Authorization", ""), body)
            if answer is None:
                self.close_connection = True
                self.connection.close()
            else:
                self._reply(*answer)

        def _reply(self, status: int, headers: dict[str, str], body: Any) -> None:
            text = json.dumps(body).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Type": "application/json"}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - inherited
            """Say nothing."""

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:
                self.close_connection = True

        def finish(self) -> None:
            try:
                super().finish()
            except (OSError, ValueError):
                self.close_connection = True

    return Handler


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--project", action="append", required=True)
    parser.add_argument("--key-file", action="append", required=True, type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--state", type=Path)
    given = parser.parse_args()
    projects = [
        Project(id=name, key=key.read_text().strip())
        for name, key in zip(given.project, given.key_file, strict=True)
    ]
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    with GitLab(*projects, port=given.port, state=given.state) as gitlab:
        line = {
            "url": gitlab.url,
            "projects": {name: gitlab.address(name) for name in gitlab.projects},
        }
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
        over.wait()


if __name__ == "__main__":
    main()
