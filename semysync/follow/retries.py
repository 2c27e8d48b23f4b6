"""
Decide when a delivery that failed is tried again, and when it is given up. Nothing here does I/O.

The distance doubles from five seconds to an hour. It is given up after two days, but not before it
was tried as often as two days have room for: neither a clock that jumps nor a machine that was off
takes away its chances, and a daemon that is restarted every minute does not use them up.
"""

from datetime import datetime, timedelta
from typing import NamedTuple


class Patience(NamedTuple):
    """How long a delivery that fails is tried again, and how often."""

    first_s: float = 5
    longest_s: float = 3600
    lasts: timedelta = timedelta(days=2)

    def distance_s(self, attempts: int) -> float:
        """Return how long after so many failed attempts the next one is due."""
        return float(min(self.first_s * 2.0 ** min(attempts - 1, 60), self.longest_s))

    def most_attempts(self) -> int:
        """Return how many attempts there are room for."""
        attempts, spent_s = 1, 0.0
        while spent_s < self.lasts.total_seconds():
            spent_s += self.distance_s(attempts)
            attempts += 1
        return attempts

    def is_over(self, attempts: int, first_at: datetime, now: datetime) -> bool:
        """Tell whether a delivery has had all its chances."""
        return now - first_at >= self.lasts and attempts >= self.most_attempts()
