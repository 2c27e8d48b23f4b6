"""
What the mirror knows of deletions at the service: the table `purges`, and what a purge goes by.

`Purges` is a connection of its own whose commits are on the disk when they return: the ids of
what is to be deleted must be there before the request. `facts` and `rows` only read, and are given
a connection.
"""

import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from heapq import merge
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from semysync.mirror.file import connect, explained, writing
from semysync.mirror.tables import settings
from semysync.mirror.tables.devices import known
from semysync.model import Box, Facts, Held
from semysync.times import WEST_MOST, as_printed, from_utc_text, utc_text

ABSENT_FOR = timedelta(days=7)  #: what was not shown when it was asked for is not asked for again


# A date in the future is a lie, and says nothing of those before or after it.
_ROWS = {
    Box.INBOX: """
        select id, device_id, contact, received_at, utc_offset, mirrored_at, changed_at,
               missing_since, null,
               max(iif(received_at < :tomorrow, received_at, null)) over earlier as newest_before,
               purged_at
          from inbox
        window earlier as (order by id rows between unbounded preceding and 1 preceding)
         order by id
    """,
    Box.SENT: """
        select id, device_id, contact, created_at, utc_offset, mirrored_at, changed_at,
               missing_since, status,
               max(iif(created_at < :tomorrow, created_at, null)) over earlier as newest_before,
               purged_at
          from sent
        window earlier as (order by id rows between unbounded preceding and 1 preceding)
         order by id
    """,
}

_YOUNG = {
    Box.INBOX: """
        select device_id, min(id) from inbox
         where received_at > :maybe and (utc_offset is null or received_at > :limit)
           and received_at < :tomorrow
         group by device_id
    """,
    Box.SENT: """
        select device_id, min(id) from sent
         where created_at > :maybe and (utc_offset is null or created_at > :limit)
           and created_at < :tomorrow
         group by device_id
    """,
}

_LOADED = """
select device_id, loaded_at from marks where box = :box and loaded_at is not null
"""

_DRAFTS = """
select sent_id from outbox
 where sent_id is not null
   and status in ('sending', 'unknown', 'accepted', 'on_phone', 'cancelling')
"""

_DOUBTS = """
select sent_id from arrivals
union
select sent_id from outbox
 where sent_id is not null and id in (select draft_id from attempts)
"""

_CLASHES = "select distinct message_id from conflicts where box = :box and message_id is not null"

_ABSENT = """
select ids from purges where box = :box and state = 'absent' and began_at > :since
"""

_FORGOTTEN = "select id from forgotten where box = :box order by id"

_ANY_BEFORE = "select exists (select 1 from marks where box = :box and floor_id > 0)"

# Of the devices for which not all that the account has is mirrored, the first message here.
_FIRST = {
    Box.INBOX: """
        select device_id, min(id), received_at, utc_offset from inbox
         where exists (select 1 from marks where box = 'inbox' and floor_id > 0
                        and marks.device_id in (0, inbox.device_id))
         group by device_id
    """,
    Box.SENT: """
        select device_id, min(id), created_at, utc_offset from sent
         where exists (select 1 from marks where box = 'sent' and floor_id > 0
                        and marks.device_id in (0, sent.device_id))
         group by device_id
    """,
}

_COMMIT = """
insert into purges (box, device_id, ids, asked, began_at)
values (:box, :device_id, :ids, :asked, :now)
returning id
"""

_NOTE_ABSENT = """
insert into purges (box, device_id, ids, asked, began_at, ended_at, state, gone)
values (:box, :device_id, :ids, '{}', :now, :now, 'absent', 0)
"""

_SETTLE = """
update purges
   set state = :state, gone = :gone, said = :said, error = :error, ended_at = :now
 where id = :id
"""

_MARK = {
    Box.INBOX: """
        update inbox set purged_at = :now, changed_at = :now
         where id in (select value from json_each(:ids)) and purged_at is null""",
    Box.SENT: """
        update sent set purged_at = :now, changed_at = :now
         where id in (select value from json_each(:ids)) and purged_at is null""",
}

# What a deletion that was lost came to may show late.
_WERE_ASKED = """
select value from purges, json_each(purges.ids)
 where box = :box and state in ('lost', 'part', 'refused', 'surprise')
   and value in (select value from json_each(:ids))
"""

_OPEN = "select id, box, device_id, ids, asked from purges where ended_at is null order by id"

_TELL = "insert into events (kind, box, device_id, data) values (:kind, :box, :device_id, :data)"

STOPPED = "purge_stopped"  #: the key in `settings` of why purging was stopped
_CLEAN = {Box.INBOX: "purge_clean_inbox", Box.SENT: "purge_clean_sent"}


class OpenPurge(NamedTuple):
    """A deletion of which it is not known yet what it came to."""

    id: int
    box: Box
    device_id: int
    ids: tuple[int, ...]
    asked: Mapping[str, str]  #: how the request named them


def facts(conn: sqlite3.Connection, box: Box, days: int, now: datetime) -> Facts:
    """Return what is to be known of a box before anything of it may go."""
    limit = now - timedelta(days=days)
    young = conn.execute(
        _YOUNG[box],
        {
            "limit": utc_text(limit),
            "maybe": utc_text(limit - WEST_MOST),
            "tomorrow": _tomorrow(now),
        },
    ).fetchall()
    named: dict[str, Any] = {"box": box, "since": utc_text(now - ABSENT_FOR)}
    absent = (json.loads(row[0]) for row in conn.execute(_ABSENT, named))
    sent = box is Box.SENT
    return Facts(
        first_young=min((row[1] for row in young), default=None),
        dated=frozenset(row[0] for row in young if row[0] is not None),
        devices=frozenset(device.id for device in known(conn) if device.there),
        drafts=_ids(conn, _DRAFTS) if sent else frozenset(),
        doubts=_ids(conn, _DOUBTS) if sent else frozenset(),
        clashes=_ids(conn, _CLASHES, named),
        absent=frozenset(number for ids in absent for number in ids),
        begins=_begins(conn, box),
    )


def _begins(conn: sqlite3.Connection, box: Box) -> dict[int, datetime]:
    if not conn.execute(_ANY_BEFORE, {"box": box}).fetchone()[0]:
        return {}
    firsts = {
        device_id: as_printed(dated, offset)
        for device_id, _, dated, offset in conn.execute(_FIRST[box])
    }
    return {device_id: begins for device_id, begins in firsts.items() if device_id and begins}


def rows(conn: sqlite3.Connection, box: Box, now: datetime) -> Iterator[Held]:
    """Return the messages of a box that were not purged, also those forgotten here, ascending."""
    return merge(_held(conn, box, now), _forgotten(conn, box, now), key=attrgetter("id"))


def _forgotten(conn: sqlite3.Connection, box: Box, now: datetime) -> Iterator[Held]:
    for (number,) in conn.execute(_FORGOTTEN, {"box": box}):
        yield Held(
            id=number,
            device_id=None,
            contact=None,
            printed=None,
            offset=None,
            seen_at=now,
            touched_at=now,
            live=False,
            newest_before=None,
            missing=False,
            forgotten=True,
        )


def _held(conn: sqlite3.Connection, box: Box, now: datetime) -> Iterator[Held]:
    loaded: dict[int, str] = dict(conn.execute(_LOADED, {"box": box}).fetchall())
    for (
        number,
        device_id,
        contact,
        dated,
        offset,
        mirrored_at,
        changed_at,
        missing_since,
        status,
        newest_before,
        purged_at,
    ) in conn.execute(_ROWS[box], {"tomorrow": _tomorrow(now)}):
        if purged_at is not None:
            continue
        times = [loaded[i] for i in (0, device_id) if i in loaded]
        yield Held(
            id=number,
            device_id=device_id,
            contact=contact,
            printed=as_printed(dated, offset),
            offset=offset,
            seen_at=from_utc_text(mirrored_at),
            touched_at=from_utc_text(max(mirrored_at, changed_at or "")),
            live=not times or mirrored_at > min(times),
            newest_before=from_utc_text(newest_before) if newest_before else None,
            missing=missing_since is not None,
            status=status,
        )


def stopped(conn: sqlite3.Connection) -> str | None:
    """Return why purging was stopped, None where it was not."""
    return settings.find(conn, STOPPED)


def clean(conn: sqlite3.Connection, box: Box) -> int:
    """Return how many slices of a box were clean in a row."""
    return int(settings.find(conn, _CLEAN[box]) or 0)


class Purges(AbstractContextManager["Purges"]):
    """A connection to the mirror for whoever has the right to purge."""

    def __init__(self, mirror: Path) -> None:
        self._mirror = mirror
        self.conn = connect(mirror)
        with explained(mirror):
            self.conn.execute("pragma synchronous = full")

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.conn.close()

    def open_ones(self) -> list[OpenPurge]:
        """Return the deletions of which it is not known yet what they came to."""
        with explained(self._mirror):
            found = self.conn.execute(_OPEN).fetchall()
        return [
            OpenPurge(number, Box(box), device_id, tuple(json.loads(ids)), json.loads(asked))
            for number, box, device_id, ids, asked in found
        ]

    def commit(
        self,
        box: Box,
        device_id: int,
        ids: Sequence[int],
        asked: Mapping[str, str],
        now: datetime,
    ) -> OpenPurge:
        """Write down what will be deleted, and how; it is on the disk when this returns."""
        named = {
            "box": box,
            "device_id": device_id,
            "ids": json.dumps(ids),
            "asked": json.dumps(asked),
            "now": utc_text(now),
        }
        with explained(self._mirror), writing(self.conn):
            number = int(self.conn.execute(_COMMIT, named).fetchone()[0])
        return OpenPurge(number, box, device_id, tuple(ids), asked)

    def settle(
        self,
        purge: OpenPurge,
        state: str,
        gone: Collection[int],
        *,
        said: Collection[int] | None,
        now: datetime,
        error: str | None = None,
    ) -> None:
        """
        Write down what a deletion came to: the log, the messages and the event, all or nothing.

        Of a surprise it says so, and what stopped it stands until a person begins anew.
        """
        stamp = utc_text(now)
        named = {
            "id": purge.id,
            "state": state,
            "gone": len(gone),
            "said": None if said is None else json.dumps(sorted(said)),
            "error": error,
            "now": stamp,
        }
        with explained(self._mirror), writing(self.conn):
            self.conn.execute(_SETTLE, named)
            self._mark(purge.box, gone, stamp)
            if gone:
                told = {"purge_id": purge.id, "messages": len(gone)}
                self._tell("purge.done", purge, told)
            if state == "surprise":
                self._stop(purge, error or "")
            elif state == "done":
                settings.put(self.conn, _CLEAN[purge.box], str(clean(self.conn, purge.box) + 1))

    def stop(self, box: Box, device_id: int, why: str) -> None:
        """Write down that purging stops before anything was deleted, and why."""
        with explained(self._mirror), writing(self.conn):
            self._stop(OpenPurge(0, box, device_id, (), {}), why)

    def begin_anew(self) -> None:
        """Let purging go on after a surprise, with a single message of each box."""
        with explained(self._mirror), writing(self.conn):
            for key in (STOPPED, *_CLEAN.values()):
                settings.put(self.conn, key, None)

    def note_absent(
        self,
        box: Box,
        device_id: int,
        ids: Sequence[int],
        *,
        there: Collection[int],
        now: datetime,
    ) -> None:
        """
        Write down that messages were not shown when they were asked for as a delete would name
        them.

        Some are `there` all the same, asked for otherwise. Of the others, those that were to be
        deleted before, by a request that was lost, are gone since then.
        """
        stamp = utc_text(now)
        with explained(self._mirror), writing(self.conn):
            gone = [number for number in ids if number not in there]
            were_asked = _ids(self.conn, _WERE_ASKED, {"box": box, "ids": json.dumps(gone)})
            self._mark(box, were_asked, stamp)
            rest = [number for number in ids if number not in were_asked]
            if rest:
                named = {"box": box, "device_id": device_id, "ids": json.dumps(rest), "now": stamp}
                self.conn.execute(_NOTE_ABSENT, named)

    def _mark(self, box: Box, gone: Collection[int], stamp: str) -> None:
        self.conn.execute(_MARK[box], {"ids": json.dumps(list(gone)), "now": stamp})

    def _stop(self, purge: OpenPurge, why: str) -> None:
        settings.put(self.conn, STOPPED, why)
        settings.put(self.conn, _CLEAN[purge.box], None)
        self._tell("purge.stopped", purge, {"purge_id": purge.id or None, "cause": why})

    def _tell(self, kind: str, purge: OpenPurge, data: Mapping[str, object]) -> None:
        named = {"kind": kind, "box": purge.box, "device_id": purge.device_id}
        self.conn.execute(_TELL, named | {"data": json.dumps(data)})


def _ids(
    conn: sqlite3.Connection, query: str, named: Mapping[str, object] | None = None
) -> frozenset[int]:
    return frozenset(row[0] for row in conn.execute(query, named or {}))


def _tomorrow(now: datetime) -> str:
    return utc_text(now + timedelta(days=1))
