"""The report for people: each finding with its line and a mark under what is meant."""

from typing import Final

from rich.console import Console
from rich.text import Text

from cli.linting import report
from cli.linting.report import Report, Told
from policies.linting.findings import Severity

_STYLES: Final = {
    Severity.ERROR: "bold red",
    Severity.WARNING: "bold yellow",
    Severity.INFO: "bold cyan",
}
_NAMES: Final = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
_WIDEST: Final = 160
"""Of a line of a file that is shown."""


def write(made: Report, console: Console) -> None:
    """Print all findings and what they come to."""
    for told in made.findings:
        console.print(_finding(told), soft_wrap=True)
    console.print(_summary(made), soft_wrap=True)


def _finding(told: Told) -> Text:
    style = _STYLES[told.rule.severity]
    text = Text()
    text.append(str(told.spot), style="bold")
    text.append(": ")
    text.append(_NAMES[told.rule.severity], style=style)
    text.append(": ")
    text.append(_clean(told.message), style="bold")
    text.append(f" [{told.rule.id}]\n", style="dim")
    if told.source.strip():
        _excerpt(text, told, style)
    if told.subject is not None and str(told.subject):
        where = f", {told.path}" if told.path else ""
        text.append(f"      in {_clean(f'{told.subject}{where}')}\n", style="dim")
    if told.elsewhere is not None:
        text.append(f"      {told.elsewhere}: {told.note}\n")
    if told.hint:
        text.append("      help: ", style="green")
        text.append(f"{_clean(told.hint)}\n")
    return text


def _excerpt(text: Text, told: Told, style: str) -> None:
    """The line, without what is common to all of its kind: tabs and what goes on too far."""
    spot = told.spot
    line = _clean(told.source.replace("\t", " "))
    cut = max(0, spot.column - 1 - _WIDEST // 2) if len(line) > _WIDEST else 0
    shown = line[cut : cut + _WIDEST]
    begin = spot.column - 1 - cut
    end = spot.end_column - 1 - cut if spot.end_line == spot.line else len(shown)
    length = max(1, min(end, len(shown)) - begin)
    text.append(f"{spot.line:>5} | ", style="dim")
    text.append(f"{shown}\n")
    text.append("      | ", style="dim")
    text.append(f"{' ' * begin}{'^' * length}\n", style=style)


def _clean(text: str) -> str:
    """Without what would move the cursor: a file is not trusted with the terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _summary(made: Report) -> Text:
    found = made.count()
    looked = f"{_number(made.policies, 'policy', 'policies')} in {_number(made.files, 'file')}"
    extra = []
    if made.patches:
        extra.append(f"{_number(made.patches, 'kustomize patch', 'kustomize patches')} left out")
    if made.ignored:
        extra.append(f"{made.ignored} ignored by comments")
    after = f" ({', '.join(extra)})" if extra else ""
    if not made.policies and not made.findings:
        return Text(f"No policies found in {_number(made.files, 'file')}{after}.", style="yellow")
    if not made.findings:
        return Text(f"All fine: {looked}{after}.", style="green")
    text = Text("Found ")
    parts = [
        (severity, _number(found[severity], _NAMES[severity]))
        for severity in report.ORDER
        if found[severity]
    ]
    for index, (severity, words) in enumerate(parts):
        text.append(" and " if index == len(parts) - 1 and index else ", " if index else "")
        text.append(words, style=_STYLES[severity])
    text.append(f" in {looked}{after}.")
    return text


def _number(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"
