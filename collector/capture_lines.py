"""One line of a capture, as `hubble observe -o jsonpb` and Hubble's exporter write it.

A bare flow is read as well. Field names are the proto's or their JSON spelling; unknown fields are
passed over.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf import json_format

from collector import filters
from schemas.hubble import flow_pb2, observer_pb2

SKIPPED = ("agent_event", "agentEvent", "debug_event", "debugEvent", "node_status", "nodeStatus")
"""What the exporter and relay write besides, and no flow is."""
BARE = frozenset({"uuid", "verdict", "IP", "event_type", "eventType"})


class NotReadable(ValueError):
    """A line that is neither a flow nor anything else that a capture may hold."""


def parse(line: bytes, wanted: filters.Filters) -> bytes | None:
    """Return a line as relay would have sent it, or None where it is not wanted.

    Raises NotReadable with a reason that holds nothing of the line's content.
    """
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise NotReadable(f"not JSON: {type(error).__name__}") from None
    if not isinstance(found, dict):
        raise NotReadable("not a JSON object")
    if any(name in found for name in SKIPPED):
        return None
    if not any(name in found for name in ("flow", "lost_events", "lostEvents")):
        if not found.keys() & BARE:
            raise NotReadable("neither a flow nor lost events")
        found = {"flow": found}
    if _is_unwanted(found.get("flow"), wanted.allow):
        return None
    response = observer_pb2.GetFlowsResponse()
    try:
        json_format.ParseDict(found, response, ignore_unknown_fields=True)
    except (json_format.ParseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise NotReadable(f"not a response of Hubble: {type(error).__name__}") from None
    if response.HasField("flow"):
        if not filters.passes(response.flow, wanted):
            return None
        _complete(response)
    return response.SerializeToString()


def _complete(response: observer_pb2.GetFlowsResponse) -> None:
    flow = response.flow
    if not response.node_name:
        response.node_name = flow.node_name
    if not response.HasField("time") and flow.HasField("time"):
        response.time.CopyFrom(flow.time)
    if not flow.HasField("time") and response.HasField("time"):
        flow.time.CopyFrom(response.time)


def _is_unwanted(flow: object, allow: Iterable[flow_pb2.FlowFilter]) -> bool:
    """Return whether the verdict alone rules a flow out: ten times faster than decoding it."""
    if not isinstance(flow, Mapping):
        return False
    name: Any = flow.get("verdict")
    names = flow_pb2.Verdict.keys()
    if not isinstance(name, str) or name not in names:
        return False
    number = flow_pb2.Verdict.Value(name)
    items = list(allow)
    return bool(items) and all(item.verdict and number not in item.verdict for item in items)
