"""Policies alone: parsing, explaining for the first time, the key of a cache, and a change.

Each policy selects one app of one namespace; twenty to a namespace. What is measured is CPU time,
but for the change of a policy, which is the time until its subject is explained anew. Numbers of
policies that are compared take turns.
"""

import multiprocessing
import random
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any
from unittest import mock

import psutil

from bench.figures import Better, Figure
from policies import compiling, parsing
from policies.explaining import explain
from policies.flows import POLICY_DENIED, Direction, Observed, Protocol, Query, Verdict
from policies.labels import LabelSet
from policies.repository import Repository
from policies.requests import HttpRule

APPS = 15
TO_A_NAMESPACE = 20
SUBJECTS = 500
QUERIES = 3_000
ROUNDS = 5
DROPPED = Observed(verdict=Verdict.DROPPED, drop_reason=POLICY_DENIED)


def run() -> list[Figure]:
    """Return the figures of policies."""
    manifests = [_manifest(number, 10_000) for number in range(10_000)]
    large, taken = _filled(manifests)
    some = _repository(1_000)
    few = _repository(10)
    cold = _in_turns(_cold, few, some, large)
    keys = _in_turns(_keys, few, some, large)
    changed, recompiled = _change(large, manifests[5])
    return [
        Figure(
            name="compiling 10,000 policies",
            value=taken,
            unit="s",
            target=5,
            note="parsed, checked and indexed, with 500 subjects compiled",
        ),
        Figure(
            name="memory of 10,000 policies",
            value=_memory(),
            unit="MiB",
            target=300,
            note="resident, the whole process, with 500 subjects compiled",
        ),
        Figure(
            name="matching an expression, a text twice as long",
            value=_growth(),
            unit="times as long",
            target=2.5,
            note="(a+)+b, and no b in 100,000 letters",
        ),
        Figure(
            name="cold explanations, 1,000 policies",
            value=statistics.median(cold[1_000]),
            unit="a second",
            target=3_000,
            better=Better.HIGHER,
            note=f"at 10: {statistics.median(cold[10]):,.0f}",
        ),
        Figure(
            name="cold explanations, 1,000 policies against 10,000",
            value=_ratio(cold, 1_000, 10_000),
            unit="times as fast",
        ),
        Figure(
            name="cache keys, 1,000 policies",
            value=statistics.median(keys[1_000]),
            unit="a second",
            note=f"at 10: {statistics.median(keys[10]):,.0f}",
        ),
        Figure(
            name="cache keys, 1,000 policies against 10,000",
            value=_ratio(keys, 1_000, 10_000),
            unit="times as fast",
            target=1.15,
        ),
        Figure(
            name="one policy changed among 10,000",
            value=changed * 1000,
            unit="ms",
            target=20,
            note="until explained anew",
        ),
        Figure(
            name="compiled anew for one changed policy",
            value=recompiled,
            unit="subjects",
            target=1,
            note=f"of {SUBJECTS:,} that are known",
        ),
    ]


def _in_turns(
    measure: Callable[[Repository, int], float], few: Repository, some: Repository, many: Repository
) -> dict[int, list[float]]:
    found: dict[int, list[float]] = {10: [], 1_000: [], 10_000: []}
    for _ in range(ROUNDS):
        for (total, rates), repository in zip(found.items(), (few, some, many), strict=True):
            rates.append(measure(repository, total))
    return found


def _ratio(rates: dict[int, list[float]], one: int, other: int) -> float:
    return statistics.median(a / b for a, b in zip(rates[one], rates[other], strict=True))


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
    for number in range(min(SUBJECTS, len(manifests))):
        assert repository.subject(_labels(number, len(manifests))).newest.policies
    return repository, time.process_time() - started


def _repository(total: int) -> Repository:
    return _filled([_manifest(number, total) for number in range(total)])[0]


def _memory() -> float:
    """Return MiB of a process of its own that holds nothing else."""
    with futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_held).result()


def _held() -> float:
    repository = Repository()
    for number in range(10_000):
        repository.apply(str(number), _manifest(number, 10_000), since=None)
    for number in range(SUBJECTS):
        assert repository.subject(_labels(number, 10_000)).newest.policies
    assert len(repository.policies()) == 10_000
    return psutil.Process().memory_info().rss / 2**20


def _growth() -> float:
    """Return how much longer twice a text takes: whoever tries each way needs for ever."""
    rule = HttpRule(path="(a+)+b")
    found = []
    for _ in range(ROUNDS):
        times = []
        for letters in (50_000, 100_000):
            started = time.process_time()
            for _ in range(100):
                rule.missed(method="", path="a" * letters, host="", headers=())
            times.append(time.process_time() - started)
        found.append(times[1] / times[0])
    return statistics.median(found)


def _queries(total: int) -> list[tuple[LabelSet, Query]]:
    chance = random.Random(1)
    subjects = [_labels(number, total) for number in range(min(SUBJECTS, total))]
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
    started = time.process_time()
    for labels, query in asked:
        subject = repository.subject(labels).in_force(1_700_000_000.0)[0]
        _ = (
            subject.version,
            query.peer,
            subject.port_class(query.direction, query.protocol, query.port),
            subject.cidr_class(query.direction, query.peer_ip),
        )
    return len(asked) / (time.process_time() - started)


def _change(repository: Repository, manifest: dict[str, Any]) -> tuple[float, int]:
    """Return the seconds until a changed policy explains, and how many subjects were compiled."""
    labels = _labels(5, 10_000)
    (_, query), *_ = _queries(10_000)
    before = repository.subject(labels).newest.version
    others = [_labels(number, 10_000) for number in range(SUBJECTS) if number != 5]
    versions = [repository.subject(other).newest for other in others]
    spec = manifest["spec"] | {"ingress": [{}]}
    with _counted() as (parsed, compiled):
        started = time.perf_counter()
        repository.apply("5", manifest | {"spec": spec}, since=None)
        after = repository.subject(labels).newest
        explain(after, query, DROPPED)
        taken = time.perf_counter() - started
        kept = [repository.subject(other).newest for other in others]
    assert after.version != before
    assert parsed.call_count == 1
    assert all(new is old for new, old in zip(kept, versions, strict=True))
    return taken, compiled.call_count


@contextmanager
def _counted() -> Iterator[tuple[mock.Mock, mock.Mock]]:
    """Count how many policies are parsed, and how many subjects compiled."""
    with (
        mock.patch.object(parsing, "parse", wraps=parsing.parse) as parsed,
        mock.patch.object(compiling, "compile_subject", wraps=compiling.compile_subject) as made,
    ):
        yield parsed, made
