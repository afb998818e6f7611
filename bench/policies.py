"""Policies alone: parsing, explaining for the first time, the key of a cache, and a change.

Each policy selects one app of one namespace; twenty to a namespace. What is measured is CPU time,
but for the change of a policy, which is the time until its subject is explained anew.
"""

import random
import time
import tracemalloc
from typing import Any

from bench.figures import Better, Figure
from policies.explaining import explain
from policies.flows import POLICY_DENIED, Direction, Observed, Protocol, Query, Verdict
from policies.labels import LabelSet
from policies.repository import Repository

APPS = 15
TO_A_NAMESPACE = 20
SUBJECTS = 500
QUERIES = 3_000
DROPPED = Observed(verdict=Verdict.DROPPED, drop_reason=POLICY_DENIED)


def run() -> list[Figure]:
    """Return the figures of policies."""
    manifests = [_manifest(number, 10_000) for number in range(10_000)]
    large, compiling = _filled(manifests)
    few = _repository(100)
    some = _repository(1_000)
    return [
        Figure(
            name="compiling 10,000 policies",
            value=compiling,
            unit="s",
            target=5,
            note="parsed, checked and indexed, with 500 subjects compiled",
        ),
        Figure(name="memory of 10,000 policies", value=_memory(), unit="MiB", target=300),
        Figure(
            name="cold explanations, 1,000 policies",
            value=_cold(some, 1_000),
            unit="a second",
            target=3_000,
            better=Better.HIGHER,
        ),
        Figure(
            name="cold explanations, 10,000 policies",
            value=_cold(large, 10_000),
            unit="a second",
            better=Better.HIGHER,
        ),
        Figure(
            name="cache keys, 1,000 policies",
            value=(keys := _keys(some, 1_000)),
            unit="a second",
            better=Better.HIGHER,
        ),
        Figure(
            name="cache keys, 100 policies against 1,000",
            value=_keys(few, 100) / keys,
            unit="times as fast",
            target=1.15,
        ),
        Figure(
            name="one policy changed among 10,000",
            value=_change(large, manifests[5]) * 1000,
            unit="ms",
            target=20,
            note="until explained anew; no other subject is compiled again",
        ),
    ]


def _manifest(number: int, total: int) -> dict[str, Any]:
    spaces = max(1, total // TO_A_NAMESPACE)
    app = number // spaces % APPS
    return {
        "kind": "CiliumNetworkPolicy",
        "metadata": {
            "name": f"p{number}",
            "namespace": f"ns{number % spaces}",
            "labels": {"app.gitlab.com/proj": "1"},
            "annotations": {"app.gitlab.com/alert": "true"},
        },
        "spec": {
            "endpointSelector": {"matchLabels": {"app": f"app{app}"}},
            "ingress": [
                {
                    "fromEndpoints": [{"matchLabels": {"app": f"app{(app + 1) % APPS}"}}],
                    "toPorts": [
                        {"ports": [{"port": str(p), "protocol": "TCP"} for p in (8080, 9090)]}
                    ],
                },
                {
                    "fromCIDRSet": [{"cidr": "10.0.0.0/8", "except": ["10.96.0.0/12"]}],
                    "toPorts": [{"ports": [{"port": "443", "protocol": "TCP"}]}],
                },
            ],
            "ingressDeny": [
                {"fromEndpoints": [{"matchLabels": {"k8s:io.kubernetes.pod.namespace": "evil"}}]}
            ],
            "egress": [
                {"toEntities": ["cluster"]},
                {"toFQDNs": [{"matchPattern": "*.example.com"}]},
            ],
        },
    }


def _labels(number: int, total: int) -> LabelSet:
    spaces = max(1, total // TO_A_NAMESPACE)
    namespace = f"ns{number % spaces}"
    return LabelSet.of(
        [
            f"k8s:app=app{number // spaces % APPS}",
            f"k8s:io.kubernetes.pod.namespace={namespace}",
            "k8s:io.cilium.k8s.policy.cluster=bench",
            f"k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name={namespace}",
        ]
    )


def _filled(manifests: list[dict[str, Any]]) -> tuple[Repository, float]:
    repository = Repository()
    started = time.process_time()
    for number, manifest in enumerate(manifests):
        repository.apply(str(number), manifest, since=None)
    for number in range(SUBJECTS):
        assert repository.subject(_labels(number, len(manifests))).newest.policies
    return repository, time.process_time() - started


def _repository(total: int) -> Repository:
    return _filled([_manifest(number, total) for number in range(total)])[0]


def _memory() -> float:
    """MiB that the repository holds, the manifests aside."""
    tracemalloc.start()
    repository = Repository()
    for number in range(10_000):
        repository.apply(str(number), _manifest(number, 10_000), since=None)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(repository.policies()) == 10_000
    return held / 2**20


def _queries(total: int) -> list[tuple[LabelSet, Query]]:
    chance = random.Random(1)
    subjects = [_labels(number, total) for number in range(SUBJECTS)]
    return [
        (
            chance.choice(subjects),
            Query(
                direction=Direction.INGRESS,
                peer=chance.choice(subjects),
                peer_ip=f"10.244.{chance.randrange(256)}.{chance.randrange(256)}",
                protocol=Protocol.TCP,
                port=chance.randrange(1, 65536),
            ),
        )
        for _ in range(QUERIES)
    ]


def _cold(repository: Repository, total: int) -> float:
    asked = _queries(total)
    started = time.process_time()
    for labels, query in asked:
        found = explain(repository.subject(labels).newest, query, DROPPED)
        found.sentence("subject", "peer")
    return len(asked) / (time.process_time() - started)


def _keys(repository: Repository, total: int) -> float:
    asked = _queries(total)
    for labels, query in asked:  # What is compiled when first asked for is compiled now.
        subject = repository.subject(labels).newest
        subject.port_class(query.direction, query.protocol, query.port)
    best = float("inf")
    for _ in range(5):
        started = time.process_time()
        for labels, query in asked:
            subject = repository.subject(labels).in_force(1_700_000_000.0)[0]
            _ = (
                subject.version,
                query.peer,
                subject.port_class(query.direction, query.protocol, query.port),
                subject.cidr_class(query.direction, query.peer_ip),
            )
        best = min(best, time.process_time() - started)
    return len(asked) / best


def _change(repository: Repository, manifest: dict[str, Any]) -> float:
    labels = _labels(5, 10_000)
    (_, query), *_ = _queries(10_000)
    before = repository.subject(labels).newest.version
    others = [_labels(number, 10_000) for number in range(SUBJECTS) if number != 5]
    timelines = [repository.subject(other) for other in others]
    spec = manifest["spec"] | {"ingress": [{}]}
    started = time.perf_counter()
    repository.apply("5", manifest | {"spec": spec}, since=None)
    after = repository.subject(labels).newest
    explain(after, query, DROPPED)
    taken = time.perf_counter() - started
    assert after.version != before
    assert all(
        repository.subject(other) is timeline
        for other, timeline in zip(others, timelines, strict=True)
    )
    return taken
