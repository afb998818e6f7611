"""Checks a manifest against the schema of its CRD, and says in plain words what is wrong.

The validator is made once. As in Kubernetes, expressions are RE2's, a CIDR is what Go's net package
reads, and other formats mean nothing.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any, Final, cast

import jsonschema_rs
import re2
from jsonschema import Draft202012Validator, FormatChecker, ValidationError, validators

from policies import addresses, ports, selecting
from policies.crd import fields, schema
from policies.decoding import Field, PolicyRejected

_SHOWN: Final = 60
_ZEROS: Final = re.compile(r"(?<![0-9a-fA-F])0+(?=[0-9a-fA-F])")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


class Stage(StrEnum):
    """Who refuses."""

    SCHEMA = "schema"
    """The API server: the schema of the CRD."""
    UNKNOWN_FIELD = "unknown-field"
    """The API server where it is strict; elsewhere it drops the field."""
    PREFLIGHT = "preflight"
    """Cilium's own check of stored policies only."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a manifest, and where."""

    path: tuple[str | int, ...]
    message: str
    stage: Stage

    def __str__(self) -> str:
        return f"{where(self.path)}: {self.message}" if self.path else self.message


def where(path: tuple[str | int, ...]) -> str:
    """A path as text, such as `spec.ingress[1].toPorts[0]`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def check(manifest: Mapping[str, Any]) -> tuple[Finding, ...]:
    """What the CRD side refuses of a manifest; nothing for kinds without a CRD of ours.

    First what the schema refuses, then fields that it does not know, then Cilium's own check.
    """
    if not _is_ours(manifest):
        return ()
    errors: Iterable[ValidationError] = ()
    if not _is_taken(manifest):
        errors = _validator().iter_errors(fields.without_nulls(schema.POLICY, manifest))
    found = [Finding(_path(error), _said(error), Stage.SCHEMA) for error in errors]
    found += [
        Finding(path, "is not a field that the API server knows", Stage.UNKNOWN_FIELD)
        for path in fields.unknown(schema.POLICY, manifest)
    ]
    if not found:
        found = [Finding(path, text, Stage.PREFLIGHT) for path, text in _preflight(manifest)]
    return tuple(dict.fromkeys(found))


def refuses(manifest: Mapping[str, Any]) -> bool:
    """Whether Cilium's own check of stored policies refuses a manifest.

    It differs from `check` in that it takes empty values of unknown fields, and fields beneath
    matchExpressions, but neither null nor any value that Go's types leave out, such as `endPort: 0`
    or an empty description, and no listener without a priority.
    """
    if not _is_ours(manifest):
        return False
    if not _is_taken(manifest) and any(
        error.validator != "uniqueItems" for error in _validator().iter_errors(manifest)
    ):
        return True
    return not fields.is_kept(schema.POLICY, manifest) or any(True for _ in _preflight(manifest))


def _is_ours(manifest: Mapping[str, Any]) -> bool:
    kind = manifest.get("kind")
    return isinstance(kind, str) and kind in schema.KINDS


def _preflight(manifest: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """What Cilium's own check finds in an object that the schema takes."""
    specs: list[tuple[tuple[str | int, ...], Any]] = [(("spec",), manifest.get("spec"))]
    specs += [(("specs", index), spec) for index, spec in enumerate(manifest.get("specs") or ())]
    for path, spec in specs:
        if spec is None:
            continue
        for inner, reading in _decoded(spec):
            try:
                reading()
            except PolicyRejected as error:
                yield (*path, *inner), error.message
        if manifest["kind"] == "CiliumNetworkPolicy":
            yield from _selector(spec, (*path, "endpointSelector"))


def _selector(
    spec: Mapping[str, Any], path: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    try:
        selector = selecting.cilium(Field("", spec.get("endpointSelector")))
    except PolicyRejected as error:
        yield path, error.message
        return
    if selector.names("init", ("reserved",)):
        yield path, "only a CiliumClusterwideNetworkPolicy may select reserved:init"


def _decoded(
    spec: Mapping[str, Any],
) -> Iterator[tuple[tuple[str | int, ...], Callable[[], object]]]:
    """What is read more closely than the schema does: ICMP types by family, and labels."""
    for section in ("ingress", "ingressDeny", "egress", "egressDeny"):
        for index, rule in enumerate(spec.get(section) or ()):
            if rule.get("icmps"):
                yield (section, index, "icmps"), _icmps(rule["icmps"])
    for index, label in enumerate(spec.get("labels") or ()):
        if not label["key"]:
            yield ("labels", index, "key"), _empty_key


def _icmps(value: Any) -> Callable[[], object]:
    return lambda: ports.icmps(Field("", value))


def _empty_key() -> None:
    raise PolicyRejected("", "must not be empty")


def _is_taken(manifest: Mapping[str, Any]) -> bool:
    """Whether the schema takes it: told fifty times as fast, and without reasons."""
    try:
        return _quick_validator().is_valid(manifest)
    except ValueError:  # a value that JSON has not
        return False


@cache
def _quick_validator() -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(
        schema.POLICY,
        validate_formats=True,
        ignore_unknown_formats=True,
        formats={"cidr": _is_cidr, "date-time": _is_time},
        pattern_options=jsonschema_rs.RegexOptions(),
    )


@cache
def _validator() -> Any:
    made = validators.extend(Draft202012Validator, {"pattern": _pattern})  # type: ignore[no-untyped-call]
    return made(schema.POLICY, format_checker=_FORMATS)


def _pattern(_: object, expression: str, value: object, __: object) -> Iterator[ValidationError]:
    if isinstance(value, str) and not _has(expression, value):
        yield ValidationError(f"must match {expression}")


def _has(expression: str, value: str) -> bool:
    try:
        return _expression(expression).search(value) is not None
    except UnicodeEncodeError:
        # Half a character, as YAML and JSON can have it.
        return False


@cache
def _expression(text: str) -> Any:
    return re2.compile(text)


_FORMATS: Final = FormatChecker(formats=())


@_FORMATS.checks("cidr")
def _is_cidr(value: object) -> bool:
    """As Kubernetes reads it, which takes leading zeros everywhere; Cilium's engine does not."""
    if not isinstance(value, str):
        return True
    text, _, length = value.partition("/")
    address = addresses.parse_address(_ZEROS.sub("", text))
    if address is None or not (length.isascii() and length.isdigit()):
        return False
    return int(length[:_SHOWN]) <= (32 if address[0] == 4 else 128)


@_FORMATS.checks("date-time")
def _is_time(value: object) -> bool:
    return not isinstance(value, str) or _TIME.fullmatch(value) is not None


def _path(error: ValidationError) -> tuple[str | int, ...]:
    return tuple(error.absolute_path)


def _said(error: ValidationError) -> str:
    keyword, limit, value = str(error.validator), cast("Any", error.validator_value), error.instance
    if keyword in _BOUNDS:
        return _BOUNDS[keyword].format(limit)
    return _SENTENCES[keyword](limit, value)


def _wrong_type(limit: str | list[str], value: object) -> str:
    wanted = limit if isinstance(limit, str) else next(name for name in limit if name != "null")
    return f"must be {_TYPES[wanted]}, not {_kind(value)}"


def _missing(limit: list[str], value: Mapping[str, Any]) -> str:
    # There is an error of each that is missing; all of them name all, and one is left of them.
    return f"must have {', '.join(name for name in limit if name not in value)}"


def _choice(limit: list[dict[str, list[str]]], how_many: str) -> str:
    names = [name for branch in limit for name in branch["required"]]
    return f"must have {how_many} of {', '.join(names[:-1])} and {names[-1]}"


_FORMAT_NAMES: Final = {"cidr": "CIDR such as 10.0.0.0/8", "date-time": "time"}
_SENTENCES: Final[dict[str, Callable[[Any, Any], str]]] = {
    "type": _wrong_type,
    "required": _missing,
    "oneOf": lambda limit, _: _choice(limit, "exactly one"),
    "anyOf": lambda limit, _: _choice(limit, "at least one"),
    "enum": lambda limit, value: f"must be one of {', '.join(limit)}, not {_shown(value)}",
    "format": lambda limit, value: f"must be a {_FORMAT_NAMES[limit]}, not {_shown(value)}",
    "pattern": lambda limit, value: f"must match {_shortened(limit)}, but is {_shown(value)}",
    "uniqueItems": lambda *_: "must not list anything twice",
}
_BOUNDS: Final = {
    "maxItems": "must have at most {} entries",
    "minItems": "must have at least {} entries",
    "maxLength": "must have at most {} characters",
    "minLength": "must have at least {} characters",
    "maximum": "must be at most {}",
    "minimum": "must be at least {}",
}
_TYPES: Final = {
    "object": "an object",
    "array": "a list",
    "string": "a string",
    "integer": "a whole number",
    "boolean": "true or false",
}


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case str():
            return "a string"
        case int() | float():
            return "a number"
        case Mapping():
            return "an object"
        case _:
            return "a list"


def _shown(value: object) -> str:
    return _shortened(repr(value))


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
