"""Let a target meet mutants, each made of its own seed, and tell of those that it does not stand."""

import signal
import traceback
from contextlib import contextmanager

from mutants import Mutator
from targets import TARGETS

LONGEST_S = 10  #: for one mutant, on a busy machine


class Hung(BaseException):
    """A mutant took too long."""


@contextmanager
def within(seconds):
    """Raise `Hung` in the block when it takes longer."""

    def late(*_):
        raise Hung(f"it took longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def fuzz(name, folder, count, first=0, most=1):
    """Return what went wrong with mutants, at most so many: their seeds and the traceback."""
    target = TARGETS[name](folder)
    wrong = []
    for seed in range(first, first + count):
        try:
            with within(LONGEST_S):
                target(Mutator(seed))
        except (Exception, Hung):  # noqa: BLE001  that is what is looked for
            wrong.append((seed, traceback.format_exc()))
            if len(wrong) >= most:
                return wrong
    if not wrong:
        target.end()
    return wrong
