"""Settings: one frozen class a service, read from flags, the environment and a file.

Flags win over the environment (`PICKET_<SERVICE>_<FIELD>`), which wins over the TOML file. Every
field has a description: it is the flag's help and its sentence in docs/settings.md. A secret is
always the path of a file that holds it.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from runtime.errors import UserError


class Settings(BaseModel):
    """What each service's settings are made from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def load(
        cls,
        section: str,
        *,
        flags: Mapping[str, Any],
        environment: Mapping[str, str],
        file: Path | None = None,
        defaults: Mapping[str, Any] | None = None,
    ) -> Self:
        """Read and validate settings.

        `flags` holds only what was given; `defaults` are the caller's own, below all else.
        `section` names the table of the file and, in capitals with underscores, the part of the
        variables' names. Raises UserError naming every bad setting and where it came from.
        """
        values: dict[str, Any] = dict(defaults or {})
        origin: dict[str, str] = {}
        for name, value in _from_file(file, section).items():
            key = name.replace("-", "_")
            values[key], origin[key] = value, f"{file} [{section}] {name}"
        prefix = f"PICKET_{section.upper().replace('-', '_')}_"
        for name in cls.model_fields:
            variable = prefix + name.upper()
            if environment.get(variable):
                values[name], origin[name] = environment[variable], variable
        for name, value in flags.items():
            values[name], origin[name] = value, "--" + name.replace("_", "-")
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise UserError(_explain(error, section, origin)) from None


def read_secret(path: Path, *, what: str) -> str:
    """Return the stripped text of a secret's file. Raises UserError without showing content."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not text"
        raise UserError(f"cannot read {what} from {path}: {reason}") from None
    if not text:
        raise UserError(f"the file for {what}, {path}, is empty")
    return text


def _from_file(file: Path | None, section: str) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        with file.open("rb") as stream:
            table = tomllib.load(stream).get(section, {})
    except OSError as error:
        raise UserError(f"cannot read settings from {file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is not valid TOML: {error}") from None
    if not isinstance(table, dict):
        raise UserError(f"{file}: [{section}] must be a table")
    return table


def _explain(error: ValidationError, section: str, origin: Mapping[str, str]) -> str:
    lines = []
    for problem in error.errors(include_input=False, include_url=False):
        path = [str(part) for part in problem["loc"]]
        name = path[0] if path else ""
        flag = "--" + name.replace("_", "-")
        if problem["type"] == "missing" and name not in origin:
            lines.append(f"{flag} is needed")
            continue
        where = origin.get(name, f"{flag} (not given)")
        below = "." + ".".join(path[1:]) if len(path) > 1 else ""
        said = problem["msg"].removeprefix("Value error, ")
        lines.append(f"{where}{below}: {said}" if name else said)
    return f"{section}: " + "; ".join(lines)
