"""
What the log is told: a line for a pass that did something, none for a quiet one.

What goes wrong is told once, however often it is met, and once more when it is over. For any
thread.
"""

import re
import time
import traceback
from collections import Counter
from threading import Lock

import structlog

from semysync.passes.outcome import Outcome

log = structlog.get_logger("semysync")

MOST_SAID = 10  #: different sentences of one kind that are told before it has recovered

MIRROR = "mirror"


class Telling:
    """Remembers what was said, so that nothing is said again before it is over."""

    def __init__(self) -> None:
        self._said: dict[str, set[str]] = {}
        self._failures: Counter[str] = Counter()
        self._worked_s = float("-inf")  # when a pass last got through to the mirror
        self._lock = Lock()

    def ended(self, kind: str, outcome: Outcome | None, *, quiet: bool = False) -> None:
        """Tell of a pass that came to its end; of one that failed not where it is `quiet`."""
        if outcome is None:  # nothing was noted in the mirror, which may be locked for all we know
            self._over(kind, "pass.recovered", kind=kind)
            return
        self._worked_s = time.monotonic()
        self._over(MIRROR, "mirror.recovered")
        noted = outcome.noted
        counts = {"added": noted.added, "changed": noted.changed, "requests": noted.requests}
        if noted.illegible:
            log.warning("pass.illegible_rows", kind=kind, rows=noted.illegible, kept_in="conflicts")
        if noted.error:
            if not quiet and self._is_news(kind, noted.error):
                log.error("pass.failed", kind=kind, **counts, error=noted.error)
            return
        self._over(kind, "pass.recovered", kind=kind)
        if noted.added or noted.changed:
            log.info("pass.finished", kind=kind, **counts)

    def mirror_failed(self, kind: str, error: Exception, began_s: float) -> None:
        """Tell that the mirror can't be used; not of a pass that another has overtaken."""
        if began_s > self._worked_s and self._is_news(MIRROR, str(error)):
            log.error("mirror.failing", kind=kind, error=str(error))

    def broke(self, kind: str, error: Exception) -> None:
        """Tell, with its traceback, of what should never happen."""
        last = traceback.extract_tb(error.__traceback__)[-1:]
        where = f"{last[0].filename}:{last[0].name}" if last else ""
        if self._is_news(kind, f"{type(error).__name__} {where}"):
            log.error("pass.broke", kind=kind, exc_info=error)

    def closed(self) -> None:
        """Forget what was said of the service's failures, which the caller has told the end of."""
        with self._lock:
            for kind in [kind for kind in self._said if kind != MIRROR]:
                self._forget(kind)

    def _is_news(self, kind: str, sentence: str) -> bool:
        # "in 29 s" and "in 28 s" are the same.
        shape = re.sub(r"\d+", "#", sentence)
        with self._lock:
            said = self._said.setdefault(kind, set())
            self._failures[kind] += 1
            if shape in said or len(said) >= MOST_SAID:
                return False
            said.add(shape)
            return True

    def _over(self, of: str, event: str, **facts: object) -> None:
        with self._lock:
            if of not in self._said:
                return
            failures = self._forget(of)
        log.info(event, **facts, failures=failures)

    def _forget(self, kind: str) -> int:
        del self._said[kind]
        return self._failures.pop(kind)
