"""One request to one integration, and what its answer means."""

import email.utils
import hashlib
import ssl
import time
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import httpx

from alert_api.settings import GitLabProject
from runtime.errors import UserError
from runtime.settings import read_secret

SECONDS = 20.0
"""No request takes longer in all."""
TIMEOUT = httpx.Timeout(8.0, connect=5.0, pool=5.0)
LONGEST_WAIT = 3600.0


class Meaning(Enum):
    """What an answer asks for."""

    TAKEN = auto()
    NOTHING_OPEN = auto()
    """A resolve with nothing to resolve: as good as taken."""
    REJECTED = auto()
    """This payload will never be taken."""
    PARK = auto()
    """A person must act: the key, the address or the integration is wrong."""
    LATER = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of a request."""

    meaning: Meaning
    reason: str = ""
    wait: float | None = None
    """Seconds that GitLab asked us to wait."""
    unsure: bool = False
    """Whether GitLab may have acted all the same, or may yet."""


class Endpoint:
    """The integration of one project. One thread uses it."""

    def __init__(self, project: GitLabProject) -> None:
        """Raises UserError where the certificates cannot be read."""
        self.project = project.project
        self._settings = project
        # Without TLS there is nothing to verify, and loading all certificates takes its time.
        verify: ssl.SSLContext | bool = project.url.startswith("https:")
        if project.ca_file is not None:
            try:
                verify = ssl.create_default_context(cafile=str(project.ca_file))
            except (OSError, ssl.SSLError) as error:
                raise UserError(
                    f"gitlab project {project.project}: cannot use {project.ca_file}: {error}"
                ) from error
        self._client = httpx.Client(
            verify=verify,
            timeout=TIMEOUT,
            # A redirect may lead the key to another host; the address in the settings is the one.
            follow_redirects=False,
            trust_env=False,
            limits=httpx.Limits(max_connections=1),
            headers={"User-Agent": "picket"},
        )

    @property
    def environment(self) -> str | None:
        """Return the name of the GitLab environment that alerts belong to."""
        return self._settings.environment

    def credentials(self) -> str:
        """Return a digest of address and key: another one means that somebody acted."""
        try:
            key = self._key()
        except UserError:
            key = ""
        return hashlib.sha256(f"{self._settings.url}\n{key}".encode()).hexdigest()[:16]

    def post(self, payload: dict[str, Any], *, resolves: bool) -> Answer:
        """Send a payload and return what its answer means. Never raises for what GitLab does."""
        try:
            key = self._key()
        except UserError as error:
            return Answer(meaning=Meaning.PARK, reason=str(error))
        deadline = time.monotonic() + SECONDS
        try:
            with self._client.stream(
                "POST",
                self._settings.url,
                json=payload,
                headers={"Authorization": f"Bearer {key}"},
            ) as response:
                # The answer's body says nothing that we need; reading it keeps the connection.
                for read, _ in enumerate(response.iter_raw(16 * 1024)):
                    if read >= 4 or time.monotonic() > deadline:
                        break
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            return Answer(meaning=Meaning.LATER, reason=_said(error))
        except httpx.TransportError as error:
            return Answer(meaning=Meaning.LATER, reason=_said(error), unsure=True)
        return _meaning(response, resolves=resolves)

    def close(self) -> None:
        """Let go of the connection. Idempotent."""
        self._client.close()

    def _key(self) -> str:
        key = read_secret(self._settings.token_file, what=f"the key of project {self.project}")
        if not key.isascii() or not key.isprintable() or " " in key:
            raise UserError(f"the key of project {self.project} is not one line of plain text")
        return key


def _said(error: Exception) -> str:
    return f"no answer: {error or type(error).__name__}"[:300]


def _meaning(response: httpx.Response, *, resolves: bool) -> Answer:  # noqa: PLR0911 - a table
    status = response.status_code
    reason = f"{status} {response.reason_phrase}".strip()
    if response.is_success:
        return Answer(meaning=Meaning.TAKEN)
    if response.is_redirect or 300 <= status < 400:
        to = response.headers.get("location", "nowhere")[:200]
        reason = f"{reason}: redirects, which are not followed, to {to}; set the right address"
        return Answer(meaning=Meaning.PARK, reason=reason)
    if status == 400 and resolves:
        return Answer(meaning=Meaning.NOTHING_OPEN, reason=reason)
    if status in {401, 403, 404, 405, 410}:
        return Answer(meaning=Meaning.PARK, reason=reason)
    if status == 429:
        wait = _wait(response.headers.get("retry-after"))
        return Answer(meaning=Meaning.LATER, reason=reason, wait=wait)
    if status in {408, 425} or status >= 500:
        wait = _wait(response.headers.get("retry-after"))
        return Answer(meaning=Meaning.LATER, reason=reason, wait=wait, unsure=True)
    return Answer(meaning=Meaning.REJECTED, reason=reason)


def _wait(header: str | None) -> float | None:
    """Return the seconds that Retry-After asks for, as a number or as a date (RFC 9110 10.2.3)."""
    if header is None:
        return None
    if header.strip().isdigit():
        return min(float(header), LONGEST_WAIT)
    try:
        moment = email.utils.parsedate_to_datetime(header).timestamp()
    except ValueError:
        return None
    return min(max(moment - time.time(), 0.0), LONGEST_WAIT)
