"""The messages that a batch writes to picket.matches.

Matches are put together from text that was made once for each route: a batch may have thousands.
Their ids say what they are about and which offsets they came from, and nothing else does.
"""

import functools
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from json.encoder import encode_basestring as quoted
from typing import Final

from google.protobuf import message as protobuf

from bus import port
from enricher import aggregation, samples
from enricher.aggregation import Row
from enricher.explaining import source
from enricher.progress import Tell
from enricher.reading import MINUTE, NANOS
from enricher.work import Work, utc
from policies import wording
from policies.naming import Party
from schemas import messages, topics

TOP: Final = 20
"""How many ports, and how many peer addresses, a match names."""
TEXT: Final = 500
"""How long the name of a party may be: some are made of all labels."""
_DETAIL: Final = 300
_REASON: Final = 200
_NOTICES: Final = 500
"""How many notices one record carries: a gap at each of thousands of nodes must fit."""


def span(offsets: Mapping[port.Partition, tuple[int, int]]) -> str:
    """Return a short text that stands for these offsets, the same for the same offsets."""
    text = ";".join(
        f"{partition.topic}/{partition.number}:{first}-{after}"
        for partition, (first, after) in sorted(offsets.items())
    )
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def matches(rows: Iterable[Row], span: str) -> Iterator[port.Outgoing]:
    """Return a record for each row."""
    topic = topics.MATCHES.name
    for row in rows:
        value = _match(row, span)
        yield port.Outgoing(topic=topic, key=row.route.fingerprint.encode(), value=value)


def _match(row: Row, span: str) -> bytes:
    route = row.route
    terms = route.terms
    ports = row.ports
    minute = _minute(row.minute)
    last = _within(minute, row.last)
    only = next(iter(ports)) if len(ports) == 1 else None
    sentence = route.sentence(wording.port(only.protocol, only.port) if only else "")
    port_counts = ",".join(
        [
            f'{{"protocol":"{transport.protocol}","port":{transport.port},"count":{count}}}'
            for transport, count in aggregation.top(ports, TOP)
        ]
    )
    peer_counts = ",".join(
        [
            f'{{"address":{quoted(address)},"name":{quoted(name)},"count":{count}}}'
            for (address, name), count in aggregation.top(row.addresses, TOP)
        ]
    )
    kept = ",".join(filter(None, map(_sample, row.samples))) if row.samples else ""
    return (
        f'{{"id":"{route.fingerprint}-{row.minute // NANOS}-{span}","time":"{last}"'
        f',{terms.about},"data":{{{terms.fixed}'
        f',"fingerprint":"{route.fingerprint}","sentence":{sentence}'
        f',"subject":{_party(route.subject)},"peer":{_party(route.peer)}'
        f',"minute":"{minute}00Z","count":{row.count}'
        f',"first_seen":"{_within(minute, row.first)}","last_seen":"{last}"'
        f',"ports":[{port_counts}],"peers":[{peer_counts}],"samples":[{kept}]}}}}'
    ).encode(errors="replace")


def _party(party: Party) -> str:
    return (
        f'{{"kind":"{party.kind}","namespace":{quoted(party.namespace)}'
        f',"name":{quoted(party.app)},"text":{quoted(party.text[:TEXT])}}}'
    )


def _sample(raw: bytes) -> str:
    """Return a sample as JSON, empty where there is nothing to show."""
    try:
        sample = samples.of(raw)
    except protobuf.DecodeError:
        # The view of it could be read and the whole cannot: it counts, but nobody can look at it.
        return ""
    text = json.dumps(sample, ensure_ascii=False, separators=(",", ":"))
    return text if len(text.encode(errors="replace")) <= samples.BYTES_LIMIT else ""


def progress(tell: Tell, work: Work) -> Iterator[port.Outgoing]:
    """Return the records about one cluster in one partition: more than one for many notices."""
    notices = [
        messages.Notice(
            kind=kind,
            reason=reason[:_REASON],
            node=node[:_REASON],
            count=found.count,
            first_seen=utc(found.first),
            last_seen=utc(found.last),
            detail=found.detail[:_DETAIL],
        )
        for (kind, reason, node), found in tell.advance.notices.items()
    ]
    standing = tell.standing
    for start in range(0, len(notices) or 1, _NOTICES):
        event = messages.ProgressEvent(
            id=f"{tell.cluster}-{tell.partition}-{work.now}-{span(work.offsets)}-{start}",
            source=source(tell.cluster),
            subject=tell.cluster,
            time=utc(work.now),
            data=messages.Progress(
                cluster=tell.cluster,
                partition=tell.partition,
                flow_time=utc(standing.until) if standing.until else None,
                state=standing.state,
                flows=standing.flows if not start else 0,
                notices=notices[start : start + _NOTICES],
            ),
        )
        yield port.Outgoing(
            topic=topics.MATCHES.name,
            key=tell.cluster.encode(),
            value=event.model_dump_json().encode(),
        )


@functools.lru_cache(maxsize=256)
def _minute(nanos: int) -> str:
    """Return a minute as far as all times within it have it in common."""
    return utc(nanos).strftime("%Y-%m-%dT%H:%M:")


def _within(minute: str, nanos: int) -> str:
    microseconds = nanos % MINUTE // 1000
    return f"{minute}{microseconds // 1_000_000:02d}.{microseconds % 1_000_000:06d}Z"
