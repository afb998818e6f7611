"""What the enricher counts for Prometheus. Only what was committed is counted."""

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from enricher.outcomes import Disagreement

PAIRS = 100
"""How many pairs of policies have a series of their own; all others share one."""
_OTHER = "other"

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """All of `picket_enricher_…`."""

    def __init__(self, registry: CollectorRegistry = prometheus_client.REGISTRY) -> None:
        self.explained = Counter(
            "picket_enricher_flows_explained_total",
            "Stopped flows that policies explain",
            ["cluster"],
            registry=registry,
        )
        self.others = Counter(
            "picket_enricher_flows_not_stopped_total",
            "Flows that nothing stopped, and events that another event stands for",
            ["cluster"],
            registry=registry,
        )
        self.unexplained = Counter(
            "picket_enricher_flows_unexplained_total",
            "Stopped flows that no policy explains, after all tries",
            ["reason"],
            registry=registry,
        )
        self.disagreements = Counter(
            "picket_enricher_flows_disagreeing_total",
            "Flows of which Cilium names one policy as denying, and evaluation another",
            ["cluster", "reported", "found"],
            registry=registry,
        )
        self._pairs: set[Disagreement] = set()
        self.retried = Counter(
            "picket_enricher_flows_retried_total",
            "Times that a flow was put off to be explained later",
            registry=registry,
        )
        self.dead_letters = Counter(
            "picket_enricher_dead_letters_total",
            "Records and flows that could not be read or explained",
            registry=registry,
        )
        self.policies_rejected = Counter(
            "picket_enricher_policy_records_unreadable_total",
            "Records of picket.policies that could not be read",
            registry=registry,
        )
        self.matches = Counter(
            "picket_enricher_matches_total", "Records written to picket.matches", registry=registry
        )
        self.misses = Counter(
            "picket_enricher_explanations_total",
            "Explanations that had to be found: all other flows were answered from the cache",
            ["cluster"],
            registry=registry,
        )
        self.batch_seconds = Histogram(
            "picket_enricher_batch_seconds",
            "Time from a batch's first record to its commit",
            buckets=_SECONDS,
            registry=registry,
        )
        self.transactions = Counter(
            "picket_enricher_transactions_total",
            "Transactions by how they ended",
            ["result"],
            registry=registry,
        )
        self.lag = Gauge(
            "picket_enricher_lag_records",
            "Records between the committed offset and the end, by partition",
            ["topic", "partition"],
            registry=registry,
        )
        self.held = Gauge(
            "picket_enricher_partitions_held",
            "Partitions that wait for a cluster's policies, or for a retry to be due",
            registry=registry,
        )

    def disagreed(self, found: Disagreement, flows: int) -> bool:
        """Count flows; return whether this is the first time that the pair comes up.

        Beyond a number of pairs no more are told apart, so that labels stay bounded.
        """
        if found in self._pairs or len(self._pairs) < PAIRS:
            first = found not in self._pairs
            self._pairs.add(found)
            self.disagreements.labels(found.cluster, found.reported, found.found).inc(flows)
            return first
        self.disagreements.labels(found.cluster, _OTHER, _OTHER).inc(flows)
        return False
