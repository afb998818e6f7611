"""Three faults of the client's sockets, mended in place.

kafka-python 3.0 throws away what a broker said last before it hung up, which is how a broker says
that a password is wrong. It reads 4 KiB at a time, which is a third of what consuming costs. And it
forgets to close a socket to which nobody answered, while it tries again each second. Nothing else
of the client is changed; a release that mends these makes this module superfluous.
"""

import selectors
import ssl
import time
from typing import Any

from kafka import errors
from kafka.net import inet, transport

READ_BYTES = 128 * 1024
LAST_WORDS_SECONDS = 0.02


async def _read_from_sock(self: Any) -> None:
    while self._read and not self._closed:
        await self._net.wait_read(self._sock)
        received, error = self._sock_recv()
        if received:
            self.last_read = time.monotonic()
            if self._protocol and self._protocol._sensors:  # noqa: SLF001
                self._protocol._sensors.bytes_received.record(len(received))  # noqa: SLF001
            try:
                self._protocol.data_received(received)
            except errors.KafkaProtocolError as problem:
                self.abort(error=problem)
                return
        if error is not None:
            if received:
                # Whoever waits for what was received acts on it before the connection fails.
                await self._net.sleep(LAST_WORDS_SECONDS)
            self.abort(error=error)
            return


def _sock_recv(self: Any) -> tuple[bytes, errors.KafkaError | None]:
    received = []
    error = None
    while True:
        try:
            data = self._sock.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            break
        except OSError as problem:
            error = errors.KafkaConnectionError(problem)
            break
        if not data:
            error = errors.KafkaConnectionError("socket disconnected")
            break
        received.append(data)
    return received[0] if len(received) == 1 else b"".join(received), error


_connect = inet.KafkaNetSocket.sock_connect


async def _sock_connect(
    self: Any, net: Any, sock: Any, sockaddr: Any, timeout_at: float | None = None
) -> Any:
    try:
        return await _connect(self, net, sock, sockaddr, timeout_at=timeout_at)
    except BaseException:
        net.unregister_event(sock, selectors.EVENT_READ | selectors.EVENT_WRITE)
        sock.close()
        raise


def mend() -> None:
    """Put these functions in place of the client's."""
    inet.KafkaNetSocket.sock_connect = _sock_connect
    transport.KafkaTCPTransport._read_from_sock = _read_from_sock  # noqa: SLF001
    transport.KafkaTCPTransport._sock_recv = _sock_recv  # noqa: SLF001
    transport.KafkaSSLTransport._sock_recv = _sock_recv  # noqa: SLF001
