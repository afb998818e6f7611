"""`picket policy lint`: what is wrong with policies, before any cluster sees them."""

import difflib
import fnmatch
import importlib.metadata
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer
from rich import progress
from rich.console import Console
from rich.markdown import Markdown

from cli import output
from cli.linting import checking, files, page, reports, text
from cli.linting.report import Report
from policies import addresses
from policies.linting import linter
from runtime.errors import UserError

_SHOW_PROGRESS_FROM: Final = 200
"""Files; fewer are read before anybody would wait."""


class Format(StrEnum):
    """How the report is written."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"
    GITLAB = "gitlab"


def lint(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Files and folders of manifests; - is standard input."),
    ] = None,
    *,
    style: Annotated[
        Format,
        typer.Option(
            "--format", help="gitlab is a Code Quality report, sarif is for code scanning."
        ),
    ] = Format.TEXT,
    output_file: Annotated[
        Path | None,
        typer.Option(
            "--output-file", "-o", metavar="FILE", help="Write the report there, and text here."
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings fail as errors do.")] = False,
    select: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RULES", help="Only these rules: names or patterns such as 'alert-*'."
        ),
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option(metavar="RULES", help="All but these rules.")
    ] = None,
    cluster_cidr: Annotated[
        list[str] | None,
        typer.Option(metavar="CIDR", help="Addresses that pods have: rules by CIDR miss them."),
    ] = None,
    node_selectors: Annotated[
        bool,
        typer.Option("--node-selectors", help="Cilium runs with enable-node-selector-labels."),
    ] = False,
    explain: Annotated[
        str | None, typer.Option("--explain", metavar="RULE", help="Say what a rule is about.")
    ] = None,
    rules: Annotated[bool, typer.Option("--rules", help="List all rules.")] = False,
) -> None:
    """Find what Cilium or the API server would refuse, and what is surely not meant.

    Exit code 0: no errors (warnings and notes may be). 1: errors. 2: misuse.

    A comment `# picket: ignore RULE` switches a rule off: at the end of a line for that line, on a
    line of its own for what begins below.
    """
    if rules or explain is not None:
        _tell_rules(explain)
        return
    if not paths:
        raise UserError("give the files or folders to lint, or - for standard input")
    chosen = _chosen(select, ignore)
    prefixes = tuple(_prefix(written) for written in cluster_cidr or ())
    sources = files.find(paths)
    looking = linter.Linter(node_selector_labels=node_selectors, cluster_cidrs=prefixes)
    with _progress(2 * len(sources)) as step:
        made = checking.Run(looking, chosen, step).check(sources)
    if output_file is None:
        _write(made, style)
    else:
        _save(made, style, output_file)
        text.write(made, output.console())
    if made.fails(strict=strict):
        raise typer.Exit(1)


def _write(made: Report, style: Format) -> None:
    if style is Format.TEXT:
        text.write(made, output.console())
    else:
        sys.stdout.write(_report(made, style))


def _save(made: Report, style: Format, file: Path) -> None:
    try:
        file.write_text(_report(made, style), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{file} cannot be written: {error.strerror}") from error


def _report(made: Report, style: Format) -> str:
    match style:
        case Format.JSON:
            return reports.as_json(made)
        case Format.SARIF:
            return reports.as_sarif(made, checking.RULES, version=_version())
        case Format.GITLAB:
            return reports.as_gitlab(made)
        case Format.TEXT:
            written = io.StringIO()
            text.write(made, Console(file=written, highlight=False, width=output.WIDE))
            return written.getvalue()


def _chosen(select: Sequence[str] | None, ignore: Sequence[str] | None) -> frozenset[str]:
    wanted = _named("--select", select) if select else checking.KNOWN
    return wanted - _named("--ignore", ignore or ())


def _named(option: str, patterns: Sequence[str]) -> frozenset[str]:
    found: set[str] = set()
    for pattern in (part.strip() for given in patterns for part in given.split(",")):
        fitting = fnmatch.filter(checking.KNOWN, pattern)
        if not fitting:
            raise UserError(f"{option}: there is no rule {pattern!r}{_near(pattern)}")
        found.update(fitting)
    return frozenset(found)


def _near(name: str) -> str:
    close = difflib.get_close_matches(name, checking.KNOWN, n=1)
    return f"; did you mean {close[0]}?" if close else "; picket policy lint --rules lists them"


def _prefix(written: str) -> addresses.Prefix:
    try:
        return addresses.parse_prefix(written)
    except ValueError as error:
        raise UserError(f"--cluster-cidr: {error}") from None


def _tell_rules(name: str | None) -> None:
    if name is None:
        rows = [(rule.id, rule.severity.value, rule.what) for rule in checking.RULES]
        output.console().print(output.table(("RULE", "SEVERITY", "WHAT"), rows))
        return
    found = next((rule for rule in checking.RULES if rule.id == name), None)
    if found is None:
        raise UserError(f"--explain: there is no rule {name!r}{_near(name)}")
    told = page.section(found)
    if sys.stdout.isatty():
        output.console().print(Markdown(told))
    else:
        sys.stdout.write(told)


def _version() -> str:
    try:
        return importlib.metadata.version("picket")
    except importlib.metadata.PackageNotFoundError:
        return "0.0.0"


@contextmanager
def _progress(steps: int) -> Iterator[Callable[[], None]]:
    """A bar on a terminal, for long work only; it is gone when the report is printed."""
    if steps < 2 * _SHOW_PROGRESS_FROM or not sys.stderr.isatty():
        yield lambda: None
        return
    with progress.Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Linting", total=steps)
        yield lambda: bar.advance(task)
