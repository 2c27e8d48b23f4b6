"""
The signals that end the daemon, or let it read its configuration again.

There is no handler and so no race: they are blocked, and waited for. Nothing slow is imported here,
so that they can be blocked first of all: a stop that comes while the program starts is a stop too.
"""

import signal

ENDING = {signal.SIGTERM, signal.SIGINT}
AWAITED = ENDING | {signal.SIGHUP}


def block() -> None:
    """Let them wait. Before any thread starts, so that every thread leaves them to us."""
    signal.pthread_sigmask(signal.SIG_BLOCK, AWAITED)


def wait(timeout_s: float) -> int | None:
    """Wait for one that was blocked; return its number, or None where none has come."""
    found = signal.sigtimedwait(AWAITED, timeout_s)
    return found.si_signo if found else None


def end_waits() -> bool:
    """Tell whether one that ends us has come, and leave it there."""
    return not ENDING.isdisjoint(signal.sigpending())


def let_a_second_kill() -> None:
    """End at once for who will not wait for an answer: like any kill, it leaves nothing half."""
    for number in ENDING:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
