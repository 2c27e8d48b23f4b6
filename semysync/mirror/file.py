"""
The mirror as a file: open it, see whether it is one, and say in a sentence when it can't be used.

Readers need no more than this module, which imports nothing heavy.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from semysync.errors import MirrorBusy, MirrorUnusable, SemysyncError
from semysync.mirror.lock import file_mode

APPLICATION_ID = 0x53454D59  # "SEMY"
SCHEMA_VERSION = 1  # how many migrations there are: a test holds it to them
BUSY_S = 30  # how long a writer waits for another one
OLDEST_SQLITE = (3, 37, 0)


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """
    Open a connection whose transactions are begun and ended by hand.

    Raises `MirrorUnusable` where the file can't be opened or the SQLite library is too old.
    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise MirrorUnusable(
            f"SQLite {sqlite3.sqlite_version} is too old: 3.37 or newer is needed; "
            "use a newer Python or a newer system"
        )
    mode = "ro" if read_only else "rw"
    with explained(path):
        conn = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=BUSY_S,
            isolation_level=None,
        )
        conn.execute("pragma synchronous = normal")
        return conn


def open_reader(path: Path) -> sqlite3.Connection:
    """
    Open a mirror for reading; rows come as `sqlite3.Row`.

    Raises `MirrorUnusable` where there is none, or it is of another version.
    """
    must_exist(path)
    conn = connect(path, read_only=True)
    with explained(path):
        check_version(conn, path)
    conn.row_factory = sqlite3.Row
    # Bytes that are not UTF-8 can get into a table; one such row must not hide the others.
    conn.text_factory = lambda value: value.decode("utf-8", "replace")
    return conn


def must_exist(path: Path) -> None:
    """Raise `MirrorUnusable` where there is no file."""
    if not path.exists():
        raise MirrorUnusable(
            f"there is no mirror at {path} yet: `semysync sync` or `semysync run` makes it"
        )


def create(path: Path) -> None:
    """Make an empty file with the right mode, and its folder, where there is none yet."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        mode = file_mode(path)
        number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        os.fchmod(number, mode)
        os.close(number)
    except FileExistsError:
        if not path.is_file():
            raise MirrorUnusable(f"{path} is no file: set `path` in [database]") from None
    except OSError as exc:
        raise MirrorUnusable(
            f"cannot make the mirror {path}: {exc.strerror}; "
            "choose a folder that you may write to, by `path` in [database]"
        ) from None


def check_version(conn: sqlite3.Connection, path: Path, *, to_migrate: bool = False) -> None:
    """
    Raise `MirrorUnusable` where the file is not a mirror of this version.

    With `to_migrate` an empty file and an older version pass.
    """
    application = conn.execute("pragma application_id").fetchone()[0]
    version = conn.execute("pragma user_version").fetchone()[0]
    tables = conn.execute("select count(*) from sqlite_master").fetchone()[0]
    if application != APPLICATION_ID and (tables or application):
        raise MirrorUnusable(
            f"{path} is a database of another program: name another file by `path` in [database]"
        )
    if version > SCHEMA_VERSION:
        raise MirrorUnusable(
            f"{path} was written by a newer semysync (its schema is {version}, "
            f"this program knows {SCHEMA_VERSION}): install the newer one"
        )
    if version < SCHEMA_VERSION and not to_migrate:
        raise MirrorUnusable(
            f"{path} was written by an older semysync: `semysync sync`, or a restart of the "
            "daemon, brings it up to date"
        )


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what SQLite says of a file that can't be used into a sentence with what to do."""
    try:
        yield
    except sqlite3.Error as exc:
        error = _explanation(path, getattr(exc, "sqlite_errorname", "") or "")
        if error is None:
            raise
        raise error from exc


def _explanation(path: Path, name: str) -> SemysyncError | None:
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return MirrorBusy(
            f"another program has been writing to {path} for {BUSY_S} s: try again later"
        )
    if name.startswith("SQLITE_FULL"):
        return MirrorBusy(f"no space left for {path}: free some and try again; nothing is lost")
    if name.startswith("SQLITE_NOTADB"):
        return MirrorUnusable(f"{path} is no SQLite database: name another by `path` in [database]")
    if name.startswith("SQLITE_CORRUPT"):
        return MirrorUnusable(f"{path} is damaged: restore a copy of it, or start a new mirror")
    if name.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH")):
        return MirrorUnusable(
            f"cannot write to {path} or its folder: check who owns them, and their modes"
        )
    if name.startswith("SQLITE_IOERR"):
        return MirrorBusy(f"the disk under {path} does not answer as it should: check it")
    return None
