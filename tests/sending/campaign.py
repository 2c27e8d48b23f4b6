"""
The long form of `test_harness.py`: each fault at each request, each world, each kill, each copy.

    .venv/bin/python tests/sending/campaign.py [faults] [worlds] [kills] [copies] [daemon]

Without a name all of them are played, in both settings of `lost_answer`; what goes wrong is printed,
with what was ordered, and the exit code is 1. `daemon` kills the real one at 200 random moments
while two programs insert drafts.
"""

import sys
import tempfile
import time
from itertools import product
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import structlog
from daemon_kills import kill_the_daemon
from harness import (
    AT_THE_SERVICE,
    BIG,
    FAULTS,
    STEPS,
    WORLDS,
    WORLDS_FOR_A_PERSON,
    requests_of_a_run,
    with_a_fault,
    with_a_kill,
    with_a_restore,
)

MODES = ("resend", "hold")
KILLS = 200


def faults():
    """Each fault at each request of a run."""
    for mode in MODES:
        last = requests_of_a_run(fresh(), lost_answer=mode)
        for (fault, when), nth in product(FAULTS, range(1, last + 1)):
            if fault not in BIG or nth <= 2:
                yield with_a_fault, (fault, when, nth), {"lost_answer": mode}


def worlds():
    """A lost answer at each request, in each world."""
    for mode, switches in product(MODES, [*WORLDS, *WORLDS_FOR_A_PERSON]):
        last = requests_of_a_run(fresh(), lost_answer=mode, switches=switches)
        for nth, when in product(range(1, last + 1), ("before", "after")):
            yield with_a_fault, ("drop", when, nth), {"lost_answer": mode, "switches": switches}


def kills():
    """A kill at each step, the first and the second time, with answers lost and without."""
    steps = [*product(STEPS, ("before", "after")), *((step, "after") for step in AT_THE_SERVICE)]
    for mode, lost, (step, when), nth in product(MODES, (True, False), steps, (1, 2, 3)):
        yield with_a_kill, (step, when, nth), {"lost": lost, "lost_answer": mode}


def copies():
    """A copy that was made at each request, put back at the end."""
    for mode, lost in product(MODES, (True, False)):
        last = requests_of_a_run(fresh(), lost_answer=mode)
        for nth, when in product(range(1, last + 1), ("before", "after")):
            yield with_a_restore, (when, nth), {"lost": lost, "lost_answer": mode}


def daemon():
    """The real daemon, killed at random moments."""
    for mode in MODES:
        yield kill_the_daemon, (KILLS,), {"lost_answer": mode}


CAMPAIGNS = {play.__name__: play for play in (faults, worlds, kills, copies, daemon)}


def fresh():
    return Path(tempfile.mkdtemp(dir=PLACE.name))


def main():
    wrong = 0
    for name in sys.argv[1:] or CAMPAIGNS:
        began, played = time.monotonic(), 0
        for play, what, how in CAMPAIGNS[name]():
            played += 1
            try:
                play(fresh(), *what, **how)
            except Exception as exc:  # noqa: BLE001  it is what is looked for
                wrong += 1
                print(f"WRONG {play.__name__}{what} {how}: {exc!r}"[:1000], flush=True)
        print(f"{name}: {played} runs in {time.monotonic() - began:.0f} s, {wrong} wrong so far")
    return 1 if wrong else 0


def silent(*_):
    raise structlog.DropEvent


if __name__ == "__main__":
    structlog.configure(processors=[silent])
    with (PLACE := tempfile.TemporaryDirectory(prefix="semysync-campaign-")):
        sys.exit(main())
