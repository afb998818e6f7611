"""`picket topics`: what the topics are, what stands on them, and who is behind."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message

from bus import port
from cli import options, output, reading, stages
from cli.output import Output
from runtime.errors import UserError
from schemas import topics
from schemas.hubble import observer_pb2
from schemas.picket.v1 import flows_pb2

GROUPS = {topics.FLOWS.name: "picket-enricher", topics.MATCHES.name: "picket-alert-api"}
"""Who has to keep up with which topic."""

_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One topic as it stands now."""

    topic: topics.Topic
    partitions: int
    first: int
    end: int
    lag: int | None


def list_topics(
    context: typer.Context,
    *,
    style: options.OutputFormat = Output.TABLE,
    state: options.StateFolder = None,
    config: options.Config = None,
    **values: Any,
) -> None:
    """List the topics: how each is configured, how far it goes, and how far its reader is behind.

    Offsets may skip: END less FIRST is no count of records, but their bound.
    """
    if context.invoked_subcommand is not None:
        return
    log = stages.opened(
        options.bus(context, values, config, options.state_folder(state)), ensure=False
    )
    try:
        rows = [_row(log, topic) for topic in topics.ALL]
    finally:
        log.close()
    if style is not Output.TABLE:
        output.data([_plain(row) for row in rows], style)
        return
    columns = ("TOPIC", "KEPT", "PARTITIONS", "FIRST", "END", "LAG", "WHAT")
    cells = [
        (
            row.topic.name,
            _kept(row.topic),
            row.partitions,
            row.first,
            row.end,
            "" if row.lag is None else row.lag,
            row.topic.summary,
        )
        for row in rows
    ]
    right = {"PARTITIONS", "FIRST", "END", "LAG"}
    output.console().print(output.table(columns, cells, right=right))


def show(
    context: typer.Context,
    *,
    topic: Annotated[str, typer.Argument(help="Its name; picket. may be left out.")],
    last: Annotated[
        int, typer.Option("--last", min=0, help="Print so many of its newest records.", metavar="N")
    ] = 1,
    style: options.OutputFormat = Output.TABLE,
    state: options.StateFolder = None,
    config: options.Config = None,
    **values: Any,
) -> None:
    """Show one topic: its definition and its newest records, decoded."""
    definition = _named(topic)
    log = stages.opened(
        options.bus(context, values, config, options.state_folder(state)), ensure=False
    )
    try:
        row = _row(log, definition)
        reader = log.reader([definition.name])
        records = reading.newest(reader, lambda record: (record,), wanted=last)
        reader.close()
    finally:
        log.close()
    shown = [_record(definition, record) for record in records]
    if style is not Output.TABLE:
        output.data({**_plain(row), "records": shown}, style)
        return
    console = output.console()
    facts = (
        ("topic", definition.name),
        ("what", definition.summary),
        ("key", definition.key),
        ("value", definition.encoding.value),
        ("kept", _kept(definition)),
        ("largest record", f"{definition.max_record_bytes:,} bytes"),
        ("partitions", row.partitions),
        ("offsets", f"{row.first} to {row.end}"),
        ("lag", "nobody has to keep up" if row.lag is None else row.lag),
    )
    console.print(output.table(("", ""), facts))
    for record in shown:
        console.print()
        console.print_json(json.dumps(record))


def _named(name: str) -> topics.Topic:
    for topic in topics.ALL:
        if name in {topic.name, topic.name.removeprefix("picket.")}:
            return topic
    known = ", ".join(topic.name for topic in topics.ALL)
    raise UserError(f"there is no topic {name}; there are {known}")


def _row(log: port.Log, topic: topics.Topic) -> Row:
    reader = log.reader([topic.name])
    try:
        first, end = reader.beginning(), reader.end()
    finally:
        reader.close()
    group = GROUPS.get(topic.name)
    lag = None
    if group is not None:
        lag = sum(
            item.end - max(item.committed or 0, first.get(item.partition, 0))
            for item in log.lag(group, [topic.name])
        )
    return Row(
        topic=topic,
        partitions=len(first),
        first=min(first.values(), default=0),
        end=max(end.values(), default=0),
        lag=lag,
    )


def _plain(row: Row) -> dict[str, Any]:
    topic = row.topic
    return {
        "topic": topic.name,
        "summary": topic.summary,
        "key": topic.key,
        "encoding": topic.encoding.value,
        "cleanup": topic.cleanup.value,
        "retention_ms": topic.retention_ms,
        "max_record_bytes": topic.max_record_bytes,
        "internal": topic.internal,
        "partitions": row.partitions,
        "first": row.first,
        "end": row.end,
        "lag": row.lag,
    }


def _kept(topic: topics.Topic) -> str:
    if topic.cleanup is topics.Cleanup.COMPACT:
        return "newest a key"
    if topic.retention_ms is None:
        return "for ever"
    unit, word = next(
        ((unit, word) for unit, word in _UNITS if topic.retention_ms % unit == 0), (1, "ms")
    )
    return f"{topic.retention_ms // unit} {word}"


def _record(topic: topics.Topic, record: port.Record) -> dict[str, Any]:
    return {
        "partition": record.partition.number,
        "offset": record.offset,
        "time": datetime.fromtimestamp(record.timestamp / 1000, tz=UTC).isoformat(),
        "key": None if record.key is None else record.key.decode("utf-8", "replace"),
        "headers": {name: value.decode("utf-8", "replace") for name, value in record.headers},
        "value": _value(topic, record.value),
    }


def _value(topic: topics.Topic, value: bytes | None) -> Any:
    if value is None:
        return None
    try:
        if topic.encoding is not topics.Encoding.PROTOBUF:
            return json.loads(value)
        if topic is topics.COLLECTOR:
            return _protobuf(flows_pb2.Checkpoint(), value)
        batch = flows_pb2.FlowBatch.FromString(value)
        responses = list(_responses(batch))
        del batch.responses[:]
        return {**_protobuf(batch), "responses": responses}
    except (ValueError, DecodeError):
        return {"unreadable": base64.b64encode(value).decode()}


def _responses(batch: flows_pb2.FlowBatch) -> Iterator[Any]:
    for raw in batch.responses:
        try:
            yield _protobuf(observer_pb2.GetFlowsResponse(), raw)
        except DecodeError:
            yield {"unreadable": base64.b64encode(raw).decode()}


def _protobuf(message: Message, value: bytes | None = None) -> dict[str, Any]:
    if value is not None:
        message.ParseFromString(value)
    return json_format.MessageToDict(message, preserving_proto_field_name=True)
