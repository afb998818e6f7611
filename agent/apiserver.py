"""Requests to the API server: lists in pages, watches as lines, and what their failures mean.

Objects stay the JSON that they are: the client library's models and its watch would decode each of
them twice, know neither bookmarks nor Cilium's kinds, and hold a list whole. Nothing here knows
what is asked for, or tries anything twice.

    ApiError
     ├── Away        try again: not reachable, overloaded, or the stream broke
     ├── Untrusted   its certificate is not what the credentials say
     ├── Denied      401: it does not know who asks
     ├── Forbidden   403: a right is missing
     ├── Absent      404: it does not serve this
     └── Expired     410: the place to go on from is too old
"""

import contextlib
import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import urllib3
from kubernetes.client.configuration import Configuration
from kubernetes.client.rest import RESTClientObject

from agent.credentials import Credentials

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 60.0
GRACE_SECONDS = 15.0
"""A watch that is not ended by then by the API server itself is dead."""
CONNECTIONS = 16
MESSAGE_CHARACTERS = 300


class ApiError(Exception):
    """See the module; the message is for people."""


class Away(ApiError):
    """Nothing is wrong with the question; the same may be answered later."""

    def __init__(self, message: str, *, retry_after: float = 0.0) -> None:
        """Keep for how many seconds the API server asks to be left alone."""
        super().__init__(message)
        self.retry_after = retry_after


class Untrusted(ApiError):
    """TLS failed."""


class Denied(ApiError):
    """The credentials are wrong, or were once right."""


class Forbidden(ApiError):
    """Role-based access control says no."""


class Absent(ApiError):
    """Such as a kind whose definition is not installed."""


class Expired(ApiError):
    """What lies between then and now is forgotten; list anew."""


Query = Mapping[str, str | int]


@dataclass(slots=True)
class ApiServer:
    """One API server, asked with one set of credentials. Thread-safe."""

    credentials: Credentials
    reached: bool = False
    """Whether it ever took the credentials."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _client: tuple[Configuration, RESTClientObject] | None = None
    _streams: dict[urllib3.BaseHTTPResponse, str] = field(default_factory=dict)

    def get(self, path: str, query: Query | None = None) -> dict[str, Any]:
        """Return an object of JSON. Raises ApiError, UserError."""
        response = self._ask(path, query or {}, seconds=ANSWER_SECONDS)
        try:
            with _translated(self.url):
                return _object(json.loads(response.data))
        finally:
            response.release_conn()

    def ready(self) -> None:
        """Return where the API server says that it has come up, or does not want to say.

        Raises ApiError, UserError.
        """
        with contextlib.suppress(Forbidden):
            self._ask("/readyz", {}, seconds=ANSWER_SECONDS).drain_conn()

    def watch(
        self, path: str, query: Query, *, seconds: int, is_over: Callable[[], bool]
    ) -> Iterator[dict[str, Any]]:
        """Open a watch; return its events, which the API server ends after about so many seconds.

        They end early, without an error, when `interrupt` or `close` is called and `is_over` says
        so. Raises ApiError, UserError.
        """
        full = {**query, "watch": "1", "allowWatchBookmarks": "true", "timeoutSeconds": seconds}
        response = self._ask(path, full, seconds=seconds + GRACE_SECONDS)
        with self._lock:
            self._streams[response] = path
        return self._events(response, is_over)

    def _events(
        self, response: urllib3.BaseHTTPResponse, is_over: Callable[[], bool]
    ) -> Iterator[dict[str, Any]]:
        try:
            # What is asked for from here on finds this stream to interrupt.
            if not is_over():
                with _translated(self.url):
                    for line in _lines(response):
                        yield _event(json.loads(line))
        except Away:
            if not is_over():
                raise
        finally:
            with self._lock:
                self._streams.pop(response, None)
            response.close()

    def renew(self) -> None:
        """Read the credentials anew for the next request: they may have been changed."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client[1].close()

    def close(self) -> None:
        """End all streams: whoever reads one comes back at once."""
        self._shut(None)
        self.renew()

    def interrupt(self, path: str) -> None:
        """End the watches of this path."""
        self._shut(path)

    def _shut(self, path: str | None) -> None:
        with self._lock:
            streams = [found for found, where in self._streams.items() if path in {None, where}]
        for stream in streams:
            with contextlib.suppress(Exception):  # it may be at its end already
                stream.shutdown()

    @property
    def url(self) -> str:
        """Return where it is. Raises UserError."""
        return self._open()[0].host

    def _open(self) -> tuple[Configuration, RESTClientObject]:
        with self._lock:
            if self._client is None:
                configuration = self.credentials.load()
                configuration.connection_pool_maxsize = CONNECTIONS
                # A peer that is gone without a word would keep a watch waiting for minutes.
                configuration.keep_alive = True
                self._client = (configuration, RESTClientObject(configuration))
            return self._client

    def _ask(self, path: str, query: Query, *, seconds: float) -> urllib3.BaseHTTPResponse:
        with _translated(self.credentials.origin):
            configuration, client = self._open()
        with _translated(configuration.host):
            with self._lock:  # an exec plugin may run here, and once is enough
                token = configuration.get_api_key_with_prefix("BearerToken")
            headers = {"Accept": "application/json", "User-Agent": "picket-agent"}
            if token:
                headers["Authorization"] = token
            response = client.pool_manager.request(
                "GET",
                configuration.host + path,
                fields={name: str(value) for name, value in query.items()},
                headers=headers,
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=seconds),
                retries=False,
                preload_content=False,
            )
            self.reached = self.reached or response.status != 401
            if response.status != 200:
                try:
                    raise _refusal(response.status, response.data, response.headers, configuration)
                finally:
                    response.release_conn()
        return response


@contextlib.contextmanager
def _translated(where: str) -> Iterator[None]:
    try:
        yield
    except urllib3.exceptions.SSLError as error:
        # A connection that ends within the handshake is an SSLError too.
        is_certificate = isinstance(error.args[0], ssl.SSLCertVerificationError)
        raise (Untrusted if is_certificate else Away)(f"{where}: {_short(str(error))}") from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise Away(f"{where}: {_short(str(error))}") from error
    except (ValueError, RecursionError) as error:
        raise Away(f"{where} answered what is no JSON of an API server") from error


def _refusal(
    status: int, body: bytes, headers: Mapping[str, str], configuration: Configuration
) -> ApiError:
    """Return the error that a status other than 200 stands for."""
    said = _short(_message(body) or f"HTTP status {status}")
    text = f"{configuration.host}: {said}"
    kinds: dict[int, type[ApiError]] = {
        401: Denied,
        403: Forbidden,
        404: Absent,
        410: Expired,
    }
    if status in kinds:
        return kinds[status](text)
    wait = headers.get("Retry-After", "")
    return Away(text, retry_after=float(wait) if wait.isdecimal() else 0.0)


def _message(body: bytes) -> str:
    try:
        found = json.loads(body).get("message", "")
    except (ValueError, AttributeError):
        return ""
    return found if isinstance(found, str) else ""


def _lines(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    rest = b""
    for chunk in response.stream(64 * 1024, decode_content=True):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from filter(None, lines)
    if rest.strip():
        raise urllib3.exceptions.ProtocolError("the stream broke off within a line")


def _event(value: object) -> dict[str, Any]:
    """Return an event, checked in form. Raises the ApiError that an ERROR event stands for."""
    event = _object(value)
    if event.get("type") != "ERROR":
        event["object"] = _object(event.get("object"))
        return event
    status = event.get("object")
    status = status if isinstance(status, dict) else {}
    text = _short(str(status.get("message") or "the watch failed"))
    if status.get("code") == 410:
        raise Expired(text)
    raise Away(text)


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("not an object")  # noqa: TRY004 - translated as what JSON it is
    return value


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MESSAGE_CHARACTERS else line[: MESSAGE_CHARACTERS - 1] + "…"
