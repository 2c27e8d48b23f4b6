"""
What becomes of hints: they wake the pull of their box, and are compared with it afterwards.

`Doorbell` decides when to ring: at most once a second for each box, and never not at all.
`Awaited` remembers the messages that were named, until the mirror has them; what it has not got
after some minutes is kept in the table `unconfirmed`. Until then nothing is stored: a forged call
leaves no more than that, and a stop forgets it, since polling brings whatever a list shows.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Lock, Thread

import structlog

from semysync.log import Trouble
from semysync.mirror.file import connect, explained, writing
from semysync.mirror.tables import passes, unconfirmed
from semysync.mirror.tables.unconfirmed import Hint

log = structlog.get_logger("semysync")

APART_S = 1.0  #: between two pulls of a box for hints
SETTLE_S = 300.0  #: a message that no list has shown after so long is kept
LOOK_EVERY_S = 30.0
MOST = 1_000  #: messages of a box that are remembered


class Doorbell:
    """
    Rings for a box at once, and again not before a second is over; then once for all that came.

    `later` calls a function in so many seconds. All of it is for one thread.
    """

    def __init__(
        self,
        ring: Callable[[str], object],
        later: Callable[[float, Callable[[], object]], object],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ring = ring
        self._later = later
        self._clock = clock
        self._rung_at: dict[str, float] = {}
        self._waiting: set[str] = set()

    def press(self, box: str) -> None:
        """Ring for a box, now or as soon as it may."""
        if box in self._waiting:
            return
        rest_s = self._rung_at.get(box, float("-inf")) + APART_S - self._clock()
        if rest_s <= 0:
            self._ring_now(box)
        else:
            self._waiting.add(box)
            self._later(rest_s, lambda: self._ring_now(box))

    def _ring_now(self, box: str) -> None:
        self._waiting.discard(box)
        self._rung_at[box] = self._clock()
        self._ring(box)


def overdue(
    waits_s: Mapping[tuple[str, int], float],
    passed: Mapping[str, datetime | None],
    now: datetime,
) -> dict[tuple[str, int], datetime]:
    """
    Decide which messages no list is likely to show any more; return when each was named.

    They have waited long enough, and a complete pass of their box, which began at `passed`, did not
    bring them: as long as the service is out of reach, there is no list that lacks anything.
    """
    named_at = {
        key: now - timedelta(seconds=wait_s)
        for key, wait_s in waits_s.items()
        if wait_s >= SETTLE_S
    }
    return {key: at for key, at in named_at.items() if (looked := passed[key[0]]) and looked >= at}


class Awaited:
    """The messages that webhooks named and that are not in the mirror yet; for any thread."""

    def __init__(
        self,
        mirror: Path,
        *,
        region: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._mirror = mirror
        self._region = region
        self._clock = clock
        self._lock = Lock()
        self._hints: dict[tuple[str, int], tuple[float, Hint]] = {}

    def __len__(self) -> int:
        return len(self._hints)

    def add(self, hint: Hint) -> bool:
        """Remember a message, the first call of it; return False where there are too many."""
        with self._lock:
            # Of each box: the statuses of what is sent in bulk must not crowd out what comes in.
            if len(self._hints) >= MOST <= sum(box == hint.box for box, _ in self._hints):
                return False
            self._hints.setdefault((hint.box, hint.message_id), (self._clock(), hint))
            return True

    def settle(self) -> int:
        """
        Forget what the mirror has; keep what no list shows, and return how many.

        What was kept before and is in the mirror by now is let go.
        """
        with self._lock:
            hints = dict(self._hints)
        now, wall = self._clock(), datetime.now(UTC)
        with explained(self._mirror), closing(connect(self._mirror)) as conn:
            # Read first: what such a pass has brought must be there when the mirror is asked.
            passed = {box: passes.last_complete(conn, box) for box in unconfirmed.IN_BOX}
            there = {key for key in hints if unconfirmed.is_mirrored(conn, *key)}
            waits_s = {key: now - since for key, (since, _) in hints.items() if key not in there}
            late = overdue(waits_s, passed, wall)
            if late or unconfirmed.is_there(conn):
                with writing(conn):
                    unconfirmed.confirm(conn)
                    for key, called_at in late.items():
                        unconfirmed.keep(conn, hints[key][1], called_at, wall, self._region)
        with self._lock:
            for key in (*there, *late):
                self._hints.pop(key, None)
        return len(late)


class Settling:
    """Compares hints with the mirror now and then, in a thread of its own."""

    def __init__(self, awaited: Awaited) -> None:
        self._awaited = awaited
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="hints", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(LOOK_EVERY_S)

    def _run(self) -> None:
        trouble = Trouble("hints.unsettled")
        while not self._stopping.wait(LOOK_EVERY_S):
            try:
                if kept := self._awaited.settle():
                    log.warning("webhook.unconfirmed", messages=kept, kept_in="unconfirmed")
                trouble.over()
            except Exception as exc:  # noqa: BLE001  nothing ends this thread
                trouble.met(exc)
