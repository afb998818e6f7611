"""Data on standard output: a table for people, JSON and YAML for programs."""

import json
import sys
from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text
from ruamel.yaml import YAML


class Output(StrEnum):
    """How data is printed."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


WIDE = 200
"""Columns where the output is no terminal: a pipe has no edge to wrap at."""


def console() -> Console:
    """Return where people read: colours and width of the terminal, plain text elsewhere."""
    if sys.stdout.isatty():
        return Console(highlight=False)
    return Console(highlight=False, width=WIDE)


def data(value: Any, output: Output) -> None:
    """Print a value as JSON or YAML."""
    if output is Output.JSON:
        sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
        return
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.width = WIDE
    yaml.dump(value, sys.stdout)


def table(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], *, right: Collection[str] = ()
) -> Table:
    """Return a plain table: headings where there are any, no frame; columns in `right` flush."""
    made = Table(
        box=None,
        pad_edge=False,
        header_style="bold",
        padding=(0, 2, 0, 0),
        show_header=any(columns),
    )
    for name in columns:
        made.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*(Text(str(cell)) for cell in row))
    return made
