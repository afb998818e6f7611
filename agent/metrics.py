"""What the agent counts for Prometheus."""

import prometheus_client


class Metrics:
    """The agent's metrics in one registry."""

    def __init__(
        self, registry: prometheus_client.CollectorRegistry = prometheus_client.REGISTRY
    ) -> None:
        """Register all of them."""
        self.objects = prometheus_client.Gauge(
            "picket_agent_objects",
            "Objects published by kind",
            ["cluster", "kind"],
            registry=registry,
        )
        self.ignored = prometheus_client.Gauge(
            "picket_agent_ignored_objects",
            "Objects in the folder that matching has no use for",
            ["cluster"],
            registry=registry,
        )
        self.problems = prometheus_client.Gauge(
            "picket_agent_problems",
            "Files and objects that cannot be taken as they are",
            ["cluster"],
            registry=registry,
        )
        self.published = prometheus_client.Counter(
            "picket_agent_published",
            "Versions of objects published, and deletions",
            ["cluster", "what"],
            registry=registry,
        )
        self.requests = prometheus_client.Counter(
            "picket_agent_requests",
            "Lists (by page) and watches asked of the API server",
            ["cluster", "kind", "verb"],
            registry=registry,
        )
        self.active = prometheus_client.Gauge(
            "picket_agent_active",
            "1 while this agent publishes, 0 while it stands by",
            ["cluster"],
            registry=registry,
        )
