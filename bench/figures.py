"""What a benchmark measured, beside what it should be. Ratios and rates come from one run."""

from dataclasses import dataclass
from enum import StrEnum


class Better(StrEnum):
    """Which way a figure should go."""

    LOWER = "at most"
    HIGHER = "at least"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured value; `target` None is reported only."""

    name: str
    value: float
    unit: str
    target: float | None = None
    better: Better = Better.LOWER
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Return whether the target is met; None where there is none.

        Compared by value: a figure that was read from JSON has a plain string.
        """
        if self.target is None:
            return None
        return (
            self.value <= self.target if self.better == Better.LOWER else self.value >= self.target
        )
