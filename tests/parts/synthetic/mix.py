"""What happens in the synthetic cluster, and which alerts come of it.

The policies in force are those of tests/data/mix/policies; every scenario agrees with them. What a
scenario is expected to raise is written down here by hand, from the policies, not computed.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from schemas.hubble import flow_pb2
from tests.parts.synthetic import kinds, world
from tests.parts.synthetic.kinds import EGRESS, INGRESS, Call, Policy, Port

POLICIES = Path(__file__).parents[2] / "data" / "mix" / "policies"
CNP, CCNP, KNP = "CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy", "NetworkPolicy"

BACKEND_INGRESS = Policy(CNP, "shop", "backend-ingress")
FRONTEND_EGRESS = Policy(CNP, "shop", "frontend-egress")
DB_INGRESS = Policy(CNP, "shop", "db-ingress")
AUDITED_INGRESS = Policy(CNP, "shop", "audited-ingress")
LEDGER_INGRESS = Policy(KNP, "pay", "ledger-ingress")
LEDGER_SCRAPING = Policy(CNP, "pay", "ledger-scraping")
GATEWAY_INGRESS = Policy(CNP, "pay", "gateway-ingress")
GATEWAY_EGRESS = Policy(CNP, "pay", "gateway-egress")
PLAYER_INGRESS = Policy(CNP, "media", "player-ingress")
MEDIA_EGRESS = Policy(CCNP, "", "media-egress")

PROJECTS: Mapping[Policy, str] = {
    BACKEND_INGRESS: "101",
    FRONTEND_EGRESS: "101",
    AUDITED_INGRESS: "101",
    DB_INGRESS: "102",
    LEDGER_INGRESS: "102",
    LEDGER_SCRAPING: "103",
    GATEWAY_EGRESS: "103",
    MEDIA_EGRESS: "103",
}
"""The alerting policies and their GitLab projects; the others stop flows in silence."""


@dataclass(frozen=True, slots=True)
class Party:
    """One end of an alert."""

    kind: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """An alert that the flows of a scenario must raise, one event each."""

    policy: Policy
    direction: str
    reason: str
    subject: Party
    peer: Party

    @property
    def project(self) -> str:
        """Return the GitLab project of the policy's owners."""
        return PROJECTS[self.policy]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One flow of a scenario, and what comes of it."""

    flow: flow_pb2.Flow
    alerts: tuple[Alert, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Something that happens, as the flows that tell of it."""

    name: str
    steps: tuple[Step, ...]


class Mix(StrEnum):
    """How often what happens."""

    EVERYDAY = "everyday"
    """Most flows are allowed, about a sixth tells of something that was stopped."""
    STOPPED = "stopped"
    """Nothing but what is stopped: verdicts, audits, refused names, with their drop events."""
    DENIED = "denied"
    """The same without drop events: each flow is one that counts."""
    QUIET = "quiet"
    """Nothing is stopped."""


class Cast:
    """All scenarios of a cluster with these nodes, named `<cluster>/<node>`."""

    def __init__(self, nodes: Sequence[str]) -> None:
        self.nodes = tuple(nodes)
        allowed, stopped = list(self._allowed()), list(self._stopped())
        self.scenarios = {each.name: each for each in (*allowed, *stopped)}
        self.allowed = tuple(each.name for each in allowed)
        self.stopped = tuple(each.name for each in stopped)

    def weights(self, mix: Mix) -> Mapping[str, int]:
        """Return how often each scenario is played."""
        if mix is Mix.QUIET:
            return dict.fromkeys(self.allowed, 1)
        if mix is Mix.EVERYDAY:
            return dict.fromkeys(self.allowed, 8) | dict.fromkeys(self.stopped, 1)
        return dict.fromkeys(self.stopped, 1)

    def played(self, name: str, mix: Mix) -> Scenario:
        """Return a scenario as a mix plays it."""
        scenario = self.scenarios[name]
        if mix is not Mix.DENIED:
            return scenario
        kept = tuple(step for step in scenario.steps if counts(step.flow))
        return dataclasses.replace(scenario, steps=kept)

    def stranger(self, app: str) -> Scenario:
        """Return a denied call to the backend by a workload of that name: an alert of its own."""
        pod = world.Pod(namespace="media", app=app, place=0)
        call = Call(source=pod, destination=world.BACKEND, port=Port(8080), direction=INGRESS)
        return self._denied(f"stranger-{app}", call, BACKEND_INGRESS)

    def _allowed(self) -> list[Scenario]:
        to_backend = {"source": world.FRONTEND, "destination": world.BACKEND, "port": Port(8080)}
        out = Call(**to_backend, direction=EGRESS)
        into = Call(**to_backend, direction=INGRESS)
        db = Call(source=world.BACKEND, destination=world.DB, port=Port(5432), direction=INGRESS)
        name = Call(
            source=world.FRONTEND,
            destination=world.COREDNS,
            port=Port(53, "UDP"),
            direction=EGRESS,
        )
        ledger = {"source": world.GATEWAY, "destination": world.LEDGER, "port": Port(9090)}
        nodes = self.nodes
        return [
            _plain(
                "frontend-calls-backend",
                kinds.allowed(out, FRONTEND_EGRESS, nodes),
                kinds.allowed(into, BACKEND_INGRESS, nodes),
                kinds.traced(into, nodes),
                kinds.traced(into, nodes),
            ),
            _plain(
                "backend-asks-db",
                kinds.allowed(db, DB_INGRESS, nodes),
                kinds.traced(db, nodes),
                kinds.traced(db, nodes),
            ),
            _plain(
                "frontend-resolves",
                kinds.allowed(name, FRONTEND_EGRESS, nodes, proxy=True),
                kinds.asked(name, "api.example.com.", nodes, refused=False),
            ),
            _plain(
                "gateway-books",
                kinds.allowed(Call(**ledger, direction=EGRESS), GATEWAY_EGRESS, nodes),
                kinds.allowed(Call(**ledger, direction=INGRESS), LEDGER_INGRESS, nodes),
                kinds.traced(Call(**ledger, direction=INGRESS), nodes),
            ),
        ]

    def _stopped(self) -> list[Scenario]:
        web = Port(8080)
        into_backend = {"destination": world.BACKEND, "direction": INGRESS}
        to_ledger = {
            "source": world.BACKEND,
            "destination": world.LEDGER,
            "direction": INGRESS,
        }
        both = (LEDGER_INGRESS, LEDGER_SCRAPING)
        return [
            self._denied(
                "player-calls-backend",
                Call(source=world.PLAYER, port=web, **into_backend),
                BACKEND_INGRESS,
            ),
            self._denied(
                "player-pings-backend",
                Call(source=world.PLAYER, port=Port(0, "ICMPv4"), **into_backend),
                BACKEND_INGRESS,
            ),
            self._denied(
                "world-calls-backend",
                Call(source=world.VISITOR, port=web, **into_backend),
                BACKEND_INGRESS,
            ),
            self._denied(
                "frontend-calls-wrong-port",
                _out(world.FRONTEND, world.BACKEND, 9999),
                FRONTEND_EGRESS,
            ),
            self._denied(
                "frontend-calls-forbidden-site",
                _out(world.FRONTEND, world.SHADY, 443),
                FRONTEND_EGRESS,
                by=FRONTEND_EGRESS,
            ),
            self._refused_name(),
            self._encoder_at_db(),
            self._audit(),
            self._denied("backend-calls-ledger", Call(port=Port(9090), **to_ledger), *both),
            self._denied(
                "backend-sends-to-ledger", Call(port=Port(9090, "UDP"), **to_ledger), *both
            ),
            self._denied(
                "gateway-calls-wrong-port", _out(world.GATEWAY, world.BANK, 80), GATEWAY_EGRESS
            ),
            self._denied(
                "encoder-calls-world", _out(world.ENCODER, world.SOMEWHERE, 443), MEDIA_EGRESS
            ),
            self._denied(
                "backend-calls-gateway",  # the policy that stops it wants no alerts
                Call(
                    source=world.BACKEND,
                    destination=world.GATEWAY,
                    port=Port(8443),
                    direction=INGRESS,
                ),
            ),
            self._denied(
                "backend-calls-player",  # the policy that stops it has no owner
                Call(
                    source=world.BACKEND,
                    destination=world.PLAYER,
                    port=Port(7000),
                    direction=INGRESS,
                ),
            ),
        ]

    def _denied(
        self, name: str, call: Call, *policies: Policy, by: Policy | None = None
    ) -> Scenario:
        """A call that is stopped: a verdict, and its drop event a moment later."""
        reason = "no-rule-allowed" if by is None else "denied-by"
        code = flow_pb2.POLICY_DENIED if by is None else flow_pb2.POLICY_DENY
        verdict = Step(
            flow=kinds.denied(call, self.nodes, by=by),
            alerts=tuple(_alert(call, each, reason) for each in policies),
        )
        drop = Step(flow=kinds.dropped(call, self.nodes, reason=code))
        return Scenario(name=name, steps=(verdict, drop))

    def _refused_name(self) -> Scenario:
        call = _out(world.FRONTEND, world.COREDNS, 53, protocol="UDP")
        name = "blocked.example.org."
        return Scenario(
            name="frontend-resolves-forbidden",
            steps=(
                Step(flow=kinds.allowed(call, FRONTEND_EGRESS, self.nodes, proxy=True)),
                Step(
                    flow=kinds.asked(call, name, self.nodes, refused=True),
                    alerts=(_alert(call, FRONTEND_EGRESS, "l7-denied"),),
                ),
            ),
        )

    def _encoder_at_db(self) -> Scenario:
        """Allowed to leave, stopped where it arrives."""
        ends = {"source": world.ENCODER, "destination": world.DB, "port": Port(5432)}
        left = kinds.allowed(Call(**ends, direction=EGRESS), MEDIA_EGRESS, self.nodes)
        stopped = self._denied("", Call(**ends, direction=INGRESS), DB_INGRESS, by=DB_INGRESS)
        return Scenario(name="encoder-calls-db", steps=(Step(flow=left), *stopped.steps))

    def _audit(self) -> Scenario:
        call = Call(
            source=world.BACKEND, destination=world.AUDITED, port=Port(8080), direction=INGRESS
        )
        step = Step(
            flow=kinds.audited(call, self.nodes), alerts=(_alert(call, AUDITED_INGRESS, "audit"),)
        )
        return Scenario(name="backend-calls-audited", steps=(step,))


def counts(flow: flow_pb2.Flow) -> bool:
    """Return whether a flow tells that something was stopped, and is not the twin of one."""
    return flow.event_type.type in (kinds.VERDICT, kinds.L7) and flow.verdict in (
        flow_pb2.DROPPED,
        flow_pb2.AUDIT,
    )


def _out(source: world.Pod, destination: world.End, port: int, *, protocol: str = "TCP") -> Call:
    return Call(source=source, destination=destination, port=Port(port, protocol), direction=EGRESS)


def _plain(name: str, *flows: flow_pb2.Flow) -> Scenario:
    return Scenario(name=name, steps=tuple(Step(flow=flow) for flow in flows))


def _alert(call: Call, policy: Policy, reason: str) -> Alert:
    out = call.direction == EGRESS
    subject, peer = (call.source, call.destination)[:: 1 if out else -1]
    return Alert(
        policy=policy,
        direction="egress" if out else "ingress",
        reason=reason,
        subject=_party(subject),
        peer=_party(peer),
    )


def _party(end: world.End) -> Party:
    """An address is what the policy itself names: here no alerting policy names another's."""
    if isinstance(end, world.Pod):
        return Party("workload", end.namespace, end.app)
    return Party("cidr", "", end.prefix) if end.prefix else Party("world", "", "world")
