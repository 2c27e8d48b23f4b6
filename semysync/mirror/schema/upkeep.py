"""
The upkeep of a mirror: it is made, brought up to date, and put right.

Read `bring_up_to_date` first. Each migration is one transaction, together with the version that it
leads to, so that a kill at any moment leaves one version or the next. Before a migration that
rewrites or drops what is there, the mirror is copied.
"""

import filecmp
import os
import shutil
import sqlite3
import time
from collections.abc import Iterable
from contextlib import closing
from itertools import chain, count
from pathlib import Path
from typing import NamedTuple

import structlog
from sqlite_utils import Database, Migrations

from semysync.errors import MirrorUnusable
from semysync.mirror import file
from semysync.mirror.access import correct_modes, new_file, obstacle, real, sync_folder
from semysync.mirror.file import APPLICATION_ID, check_version, connect, explanation, writing
from semysync.mirror.schema.comparing import Thing, differences, named
from semysync.mirror.schema.migrations import MADE_UP_FOR, MIGRATIONS, REWRITING

log = structlog.get_logger("semysync")

IN_WAL_AGAIN_S = 0.05


def bring_up_to_date(
    db: Database,
    path: Path,
    migrations: Migrations = MIGRATIONS,
    rewriting: frozenset[str] = REWRITING,
) -> None:
    """
    Make an empty file a mirror, bring an older one up to date, and put right what is amiss.

    Another program may do the same at the same time, and others may read and write. Raises
    `MirrorUnusable` where the file is not ours, is newer, cannot be copied, or has lost a table.
    A migration that fails has changed nothing.
    """
    conn = db.conn
    names = [migration.name for migration in migrations._migrations]  # noqa: SLF001  it names them nowhere
    for corrected in correct_modes(path):
        log.warning(
            "mirror.mode_corrected", file=str(corrected.path), was=corrected.was, now=corrected.now
        )
    if sentence := obstacle(path, writing=True):
        raise MirrorUnusable(sentence)
    was = version = check_version(conn, path, to_migrate=True, newest=len(names))
    _into_wal(conn, path)
    while version < len(names):
        version = _migrate_once(db, path, migrations, names, rewriting)
    if 0 < was < version:
        log.info("mirror.migrated", mirror=str(path), was=was, version=version)
    put_right(conn, path, migrations)


def _into_wal(conn: sqlite3.Connection, path: Path) -> None:
    """Let readers and the writer work at the same time, from now on."""
    ends = time.monotonic() + file.BUSY_S
    while True:
        try:
            mode = conn.execute("pragma journal_mode = wal").fetchone()[0]
        except sqlite3.OperationalError as exc:
            # Where several programs ask for this at once, SQLite refuses some without waiting.
            if not exc.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > ends:
                raise
            time.sleep(IN_WAL_AGAIN_S)
            continue
        if mode != "wal":
            raise MirrorUnusable(
                f"the file system of {path} cannot hold a mirror (SQLite's WAL does not work "
                "there): choose a folder on a disk of this machine, by `path` in [database]"
            )
        return


def _migrate_once(
    db: Database,
    path: Path,
    migrations: Migrations,
    names: list[str],
    rewriting: frozenset[str],
) -> int:
    """Apply the next migration, if it is still due; return the version that the mirror then has."""
    conn = db.conn
    copy = None
    try:
        with writing(conn):
            # Asked again under the lock: another program may have been faster, or is newer.
            version = check_version(conn, path, to_migrate=True, newest=len(names))
            if version == len(names):
                return version
            _must_agree(path, [done.name for done in migrations.applied(db)], names[:version])
            name = names[version]
            if name in rewriting:
                copy = _copy_before(conn, real(path), name)
            migrations.apply(db, stop_before=names[version + 1 : version + 2])
            conn.execute(f"pragma application_id = {APPLICATION_ID}")
            conn.execute(f"pragma user_version = {version + 1}")
    except BaseException as exc:
        if copy and copy.ours:  # nothing was changed: it would only take up room
            copy.path.unlink(missing_ok=True)
        if isinstance(exc, sqlite3.Error) and explanation(path, exc) is None:
            raise MirrorUnusable(
                f"{path} could not be brought up to date ({exc}) and is as it was: "
                "go back to the semysync that you had, and report this"
            ) from exc
        raise
    if copy:
        log.info("mirror.copied", copy=str(copy.path), before=name)
    return version + 1


def _must_agree(path: Path, applied: list[str], expected: list[str]) -> None:
    if applied != expected:
        raise MirrorUnusable(
            f"{path} does not agree with itself about which migrations it has seen: "
            "restore a copy of it"
        )


class Copy(NamedTuple):
    """Where a mirror was copied to; `ours` where no earlier copy said the same already."""

    path: Path
    ours: bool


def _copy_before(conn: sqlite3.Connection, mirror: Path, migration: str) -> Copy:
    """
    Copy a mirror beside itself; our write lock makes it say all that the mirror says.

    A kill leaves at most a `.part`, which the next attempt removes.
    """
    size = _number(conn, "pragma page_count") * _number(conn, "pragma page_size")
    free = shutil.disk_usage(mirror.parent).free
    if sentence := no_room(mirror, size=size, free=free):
        raise MirrorUnusable(sentence)
    wanted = mirror.with_name(f"{mirror.name}-before-{migration}")
    part = wanted.with_name(f"{wanted.name}.part")
    try:
        part.unlink(missing_ok=True)
        number = new_file(part)
    except OSError as exc:
        raise MirrorUnusable(
            f"cannot make {part}, a copy of the mirror before it is rewritten: {exc.strerror}"
        ) from None
    try:
        # Another connection: this one is within a transaction, where SQLite refuses to copy.
        with closing(connect(mirror)) as reader:
            reader.execute("vacuum into ?", (part.as_uri(),))
        os.fsync(number)
        return _kept(part, wanted)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    finally:
        os.close(number)


def no_room(mirror: Path, *, size: int, free: int) -> str | None:
    """Say that there is no room for a copy, and for as much again while the mirror is rewritten."""
    if free >= 2 * size:
        return None
    return (
        f"{mirror} must be rewritten for this version of semysync, which takes "
        f"{_megabytes(2 * size)} MB beside it and {_megabytes(free)} MB are free: free some and "
        "start again, or go back to the version that you had; nothing was changed"
    )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f}"


def _kept(part: Path, wanted: Path) -> Copy:
    """Give a complete copy its name, unless one says the same already; never overwrite another."""
    for attempt in count(1):
        copy = wanted if attempt == 1 else wanted.with_name(f"{wanted.name}-{attempt}")
        if not os.path.lexists(copy):
            part.rename(copy)
            sync_folder(copy.parent)
            return Copy(copy, ours=True)
        if copy.is_file() and filecmp.cmp(part, copy, shallow=False):
            break
    part.unlink()
    return Copy(copy, ours=False)


def put_right(conn: sqlite3.Connection, path: Path, migrations: Migrations = MIGRATIONS) -> None:
    """
    Make again what can be made again, and warn of it; warn of what was changed by others.

    Raises `MirrorUnusable` where a table or a column is gone.
    """
    found = differences(conn, migrations)
    if found.lost:
        raise MirrorUnusable(lost_sentence(path, found.lost))
    if found.changed:
        log.warning("mirror.differs", mirror=str(path), changed=list(found.changed))
    if not found.missing:
        return
    try:
        with writing(conn):
            missing = differences(conn, migrations).missing  # another program may have been faster
            for thing in missing:
                conn.execute(thing.sql)
            making_up = [MADE_UP_FOR.get(thing.name, ()) for thing in missing]
            for statement in dict.fromkeys(chain.from_iterable(making_up)):
                conn.execute(statement)
    except sqlite3.Error as exc:
        if explanation(path, exc) is None:
            raise MirrorUnusable(
                f"{path} lacks {_listed(found.missing)}, which cannot be put back ({exc}): "
                "restore a copy of it"
            ) from exc
        raise
    log.warning("mirror.put_back", mirror=str(path), missing=[named(thing) for thing in missing])


def lost_sentence(path: Path, what: Iterable[str]) -> str:
    """Return the sentence for a mirror that has lost tables or columns."""
    return (
        f"{path} has lost {', '.join(what)}: restore a copy of it, or move it aside and start a "
        "new mirror"
    )


def _listed(things: Iterable[Thing]) -> str:
    return ", ".join(map(named, things))


def _number(conn: sqlite3.Connection, query: str) -> int:
    return int(conn.execute(query).fetchone()[0])
