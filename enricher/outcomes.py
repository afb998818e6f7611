"""What became of a flow: whom it concerns, or why nobody can say.

Everything here is worked out once for many flows and shared by them. There may be tens of thousands
of routes, so a route holds nothing that others could hold for it.
"""

import functools
from dataclasses import dataclass
from json.encoder import encode_basestring as quoted

from policies.explanation import Explanation
from policies.naming import Party

SENTENCE = 1000
SENTENCES = 16_384


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
        return _sentence(self, port)


@functools.lru_cache(maxsize=SENTENCES)
def _sentence(route: Route, port: str) -> str:
    """Return a route's sentence: batch by batch mostly the same ones are told."""
    text = route.terms.told.sentence(route.subject.text, route.peer.text, port=port)
    return quoted(text[:SENTENCE])


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Cilium says that a policy denied a flow, and by its rules it does not."""

    cluster: str
    reported: str
    """The policy that Cilium names, as `kind/namespace/name`."""
    found: str
    """Those that deny it by their rules, or `none`."""


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a flow is counted as."""

    routes: tuple[Route, ...] = ()
    """One for each alerting policy, none twice; none at all if nobody asked for alerts."""
    unexplained: str = ""
    """Why no policy explains it: short and stable; empty where one does."""
    detail: str = ""
    """A sentence about an unexplained flow."""
    disagreements: tuple[Disagreement, ...] = ()
    """Where Cilium names a policy and evaluation another; Cilium is believed."""
