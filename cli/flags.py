"""Options made from settings: a field's name, type, default and description are its flag.

Values go to the settings as they were written; the settings check them, so that a flag, a variable
and a line of a file meet the same rules and the same messages.
"""

import enum
import inspect
import types
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from rich import markup

from runtime.settings import Settings

GIVEN = "COMMANDLINE"


@dataclass(frozen=True, slots=True)
class Section:
    """A settings class and the name of its table and variables."""

    name: str
    settings: type[Settings]
    panel: str = "Settings"


def parameters(sections: Iterable[Section]) -> list[inspect.Parameter]:
    """Return one keyword parameter a field, for typer to read."""
    return [
        _parameter(name, field, section.panel)
        for section in sections
        for name, field in section.settings.model_fields.items()
    ]


def given(context: typer.Context, section: Section, values: dict[str, Any]) -> dict[str, Any]:
    """Return those of the section's flags that stood on the command line."""
    return {
        name: values[name]
        for name in section.settings.model_fields
        if (source := context.get_parameter_source(name)) is not None and source.name == GIVEN
    }


def command(body: Callable[..., Any], sections: Iterable[Section]) -> Callable[..., Any]:
    """Return `body`, of keyword-only options, with one more a field, handed to it in `**values`."""
    signature = inspect.signature(body)
    own = [
        parameter
        for parameter in signature.parameters.values()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]

    # Typer hands everything over by name.
    def called(**given: Any) -> Any:
        return body(**given)

    added = parameters(sections)
    called.__name__ = body.__name__
    called.__doc__ = body.__doc__
    called.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*own[:1], *added, *own[1:]]
    )
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *added)}
    return called


def _parameter(name: str, field: FieldInfo, panel: str) -> inspect.Parameter:
    flag = "--" + name.replace("_", "-")
    kind = _bare(field.annotation)
    default = None if field.default is PydanticUndefined else field.default
    # Help is read as markup, which would swallow what stands in brackets.
    text = markup.escape(field.description or "")
    if kind is bool:
        annotation: Any = bool | None
        option = typer.Option(
            f"{flag}/--no-{flag[2:]}", help=text, metavar="", rich_help_panel=panel
        )
        value: Any = default
    else:
        annotation = str | None
        value = _written(default)
        option = typer.Option(flag, help=text, metavar=_metavar(kind), rich_help_panel=panel)
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=value,
        annotation=Annotated[annotation, option],
    )


def _bare(annotation: Any) -> Any:
    """Return the type without its None."""
    if typing.get_origin(annotation) in {types.UnionType, typing.Union}:
        kinds = [kind for kind in typing.get_args(annotation) if kind is not types.NoneType]
        return kinds[0] if kinds else str
    return typing.get_origin(annotation) or annotation


def _metavar(kind: Any) -> str:
    if inspect.isclass(kind) and issubclass(kind, enum.Enum):
        return "|".join(str(member.value) for member in kind)
    return {int: "INTEGER", float: "NUMBER", Path: "PATH", tuple: "LIST"}.get(kind, "TEXT")


def _written(default: Any) -> str | None:
    if default is None or default == ():
        return None
    if isinstance(default, enum.Enum):
        return str(default.value)
    return str(default)
