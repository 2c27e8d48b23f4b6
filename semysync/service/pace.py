"""
How fast the service may be asked: turns that come back as time goes by.

One `Pace` belongs to an account: all clients that read from it share one, in whatever thread. Only
questions take turns; what sends or deletes never waits here. A minute's worth of turns may be saved
up, so that a small account is loaded without a pause.
"""

import time
from collections.abc import Callable
from threading import Event, Lock

from semysync.errors import Throttled

LEFT_ALONE_S = 3600  #: a service that asks for more is asked again after this all the same
DUST = 1e-6  #: turns; what adding up fractions may lose


class Stopped(Exception):
    """The program is to end, and nothing more is asked."""


class Pace:
    """
    Turns for questions, so many a minute; None for no limit.

    `clock` never jumps; `wait` is given seconds and may come back sooner, as `Event.wait` does once
    the pace is stopped. Both are there for simulated time.
    """

    def __init__(
        self,
        per_minute: int | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        if per_minute is not None and per_minute < 1:
            raise ValueError(f"per_minute must be at least 1, got {per_minute}")
        self._most = per_minute
        self._turns = float(per_minute or 0)
        self._most_urgent = max(per_minute or 0, 2)
        self._urgent_turns = float(self._most_urgent)
        self._clock = clock
        self._filled_at = clock()
        self._paused_until = float("-inf")
        self._stopping = Event()
        self._wait = wait or self._stopping.wait
        self._lock = Lock()

    def take(self, method: str, *, urgent: bool = False) -> None:
        """
        Return when it is the caller's turn to ask.

        What is `urgent` goes at once, and the others wait the longer, up to a minute's worth. Of
        what comes back half may be urgent: however many hints come, others have their turn. Raises
        `Throttled` as long as the service wants a pause, and `Stopped` once the program is to end:
        `method` is then not asked.
        """
        while seconds := self._until_turn(method, urgent=urgent):
            self._wait(seconds)

    def pause(self, seconds: float) -> None:
        """Let nobody ask for so long: the service wants it."""
        with self._lock:
            until = self._clock() + min(max(seconds, 0), LEFT_ALONE_S)
            self._paused_until = max(self._paused_until, until)

    def stop(self) -> None:
        """Let nobody ask any more, nor wait for a turn."""
        self._stopping.set()

    def _until_turn(self, method: str, *, urgent: bool) -> float:
        """Take a turn and return 0; or return how many seconds it is until there may be one."""
        with self._lock:
            now = self._clock()
            if self._stopping.is_set():
                raise Stopped
            if now < self._paused_until:
                rest = self._paused_until - now
                raise Throttled(
                    f"{method}: not asked, the service wants a pause of {rest:.0f} s more",
                    retry_after_s=rest,
                )
            if self._most is None:
                return 0.0
            gained = (now - self._filled_at) * self._most / 60
            self._turns = min(self._most, self._turns + gained)
            self._urgent_turns = min(self._most_urgent, self._urgent_turns + gained / 2)
            self._filled_at = now
            short = 1 - self._turns
            if urgent:
                # Of what comes back half is for the others, however much is urgent.
                urgent_short = 2 * (1 - self._urgent_turns)
                short = min(short, max(1 - self._most - self._turns, urgent_short))
            if short > DUST:
                return short * 60 / self._most
            self._turns -= 1
            self._urgent_turns -= urgent and self._urgent_turns >= 1 - DUST
            return 0.0
