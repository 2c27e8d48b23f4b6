"""
Sees whether another machine has taken over from the replica of this one: then nothing is sent here.

It looks in a thread of its own, since a replica may be on the other side of the world. Before the
first look has shown that nobody has, nothing is sent; later a look that fails changes nothing.
"""

from pathlib import Path
from threading import Event, Thread

import structlog

from semysync.config import Config
from semysync.errors import SemysyncError
from semysync.mirror.copies.replica import place_of
from semysync.mirror.copies.takeover import UNSEEN, taken_over

log = structlog.get_logger("semysync")

LOOK_EVERY_S = 60.0
AGAIN_S = 10.0  #: after a first look that failed

NOT_SEEN_YET = "whether another machine has taken over is being looked up"


class Fence:
    """What stands against sending for another machine's sake; nothing where there is no replica."""

    def __init__(self, config: Config, mirror: Path) -> None:
        self._replica = place_of(config.replica)
        self._mirror = mirror
        self._why = NOT_SEEN_YET if self._replica else None
        self._seen = not self._replica
        self._unseen: str | None = None  # what has hindered the last look, since it was said
        self._looked = Event()
        self._stopping = Event()
        self._thread = Thread(target=self._until_stopped, name="fence", daemon=True)

    def start(self) -> None:
        if self._replica:
            self._thread.start()
        else:
            self._looked.set()

    def stop(self) -> None:
        self._stopping.set()
        self._looked.set()

    def wait(self, longest_s: float) -> None:
        """Wait until the first look has ended, whatever it came to."""
        self._looked.wait(longest_s)

    def why(self) -> str | None:
        """Say why nothing may be sent; None where it may, as far as was seen."""
        return self._why

    def _until_stopped(self) -> None:
        while not self._stopping.wait(self._pause_s() if self._looked.is_set() else 0):
            try:
                self._look()
            except Exception:  # without this thread two machines could send for ever
                log.exception("fence.broke")
            self._looked.set()

    def _look(self) -> None:
        try:
            why = taken_over(self._mirror, self._replica)
        except SemysyncError as exc:
            why = f"{UNSEEN}: {exc}"
            if self._seen:
                if why != self._unseen:  # said once, not every minute
                    log.warning("replica.unseen", error=str(exc))
                self._unseen = why
                return
        else:
            self._seen = True
            if self._unseen:
                log.info("replica.seen")
            self._unseen = None
        if why and why != self._why:
            log.error("sending.fenced", why=why)
        self._why = why

    def _pause_s(self) -> float:
        return LOOK_EVERY_S if self._seen else AGAIN_S
