"""Certificates for relay that are renewed while the collector runs.

grpc's client has no credentials that change, so a renewed file means another channel. It is tried
by a call before anything relies on it, and until it works all stays as it is: in whichever order
relay, its authority and we are renewed, one of the two is right. A stream that is open goes on over
the connection that it has, since TLS looks at certificates only when a connection is made. Where
nothing works any more, both are tried again and again.
"""

import datetime as dt
import threading

import grpc
import structlog

from collector import relay_channel, relay_secrets
from collector.metrics import Metrics
from collector.settings import CollectorSettings
from runtime import clock
from runtime.errors import UserError

log = structlog.get_logger()

LOOK_SECONDS = 2.0
"""How often the files are read."""
SOON = 0.1
"""With less than this share of its life left, a certificate should have been renewed."""

EXPIRING = "the client certificate for relay expires soon and was not renewed"
EXPIRED = "the client certificate for relay has expired"


class Renewal:
    """Reads the files over and over, on a thread of its own, until relay's channel is closed."""

    def __init__(
        self,
        relay: relay_channel.Relay,
        settings: CollectorSettings,
        *,
        time: clock.Clock,
        metrics: Metrics,
    ) -> None:
        self._relay = relay
        self._settings = settings
        self._time = time
        self._metrics = metrics
        self._used = relay_secrets.read(settings)
        self._validity: tuple[dt.datetime, dt.datetime] | None = None
        self._seen: str | None = None
        self._told: str | None = None
        self._warned: tuple[dt.datetime, bool] | None = None
        self._thread = threading.Thread(target=self._run, name="relay renewal", daemon=True)

    def start(self) -> None:
        """Begin to look. What is wrong already is told now, and may be put right."""
        if (problem := self._used.problem()) is not None:
            self._told = problem
            log.warning("the files for relay's TLS cannot be used yet", reason=problem)
        self._note_validity()
        self._thread.start()

    def seconds_left(self) -> float:
        """Return how long our certificate is still valid; not a number without one."""
        if self._validity is None:
            return float("nan")
        return self._validity[1].timestamp() - self._time.now()

    def look(self) -> None:
        """Take over what changed, if it works. Called by the thread only."""
        self._relay.tidy()
        self._warn()
        try:
            found = relay_secrets.read(self._settings)
        except UserError as error:
            self._refuse(str(error))
            return
        if found == self._used:
            self._seen = None
            return
        if (problem := found.problem()) is not None:
            self._refuse(problem)
            return
        try:
            self._relay.renew(relay_channel.open_channel(self._settings, found))
        except grpc.RpcError as error:
            self._refuse(relay_channel.explain(error))
            return
        self._used, self._seen, self._told = found, None, None
        self._note_validity()
        self._metrics.renewals.labels(result="taken").inc()
        until = self._validity[1].isoformat() if self._validity else None
        log.info("renewed certificates are in use", valid_until=until)

    def _run(self) -> None:
        while not self._relay.closed.wait(LOOK_SECONDS):
            try:
                self.look()
            except ValueError:
                # The channel was closed under a call.
                if not self._relay.closed.is_set():
                    raise

    def _refuse(self, problem: str) -> None:
        # The first time it may be a set of files that is just being written.
        again, self._seen = self._seen == problem, problem
        if not again:
            return
        self._metrics.renewals.labels(result="refused").inc()
        if self._told != problem:
            self._told = problem
            log.warning("the new certificates for relay do not work; trying on", reason=problem)

    def _note_validity(self) -> None:
        try:
            self._validity = self._used.validity()
        except ValueError:
            self._validity = None

    def _warn(self) -> None:
        if self._validity is None:
            return
        since, until = self._validity
        left = self.seconds_left()
        is_over = left <= 0
        due = left < SOON * (until - since).total_seconds()
        if due and self._warned != (until, is_over):
            self._warned = (until, is_over)
            log.warning(EXPIRED if is_over else EXPIRING, valid_until=until.isoformat())


def follow(
    relay: relay_channel.Relay,
    settings: CollectorSettings,
    *,
    time: clock.Clock,
    metrics: Metrics,
) -> None:
    """Renew the certificates of this connection for as long as it is open, if it has any."""
    if not settings.tls or not (settings.tls_ca_file or settings.tls_certificate_file):
        return
    renewal = Renewal(relay, settings, time=time, metrics=metrics)
    renewal.start()
    if settings.tls_certificate_file:
        metrics.certificate(renewal.seconds_left)
