"""Reading a stream's messages with as little of grpc's Python as can be.

grpc's single-threaded stream takes a lock four times a message and keeps a set of what is due,
which costs a quarter of its CPU time. Here messages come straight from the call beneath it; all
else (metadata, status, errors, an unknown version of grpc) is left to grpc's own iterator.
"""

import importlib
from collections.abc import Iterator
from typing import Any

import grpc
from grpc import _channel

cygrpc: Any
try:
    cygrpc = importlib.import_module("grpc._cython.cygrpc")
except ImportError:  # a build of grpc without its usual core
    cygrpc = None

KNOWN = ("_call", "_state", "_response_deserializer")


def responses(call: Any) -> Iterator[bytes]:
    """Yield the messages of a single-threaded call without a deserializer, undecoded.

    Ends and raises as the call's own iterator does. May be cancelled from another thread.
    """
    if not is_known(call):
        yield from call
        return
    inner, state = call._call, call._state  # noqa: SLF001 - see above
    receive = (cygrpc.ReceiveMessageOperation(0),)
    message_type = cygrpc.OperationType.receive_message
    operate, next_event = inner.operate, inner.next_event
    with state.condition:
        if state.code is not None or not operate(receive, None):
            raise call
        # It stays due until the last event, which grpc handles itself.
        state.due.add(message_type)
    while True:
        event = next_event()
        operation = event.batch_operations[0]
        message = operation.message() if operation.type() == message_type else None
        if message is not None:
            yield message
            if operate(receive, None):
                continue
            # The call is over; its status has not been looked at.
            with state.condition:
                state.due.discard(message_type)
            break
        with state.condition:
            callbacks = _channel._handle_event(event, state, None)  # noqa: SLF001 - see above
        for callback in callbacks:
            callback()
        if message_type not in state.due:
            break
    yield from call


def is_known(call: object) -> bool:
    """Return whether this version of grpc is made as expected here."""
    kind = getattr(_channel, "_SingleThreadedRendezvous", None)
    return (
        cygrpc is not None
        and kind is not None
        and isinstance(call, kind)
        and isinstance(call, grpc.RpcError)
        and all(hasattr(call, name) for name in KNOWN)
        and hasattr(_channel, "_handle_event")
        and call._response_deserializer is None  # type: ignore[attr-defined]  # noqa: SLF001
    )
