"""What is asked of a policy about one flow, and what the datapath said about it."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final
from urllib.parse import urlsplit

from policies.labels import LabelSet
from policies.model import PolicyRef


class Direction(StrEnum):
    """Whose policy is meant: ingress is that of the destination, egress that of the source."""

    INGRESS = "ingress"
    EGRESS = "egress"


class Protocol(IntEnum):
    """Transport protocols, by IP protocol number; OTHER is whatever no rule can name."""

    OTHER = 0
    ICMP = 1
    IGMP = 2
    TCP = 6
    UDP = 17
    ICMPV6 = 58
    VRRP = 112
    SCTP = 132

    def __str__(self) -> str:
        return "ICMPv6" if self is Protocol.ICMPV6 else self.name


class Verdict(IntEnum):
    """Verdicts of Hubble, by their numbers in `flow.Verdict`."""

    UNKNOWN = 0
    FORWARDED = 1
    DROPPED = 2
    ERROR = 3
    AUDIT = 4
    REDIRECTED = 5
    TRACED = 6
    TRANSLATED = 7


class Event(IntEnum):
    """The two kinds of event that count, by Hubble's event type."""

    VERDICT = 5
    L7 = 129


POLICY_DENIED: Final = 133
"""Drop reason: no rule allowed it."""
POLICY_DENY: Final = 181
"""Drop reason: an explicit deny."""
AUTH_REQUIRED: Final = 189
"""Drop reason: the allowing rule asks for authentication."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """What a rule can ask of a request; `path` with its query, as Envoy's `:path`."""

    method: str
    path: str
    host: str
    headers: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of_url(
        cls, method: str, url: str, headers: tuple[tuple[str, str], ...] = ()
    ) -> "HttpRequest":
        """From Hubble's flow, which has one URL for host and path; a broken URL is a path."""
        try:
            parts = urlsplit(url)
            host = parts.netloc.rpartition("@")[2]
        except ValueError:
            return cls(method=method, path=url, host="", headers=headers)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(method=method, path=path, host=host, headers=headers)

    def __str__(self) -> str:
        path, query, _ = self.path.partition("?")
        return f"{self.method} {self.host}{path}{query and '?…'}"


@dataclass(frozen=True, slots=True)
class DnsRequest:
    """The name that was asked for."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaRequest:
    """What a flow shows of a request to Kafka; of several topics it shows one."""

    key: str
    version: int
    topic: str

    def __str__(self) -> str:
        return f"{self.key} {self.topic}".strip()


Request = HttpRequest | DnsRequest | KafkaRequest
"""What a proxy looked at. Its text has no value of a query, since these may be secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One flow as the policy of one end sees it."""

    direction: Direction
    peer: LabelSet
    peer_ip: str = ""
    peer_names: tuple[str, ...] = ()
    """DNS names of the peer, for the text only: Cilium decides by the peer's `fqdn:` labels."""
    protocol: Protocol
    port: int
    """Destination port; for ICMP the type."""
    l7: Request | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What Cilium reported."""

    verdict: Verdict
    event: Event = Event.VERDICT
    drop_reason: int = 0
    """`drop_reason_desc`; 0 where there is none (AUDIT, L7)."""
    denied_by: tuple[PolicyRef, ...] = ()
    """`ingress_denied_by` or `egress_denied_by`: those that have a name."""
