"""The ends of flows, known by their bytes.

An endpoint is decoded once for each distinct sequence of bytes that Hubble sent, so neither a
reused identity number nor one that means something else on another node can lead to wrong labels.
"""

from dataclasses import dataclass

from enricher.caching import Generations
from policies.labels import LabelSet
from schemas.hubble import flow_pb2

KNOWN = 32_768


@dataclass(frozen=True, slots=True, eq=False)
class Endpoint:
    """One end of flows; compared by being the same object."""

    labels: LabelSet
    name: str
    """`namespace/pod` for a pod, else empty."""


class Endpoints:
    """All endpoints seen lately, bounded."""

    __slots__ = ("_known", "young")

    def __init__(self, size: int = KNOWN) -> None:
        self._known: Generations[bytes, Endpoint] = Generations(size)
        self.young = self._known.young

    def of(self, raw: bytes) -> Endpoint:
        """Return the endpoint of a `flow.Endpoint`'s bytes; no bytes are an end without labels.

        Raises google.protobuf.message.DecodeError for bytes that are none.
        """
        known = self._known.find(raw)
        if known is None:
            known = _decode(raw)
            self._known.put(raw, known)
        return known


def _decode(raw: bytes) -> Endpoint:
    message = flow_pb2.Endpoint.FromString(raw)
    name = message.pod_name
    if name and message.namespace:
        name = f"{message.namespace}/{name}"
    return Endpoint(LabelSet.of(message.labels), name)
