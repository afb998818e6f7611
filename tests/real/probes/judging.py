"""What the matcher says of what Cilium did to a probe: decision, policies, comparison, explanation.

The matcher is asked as it is in use: with the labels, addresses and ports that Hubble told.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from cli.recordings.jsonflows import Seen
from policies.allowing import allow
from policies.evaluating import Evaluation, Hit, Outcome, decide, evaluate
from policies.explaining import explain
from policies.flows import POLICY_DENIED, POLICY_DENY, Direction, Verdict
from policies.model import PolicyRef
from policies.repository import Repository
from tests.parts.cilium.hosts import Call
from tests.real.probes.choosing import Probe, foretell
from tests.real.probes.kinds import Kind, of_rule
from tests.real.probes.parties import Party, Sort
from tests.real.probes.sending import Enforced, Sent


class Ports(Enum):
    """The ports of a rule as Cilium compares them."""

    NOT_NAMED = auto()
    ALL = auto()
    """Of one protocol."""
    SOME = auto()


REFUSED: Final = 5
"""The code of DNS with which Cilium's proxy answers in the name server's place."""
STOPPED_AS: Final = {
    Outcome.ALLOWED: 0,
    Outcome.DENIED: POLICY_DENY,
    Outcome.DEFAULT_DENY: POLICY_DENIED,
}
COMPARED: Final = {
    (True, Ports.NOT_NAMED): 1,
    (True, Ports.SOME): 2,
    (False, Ports.SOME): 3,
    (False, Ports.NOT_NAMED): 4,
    (True, Ports.ALL): 5,
    (False, Ports.ALL): 6,
}
"""What Hubble says that Cilium's entry compared, by whether it names peers, and by its ports."""
ALL_PORTS: Final = (0, 65535)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A probe, and whether the matcher and Cilium are of one mind."""

    probe: Probe
    denied: bool
    """By Cilium, at either end, or its request by the proxy."""
    kinds: frozenset[Kind]
    """The kinds of peer in the rules that decided it."""
    decisions: int
    """How many ends, and requests, were compared."""
    explained: int
    """How many of these were stopped, with an explanation."""
    disagreements: tuple[str, ...]


def judge(sent: Sent, repository: Repository, enforced: Enforced) -> Judged:
    """Compare all that was told of a probe, and what its caller saw, with what the matcher says."""
    found = list(_differences(sent, repository, enforced))
    every = [seen for seens in sent.verdicts.values() for seen in seens]
    kinds: set[Kind] = set()
    for seen in every:
        end = evaluate(repository.subject(seen.flow.subject).newest, seen.flow.query())
        kinds |= _kinds(end)
    asked = [*every, *sent.requests]
    stopped = [seen for seen in asked if seen.flow.verdict is Verdict.DROPPED]
    return Judged(
        probe=sent.probe,
        denied=bool(stopped),
        kinds=frozenset(kinds),
        decisions=len(asked),
        explained=len(stopped),
        disagreements=tuple(found),
    )


def _differences(sent: Sent, repository: Repository, enforced: Enforced) -> Iterator[str]:
    allowed = []
    for direction, party in _ends(sent.probe):
        seens = sent.verdicts.get(direction, [])
        for seen in seens:
            yield from _of_verdict(seen, repository)
            allowed.append(_passes(seen, repository))
        if seens or sent.stopped_at(Direction.EGRESS):
            continue
        if sent.probe.name and direction is Direction.INGRESS:
            continue
        if enforced.at(party.behind or party.ip, direction):
            yield f"{direction}: no verdict was told"
        else:
            yield from _of_nothing(sent.probe, direction, repository)
    for seen in sent.requests:
        yield from _of_request(seen, repository)
    if not sent.probe.name and sent.has_arrived not in {None, all(allowed)}:
        yield f"the caller's call: {_came(sent.call)}"
    if sent.probe.name and sent.requests:
        refused = any(seen.flow.verdict is Verdict.DROPPED for seen in sent.requests)
        if refused is not (sent.call.code == REFUSED):
            yield f"the caller's question: {_came(sent.call)}, code {sent.call.code}"


def _ends(probe: Probe) -> Iterator[tuple[Direction, Party]]:
    policed = {Sort.POD, Sort.SERVICE}
    if probe.source.sort in policed:
        yield Direction.EGRESS, probe.source
    if probe.destination.sort in policed:
        yield Direction.INGRESS, probe.destination


def _came(call: Call) -> str:
    return call.error or "answered"


def _passes(seen: Seen, repository: Repository) -> bool:
    subject = repository.subject(seen.flow.subject).newest
    return evaluate(subject, seen.flow.query()).outcome is Outcome.ALLOWED


def _of_verdict(seen: Seen, repository: Repository) -> Iterator[str]:
    """Yield how the matcher differs from one verdict."""
    flow = seen.flow
    subject, query = repository.subject(flow.subject).newest, flow.query()
    ours = decide(subject, query)
    where = f"{flow.direction}: Cilium {flow.verdict.name} {flow.drop_reason or ''}".rstrip()
    if STOPPED_AS[ours.decision] != flow.drop_reason or (
        (ours.decision is Outcome.ALLOWED) is not flow.has_passed
    ):
        yield f"{where}, ours {ours.decision} by {_named(ours.origin)}"
        return
    named = set(flow.allowed_by or flow.denied_by)
    if not named <= set(ours.origin):
        yield f"{where} by {_named(named)}, ours by {_named(ours.origin)}"
    if ours.l7 is not (flow.verdict is Verdict.REDIRECTED):
        yield f"{where}, ours {'to the proxy' if ours.l7 else 'past the proxy'}"
    yield from _of_account(seen, repository, where)
    compared = _compared(evaluate(subject, query))
    told = seen.raw.get("policy_match_type", 0)
    if told not in compared:
        yield f"{where} by comparison {told}, ours {sorted(compared)}"


def _of_account(seen: Seen, repository: Repository, where: str) -> Iterator[str]:
    """Yield what speaks against the explanation."""
    flow = seen.flow
    subject, query = repository.subject(flow.subject).newest, flow.query()
    if flow.has_passed:
        told = allow(subject, query, flow.observed(), flow.allowed_by)
        if told.unexplained is not None or told.disagreement:
            yield f"{where}, account {told.unexplained} {_named(told.disagreement)}"
        return
    found = explain(subject, query, flow.observed())
    if found.unexplained is not None or found.disagreement or not found.policies:
        yield f"{where}, explanation {found.unexplained} {_named(found.disagreement)}"


def _of_request(seen: Seen, repository: Repository) -> Iterator[str]:
    yield from _of_account(seen, repository, f"request: Cilium {seen.flow.verdict.name}")


def _of_nothing(probe: Probe, direction: Direction, repository: Repository) -> Iterator[str]:
    """Yield a difference where Cilium looked no policy up, and the matcher sees one."""
    for end in foretell(probe, repository).ends:
        if end.side is _side(probe, direction, repository) and (
            end.side.enforced or end.outcome is not Outcome.ALLOWED
        ):
            yield f"{direction}: Cilium enforces nothing, ours {end.outcome}"


def _side(probe: Probe, direction: Direction, repository: Repository) -> object:
    own = probe.source if direction is Direction.EGRESS else probe.destination
    return repository.subject(own.labels).newest.direction(direction)


def _compared(found: Evaluation) -> set[int]:
    hits = found.denying or found.allowing
    compared = {
        COMPARED[not hit.rule.is_about_anyone(), ports] for hit in hits for ports in _ports(hit)
    }
    if found.by_host and not found.denying:
        compared.add(COMPARED[True, Ports.NOT_NAMED])
    if not found.side.enforced and not found.denying:
        compared.add(COMPARED[False, Ports.NOT_NAMED])
    return compared or {0}


def _ports(hit: Hit) -> set[Ports]:
    if not hit.spans:
        return {Ports.NOT_NAMED}
    return {Ports.ALL if (s.low, s.high) == ALL_PORTS else Ports.SOME for s in hit.spans}


def _kinds(end: Evaluation) -> set[Kind]:
    hits = end.denying or end.allowing
    rules = [hit.rule for hit in hits] or end.side.insufficient
    return {kind for rule in rules for kind in of_rule(rule.rule)}


def _named(refs: Iterable[PolicyRef]) -> str:
    return ", ".join(sorted(map(str, refs))) or "nobody"
