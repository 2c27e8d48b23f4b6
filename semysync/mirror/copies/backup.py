"""
Copies of a mirror, made while others read and write it.

`make` takes a copy and proves it before it gets its name; `check` proves one, whenever it was made;
`copied_until` says up to which moment a good copy holds everything that the mirror held.

SQLite's backup interface copies the pages within one read transaction that is held meanwhile. So
the copy is of one moment, nobody waits, and no write of others makes it begin anew, as it would
without that transaction; what is written meanwhile grows the `-wal` for so long. `VACUUM INTO`
would hold a transaction as well, for about three times as long, since it builds every table and
index anew, and could not tell how far it is.
"""

import fcntl
import os
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from semysync.errors import BackupFailed, MirrorUnusable
from semysync.mirror.access import new_file, real, sync_folder
from semysync.mirror.file import (
    APPLICATION_ID,
    SCHEMA_VERSION,
    connect,
    explained,
    explanation,
    open_reader,
    writing,
)
from semysync.times import from_utc_text, utc_text

PAGES = 2_000  #: copied between two glances at the progress
STEPS = 1_000_000  #: SQLite's own, between two glances while a copy is checked
ROOM = 1.02  #: what a copy takes at most, in sizes of the mirror

#: files of this name may be copies of ours; whether they are, the table `backups` knows
NAME = re.compile(r".+-\d{8}T\d{6}Z(-\d+)?\.db")

TABLES = """
select name from pragma_table_list
 where schema = 'main' and type = 'table' and name not like 'sqlite\\_%' escape '\\'
 order by name
"""

NOTE = """
insert into backups (at, path, bytes, messages) values (:at, :path, :bytes, :messages)
"""

MADE = "select id, at, path, bytes, messages from backups order by id desc"

Watch = Callable[[str, float | None], None]  #: is told what is done, and how much of it is (0 to 1)


class Copy(NamedTuple):
    """A copy that was proved when it was made. It holds all that was mirrored before `at`."""

    id: int
    at: str
    path: Path
    bytes: int
    messages: int

    @property
    def is_there(self) -> bool:
        """Whether the file is still where it was put, and as long as it was."""
        try:
            return not self.path.is_symlink() and self.path.stat().st_size == self.bytes
        except OSError:
            return False


class Proof(NamedTuple):
    """What was found in a copy; it is good without `faults`."""

    counts: Mapping[str, int]  #: rows of each table
    newest_at: str | None  #: the newest message's
    faults: tuple[str, ...]

    @property
    def messages(self) -> int:
        return self.counts.get("inbox", 0) + self.counts.get("sent", 0)


def make(mirror: Path, folder: Path, now: Callable[[], datetime], watch: Watch) -> Copy:
    """
    Copy a mirror into a folder, and prove the copy; return it, not yet noted (its `id` is 0).

    Raises `BackupFailed` where there is no room or the copy is no good, and leaves nothing behind.
    A kill leaves a `.part`, which the next copy removes.
    """
    _ready(folder)
    with closing(open_reader(mirror)) as source:
        at = now()  # before it holds: what is committed in between may be in the copy or not
        with explained(mirror, reading=True):
            source.execute("begin")
            source.execute("select count(*) from sqlite_master").fetchone()  # from here on it holds
            size = _number(source, "page_count") * _number(source, "page_size")
        _must_fit(folder, size)
        with _part(folder, f"{mirror.stem}-{at:%Y%m%dT%H%M%SZ}") as (part, wanted):
            counts = _copied(source, mirror, part, watch)
            source.execute("rollback")  # to prove it may take long: the -wal need not grow for that
            proof = check(part, watch)
            faults = [*proof.faults, *_differences(counts, proof.counts)]
            if faults:
                raise BackupFailed(
                    f"the copy of {mirror} is no good ({'; '.join(faults[:3])}): it was removed. "
                    "If `semysync doctor` finds nothing wrong with the mirror, check the disk of "
                    f"{folder}"
                )
            length = part.stat().st_size
            part.rename(wanted)
            sync_folder(folder)
    return Copy(0, utc_text(at), wanted, length, proof.messages)


def check(copy: Path, watch: Watch) -> Proof:
    """
    Prove a copy: it is a whole database, a mirror of a version that we know, and all can be read.

    Raises `MirrorUnusable` where it is no mirror, or cannot be opened.
    """
    try:
        there = copy.is_file()
    except OSError as exc:
        raise MirrorUnusable(f"cannot look for {copy}: {exc.strerror}") from None
    if not there:
        raise MirrorUnusable(f"there is no file {copy}")
    with closing(sqlite3.connect(f"{real(copy).as_uri()}?mode=ro", uri=True)) as conn:
        conn.set_progress_handler(lambda: watch("checking", None), STEPS)
        try:
            if sentence := no_mirror(conn):
                raise MirrorUnusable(f"{copy} {sentence}")
            faults = tuple(row[0] for row in conn.execute("pragma integrity_check(20)"))
            counts = _counts(conn)
            newest_at = conn.execute("select max(at) from messages").fetchone()[0]
        except sqlite3.DatabaseError as exc:
            match exc.sqlite_errorname:
                case "SQLITE_INTERRUPT":
                    raise KeyboardInterrupt from None
                case "SQLITE_NOTADB" | "SQLITE_CANTOPEN":
                    raise MirrorUnusable(f"{copy} is no SQLite database, or not readable") from None
            return Proof({}, None, (f"it cannot be read to its end ({exc})",))
    return Proof(counts, newest_at, () if faults == ("ok",) else faults)


def note(mirror: Path, copy: Copy, keep: int) -> list[Path]:
    """
    Note a copy in the mirror, and delete the oldest beside it beyond `keep`; return those.

    Only what this mirror has noted itself is deleted, as long as it is what it was.
    """
    with explained(mirror), closing(connect(mirror)) as conn:
        with writing(conn):
            noted = copy._asdict() | {"path": str(copy.path)}
            number = conn.execute(NOTE, noted).lastrowid
        folder = copy.path.parent
        beside = [made for made in copies(conn) if made.path.parent == folder]
        gone, removed = [], []
        for old in expendable(beside, number or 0, keep):
            if old.is_there:
                with suppress(FileNotFoundError):
                    old.path.unlink()
                removed.append(old.path)
            gone.append(old.id)
        with writing(conn):
            conn.executemany("delete from backups where id = ?", [(one,) for one in gone])
    return removed


def expendable(beside: Iterable[Copy], newest: int, keep: int) -> list[Copy]:
    """Return the copies to delete from a folder, where `newest` was just made and proved."""
    others = [copy for copy in beside if copy.id != newest]
    there = [copy for copy in others if copy.is_there]
    lost = [copy for copy in others if not copy.is_there]
    return [*lost, *(copy for copy in there[keep - 1 :] if NAME.fullmatch(copy.path.name))]


def copies(conn: sqlite3.Connection) -> list[Copy]:
    """Return the copies that the mirror knows of, the newest first."""
    return [
        Copy(number, at, Path(path), size, messages)
        for number, at, path, size, messages in conn.execute(MADE)
    ]


def newest_copy(conn: sqlite3.Connection) -> Copy | None:
    """Return the newest copy that is still where it was put."""
    return next((copy for copy in copies(conn) if copy.is_there), None)


def copied_until(conn: sqlite3.Connection, now: datetime) -> datetime | None:
    """
    Return up to which moment a good copy holds all that was mirrored; None without a copy.

    By the clock of this machine, as `mirrored_at` and `changed_at` are.
    """
    newest = newest_until(conn, now)
    return from_utc_text(newest.at) if newest else None


def newest_until(conn: sqlite3.Connection, now: datetime) -> Copy | None:
    """
    Return the newest copy that is still there and was made before now.

    One from the future proves nothing: the clock was wrong when it was made.
    """
    stamp = utc_text(now)
    return next((copy for copy in copies(conn) if copy.at <= stamp and copy.is_there), None)


def _ready(folder: Path) -> None:
    """Make the folder where only that is missing; raise `BackupFailed` where it can't be used."""
    try:
        if not folder.is_dir():
            folder.mkdir(mode=0o700)
    except FileNotFoundError:
        raise BackupFailed(
            f"there is no folder {folder.parent} for the copies: make it, or mount what belongs there"
        ) from None
    except OSError as exc:
        raise BackupFailed(f"cannot make the folder {folder}: {exc.strerror}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise BackupFailed(f"you may not write to the folder {folder}: choose another by --to")


def _must_fit(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size * ROOM:
        raise BackupFailed(
            f"a copy takes {size / 1e6:,.1f} MB, and in {folder} {free / 1e6:,.1f} MB are free: "
            "free some, or keep fewer copies by `keep` in [backup]; nothing was changed"
        )


@contextmanager
def _part(folder: Path, stem: str) -> Iterator[tuple[Path, Path]]:
    """Reserve a name in the folder; hand out the file to write, and what it is to be called."""
    _clear(folder)
    number, part, wanted = _reserved(folder, stem)
    try:
        fcntl.flock(number, fcntl.LOCK_EX)  # a sign for others that somebody is writing it
        yield part, wanted
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        os.close(number)


def _reserved(folder: Path, stem: str) -> tuple[int, Path, Path]:
    for attempt in range(1, 100):
        wanted = folder / (f"{stem}.db" if attempt == 1 else f"{stem}-{attempt}.db")
        part = wanted.with_name(f"{wanted.name}.part")
        if os.path.lexists(wanted):
            continue
        try:
            return new_file(part), part, wanted
        except FileExistsError:
            continue
        except OSError as exc:
            raise BackupFailed(f"cannot make a file in {folder}: {exc.strerror}") from None
    raise BackupFailed(f"too many copies are being made in {folder}: wait for them to end")


def _clear(folder: Path) -> None:
    """Remove what killed copies have left: nobody writes it any more."""
    for part in folder.glob("*.db.part"):
        if not NAME.fullmatch(part.name.removesuffix(".part")) or part.is_symlink():
            continue
        with suppress(OSError):
            number = os.open(part, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                part.unlink()
            finally:
                os.close(number)


def _copied(source: sqlite3.Connection, mirror: Path, part: Path, watch: Watch) -> dict[str, int]:
    """Copy the pages, safely on disk; return how many rows each table had."""
    try:
        with closing(sqlite3.connect(part, isolation_level=None)) as target:
            # Nobody else sees it, and it is written to the disk at the end.
            target.execute("pragma synchronous = off")
            target.execute("pragma journal_mode = off")
            source.backup(
                target,
                pages=PAGES,
                progress=lambda _, left, whole: watch("copying", 1 - left / max(whole, 1)),
            )
            # Without a -wal it is one file, which can be read from a medium that is read-only.
            target.execute("pragma journal_mode = delete")
            counts = _counts(source)
        with part.open("rb") as written:
            os.fsync(written.fileno())
    except sqlite3.Error as exc:
        name = getattr(exc, "sqlite_errorname", None) or ""
        if name.startswith(("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_TRUNCATE")):
            raise BackupFailed(
                f"no space left in {part.parent}: free some and try again; what was copied so far "
                "is removed"
            ) from None
        raise explanation(mirror, exc, reading=True) or exc from exc
    except OSError as exc:
        raise BackupFailed(
            f"{part.parent} does not take the copy ({exc.strerror}): check its disk"
        ) from None
    return counts


def _counts(conn: sqlite3.Connection) -> dict[str, int]:
    names = [row[0] for row in conn.execute(TABLES)]
    return {name: conn.execute(f'select count(*) from "{name}"').fetchone()[0] for name in names}


def _differences(wanted: Mapping[str, int], found: Mapping[str, int]) -> list[str]:
    return [
        f"{name} has {found.get(name, 0):,} rows of {count:,}"
        for name, count in wanted.items()
        if found.get(name) != count
    ]


def no_mirror(conn: sqlite3.Connection) -> str | None:
    """Say why a database can't be a copy of ours."""
    application, version = _number(conn, "application_id"), _number(conn, "user_version")
    if application != APPLICATION_ID or version < 1:
        return "is no copy of a mirror"
    if version > SCHEMA_VERSION:
        return "was written by a newer semysync: check it with that one"
    return None


def _number(conn: sqlite3.Connection, pragma: str) -> int:
    return int(conn.execute(f"pragma {pragma}").fetchone()[0])
