"""Flows, policies and records for the enricher's tests."""

import gzip
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp
from ruamel.yaml import YAML

from bus import port
from schemas import messages, topics
from schemas.hubble import flow_pb2, observer_pb2
from schemas.picket.v1 import flows_pb2

CAPTURES = Path(__file__).parents[1] / "data" / "captures"
CLUSTER = "demo"
CAPTURE_END = 1_795_229_349.0
"""Just after the newest flow of the recorded capture."""
NOON = 1_800_000_000.0
"""A moment at the start of a UTC minute, for clocks that stand still."""


@cache
def shop_responses() -> tuple[bytes, ...]:
    """Return the recorded capture's responses as they come from relay."""
    found = []
    with gzip.open(CAPTURES / "shop.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            response = json_format.Parse(line, observer_pb2.GetFlowsResponse())
            found.append(response.SerializeToString())
    return tuple(found)


def shop_policies() -> list[dict[str, Any]]:
    """Return the capture's policies as their owners wrote them."""
    return list(YAML(typ="safe").load_all(CAPTURES / "policies.yaml"))


def pod_labels(app: str, namespace: str = "shop", *more: str) -> list[str]:
    """Return a pod's labels as Cilium has them."""
    return [
        f"k8s:app={app}",
        f"k8s:io.cilium.k8s.policy.cluster={CLUSTER}",
        f"k8s:io.kubernetes.pod.namespace={namespace}",
        *more,
    ]


def a_pod(app: str, namespace: str = "shop", *, identity: int = 1000) -> flow_pb2.Endpoint:
    """Return one end that is a pod."""
    return flow_pb2.Endpoint(
        identity=identity,
        cluster_name=CLUSTER,
        namespace=namespace,
        labels=pod_labels(app, namespace),
        pod_name=f"{app}-1",
    )


def the_world(*labels: str) -> flow_pb2.Endpoint:
    """Return one end that is outside of the cluster."""
    return flow_pb2.Endpoint(identity=2, labels=["reserved:world", *labels])


def a_flow(
    *,
    source: flow_pb2.Endpoint | None = None,
    destination: flow_pb2.Endpoint | None = None,
    at: float = NOON - 1,
    port: int = 9999,
    protocol: str = "TCP",
    direction: int = flow_pb2.INGRESS,
    verdict: int = flow_pb2.DROPPED,
    reason: int = flow_pb2.POLICY_DENIED,
    event: int = 5,
    source_ip: str = "10.0.0.1",
    destination_ip: str = "10.0.0.2",
    http: flow_pb2.HTTP | None = None,
) -> flow_pb2.Flow:
    """Return a flow from stranger to backend that no rule allowed, unless told otherwise."""
    flow = flow_pb2.Flow(
        uuid="9489d27b-c688-4da7-9be0-5579c71896dc",
        verdict=verdict,  # type: ignore[arg-type]
        drop_reason_desc=reason,  # type: ignore[arg-type]
        traffic_direction=direction,  # type: ignore[arg-type]
        event_type=flow_pb2.CiliumEventType(type=event),
        source=source or a_pod("stranger"),
        destination=destination or a_pod("backend"),
        IP=flow_pb2.IP(source=source_ip, destination=destination_ip),
        node_name="demo/n1",
    )
    flow.time.CopyFrom(a_time(at))
    layer4 = getattr(flow.l4, protocol)
    if protocol.startswith("ICMP"):
        layer4.type = port
    else:
        layer4.source_port, layer4.destination_port = 40_000, port
    if http is not None:
        flow.l7.http.CopyFrom(http)
    return flow


def a_response(flow: flow_pb2.Flow | None = None, **fields: Any) -> bytes:
    """Return a flow as relay sends it."""
    response = observer_pb2.GetFlowsResponse(flow=flow or a_flow(**fields), node_name="demo/n1")
    response.time.CopyFrom(response.flow.time)
    return response.SerializeToString()


def a_lost_events(count: int, *, at: float = NOON) -> bytes:
    """Return a message about lost events."""
    lost = flow_pb2.LostEvent(source=flow_pb2.HUBBLE_RING_BUFFER, num_events_lost=count)
    response = observer_pb2.GetFlowsResponse(lost_events=lost, node_name="demo/n2", time=a_time(at))
    return response.SerializeToString()


def a_batch(
    responses: Sequence[bytes],
    *,
    cluster: str = CLUSTER,
    state: int = flows_pb2.LIVE,
    read_until: float | None = None,
    **fields: Any,
) -> port.Outgoing:
    """Return a record of flows."""
    batch = flows_pb2.FlowBatch(
        cluster=cluster,
        responses=responses,
        state=state,  # type: ignore[arg-type]
        **fields,
    )
    if read_until is not None:
        batch.read_until.CopyFrom(a_time(read_until))
    return port.Outgoing(topic=topics.FLOWS.name, value=batch.SerializeToString())


def a_policy(
    name: str = "backend-ingress",
    *,
    app: str = "backend",
    namespace: str = "shop",
    allow: Sequence[str] = ("frontend",),
    alerts: bool = True,
    annotations: dict[str, str] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    """Return a policy that lets only some apps call another one."""
    if not spec:
        friends = [{"matchLabels": {"app": friend}} for friend in allow]
        ports = [{"ports": [{"port": "8080", "protocol": "TCP"}]}]
        spec = {"ingress": [{"fromEndpoints": friends, "toPorts": ports}]}
    wish = {"app.gitlab.com/alert": "true"} if alerts else {}
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"app.gitlab.com/proj": "123"},
            "annotations": wish | (annotations or {}),
        },
        "spec": {"endpointSelector": {"matchLabels": {"app": app}}, **spec},
    }


def policy_key(manifest: dict[str, Any], cluster: str = CLUSTER) -> str:
    """Return the key under which a policy stands on the topic."""
    metadata = manifest["metadata"]
    return f"{cluster}/{manifest['kind']}/{metadata.get('namespace', '')}/{metadata['name']}"


def a_policy_record(
    manifest: dict[str, Any], *, cluster: str = CLUSTER, since: float | None = None
) -> port.Outgoing:
    """Return a policy's record."""
    value = messages.PolicyObject(
        cluster=cluster,
        manifest=manifest,
        since=None if since is None else datetime.fromtimestamp(since, tz=UTC),
    )
    return port.Outgoing(
        topic=topics.POLICIES.name,
        key=policy_key(manifest, cluster).encode(),
        value=value.model_dump_json().encode(),
    )


def a_deletion(manifest: dict[str, Any], *, at: float, cluster: str = CLUSTER) -> port.Outgoing:
    """Return the record that says when a policy ceased to hold; its tombstone comes after it."""
    value = messages.PolicyDeleted(cluster=cluster, at=datetime.fromtimestamp(at, tz=UTC))
    return port.Outgoing(
        topic=topics.POLICIES.name,
        key=policy_key(manifest, cluster).encode(),
        value=value.model_dump_json().encode(),
    )


def a_tombstone(manifest: dict[str, Any], *, cluster: str = CLUSTER) -> port.Outgoing:
    """Return the record without a value that ends a policy's key."""
    key = policy_key(manifest, cluster).encode()
    return port.Outgoing(topic=topics.POLICIES.name, key=key, value=None)


def a_marker(cluster: str = CLUSTER) -> port.Outgoing:
    """Return the record that says that all policies are known."""
    value = messages.Synced(cluster=cluster, at=datetime.fromtimestamp(NOON, tz=UTC), objects=1)
    return port.Outgoing(
        topic=topics.POLICIES.name,
        key=f"{cluster}/synced".encode(),
        value=value.model_dump_json().encode(),
    )


def a_time(seconds: float) -> Timestamp:
    """Return a protobuf time."""
    stamp = Timestamp()
    stamp.FromNanoseconds(int(seconds * 1_000_000_000))
    return stamp
