"""The health port: /livez, /readyz and /metrics, and no data of any flow or alert."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import prometheus_client

from runtime.errors import UserError

Check = Callable[[], str | None]
"""Returns None when fine, else one line that says what is wrong."""


@dataclass(slots=True, kw_only=True)
class HealthServer:
    """Serves on `host:port`; port 0 picks one, read `address` after start."""

    host: str
    port: int
    live: Mapping[str, Check] = field(default_factory=dict)
    ready: Mapping[str, Check] = field(default_factory=dict)
    registry: prometheus_client.CollectorRegistry = prometheus_client.REGISTRY
    _server: ThreadingHTTPServer | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Return where it listens. Raises RuntimeError before start."""
        if self._server is None:
            raise RuntimeError("the health server has not been started")
        host, port = self._server.server_address[:2]
        return str(host), port

    def start(self) -> None:
        """Listen and serve from a daemon thread. Raises UserError where the port is taken."""
        try:
            self._server = ThreadingHTTPServer((self.host, self.port), _handler(self))
        except OSError as error:
            raise UserError(
                f"the health port cannot listen on {self.host}:{self.port}: {error.strerror}"
            ) from error
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()

    def close(self) -> None:
        """Stop serving. Idempotent."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Return status, content type and body for a path."""
        text = "text/plain; charset=utf-8"
        if path == "/metrics":
            body = prometheus_client.generate_latest(self.registry)
            return 200, prometheus_client.CONTENT_TYPE_LATEST, body
        checks = {"/livez": self.live, "/readyz": self.ready}.get(path)
        if checks is None:
            return 404, text, b"try /livez, /readyz or /metrics\n"
        problems = [
            f"{name}: {problem}"
            for name, check in checks.items()
            if (problem := check()) is not None
        ]
        if problems:
            return 503, text, ("\n".join(problems) + "\n").encode()
        return 200, text, b"ok\n"


def _handler(server: HealthServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 5

        def do_GET(self) -> None:
            status, kind, body = server.answer(self.path.partition("?")[0])
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - inherited name
            """Say nothing: probes come every few seconds."""

    return Handler
