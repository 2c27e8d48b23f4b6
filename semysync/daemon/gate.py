"""The circuit for several threads: who may ask the service now, and what came of asking it."""

import time
from threading import Lock
from typing import NamedTuple

from semysync.daemon.jobs import Job
from semysync.daemon.tempo import Circuit
from semysync.errors import Refused, ServiceError, Throttled, Unreachable


class News(NamedTuple):
    """What a pass shows of the service that was not known before, by the names of `tempo`."""

    fails: set[str]
    over: set[str]
    was_open: bool = False
    closed: bool = False


class Gate:
    """Lets passes through; for any thread."""

    def __init__(self) -> None:
        self._circuit = Circuit()
        self._mutex = Lock()
        self.refusal: str | None = None  #: why nothing may be sent, in a sentence

    def enter(self, job: Job) -> float:
        """Let a pass ask, and return 0; or return how long it must wait."""
        with self._mutex:
            return self._circuit.enter(job.name, time.monotonic())

    def wait_s(self, name: str) -> float:
        """Return how long a kind of pass must wait before it may ask."""
        with self._mutex:
            return self._circuit.wait_s(name, time.monotonic())

    def asked_nothing(self) -> None:
        """Note a pass that had nothing to ask: it shows nothing."""
        with self._mutex:
            self._circuit.asked_nothing(time.monotonic())

    def broke(self, job: Job) -> None:
        """Note a pass that broke off, not for the service's sake."""
        with self._mutex:
            self._circuit.broke(job.name, time.monotonic())

    def came(self, job: Job, failure: ServiceError | None) -> News:
        """Note what came of asking; return what is news of that."""
        with self._mutex:
            was_open = self._circuit.is_open
            if failure is None:
                over = self._circuit.answered(job.name) if job.asks else set()
                news = News(set(), over, was_open, was_open and not self._circuit.is_open)
            else:
                fails = self._circuit.failed(job.name, failure, time.monotonic(), job.every_s)
                news = News(fails, set(), was_open)
            if not self._circuit.refused:
                self.refusal = None
            elif failure:
                self.refusal = self.refusal or str(failure)
            return news

    def not_told(self, what: str) -> None:
        """Let it be news again that something fails: to tell it went wrong."""
        with self._mutex:
            self._circuit.told.discard(what)


def cause_of(failure: ServiceError | None) -> str:
    """Name what is wrong in a word, for programs that follow events."""
    match failure:
        case Throttled():
            return "throttled"
        case Refused():
            return "refused"
        case Unreachable():
            return "unreachable"
    return "unreadable"
