"""One kind of objects, listed once and watched from there on; what is seen goes into an inbox.

A watch that ends, for whatever reason, goes on from the last object or bookmark seen; only a place
that the API server has forgotten (410) is a reason to list again. A kind that is not served is
looked for now and then. Decides nothing about what is seen.
"""

import random
import threading
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from agent import apiserver, discovery, inbox, kinds, plan, resources, shaping, troubles
from runtime import clock as clocks
from runtime.errors import UserError

log = structlog.get_logger()

WATCH_SECONDS = (240, 480)
FIRST_PAUSE_SECONDS = 0.2
LAST_PAUSE_SECONDS = 10.0
DISCOVERY_SECONDS = 5.0
"""How often a kind that is not served is looked for."""
DOUBT_SECONDS = 2.0
"""A kind is missing for so long before that is believed: a starting API server lacks some."""
PATIENCE = 3
"""So many refusals of the credentials are taken from an API server that never took them."""

Thing = plan.Wanted | shaping.Pod | shaping.Config


@dataclass(frozen=True, slots=True)
class Sighting:
    """An object as it is now; None is gone."""

    identity: kinds.Identity
    thing: Thing | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Seen:
    """Some objects of one resource."""

    resource: resources.Resource
    sightings: tuple[Sighting, ...]


@dataclass(frozen=True, slots=True)
class Listed:
    """All objects of a resource were seen; these are they."""

    resource: resources.Resource
    present: AbstractSet[kinds.Identity]
    at: datetime


@dataclass(frozen=True, slots=True)
class Belongs:
    """Whatever follows is of the cluster with this UID of namespace kube-system."""

    uid: str


@dataclass(frozen=True, slots=True)
class Failed:
    """A thread ended, and with it this process has to."""

    error: BaseException


Item = Seen | Listed | Belongs | Failed


@dataclass(slots=True, kw_only=True)
class Reflector:
    """One resource on a thread of its own."""

    resource: resources.Resource
    server: apiserver.ApiServer
    into: inbox.Inbox[Item]
    troubles: troubles.Troubles
    turn: threading.Lock
    """Held while a page is read: the pages of all kinds at once would be a lot of memory."""
    stop: threading.Event
    asked: Callable[[str, str], None]
    """Told of each request's kind and verb."""
    clock: clocks.Clock
    _version: str | None = None
    _place: str = ""
    """The resource version to watch from; '' has to be listed for."""
    _verb: str = "list"
    _asks_for: resources.Resource = field(init=False)
    _sure: bool = False
    """Whether this connection is known to lead to the same cluster as before."""
    _pause: float = FIRST_PAUSE_SECONDS
    _refusals: int = 0
    _again: bool = False

    def __post_init__(self) -> None:
        """Nothing was asked yet."""
        self._asks_for = self.resource

    def start(self) -> None:
        """Begin to list and watch."""
        threading.Thread(target=self._run, name=f"watch {self.resource.kind}", daemon=True).start()

    def relist(self) -> None:
        """List again. Called by another thread."""
        self._again = True
        if (version := self._version) is not None:
            self.server.interrupt(self.resource.path(version))

    def _run(self) -> None:
        try:
            while not self.stop.is_set():
                self._try()
        except BaseException as error:  # noqa: BLE001 - the publisher's thread raises it
            self.into.put(Failed(error))

    def _try(self) -> None:
        """Go on until something fails, and wait as long as that asks for."""
        try:
            self._go_on()
        except (apiserver.ApiError, UserError) as error:
            self._wait(self._after(error))

    def _wait(self, seconds: float) -> None:
        """Wait for about so long, and for longer the next time."""
        self._pause = min(self._pause * 2, LAST_PAUSE_SECONDS)
        self.stop.wait(seconds * random.uniform(0.5, 1.0))  # noqa: S311 - all kinds fail at once

    def _after(self, error: apiserver.ApiError | UserError) -> float:
        """Tell of an error and return how long to wait. Raises UserError where no wait helps."""
        match error:
            case apiserver.Expired():
                log.info("listing again", kind=self.resource.kind, reason=str(error))
                self._place = ""
                return self._pause
            case apiserver.Absent():
                self._place, self._version = "", None
            case apiserver.Forbidden():
                right = self._asks_for.missing_right(self._verb)
                return self._fail(f"{right} ({error})")
            case apiserver.Denied():
                return self._refused(error)
            case apiserver.Untrusted():
                return self._untrusted(error)
            case UserError():
                # The file may be in the middle of being replaced.
                if not self.server.reached:
                    raise error
            case apiserver.Away():
                self._sure = False
                return max(self._fail(str(error)), error.retry_after)
        return self._fail(str(error))

    def _go_on(self) -> None:
        if self._version is None:
            self._version = discovery.version(self.server, self.resource)
            if self._version is None:
                self._believe_absent()
                return
        if not self._sure:
            self._identify()
        if self._again:
            self._again, self._place = False, ""
        if not self._place:
            self._list(self._version)
        self._watch(self._version)

    def _fine(self) -> None:
        self._refusals = 0
        self.troubles.over(self.resource.kind)

    def _fail(self, reason: str) -> float:
        self.troubles.tell(self.resource.kind, reason)
        return self._pause

    def _refused(self, error: apiserver.Denied) -> float:
        self._refusals += 1
        self.server.renew()
        whose = self.server.credentials.origin
        reason = f"the API server does not take the credentials of {whose} ({error})"
        if not self.server.reached and self._refusals >= PATIENCE:
            raise UserError(reason) from error
        return self._fail(reason)

    def _untrusted(self, error: apiserver.Untrusted) -> float:
        whose = self.server.credentials.origin
        reason = f"{whose}: the certificate of the API server is not trusted ({error})"
        if not self.server.reached:
            raise UserError(reason) from error
        self.server.renew()
        return self._fail(reason)

    # Which cluster, and which version.

    def _identify(self) -> None:
        """Say which cluster this is, before anything of it is taken."""
        self._asks_for, self._verb = resources.NAMESPACE, "list"
        query = {"fieldSelector": f"metadata.name={resources.SYSTEM_NAMESPACE}"}
        found = self.server.get(resources.NAMESPACE.path("v1"), query).get("items")
        if not isinstance(found, list) or len(found) != 1:
            raise apiserver.Away(f"there is no namespace {resources.SYSTEM_NAMESPACE} yet")
        self.into.put(Belongs(_noted(found[0], "uid")))
        self._asks_for, self._sure = self.resource, True

    def _believe_absent(self) -> None:
        """Take it that there are no such objects, once the API server is sure to know."""
        self.stop.wait(DOUBT_SECONDS)
        self.server.ready()
        if discovery.version(self.server, self.resource) is not None or self.stop.is_set():
            return
        self._fine()
        log.info(
            "not served, so there are none; looked for every few seconds", kind=self.resource.kind
        )
        self.into.put(Listed(self.resource, frozenset(), self.clock.utc()))
        while self._version is None and not self.stop.wait(DISCOVERY_SECONDS):
            self._version = discovery.version(self.server, self.resource)
        if self._version is not None:
            log.info("is served now", kind=self.resource.kind, version=self._version)

    # Lists and watches.

    def _list(self, version: str) -> None:
        present: set[kinds.Identity] = set()
        query: dict[str, str | int] = {**self.resource.selection(), "limit": self.resource.page}
        while not self.stop.is_set():
            with self.turn:
                place, token, sightings = self._page(version, query)
            present.update(sighting.identity for sighting in sightings)
            self.into.put(Seen(self.resource, sightings), weight=len(sightings))
            if not token:
                self.into.put(Listed(self.resource, present, self.clock.utc()))
                self._place = place
                self._pause = FIRST_PAUSE_SECONDS
                self._fine()
                return
            query["continue"] = token

    def _page(self, version: str, query: apiserver.Query) -> tuple[str, str, tuple[Sighting, ...]]:
        """Return the list's resource version, the token of the next page, and what is on this."""
        self._verb = "list"
        self.asked(self.resource.kind, self._verb)
        page = self.server.get(self.resource.path(version), query)
        place = _noted(page, "resourceVersion")
        sightings = tuple(
            sighting for raw in page.get("items") or () for sighting in self._sighted(version, raw)
        )
        return place, page["metadata"].get("continue") or "", sightings

    def _watch(self, version: str) -> None:
        """Follow one watch to its end."""
        self._verb = "watch"
        self.asked(self.resource.kind, self._verb)
        path = self.resource.path(version)
        query = {**self.resource.selection(), "resourceVersion": self._place}
        seconds = random.randint(*WATCH_SECONDS)  # noqa: S311 - so that not all end at once
        events = self.server.watch(path, query, seconds=seconds, is_over=self._is_over)
        self._fine()
        heard = False
        try:
            for event in events:
                self._pause = FIRST_PAUSE_SECONDS
                heard = True
                self._take(version, event)
                if self._is_over():
                    return
        except apiserver.Away as error:
            # Watches do break off; whether anything is wrong, the next request will show.
            log.debug("a watch broke off", kind=self.resource.kind, reason=str(error))
            self._sure = False
            self._wait(self._pause)
            return
        if not heard and not self._is_over():
            self._check_place(version)
            self._wait(self._pause)

    def _is_over(self) -> bool:
        return self.stop.is_set() or self._again

    def _take(self, version: str, event: dict[str, Any]) -> None:
        raw = event["object"]
        if event["type"] != "BOOKMARK":
            gone = event["type"] == "DELETED"
            sightings = tuple(self._sighted(version, raw, gone=gone))
            if sightings:
                self.into.put(Seen(self.resource, sightings))
        self._place = _noted(raw, "resourceVersion")

    def _check_place(self, version: str) -> None:
        """Make sure that a silent watch was silent because nothing happened.

        Where etcd was restored from a copy, our place lies in a future that may never come.
        """
        self._verb = "list"
        query: apiserver.Query = {**self.resource.selection(), "limit": 1}
        newest = _noted(self.server.get(self.resource.path(version), query), "resourceVersion")
        if newest.isdecimal() and self._place.isdecimal() and int(newest) < int(self._place):
            raise apiserver.Expired(f"the cluster is at {newest} and was at {self._place}")

    def _sighted(
        self, version: str, raw: dict[str, Any], *, gone: bool = False
    ) -> Iterator[Sighting]:
        try:
            identity = shaping.identity(self.resource, raw)
        except shaping.Shapeless as error:
            log.warning("an object cannot be taken", reason=str(error))
            return
        thing: Thing | None = None
        if not gone and self.resource.kind == resources.POD.kind:
            thing = shaping.pod(raw)
        elif not gone and self.resource.kind == "ConfigMap":
            thing = shaping.config(raw)
        elif not gone:
            thing = shaping.wanted(self.resource, version, raw)
        yield Sighting(identity, thing, self.clock.utc())


def _noted(raw: object, key: str) -> str:
    """Return a text of an object's metadata. Raises Away: no API server leaves that out."""
    metadata = raw.get("metadata") if isinstance(raw, dict) else None
    text = metadata.get(key) if isinstance(metadata, dict) else None
    if not isinstance(text, str) or not text:
        raise apiserver.Away(f"an answer without metadata.{key}: is this an API server?")
    return text
