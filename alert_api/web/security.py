"""Who may call: the host by which, the token with which, and the page from which.

Every request passes here before anything else sees it. Nothing but the answer to a request that
shows the token leaves without it.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from alert_api.web import errors
from runtime.clock import Clock

COOKIE = "picket_session"
COOKIE_SECONDS = 7 * 24 * 3600
MAX_BODY = 64 * 1024
TOO_LARGE = f"a body has at most {MAX_BODY} bytes"
MAX_QUERY = 8 * 1024
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The token, and the sessions that are made from it. Another token ends all sessions."""

    token: str = field(repr=False)
    clock: Clock

    def is_token(self, given: str) -> bool:
        """Return whether this is the token, in a time that does not tell how much of it is."""
        return hmac.compare_digest(_digest(given), _digest(self.token))

    def session(self) -> str:
        """Return the value of a new session's cookie."""
        until = int(self.clock.now()) + COOKIE_SECONDS
        text = f"{until}.{secrets.token_hex(8)}"
        return f"{text}.{self._sign(text)}"

    def is_session(self, value: str) -> bool:
        """Return whether the cookie was made here, with this token, and still holds."""
        text, _, signature = value.rpartition(".")
        if not hmac.compare_digest(_digest(signature), _digest(self._sign(text))):
            return False
        return int(text.partition(".")[0]) > self.clock.now()

    def _sign(self, text: str) -> str:
        key = hashlib.sha256(b"session " + self.token.encode()).digest()
        return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


@dataclass(frozen=True, slots=True)
class _Refusal:
    status: int
    detail: str
    headers: dict[str, str] = field(default_factory=dict)


class Guard:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, *, access: Access, hosts: Iterable[str], secure: bool) -> None:
        """`hosts` are the names by which clients may call; `secure` is whether this is HTTPS."""
        self._app = app
        self._access = access
        self._hosts = frozenset(host.lower() for host in hosts)
        self._secure = secure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    answer.setdefault(name, value)
            await send(message)

        answer = self._answer(scope, headers)
        if answer is not None:
            await answer(scope, receive, send_with_headers)
            return
        whole = await _read(receive)
        if whole is None:
            large = errors.problem(scope["path"], headers, 413, TOO_LARGE)
            await large(scope, receive, send_with_headers)
            return
        await self._app(scope, whole, send_with_headers)

    def _answer(self, scope: Scope, headers: Headers) -> Response | None:
        """Return the answer to a request that goes no further."""
        refusal = self._refusal(scope, headers)
        if refusal is None:
            return self._sign_in(scope)
        if refusal.status == 401 and (signed_in := self._sign_in(scope)) is not None:
            return signed_in
        return errors.problem(
            scope["path"],
            headers,
            refusal.status,
            refusal.detail,
            answer_headers=refusal.headers,
        )

    def _refusal(self, scope: Scope, headers: Headers) -> _Refusal | None:
        """Return why a request may not pass, or None."""
        return self._malformed(scope, headers) or self._unidentified(scope, headers)

    def _malformed(self, scope: Scope, headers: Headers) -> _Refusal | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or _name(hosts[0]) not in self._hosts:
            return _Refusal(421, "this server is not called by that host name; see --hosts")
        query = scope["query_string"]
        if len(query) > MAX_QUERY or b"%00" in query or "\0" in scope["path"]:
            return _Refusal(400, "the address is too long, or holds a NUL")
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > MAX_BODY:
            return _Refusal(413, TOO_LARGE)
        return None

    def _unidentified(self, scope: Scope, headers: Headers) -> _Refusal | None:
        authorization = headers.get("authorization")
        if authorization is not None:
            scheme, _, given = authorization.partition(" ")
            if scheme.lower() == "bearer" and self._access.is_token(given.strip()):
                return None
            return _unauthorized("the token is not this server's")
        if not self._has_session(headers):
            return _unauthorized(
                "send the token as 'Authorization: Bearer ...', or open the link with it once"
            )
        if scope["method"] not in SAFE and not self._is_own_page(headers):
            return _Refusal(403, "a change must come from this server's own page")
        return None

    def _has_session(self, headers: Headers) -> bool:
        try:
            cookie: SimpleCookie = SimpleCookie("; ".join(headers.getlist("cookie")))
        except CookieError:
            return False
        return COOKIE in cookie and self._access.is_session(cookie[COOKIE].value)

    def _is_own_page(self, headers: Headers) -> bool:
        origin = headers.get("origin")
        if origin is None:
            return headers.get("sec-fetch-site") == "same-origin"
        parts = urlsplit(origin)
        return parts.netloc.lower() == headers["host"].lower() and parts.scheme in {"http", "https"}

    def _sign_in(self, scope: Scope) -> Response | None:
        """Return the answer to the link with the token: a cookie, and the address without it."""
        path: str = scope["path"]
        if scope["method"] != "GET" or path.startswith("/api/"):
            return None
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = [value for name, value in query if name == "token"]
        if not given or not self._access.is_token(given[0]):
            return None
        rest = urlencode([(name, value) for name, value in query if name != "token"])
        # Only one slash: two would name another host.
        answer = RedirectResponse("/" + path.lstrip("/") + (f"?{rest}" if rest else ""), 303)
        answer.set_cookie(
            COOKIE,
            self._access.session(),
            max_age=COOKIE_SECONDS,
            httponly=True,
            samesite="strict",
            secure=self._secure,
        )
        return answer


def _unauthorized(detail: str) -> _Refusal:
    return _Refusal(401, detail, {"WWW-Authenticate": 'Bearer realm="picket"'})


def _name(host: str) -> str:
    """Return the host's name without its port, in small letters."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


async def _read(receive: Receive) -> Receive | None:
    """Read a request's body; return what gives it to the application, or None: it is too long.

    Before the application, since an error while it reads would be answered in its own way.
    """
    body = b""
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            break
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_BODY:
            return None
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
