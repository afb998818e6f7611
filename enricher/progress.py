"""How far each cluster has come, as it is told on picket.matches.

Kept across batches, so it changes only when a batch was committed: `plan` says what a batch should
tell and what is true afterwards, `Plan.commit` makes it true.
"""

from dataclasses import dataclass, replace
from typing import Final

from enricher.work import ASIDE, Advance, Count, Events, Work
from schemas import messages

VERDICTS_OFF: Final = "policy-verdict-events-off"
_DROPS_ENOUGH: Final = 20
"""So many drop events of policies without a single policy-verdict event, and it is no chance: the
verdict event precedes its drop event by microseconds."""

Key = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One cluster in one partition."""

    state: messages.StreamState = messages.StreamState.LIVE
    until: int = 0
    flows: int = 0
    """Explained since it was last told."""
    told_at: float = float("-inf")
    """On the monotonic clock."""
    is_told: bool = True


@dataclass(frozen=True, slots=True)
class Tell:
    """A progress message to be written."""

    cluster: str
    partition: int
    standing: Standing
    advance: Advance


@dataclass(frozen=True, slots=True)
class Plan:
    """What one batch tells, and how things stand once it is committed."""

    tells: tuple[Tell, ...]
    standings: dict[Key, Standing]
    events: dict[str, Events]


class Progress:
    """See the module; `seconds` is the shortest time between two messages without news."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._standings: dict[Key, Standing] = {}
        self._events: dict[str, Events] = {}

    def plan(self, work: Work, monotonic: float) -> Plan:
        """Say what a batch has to tell. Adds the notice about missing events to the work."""
        events = self._watch(work)
        advances = self._placed(work.advances)
        standings: dict[Key, Standing] = {}
        tells = []
        for key in sorted(advances.keys() | self._standings.keys()):
            before = self._standings.get(key)
            advance = advances.get(key)
            if advance is None:
                assert before is not None
                if before.is_told or monotonic - before.told_at < self._seconds:
                    continue
                advance = Advance()
            now = _next(before or Standing(state=self._state_of(key[0])), advance)
            is_news = before is None or now.state is not before.state or bool(advance.notices)
            if is_news or monotonic - now.told_at >= self._seconds:
                tells.append(Tell(*key, now, advance))
                now = replace(now, flows=0, told_at=monotonic, is_told=True)
            standings[key] = now
        return Plan(tuple(tells), standings, events)

    def commit(self, plan: Plan) -> None:
        """Make a plan true, once it was written."""
        self._standings.update(plan.standings)
        self._events.update(plan.events)

    def is_due(self, monotonic: float) -> bool:
        """Whether something has been kept back for long enough."""
        return any(
            not standing.is_told and monotonic - standing.told_at >= self._seconds
            for standing in self._standings.values()
        )

    def forget(self, partitions: frozenset[int]) -> None:
        """Leave the telling about these partitions of picket.flows to whoever holds them now."""
        for key in [key for key in self._standings if key[1] in partitions]:
            del self._standings[key]

    def _placed(self, advances: dict[Key, Advance]) -> dict[Key, Advance]:
        """Return advances with those that belong to no partition joined to one that is known.

        So nobody hears of a partition whose state and flow time only another enricher knows.
        """
        placed = {key: advance for key, advance in advances.items() if key[1] != ASIDE}
        known = sorted(self._standings.keys() | placed.keys())
        for (cluster, part), advance in advances.items():
            if part == ASIDE:
                key = next((key for key in known if key[0] == cluster), (cluster, 0))
                placed[key] = advance.with_(placed.get(key))
        return placed

    def _state_of(self, cluster: str) -> messages.StreamState:
        """Return a cluster's state as some other partition knows it."""
        for (name, _), standing in self._standings.items():
            if name == cluster:
                return standing.state
        return messages.StreamState.LIVE

    def _watch(self, work: Work) -> dict[str, Events]:
        """Notice clusters that report drops of policies, but no policy verdicts."""
        after: dict[str, Events] = {}
        for cluster, seen in work.events.items():
            before = self._events.get(cluster, Events())
            now = Events(before.verdicts + seen.verdicts, before.drops + seen.drops)
            if not now.verdicts and now.drops >= _DROPS_ENOUGH:
                key = next(key for key in sorted(work.advances) if key[0] == cluster)
                notices = work.advances[key].notices
                notices[messages.NoticeKind.UNEXPLAINED, VERDICTS_OFF, ""] = Count(
                    count=now.drops,
                    first=work.now,
                    last=work.now,
                    detail="Cilium reports drops but no policy verdicts, so none of them is"
                    " explained: switch policy-verdict-notification on",
                )
                now = Events()
            after[cluster] = now
        return after


def _next(before: Standing, advance: Advance) -> Standing:
    return replace(
        before,
        state=advance.state or before.state,
        until=max(before.until, advance.until),
        flows=before.flows + advance.flows,
        is_told=False,
    )
