"""The four stages as processes of their own, as an operator would run them, and what they counted."""

import contextlib
import json
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from bus import opening, port
from schemas import topics
from tests import waiting
from tests.journeys.stage import Window
from tests.parts import ports

ROOT = Path(__file__).parents[2]
STAGES = ("agent", "alert-api", "enricher", "collector")
WAIT_SECONDS = 90.0
STACK_LINES = 150
READ_BY = {topics.FLOWS.name: "picket-enricher", topics.MATCHES.name: "picket-alert-api"}


@dataclass(frozen=True, slots=True)
class Counted:
    """What one alert is about; the key under which events are compared."""

    policy: str
    direction: str
    reason: str
    subject: str
    peer: str


@dataclass(slots=True, kw_only=True)
class Pipeline:
    """Stages over one log and one database; `settings` are tables for the stages' own keys."""

    folder: Path
    bus: str
    database: str
    settings: Mapping[str, Mapping[str, Any]]
    port: int = field(default_factory=ports.free)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    kills: Counter[str] = field(default_factory=Counter)

    def prepare(self) -> None:
        """Write the token and the settings file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        token = self.folder / "token"
        if not token.exists():
            token.write_text(secrets.token_urlsafe(32))
            token.chmod(0o600)
        own = {
            "alert-api": {
                "database": self.database,
                "token_file": str(token),
                "port": self.port,
            }
        }
        tables = {"bus": {"bus": self.bus}}
        for stage in STAGES:
            tables[stage] = {**own.get(stage, {}), **self.settings.get(stage, {})}
        (self.folder / "picket.toml").write_text(_toml(tables))

    def start(self, *stages: str, die_at: int = 0, die_in: Window = Window.LOG) -> None:
        """Start stages; `die_at`: let them kill themselves in their so-manieth transaction."""
        self.prepare()
        for stage in stages or STAGES:
            command = [sys.executable, "-m", "tests.journeys.stage"]
            command += [f"--die-at={die_at}", f"--die-in={die_in}", "--"]
            command += [stage, f"--config={self.folder / 'picket.toml'}", "--log-format=json"]
            with (self.folder / f"{stage}.log").open("ab") as output:
                self.processes[stage] = subprocess.Popen(
                    command,
                    cwd=ROOT,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )

    def kill(self, stage: str) -> None:
        """Kill -9 a stage and wait until it is gone."""
        process = self.processes.pop(stage)
        process.kill()
        process.wait()
        self.kills[stage] += 1

    def replace(self, stage: str, *, die_at: int, die_in: Window) -> None:
        """End a stage in good order, and start it anew with its death planned."""
        process = self.processes.pop(stage)
        process.terminate()
        process.wait(30)
        self.start(stage, die_at=die_at, die_in=die_in)

    def wait_death(self, stage: str, *, seconds: float) -> bool:
        """Wait for a stage that was told to kill itself; kill it where it does not come to it."""
        process = self.processes[stage]
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        by_itself = process.returncode == -signal.SIGKILL
        if process.returncode not in {None, -signal.SIGKILL}:
            raise AssertionError(f"{stage} ended with {process.returncode}:\n{self.tail(stage)}")
        self.kill(stage)
        return by_itself

    def stop(self) -> None:
        """Stop all stages in good order, the first of the pipeline first."""
        for stage in reversed(STAGES):
            process = self.processes.pop(stage, None)
            if process is None:
                continue
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                    raise AssertionError(f"{stage} did not stop:\n{self.tail(stage)}") from None
            if process.returncode not in {0, -signal.SIGTERM}:
                raise AssertionError(
                    f"{stage} ended with {process.returncode}:\n{self.tail(stage)}"
                )

    def tail(self, stage: str, lines: int = 15) -> str:
        """Return the last lines that a stage wrote."""
        text = (self.folder / f"{stage}.log").read_text(errors="replace")
        return "\n".join(line[:2000] for line in text.splitlines()[-lines:])

    def get(self, path: str) -> Any:
        """Ask the API. Raises httpx.HTTPError where it does not answer."""
        token = (self.folder / "token").read_text()
        answer = httpx.get(
            f"http://127.0.0.1:{self.port}{path}",
            headers={"Authorization": f"Bearer {token}"},
            timeout=10,
        )
        answer.raise_for_status()
        return answer.json()

    def resolve(self, alerts: Sequence[Mapping[str, Any]]) -> None:
        """Resolve alerts, as a person does."""
        resolve(f"http://127.0.0.1:{self.port}", self.folder / "token", alerts)

    def alerts(self) -> list[dict[str, Any]]:
        """Return all alerts, over all pages of the list."""
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            page = self.get(f"/api/v1/alerts?limit=100{cursor}")
            found += page["alerts"]
            if not page["next"]:
                return found
            cursor = f"&cursor={page['next']}"

    def counts(self) -> Counter[Counted]:
        """Return the events by what they are about; nothing while the API is away."""
        total: Counter[Counted] = Counter()
        with contextlib.suppress(httpx.HTTPError):
            for alert in self.alerts():
                total[counted(alert)] += alert["events"]
        return total

    def notices(self) -> list[dict[str, Any]]:
        """Return what the operator is told."""
        return list(self.get("/api/v1/notices")["notices"])

    def await_counts(self, expected: Counter[Counted], *, seconds: float = WAIT_SECONDS) -> None:
        """Wait until the API says exactly this, all is drained, and it still says so.

        Counts that once are too high fail at once: nothing takes an event back.
        """
        deadline = time.monotonic() + seconds
        while (found := self.counts()) != expected:
            self.check_alive()
            too_many = {key: n - expected[key] for key, n in found.items() if n > expected[key]}
            assert not too_many, f"counted more than once: {too_many}"
            if time.monotonic() > deadline:
                missing = {key: n - found[key] for key, n in expected.items() if n != found[key]}
                raise AssertionError(
                    f"missing after {seconds} s: {missing}\n{self.state_of_affairs()}"
                )
            time.sleep(0.2)
        self.await_drained()
        assert self.counts() == expected

    def await_collecting(self) -> None:
        """Wait until the collector reads relay.

        Before, nodes must not write: what a ring loses ahead of the very first look nobody misses.
        """
        flows = topics.FLOWS.name
        with contextlib.closing(opening.open_log(opening.BusSettings(bus=self.bus))) as log:
            waiting.until(
                lambda: all(row.end for row in log.lag(READ_BY[flows], [flows])),
                what="a first word of the collector's",
                despite=(port.LogError,),
            )

    def await_drained(self, *, seconds: float = 30.0) -> None:
        """Wait until each stage has read all that stands before it now, first to last.

        The last offset of a partition of Kafka is a commit marker, which nobody reads.
        """
        log = opening.open_log(opening.BusSettings(bus=self.bus))
        try:
            deadline = time.monotonic() + seconds
            for topic, group in READ_BY.items():
                ends = {row.partition: row.end - 1 for row in log.lag(group, [topic])}
                while behind := [
                    row
                    for row in log.lag(group, [topic])
                    if (row.committed or 0) < ends[row.partition]
                ]:
                    assert time.monotonic() < deadline, f"not drained: {behind}"
                    time.sleep(0.2)
        finally:
            log.close()

    def state_of_affairs(self) -> str:
        """Return what tells where events wait: lag, notices, and each stage's stack and log."""
        told = []
        with contextlib.closing(opening.open_log(opening.BusSettings(bus=self.bus))) as log:
            told += [
                str(row) for topic, group in READ_BY.items() for row in log.lag(group, [topic])
            ]
        with contextlib.suppress(httpx.HTTPError):
            told += map(str, self.notices())
        for stage, process in self.processes.items():
            process.send_signal(signal.SIGUSR1)
            with contextlib.suppress(AssertionError):
                waiting.until(
                    lambda stage=stage: "(most recent call first)" in self.tail(stage, STACK_LINES),
                    what=f"the stack of {stage}",
                    seconds=5,
                )
            told += [f"\n{stage}:", self.tail(stage, STACK_LINES)]
        return "\n".join(told)

    def check_alive(self) -> None:
        """Fail with its last words where a stage ended by itself."""
        for stage, process in self.processes.items():
            code = process.poll()
            # The end of a capture is the end of its collector.
            if code == 0 and stage == "collector" and "flows" in self.settings[stage]:
                continue
            assert code in {None, -signal.SIGKILL}, (
                f"{stage} ended with {code}:\n{self.tail(stage)}"
            )


@contextlib.contextmanager
def running(pipeline: Pipeline) -> Iterator[Pipeline]:
    """Run all stages; whatever happens, none outlives the block."""
    try:
        pipeline.start()
        yield pipeline
        pipeline.stop()
    finally:
        for process in pipeline.processes.values():
            process.kill()
            process.wait()


def resolve(base: str, token: Path, alerts: Sequence[Mapping[str, Any]]) -> None:
    """Resolve alerts by the API at that address."""
    for alert in alerts:
        httpx.put(
            f"{base}/api/v1/alerts/{alert['id']}/status",
            json={"status": "resolved"},
            headers={"Authorization": f"Bearer {token.read_text().strip()}", "If-Match": "*"},
            timeout=10,
        ).raise_for_status()


def counted(alert: Mapping[str, Any]) -> Counted:
    """Return what an alert, of the API or of the books of synthetic nodes, is about."""
    return Counted(
        policy=_joined(alert["policy"], ("kind", "namespace", "name")),
        direction=alert["direction"],
        reason=alert["reason"],
        subject=_joined(alert["subject"], ("kind", "namespace", "name")),
        peer=_joined(alert["peer"], ("kind", "namespace", "name")),
    )


def expected(books: Mapping[str, Any]) -> Counter[Counted]:
    """Return what the books of synthetic nodes say must be counted."""
    return Counter({counted(row): row["events"] for row in books["alerts"]})


def _joined(parts: Mapping[str, Any], names: Sequence[str]) -> str:
    return "/".join(str(parts[name]) for name in names)


def _toml(tables: Mapping[str, Mapping[str, Any]]) -> str:
    # Strings, numbers, booleans and lists of JSON are TOML as well; a list of tables is inline.
    lines = []
    for name, table in tables.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {_value(value)}" for key, value in table.items()]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return json.dumps(value)
