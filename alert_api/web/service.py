"""What the endpoints need."""

from dataclasses import dataclass

from alert_api import instants
from alert_api.database import Database
from alert_api.settings import GitLabProject
from runtime.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The database and the time, for endpoints."""

    database: Database
    clock: Clock
    gitlab: tuple[GitLabProject, ...]

    def now(self) -> int:
        """Return now in microseconds."""
        return instants.from_seconds(self.clock.now())
