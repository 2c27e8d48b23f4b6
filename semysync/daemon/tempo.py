"""
Decide when the next pass of a kind comes. Nothing here does any I/O.

Times are seconds of a clock that cannot jump. An interval of the configuration is what is kept in a
quiet; after news the next passes come sooner. A kind that fails comes at growing distances. When
the service fails as a whole, the circuit opens: nobody asks but one at a time, at growing
distances, and the first answer closes it.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from semysync.errors import Refused, ServiceError, Throttled
from semysync.service.pace import LEFT_ALONE_S

FRESH_S, FRESH_SHARE = 60, 4  #: so young, news make the next pass come after a quarter,
RECENT_S, RECENT_SHARE = 600, 2  #: or after half of the interval
SHORTEST_S = 2.0  #: … but not sooner than that
REST_S = 1.0  #: between two passes of a kind, whoever is in a hurry

FIRST_S = 60  #: the longest first pause of a kind that fails
FIRST_BROKEN_S = 0.5  #: … where it is the mirror that fails, perhaps for a moment only
LONGEST_S = 600  #: the longest pause of all
JITTER = 0.25  #: by what part a pause may be longer or shorter, so that not all ask at once

OPENS_AFTER = 3  #: failures in a row, of whatever kinds
FIRST_OPEN_S = 5  #: the first pause of an open circuit
SERVICE = "service"  #: what fails as a whole, and no single kind of pass

JUMP_S = 2.0  #: by more than this the clock of the day does not drift between two looks


def interval_s(every_s: float, since_news_s: float | None) -> float:
    """Return how long to wait for the next pass; `since_news_s` is None where there were none."""
    if since_news_s is None or since_news_s >= RECENT_S:
        return every_s
    share = FRESH_SHARE if since_news_s < FRESH_S else RECENT_SHARE
    return min(every_s, max(every_s / share, SHORTEST_S))


def pause_s(first_s: float, failures: int, chance: float) -> float:
    """Return how long to wait after so many failures; `chance` is between 0 and 1."""
    doubled = min(first_s * 2 ** min(max(failures - 1, 0), 30), LONGEST_S)
    return float(doubled * (1 + JITTER * (2 * chance - 1)))


def jump_s(before: tuple[float, float], after: tuple[float, float]) -> float:
    """
    Return by how much the clock of the day was put, between two readings of it and of the other.

    Each reading is the time of day and that of the clock which cannot jump; 0 where it only drifts.
    """
    jumped = (after[0] - before[0]) - (after[1] - before[1])
    return jumped if abs(jumped) > JUMP_S else 0.0


@dataclass(slots=True)
class Resting:
    """A kind of pass that rests because it fails: how often it did in a row, and until when."""

    failures: int = 0
    until_s: float = float("-inf")


@dataclass(slots=True)
class Circuit:
    """
    Who may ask the service, by what came of asking it.

    It opens after three failures in a row, of whatever kinds, or where the list of devices is
    refused, which needs nothing but the token. `failed` and `answered` return what is news by that,
    as names: of a kind that fails for the third time in a row, or `SERVICE`. Each is told once, and
    once more when it is over.
    """

    chance: Callable[[], float] = random.random
    is_open: bool = False
    refused: bool = False  #: the service does not take the token: nothing is to be sent
    failures: int = 0  #: in a row, of all kinds
    told: set[str] = field(default_factory=set)  #: what fails, as far as it was told
    _pauses: int = 0  #: since it has opened
    _through: str | None = None  #: the kind that was let through while it is open
    _until_s: float = float("-inf")
    _failing: dict[str, Resting] = field(default_factory=dict)
    _broken: dict[str, Resting] = field(default_factory=dict)

    def wait_s(self, kind: str, now_s: float) -> float:
        """Return how long a kind must wait before it may ask; 0: now."""
        failing, broken = (of.get(kind, Resting()) for of in (self._failing, self._broken))
        until_s = max(self._until_s, broken.until_s)
        if not self.is_open:
            until_s = max(until_s, failing.until_s)
        return max(0.0, until_s - now_s)

    def enter(self, kind: str, now_s: float) -> float:
        """
        Let a kind ask, and return 0; or return how long it must wait.

        While the circuit is open, who is let through is alone until it has ended, or until the next
        pause is over.
        """
        wait_s = self.wait_s(kind, now_s)
        if self.is_open and not wait_s:
            self._through = kind
            self._until_s = now_s + pause_s(FIRST_OPEN_S, self._pauses + 1, self.chance())
        return wait_s

    def failed(self, kind: str, failure: ServiceError, now_s: float, every_s: float) -> set[str]:
        """Note a pass that got nothing of what it asked for; return what is to be told."""
        resting = self._rest(self._failing, kind, now_s, min(every_s, FIRST_S))
        self.failures += 1
        is_no = isinstance(failure, Refused) and not isinstance(failure, Throttled)
        no_token = is_no and kind == "devices"
        if self.is_open and kind != self._through:
            pass  # it had begun before: what it met is known by now
        elif self.is_open or no_token or self.failures >= OPENS_AFTER:
            self.is_open = True
            self._through = None
            self._pauses += 1
            self._until_s = now_s + pause_s(FIRST_OPEN_S, self._pauses, self.chance())
        self.refused |= is_no and self.is_open
        if isinstance(failure, Throttled) and failure.retry_after_s:
            self._until_s = max(self._until_s, now_s + min(failure.retry_after_s, LEFT_ALONE_S))
        news = {SERVICE} if self.is_open else {kind} if resting.failures >= OPENS_AFTER else set()
        news -= self.told
        self.told |= news
        return news

    def asked_nothing(self, now_s: float) -> None:
        """Let the next one ask in place of one that was let through and had nothing to ask."""
        if self.is_open:
            self._until_s = min(self._until_s, now_s)

    def broke(self, kind: str, now_s: float) -> None:
        """Note a pass that broke off, not for the service's sake: that kind rests, no other does."""
        self._rest(self._broken, kind, now_s, FIRST_BROKEN_S)

    def answered(self, kind: str) -> set[str]:
        """Note a pass that got an answer; return what is over. Those that fail may try again."""
        self._failing.pop(kind, None)
        self._broken.pop(kind, None)
        over = self.told & {kind, SERVICE}
        self.told -= over
        self.failures = self._pauses = 0
        self.refused = False
        self._until_s = float("-inf")
        if self.is_open:
            self.is_open = False
            self._failing.clear()
        return over

    def _rest(self, of: dict[str, Resting], kind: str, now_s: float, first_s: float) -> Resting:
        resting = of.setdefault(kind, Resting())
        resting.failures += 1
        resting.until_s = now_s + pause_s(first_s, resting.failures, self.chance())
        return resting
