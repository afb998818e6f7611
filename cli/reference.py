"""docs/settings.md, made from the settings themselves: python -m cli.reference."""

import enum
import inspect
import sys
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from cli import flags, stages, up

HEAD = """\
# Settings

Each command takes its settings from three places. A flag wins over a variable of the environment,
which wins over the file that `--config` names. All are checked before anything starts, and a bad
one is told with the place it came from.

A secret is always the path of a file that holds it, never a value.

This page is made from the settings themselves: `python -m cli.reference`.
"""

INTRODUCTIONS = {
    "up": "`picket up`, the whole on one machine. The settings of the stages, below, may be given "
    "to it too: by variable, or in the file.",
    "bus": "The log that the stages meet on. Every command takes these; without them it is the "
    "file `log.db` in the state folder, `$XDG_STATE_HOME/picket` or `~/.local/state/picket`.",
}


def document() -> str:
    """Return the whole page."""
    sections = [up.SECTION, stages.BUS, *(stage.section for stage in reversed(stages.STAGES))]
    return HEAD + "".join(_section(section) for section in sections)


def _section(section: flags.Section) -> str:
    prefix = f"PICKET_{section.name.upper().replace('-', '_')}_"
    about = INTRODUCTIONS.get(section.name, f"`picket {section.name}`.")
    lines = [
        f"\n## {section.name}\n",
        f"{about} Variables begin with `{prefix}`; the table of the file is `[{section.name}]`.\n",
        "| flag | default | what it says |",
        "|---|---|---|",
    ]
    for name, field in section.settings.model_fields.items():
        flag = f"`--{name.replace('_', '-')}`"
        lines.append(f"| {flag} | {_default(field)} | {_cell(_text(field))} |")
    return "\n".join(lines) + "\n"


def _default(field: FieldInfo) -> str:
    default = field.default
    if default is PydanticUndefined:
        return "needed"
    if default is None or default in ((), ""):
        return ""
    if isinstance(default, enum.Enum):
        default = default.value
    if isinstance(default, bool):
        default = "yes" if default else "no"
    return f"`{default}`"


def _text(field: FieldInfo) -> str:
    text = (field.description or "").strip()
    choices = [kind for kind in _kinds(field.annotation) if issubclass(kind, enum.Enum)]
    if choices:
        text += " One of " + ", ".join(f"`{member.value}`" for member in choices[0]) + "."
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", ")")) else ".")


def _kinds(annotation: Any) -> list[type]:
    parts = getattr(annotation, "__args__", (annotation,))
    return [part for part in parts if inspect.isclass(part)]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(document())
