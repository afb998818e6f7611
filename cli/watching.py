"""What `picket up` shows while it runs: progress, troubles of the stages, and alerts.

It looks and tells; what there is to know comes from the supervisor, the log and the API.
"""

import json
import queue
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from bus import port
from cli import alerts as listing
from cli import api, output, outputs
from cli.settings import UpSettings, address
from cli.stages import CAPTURE_PROGRESS
from cli.state import State
from runtime import clock as clocks
from runtime import logs
from runtime.supervisor import PREFIX, Supervisor
from schemas import messages, topics

LOOK_SECONDS = 0.1
SHOWN = 50
"""How many alerts are printed at the end of a capture; the rest is one command away."""
REPEAT_SECONDS = 30.0
"""The same trouble of the same stage is not told again within this time."""

REMEMBERED = 500
"""How many troubles are remembered as told."""

_TROUBLE = {"warning", "error", "critical", "exception"}
_FACTS = frozenset({"event", "level", "timestamp", "exception", "stage"})
_BEHIND = (
    (topics.FLOWS.name, "picket-enricher", "matching flows against policies"),
    (topics.MATCHES.name, "picket-alert-api", "counting"),
)


@dataclass(slots=True)
class Terminal:
    """One run of `picket up` as a person sees it."""

    up: UpSettings
    state: State
    log: port.Log
    level: logs.LogLevel
    clock: clocks.Clock = clocks.SYSTEM
    _out: Console = field(default_factory=output.console)
    _err: Console = field(
        default_factory=lambda: Console(stderr=True, highlight=False, soft_wrap=True)
    )
    _troubles: "queue.SimpleQueue[tuple[str, str]]" = field(default_factory=queue.SimpleQueue)
    _told: dict[tuple[str, str], float] = field(default_factory=dict)
    _capture: Mapping[str, Any] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)

    def listener(self, files: Mapping[str, outputs.Output]) -> "Listener":
        """Return what takes the stages' output: into their files, and here what matters."""
        return Listener(files, self._hear)

    def run(self, supervisor: Supervisor, stop: threading.Event) -> None:
        """Show progress until all is counted, then the alerts, and stay until stopped.

        Raises UserError where a stage ended for a user's mistake.
        """
        is_capture = self.up.flows is not None and not self.up.follow
        with api.Api(self.base, self.state.token) as client:
            counted = self._wait(supervisor, stop, client, is_capture=is_capture)
            if counted:
                self._results(client, is_capture=is_capture)
            reader = self.log.reader([topics.ALERTS.name])
            try:
                for part, offset in reader.end().items():
                    reader.seek(part, offset)
                while not stop.is_set():
                    supervisor.check()
                    self._tell_troubles()
                    self._tell_alerts(reader)
                    stop.wait(LOOK_SECONDS)
            finally:
                reader.close()

    def crashed(self, stage: str, how: str, again_in: float) -> None:
        """Take it that a stage crashed; why stands in its file."""
        words = f"crashed ({how}), is started again in {again_in:g} s; see {self.state.output}"
        self._troubles.put((stage, words))

    def stopping(self) -> None:
        """Say that the end has begun: it may take some seconds."""
        self._tell_troubles()
        if self._err.is_terminal:
            self._err.print("Stopping.")

    @property
    def base(self) -> str:
        """Return the API's address as this machine reaches it."""
        host, number = address(self.up.listen)
        if host in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not listened on
            host = "127.0.0.1"
        return f"http://{f'[{host}]' if ':' in host else host}:{number}"

    def _hear(self, stage: str, line: str) -> None:
        """Take one line of a stage, on a thread of that stage."""
        try:
            entry = json.loads(line)
        except ValueError:
            return
        if not isinstance(entry, dict):
            return
        if entry.get("event") == CAPTURE_PROGRESS:
            self._capture = entry
        elif entry.get("level") in _TROUBLE:
            facts = "  ".join(
                f"{name}={value}" for name, value in entry.items() if name not in _FACTS
            )
            self._troubles.put((stage, f"{entry.get('event', '')}  {facts}".rstrip()))

    def _wait(
        self,
        supervisor: Supervisor,
        stop: threading.Event,
        client: api.Api,
        *,
        is_capture: bool,
    ) -> bool:
        """Wait until there is something to show; return False where a stop came first."""
        with self._bar() as bar:
            task = bar.add_task("starting", total=None)
            while not stop.is_set():
                supervisor.check()
                self._tell_troubles()
                step = self._step(supervisor, is_capture=is_capture)
                if step is None and self._answers(client):
                    return True
                capture = self._capture
                if is_capture and capture.get("bytes_total"):
                    bar.update(task, total=capture["bytes_total"], completed=capture["bytes_done"])
                bar.update(task, description=step or "waiting for the API")
                stop.wait(LOOK_SECONDS)
        return False

    def _step(self, supervisor: Supervisor, *, is_capture: bool) -> str | None:
        """Return what is going on, or None once everything read is counted."""
        if not is_capture:
            return None
        if not supervisor.finished("collector"):
            lines = self._capture.get("lines")
            return f"reading the capture: {lines:,} lines" if lines else "starting"
        for topic, group, words in _BEHIND:
            if any(item.end > (item.committed or 0) for item in self.log.lag(group, [topic])):
                return words
        return None

    def _answers(self, client: api.Api) -> bool:
        try:
            client.get("/api/v1/alerts", {"limit": 1})
        except api.Away:
            return False
        return True

    def _results(self, client: api.Api, *, is_capture: bool) -> None:
        cluster = {"cluster": self.up.cluster}
        found = list(client.alerts({**cluster, "sort": "-events"}, limit=SHOWN))
        self._seen |= {str(alert["id"]) for alert in found}
        if found:
            flows = sum(alert["events"] for alert in found)
            self._out.print()
            words = _counted(len(found), "alert"), _counted(flows, "stopped flow")
            self._out.print(Text(f"{words[0]}, {words[1]}", style="bold"))
            self._out.print()
            listing.print_list(self._out, found)
        elif is_capture:
            self._out.print("No alerts: nothing that an alerting policy stopped is in the capture.")
        self._unreadable()
        self._notices(client)
        token = self.state.token.read_text(encoding="utf-8").strip()
        self._out.print()
        if not is_capture:
            source = self.up.relay or f"{self.up.flows}, as it grows"
            self._out.print(Text(f"Watching {source}"))
        # Nothing may break or colour the link: people copy it.
        self._out.print(Text(f"API and page: {self.base}/?token={token}"), soft_wrap=True)
        self._out.print(Text(f"Output of the stages: {self.state.output}"), soft_wrap=True)
        self._out.print("Ctrl-C stops it; run again, it goes on where it was.")
        sys.stdout.flush()

    def _unreadable(self) -> None:
        """Say how many lines this run put aside: a capture of something else has no alerts."""
        lines, rejected = (self._capture.get(name, 0) for name in ("lines", "rejected"))
        if rejected:
            self._out.print()
            self._out.print(
                f"{rejected:,} of {_counted(lines, 'line')} could not be read; see"
                " picket topics show picket.deadletter",
                soft_wrap=True,
            )

    def _notices(self, client: api.Api) -> None:
        found = [
            notice
            for notice in client.get("/api/v1/notices")["notices"]
            if notice["cluster"] in {"", self.up.cluster}
        ]
        if not found:
            return
        self._out.print()
        self._out.print(Text("Not in the alerts", style="bold"))
        rows = [
            (notice["count"], notice["kind"], notice["reason"], notice["node"]) for notice in found
        ]
        self._out.print(output.table(("COUNT", "KIND", "REASON", "NODE"), rows, right={"COUNT"}))

    def _tell_alerts(self, reader: port.Reader) -> None:
        """Print each alert that is triggered from now on, once."""
        for record in reader.poll(timeout=0.0):
            alert = _alert(record)
            if alert is None or alert.status is not messages.AlertStatus.TRIGGERED:
                continue
            if alert.id in self._seen:
                continue
            self._seen.add(alert.id)
            self._out.print(
                Text(f"{self.clock.utc().astimezone():%H:%M:%S}  {alert.severity}  {alert.title}")
            )

    def _tell_troubles(self) -> None:
        while not self._troubles.empty():
            trouble = self._troubles.get()
            now = self.clock.monotonic()
            if now - self._told.get(trouble, float("-inf")) < REPEAT_SECONDS:
                continue
            if len(self._told) >= REMEMBERED:
                self._told.clear()
            self._told[trouble] = now
            stage, words = trouble
            self._err.print(Text(f"{PREFIX}{stage}: {words}"))

    def _bar(self) -> Progress:
        return Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            console=self._err,
            transient=True,
            disable=not self._err.is_terminal,
        )


@dataclass(frozen=True, slots=True)
class Listener:
    """Writes each line into its stage's file and hands it on."""

    files: Mapping[str, outputs.Output]
    hear: Callable[[str, str], None]

    def __call__(self, stage: str, line: str) -> None:
        """Take one line."""
        self.files[stage].write(line)
        self.hear(stage, line)


def _alert(record: port.Record) -> messages.Alert | None:
    if record.value is None:
        return None
    try:
        return messages.AlertEvent.model_validate_json(record.value).data
    except ValueError:
        return None


def _counted(number: int, word: str) -> str:
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"
