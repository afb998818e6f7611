"""What a plain scalar of YAML means to kubectl: not to YAML 1.2, nor to any other program.

Kubernetes reads YAML 1.1 as Go's yaml.v2 does, where `on` and `yes` are true. A linter that took
them for text would not see what the API server refuses.
"""

import re
from typing import Final

_WORDS: Final[dict[str, object]] = {
    **dict.fromkeys(
        ("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True
    ),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "off", "Off", "OFF"), False),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
_NUMBERS: Final = frozenset("0123456789+-.")
_INTEGER: Final = re.compile(r"[-+]?(0b[01_]+|0x[0-9a-fA-F_]+|0o?[0-7_]+|[1-9][0-9_]*|0)\Z")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_BASES: Final = {"0b": 2, "0x": 16, "0o": 8}


def surprise(text: str) -> str:
    """Why a scalar is no text, where its writer may not know: empty for `true` and for numbers."""
    known = _WORDS.get(text)
    if known is None or text.lower() in ("true", "false"):
        return ""
    return f"Kubernetes reads {text} as {'true' if known else 'false'}"


def value(text: str) -> object:
    """The value of a scalar that is neither quoted nor tagged."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] in _NUMBERS:
        if _INTEGER.match(text) is not None:
            return _integer(text.replace("_", ""))
        if _FLOAT.match(text) is not None:
            return float(text)
    return text


def _integer(text: str) -> int:
    sign = -1 if text.startswith("-") else 1
    digits = text.lstrip("+-")
    base = _BASES.get(digits[:2])
    if base is not None:
        return sign * int(digits[2:], base)
    if len(digits) > 1 and digits.startswith("0"):
        return sign * int(digits, 8)
    return sign * int(digits)
