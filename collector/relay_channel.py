"""The connection to relay, and its calls with undecoded answers."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import grpc
from grpc.experimental import ChannelOptions

from collector.filters import Filters
from collector.settings import CollectorSettings
from runtime.errors import UserError
from schemas.hubble import observer_pb2
from schemas.picket.v1 import flows_pb2

CALL_SECONDS = 5.0
OPTIONS: tuple[tuple[str, Any], ...] = (
    # Spares a thread and a lock handoff for every message: a fifth of the CPU time.
    (ChannelOptions.SingleThreadedUnaryStream, 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
)


class Call(Protocol):
    """A stream of responses that another thread may cancel."""

    def __iter__(self) -> Iterator[bytes]:
        """Yield responses as they stand on the wire. Raises grpc.RpcError."""

    def cancel(self) -> object:
        """End the stream, also while it is idle."""


class Relay:
    """One channel. Thread-safe, as grpc's channels are."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel
        observer = "/observer.Observer/"
        self._flows: Callable[..., Any] = channel.unary_stream(
            observer + "GetFlows",
            request_serializer=observer_pb2.GetFlowsRequest.SerializeToString,
            response_deserializer=None,
        )
        self._nodes: Callable[..., Any] = channel.unary_unary(
            observer + "GetNodes",
            request_serializer=observer_pb2.GetNodesRequest.SerializeToString,
            response_deserializer=observer_pb2.GetNodesResponse.FromString,
        )

    def stream(self, request: observer_pb2.GetFlowsRequest) -> Call:
        """Open a stream that lasts until cancelled."""
        call: Call = self._flows(request)
        return call

    def nodes(self) -> list[observer_pb2.Node] | None:
        """Return the cluster's nodes; None where the server is no relay. Raises grpc.RpcError."""
        try:
            response = self._nodes(observer_pb2.GetNodesRequest(), timeout=CALL_SECONDS)
        except grpc.RpcError as error:
            if code(error) is grpc.StatusCode.UNIMPLEMENTED:
                return None
            raise
        return list(response.nodes)

    def probe(
        self, *, filters: Filters | None = None, first: bool = False
    ) -> dict[str, flows_pb2.FlowHead]:
        """Return each node's newest flow, or its oldest, of those that its ring releases.

        Raises grpc.RpcError.
        """
        request = observer_pb2.GetFlowsRequest(number=1, first=first)
        if filters is not None:
            request.whitelist.extend(filters.allow)
            request.blacklist.extend(filters.deny)
        answers: Iterable[bytes] = self._flows(request, timeout=CALL_SECONDS)
        heads = map(flows_pb2.ResponseHead.FromString, answers)
        return {head.node_name: head.flow for head in heads if head.HasField("flow")}

    def close(self) -> None:
        """Close the channel and end its calls."""
        self._channel.close()


def connect(settings: CollectorSettings) -> Relay:
    """Open a channel to the relay of the settings; connecting happens with the first call.

    Raises UserError where a file for TLS cannot be used.
    """
    address = settings.relay or ""
    options = list(OPTIONS)
    if not settings.tls:
        return Relay(grpc.insecure_channel(address, options=options))
    credentials = grpc.ssl_channel_credentials(
        root_certificates=_pem(settings.tls_ca_file),
        private_key=_pem(settings.tls_key_file),
        certificate_chain=_pem(settings.tls_certificate_file),
    )
    if settings.tls_server_name:
        options.append(("grpc.ssl_target_name_override", settings.tls_server_name))
    return Relay(grpc.secure_channel(address, credentials, options=options))


def code(error: grpc.RpcError) -> grpc.StatusCode:
    """Return the status code of a failed call."""
    found = error.code() if isinstance(error, grpc.Call) else grpc.StatusCode.UNKNOWN
    return found if isinstance(found, grpc.StatusCode) else grpc.StatusCode.UNKNOWN


def explain(error: grpc.RpcError) -> str:
    """Return one line about a failed call."""
    details = error.details() if isinstance(error, grpc.Call) else str(error)
    return f"{code(error).name}: {details}"


def _pem(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    if b"-----BEGIN" not in content:
        raise UserError(f"{path} is not a PEM file")
    return content
