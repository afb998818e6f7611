"""Which flows are wanted, in Hubble's own terms: filters that relay evaluates.

For captures a part of them is evaluated here, by the rules of Hubble 1.19: any allow filter (none
allows all) and no deny filter; within a filter fields are ANDed, the values of a field ORed. What
is not evaluated here is refused beforehand, never ignored.
"""

import fnmatch
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from schemas.hubble import flow_pb2

POLICY_VERDICT = 5
L7 = 129


class Choice(StrEnum):
    """The ready-made filters."""

    DENIED = "denied"
    VERDICTS = "verdicts"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Filters:
    """What to ask a relay for."""

    allow: tuple[flow_pb2.FlowFilter, ...] = ()
    deny: tuple[flow_pb2.FlowFilter, ...] = ()


def chosen(choice: Choice, *, allow: str | None = None, deny: str | None = None) -> Filters:
    """Return a ready-made filter; own allow filters take its place, own deny filters add to it.

    Raises ValueError as `parse` does.
    """
    return Filters(
        allow=parse(allow) if allow is not None else _ready_made(choice),
        deny=parse(deny) if deny is not None else (),
    )


def parse(text: str) -> tuple[flow_pb2.FlowFilter, ...]:
    """Read flow filters from JSON, one object or a list, or from @FILE.

    Raises ValueError with one line that says what is wrong.
    """
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"cannot read flow filters from {text[1:]}: {error}") from None
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ValueError(f"flow filters must be JSON: {error}") from None
    items: Sequence[Any] = found if isinstance(found, list) else [found]
    try:
        return tuple(json_format.ParseDict(item, flow_pb2.FlowFilter()) for item in items)
    except (json_format.ParseError, TypeError, AttributeError) as error:
        raise ValueError(f"not a flow filter: {error}") from None


def not_evaluated(filters: Filters) -> tuple[str, ...]:
    """Return the fields that `passes` cannot evaluate, by name."""
    used = {
        field.name for item in (*filters.allow, *filters.deny) for field, _ in item.ListFields()
    }
    return tuple(sorted(used - _RULES.keys()))


def passes(flow: flow_pb2.Flow, filters: Filters) -> bool:
    """Return whether a flow is wanted, as Hubble would decide."""
    if filters.allow and not any(_matches(flow, item) for item in filters.allow):
        return False
    return not any(_matches(flow, item) for item in filters.deny)


def _ready_made(choice: Choice) -> tuple[flow_pb2.FlowFilter, ...]:
    if choice is Choice.ALL:
        return ()
    # One drop yields a drop event and a verdict event: only the latter, and L7, are counted.
    wanted = flow_pb2.FlowFilter(
        event_type=[
            flow_pb2.EventTypeFilter(type=POLICY_VERDICT),
            flow_pb2.EventTypeFilter(type=L7),
        ]
    )
    if choice is Choice.DENIED:
        wanted.verdict.extend([flow_pb2.DROPPED, flow_pb2.AUDIT])
    return (wanted,)


def _matches(flow: flow_pb2.Flow, item: flow_pb2.FlowFilter) -> bool:
    return all(
        any(_RULES[field.name](flow, value) for value in values)
        for field, values in item.ListFields()
    )


def _event_type(flow: flow_pb2.Flow, wanted: flow_pb2.EventTypeFilter) -> bool:
    event = flow.event_type
    return event.type == wanted.type and (
        not wanted.match_sub_type or event.sub_type == wanted.sub_type
    )


def _pod(endpoint: flow_pb2.Endpoint, wanted: str) -> bool:
    """Match `namespace/prefix`, `namespace/`, or a prefix in namespace default."""
    namespace, slash, prefix = wanted.rpartition("/")
    if not slash:
        namespace = "default"
    return endpoint.namespace == namespace and endpoint.pod_name.startswith(prefix)


def _node(flow: flow_pb2.Flow, wanted: str) -> bool:
    """Match `cluster/node` or `node`, with wildcards."""
    name = flow.node_name if "/" in wanted else flow.node_name.rpartition("/")[2]
    return fnmatch.fnmatchcase(name, wanted)


_RULES: Mapping[str, Callable[[flow_pb2.Flow, Any], bool]] = {
    "uuid": lambda flow, wanted: flow.uuid == wanted,
    "verdict": lambda flow, wanted: flow.verdict == wanted,
    "event_type": _event_type,
    "drop_reason_desc": lambda flow, wanted: flow.drop_reason_desc == wanted,
    "traffic_direction": lambda flow, wanted: flow.traffic_direction == wanted,
    "source_pod": lambda flow, wanted: _pod(flow.source, wanted),
    "destination_pod": lambda flow, wanted: _pod(flow.destination, wanted),
    "source_identity": lambda flow, wanted: flow.source.identity == wanted,
    "destination_identity": lambda flow, wanted: flow.destination.identity == wanted,
    "node_name": _node,
}
