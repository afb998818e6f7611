"""What the collector counts, for Prometheus."""

from collections.abc import Callable

import prometheus_client
from prometheus_client import Counter, Gauge, Histogram

from schemas.picket.v1 import flows_pb2

DELAYS = (0.1, 0.25, 0.5, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """One collector's; a registry of its own keeps tests apart."""

    def __init__(
        self, registry: prometheus_client.CollectorRegistry = prometheus_client.REGISTRY
    ) -> None:
        def counter(name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
            return Counter(f"picket_collector_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
            return Gauge(f"picket_collector_{name}", text, labels, registry=registry)

        self.flows = counter("flows", "Responses written to the log")
        self.bytes = counter("flow_bytes", "Bytes of responses written to the log")
        self.duplicates = counter(
            "duplicates", "Responses dropped as known already, by what decided", ("by",)
        )
        self.lost = counter(
            "lost_events", "Events that Hubble lost before they were read", ("node", "source")
        )
        self.gaps = counter("gaps", "Intervals in which flows may be missing", ("node", "reason"))
        self.rejected = counter("dead_letters", "Responses and lines that could not be read")
        self.reconnects = counter("reconnects", "How often the stream was opened again")
        self.transactions = counter("transactions", "Transactions committed")
        self.failures = counter("log_failures", "Transactions that had to be tried again")
        self.buffer = gauge("buffer_bytes", "Bytes received and not yet in the log")
        self.active = gauge("active", "1 where this collector is the active one of its cluster")
        self.ahead = counter(
            "flows_ahead", "Flows among those written that were read before relay's sorting ended"
        )
        self.readings = counter(
            "readings_ahead", "Readings beside the stream, past relay's sorting", ("result",)
        )
        self.renewals = counter(
            "tls_renewals", "Certificates for relay that changed on disk, by result", ("result",)
        )
        self._expiry = gauge(
            "tls_certificate_seconds",
            "Seconds until our client certificate for relay expires",
            ("target",),
        )
        self.away = gauge("nodes_away", "Nodes whose flows do not arrive")
        self._state = gauge("stream_state", "1 for the state that the stream is in", ("state",))
        self.delay = Histogram(
            "picket_collector_flow_delay_seconds",
            "From a flow's time to its place in the log, one sample a transaction",
            registry=registry,
            buckets=DELAYS,
        )
        self.state(flows_pb2.STREAM_STATE_UNSPECIFIED)

    def state(self, state: flows_pb2.StreamState) -> None:
        """Show the stream's state."""
        for name, number in flows_pb2.StreamState.items():
            if number:
                label = name.lower().replace("_", "-")
                self._state.labels(state=label).set(1 if number == state else 0)

    def certificate(self, seconds_left: Callable[[], float]) -> None:
        """Show how long the client certificate is still valid, asked when it is read."""
        self._expiry.labels(target="relay").set_function(seconds_left)
