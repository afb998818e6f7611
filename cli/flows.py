"""`picket flows`: what stands on picket.flows, as `hubble observe` prints flows."""

import itertools
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import typer
from google.protobuf import json_format
from google.protobuf.message import DecodeError

from bus import port
from cli import flowlines, options, reading, signals, stages
from runtime import clock
from runtime.errors import UserError
from schemas import topics
from schemas.hubble import flow_pb2, observer_pb2
from schemas.picket.v1 import flows_pb2

DEFAULT_LAST = 20


class Style(StrEnum):
    """How a flow is written."""

    COMPACT = "compact"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which flows to show; what is empty does not choose."""

    cluster: str = ""
    namespace: str = ""
    verdict: int | None = None
    since: datetime | None = None

    def takes(self, response: observer_pb2.GetFlowsResponse) -> bool:
        """Return whether to show a response. Lost events and the like have no namespace."""
        flow = response.flow
        if self.since is not None and _seconds(response) < self.since.timestamp():
            return False
        if self.verdict is not None and flow.verdict != self.verdict:
            return False
        return not self.namespace or self.namespace in {
            flow.source.namespace,
            flow.destination.namespace,
        }


def flows(
    context: typer.Context,
    *,
    last: Annotated[
        int | None, typer.Option("--last", min=1, help="Only the newest so many.", metavar="N")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", help="Only since then: 10m, 2h30m or an RFC 3339 time."),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on as flows come, until Ctrl-C.")
    ] = False,
    verdict: Annotated[
        str | None, typer.Option("--verdict", help="DROPPED, AUDIT, FORWARDED, …")
    ] = None,
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="At either end of the flow.")
    ] = "",
    cluster: Annotated[str, typer.Option("--cluster", help="Of one cluster only.")] = "",
    style: Annotated[
        Style, typer.Option("--output", "-o", help="json is what hubble observe -o jsonpb prints.")
    ] = Style.COMPACT,
    state: options.StateFolder = None,
    config: options.Config = None,
    **values: Any,
) -> None:
    """Print flows from the log, as hubble observe prints them."""
    moment = reading.moment(since, clock.SYSTEM.utc()) if since else None
    wanted = Wanted(cluster=cluster, namespace=namespace, verdict=_verdict(verdict), since=moment)
    log = stages.opened(
        options.bus(context, values, config, options.state_folder(state)), ensure=False
    )
    stop = threading.Event()
    signals.stopping(stop)
    try:
        reader = log.reader([topics.FLOWS.name])
        found = _chosen(reader, wanted, last=last, follow=follow, stop=stop)
        for response in itertools.takewhile(lambda _: not stop.is_set(), found):
            sys.stdout.write(_written(response, style) + "\n")
            if follow:
                sys.stdout.flush()
        reader.close()
    finally:
        log.close()


def _chosen(
    reader: port.Reader, wanted: Wanted, *, last: int | None, follow: bool, stop: threading.Event
) -> Iterator[observer_pb2.GetFlowsResponse]:
    find = finder(wanted)
    if last is not None or (wanted.since is None and not follow):
        yield from sorted(reading.newest(reader, find, wanted=last or DEFAULT_LAST), key=_seconds)
    elif wanted.since is not None:
        # No flow is written before it happens, so nothing newer stands further back.
        reading.since(reader, wanted.since)
        for record in port.read_to_end(reader):
            yield from find(record)
    else:
        reading.at_end(reader)
    if follow:
        for record in reading.follow(reader, stop):
            yield from find(record)


def finder(wanted: Wanted) -> Callable[[port.Record], Iterator[observer_pb2.GetFlowsResponse]]:
    """Return what makes the wanted responses of a record; what cannot be read is passed over."""

    def find(record: port.Record) -> Iterator[observer_pb2.GetFlowsResponse]:
        batch = flows_pb2.FlowBatch()
        try:
            batch.ParseFromString(record.value or b"")
        except DecodeError:
            return
        if wanted.cluster and batch.cluster != wanted.cluster:
            return
        for raw in batch.responses:
            response = observer_pb2.GetFlowsResponse()
            try:
                response.ParseFromString(raw)
            except DecodeError:
                continue
            if wanted.takes(response):
                yield response

    return find


def _written(response: observer_pb2.GetFlowsResponse, style: Style) -> str:
    if style is Style.COMPACT:
        return flowlines.line(response)
    return json_format.MessageToJson(response, preserving_proto_field_name=True, indent=None)


def _verdict(name: str | None) -> int | None:
    if name is None:
        return None
    try:
        return flow_pb2.Verdict.Value(name.upper())
    except ValueError:
        known = ", ".join(flow_pb2.Verdict.keys()[1:])
        raise UserError(f"--verdict must be one of {known}, not {name!r}") from None


def _seconds(response: observer_pb2.GetFlowsResponse) -> float:
    stamp = response.time if response.HasField("time") else response.flow.time
    return stamp.seconds + stamp.nanos / 1e9
