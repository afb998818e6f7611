"""Settings written as TOML, so that a child reads just what its parent checked. Pure."""

import json
from collections.abc import Mapping, Sequence
from typing import Any


def document(tables: Mapping[str, Mapping[str, Any]]) -> str:
    """Return TOML with one table a name; values as JSON has them, those that are None left out."""
    parts = []
    for name, table in tables.items():
        lines = [f"[{name}]"]
        lines += [f"{key} = {value(item)}" for key, item in table.items() if item is not None]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def value(item: Any) -> str:
    """Return one value on one line. Raises TypeError for what TOML has no word for."""
    if isinstance(item, bool):
        return "true" if item else "false"
    if isinstance(item, int | float):
        return repr(item)
    if isinstance(item, str):
        # TOML's basic strings are JSON's, but for a character that JSON leaves as it is.
        return json.dumps(item, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(item, Mapping):
        pairs = (
            f"{value(str(key))} = {value(part)}" for key, part in item.items() if part is not None
        )
        return "{" + ", ".join(pairs) + "}"
    if isinstance(item, Sequence):
        return "[" + ", ".join(value(part) for part in item) + "]"
    raise TypeError(f"TOML has no {type(item).__name__}")
