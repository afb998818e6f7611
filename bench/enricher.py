"""Topic to matches: flows a second and core, over the embedded log.

Every flow is different in time, uuid and source port; keys (both ends' label sets and the port)
follow Zipf's law. What is measured is CPU time of the process from the first poll to the last
commit, with the explanations of all keys known: they are found once for each version of a policy.
Finding them, and scans that no key repeats, are measured by themselves.
"""

import gc
import random
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate, islice
from pathlib import Path

import prometheus_client
import pydantic_core

from bench.figures import Better, Figure
from bus import port
from bus.embedded import EmbeddedLog
from enricher import clusters, loop, metrics, session, settings
from runtime import clock
from schemas import messages, topics
from schemas.hubble import flow_pb2, observer_pb2
from schemas.picket.v1 import flows_pb2

CLUSTER = "bench"
KEYS = 50_000
PEERS_OF_ONE_APP = 10
FLOWS = 250_000
SCANNED = 65_535
SOURCES = 100_000
RESPONSES = 300
"""Of flows in a record: about 256 KiB."""
ZIPF = 1.0
TARGET = 80_000
MAX_RATIO = 1.15


@dataclass(frozen=True, slots=True)
class Measured:
    """CPU seconds for so many flows."""

    flows: int
    seconds: float
    matches: int = 0

    @property
    def rate(self) -> float:
        return self.flows / self.seconds


def run() -> list[Figure]:
    """Return the figures of the enricher, all from one run."""
    gc.set_threshold(*loop.GC_THRESHOLDS)
    many = _measure(policies=1000)
    few = _measure(policies=100)
    apart = _measure(policies=1000, fingerprints=KEYS)
    ports, sources = _scans()
    kept = many["warm"]
    noted = f"{kept.flows:,} flows, {KEYS:,} keys, Zipf {ZIPF}, {kept.matches:,} matches"
    return [
        Figure(
            name="enricher, 1,000 policies",
            value=kept.rate,
            unit="flows/s a core",
            target=TARGET,
            better=Better.HIGHER,
            note=noted,
        ),
        Figure(
            name="enricher, 100 policies against 1,000",
            value=few["warm"].rate / kept.rate,
            unit="times as fast",
            target=MAX_RATIO,
        ),
        Figure(
            name="enricher, every key an alert of its own",
            value=apart["warm"].rate,
            unit="flows/s a core",
            note=f"{apart['warm'].matches:,} matches",
        ),
        Figure(
            name="enricher, each key for the first time",
            value=many["cold"].rate,
            unit="flows/s a core",
        ),
        Figure(name="enricher, 65,535 ports", value=ports.rate, unit="flows/s a core"),
        Figure(name="enricher, 100,000 sources", value=sources.rate, unit="flows/s a core"),
    ]


def _measure(*, policies: int, fingerprints: int = KEYS // PEERS_OF_ONE_APP) -> dict[str, Measured]:
    one_app = KEYS // fingerprints
    keys = [_denied(key % policies, key // policies, one_app) for key in range(KEYS)]
    chance = random.Random(1)
    weights = list(accumulate(1 / rank**ZIPF for rank in range(1, KEYS + 1)))
    ranks = list(range(KEYS))
    chance.shuffle(ranks)
    drawn = chance.choices(ranks, cum_weights=weights, k=FLOWS)
    with _bench([_policy(number) for number in range(policies)]) as bench:
        bench.write(keys)
        cold = bench.drain(KEYS)
        bench.write(keys[rank] for rank in drawn)
        warm = bench.drain(FLOWS)
    return {"cold": cold, "warm": warm}


def _scans() -> tuple[Measured, Measured]:
    with _bench([_policy(number) for number in range(100)]) as bench:
        bench.write(_denied(3, 7, 1, port=number) for number in range(1, SCANNED + 1))
        ports = bench.drain(SCANNED)
        bench.write(_from_world(3, number) for number in range(SOURCES))
        sources = bench.drain(SOURCES)
    return ports, sources


class _Bench:
    """An enricher over a log of its own, driven by hand."""

    def __init__(self, folder: Path, policies: Sequence[dict[str, object]]) -> None:
        self._log = EmbeddedLog(folder / "log.db")
        self._log.ensure(topics.ALL)
        self._producer = self._log.producer("bench")
        self._publish(policies)
        table = clusters.Clusters(self._log.reader([topics.POLICIES.name]))
        table.read_to_end()
        self._session = session.Session(
            settings.EnricherSettings(),
            connection=self._log,
            clusters=table,
            matchings={},
            unreadable=[],
            clock=clock.SYSTEM,
            metrics=metrics.Metrics(prometheus_client.CollectorRegistry()),
        )
        self._session.step()
        self._reader = self._log.reader([topics.MATCHES.name])

    def write(self, flows: Iterable[bytes]) -> None:
        stamped = _stamped(flows)
        while chunk := list(islice(stamped, RESPONSES * 100)):
            with self._producer.transaction() as transaction:
                for start in range(0, len(chunk), RESPONSES):
                    batch = flows_pb2.FlowBatch(
                        cluster=CLUSTER,
                        responses=chunk[start : start + RESPONSES],
                        state=flows_pb2.LIVE,
                    )
                    record = port.Outgoing(topic=topics.FLOWS.name, value=batch.SerializeToString())
                    transaction.send(record)

    def drain(self, expected: int) -> Measured:
        """Enrich all that is on the topic; check that the matches add up to it."""
        before = time.process_time()
        while any(
            lag.end > (lag.committed or 0)
            for lag in self._log.lag(session.GROUP, [topics.FLOWS.name])
        ):
            self._session.step()
        seconds = time.process_time() - before
        counted = records = 0
        for record in port.read_to_end(self._reader):
            event = pydantic_core.from_json(record.value)
            if event["type"] == messages.MATCH:
                counted += event["data"]["count"]
                records += 1
        if counted != expected:
            raise AssertionError(f"{expected} flows were written and {counted} counted")
        return Measured(expected, seconds, records)

    def close(self) -> None:
        self._session.close()
        self._producer.close()
        self._reader.close()
        self._log.close()

    def _publish(self, policies: Sequence[dict[str, object]]) -> None:
        now = datetime.now(tz=UTC)
        with self._producer.transaction() as transaction:
            for manifest in policies:
                metadata = manifest["metadata"]
                name = f"{metadata['namespace']}/{metadata['name']}"  # type: ignore[index]
                value = messages.PolicyObject(cluster=CLUSTER, manifest=manifest)
                transaction.send(
                    port.Outgoing(
                        topic=topics.POLICIES.name,
                        key=f"{CLUSTER}/{manifest['kind']}/{name}".encode(),
                        value=value.model_dump_json().encode(),
                    )
                )
            marker = messages.Synced(cluster=CLUSTER, at=now, objects=len(policies))
            transaction.send(
                port.Outgoing(
                    topic=topics.POLICIES.name,
                    key=f"{CLUSTER}/{clusters.SYNCED}".encode(),
                    value=marker.model_dump_json().encode(),
                )
            )


@contextmanager
def _bench(policies: Sequence[dict[str, object]]) -> Iterator[_Bench]:
    with tempfile.TemporaryDirectory() as folder:
        bench = _Bench(Path(folder), policies)
        try:
            yield bench
        finally:
            bench.close()


def _policy(number: int) -> dict[str, object]:
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {
            "name": f"only-friends-{number}",
            "namespace": f"team-{number % 50}",
            "labels": {"app.gitlab.com/proj": str(number)},
            "annotations": {"app.gitlab.com/alert": "true"},
        },
        "spec": {
            "endpointSelector": {"matchLabels": {"app": f"service-{number}"}},
            "ingress": [
                {
                    "fromEndpoints": [{"matchLabels": {"app": f"friend-{friend}"}}],
                    "toPorts": [{"ports": [{"port": str(8000 + friend), "protocol": "TCP"}]}],
                }
                for friend in range(3)
            ]
            + [{"fromCIDR": ["198.51.100.0/24", "203.0.113.0/28"]}],
        },
    }


def _denied(service: int, peer: int, one_app: int, *, port: int = 9000) -> bytes:
    """Return a flow, but for what differs each time, that the policy of a service denies."""
    app = peer // one_app
    flow = _flow(service, port)
    flow.source.CopyFrom(_pod(f"team-{app % 50}", f"stranger-{app}", f"stranger-{peer}"))
    flow.IP.source = f"10.{1 + peer // 65536}.{peer // 256 % 256}.{peer % 256}"
    return flow.SerializeToString()


def _from_world(service: int, number: int) -> bytes:
    flow = _flow(service, 9000)
    flow.source.CopyFrom(flow_pb2.Endpoint(identity=2, labels=["reserved:world"]))
    flow.IP.source = f"192.{number // 65536}.{number // 256 % 256}.{number % 256}"
    return flow.SerializeToString()


def _flow(service: int, port: int) -> flow_pb2.Flow:
    flow = flow_pb2.Flow(
        verdict=flow_pb2.DROPPED,
        drop_reason=133,
        drop_reason_desc=flow_pb2.POLICY_DENIED,
        Type=flow_pb2.L3_L4,
        node_name="bench/node-1",
        node_labels=[
            "kubernetes.io/arch=amd64",
            "kubernetes.io/hostname=node-1",
            "kubernetes.io/os=linux",
        ],
        traffic_direction=flow_pb2.INGRESS,
        event_type=flow_pb2.CiliumEventType(type=5),
        Summary="TCP Flags: SYN",
        destination=_pod(f"team-{service % 50}", f"service-{service}", f"service-{service}"),
    )
    flow.ethernet.source, flow.ethernet.destination = "46:f7:44:c8:da:27", "1e:74:69:4c:fb:77"
    flow.IP.destination = f"10.0.{service // 256}.{service % 256}"
    flow.IP.ipVersion = flow_pb2.IPv4
    flow.l4.TCP.destination_port = port
    flow.l4.TCP.flags.SYN = True
    return flow


def _pod(namespace: str, app: str, name: str) -> flow_pb2.Endpoint:
    return flow_pb2.Endpoint(
        ID=1234,
        identity=20_000,
        cluster_name=CLUSTER,
        namespace=namespace,
        labels=[
            f"k8s:app={app}",
            f"k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name={namespace}",
            f"k8s:io.cilium.k8s.policy.cluster={CLUSTER}",
            "k8s:io.cilium.k8s.policy.serviceaccount=default",
            f"k8s:io.kubernetes.pod.namespace={namespace}",
            f"k8s:set={name}",
        ],
        pod_name=name,
        workloads=[flow_pb2.Workload(name=app, kind="Deployment")],
    )


def _stamped(flows: Iterable[bytes]) -> Iterator[bytes]:
    """Return responses of these flows, each with a time, a uuid and a source port of its own.

    Messages that stand one after the other are one message, so nothing is decoded for it.
    """
    began = time.time_ns() - 60 * 10**9
    own, outer = flow_pb2.Flow(), observer_pb2.GetFlowsResponse(node_name="bench/node-1")
    for number, flow in enumerate(flows):
        own.time.FromNanoseconds(began + number * 10_000)
        own.uuid = str(uuid.UUID(int=number))
        own.l4.TCP.source_port = 32768 + number % 28000
        outer.time.CopyFrom(own.time)
        body = flow + own.SerializeToString()
        yield b"\x0a" + _varint(len(body)) + body + outer.SerializeToString()


def _varint(number: int) -> bytes:
    text = bytearray()
    while number > 127:
        text.append(number & 127 | 128)
        number >>= 7
    text.append(number)
    return bytes(text)


if __name__ == "__main__":
    for figure in run():
        print(f"{figure.name}: {figure.value:,.2f} {figure.unit} {figure.note}")
