"""Writes a mix of flows into the nodes' rings at a given rate, and keeps the books of it.

A flow is in the books when it is in a ring, not when it is delivered; a node that observes nothing
at the moment gets none and none is booked.
"""

import itertools
import random
import secrets
import threading
import time
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tests.parts.synthetic import events, kinds, mix
from tests.parts.synthetic.node import Node

TICK_SECONDS = 0.005
AHEAD = 4096
"""How many scenarios are drawn at a time."""
PORTS = 28_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A step of a scenario, ready to be written many times."""

    number: int
    scenario: str
    step: mix.Step
    kind: events.Kind
    node: int
    opens: bool
    """Whether a new connection begins with it: twins have one source port."""


class Books:
    """What was written: how often each step, and which uuids."""

    def __init__(self) -> None:
        self.steps: list[Prepared] = []
        self.counts: Counter[int] = Counter()
        self.order = array("I")
        self._run = secrets.randbits(32)

    def enter(self, step: Prepared) -> bytes:
        """Book a flow and return its uuid."""
        sequence = len(self.order)
        self.order.append(step.number)
        self.counts[step.number] += 1
        return self._uuid(step, sequence)

    def alerts(self) -> dict[mix.Alert, int]:
        """Return the alerts that must come of it, with their number of events."""
        expected: Counter[mix.Alert] = Counter()
        for number, count in list(self.counts.items()):
            for alert in self.steps[number].step.alerts:
                expected[alert] += count
        return dict(expected)

    def uuids(self, *, counted: bool) -> list[str]:
        """Return the uuids of all flows, or only of those that tell of something stopped."""
        wanted = [not counted or mix.counts(each.step.flow) for each in self.steps]
        return [
            self._uuid(self.steps[number], sequence).decode()
            for sequence, number in enumerate(self.order.tolist())
            if wanted[number]
        ]

    def as_json(self) -> dict[str, Any]:
        """Return the books for a test to compare with."""
        written = [(self.steps[number], count) for number, count in sorted(self.counts.items())]
        flows: Counter[str] = Counter()
        for step, count in written:
            flow = step.step.flow
            names = type(flow).DESCRIPTOR.fields_by_name["verdict"].enum_type.values_by_number
            flows[f"{flow.event_type.type}/{names[flow.verdict].name}"] += count
        return {
            "flows": sum(count for _, count in written),
            "counted": sum(count for step, count in written if mix.counts(step.step.flow)),
            "by_type_and_verdict": dict(sorted(flows.items())),
            "alerts": [_alert(alert, count) for alert, count in self.alerts().items()],
        }

    def _uuid(self, step: Prepared, sequence: int) -> bytes:
        return b"%08x-%04x-4000-a000-%012x" % (self._run, step.node, sequence)


class Emission:
    """Writes flows, one thread at a time."""

    def __init__(self, nodes: Sequence[Node], *, seed: int = 1) -> None:
        self.books = Books()
        self.cast = mix.Cast([node.name for node in nodes])
        self.blind: set[int] = set()
        """Nodes that observe nothing at the moment, by their place."""
        self._nodes = tuple(nodes)
        self._random = random.Random(seed)
        self._prepared: dict[tuple[str, bool], tuple[Prepared, ...]] = {}
        self._writing = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._ports = itertools.cycle(range(32768, 32768 + PORTS))
        self._port = 32768

    def seed_rings(self, nodes: Iterable[Node] | None = None) -> None:
        """Write two events of noise into each ring: nobody can read from an emptier one."""
        for node in self._nodes if nodes is None else nodes:
            self.noise(node)
            self.noise(node)

    def noise(self, node: Node) -> None:
        """Write one event that is nobody's business; it lets the one before it be read."""
        kind = events.Kind(kinds.noise(node.name))
        with self._writing:
            now = max(time.time_ns(), node.newest + 1)
            uuid = b"%08x-0000-4000-b000-%012x" % (secrets.randbits(32), secrets.randbits(48))
            node.write([kind.event(uuid, now, 0)])

    def release(self) -> None:
        """Let the newest event of each node be read, by an event of noise after it."""
        for place, node in enumerate(self._nodes):
            if place not in self.blind:
                self.noise(node)

    def play(self, scenario: mix.Scenario, times: int = 1) -> list[tuple[str, int]]:
        """Write a scenario so often; return uuid and time of each flow that was written."""
        steps = self._prepare(scenario, twins=True)
        return self._write(list(steps) * times, since=None)

    def start(self, rate: float, chosen: mix.Mix, *, count: int | None = None) -> None:
        """Write so many flows a second until `stop`, or until `count` were written."""
        if self._thread is not None and self._thread.is_alive():
            raise ValueError("flows are being written already")
        self._stopping.clear()
        self._thread = threading.Thread(
            target=self._run, args=(rate, chosen, count), name="emission", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Write no more. Idempotent."""
        self._stopping.set()
        self.join()

    def join(self) -> None:
        """Wait until `count` flows were written."""
        if self._thread is not None:
            self._thread.join()

    def _run(self, rate: float, chosen: mix.Mix, count: int | None) -> None:
        stream = self._drawn(chosen)
        started, written = time.monotonic(), 0
        before = time.time_ns()
        while not self._stopping.wait(TICK_SECONDS):
            due = int((time.monotonic() - started) * rate) - written
            if count is not None:
                due = min(due, count - written)
            if due > 0:
                self._write(list(itertools.islice(stream, due)), since=before)
                before, written = time.time_ns(), written + due
            if count is not None and written >= count:
                return

    def _drawn(self, chosen: mix.Mix) -> Iterator[Prepared]:
        weights = self.cast.weights(chosen)
        twins = chosen is not mix.Mix.DENIED
        plays = [self._prepare(self.cast.played(name, chosen), twins=twins) for name in weights]
        while True:
            for play in self._random.choices(plays, list(weights.values()), k=AHEAD):
                yield from play

    def _prepare(self, scenario: mix.Scenario, *, twins: bool) -> tuple[Prepared, ...]:
        key = (scenario.name, twins)
        if key not in self._prepared:
            names = [node.name for node in self._nodes]
            steps = []
            for step in scenario.steps:
                prepared = Prepared(
                    number=len(self.books.steps),
                    scenario=scenario.name,
                    step=step,
                    kind=events.Kind(step.flow),
                    node=names.index(step.flow.node_name),
                    opens=not steps,
                )
                self.books.steps.append(prepared)
                steps.append(prepared)
                self._nodes[prepared.node].namespaces |= {
                    end.namespace
                    for end in (step.flow.source, step.flow.destination)
                    if end.namespace
                }
            self._prepared[key] = tuple(steps)
        return self._prepared[key]

    def _write(self, steps: Sequence[Prepared], *, since: int | None) -> list[tuple[str, int]]:
        """Write flows; those of a tick get times that are spread over it."""
        with self._writing:
            now = time.time_ns()
            first = now - 1000 * len(steps) if since is None else min(since, now)
            apart = max((now - first) // max(len(steps), 1), 1)
            entries: list[list[events.Event]] = [[] for _ in self._nodes]
            newest = [node.newest for node in self._nodes]
            written = []
            for index, step in enumerate(steps, start=1):
                place = step.node
                if step.opens:
                    self._port = next(self._ports)
                if place in self.blind:
                    continue
                at = first + index * apart
                if at <= newest[place]:
                    at = newest[place] + 1
                newest[place] = at
                uuid = self.books.enter(step)
                entries[place].append(step.kind.event(uuid, at, self._port))
                if since is None:
                    written.append((uuid.decode(), at))
            for node, batch in zip(self._nodes, entries, strict=True):
                if batch:
                    node.write(batch)
            return written


def _alert(alert: mix.Alert, count: int) -> dict[str, Any]:
    def party(end: mix.Party) -> dict[str, str]:
        return {"kind": end.kind, "namespace": end.namespace, "name": end.name}

    policy = alert.policy
    return {
        "policy": {"kind": policy.kind, "namespace": policy.namespace, "name": policy.name},
        "project": alert.project,
        "direction": alert.direction,
        "reason": alert.reason,
        "subject": party(alert.subject),
        "peer": party(alert.peer),
        "events": count,
    }
