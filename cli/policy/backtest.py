"""`picket policy backtest`: which recorded flows other policies would stop, or let through."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from cli import options, output, stages
from cli.recordings import known, sources
from cli.recordings.sources import Counts, Moved
from policies.backtesting import Backtest, Change, Group
from policies.flows import Direction
from policies.recordings import Recorded
from runtime.supervisor import PREFIX

HELP: Final = (
    "Try policies on recorded flows, and say what would be newly stopped or newly allowed.\n\n"
    "picket policy backtest --policies new/ --baseline old/ --flows flows.jsonl.gz\n\n"
    "Policy verdicts and requests count, each once; traces, answers and repetitions do not. What"
    " audit mode let through counts as stopped. The folder has to hold all policies of the"
    " cluster, with the services and CIDR groups that they refer to.\n\n"
    "Exit code 0: nothing that flowed would be stopped; 1: something would; 2: misuse."
)
FOUND: Final = 1
SHOWN: Final = 100
"""Rows of the table; JSON has all."""
_NANOS: Final = 1_000_000_000
_CHANGES: Final = {
    Change.STOPPED: "newly stopped",
    Change.ALLOWED: "newly allowed",
    Change.INSPECTED: "newly inspected at L7",
    Change.UNDECIDED: "undecided",
    Change.SAME: "the same",
}
_COLOURS: Final = {
    Change.STOPPED: "bold red",
    Change.ALLOWED: "bold green",
    Change.INSPECTED: "cyan",
    Change.UNDECIDED: "yellow",
}


def backtest(
    context: typer.Context,
    *,
    policies: Annotated[
        Path,
        typer.Option(
            "--policies", metavar="DIR", help="The new policies: a folder of manifests, or a file."
        ),
    ],
    flows: Annotated[
        str,
        typer.Option(
            "--flows",
            metavar="FILE|topic",
            help="A capture, plain or gzip, - for stdin; or the word topic: picket.flows.",
        ),
    ],
    baseline: Annotated[
        Path | None,
        typer.Option(
            "--baseline",
            metavar="DIR",
            help="The policies to compare with, instead of the recorded verdicts.",
        ),
    ] = None,
    cluster: Annotated[
        str, typer.Option("--cluster", help="With topic: flows of one cluster only.")
    ] = "",
    style: options.OutputFormat = output.Output.TABLE,
    state: options.StateFolder = None,
    config: options.Config = None,
    **values: Any,
) -> None:
    """Try policies on recorded flows; see HELP."""
    after = known.read(policies)
    known.tell(after, policies)
    before = None
    if baseline is not None:
        before = known.read(baseline)
        known.tell(before, baseline)
    test = Backtest(after.repository, before.repository if before is not None else None)
    counts = Counts()
    with _progress() as moved:
        if flows == "topic":
            log = stages.opened(
                options.bus(context, values, config, options.state_folder(state)), ensure=False
            )
            try:
                _add(test, sources.topic(log, counts, cluster=cluster, moved=moved))
            finally:
                log.close()
        else:
            _add(test, sources.capture(flows, counts, moved))
    groups = test.groups()
    if style is output.Output.TABLE:
        _print(groups)
    else:
        output.data(_json(test, counts, groups), style)
    _sum_up(test, counts, has_baseline=before is not None)
    if test.totals.changes[Change.STOPPED]:
        raise typer.Exit(FOUND)


def _add(test: Backtest, flows: Iterator[tuple[Recorded, int]]) -> None:
    add = test.add
    for flow, time in flows:
        add(flow, time)


@contextmanager
def _progress() -> Iterator[Moved]:
    """Show a bar on a terminal, and nothing elsewhere."""
    console = Console(stderr=True)
    bar = Progress(
        SpinnerColumn(),
        TextColumn("trying policies on flows"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task("", total=None)

        def moved(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total)

        yield moved


def _print(groups: list[Group]) -> None:
    if not groups:
        return
    console = output.console()
    for change in _COLOURS:
        found = [group for group in groups if group.key.change is change]
        if not found:
            continue
        total = sum(group.count for group in found)
        console.print(f"{_CHANGES[change]}: {total} flows", style=_COLOURS[change])
        rows = [_row(group) for group in found[:SHOWN]]
        console.print(
            output.table(
                ["flows", "from", "to", "port", "end", "first", "last", "why"],
                rows,
                right=["flows"],
            )
        )
        if len(found) > SHOWN:
            console.print(f"and {len(found) - SHOWN} more: see --output json")
        console.print()


def _row(group: Group) -> list[object]:
    key = group.key
    ends = [key.peer.text, key.subject.text]
    if key.direction is Direction.EGRESS:
        ends.reverse()
    return [
        group.count,
        *ends,
        key.port or "several",
        key.direction.value,
        _short(group.first),
        _short(group.last),
        group.sentence,
    ]


def _json(test: Backtest, counts: Counts, groups: list[Group]) -> dict[str, Any]:
    totals = test.totals
    return {
        "flows": totals.flows,
        "changes": {change.value: totals.changes[change] for change in Change},
        "audited": totals.audited,
        "stopped_by_something_else": totals.not_by_policy,
        "baseline_disagrees": totals.disagreeing,
        "passed_over": counts.passed_over,
        "repeated": counts.repeated,
        "unreadable": counts.unreadable,
        "groups": [_group_json(group) for group in groups],
    }


def _group_json(group: Group) -> dict[str, Any]:
    key = group.key
    return {
        "change": key.change.value,
        "direction": key.direction.value,
        "subject": {"namespace": key.subject.namespace, "text": key.subject.text},
        "peer": {"namespace": key.peer.namespace, "text": key.peer.text},
        "port": key.port,
        "flows": group.count,
        "first_seen": _time(group.first),
        "last_seen": _time(group.last),
        "why": group.sentence,
        "policies": list(group.policies),
    }


def _sum_up(test: Backtest, counts: Counts, *, has_baseline: bool) -> None:
    totals = test.totals
    said = [f"{totals.flows} verdicts"]
    said += [
        f"{totals.changes[change]} {text}"
        for change, text in _CHANGES.items()
        if totals.changes[change] or change in (Change.STOPPED, Change.ALLOWED)
    ]
    more = {
        "let through by audit mode alone, taken as stopped before": totals.audited,
        "stopped by something else than a policy": totals.not_by_policy,
        "events passed over that are no verdicts": counts.passed_over,
        "repeated": counts.repeated,
        "that could not be read": counts.unreadable,
    }
    said += [f"{count} {text}" for text, count in more.items() if count]
    sys.stderr.write(f"{PREFIX}{', '.join(said)}\n")
    if has_baseline and totals.disagreeing:
        sys.stderr.write(
            f"{PREFIX}of {totals.disagreeing} flows the baseline says something else than Cilium"
            " did: it is not what was in force\n"
        )


def _time(nanos: int) -> str | None:
    if not nanos:
        return None
    return datetime.fromtimestamp(nanos // _NANOS, tz=UTC).isoformat().replace("+00:00", "Z")


def _short(nanos: int) -> str:
    if not nanos:
        return "-"
    return f"{datetime.fromtimestamp(nanos // _NANOS, tz=UTC):%m-%d %H:%M:%S}"
