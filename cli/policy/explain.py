"""`picket policy explain`: why each recorded flow passed or was stopped, by policies in files."""

import itertools
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from cli import output
from cli.recordings import accounts, captures, jsonflows, known
from runtime.supervisor import PREFIX

_BAD_LINES_TOLD: Final = 20
FOUND: Final = 1


HELP: Final = (
    "Say of each recorded flow which rule let it pass, or which ones stopped it and why.\n\n"
    "hubble observe -o jsonpb | picket policy explain --policies manifests/ --flow -\n\n"
    "Policy verdicts and requests are explained; traces, drop events and answers are passed over."
    " The folder may hold services, CIDR groups and whatever else policies refer to.\n\n"
    "Exit code 0: all are explained; 1: some are not, or could not be read; 2: misuse."
)


class Style(StrEnum):
    """How explanations are written."""

    TEXT = "text"
    JSON = "json"
    YAML = "yaml"


@dataclass(slots=True)
class Counts:
    """What a capture was made of."""

    explained: int = 0
    unexplained: int = 0
    passed_over: int = 0
    """Traces, drop events, answers, lost events: nothing that a policy decided."""
    bad: int = 0
    disagreeing: int = field(default=0)


def explain(
    policies: Annotated[
        Path,
        typer.Option(
            "--policies", metavar="PATH", help="Folder of manifests, or one file.", exists=False
        ),
    ],
    flow: Annotated[
        str,
        typer.Option(
            "--flow",
            metavar="FILE",
            help="Flows as hubble observe -o jsonpb prints them, plain or gzip; - is stdin.",
        ),
    ],
    style: Annotated[
        Style, typer.Option("--output", "-o", help="How the explanations are printed.")
    ] = Style.TEXT,
) -> None:
    """Explain each recorded flow; see HELP."""
    found = known.read(policies)
    known.tell(found, policies)
    counts = Counts()
    try:
        _write(_accounts(flow, found, counts), style)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads has seen enough; typer would call it a failure.
        sys.stdout = None
        return
    _sum_up(counts)
    if counts.unexplained or counts.bad:
        raise typer.Exit(FOUND)


def _accounts(path: str, found: known.Known, counts: Counts) -> Iterator[accounts.Account]:
    reader = jsonflows.Reader()
    for line in captures.lines(path):
        try:
            for seen in reader.read(line.content):
                if seen is None:
                    counts.passed_over += 1
                    continue
                account = accounts.of(seen, found, line.number)
                counts.explained += account.is_explained
                counts.unexplained += not account.is_explained
                counts.disagreeing += bool(account.disagreement)
                yield account
        except jsonflows.NotReadable as error:
            counts.bad += 1
            if counts.bad <= _BAD_LINES_TOLD:
                sys.stderr.write(f"{PREFIX}{path}:{line.number} is {error}\n")


def _write(found: Iterator[accounts.Account], style: Style) -> None:
    match style:
        case Style.TEXT:
            colours = sys.stdout.isatty()
            for account in found:
                sys.stdout.write(accounts.text(account, colours=colours) + "\n")
        case Style.JSON:
            _write_json(account.as_json() for account in found)
        case Style.YAML:
            first = next(found, None)
            if first is None:
                sys.stdout.write("[]\n")
                return
            for account in itertools.chain([first], found):
                output.data([account.as_json()], output.Output.YAML)


def _write_json(items: Iterator[dict[str, Any]]) -> None:
    """Write one array, an entry a line, as they come: a capture may have a million flows."""
    sys.stdout.write("[")
    comma = "\n"
    for item in items:
        sys.stdout.write(comma + json.dumps(item, ensure_ascii=False))
        comma = ",\n"
    sys.stdout.write("\n]\n")


def _sum_up(counts: Counts) -> None:
    total = counts.explained + counts.unexplained
    parts = [f"{total} {'verdict' if total == 1 else 'verdicts'}"]
    if counts.unexplained:
        parts.append(f"{counts.unexplained} unexplained")
    if counts.disagreeing:
        parts.append(f"{counts.disagreeing} of which Cilium names another policy")
    if counts.passed_over:
        parts.append(f"{counts.passed_over} events passed over that are no verdicts")
    if counts.bad:
        parts.append(f"{counts.bad} lines that could not be read")
    sys.stderr.write(f"{PREFIX}{', '.join(parts)}\n")
