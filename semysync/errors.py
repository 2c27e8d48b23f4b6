"""
Every error that semysync raises on purpose, named by what is to be done about it.

    SemysyncError             exit code 1
    ├── ConfigError           78  change the configuration, or the path that it names
    ├── MirrorUnusable        78  this file cannot be the mirror as it is
    ├── MirrorBusy            75  another program holds the file, or its disk is in trouble: later
    ├── BackupFailed          75  no copy was made: room, the folder, the disk
    ├── ReplicaUnseen         75  the replica, or the Litestream that keeps it, does not answer
    ├── PurgeUnsafe           75  nothing may be deleted now; the message says what is missing
    ├── PurgeStopped          1   a deletion was not as expected: a person must look
    └── ServiceError
        ├── Refused           69  the service has answered no
        │   └── Throttled     75  … for now: ask again after `retry_after_s`
        ├── Unreachable       75  no connection was made, so surely nothing has happened
        ├── Unreadable        75  reading: no usable answer came, ask again
        │   ├── TooLarge      75  … ask for less at a time
        │   └── Unbounded     1   … the service ignores the bounds of questions
        └── AnswerLost        75  writing: it may have happened, look before trying again

A message is a sentence for a person: what is wrong, the value at fault, what to do. The token is
masked in it by the module that raises it.
"""

import os
from collections.abc import Sequence


class SemysyncError(Exception):
    """The root of the tree; `exit_code` is what a command ends with."""

    exit_code = 1


class ConfigError(SemysyncError):
    """The configuration has mistakes, all of them named in the message."""

    exit_code = os.EX_CONFIG


class MirrorUnusable(SemysyncError):
    """The file is not a mirror, is of another version, or cannot be opened for what is asked."""

    exit_code = os.EX_CONFIG


class MirrorBusy(SemysyncError):
    """Another program holds the file or the lock that is needed, or the disk does not take it."""

    exit_code = os.EX_TEMPFAIL


class BackupFailed(SemysyncError):
    """No copy of the mirror was made, or one that is no good, and nothing is left of it."""

    exit_code = os.EX_TEMPFAIL


class ReplicaUnseen(SemysyncError):
    """What a replica holds cannot be seen: its place or the Litestream that keeps it is silent."""

    exit_code = os.EX_TEMPFAIL


class PurgeUnsafe(SemysyncError):
    """Nothing may be deleted now: something that makes it safe is missing."""

    exit_code = os.EX_TEMPFAIL


class PurgeStopped(SemysyncError):
    """A deletion, or what led to it, was not as expected; nothing more is deleted."""


class ServiceError(SemysyncError):
    """Something about the service; `exit_code` 75, try again later, unless a class says more."""

    exit_code = os.EX_TEMPFAIL


class Refused(ServiceError):
    """
    The service has answered no. `code` is the service's own, as text, or the HTTP status.

    It is `sure` that a request was not taken where the code says so, and no message is named.
    """

    exit_code = os.EX_UNAVAILABLE

    def __init__(self, message: str, *, code: str, sure: bool = True) -> None:
        super().__init__(message)
        self.code = code
        self.sure = sure

    @property
    def bars_all(self) -> bool:
        """Whether nothing at all would be answered, whatever is asked: the token, or the address."""
        return self.code in {"401", "403", "404"}


class Throttled(Refused):
    """The service asks for a pause (HTTP 429); `retry_after_s` is None where it does not say."""

    exit_code = os.EX_TEMPFAIL

    def __init__(self, message: str, *, retry_after_s: float | None) -> None:
        super().__init__(message, code="429")
        self.retry_after_s = retry_after_s


class Unreachable(ServiceError):
    """No connection was made: name, address, TLS. Surely nothing has happened at the service."""


class Unreadable(ServiceError):
    """A question got no answer that can be read. Asking again does no harm."""


class TooLarge(Unreadable):
    """
    The answer was broken off because it is larger than this program is willing to hold.

    `seen` are the ids of those of its rows that had come by then, in the order of their coming.
    """

    def __init__(self, message: str, *, seen: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.seen = seen


class Unbounded(Unreadable):
    """The service ignores the bounds of questions, and what it shows is no proof of the rest."""

    exit_code = 1


class AnswerLost(ServiceError):
    """A request that changes something was sent, and what became of it is not known."""
