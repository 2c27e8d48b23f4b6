"""
The program as it lives here: watched, with a mutation if one is wanted, and in a hurry.

What takes it seconds, so that people and services are spared, takes a part of that.
"""

import ctypes
import signal
from datetime import timedelta

import mortal


def live(box, mutation):
    """Be the program, to its end."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: never outlive the test
    hasten()
    exec(mutation, {})
    mortal.begin(box)
    from semysync.cli import main

    main(prog_name="semysync")


def hasten():
    from semysync.daemon import jobs, loop, process, sending, tempo
    from semysync.follow import hints, retries
    from semysync.passes import due, verify

    put(loop, ANSWER_S=5, END_S=5, REST_S=0.05)
    put(process, BEAT_S=0.1)
    put(sending, AGAIN_S=0.2, FIRST_S=0.1)
    put(tempo, FIRST_S=0.1, FIRST_OPEN_S=0.1, LONGEST_S=0.5, SHORTEST_S=0.1, REST_S=0.05)
    put(jobs, HOUSEKEEPING_S=1, VERIFY_S=1, REFRESH_S=1)
    put(verify, EVERY=timedelta(seconds=4))
    put(due, FIRST_PAUSE_S=0.05)
    put(hints, SETTLE_S=1.0, LOOK_EVERY_S=0.2)
    retries.Patience.__new__.__defaults__ = (0.1, 0.2, retries.timedelta(days=2))


def put(module, **values):
    """Put what is there to another value."""
    for name, value in values.items():
        assert hasattr(module, name), f"{module.__name__}.{name} is no more"
        setattr(module, name, value)
