"""Policies and stopped flows for the enricher's benchmark: the same flows whatever the policies.

Ten teams, each with a namespace and fifty workloads: five hundred identities. The first ten
policies are the teams' own, one for all workloads of a namespace: these alert. All others are about
one workload each, in turn: 1,000 policies are two more a workload, 10,000 are twenty more. What is
stopped is stopped by all policies of its workload, and each rule of these has a reason.
"""

import random
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, islice
from typing import Any

from schemas.hubble import flow_pb2, observer_pb2
from schemas.picket.v1 import flows_pb2

CLUSTER = "bench"
TEAMS = 10
IDENTITIES = 500
KEYS = 50_000
ZIPF = 1.0
RESPONSES = 300
"""Of flows in a record: about 256 KiB."""
AGO = 60
"""How many seconds ago the first flow was."""
_KEYS_OF_ONE = KEYS // IDENTITIES
_FRIENDS = 3
_DENIED_PORT = 9000


def policies(total: int, *, all_alert: bool = False) -> list[dict[str, Any]]:
    """Return so many policies; `all_alert`: each with an owner who wants to know."""
    found = [_of_team(number) for number in range(min(total, TEAMS))]
    found += [_of_workload(number, alerts=all_alert) for number in range(total - len(found))]
    return found


def keys(*, peers_of_one: int) -> list[bytes]:
    """Return one flow of each key: so many peers of each workload, at ports that nobody may use."""
    ports = _KEYS_OF_ONE // peers_of_one
    return [
        denied(subject, (subject + 1 + peer) % IDENTITIES, _DENIED_PORT + port)
        for peer in range(peers_of_one)
        for port in range(ports)
        for subject in range(IDENTITIES)
    ]


def zipf(flows: Sequence[bytes], count: int) -> list[bytes]:
    """Return so many of these flows, drawn by Zipf's law."""
    chance = random.Random(1)
    weights = list(accumulate(1 / rank**ZIPF for rank in range(1, len(flows) + 1)))
    shuffled = list(flows)
    chance.shuffle(shuffled)
    return chance.choices(shuffled, cum_weights=weights, k=count)


def records(flows: Iterable[bytes]) -> list[bytes]:
    """Return records of picket.flows with these flows."""
    stamped = _stamped(flows)
    found = []
    while chunk := list(islice(stamped, RESPONSES)):
        batch = flows_pb2.FlowBatch(cluster=CLUSTER, responses=chunk, state=flows_pb2.LIVE)
        found.append(batch.SerializeToString())
    return found


def denied(subject: int, peer: int, port: int) -> bytes:
    """Return a flow, but for what differs each time, that the subject's policies do not allow."""
    flow = _flow(subject, port)
    flow.source.CopyFrom(_pod(peer))
    flow.IP.source = f"10.1.{peer // 256}.{peer % 256}"
    return flow.SerializeToString()


def from_world(subject: int, number: int) -> bytes:
    """Return one from an address of its own."""
    flow = _flow(subject, _DENIED_PORT)
    flow.source.CopyFrom(flow_pb2.Endpoint(identity=2, labels=["reserved:world"]))
    flow.IP.source = f"192.{number // 65536}.{number // 256 % 256}.{number % 256}"
    return flow.SerializeToString()


def labels(workload: int) -> list[str]:
    """Return the labels of a workload's identity."""
    namespace = _namespace(workload)
    return [
        f"k8s:app=service-{workload}",
        f"k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name={namespace}",
        f"k8s:io.cilium.k8s.policy.cluster={CLUSTER}",
        "k8s:io.cilium.k8s.policy.serviceaccount=default",
        f"k8s:io.kubernetes.pod.namespace={namespace}",
    ]


def _of_team(number: int) -> dict[str, Any]:
    rules = [{"fromEndpoints": [{}], "toPorts": _ports(8080)}]
    return _manifest(f"team-{number}", f"team-{number}", {}, rules, alerts=True)


def _of_workload(number: int, *, alerts: bool) -> dict[str, Any]:
    workload = number % IDENTITIES
    rules: list[dict[str, Any]] = [
        {
            "fromEndpoints": [{"matchLabels": {"app": f"friend-{number}-{friend}"}}],
            "toPorts": _ports(8000 + friend),
        }
        for friend in range(_FRIENDS)
    ]
    rules.append({"fromCIDR": ["198.51.100.0/24", "203.0.113.0/28"]})
    return _manifest(
        f"only-friends-{number}",
        _namespace(workload),
        {"matchLabels": {"app": f"service-{workload}"}},
        rules,
        alerts=alerts,
    )


def _ports(port: int) -> list[dict[str, Any]]:
    return [{"ports": [{"port": str(port), "protocol": "TCP"}]}]


def _manifest(
    name: str,
    namespace: str,
    subject: dict[str, Any],
    ingress: list[dict[str, Any]],
    *,
    alerts: bool,
) -> dict[str, Any]:
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"app.gitlab.com/proj": "1"},
            "annotations": {"app.gitlab.com/alert": "true"} if alerts else {},
        },
        "spec": {"endpointSelector": subject, "ingress": ingress},
    }


def _namespace(workload: int) -> str:
    return f"team-{workload % TEAMS}"


def _flow(subject: int, port: int) -> flow_pb2.Flow:
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
        destination=_pod(subject),
    )
    flow.ethernet.source, flow.ethernet.destination = "46:f7:44:c8:da:27", "1e:74:69:4c:fb:77"
    flow.IP.destination = f"10.0.{subject // 256}.{subject % 256}"
    flow.IP.ipVersion = flow_pb2.IPv4
    flow.l4.TCP.destination_port = port
    flow.l4.TCP.flags.SYN = True
    return flow


def _pod(workload: int) -> flow_pb2.Endpoint:
    namespace, app = _namespace(workload), f"service-{workload}"
    return flow_pb2.Endpoint(
        ID=1234,
        identity=20_000 + workload,
        cluster_name=CLUSTER,
        namespace=namespace,
        labels=labels(workload),
        pod_name=f"{app}-7d4b9c6f5-x2k8p",
        workloads=[flow_pb2.Workload(name=app, kind="Deployment")],
    )


def _stamped(flows: Iterable[bytes]) -> Iterator[bytes]:
    """Return responses of these flows, each with a time, a uuid and a source port of its own.

    Messages that stand one after the other are one message, so nothing is decoded for it.
    """
    began = time.time_ns() - AGO * 10**9
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
