"""What a benchmark measured, beside what it should be. Ratios and rates come from one run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Better(StrEnum):
    """Which way a figure should go."""

    LOWER = "at most"
    HIGHER = "at least"


def quantile(values: Sequence[float], share: float) -> float:
    """Return the least value that so many of them do not exceed: at least one value, in any order.

    0.99 is what is called p99; 1 is the greatest.
    """
    return sorted(values)[math.ceil(share * len(values)) - 1]


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
