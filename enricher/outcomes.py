"""What became of a flow: whom it concerns, or why nobody can say.

Everything here is worked out once for many flows and shared by them. There may be tens of thousands
of routes, so a route holds nothing that others could hold for it.
"""

from dataclasses import dataclass
from json.encoder import encode_basestring as quoted

from policies.explanation import Explanation
from policies.naming import Party

SENTENCE = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """One alerting policy and one explanation: what all routes of these have in common."""

    policy: str
    """As `kind/namespace/name`."""
    about: str
    """Their part of the event's attributes, as JSON without the braces."""
    fixed: str
    """Their part of the match's fields, likewise."""
    told: Explanation
    """The explanation as far as it is about this policy."""


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """One alerting policy that a flow concerns: all of a match that does not depend on counts."""

    fingerprint: str
    terms: Terms
    subject: Party
    peer: Party

    def sentence(self, port: str) -> str:
        """Return why it was stopped, as a JSON string; `port` is empty where there are several."""
        text = self.terms.told.sentence(self.subject.text, self.peer.text, port=port)
        return quoted(text[:SENTENCE])


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a flow is counted as."""

    routes: tuple[Route, ...] = ()
    """One for each alerting policy, none twice; none at all if nobody asked for alerts."""
    unexplained: str = ""
    """Why no policy explains it: short and stable; empty where one does."""
    detail: str = ""
    """A sentence about an unexplained flow."""
