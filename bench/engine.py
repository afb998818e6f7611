"""Picket's matcher beside Cilium's own engine, in one run: the same scenario in, the same answers.

Both read policies, endpoints and flows as one JSON object, decide every flow at both ends, and
write JSON; that they agree is checked. What is compared is CPU time without that of starting up.
What each does for it differs. The engine works out a map for each endpoint, with an entry for each
peer, port and rule, as it needs it for the datapath, and looks flows up in it; it also checks each
policy against the CRD. Picket asks the rules of the endpoint for each flow, without what it
remembers elsewhere, and names all policies of which a rule matches.
"""

import gc
import json
import resource
import subprocess
import time
from dataclasses import dataclass
from typing import Any

from bench import traffic
from bench.figures import Figure
from policies import scenarios
from tests.parts import engine

POLICIES = 1_000
FLOWS = 100_000
ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of a scenario, and the CPU seconds that it took."""

    queries: list[dict[str, Any]]
    seconds: float


def run() -> list[Figure]:
    """Return the figures. Raises Missing where the engine cannot be had."""
    engine.program()
    few, many = _scenario(traffic.IDENTITIES), _scenario(traffic.IDENTITIES + FLOWS)
    nothing = {**few, "policies": [], "queries": []}
    mine = [_ours(scenario) for scenario in (few, many)]
    its = [_theirs(scenario) for scenario in (nothing, few, many)]
    for ours, theirs in zip(mine, its[1:], strict=True):
        assert [_verdict(q) for q in ours.queries] == [_verdict(q) for q in theirs.queries]
    for _ in range(ROUNDS - 1):
        mine = _quicker(mine, [_ours(scenario) for scenario in (few, many)])
        its = _quicker(its, [_theirs(scenario) for scenario in (nothing, few, many)])
    taking = mine[0].seconds, its[1].seconds - its[0].seconds
    deciding = mine[1].seconds - mine[0].seconds, its[2].seconds - its[1].seconds
    rates = tuple(FLOWS / seconds for seconds in deciding)
    return [
        Figure(
            name=f"Cilium's engine: {POLICIES:,} policies for {traffic.IDENTITIES} endpoints",
            value=taking[1] / taking[0],
            unit="times our time",
            note=f"taken and compiled in {taking[1]:.2f} s, by Picket in {taking[0]:.2f} s",
        ),
        Figure(
            name="Cilium's engine: deciding flows, nothing remembered",
            value=rates[1] / rates[0],
            unit="times our rate",
            note=f"{rates[1]:,.0f} a second, Picket {rates[0]:,.0f}, at both ends, JSON to JSON",
        ),
    ]


def _quicker(one: list[Answered], other: list[Answered]) -> list[Answered]:
    """Return the quicker of two runs of each: what was slower, something else made so."""
    pairs = zip(one, other, strict=True)
    return [min(pair, key=lambda answered: answered.seconds) for pair in pairs]


def _ours(scenario: dict[str, Any]) -> Answered:
    text = json.dumps(scenario)
    gc.collect()
    before = time.process_time()
    found = scenarios.run(json.loads(text))
    answer = json.loads(json.dumps(found.as_json("bench")))
    return Answered(answer["queries"], time.process_time() - before)


def _theirs(scenario: dict[str, Any]) -> Answered:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [str(engine.program())],
        input=json.dumps(scenario) + "\n",
        capture_output=True,
        text=True,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    answer = json.loads(done.stdout)
    assert not answer["rejected"], answer["rejected"]
    return Answered(answer["queries"], used)


def _scenario(flows: int) -> dict[str, Any]:
    """Return flows among all endpoints, each of which comes up first as a destination."""
    names = [f"e{number}" for number in range(traffic.IDENTITIES)]
    return {
        "id": "bench",
        "options": {"cluster_name": traffic.CLUSTER},
        "policies": traffic.policies(POLICIES),
        "endpoints": {
            name: {
                "kind": "pod",
                "labels": traffic.labels(number),
                "ip": f"10.0.{number // 256}.{number % 256}",
                "named_ports": {},
                "policy_subject": True,
            }
            for number, name in enumerate(names)
        },
        "queries": [
            {
                "from": names[(number * 7 + number // len(names) + 1) % len(names)],
                "to": names[number % len(names)],
                "protocol": "TCP",
                "dport": 8000 + number % 11 * 10,
            }
            for number in range(flows)
        ],
    }


def _verdict(query: dict[str, Any]) -> tuple[str, str]:
    return query["egress"]["decision"], query["ingress"]["decision"]
