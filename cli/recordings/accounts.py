"""The account of one recorded flow: what policies made of it, as text and as JSON."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import typer

from cli.recordings.jsonflows import Seen
from cli.recordings.known import Known
from policies import allowing, explaining, naming, wording
from policies.allowing import Allowance
from policies.explanation import Explanation
from policies.flows import Direction, Event, Verdict
from policies.matching import Finding
from policies.model import Policy, PolicyRef
from policies.subjects import SubjectPolicy

_VERDICTS: Final = {
    Verdict.FORWARDED: "ALLOWED",
    Verdict.REDIRECTED: "ALLOWED, and handed to the L7 proxy",
    Verdict.DROPPED: "DENIED",
    Verdict.AUDIT: "AUDITED",
}
_NANOS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One policy that has to do with a flow."""

    ref: PolicyRef
    where: str
    """`file:line`, empty where nobody knows it."""
    project: str
    """Whom it alerts, empty where nobody is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A flow, and what was found of it."""

    seen: Seen
    line: int
    found: Explanation | Allowance
    reason: str
    subject: str
    peer: str
    port: str
    sentence: str
    policies: tuple[Place, ...]

    @property
    def is_explained(self) -> bool:
        """Whether the policies lead to what was observed."""
        return self.found.unexplained is None

    @property
    def disagreement(self) -> tuple[PolicyRef, ...]:
        """The policies that Cilium names and whose rules say otherwise."""
        return self.found.disagreement

    def as_json(self) -> dict[str, Any]:
        """Return it for programs; what does not apply is left out."""
        flow = self.seen.flow
        fields: dict[str, Any] = {
            "line": self.line,
            "uuid": self.seen.uuid,
            "time": _time(self.seen.time),
            "direction": flow.direction.value,
            "subject": self.subject,
            "peer": self.peer,
            "port": self.port,
            "request": str(flow.request or ""),
            "verdict": flow.verdict.name,
            "reason": self.reason,
            "would_be": _would_be(self.found),
            "unexplained": self.found.unexplained and self.found.unexplained.value,
            "sentence": self.sentence,
            "policies": [_policy_json(place) for place in self.policies],
            "findings": [_finding_json(found, flow.direction) for found in self.found.findings],
            "disagreement": [str(ref) for ref in self.disagreement],
        }
        return {name: value for name, value in fields.items() if value not in (None, "", [])}


def of(seen: Seen, known: Known, line: int) -> Account:
    """Return the account of a flow under policies that are known."""
    flow = seen.flow
    subject = known.repository.subject(flow.subject).newest
    found: Explanation | Allowance
    if flow.has_passed:
        found = allowing.allow(subject, flow.query(), flow.observed(), flow.allowed_by)
        reason = found.basis.value
    else:
        found = explaining.explain(subject, flow.query(), flow.observed())
        reason = found.reason.value
    named = [policy for ref in found.policies if (policy := subject.policy(ref)) is not None]
    own, peer = naming.party(flow.subject).text, naming.party(flow.peer, named, flow.peer_ip).text
    port = wording.port(flow.protocol, flow.port)
    request = str(flow.request) if flow.request is not None else ""
    return Account(
        seen=seen,
        line=line,
        found=found,
        reason=reason,
        subject=own,
        peer=peer,
        port=port,
        sentence=found.sentence(own, peer, port=port, request=request),
        policies=tuple(_place(ref, subject, known) for ref in _concerned(found)),
    )


def _concerned(found: Explanation | Allowance) -> dict[PolicyRef, None]:
    """The policies, those first of which a rule came nearest."""
    return dict.fromkeys([*(finding.policy for finding in found.findings), *found.policies])


def _place(ref: PolicyRef, subject: SubjectPolicy, known: Known) -> Place:
    policy: Policy | None = subject.policy(ref)
    alerting = policy.alerting if policy is not None else None
    return Place(
        ref=ref,
        where=known.places.get(ref, ""),
        project=alerting.project if alerting is not None else "",
    )


def text(account: Account, *, colours: bool = False) -> str:
    """Return a block of lines; what a client chose, such as a URL, cannot steer a terminal."""
    seen, flow = account.seen, account.seen.flow
    verdict = _VERDICTS.get(flow.verdict, flow.verdict.name)
    arrow = "from" if flow.direction is Direction.INGRESS else "to"
    peer = _peer(account)
    asked = f" ({flow.request})" if flow.request is not None else ""
    kind = "request" if flow.event is Event.L7 else flow.direction.value
    head = f"{_time(seen.time)}  {kind} of {account.subject} {arrow} {peer}, {account.port}{asked}"
    said = f"{verdict}: {account.reason}"
    lines = [
        _plain(head) + "  " + (_coloured(said, account) if colours else said),
        "  " + _plain(account.sentence),
    ]
    for place in account.policies:
        where = f"  {place.where}" if place.where else ""
        alerts = f"  alerts project {place.project}" if place.project else ""
        lines.append(_plain(f"  {place.ref.kind} {place.ref.short}{where}{alerts}"))
        lines += [
            _plain(f"    {finding.path}  {wording.line(finding, flow.direction)}")
            for finding in account.found.findings
            if finding.policy == place.ref
        ]
    lines += [
        _plain(f"  Cilium names {ref.kind} {ref.short}, and by its rules it was another")
        for ref in account.disagreement
    ]
    return "\n".join(lines) + "\n"


def _peer(account: Account) -> str:
    """Return the peer with what else the flow says of it."""
    more = [part for part in (account.seen.peer_name, account.seen.flow.peer_ip) if part]
    more = [part for part in more if part not in account.peer]
    return f"{account.peer} ({', '.join(more)})" if more else account.peer


def _coloured(said: str, account: Account) -> str:
    if not account.is_explained:
        return typer.style(said, fg="yellow", bold=True)
    return typer.style(said, fg="green" if account.seen.flow.has_passed else "red", bold=True)


def _plain(line: str) -> str:
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in line)


def _time(nanos: int) -> str:
    if not nanos:
        return "-"
    seconds, rest = divmod(nanos, _NANOS)
    moment = datetime.fromtimestamp(seconds, tz=UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d}Z"


def _would_be(found: Explanation | Allowance) -> str | None:
    if isinstance(found, Explanation) and found.would_be is not None:
        return found.would_be.value
    return None


def _policy_json(place: Place) -> dict[str, str]:
    ref = place.ref
    found = {
        "kind": ref.kind,
        "namespace": ref.namespace,
        "name": ref.name,
        "where": place.where,
        "alerts_project": place.project,
    }
    return {name: value for name, value in found.items() if value}


def _finding_json(finding: Finding, direction: Direction) -> dict[str, str]:
    return {
        "policy": str(finding.policy),
        "path": finding.path,
        "why": finding.why.value,
        "text": wording.line(finding, direction),
    }
