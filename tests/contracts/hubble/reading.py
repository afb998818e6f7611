"""Asking an observer, a node's or relay's, as a client does that has a deadline."""

import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

import grpc
from google.protobuf import timestamp_pb2

from schemas.hubble import flow_pb2, observer_pb2, observer_pb2_grpc

PATIENCE_SECONDS = 20.0
Answer = observer_pb2.GetFlowsResponse


class Client:
    """An observer at an address."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.stub = observer_pb2_grpc.ObserverStub(channel)

    def read(self, **request: Any) -> list[Answer]:
        """Read what is there, to the end. Raises grpc.RpcError."""
        wanted = observer_pb2.GetFlowsRequest(**request)
        return list(self.stub.GetFlows(wanted, timeout=PATIENCE_SECONDS))

    def flows(self, **request: Any) -> list[flow_pb2.Flow]:
        """Read the flows that are there."""
        return only_flows(self.read(**request))

    def status(self) -> observer_pb2.ServerStatusResponse:
        """Ask for the status."""
        return self.stub.ServerStatus(observer_pb2.ServerStatusRequest(), timeout=PATIENCE_SECONDS)

    def nodes(self) -> dict[str, observer_pb2.Node]:
        """Ask relay for its nodes."""
        answer = self.stub.GetNodes(observer_pb2.GetNodesRequest(), timeout=PATIENCE_SECONDS)
        return {node.name: node for node in answer.nodes}

    def follow(self, **request: Any) -> "Following":
        """Open a stream that goes on."""
        return Following(self.stub, observer_pb2.GetFlowsRequest(follow=True, **request))


class Following:
    """A stream that is read in the background until it is left."""

    def __init__(
        self, stub: observer_pb2_grpc.ObserverStub, request: observer_pb2.GetFlowsRequest
    ) -> None:
        self.answers: list[Answer] = []
        self.code: grpc.StatusCode | None = None
        """How it ended, where it did."""
        self.reading = threading.Event()
        """Cleared, nothing more is read: a slow client."""
        self.reading.set()
        self._changed = threading.Condition()
        self.call = stub.GetFlows(request)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def until(self, met: Callable[[list[Answer]], bool], what: str) -> list[Answer]:
        """Wait until the answers so far meet a condition; return them. Fails after a while."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        with self._changed:
            while not met(self.answers):
                left = deadline - time.monotonic()
                assert left > 0, f"{what}: not within {PATIENCE_SECONDS} s: {self.answers[-3:]}"
                assert self.code is None or met(self.answers), f"{what}: ended with {self.code}"
                self._changed.wait(left)
            return list(self.answers)

    def until_flow(self, uuid: str) -> list[Answer]:
        """Wait for a flow."""
        return self.until(lambda got: any(each.flow.uuid == uuid for each in got), f"flow {uuid}")

    def stays_without(self, met: Callable[[Answer], bool], seconds: float) -> None:
        """Fail if an answer comes, within so long, that should not."""
        with self._changed:
            came = self._changed.wait_for(lambda: any(map(met, self.answers)), seconds)
        assert not came

    def ended(self) -> grpc.StatusCode:
        """Wait for its end and return how it ended."""
        self._thread.join(PATIENCE_SECONDS)
        assert self.code is not None, "the stream goes on"
        return self.code

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.reading.set()
        self.call.cancel()
        self._thread.join(PATIENCE_SECONDS)

    def _read(self) -> None:
        code = grpc.StatusCode.OK
        try:
            for answer in self.call:
                with self._changed:
                    self.answers.append(answer)
                    self._changed.notify_all()
                self.reading.wait()
        except grpc.RpcError as error:
            code = error.code()
        with self._changed:
            self.code = code
            self._changed.notify_all()


def eventually(
    met: Callable[[], bool], what: str, *, meanwhile: Callable[[], object] | None = None
) -> None:
    """Wait until a condition is met, doing something between two looks. Fails after a while."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not met():
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE_SECONDS} s"
        if meanwhile is not None:
            meanwhile()
        threading.Event().wait(0.05)


def only_flows(answers: Iterable[Answer]) -> list[flow_pb2.Flow]:
    """Return the flows among answers."""
    return [answer.flow for answer in answers if answer.HasField("flow")]


def only_lost(answers: Iterable[Answer]) -> list[flow_pb2.LostEvent]:
    """Return the lost events among answers."""
    return [answer.lost_events for answer in answers if answer.HasField("lost_events")]


def uuids(flows: Iterable[flow_pb2.Flow]) -> list[str]:
    """Return the uuids of flows, in order."""
    return [flow.uuid for flow in flows]


def moment(nanoseconds: int) -> timestamp_pb2.Timestamp:
    """Return a time as requests want it."""
    stamp = timestamp_pb2.Timestamp()
    stamp.FromNanoseconds(nanoseconds)
    return stamp
