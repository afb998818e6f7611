"""The alert API as the command line calls it: every failure is one line."""

import ipaddress
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from runtime.errors import UserError
from runtime.settings import read_secret

TIMEOUT_SECONDS = 10.0
PAGE = 100


class Away(UserError):
    """Nobody answers at the address; during a start that is only a matter of time."""


class Unknown(UserError):
    """There is no such thing at the address."""


class Api:
    """One API with one token. Close it, or use it as a context."""

    def __init__(self, base: str, token_file: Path) -> None:
        """Read the token. Raises UserError."""
        parts = urlsplit(base)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise UserError(f"--api must be an http or https address, not {base!r}")
        self.base = base.rstrip("/")
        self._token_file = token_file
        token = read_secret(token_file, what="the API's token")
        self._client = httpx.Client(
            base_url=self.base,
            headers={"Authorization": f"Bearer {token}"},
            timeout=TIMEOUT_SECONDS,
            # A proxy of the environment cannot reach this machine's own loopback.
            trust_env=not _is_loopback(parts.hostname),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def get(self, path: str, parameters: Mapping[str, Any] | None = None) -> Any:
        """Return the JSON of an answer. Raises Away, UserError."""
        try:
            answer = self._client.get(path, params=dict(parameters or {}))
        except httpx.ConnectError:
            raise Away(f"nobody answers at {self.base}; is picket up running?") from None
        except httpx.HTTPError as error:
            raise Away(f"{self.base} does not answer: {error or type(error).__name__}") from error
        if answer.status_code in {401, 403}:
            raise UserError(f"{self.base} refuses the token in {self._token_file}")
        if answer.status_code == httpx.codes.NOT_FOUND:
            raise Unknown(f"{self.base}: {_problem(answer)}")
        if answer.is_error:
            raise UserError(f"{self.base} answers {answer.status_code}: {_problem(answer)}")
        try:
            return answer.json()
        except ValueError:
            raise UserError(f"{self.base} does not answer as Picket does") from None

    def alerts(self, parameters: Mapping[str, Any], *, limit: int) -> Iterator[dict[str, Any]]:
        """Yield at most `limit` alerts, page by page."""
        wanted = dict(parameters)
        left = limit
        while left > 0:
            page = self.get("/api/v1/alerts", {**wanted, "limit": min(left, PAGE)})
            yield from page["alerts"]
            left -= len(page["alerts"])
            if not page.get("next") or not page["alerts"]:
                return
            wanted["cursor"] = page["next"]


def _problem(answer: httpx.Response) -> str:
    try:
        body = answer.json()
    except ValueError:
        return answer.reason_phrase
    if not isinstance(body, dict):
        return answer.reason_phrase
    return str(body.get("detail") or body.get("title") or answer.reason_phrase)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
