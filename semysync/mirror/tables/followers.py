"""
Who follows the log of events, how far each has come, and what became of each delivery.

A follower's position is the `seq` of the last event that it is done with. It is moved only from
where it was read: if somebody has set it back meanwhile, to have events repeated, that stands.
The functions are given a connection; those that write need an open transaction.
"""

import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from semysync.times import utc_text

KEPT_DONE = 1_000  #: deliveries of a follower that went well
THIN_OUT_EVERY = 100  #: events

ADD = """
insert into followers (name, position, since) values (:name, :position, :since)
on conflict do nothing
"""

AFTER = """
select seq, at, kind, box, message_id, device_id, data
  from events where seq > :position order by seq limit :most
"""

MOVE = "update followers set position = :to where name = :name and position = :was"

KEEP = """
insert or replace into deliveries values (
    :follower, :seq, :kind, :status, :attempts, :first_at, :last_at, :next_at, :error, :output,
    :done_parts)
"""

TELL_OF_DEAD = "insert into events (at, kind, data) values (:at, 'hook.dead', :data)"

THIN_OUT_DONE = """
delete from deliveries
 where follower = :follower and status = 'done'
   and seq < (select seq from deliveries where follower = :follower and status = 'done'
               order by seq desc limit 1 offset :kept)
"""

SET_BACK = "update followers set position = :position where name = :name and position >= :position"

FORGET = "delete from deliveries where follower = :name and seq > :position"

BY_HAND = "skipped by hand: "  #: how the reason begins of what is dead because a person said so

SKIPPED = f"""
update deliveries
   set status = 'dead', next_at = null, error = '{BY_HAND}' || coalesce(error, '')
 where follower = :name and status = 'failing'
   and seq = (select min(seq) from deliveries
               where follower = :name and status = 'failing'
                 and seq > (select position from followers where name = :name))
returning seq
"""

GO_ON_AT = "update followers set position = :position where name = :name and position < :position"

POSITIONS = "select name, position from followers"

NEWEST = """
select max(coalesce((select max(seq) from events), 0),
           coalesce((select seq from sqlite_sequence where name = 'events'), 0))
"""

OVERVIEW = """
select name, position, since,
       (select count(*) from events where seq > position) as behind,
       (select count(*) from deliveries where follower = name and status = 'dead') as dead
  from followers
 order by name
"""

OPEN = """
select follower, deliveries.seq, deliveries.kind, status, attempts, first_at, last_at, next_at,
       error, output
  from deliveries
 where status <> 'done'
 order by follower, deliveries.seq
"""


class Event(NamedTuple):
    """A line of the log."""

    seq: int
    at: str
    kind: str
    box: str | None = None
    message_id: int | None = None
    device_id: int | None = None
    data: str | None = None


class Delivery(msgspec.Struct, kw_only=True):
    """What became of one event at one follower, so far."""

    follower: str
    seq: int
    kind: str
    status: str = "failing"
    attempts: int = 0
    first_at: str = ""
    last_at: str = ""
    next_at: str | None = None
    error: str | None = None
    output: str | None = None
    done_parts: str = ""


def add(conn: sqlite3.Connection, names: Collection[str], now: datetime) -> None:
    """Let followers begin at now, those that are not there yet."""
    begins = {"position": newest(conn), "since": utc_text(now)}
    conn.executemany(ADD, [{"name": name, **begins} for name in names])


def position(conn: sqlite3.Connection, name: str) -> int | None:
    """Return how far a follower has come; None where it is not there."""
    found = conn.execute("select position from followers where name = ?", (name,)).fetchone()
    return int(found[0]) if found else None


def positions(conn: sqlite3.Connection) -> dict[str, int]:
    """Return how far every follower has come, also those that no hook goes by."""
    return dict(conn.execute(POSITIONS))


def newest(conn: sqlite3.Connection) -> int:
    """Return the number of the newest event, also where it is forgotten."""
    return int(conn.execute(NEWEST).fetchone()[0])


def oldest(conn: sqlite3.Connection) -> int:
    """Return the number of the oldest event that is still there, or of the next one."""
    first = conn.execute("select min(seq) from events").fetchone()[0]
    return newest(conn) + 1 if first is None else int(first)


def events(conn: sqlite3.Connection, position: int, most: int) -> Iterator[Event]:
    """Read what happened after a position, in order, no more of it than is iterated over."""
    for row in conn.execute(AFTER, {"position": position, "most": most}):
        yield Event(*row)


def move(conn: sqlite3.Connection, name: str, was: int, to: int) -> bool:
    """Move a follower on, unless it stands elsewhere by now; tell whether."""
    return conn.execute(MOVE, {"name": name, "was": was, "to": to}).rowcount == 1


def find(conn: sqlite3.Connection, name: str, seq: int) -> Delivery | None:
    """Return what is known of a delivery."""
    fields = Delivery.__struct_fields__
    row = conn.execute(
        "select * from deliveries where follower = ? and seq = ?", (name, seq)
    ).fetchone()
    return Delivery(**dict(zip(fields, row, strict=True))) if row else None


def keep(conn: sqlite3.Connection, delivery: Delivery, was: int) -> bool:
    """
    Store what became of a delivery; one that is done or dead moves its follower past it.

    Nothing is stored, and False returned, where the follower does not stand where it `was`.
    """
    to = was if delivery.status == "failing" else delivery.seq
    if not move(conn, delivery.follower, was, to):
        return False
    conn.execute(KEEP, msgspec.to_builtins(delivery))
    if delivery.status == "dead":
        data = json.dumps({"hook": delivery.follower, "seq": delivery.seq})
        conn.execute(TELL_OF_DEAD, {"at": delivery.last_at, "data": data})
    if delivery.seq // THIN_OUT_EVERY > was // THIN_OUT_EVERY:
        conn.execute(THIN_OUT_DONE, {"follower": delivery.follower, "kept": KEPT_DONE})
    return True


def set_back(conn: sqlite3.Connection, name: str, first: int) -> bool:
    """Let a follower go on with an event that it is done with; what became of it is forgotten."""
    moved = conn.execute(SET_BACK, {"name": name, "position": first - 1}).rowcount == 1
    if moved:
        conn.execute(FORGET, {"name": name, "position": first - 1})
    return moved


def skip(conn: sqlite3.Connection, name: str, *, everything: bool = False) -> int | None:
    """
    Let a follower go on behind the event that it cannot deliver, or behind all that there are.

    What failed is kept as dead. Returns the event that it is done with by that; None where nothing
    is skipped.
    """
    failed = conn.execute(SKIPPED, {"name": name}).fetchall()
    to = newest(conn) if everything else failed[0][0] if failed else 0
    moved = conn.execute(GO_ON_AT, {"name": name, "position": to}).rowcount == 1
    return int(to) if moved else None


def slowest(conn: sqlite3.Connection, named: Collection[str]) -> int | None:
    """Return how far all of the named followers have come; None where there are none."""
    at = positions(conn)
    return min((at[name] for name in named if name in at), default=None)


def forget_before(conn: sqlite3.Connection, first: int, named: Collection[str]) -> None:
    """
    Forget what became of the events before the `first` that is still there.

    A follower that nobody names goes with the first event that it has not seen: it could not go on
    without a gap.
    """
    conn.execute("delete from deliveries where seq < ? and status <> 'failing'", (first,))
    for name, position in positions(conn).items():
        if position < first - 1 and name not in named:
            conn.execute("delete from deliveries where follower = ?", (name,))
            conn.execute("delete from followers where name = ?", (name,))


def overview(conn: sqlite3.Connection) -> list[Mapping[str, Any]]:
    """Return every follower: its position, the events that are still to come, the dead ones."""
    return _asked(conn, OVERVIEW)


def unfinished(conn: sqlite3.Connection) -> list[Mapping[str, Any]]:
    """Return the deliveries that fail, and the dead ones."""
    return _asked(conn, OPEN)


def _asked(conn: sqlite3.Connection, query: str) -> list[Mapping[str, Any]]:
    asked = conn.execute(query)
    names = [column[0] for column in asked.description]
    return [dict(zip(names, tuple(row), strict=True)) for row in asked]
