"""
Know up to when copies of the mirror hold all of it.

What was deleted at the service is only here: where copies are made, or a replica is kept, a message
waits until each of them holds it. This is the place to ask whatever makes copies.
"""

import json
import sqlite3
from collections.abc import Collection
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

from semysync.config import Backup, Purge, Replica
from semysync.errors import PurgeUnsafe, ReplicaUnseen
from semysync.mirror.access import real
from semysync.mirror.copies import backup as backups
from semysync.mirror.copies.replica import litestream_of, must_be_whole, place_of
from semysync.mirror.copies.takeover import sentence, taken_by
from semysync.model import Box

# What the service said of a message, but for times: they are written anew where a clock is learnt.
_SAID = {
    Box.INBOX: """
        select id, device_id, phone, text from inbox
         where id in (select value from json_each(:ids))""",
    Box.SENT: """
        select id, device_id, phone, text, status from sent
         where id in (select value from json_each(:ids))""",
}

LONGEST_WRITE = timedelta(minutes=1)  #: what bears an earlier time was committed before now

WITHOUT = '`needs_copy = "no"` in [purge] does without'


def copied_until(
    conn: sqlite3.Connection, purge: Purge, backup: Backup, replica: Replica, now: datetime
) -> datetime | None:
    """
    Return the moment up to which all copies hold what was mirrored; None where none is needed.

    Raises `PurgeUnsafe` where one is needed and there is none, or cannot be known.
    """
    if purge.needs_copy == "no":
        return None
    held = [_backed_up(conn, backup, now), _replicated(conn, replica, now)]
    return min((moment for moment in held if moment), default=None)


def copy_needed(
    conn: sqlite3.Connection, purge: Purge, backup: Backup, now: datetime
) -> Path | None:
    """Return the copy that must hold what is deleted; None where none is needed, or none is there."""
    if purge.needs_copy == "no" or backup.path is None:
        return None
    copy = backups.newest_until(conn, now)
    return copy.path if copy else None


def lacking(copy: Path, conn: sqlite3.Connection, box: Box, ids: Collection[int]) -> set[int]:
    """
    Return which messages a copy does not hold as they stand here.

    Times cannot tell: a clock that was wrong when a message was mirrored, or when the copy was
    made, puts the two in the wrong order. Raises `PurgeUnsafe` where the copy cannot be read.
    """
    if not ids:
        return set()
    asked = {"ids": json.dumps(list(ids))}
    try:
        with closing(sqlite3.connect(f"{real(copy).as_uri()}?mode=ro", uri=True)) as there:
            held = set(there.execute(_SAID[box], asked))
    except sqlite3.Error as exc:
        raise PurgeUnsafe(
            f"the copy {copy} cannot be read ({exc}): make another one by `semysync backup`, or "
            f"{WITHOUT}"
        ) from None
    return {row[0] for row in set(conn.execute(_SAID[box], asked)) - held}


def _backed_up(conn: sqlite3.Connection, backup: Backup, now: datetime) -> datetime | None:
    if backup.path is None:
        return None
    copied = backups.copied_until(conn, now)
    if copied is None:
        raise PurgeUnsafe(
            f"copies of the mirror belong into {backup.path}, and there is none yet: "
            f"`semysync backup` makes one, or {WITHOUT}"
        )
    return copied


def _replicated(conn: sqlite3.Connection, replica: Replica, now: datetime) -> datetime | None:
    """
    Let Litestream bring all that there is now into the replica; that is then held.

    Its word alone is not enough: it goes on as before where somebody has emptied the place.
    """
    litestream, place = litestream_of(replica), place_of(replica)
    if litestream is None and place is None:
        return None
    if litestream is None or place is None:
        raise PurgeUnsafe(
            "whether the replica holds what is here cannot be known: set `url` and `socket` in "
            f"[replica], where it lies and by which Litestream says how far it is, or {WITHOUT}"
        )
    mirror = Path(
        next(file for _, name, file in conn.execute("pragma database_list") if name == "main")
    )
    try:
        position = litestream.synced(mirror)
        files = place.files()
        later = litestream.synced(mirror)
        if position.replicated >= position.txid:
            must_be_whole(place, files, range(position.txid, later.txid + 1))
        if mark := taken_by(conn, place):
            raise PurgeUnsafe(sentence(mark))  # what that one's mirror lacks must stay
    except ReplicaUnseen as exc:
        raise PurgeUnsafe(
            f"whether the replica holds what is here cannot be known ({exc}): see to it, or {WITHOUT}"
        ) from None
    if position.replicated < position.txid:
        raise PurgeUnsafe(
            f"the replica is behind the mirror ({position.replicated:,} of {position.txid:,}): wait, or "
            "see what `semysync doctor` says of it"
        )
    return now - LONGEST_WRITE
