"""
Which machine sends, where a mirror has a replica from which another one may take over.

The mirror counts its takeovers. Who takes over leaves a mark beside the replica that it takes from,
which bears the next number, before it restores anything: so whoever replicates to that place can
see, from the moment on at which it counts, that another sends. A mark is a database of one row, put
there by Litestream, so that it works wherever a replica does.
"""

import os
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from semysync.errors import MirrorUnusable, ReplicaUnseen
from semysync.mirror.access import make_folder, mode_in, real, sync_folder
from semysync.mirror.copies import backup
from semysync.mirror.copies.replica import OF_LITESTREAM, Replica, restorable, was_replicated
from semysync.mirror.copies.scratch import own_folder, small_folder
from semysync.mirror.file import (
    connect,
    explained,
    making,
    must_exist,
    open_reader,
    open_writer,
    writing,
)
from semysync.mirror.lock import Lock, Right
from semysync.mirror.outbox.claims import Claims, this_host
from semysync.mirror.outbox.evidence import Evidence
from semysync.mirror.outbox.sending import Outbox
from semysync.mirror.tables import settings
from semysync.mirror.tables.numbers import leap
from semysync.times import utc_text

TAKEOVERS = "takeovers"  #: the key in `settings` of how often another machine has taken over
ANOTHER_SENDS = "another_sends"  #: the key of the sentence that says how that was seen

TAKEN_OVER = "has taken over at"  #: part of the sentence that says so
UNSEEN = "whether another machine has taken over cannot be seen"

MARK = "create table taken (host text, name text, at text, number integer) strict"

OPEN = """
select count(*) from outbox
 where status in ('queued', 'held', 'sending', 'unknown', 'accepted', 'cancelling')
"""


class Mark(NamedTuple):
    """Who has taken over, and when."""

    host: str
    name: str
    at: str


class Taken(NamedTuple):
    """What a takeover has found."""

    number: int
    #: what was written after that, on the other machine, is not here
    last_change_at: datetime | None
    messages: int
    open_drafts: int
    other: str | None = None  #: who has taken over from this machine, and may send still


def taken_by(conn: sqlite3.Connection, replica: Replica) -> Mark | None:
    """
    Return who has taken over from the replica of this mirror; None where nobody has.

    Raises `ReplicaUnseen` where that cannot be seen.
    """
    place = replica.beside(_word(number(conn) + 1))
    if place.newest() is not None:
        return _read(place)
    if was_replicated(conn) and replica.newest() is None:
        raise ReplicaUnseen(
            f"the replica is not to be seen at {replica.shown}: mount it, or see to `url` in [replica]"
        )
    return None


def taken_over(mirror: Path, replica: Replica | None) -> str | None:
    """
    Say that another machine has taken over, and what to do; None where none has.

    Raises `ReplicaUnseen` where that cannot be seen.
    """
    if replica is None:
        return None
    with explained(mirror, reading=True), closing(open_reader(mirror)) as conn:
        mark = taken_by(conn, replica)
    return sentence(mark) if mark else None


def sentence(mark: Mark) -> str:
    """Say who has taken over, and what to do."""
    return (
        f"{mark.name} {TAKEN_OVER} {mark.at[:16].replace('T', ' ')} UTC, and sends: stop this "
        "daemon for good, or move its mirror aside and take over from that machine's replica by "
        "`semysync takeover --from`; `semysync takeover` alone lets this one send again, once the "
        "other one is stopped"
    )


def number(conn: sqlite3.Connection) -> int:
    """Return how often another machine has taken over so far, as this mirror knows it."""
    return int(settings.find(conn, TAKEOVERS) or 0)


def take_over(
    mirror: Path, replica: Replica, now: Callable[[], datetime], watch: backup.Watch
) -> Taken:
    """
    Make a mirror from the replica of another machine, and this machine the one that sends.

    Nothing is at the mirror's place before all of it is there, and can be read. What was broken off
    may be done again. Raises `MirrorUnusable` where there is a mirror already, or where another
    machine has taken over, or no mirror can be made, and `ReplicaUnseen` where the replica cannot
    be read.
    """
    place = real(mirror)
    with making(mirror):
        make_folder(place.parent)
    with making(mirror), Lock(place, Right.SENDER):
        _must_be_free(place)
        held = restorable(replica.files())
        if held is None:
            raise ReplicaUnseen(f"there is no replica at {replica.shown} that can be restored")
        with own_folder(place.parent, f".{place.name}-takeover-") as folder:
            # Its number is the same whenever it is restored: only a takeover changes it.
            count = 1 + _number_in(replica, folder / "looked-at.db")
            _mark(replica.beside(_word(count)), count, now())
            # What the other one has written until it saw the mark is taken along.
            held = restorable(replica.files()) or held
            part = folder / "taken-over.db"
            watch("restoring", None)
            if not replica.restore(part):
                raise ReplicaUnseen(f"there is no replica at {replica.shown} any more")
            proof = backup.check(part, watch)
            if proof.faults:
                raise MirrorUnusable(
                    f"what {replica.shown} holds is damaged ({'; '.join(proof.faults[:3])}): "
                    "restore an earlier state by `litestream restore -timestamp`"
                )
            _must_be_ours(replica.beside(_word(count)))
            open_drafts = _sign(part, count)
            _put_in_place(part, place)
    return Taken(count, held.at, proof.messages, open_drafts)


def send_again(mirror: Path, replica: Replica | None) -> Taken:
    """
    Make this machine the one that sends, with the mirror that it has.

    Every open draft is then looked for in the account before anything is sent. Raises
    `MirrorUnusable` where there is none, or it is of another version.
    """
    place = real(mirror)
    must_exist(place)
    with Lock(place, Right.SENDER), explained(mirror), closing(open_writer(place)) as conn:
        # Only past the marks that are there: the next one must be seen.
        count, other = number(conn), None
        while replica and (marked := replica.beside(_word(count + 1))).newest():
            count, other = count + 1, _read(marked)
        _distrust(place)
        with Outbox(place) as outbox:
            Evidence(outbox).doubt_open_drafts(also_mirrored=True)
        with writing(conn):
            settings.put(conn, TAKEOVERS, str(count))
            settings.put(conn, ANOTHER_SENDS, None)
        messages = conn.execute("select (select count(*) from inbox) + (select count(*) from sent)")
        open_drafts = conn.execute(OPEN).fetchone()[0]
        return Taken(count, None, messages.fetchone()[0], open_drafts, other and other.name)


def _word(count: int) -> str:
    return f"taken-{count}"


def _must_be_free(place: Path) -> None:
    """Raise where anything is that belongs to an earlier mirror, or to Litestream's memory of one."""
    names = [place.name + end for end in ("", "-wal", "-shm", "-journal")]
    for file in (*map(place.with_name, names), place.with_name(f".{place.name}-litestream")):
        if os.path.lexists(file):
            raise MirrorUnusable(
                f"{file} is there already: stop the daemon and Litestream on this machine and move "
                f"{place.name}* and .{place.name}-litestream aside; nothing is changed yet"
            )


def _number_in(replica: Replica, scratch: Path) -> int:
    if not replica.restore(scratch):
        raise ReplicaUnseen(f"there is no replica at {replica.shown}")
    with explained(scratch), closing(connect(scratch)) as conn:
        if sentence := backup.no_mirror(conn):
            raise MirrorUnusable(f"what {replica.shown} holds {sentence}; nothing is changed yet")
        found = number(conn)
    for file in scratch.parent.glob(f"{scratch.name}*"):
        file.unlink()
    return found


def _mark(place: Replica, count: int, now: datetime) -> None:
    """Leave the mark that another sends from now on; ours from a takeover that broke off stands."""
    if place.newest() is not None:
        found = _read(place)
        if _is_ours(found):
            return
        raise MirrorUnusable(
            f"{found.name} has taken over from there at {found.at}: take over from its replica; where "
            'that is lost as well, see the README, "A second machine"'
        )
    with small_folder() as folder:
        file = folder / "taken.db"
        with closing(sqlite3.connect(file, isolation_level=None)) as conn:
            conn.execute("pragma journal_mode = wal")
            conn.execute(MARK)
            row = (this_host(), socket.gethostname(), utc_text(now), count)
            conn.execute("insert into taken values (?, ?, ?, ?)", row)
        place.put(file)
    _must_be_ours(place)


def _must_be_ours(place: Replica) -> None:
    if not _is_ours(_read(place)):  # two at once: the later one has it
        raise MirrorUnusable("another machine takes over at this moment: leave it to that one")


def _is_ours(mark: Mark) -> bool:
    """Tell whether a mark is of this machine; copies of one machine often share its number."""
    return (mark.host, mark.name) == (this_host(), socket.gethostname())


def _read(place: Replica) -> Mark:
    with small_folder() as folder:
        file = folder / "taken.db"
        if not place.restore(file):
            raise ReplicaUnseen(f"the mark at {place.shown} is gone in this moment")
        with closing(sqlite3.connect(file)) as conn:
            try:
                return Mark(*conn.execute("select host, name, at from taken").fetchone())
            except (sqlite3.DatabaseError, TypeError):
                raise ReplicaUnseen(f"the mark at {place.shown} cannot be read") from None


def _sign(part: Path, count: int) -> int:
    """Write the number of this takeover into the new mirror; return how many drafts are open."""
    with explained(part), closing(connect(part)) as conn:
        conn.execute("pragma synchronous = full")
        with writing(conn):
            settings.put(conn, TAKEOVERS, str(count))
            settings.put(conn, ANOTHER_SENDS, None)
            leap(conn)
            # The replica of this machine is yet to be begun: that it is not there is no trouble.
            for table in OF_LITESTREAM:
                conn.execute(f"drop table if exists {table}")
        open_drafts = int(conn.execute(OPEN).fetchone()[0])
        conn.execute("pragma wal_checkpoint(truncate)").fetchone()
    return open_drafts


def _put_in_place(part: Path, place: Path) -> None:
    """Give the new mirror its name, once all of it and the doubt about its claims are on the disk."""
    folder = place.parent.stat()
    with suppress(PermissionError):  # what root makes in a user's folder is that user's
        os.chown(part, folder.st_uid if os.geteuid() == 0 else -1, folder.st_gid)
    part.chmod(mode_in(folder.st_mode))
    with part.open("rb") as written:
        os.fsync(written.fileno())
    _distrust(place)
    part.rename(place)
    sync_folder(place.parent)


def _distrust(place: Path) -> None:
    """Let the next start of a sender see that this mirror is not the one that has sent last."""
    with Claims(place) as claims:
        claims.distrust()
