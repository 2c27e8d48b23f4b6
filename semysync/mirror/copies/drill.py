"""
Try the replica: restore it to a scratch file, prove that, and compare it with the mirror.

What the replica lacks is only known for sure where Litestream has been told to bring in all that
there was at the start; the mirror goes on being written meanwhile.
"""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from semysync.errors import BackupFailed, MirrorUnusable, ReplicaUnseen
from semysync.mirror.access import real
from semysync.mirror.copies import backup
from semysync.mirror.copies.replica import Held, Litestream, Replica, restorable
from semysync.mirror.copies.scratch import own_folder
from semysync.mirror.file import explained, open_reader, open_writer, writing
from semysync.mirror.tables import settings
from semysync.times import from_utc_text, utc_text

DRILLED_AT, DRILL_ERROR = "drilled_at", "drill_error"  #: keys in `settings`, shown by `health`
ROOM = 2.2  #: sizes of the mirror: the file, and what Litestream needs while it makes it
NEWEST = 200  #: rows of each box that are compared one by one
#: so old what a replica lacks may be, where it is not known how much that is
OLD = timedelta(days=1)

# The first two never change, and are the same in no two mirrors that were made apart.
ROWS = {
    "inbox": "select id, mirrored_at, device_id, phone, text, received_at from inbox",
    "sent": "select id, mirrored_at, device_id, phone, text, status from sent",
    "outbox": "select id, created_at, phone, text, client_key from outbox",
}

WRITTEN_AT = "select max(started_at) from passes"


class Drilled(NamedTuple):
    """What a drill has found; all is well without `faults`."""

    newest_at: datetime | None  #: the last change that the replica holds
    messages: int
    took_s: float
    faults: tuple[str, ...]


Row = tuple[Any, ...]


class Content(NamedTuple):
    """How many rows there are, the newest of them by their ids, and when it was written to."""

    counts: dict[str, int]
    newest: dict[str, dict[int, Row]]
    at: str | None = None


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
    compared, and its age. Raises `ReplicaUnseen` where it cannot be restored, `BackupFailed` where
    there is no room.
    """
    _must_fit(mirror, folder)
    began = clock()
    before = _content(mirror)
    if litestream:
        litestream.synced(real(mirror))
    held = restorable(replica.files())
    with _scratch(folder) as made:
        restored = made / "restored.db"
        watch("restoring", None)
        if held is None or not replica.restore(restored):
            raise ReplicaUnseen(f"there is no replica at {replica.shown} that can be restored")
        try:
            proof = backup.check(restored, watch)
        except MirrorUnusable as exc:
            proof = backup.Proof({}, None, (str(exc).replace(str(restored), "what was restored"),))
        faults = [*proof.faults]
        if not faults:
            found = _content(restored)
            faults = differences(before, found, _content(mirror), whole=litestream is not None)
            faults += _too_old(held, before) if litestream is None else []
    return Drilled(held.at, proof.messages, clock() - began, tuple(faults))


def differences(before: Content, found: Content, after: Content, *, whole: bool) -> list[str]:
    """
    Name what a restored replica has otherwise than the mirror, before and after it was restored.

    Where it should be `whole`, rows that did not change meanwhile must be the same, and none of the
    first moment may be lacking, unless the mirror itself has lost it. Else they may be older
    states.
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
            if number in rows
            and not _agrees(row, rows[number], after.newest[table].get(number), whole=whole)
        ]
        if other:
            faults.append(f"{table} has {len(other):,} of its newest rows otherwise")
    return faults


def _agrees(row: Row, before: Row, after: Row | None, *, whole: bool) -> bool:
    """Tell whether a row is that of the mirror, in a state that it may have had when it was copied."""
    moved = before != after  # and perhaps twice
    return row == before or ((moved or not whole) and row[:2] == before[:2])


def note(mirror: Path, at: datetime, error: str | None) -> None:
    """Let `health` tell what came of it."""
    with explained(mirror), closing(open_writer(mirror)) as conn, writing(conn):
        settings.put(conn, DRILLED_AT, utc_text(at))
        settings.put(conn, DRILL_ERROR, error)


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    try:
        with own_folder(folder, ".semysync-drill-") as made:
            yield made
    except OSError as exc:
        raise BackupFailed(
            f"cannot write to {folder}: {exc.strerror}; choose another by --to"
        ) from None


def _must_fit(mirror: Path, folder: Path) -> None:
    if not os.path.isdir(folder):  # noqa: PTH112  never raises
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
            count = conn.execute(f"select count(*) from {table}")
            counts[table] = count.fetchone()[0]
            newest[table] = _newest(conn, query)
        at = conn.execute(WRITTEN_AT).fetchone()[0]
    return Content(counts, newest, at)


def _too_old(held: Held, mirror: Content) -> list[str]:
    if mirror.at is None or from_utc_text(mirror.at) - held.at < OLD:
        return []
    return [f"its last change is of {held.at:%Y-%m-%d %H:%M}, the mirror's of {mirror.at[:16]}"]


def _newest(conn: sqlite3.Connection, query: str) -> dict[int, Row]:
    rows = conn.execute(f"{query} order by id desc limit {NEWEST}")
    return {row[0]: tuple(row) for row in rows}
