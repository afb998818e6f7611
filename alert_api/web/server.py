"""The HTTP server as a part of the stage."""

import errno
import socket
import threading
from dataclasses import dataclass, field

import uvicorn
from starlette.types import ASGIApp

from alert_api.settings import Settings
from runtime.errors import UserError


@dataclass(slots=True, kw_only=True)
class Server:
    """uvicorn on a thread of its own; `address` is known after start."""

    app: ASGIApp
    settings: Settings
    _socket: socket.socket | None = field(init=False, default=None)
    _server: uvicorn.Server | None = field(init=False, default=None)
    _thread: threading.Thread | None = field(init=False, default=None)
    _error: BaseException | None = field(init=False, default=None)

    @property
    def address(self) -> tuple[str, int]:
        """Return host and port on which it listens. Raises RuntimeError before start."""
        if self._socket is None:
            raise RuntimeError("the HTTP server has not been started")
        host, port = self._socket.getsockname()[:2]
        return host, port

    @property
    def url(self) -> str:
        """Return the address that a browser on this machine opens."""
        host, port = self.address
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - read, not bound
        scheme = "https" if self.settings.tls_certificate else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"

    def start(self) -> None:
        """Listen, and serve from a thread. Raises UserError where the address cannot be had."""
        settings = self.settings
        config = uvicorn.Config(
            self.app,
            # Its access log would hold the link's token.
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            ws="none",
            timeout_keep_alive=10,
            timeout_graceful_shutdown=3,
            limit_concurrency=200,
            h11_max_incomplete_event_size=32 * 1024,
            ssl_certfile=settings.tls_certificate,
            ssl_keyfile=settings.tls_key,
        )
        try:
            config.load()
        except OSError as error:
            raise UserError(f"cannot use {settings.tls_certificate}: {error}") from error
        self._socket = _listen(settings.host, settings.port)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="http", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise what ended the server, if anything did."""
        if self._thread is not None and not self._thread.is_alive():
            raise RuntimeError("the HTTP server ended") from self._error

    def close(self) -> None:
        """Stop accepting, let requests end, and let go of the port. Idempotent."""
        server, self._server = self._server, None
        if server is None:
            return
        server.should_exit = True
        if self._thread is not None:
            self._thread.join()
        if self._socket is not None:
            self._socket.close()

    def _serve(self) -> None:
        server, listening = self._server, self._socket
        if server is None or listening is None:
            return
        try:
            server.run(sockets=[listening])
        except BaseException as error:  # noqa: BLE001 - shown to whoever supervises
            self._error = error


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UserError(f"cannot listen on {host}: {error.strerror}") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except OSError as error:
        listening.close()
        busy = error.errno == errno.EADDRINUSE
        hint = "; another program has it: choose another --port" if busy else ""
        raise UserError(f"cannot listen on {host}:{port}: {error.strerror}{hint}") from error
    return listening
