"""A cluster as a source: what its API server tells of every kind that matching needs.

One thread a kind listens; all that they see is put together here, on the publisher's thread.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from agent import (
    apiserver,
    ciliumoptions,
    inbox,
    kinds,
    namedports,
    plan,
    reflecting,
    resources,
    shaping,
    source,
    troubles,
)
from agent.credentials import Credentials
from policies import identitylabels
from runtime import clock as clocks
from runtime.errors import UserError

log = structlog.get_logger()


def _nobody_counts(_kind: str, _verb: str) -> None:
    """Leave requests uncounted."""


@dataclass(slots=True, kw_only=True)
class FollowedCluster:
    """See the module, and source.Source."""

    credentials: Credentials
    config: resources.Resource
    """The ConfigMap of Cilium."""
    asked: Callable[[str, str], None] = _nobody_counts
    clock: clocks.Clock = clocks.SYSTEM
    _session: "_Session | None" = None
    _reached: bool = False
    _uid: str = ""

    def restart(self) -> None:
        """Begin to list everything."""
        self.pause()
        self._session = _Session(owner=self, reached=self._reached)
        self._session.start()

    def pause(self) -> None:
        """Let go of the API server."""
        session, self._session = self._session, None
        if session is not None:
            self._reached = session.server.reached
            session.close()

    def problem(self) -> str | None:
        """Return what cannot be read."""
        return self._session.problem() if self._session else None

    def read(self, stop: threading.Event, *, timeout: float) -> source.Reading | None:
        """Return what was seen since. Raises UserError."""
        if self._session is None:
            stop.wait(timeout)
            return None
        news = self._session.news(timeout)
        if not news:
            return None
        return source.Reading(
            news=news, complete=self._session.complete(), cluster_uid=self._session.uid
        )


class _Session:
    """From one listing of everything to the next."""

    def __init__(self, *, owner: FollowedCluster, reached: bool) -> None:
        self.uid = ""
        self.server = apiserver.ApiServer(owner.credentials, reached=reached)
        self._config = owner.config
        self._inbox: inbox.Inbox[reflecting.Item] = inbox.Inbox()
        self._stop = threading.Event()
        self._troubles = troubles.Troubles()
        self._listed: set[str] = set()
        self._ports = namedports.NamedPorts()
        turn = threading.Lock()
        self._reflectors = {
            resource.kind: reflecting.Reflector(
                resource=resource,
                server=self.server,
                into=self._inbox,
                troubles=self._troubles,
                turn=turn,
                stop=self._stop,
                asked=owner.asked,
                clock=owner.clock,
            )
            for resource in (owner.config, *resources.OBJECTS, resources.POD)
        }

    def start(self) -> None:
        # Pods come once it is known which of their labels count.
        for kind, reflector in self._reflectors.items():
            if kind != resources.POD.kind:
                reflector.start()

    def close(self) -> None:
        self._stop.set()
        self._inbox.close()
        self.server.close()

    def complete(self) -> bool:
        return self._listed == self._reflectors.keys()

    def problem(self) -> str | None:
        missing = sorted(self._reflectors.keys() - self._listed)
        waits = f"has not read every {', '.join(missing)} yet" if missing else None
        return self._troubles.summary() or waits

    def news(self, timeout: float) -> list[plan.News]:
        found: list[plan.News] = []
        for item in self._inbox.take(timeout=timeout):
            match item:
                case reflecting.Failed(error):
                    raise error
                case reflecting.Belongs(uid):
                    self._belong(uid)
                case reflecting.Seen(_, sightings):
                    for sighting in sightings:
                        found += self._seen(sighting)
                case reflecting.Listed():
                    found += self._all_seen(item)
        return found

    def _belong(self, uid: str) -> None:
        if self.uid and uid != self.uid:
            raise UserError(
                f"{self.server.url} was the cluster with UID {self.uid} and is now the one with "
                f"UID {uid}; give --cluster another name"
            )
        self.uid = uid

    def _seen(self, sighting: reflecting.Sighting) -> list[plan.News]:
        identity, thing, at = sighting.identity, sighting.thing, sighting.at
        match thing:
            case plan.Wanted():
                return [plan.Change(identity, thing, at)]
            case shaping.Pod():
                return list(self._ports.put(thing, at))
            case shaping.Config():
                return self._configured(thing, sighting)
        if identity.kind == resources.POD.kind:
            return list(self._ports.remove(identity.namespace, identity.name, at))
        if identity.kind == self._config.kind:
            self._label_by(None)
            return [plan.Change(ciliumoptions.identity(identity.name), None, at)]
        return [plan.Change(identity, None, at)]

    def _all_seen(self, item: reflecting.Listed) -> list[plan.News]:
        kind = item.resource.kind
        is_first = kind not in self._listed
        self._listed.add(kind)
        if kind == resources.POD.kind:
            names = frozenset((pod.namespace, pod.name) for pod in item.present)
            gone: list[plan.News] = list(self._ports.keep(names, item.at))
            own = frozenset({namedports.KIND})
            return [*gone, plan.Whole(present=self._ports.identities(), at=item.at, kinds=own)]
        if kind == self._config.kind:
            if is_first:
                self._reflectors[resources.POD.kind].start()
            if not item.present:
                log.info(
                    "there is no configuration of Cilium; its defaults are taken",
                    config=f"{self._config.namespace}/{self._config.name}",
                )
            options = ciliumoptions.identity(self._config.name)
            present: frozenset[kinds.Identity] = frozenset({options} if item.present else ())
            own = frozenset({ciliumoptions.KIND})
            return [plan.Whole(present=present, at=item.at, kinds=own)]
        return [plan.Whole(present=item.present, at=item.at, kinds=frozenset({kind}))]

    def _configured(self, config: shaping.Config, sighting: reflecting.Sighting) -> list[plan.News]:
        if unread := ciliumoptions.unread(config):
            log.warning("options of Cilium are not understood; passed over", options=unread)
        self._label_by(config)
        identity, want = ciliumoptions.wanted(sighting.identity.name, config)
        return [plan.Change(identity, want, sighting.at)]

    def _label_by(self, config: shaping.Config | None) -> None:
        """Count those labels of pods that Cilium counts; where that changed, see them all again."""
        try:
            labels = ciliumoptions.labels(config)
        except identitylabels.Unusable as error:
            log.warning("Cilium's option labels is not understood", reason=str(error))
            return
        if labels != self._ports.labels:
            self._ports = namedports.NamedPorts(labels)
            if self._config.kind in self._listed:
                self._reflectors[resources.POD.kind].relist()
