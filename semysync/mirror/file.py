"""
The mirror as a file: open it, see whether it is one, and say in a sentence when it can't be used.

`connect` is for those who write, `open_reader` for all others. Readers need no more than this
module, which imports nothing heavy.
"""

import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Event
from typing import Protocol

from semysync.errors import MirrorBusy, MirrorUnusable, SemysyncError
from semysync.mirror.access import (
    harm,
    is_read_only,
    make_folder,
    new_file,
    not_opened,
    obstacle,
)

APPLICATION_ID = 0x53454D59  # "SEMY"
SCHEMA_VERSION = 1  # how many migrations there are: a test holds it to them
LOG_PAGES = 4000  # of SQLite's write-ahead log, until they go into the file: 16 MB
BUSY_S = 30  # how long a writer waits for another one
BREATH_S, LONGEST_BREATH_S = 0.02, 0.5  # that a long work leaves to other writers, again and again
OLDEST_SQLITE = (3, 37, 0)

DENIED = ("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH")

# What SQLite's errors about a file mean for a person; the first whose beginning fits holds.
SENTENCES: tuple[tuple[tuple[str, ...], type[SemysyncError], str], ...] = (
    (
        ("SQLITE_BUSY_RECOVERY",),
        MirrorBusy,
        "another program is putting {path} in order after a crash: try again in a minute",
    ),
    (
        ("SQLITE_BUSY", "SQLITE_LOCKED"),
        MirrorBusy,
        "another program has been writing to {path} for {seconds} s: try again later",
    ),
    (
        ("SQLITE_PROTOCOL",),
        MirrorBusy,
        "too many programs open {path} at once, or its disk keeps no locks: try again later",
    ),
    (
        ("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE"),  # the second: no room for the index of its log
        MirrorBusy,
        "no space left for {path}: free some and try again; nothing is lost",
    ),
    (
        ("SQLITE_IOERR_WRITE", "SQLITE_IOERR_TRUNCATE", "SQLITE_IOERR_FSYNC"),
        MirrorBusy,
        "the disk does not take what is written to {path}: check it and your quota; nothing is lost",
    ),
    (
        ("SQLITE_IOERR",),
        MirrorBusy,
        "the disk under {path} does not answer as it should: check it",
    ),
    (
        ("SQLITE_NOTADB",),
        MirrorUnusable,
        "{path} is no SQLite database: name another by `path` in [database]",
    ),
    (
        ("SQLITE_CORRUPT",),
        MirrorUnusable,
        "{path} is damaged: restore a copy of it, or start a new mirror",
    ),
    (
        ("SQLITE_READONLY_DBMOVED",),
        MirrorUnusable,
        "{path} was moved or replaced while it was open: start again",
    ),
    (
        DENIED,
        MirrorUnusable,
        "cannot {use} {path} or a file beside it: check that they are there, and their modes",
    ),
)


class Connected(Protocol):
    """Who holds a connection to the mirror: the store, for what has a class of its own."""

    def connected(self) -> AbstractContextManager[sqlite3.Connection]:
        """Hand out the connection; what SQLite says of the file becomes one of our errors."""

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        """Hold one transaction: all that is written in it is stored, or nothing."""


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
    # SQLite would open for reading what it can't open for writing, and leave files beside it.
    if not (read_only or os.access(path, os.W_OK)) and (error := _denied(path, writing=True)):
        raise error
    mode = "ro" if read_only else "rw"
    with explained(path, reading=read_only):
        conn = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=BUSY_S,
            isolation_level=None,
        )
        try:
            conn.execute("pragma synchronous = normal")
            conn.execute(f"pragma wal_autocheckpoint = {LOG_PAGES}")
        except BaseException:
            conn.close()
            raise
        return conn


def open_reader(path: Path) -> sqlite3.Connection:
    """
    Open a mirror for reading; rows come as `sqlite3.Row`.

    Raises `MirrorUnusable` where there is none, or it is of another version, or cannot be read
    without harm to those who write.
    """
    must_exist(path)
    if sentence := harm(path):
        raise MirrorUnusable(sentence)
    return _checked(connect(path, read_only=True), path, reading=True)


def open_writer(path: Path) -> sqlite3.Connection:
    """
    Open a mirror to read and write it; rows come as `sqlite3.Row`.

    Raises `MirrorUnusable` where there is none, or it is of another version, or cannot be written.
    """
    must_exist(path)
    return _checked(connect(path), path, reading=False)


def _checked(conn: sqlite3.Connection, path: Path, *, reading: bool) -> sqlite3.Connection:
    """Make a connection one to a mirror of this version, or close it and raise."""
    try:
        with explained(path, reading=reading):
            check_version(conn, path)
    except BaseException:
        conn.close()
        raise
    conn.row_factory = sqlite3.Row
    # Bytes that are not UTF-8 can get into a table; one such row must not hide the others.
    conn.text_factory = lambda value: value.decode("utf-8", "replace")
    return conn


def must_exist(path: Path) -> None:
    """Raise `MirrorUnusable` where there is no file."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise MirrorUnusable(
            f"there is no mirror at {path} yet: `semysync sync` or `semysync run` makes it"
        ) from None
    except OSError as exc:
        sentence = obstacle(path, writing=False) if isinstance(exc, PermissionError) else None
        raise MirrorUnusable(sentence or f"cannot open {path}: {exc.strerror}") from None
    if not stat.S_ISREG(mode):
        raise MirrorUnusable(f"{path} is no file: name the mirror by --database, or in [database]")


def create(path: Path) -> None:
    """Make an empty file as open as its folder, and the folder, where there is none yet."""
    with making(path):
        make_folder(path.parent)
        try:
            os.close(new_file(path))
        except FileExistsError:
            if not path.is_file():
                raise MirrorUnusable(f"{path} is no file: set `path` in [database]") from None


@contextmanager
def making(path: Path) -> Iterator[None]:
    """Turn what the system says where no mirror can be made into a sentence with what to do."""
    try:
        yield
    except OSError as exc:
        raise not_opened(exc)(
            f"cannot make the mirror {path}: {exc.strerror}; "
            "choose a folder that you may write to, by `path` in [database]"
        ) from None


def check_version(
    conn: sqlite3.Connection,
    path: Path,
    *,
    to_migrate: bool = False,
    newest: int = SCHEMA_VERSION,
) -> int:
    """
    Return the file's version; raise `MirrorUnusable` where it is not a mirror of this one.

    With `to_migrate` an empty file and an older version pass.
    """
    application = conn.execute("pragma application_id").fetchone()[0]
    version = int(conn.execute("pragma user_version").fetchone()[0])
    tables = conn.execute("select count(*) from sqlite_master").fetchone()[0]
    if application != APPLICATION_ID and (tables or application or version):
        raise MirrorUnusable(
            f"{path} is a database of another program: name another file by `path` in [database]"
        )
    if version > newest:
        raise MirrorUnusable(
            f"{path} was written by a newer semysync (its schema is {version}, "
            f"this program knows {newest}): install the newer one"
        )
    if not to_migrate and not tables:
        raise MirrorUnusable(
            f"{path} is still empty: `semysync sync` or `semysync run` makes it a mirror"
        )
    if not to_migrate and version < newest:
        raise MirrorUnusable(
            f"{path} was written by an older semysync: `semysync sync`, or a restart of the "
            "daemon, brings it up to date"
        )
    return version


@contextmanager
def at_one_moment(conn: sqlite3.Connection) -> Iterator[None]:
    """Let all that is read in the block be of one moment, whatever is written meanwhile."""
    conn.execute("begin")
    try:
        yield
    finally:
        conn.rollback()  # this does nothing where an error of the disk has ended it already


@contextmanager
def writing(conn: sqlite3.Connection) -> Iterator[None]:
    """
    Hold the write lock for one transaction: all of it is stored, or nothing.

    The lock is taken at the start: one that is asked for halfway may be refused.
    """
    conn.execute("begin immediate")
    try:
        yield
        conn.execute("commit")
    except BaseException:
        if conn.in_transaction:
            conn.execute("rollback")
        raise


@contextmanager
def writing_a_slice(conn: sqlite3.Connection) -> Iterator[None]:
    """
    Write a slice of a long work in a transaction, and then leave the lock free for as long.

    SQLite does not queue those who wait for the lock: they try again, ever more seldom. Who takes
    it again at once would keep them out for seconds.
    """
    with writing(conn):
        began = time.monotonic()
        yield
    # No `time.sleep`, which fails where the clock of the day is made to jump under us.
    Event().wait(min(max(time.monotonic() - began, BREATH_S), LONGEST_BREATH_S))


@contextmanager
def explained(path: Path, *, reading: bool = False) -> Iterator[None]:
    """Turn what SQLite says of a file that can't be used into a sentence with what to do."""
    try:
        yield
    except sqlite3.Error as exc:
        error = explanation(path, exc, reading=reading)
        if error is None:
            raise
        raise error from exc


def explanation(path: Path, exc: sqlite3.Error, *, reading: bool = False) -> SemysyncError | None:
    """Return our error for one of SQLite's that is about the file; None for any other."""
    name = getattr(exc, "sqlite_errorname", None) or ""
    if name.startswith(DENIED) and (error := _denied(path, writing=not reading)):
        return error
    for names, kind, sentence in SENTENCES:
        if name.startswith(names):
            use = "read" if reading else "write to"
            return kind(sentence.format(path=path, seconds=BUSY_S, use=use))
    return None


def _denied(path: Path, *, writing: bool) -> SemysyncError | None:
    """Return what keeps us from using a mirror; None where nothing is found."""
    sentence = obstacle(path, writing=writing)
    if sentence is None:
        return None
    return (MirrorBusy if writing and is_read_only(path) else MirrorUnusable)(sentence)
