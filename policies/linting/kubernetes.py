"""What the API server refuses in a NetworkPolicy, beyond its metadata.

Source of the rules: Kubernetes 1.34, validation of networking.k8s.io/v1. What the engine refuses as
well is left to `engine`, and told once.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from policies import addresses, spelling
from policies.linting import engine
from policies.linting.findings import Finding, Path, Rule, Severity
from policies.model import KNP
from policies.selectors import Operator

REFUSED: Final = Rule(
    id="refused-by-kubernetes",
    severity=Severity.ERROR,
    what="The API server refuses the NetworkPolicy.",
    why="It never reaches the cluster.",
    mend="Follow the message; the path says which value is not taken.",
    wrong="""\
        kind: NetworkPolicy
        spec:
          podSelector: {}
          ingress:
            - ports:
                - port: 9000
                  endPort: 8000
        """,
    right="""\
        kind: NetworkPolicy
        spec:
          podSelector: {}
          ingress:
            - ports:
                - port: 8000
                  endPort: 9000
        """,
)
UNKNOWN: Final = Rule(
    id="unknown-field",
    severity=Severity.ERROR,
    what="A field has a name that this kind of object does not have.",
    why=(
        "The API server refuses the object; told not to, it drops the field without a word, and the"
        " policy means something else: without `toPorts`, which was `toPort`, a rule allows all"
        " ports."
    ),
    mend="Correct the spelling. Fields of a NetworkPolicy and of a CiliumNetworkPolicy differ.",
    wrong="""\
        ingress:
          - fromEndpoint:
              - matchLabels:
                  app: web
        """,
    right="""\
        ingress:
          - fromEndpoints:
              - matchLabels:
                  app: web
        """,
)

_SELECTOR: Final = {
    "matchLabels": "strings",
    "matchExpressions": [{"key": "text", "operator": "text", "values": ["text"]}],
}
_PEER: Final = {
    "podSelector": _SELECTOR,
    "namespaceSelector": _SELECTOR,
    "ipBlock": {"cidr": "text", "except": ["text"]},
}
_PORT: Final = {"protocol": "text", "port": "port", "endPort": "number"}
_OBJECT: Final[Mapping[str, Any]] = {
    "apiVersion": "text",
    "kind": "text",
    "metadata": "anything",
    "status": "anything",
    "spec": {
        "podSelector": _SELECTOR,
        "policyTypes": ["text"],
        "ingress": [{"from": [_PEER], "ports": [_PORT]}],
        "egress": [{"to": [_PEER], "ports": [_PORT]}],
    },
}
_MEANT: Final = {
    "endpointSelector": "podSelector",
    "fromEndpoints": "from",
    "toEndpoints": "to",
    "toPorts": "ports",
    "fromCIDR": "from, with ipBlock",
    "toCIDR": "to, with ipBlock",
    "matchLabel": "matchLabels",
    "policyType": "policyTypes",
}
_KINDS: Final[dict[str, tuple[Any, str]]] = {
    "text": (str, "text"),
    "number": (int, "a whole number"),
    "port": (str | int, "a number or a name"),
    "strings": (Mapping, "an object"),
}
_PORT_NAME: Final = re.compile(r"(?=.{1,15}\Z)(?=.*[a-z])(?!.*--)[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z")
_DIRECTIONS: Final = (("ingress", "from"), ("egress", "to"))


def check(manifest: Mapping[str, Any]) -> Iterator[Finding]:
    """What is refused; nothing for objects of other kinds."""
    if manifest.get("kind") != KNP:
        return
    malformed = False
    for finding in _shape(manifest, _OBJECT, ()):
        malformed |= finding.rule is REFUSED
        yield finding
    spec = manifest.get("spec")
    if malformed or not isinstance(spec, Mapping):
        return
    yield from _selector(spec.get("podSelector"), ("spec", "podSelector"))
    yield from _policy_types(spec.get("policyTypes") or ())
    for section, among in _DIRECTIONS:
        for index, rule in enumerate(spec.get(section) or ()):
            path: Path = ("spec", section, index)
            for place, port in enumerate((rule or {}).get("ports") or ()):
                yield from _port(port or {}, (*path, "ports", place))
            for place, peer in enumerate((rule or {}).get(among) or ()):
                yield from _peer(peer or {}, (*path, among, place))


def _shape(value: Any, shape: Any, path: Path) -> Iterator[Finding]:
    if value is None or shape == "anything":
        return
    if isinstance(shape, Mapping):
        yield from _fields(value, shape, path)
    elif isinstance(shape, list):
        if not isinstance(value, list):
            yield _refused(path, "must be a list")
            return
        for index, inner in enumerate(value):
            yield from _shape(inner, shape[0], (*path, index))
    else:
        kind, name = _KINDS[shape]
        if isinstance(value, bool) or not isinstance(value, kind):
            hint = "write it in quotes" if shape == "text" and not isinstance(value, list) else ""
            yield _refused(path, f"must be {name}", hint)
        elif shape == "strings":
            for key, inner in value.items():
                yield from _shape(inner, "text", (*path, key))


def _fields(value: Any, shape: Mapping[str, Any], path: Path) -> Iterator[Finding]:
    if not isinstance(value, Mapping):
        yield _refused(path, "must be an object")
        return
    for key, inner in value.items():
        if key in shape:
            yield from _shape(inner, shape[key], (*path, key))
        else:
            yield unknown((*path, key), meant(key, shape, _MEANT))


def unknown(path: Path, hint: str) -> Finding:
    """A field that the kind of object does not have."""
    name = path[-1] if isinstance(path[-1], str) else ""
    return Finding(
        rule=UNKNOWN, path=path, message=f"unknown field {name!r}", hint=hint, at_key=True
    )


def meant(key: str, known: Mapping[str, Any], others: Mapping[str, str]) -> str:
    """A hint at the field that may have been meant."""
    if key in others:
        return f"did you mean {others[key]}?"
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.7)
    return f"did you mean {close[0]}?" if close else ""


def _selector(selector: Mapping[str, Any] | None, path: Path) -> Iterator[Finding]:
    selector = selector or {}
    for key, value in (selector.get("matchLabels") or {}).items():
        place: Path = (*path, "matchLabels", key)
        if reason := spelling.bad_key(key):
            yield _refused(place, f"{key!r} is no label's name: {reason}", at_key=True)
        yield from _value(value, place)
    for index, written in enumerate(selector.get("matchExpressions") or ()):
        yield from _expression(written or {}, (*path, "matchExpressions", index))


def _expression(written: Mapping[str, Any], path: Path) -> Iterator[Finding]:
    key, operator = written.get("key") or "", written.get("operator") or ""
    values = written.get("values") or ()
    if reason := spelling.bad_key(key):
        yield _refused((*path, "key"), f"{key!r} is no label's name: {reason}")
    if operator not in tuple(Operator):
        message = f"{operator!r} is none of {', '.join(Operator)}"
        yield _refused((*path, "operator"), message, engine.close(operator, tuple(Operator)))
    elif operator in (Operator.IN, Operator.NOT_IN):
        if not values:
            yield _refused((*path, "values"), f"must be given with {operator}")
    elif values:
        yield _refused((*path, "values"), f"may not be given with {operator}")
    for index, value in enumerate(values):
        yield from _value(value, (*path, "values", index))


def _value(value: str | None, path: Path) -> Iterator[Finding]:
    if reason := spelling.bad_value(value or ""):
        yield _refused(path, reason)


def _policy_types(types: Any) -> Iterator[Finding]:
    if len(types) > 2:
        yield _refused(("spec", "policyTypes"), "may have two entries at most")
        return
    for index, written in enumerate(types):
        name = written or ""
        if name not in ("Ingress", "Egress"):
            hint = f"write {name.capitalize()}" if name.lower() in ("ingress", "egress") else ""
            message = f"{name!r} is neither Ingress nor Egress"
            yield _refused(("spec", "policyTypes", index), message, hint)


def _port(port: Mapping[str, Any], path: Path) -> Iterator[Finding]:
    protocol, number, end = port.get("protocol"), port.get("port"), port.get("endPort")
    if protocol is not None and protocol not in ("TCP", "UDP", "SCTP"):
        hint = f"write {protocol.upper()}" if protocol.upper() in ("TCP", "UDP", "SCTP") else ""
        message = f"{protocol!r} is not TCP, UDP or SCTP"
        yield _refused((*path, "protocol"), message, hint)
    if isinstance(number, int) and not 1 <= number <= 65535:
        yield _refused((*path, "port"), "must be between 1 and 65535")
    if isinstance(number, str) and _PORT_NAME.match(number) is None:
        hint = f"write {number}, without quotes" if number.isdecimal() else ""
        message = f"{number!r} is no port's name: at most 15 of a-z 0-9 and -, with a letter"
        yield _refused((*path, "port"), message, hint)
    if end is None:
        return
    if number is None or isinstance(number, str):
        yield _refused((*path, "endPort"), "may only be given with a port that is a number")
    elif not 1 <= end <= 65535:
        yield _refused((*path, "endPort"), "must be between 1 and 65535")
    elif end < number:
        yield _refused((*path, "endPort"), f"{end} is lower than the port, {number}")


def _peer(peer: Mapping[str, Any], path: Path) -> Iterator[Finding]:
    given = [
        name
        for name in ("podSelector", "namespaceSelector", "ipBlock")
        if peer.get(name) is not None
    ]
    for name in ("podSelector", "namespaceSelector"):
        yield from _selector(peer.get(name), (*path, name))
    if not given:
        yield _refused(path, "must have a podSelector, a namespaceSelector or an ipBlock")
    elif len(given) > 1 and "ipBlock" in given:
        yield _refused((*path, "ipBlock"), "may not be given together with a selector")
    if "ipBlock" in given:
        yield from _block(peer["ipBlock"], (*path, "ipBlock"))


def _block(block: Mapping[str, Any], path: Path) -> Iterator[Finding]:
    try:
        whole = addresses.parse_prefix(block.get("cidr") or "")
    except ValueError as error:
        yield _refused((*path, "cidr"), str(error))
        return
    for index, written in enumerate(block.get("except") or ()):
        try:
            part = addresses.parse_prefix(written or "")
        except ValueError as error:
            yield _refused((*path, "except", index), str(error))
            continue
        if not whole.contains((part.version, part.value)) or part.length <= whole.length:
            yield _refused((*path, "except", index), f"must be a part of {whole}, not all of it")


def _refused(path: Path, message: str, hint: str = "", *, at_key: bool = False) -> Finding:
    return Finding(rule=REFUSED, path=path, message=message, hint=hint, at_key=at_key)
