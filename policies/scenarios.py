"""Verdicts of a whole scenario: policies, endpoints and flows given together, as test corpora are.

The input is one JSON object with `options`, `policies`, `services`, `endpoints` and `queries`; any
results in it are not looked at.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from policies.decoding import PolicyRejected
from policies.evaluating import Decision, Outcome, decide
from policies.flows import Direction, Protocol, Query
from policies.inventory import NamedPort
from policies.labels import LabelSet
from policies.options import Enforcement, Options
from policies.repository import Repository
from policies.subjects import SubjectPolicy

Json = Mapping[str, Any]

_PROTOCOLS: Final = {str(protocol): protocol for protocol in Protocol}
_NO_POLICY: Final = Decision(decision=Outcome.ALLOWED, enforced=False, origin=(), l7=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a scenario comes to; the queries in their order."""

    rejected: tuple[int, ...]
    queries: tuple[Mapping[Direction, Decision], ...]

    def as_json(self, name: str) -> dict[str, Any]:
        """The result as a JSON object."""
        return {
            "id": name,
            "rejected": list(self.rejected),
            "queries": [_query_json(query) for query in self.queries],
        }


def run(scenario: Json) -> Result:
    """Evaluate one scenario."""
    repository = Repository(_options(scenario.get("options") or {}))
    rejected = _load(repository, scenario)
    endpoints: Json = scenario.get("endpoints") or {}
    labels = {name: LabelSet.of(endpoint["labels"]) for name, endpoint in endpoints.items()}
    subjects = {
        name: repository.subject(labels[name], named_ports=_named_ports(endpoint)).newest
        for name, endpoint in endpoints.items()
        if endpoint["policy_subject"]
    }
    queries = tuple(
        _decisions(query, endpoints, labels, subjects) for query in scenario.get("queries") or ()
    )
    return Result(rejected=rejected, queries=queries)


def _options(options: Json) -> Options:
    return Options(
        cluster_name=options.get("cluster_name", ""),
        enforcement=Enforcement(options.get("enforcement_mode", "default")),
        host_always_allowed=options.get("allow_localhost", "always") != "policy",
        default_local_cluster=options.get("policy_default_local_cluster", True),
        host_firewall=options.get("host_firewall", False),
    )


def _load(repository: Repository, scenario: Json) -> tuple[int, ...]:
    keys = {f"policy/{index}": index for index in range(len(scenario["policies"]))}
    for key, index in keys.items():
        with contextlib.suppress(PolicyRejected):
            repository.apply(key, scenario["policies"][index], since=None)
    for index, service in enumerate(scenario.get("services") or ()):
        _load_service(repository, str(index), service)
    pods = [
        {"labels": {}, "ports": [{"name": name, **port} for name, port in named.items()]}
        for endpoint in (scenario.get("endpoints") or {}).values()
        if (named := endpoint.get("named_ports"))
    ]
    repository.apply("ports", {"kind": "NamedPorts", "spec": {"pods": pods}}, since=None)
    return tuple(sorted(keys[key] for key in repository.rejected()))


def _load_service(repository: Repository, key: str, service: Json) -> None:
    name, namespace = service["name"], service["namespace"]
    repository.apply(
        f"service/{key}",
        {
            "kind": "Service",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": service.get("labels") or {},
            },
            "spec": {"selector": service.get("selector")},
        },
        since=None,
    )
    repository.apply(
        f"endpoints/{key}",
        {
            "kind": "EndpointSlice",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": {"kubernetes.io/service-name": name},
            },
            "endpoints": [{"addresses": service.get("backends") or []}],
        },
        since=None,
    )


def _named_ports(endpoint: Json) -> tuple[NamedPort, ...]:
    named: Json = endpoint.get("named_ports") or {}
    return tuple(
        NamedPort(name.lower(), _PROTOCOLS[port["protocol"]], port["port"])
        for name, port in sorted(named.items())
    )


def _decisions(
    query: Json,
    endpoints: Json,
    labels: Mapping[str, LabelSet],
    subjects: Mapping[str, SubjectPolicy],
) -> Mapping[Direction, Decision]:
    result = {}
    for direction, own, other in (
        (Direction.EGRESS, query["from"], query["to"]),
        (Direction.INGRESS, query["to"], query["from"]),
    ):
        subject = subjects.get(own)
        asked = Query(
            direction=direction,
            peer=labels[other],
            peer_ip=endpoints[other].get("ip") or "",
            protocol=_PROTOCOLS[query["protocol"]],
            port=query["dport"],
        )
        result[direction] = _NO_POLICY if subject is None else decide(subject, asked)
    return result


def _query_json(query: Mapping[Direction, Decision]) -> dict[str, Any]:
    allowed = all(decision.decision is Outcome.ALLOWED for decision in query.values())
    found: dict[str, Any] = {
        direction.value: _decision_json(decision) for direction, decision in query.items()
    }
    return {**found, "verdict": "allowed" if allowed else "denied"}


def _decision_json(decision: Decision) -> dict[str, Any]:
    found: dict[str, Any] = {
        "decision": decision.decision.value,
        "enforced": decision.enforced,
        "origin": [str(ref) for ref in decision.origin],
    }
    return {**found, "l7": True} if decision.l7 else found
