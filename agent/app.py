"""Builds the agent out of its settings."""

from agent.folder import Folder
from agent.metrics import Metrics
from agent.publisher import Publisher
from agent.settings import AgentSettings
from bus import port
from runtime import clock as clocks
from runtime import health, lifecycle


def build(
    settings: AgentSettings, *, log: port.Log, clock: clocks.Clock = clocks.SYSTEM
) -> lifecycle.App:
    """Return the agent, not yet started. Does not close `log`."""
    publisher = Publisher(
        bus=log,
        cluster=settings.cluster,
        source=Folder(settings.policies),
        rescan_seconds=settings.rescan_seconds,
        metrics=Metrics(),
        clock=clock,
    )
    parts: tuple[lifecycle.Part, ...] = ()
    if settings.health_port:
        parts = (
            health.HealthServer(
                host=settings.health_host,
                port=settings.health_port,
                ready={"policies": publisher.problem},
            ),
        )
    return lifecycle.App(name="agent", run=publisher.run, parts=parts)
