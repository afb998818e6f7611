"""Rules and sections that do nothing, or something else than they say."""

from collections.abc import Iterator
from typing import Any, Final

from policies.flows import Direction
from policies.linting.findings import Finding, Rule, Severity
from policies.linting.subjects import Entry, Part, Subject

NOTHING: Final = Rule(
    id="matches-nothing",
    severity=Severity.WARNING,
    what="A rule matches no peer or no port.",
    why=(
        "An empty list of peers, such as `fromEndpoints: []`, selects nobody, and an entry of"
        " `toPorts` without `ports` matches no port: the rule neither allows nor denies anything."
        " Left out, the field would mean all of them."
    ),
    mend=(
        "Leave the field out to mean all; `fromEndpoints: [{}]` means all pods of the namespace."
        " To deny all by default, write `ingress: [{}]` alone."
    ),
    wrong="""\
        ingress:
          - fromEndpoints: [{}]
            toPorts: [{}]
        """,
    right="""\
        ingress:
          - fromEndpoints: [{}]
        """,
)
EMPTY: Final = Rule(
    id="empty-section",
    severity=Severity.WARNING,
    what="A section such as `ingress: []` is empty.",
    why="It is as if it were not there: it does not even deny by default.",
    mend="To deny all by default write `ingress: [{}]`; else take it away.",
    wrong="""\
        ingress: []
        egress:
          - toEntities: [world]
        """,
    right="""\
        ingress: [{}]
        egress:
          - toEntities: [world]
        """,
)
DEFAULT: Final = Rule(
    id="default-deny-without-rules",
    severity=Severity.WARNING,
    what="`enableDefaultDeny` is true for a direction that has no rules.",
    why="Cilium looks at it only where there are rules: nothing is denied by default.",
    mend="Add `ingress: [{}]` (or `egress: [{}]`), which denies all by default.",
    wrong="""\
        enableDefaultDeny: {ingress: true}
        egress:
          - toEntities: [world]
        """,
    right="""\
        ingress: [{}]
        egress:
          - toEntities: [world]
        """,
)
TYPES: Final = Rule(
    id="rules-beyond-policy-types",
    severity=Severity.WARNING,
    what="A NetworkPolicy has rules for a direction that `policyTypes` leaves out.",
    why=(
        "Kubernetes says that such rules are not looked at. Cilium enforces them, and denies all"
        " else in that direction."
    ),
    mend="Name the direction in `policyTypes`, or take the rules away.",
    wrong="""\
        kind: NetworkPolicy
        spec:
          podSelector: {}
          policyTypes: [Ingress]
          egress:
            - to: [{podSelector: {}}]
        """,
    right="""\
        kind: NetworkPolicy
        spec:
          podSelector: {}
          policyTypes: [Egress]
          egress:
            - to: [{podSelector: {}}]
        """,
)

_INFINITIVE: Final = {"allows": "allow", "denies": "deny"}
_SECTIONS: Final = ("ingress", "ingressDeny", "egress", "egressDeny")


def check(subject: Subject) -> Iterator[Finding]:
    """Each section and each rule."""
    for part in subject.parts:
        if subject.is_kubernetes:
            yield from _types(part)
        else:
            yield from _sections(part)
    for part, entry in subject.entries:
        yield from _entry(part, entry)


def does_nothing(entry: Entry) -> bool:
    """Whether a rule matches no flow at all."""
    return entry.parsed.peers == () or entry.parsed.ports == ()


def _sections(part: Part) -> Iterator[Finding]:
    for name in _SECTIONS:
        if part.raw.get(name) == []:
            message = f"an empty {name} does nothing, not even deny by default"
            hint = "" if name.endswith("Deny") else f"to deny all, write {name}: [{{}}]"
            path = (*part.path, name)
            yield Finding(rule=EMPTY, path=path, message=message, hint=hint, at_key=True)
    wishes: Any = part.raw.get("enableDefaultDeny") or {}
    for direction in Direction:
        if wishes.get(direction.value) is True and not part.side(direction):
            yield Finding(
                rule=DEFAULT,
                path=(*part.path, "enableDefaultDeny", direction.value),
                message=f"there are no {direction.value} rules, so nothing is denied by default",
                hint=f"add {direction.value}: [{{}}]",
                at_key=True,
            )


def _types(part: Part) -> Iterator[Finding]:
    types = part.raw.get("policyTypes") or ()
    if not types:
        return
    for direction in Direction:
        section, name = direction.value, direction.value.capitalize()
        if part.raw.get(section) and name not in types:
            message = f"policyTypes leaves {name} out; Cilium enforces these rules all the same"
            path = (*part.path, section)
            yield Finding(rule=TYPES, path=path, message=message, at_key=True)


def _entry(part: Part, entry: Entry) -> Iterator[Finding]:
    verb = "denies" if entry.deny else "allows"
    for path, ports in entry.port_lists():
        if not ports.get("ports"):
            message = f"an entry of toPorts without ports matches no port: it {verb} nothing"
            hint = "leave toPorts out for all ports" if len(entry.raw["toPorts"]) == 1 else ""
            yield Finding(rule=NOTHING, path=path, message=message, hint=hint)
    for index, types in enumerate(entry.raw.get("icmps") or ()):
        if not (types or {}).get("fields"):
            message = f"an entry of icmps without fields matches nothing: it {verb} nothing"
            yield Finding(rule=NOTHING, path=(*entry.path, "icmps", index), message=message)
    if entry.parsed.peers == ():
        yield from _nobody(part, entry, verb)


def _nobody(part: Part, entry: Entry, verb: str) -> Iterator[Finding]:
    empty = [name for name in entry.peer_lists() if not entry.raw[name]]
    for name in empty:
        message = f"an empty {name} selects nobody: the rule {verb} nothing"
        if name.endswith(("FQDNs", "Groups", "Services")) and entry.parsed.ports:
            message += f" (a fault of Cilium 1.19 makes it {_INFINITIVE[verb]} everybody)"
        hint = f"leave {name} out to mean everybody"
        yield Finding(
            rule=NOTHING, path=(*entry.path, name), message=message, hint=hint, at_key=True
        )
    if empty:
        return
    if len(part.side(entry.direction).allow) == 1 and not entry.deny:
        return  # the usual way to deny all by default
    message = "an empty rule allows nobody, unlike in a NetworkPolicy"
    if entry.deny:
        message = "an empty rule denies nothing"
    hint = f"for everybody, write {_prefix(entry)}Entities: [all]"
    yield Finding(rule=NOTHING, path=entry.path, message=message, hint=hint)


def _prefix(entry: Entry) -> str:
    return "from" if entry.direction is Direction.INGRESS else "to"
