"""
Try the replica: restore it to a scratch file, prove that, and compare it with the mirror.

What the replica lacks is only known for sure where Litestream has been told to bring in all that
there was at the start; the mirror goes on being written meanwhile.
"""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from semysync.errors import BackupFailed, ReplicaUnseen
from semysync.mirror.access import real
from semysync.mirror.copies import backup
from semysync.mirror.copies.replica import Litestream, Replica, restorable
from semysync.mirror.file import connect, explained, open_reader, writing
from semysync.mirror.tables import settings
from semysync.times import utc_text

DRILLED_AT, DRILL_ERROR = "drilled_at", "drill_error"  #: keys in `settings`, shown by `health`
ROOM = 2.2  #: sizes of the mirror: the file, and what Litestream needs while it makes it
NEWEST = 200  #: rows of each box that are compared one by one

ROWS = {
    "inbox": "select id, device_id, phone, text, received_at, mirrored_at from inbox",
    "sent": "select id, device_id, phone, text, status, mirrored_at from sent",
    "outbox": "select id, phone, text, client_key, created_at, null from outbox",
}


class Drilled(NamedTuple):
    """What a drill has found; all is well without `faults`."""

    newest_at: datetime | None  #: the last change that the replica holds
    messages: int
    took_s: float
    faults: tuple[str, ...]


class Content(NamedTuple):
    """How many rows there are, and the newest of them by their ids."""

    counts: dict[str, int]
    newest: dict[str, dict[int, tuple[Any, ...]]]


def drill(
    mirror: Path,
    replica: Replica,
    litestream: Litestream | None,
    folder: Path,
    *,
    clock: Callable[[], float],
    watch: backup.Watch,
) -> Drilled:
    """
    Restore the replica into a folder, prove it, compare it, and remove it again.

    Without `litestream` it is not known how much the replica may lack, and only what it holds is
    compared. Raises `ReplicaUnseen` where it cannot be restored, `BackupFailed` without room.
    """
    _must_fit(mirror, folder)
    began = clock()
    before = _content(mirror)
    if litestream:
        litestream.synced(real(mirror))
    held = restorable(replica.files())
    with TemporaryDirectory(prefix=".semysync-drill-", dir=folder) as scratch:
        restored = Path(scratch, "restored.db")
        watch("restoring", None)
        if held is None or not replica.restore(restored):
            raise ReplicaUnseen(f"there is no replica at {replica.shown} that can be restored")
        proof = backup.check(restored, watch)
        faults = [*proof.faults]
        if not faults:
            found = _content(restored)
            faults = differences(before, found, _content(mirror), whole=litestream is not None)
    return Drilled(held.at, proof.messages, clock() - began, tuple(faults))


def differences(before: Content, found: Content, after: Content, *, whole: bool) -> list[str]:
    """
    Name what a restored replica has otherwise than the mirror, before and after it was restored.

    Its rows must be those of one of the two moments. Where it should be `whole`, none of the first
    may be lacking, unless the mirror itself has lost it meanwhile.
    """
    faults = []
    for table, rows in before.newest.items():
        least = min(before.counts[table], after.counts[table])
        most = max(before.counts[table], after.counts[table])
        count = found.counts[table]
        if count > most or (whole and count < least):
            faults.append(f"{table} has {count:,} rows of {least:,}")
        lacking = (rows.keys() & after.newest[table].keys()) - found.newest[table].keys()
        if whole and lacking:
            faults.append(f"{table} lacks {len(lacking):,} of its newest rows")
        other = [
            number
            for number, row in found.newest[table].items()
            if number in rows and row not in (rows[number], after.newest[table].get(number))
        ]
        if whole and other:
            faults.append(f"{table} has {len(other):,} of its newest rows otherwise")
    return faults


def note(mirror: Path, at: datetime, error: str | None) -> None:
    """Let `health` tell what came of it."""
    with explained(mirror), closing(connect(mirror)) as conn, writing(conn):
        settings.put(conn, DRILLED_AT, utc_text(at))
        settings.put(conn, DRILL_ERROR, error)


def _must_fit(mirror: Path, folder: Path) -> None:
    if not folder.is_dir():
        raise BackupFailed(f"there is no folder {folder}: choose another by --to")
    size, free = real(mirror).stat().st_size, shutil.disk_usage(folder).free
    if free < ROOM * size:
        raise BackupFailed(
            f"a drill needs up to {ROOM * size / 1e6:,.1f} MB, and in {folder} {free / 1e6:,.1f} MB are "
            "free: choose another by --to"
        )


def _content(path: Path) -> Content:
    with closing(open_reader(path)) as conn, explained(path, reading=True):
        conn.execute("begin")
        counts, newest = {}, {}
        for table, query in ROWS.items():
            count = conn.execute(f"select count(*) from {table}")  # noqa: S608  of ours
            counts[table] = count.fetchone()[0]
            newest[table] = _newest(conn, query)
    return Content(counts, newest)


def _newest(conn: sqlite3.Connection, query: str) -> dict[int, tuple[Any, ...]]:
    rows = conn.execute(f"{query} order by id desc limit {NEWEST}")
    return {row[0]: tuple(row) for row in rows}
