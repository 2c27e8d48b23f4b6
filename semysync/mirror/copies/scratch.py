"""
Folders for what is only needed for a while: they are gone afterwards, also after a kill.

Who works in one holds a lock on it, which the system releases when that process ends, however it
ends. What nobody holds any more is cleared away by the next one who makes such a folder there: it
may be a whole mirror, or a place's password.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import gettempdir, mkdtemp

from semysync.errors import ReplicaUnseen

SMALL = "semysync-litestream-"


@contextmanager
def own_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Make a folder that only this user can read, and clear away what was left of earlier ones."""
    for left in parent.glob(f"{prefix}*"):
        with suppress(OSError):
            _clear_away(left)
    made, number = _made(parent, prefix)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        os.close(number)


@contextmanager
def small_folder() -> Iterator[Path]:
    """Make a folder for what is small; raises `ReplicaUnseen` where there is no room for that."""
    try:
        with own_folder(Path(gettempdir()), SMALL) as made:
            yield made
    except OSError as exc:
        raise ReplicaUnseen(
            f"nothing can be written to the folder for temporary files ({exc.strerror}): make room in "
            f"{os.environ.get('TMPDIR', '/tmp')}, or name another by TMPDIR"  # noqa: S108  only said
        ) from None


def _made(parent: Path, prefix: str) -> tuple[Path, int]:
    """Return a new folder and the file number of the lock on it."""
    while True:
        made = Path(mkdtemp(prefix=prefix, dir=parent))
        # Before it is locked, another may take it for one that was left.
        with suppress(FileNotFoundError, BlockingIOError):
            number = _locked(made)
            if made.exists():
                return made, number
            os.close(number)


def _clear_away(left: Path) -> None:
    number = _locked(left)
    try:
        if os.fstat(number).st_uid == os.geteuid():
            shutil.rmtree(left)
    finally:
        os.close(number)


def _locked(path: Path) -> int:
    number = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(number)
        raise
    return number
