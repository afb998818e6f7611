"""The connection to relay, and its calls with undecoded answers."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import grpc
from grpc.experimental import ChannelOptions

from collector import instants, relay_secrets
from collector.filters import Filters
from collector.settings import CollectorSettings
from schemas.hubble import observer_pb2
from schemas.picket.v1 import flows_pb2

# The thread that waits for a message reads the socket itself, in place of having it handed over by
# a pool of grpc's: a seventh of the CPU time. Where no thread waits, nothing is read and no
# connection made: see `await_connection`. grpc looks at it when the first channel is opened.
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_client")

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


class _Line:
    """One channel, its methods, and the streams that were opened over it."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel
        observer = "/observer.Observer/"
        self.flows: Callable[..., Any] = channel.unary_stream(
            observer + "GetFlows",
            request_serializer=observer_pb2.GetFlowsRequest.SerializeToString,
            response_deserializer=None,
        )
        self.get_nodes: Callable[..., Any] = channel.unary_unary(
            observer + "GetNodes",
            request_serializer=observer_pb2.GetNodesRequest.SerializeToString,
            response_deserializer=observer_pb2.GetNodesResponse.FromString,
        )
        self.streams: list[Any] = []
        self.retired = 0.0
        """Since when no new calls are made, in monotonic seconds."""

    def nodes(self) -> list[observer_pb2.Node] | None:
        try:
            response = self.get_nodes(observer_pb2.GetNodesRequest(), timeout=CALL_SECONDS)
        except grpc.RpcError as error:
            if code(error) is grpc.StatusCode.UNIMPLEMENTED:
                return None
            raise
        return list(response.nodes)

    @property
    def is_done(self) -> bool:
        """Return whether nothing uses it any more, once retired."""
        in_use = time.monotonic() - self.retired < 2 * CALL_SECONDS
        return not in_use and not any(stream.is_active() for stream in self.streams)


class Relay:
    """The connection. Thread-safe, as grpc's channels are."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._line = _Line(channel)
        self._retired: list[_Line] = []
        self._lock = threading.Lock()
        self.closed = threading.Event()

    def stream(self, request: observer_pb2.GetFlowsRequest) -> Call:
        """Open a stream that lasts until cancelled."""
        with self._lock:
            line = self._line
            call = line.flows(request)
            line.streams = [each for each in line.streams if each.is_active()] + [call]
        opened: Call = call
        return opened

    def nodes(self) -> list[observer_pb2.Node] | None:
        """Return the cluster's nodes; None where the server is no relay. Raises grpc.RpcError."""
        return self._line.nodes()

    def await_connection(self, timeout: float) -> None:
        """Wait until relay answers, at most so many seconds; the next call says what is wrong."""
        with contextlib.suppress(grpc.RpcError, ValueError):
            request = observer_pb2.GetNodesRequest()
            self._line.get_nodes(request, timeout=timeout, wait_for_ready=True)

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
        answers: Iterable[bytes] = self._line.flows(request, timeout=CALL_SECONDS)
        heads = map(flows_pb2.ResponseHead.FromString, answers)
        return {head.node_name: head.flow for head in heads if head.HasField("flow")}

    def since(self, time: int, *, filters: Filters, timeout: float) -> Call:
        """Ask for what the nodes' rings hold from a time on, in nanoseconds, and for no more."""
        request = observer_pb2.GetFlowsRequest(
            since=instants.timestamp(time), whitelist=filters.allow, blacklist=filters.deny
        )
        call: Call = self._line.flows(request, timeout=timeout)
        return call

    def renew(self, channel: grpc.Channel) -> None:
        """Make new calls over this channel if it works; else close it and raise grpc.RpcError.

        Streams go on over the channel that they have.
        """
        line = _Line(channel)
        try:
            line.nodes()
        except grpc.RpcError:
            channel.close()
            raise
        with self._lock:
            before, self._line = self._line, line
            before.retired = time.monotonic()
            self._retired.append(before)
        if self.closed.is_set():
            channel.close()

    def tidy(self) -> None:
        """Close the channels that nothing uses any more."""
        with self._lock:
            done = [line for line in self._retired if line.is_done]
            self._retired = [line for line in self._retired if line not in done]
        for line in done:
            line.channel.close()

    def close(self) -> None:
        """Close the channels and end their calls."""
        self.closed.set()
        with self._lock:
            lines = [self._line, *self._retired]
        for line in lines:
            line.channel.close()


def connect(settings: CollectorSettings) -> Relay:
    """Open a channel to the relay of the settings; connecting happens with the first call.

    Raises UserError where a file for TLS cannot be used.
    """
    return Relay(open_channel(settings, relay_secrets.read(settings) if settings.tls else None))


def open_channel(
    settings: CollectorSettings, secrets: relay_secrets.Secrets | None
) -> grpc.Channel:
    """Open a channel, over TLS where there are secrets for it."""
    address = settings.relay or ""
    options = list(OPTIONS)
    if secrets is None:
        return grpc.insecure_channel(address, options=options)
    credentials = grpc.ssl_channel_credentials(
        root_certificates=secrets.ca,
        private_key=secrets.key,
        certificate_chain=secrets.certificate,
    )
    if settings.tls_server_name:
        options.append(("grpc.ssl_target_name_override", settings.tls_server_name))
    return grpc.secure_channel(address, credentials, options=options)


def code(error: grpc.RpcError) -> grpc.StatusCode:
    """Return the status code of a failed call."""
    found = error.code() if isinstance(error, grpc.Call) else grpc.StatusCode.UNKNOWN
    return found if isinstance(found, grpc.StatusCode) else grpc.StatusCode.UNKNOWN


def explain(error: grpc.RpcError) -> str:
    """Return one line about a failed call."""
    details = error.details() if isinstance(error, grpc.Call) else str(error)
    return f"{code(error).name}: {details}"
