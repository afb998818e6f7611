"""Verdicts of a whole scenario: policies, endpoints and flows given together, as test corpora are.

The input is one JSON object with `options`, `policies`, `services`, `cidr_groups`, `endpoints` and
`queries`; any results in it are not looked at. What is no scenario is Malformed, before anything is
evaluated.
"""

import contextlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from policies import crd
from policies.decoding import Field, PolicyRejected
from policies.evaluating import Decision, Outcome, decide
from policies.flows import Direction, Protocol, Query
from policies.inventory import NamedPort
from policies.labels import LabelSet
from policies.model import KINDS
from policies.options import Enforcement, Options
from policies.repository import Repository
from policies.subjects import SubjectPolicy

Json = Mapping[str, Any]

_PROTOCOLS: Final = {str(protocol): protocol for protocol in Protocol}
_MAX_PORT: Final = 65535
_CHOICES: Final = {
    "enforcement_mode": tuple(mode.value for mode in Enforcement),
    "allow_localhost": ("auto", "always", "policy"),
}
_NO_POLICY: Final = Decision(decision=Outcome.ALLOWED, enforced=False, origin=(), l7=False)


class Malformed(Exception):
    """What was given is no scenario; the message says where and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a scenario comes to; policies by index, the queries in their order."""

    rejected: tuple[int, ...]
    """What the engine refuses."""
    schema_rejected: tuple[int, ...]
    """What the CRD side refuses; the engine may take it."""
    queries: tuple[Mapping[Direction, Decision], ...]

    def as_json(self, name: str) -> dict[str, Any]:
        """The result as a JSON object."""
        return {
            "id": name,
            "rejected": list(self.rejected),
            "schema_rejected": list(self.schema_rejected),
            "queries": [_query_json(query) for query in self.queries],
        }


def run(scenario: Json) -> Result:
    """Evaluate one scenario. Raises Malformed."""
    _check(scenario)
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
    refused = [index for index, each in enumerate(scenario["policies"]) if crd.refuses(each)]
    return Result(rejected=rejected, schema_rejected=tuple(refused), queries=queries)


def _check(scenario: object) -> None:
    """Refuse what cannot be evaluated: other shapes, unknown names."""
    if not isinstance(scenario, Mapping):
        raise Malformed("it is no object")
    root = Field("", scenario)
    try:
        _check_options(root["options"])
        for policy in _listed(root["policies"]):
            _one_of(policy["kind"], KINDS)
        _check_inventory(root)
        for name in root["endpoints"].object():
            _check_endpoint(root["endpoints"][name])
        for query in root["queries"].entries():
            for name in ("from", "to"):
                _one_of(query[name], root["endpoints"].object())
            _one_of(query["protocol"], _PROTOCOLS)
            _given(query["dport"]).integer(low=0, high=_MAX_PORT)
    except PolicyRejected as error:
        raise Malformed(str(error)) from error


def _check_inventory(root: Field) -> None:
    for service in root["services"].entries():
        for name in ("name", "namespace"):
            _given(service[name]).text()
        service["labels"].strings()
        service["selector"].strings()
        for address in service["backends"].entries():
            _given(address).text()
    for group in root["cidr_groups"].entries():
        _given(group["name"]).text()
        group["labels"].strings()
        for cidr in group["cidrs"].entries():
            _given(cidr).text()


def _check_options(options: Field) -> None:
    options["cluster_name"].text()
    options["policy_default_local_cluster"].boolean()
    options["host_firewall"].boolean()
    for name, values in _CHOICES.items():
        if options[name]:
            _one_of(options[name], values)


def _check_endpoint(endpoint: Field) -> None:
    for label in _listed(endpoint["labels"]):
        _given(label).text()
    endpoint["ip"].text()
    _given(endpoint["policy_subject"]).boolean()
    for name in endpoint["named_ports"].object():
        port = endpoint["named_ports"][name]
        _one_of(port["protocol"], _PROTOCOLS)
        _given(port["port"]).integer(low=0, high=_MAX_PORT)


def _given(node: Field) -> Field:
    if not node:
        raise node.reject("must be given")
    return node


def _listed(node: Field) -> Iterator[Field]:
    return _given(node).entries()


def _one_of(node: Field, names: Collection[str]) -> None:
    if _given(node).text() not in names:
        raise node.reject(f"{node.text()!r} is not {', '.join(sorted(names)) or 'any'}")


def _options(options: Json) -> Options:
    return Options(
        cluster_name=options.get("cluster_name") or "",
        enforcement=Enforcement(options.get("enforcement_mode") or "default"),
        host_always_allowed=options.get("allow_localhost", "always") != "policy",
        default_local_cluster=options.get("policy_default_local_cluster") is not False,
        host_firewall=options.get("host_firewall") is True,
    )


def _load(repository: Repository, scenario: Json) -> tuple[int, ...]:
    keys = {f"policy/{index}": index for index in range(len(scenario["policies"]))}
    for key, index in keys.items():
        with contextlib.suppress(PolicyRejected):
            repository.apply(key, scenario["policies"][index], since=None)
    for index, service in enumerate(scenario.get("services") or ()):
        _load_service(repository, str(index), service)
    for group in scenario.get("cidr_groups") or ():
        manifest = {
            "kind": "CiliumCIDRGroup",
            "metadata": {"name": group["name"], "labels": group.get("labels") or {}},
            "spec": {"externalCIDRs": group.get("cidrs") or []},
        }
        repository.apply(f"group/{group['name']}", manifest, since=None)
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
