"""What a pass came to."""

from dataclasses import dataclass

from semysync.errors import Refused, ServiceError, Throttled, Unreachable
from semysync.mirror.store import Saved
from semysync.mirror.tables.passes import Pass


@dataclass(slots=True)
class Outcome:
    """What a pass came to: its record, how many looks were complete, and the first failure."""

    noted: Pass
    complete: int = 0
    failure: ServiceError | None = None

    def add(self, saved: Saved) -> None:
        self.noted.added += saved.added
        self.noted.changed += saved.changed
        self.noted.illegible += saved.illegible

    def fail(self, where: str, failure: ServiceError) -> None:
        self.failure = self.failure or failure
        self.noted.error = self.noted.error or f"{where}{failure}"


def is_hopeless(failure: ServiceError | None) -> bool:
    """Tell whether there is no point in asking anything else in this pass."""
    if isinstance(failure, Unreachable | Throttled):
        return True
    return isinstance(failure, Refused) and failure.bars_all
