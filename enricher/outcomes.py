"""What became of a flow: whom it concerns, or why nobody can say.

Everything here is worked out once for many flows and shared by them.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

_SENTENCES: Final = 64
"""How many ports a route keeps a sentence for: a port scan must not fill the memory."""


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """One alerting policy that a flow concerns: all of a match that does not depend on counts."""

    fingerprint: str
    cluster: str
    policy: str
    """As `kind/namespace/name`."""
    fixed: str
    """The fields of `schemas.messages.Match` that do not vary, as JSON, but for the closing brace."""
    _tell: Callable[[str], str]
    """Says why it was stopped, naming the port that it is given, or none."""
    _told: dict[str, str] = field(default_factory=dict)

    def sentence(self, port: str) -> str:
        """Return the sentence as a JSON string; `port` is empty where there are several."""
        known = self._told.get(port)
        if known is None:
            known = json.dumps(self._tell(port), ensure_ascii=False)
            if len(self._told) < _SENTENCES:
                self._told[port] = known
        return known


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a flow is counted as."""

    routes: tuple[Route, ...] = ()
    """One for each alerting policy, none twice; none at all if nobody asked for alerts."""
    unexplained: str = ""
    """Why no policy explains it: short and stable; empty where one does."""
    detail: str = ""
    """A sentence about an unexplained flow."""
