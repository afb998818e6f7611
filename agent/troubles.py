"""What stands in the way of reading a cluster, each told once however many kinds it concerns."""

import threading

import structlog

log = structlog.get_logger()


class Troubles:
    """At most one of each kind of objects. Thread-safe."""

    def __init__(self) -> None:
        """Begin without any."""
        self._lock = threading.Lock()
        self._by_kind: dict[str, str] = {}

    def tell(self, kind: str, reason: str) -> None:
        """Note what is wrong; say it in the log unless that was said and still holds."""
        with self._lock:
            is_news = reason not in self._by_kind.values()
            self._by_kind[kind] = reason
        if is_news:
            log.warning("the cluster cannot be read; tried again", reason=reason)

    def over(self, kind: str) -> None:
        """Note that a kind is read again."""
        with self._lock:
            reason = self._by_kind.pop(kind, None)
            is_over = reason is not None and reason not in self._by_kind.values()
        if is_over:
            log.info("the cluster is read again", after=reason)

    def summary(self) -> str | None:
        """Return all of them in one line, or None."""
        with self._lock:
            reasons = sorted(set(self._by_kind.values()))
        return "; ".join(reasons) or None
