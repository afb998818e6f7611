"""Builds the agent out of its settings."""

from agent import credentials, resources
from agent.cluster import FollowedCluster
from agent.following import FollowedFolder
from agent.metrics import Metrics
from agent.publisher import Publisher
from agent.settings import AgentSettings
from agent.source import Source
from bus import port
from runtime import clock as clocks
from runtime import health, lifecycle


def build(
    settings: AgentSettings, *, log: port.Log, clock: clocks.Clock = clocks.SYSTEM
) -> lifecycle.App:
    """Return the agent, not yet started. Does not close `log`. Raises UserError."""
    metrics = Metrics()
    publisher = Publisher(
        bus=log,
        cluster=settings.cluster,
        source=_source(settings, metrics, clock),
        metrics=metrics,
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


def _source(settings: AgentSettings, metrics: Metrics, clock: clocks.Clock) -> Source:
    if settings.policies is not None:
        return FollowedFolder(
            root=settings.policies, rescan_seconds=settings.rescan_seconds, clock=clock
        )
    if settings.kubeconfig is not None:
        found = credentials.of_kubeconfig(settings.kubeconfig, settings.kube_context)
    else:
        found = credentials.of_pod()
    # What is wrong with the file is told before anything starts.
    found.load()
    return FollowedCluster(
        credentials=found,
        config=resources.cilium_config(settings.cilium_namespace, settings.cilium_config),
        asked=lambda kind, verb: metrics.requests.labels(settings.cluster, kind, verb).inc(),
        clock=clock,
    )
