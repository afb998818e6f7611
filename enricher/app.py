"""Putting the enricher together."""

import prometheus_client

from bus import port
from enricher.loop import Enricher
from enricher.metrics import Metrics
from enricher.session import TOPICS
from enricher.settings import EnricherSettings
from runtime import clock as clocks
from runtime.health import HealthServer
from runtime.lifecycle import App, Part
from schemas import topics

_WRITTEN = (topics.POLICIES, topics.MATCHES, topics.DEADLETTER)


def build(
    settings: EnricherSettings,
    *,
    log: port.Log,
    clock: clocks.Clock = clocks.SYSTEM,
    registry: prometheus_client.CollectorRegistry = prometheus_client.REGISTRY,
) -> App:
    """Build the stage over an open log, which stays the caller's.

    Raises bus.port.Misconfigured where a topic is not as it must be, Unavailable.
    """
    log.ensure([topic for topic in topics.ALL if topic.name in TOPICS or topic in _WRITTEN])
    enricher = Enricher(settings, connection=log, clock=clock, metrics=Metrics(registry))
    parts: list[Part] = []
    if settings.health_port:
        parts.append(
            HealthServer(
                host=settings.health_host,
                port=settings.health_port,
                live={"loop": enricher.live},
                ready={"enricher": enricher.ready},
                registry=registry,
            )
        )
    return App(name="enricher", run=enricher.run, parts=tuple(parts))
