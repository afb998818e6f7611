"""Explanations, found once for each class of flows.

The key is everything that an explanation can depend on: the version of the subject's policies, the
label sets of both ends, direction, verdict and reason, the policies that Cilium named, and the
classes of port and address that the subject's policies cut. A port scan is a handful of classes.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from enricher.caching import Generations
from enricher.clusters import Cluster
from enricher.outcomes import Disagreement, Outcome, Route, Terms
from enricher.reading import NANOS, Transport
from enricher.stopped import Pair, Stopped
from policies import explaining, naming, wording
from policies import fingerprint as fingerprints
from policies.explanation import Explanation
from policies.flows import Direction, HttpRequest, Observed, Query
from policies.labels import LabelSet
from policies.matching import Finding
from policies.model import Policy, PolicyRef
from policies.naming import Party
from policies.subjects import SubjectPolicy
from policies.timelines import SubjectTimeline
from schemas import messages

OUTCOMES: Final = 50_000
TERMS: Final = 8_192
FINDINGS: Final = 20
TEXT: Final = 500
"""How long a text of a match may be: a rule may name hundreds of peers."""
_ADDRESS: Final = 2000

NOT_KNOWN: Final = Outcome(
    unexplained="policies-not-known", detail="the policies of this cluster never came up"
)


class Explaining:
    """Outcomes of one cluster's flows, remembered by class."""

    __slots__ = (
        "_cluster",
        "_headers",
        "_of_pairs",
        "_outcomes",
        "_parties",
        "_routes",
        "_terms",
        "explained",
    )

    def __init__(self, cluster: Cluster, *, size: int = OUTCOMES) -> None:
        self._cluster = cluster
        self._outcomes: Generations[object, Outcome] = Generations(size)
        self._of_pairs: Generations[tuple[Pair, int, int, str], Outcome] = Generations(size)
        self._headers: Generations[int, frozenset[str]] = Generations(TERMS)
        self._routes: Generations[object, Route] = Generations(size)
        self._terms: Generations[object, tuple[Policy, Terms]] = Generations(TERMS)
        self._parties: Generations[LabelSet, Party] = Generations(TERMS)
        self.explained = 0
        """How often an explanation had to be found, rather than remembered."""

    def newest(self, pair: Pair, transport: Transport, ip: str) -> Outcome:
        """Return the outcome of a pair's flow under the policies that hold now.

        `ip`: the peer's address.
        """
        if not self._cluster.synced:
            return NOT_KNOWN
        return self._of_pair(pair, pair.policy, transport, ip)

    def at(self, pair: Pair, transport: Transport, ip: str, time: int) -> Outcome:
        """Return the outcome of a pair's flow of this time (nanoseconds)."""
        if not self._cluster.synced:
            return NOT_KNOWN
        return _agreeing(
            self._of_pair(pair, policy, transport, ip)
            for policy in pair.timeline.in_force(time / NANOS)
        )

    def of_request(self, timeline: SubjectTimeline, stopped: Stopped, time: int) -> Outcome:
        """Return the outcome of a denied request of this time (nanoseconds)."""
        if not self._cluster.synced:
            return NOT_KNOWN
        return _agreeing(
            self._outcome(policy, stopped) for policy in timeline.in_force(time / NANOS)
        )

    def _of_pair(self, pair: Pair, policy: SubjectPolicy, transport: Transport, ip: str) -> Outcome:
        """Return an outcome by the few things in which flows of one pair differ."""
        key = (
            pair,
            policy.version,
            policy.port_class(pair.direction, *transport),
            policy.cidr_class(pair.direction, ip) if pair.is_outside else "",
        )
        outcome = self._of_pairs.find(key)
        if outcome is None:
            outcome = self._outcome(policy, replace(pair.first, peer_ip=ip, transport=transport))
            self._of_pairs.put(key, outcome)
        return outcome

    def _outcome(self, policy: SubjectPolicy, stopped: Stopped) -> Outcome:
        transport = stopped.transport
        request = stopped.l7
        if isinstance(request, HttpRequest):
            request = self._without_idle_headers(policy, request)
        key = (
            policy.version,
            stopped.subject,
            stopped.peer,
            stopped.direction,
            stopped.verdict,
            stopped.event,
            stopped.drop_reason,
            stopped.denied_by,
            policy.port_class(stopped.direction, transport.protocol, transport.port),
            policy.cidr_class(stopped.direction, stopped.peer_ip)
            if stopped.peer.is_outside
            else "",
            request,
        )
        outcome = self._outcomes.find(key)
        if outcome is None:
            self.explained += 1
            outcome = self._explain(policy, stopped)
            self._outcomes.put(key, outcome)
        return outcome

    def _without_idle_headers(self, policy: SubjectPolicy, request: HttpRequest) -> HttpRequest:
        """Return the request with only those headers that some rule asks for.

        The others cannot change the outcome, and request ids would make every request a class.
        """
        if not request.headers:
            return request
        asked = self._headers.find(policy.version)
        if asked is None:
            asked = frozenset(_asked_headers(policy))
            self._headers.put(policy.version, asked)
        kept = tuple(header for header in request.headers if header[0].lower() in asked)
        return replace(request, headers=kept)

    def _explain(self, policy: SubjectPolicy, stopped: Stopped) -> Outcome:
        transport = stopped.transport
        query = Query(
            direction=stopped.direction,
            peer=stopped.peer,
            peer_ip=stopped.peer_ip,
            peer_names=stopped.peer_names,
            protocol=transport.protocol,
            port=transport.port,
            l7=stopped.l7,
        )
        observed = Observed(
            verdict=stopped.verdict,
            event=stopped.event,
            drop_reason=stopped.drop_reason,
            denied_by=stopped.denied_by,
        )
        explanation = explaining.explain(policy, query, observed)
        subject = self._party(stopped.subject)
        if explanation.unexplained is not None:
            peer = naming.party(stopped.peer, (), stopped.peer_ip)
            sentence = explanation.sentence(subject.text, peer.text)
            return Outcome(
                unexplained=explanation.unexplained.value,
                detail=f"{stopped.direction.value} of {subject.text}, peer {peer.text}: {sentence}",
            )
        routes = {}
        for ref in explanation.policies:
            found = policy.policy(ref)
            if found is not None and found.alerting is not None:
                route = self._route(found, explanation, subject, stopped)
                routes[route.fingerprint] = route
        return Outcome(
            routes=tuple(routes.values()),
            disagreements=_disagreements(self._cluster.name, explanation),
        )

    def _party(self, labels: LabelSet) -> Party:
        known = self._parties.find(labels)
        if known is None:
            known = naming.party(labels)
            self._parties.put(labels, known)
        return known

    def _route(
        self, policy: Policy, explanation: Explanation, subject: Party, stopped: Stopped
    ) -> Route:
        terms = self._terms_of(policy, explanation)
        peer = naming.party(stopped.peer, (policy,), stopped.peer_ip)
        key = (terms, subject, peer)
        route = self._routes.find(key)
        if route is None:
            assert policy.alerting is not None, "asked for only where the policy alerts"
            fingerprint = fingerprints.fingerprint(
                self._cluster.name,
                policy.ref,
                direction=explanation.direction,
                reason=explanation.reason,
                subject=subject,
                peer=peer,
                group_by=policy.alerting.group_by,
            )
            route = Route(fingerprint, terms, subject, peer)
            self._routes.put(key, route)
        return route

    def _terms_of(self, policy: Policy, explanation: Explanation) -> Terms:
        key = (id(policy), explanation)
        known = self._terms.find(key)
        # Numbers of objects are used again: only the object itself says which policy it was.
        if known is None or known[0] is not policy:
            known = (policy, _terms(self._cluster.name, policy, explanation))
            self._terms.put(key, known)
        return known[1]


def _agreeing(outcomes: Iterable[Outcome]) -> Outcome:
    """Return the first that agrees with what was observed, else the first of all."""
    first = None
    for outcome in outcomes:
        if not outcome.unexplained:
            return outcome
        first = first or outcome
    assert first is not None, "some version is always in force, if only one without rules"
    return first


def _disagreements(cluster: str, explanation: Explanation) -> tuple[Disagreement, ...]:
    if not explanation.disagreement:
        return ()
    found = dict.fromkeys(str(finding.policy) for finding in explanation.findings)
    return tuple(
        Disagreement(cluster, str(ref), ", ".join(found) or "none")
        for ref in explanation.disagreement
    )


def _terms(cluster: str, policy: Policy, explanation: Explanation) -> Terms:
    alerting, ref = policy.alerting, policy.ref
    assert alerting is not None, "asked for only where the policy alerts"
    own = tuple(found for found in explanation.findings if found.policy == ref)
    others = tuple(found for found in explanation.findings if found.policy != ref)
    threshold = alerting.threshold
    fixed: dict[str, object] = {
        "cluster": cluster,
        "policy": _identity(ref),
        "project": alerting.project,
        "direction": explanation.direction.value,
        "reason": explanation.reason.value,
        "findings": [
            _finding(found, explanation.direction) for found in (*own, *others)[:FINDINGS]
        ],
        "severity": alerting.severity.value,
        "threshold": threshold and {"count": threshold.count, "seconds": threshold.seconds},
        "resolve_after": alerting.resolve_after,
        "runbook": _fitting(alerting.runbook),
    }
    about: dict[str, object] = {
        "specversion": "1.0",
        "type": messages.MATCH,
        "source": source(cluster),
        "subject": str(ref),
        "datacontenttype": "application/json",
    }
    return Terms(
        policy=str(ref),
        about=_inner_json(about),
        fixed=_inner_json(fixed),
        told=replace(explanation, findings=own),
    )


def source(cluster: str) -> str:
    """Return the source of the CloudEvents about a cluster."""
    return f"/picket/enricher/{cluster}"


def _inner_json(fields: dict[str, object]) -> str:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))[1:-1]


def _asked_headers(policy: SubjectPolicy) -> Iterator[str]:
    for side in (policy.ingress, policy.egress):
        for rule in side.allow:
            for span in rule.ports or ():
                for http in (span.l7.http if span.l7 is not None else None) or ():
                    yield from (header.name.lower() for header in http.headers)


def _identity(ref: PolicyRef) -> dict[str, str]:
    return {"kind": ref.kind, "namespace": ref.namespace, "name": ref.name}


def _finding(found: Finding, direction: Direction) -> dict[str, object]:
    why = wording.line(found, direction)
    return {"policy": _identity(found.policy), "path": found.path[:TEXT], "why": why[:TEXT]}


def _fitting(address: str | None) -> str | None:
    """Return an address, unless it is so long that nobody would take it."""
    return address if address is None or len(address) <= _ADDRESS else None
