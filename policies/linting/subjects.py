"""A policy as the rules of the linter see it: the manifest beside what it was parsed to."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from policies.flows import Direction
from policies.linting import findings
from policies.linting.findings import Path
from policies.linting.surroundings import Surroundings
from policies.model import KNP, Peer, PeerRule, Policy, Rule, RuleDirection

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One rule of one direction: an entry of ingress, ingressDeny, egress or egressDeny."""

    path: Path
    raw: Json
    parsed: PeerRule
    direction: Direction
    deny: bool

    def peers(self) -> Iterator[tuple[Path, Peer]]:
        """Each peer with its place in the manifest."""
        for name in self.peer_lists():
            written = self.raw.get(name)
            if not written or not self.parsed.peers:
                continue
            for place, peer in enumerate(self.parsed.peers):
                yield (*self.path, name, place), peer

    def peer_lists(self) -> Iterator[str]:
        """The names of the lists of peers that are written down, be they empty."""
        prefix = "from" if self.direction is Direction.INGRESS else "to"
        for name, value in self.raw.items():
            if name.startswith(prefix) and isinstance(value, list) and name not in _NO_PEERS:
                yield name

    def port_lists(self) -> Iterator[tuple[Path, Json]]:
        """The entries of toPorts."""
        for index, entry in enumerate(self.raw.get("toPorts") or ()):
            yield (*self.path, "toPorts", index), entry or {}

    def ports(self) -> Iterator[tuple[Path, Json]]:
        """Each port entry, of whatever kind of policy."""
        for path, entry in self.port_lists():
            for index, port in enumerate(entry.get("ports") or ()):
                yield (*path, "ports", index), port or {}
        for index, port in enumerate(self.raw.get("ports") or ()):
            yield (*self.path, "ports", index), port or {}


_NO_PEERS: Final = frozenset({"toPorts", "fromRequires", "toRequires"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One spec, or one entry of specs."""

    path: Path
    raw: Json
    parsed: Rule

    def side(self, direction: Direction) -> RuleDirection:
        """What it says about one direction."""
        return self.parsed.ingress if direction is Direction.INGRESS else self.parsed.egress

    def entries(self) -> Iterator[Entry]:
        """All of its rules."""
        for direction in Direction:
            side = self.side(direction)
            for deny, parsed in ((False, side.allow), (True, side.deny)):
                name = f"{direction.value}Deny" if deny else direction.value
                written = self.raw.get(name) or ()
                for index, (raw, rule) in enumerate(zip(written, parsed, strict=True)):
                    yield Entry(
                        path=(*self.path, name, index),
                        raw=raw or {},
                        parsed=rule,
                        direction=direction,
                        deny=deny,
                    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One policy that Cilium's engine and the API server take."""

    number: int
    """The number that the object was given when it was read."""
    manifest: Json
    policy: Policy
    surroundings: Surroundings
    parts: tuple[Part, ...]
    entries: tuple[tuple[Part, Entry], ...]

    @property
    def is_kubernetes(self) -> bool:
        """Whether it is a NetworkPolicy."""
        return self.policy.ref.kind == KNP

    @property
    def namespace(self) -> str:
        """The namespace as written; empty where none is."""
        return self.manifest["metadata"].get("namespace") or ""


def of(number: int, manifest: Json, policy: Policy, surroundings: Surroundings) -> Subject:
    """Walk a policy once, for all rules."""
    parts = tuple(
        Part(path=path, raw=findings.at(manifest, path) or {}, parsed=rule)  # type: ignore[arg-type]
        for rule in policy.rules
        for path in (place(rule.path),)
    )
    return Subject(
        number=number,
        manifest=manifest,
        policy=policy,
        surroundings=surroundings,
        parts=parts,
        entries=tuple((part, entry) for part in parts for entry in part.entries()),
    )


@cache
def place(written: str) -> Path:
    """A path without keys that have dots, such as `specs[1]`."""
    return findings.resolve(None, written)
