"""
Keep the table `pending`: the messages of `sent` that may still change, and when to ask for each.

It holds only what is open, so that what a refresh costs does not depend on the size of the
history. `note` and `again` belong into the transaction that stores messages; they leave `due_at`
null, since when to ask is decided in `passes.refresh`, which works through `Pending`.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from semysync.mirror.file import Connected
from semysync.mirror.tables import missing
from semysync.mirror.tables.events import DELIVERED
from semysync.mirror.tables.rows import DATE, ID, Row
from semysync.model import Box
from semysync.times import from_utc_text, utc_text

OLDEST = timedelta(days=30)  #: what was made longer ago when it is first seen is not asked for
AWAY = timedelta(minutes=10)  #: a phone that was silent for so long may have much to tell


ADD = """
insert into pending (message_id, since, asked_at) values (?, ?, ?)
    on conflict (message_id) do update
   set since = excluded.since, asked_at = excluded.asked_at, due_at = null, absences = 0,
       absent_since = null
"""

DROP = "delete from pending where message_id = ?"

# Drafts whose messages the service has named, and which have not been seen yet.
TAKE_IN = """
insert or ignore into pending (message_id, since)
select sent_id, coalesce(accepted_at, :now) from outbox
 where status in ('accepted', 'cancelling') and accepted_at > :oldest
   and not exists (select 1 from sent where sent.id = outbox.sent_id)
"""

# What was asked for by a clock that was ahead, and was put right since, does not wait for its time.
ANY = """
select exists (select 1 from pending where due_at is null)
    or exists (select 1 from pending where due_at <= :until)
    or exists (select 1 from pending where coalesce(asked_at, due_at) > :now)
    or exists (select 1 from outbox where status in ('accepted', 'cancelling')
                and accepted_at > :oldest
                and not exists (select 1 from sent where sent.id = outbox.sent_id)
                and not exists (select 1 from pending where message_id = outbox.sent_id))
"""

FIND = """
select message_id,
       coalesce(sent.device_id,
                (select cast(attempts.device as integer)
                   from attempts join outbox on outbox.id = attempts.draft_id
                  where outbox.sent_id = message_id and attempts.device not glob '*[^0-9]*'
                  order by number desc limit 1)),
       iif(sent.purged_at is null, status, 'purged'), reports_on, since, asked_at, due_at,
       absences, absent_since
  from pending
       left join sent on sent.id = message_id
       left join devices on devices.id = sent.device_id
 where due_at is null or due_at <= :until or coalesce(asked_at, due_at) > :now
 order by due_at is not null, coalesce(asked_at, due_at) <= :now, due_at
 limit :most
"""

# What has changed meanwhile keeps what the change has left: it has another `asked_at`, or is gone.
KEEP = """
update pending
   set since = :since, asked_at = :asked_at, due_at = :due_at, absences = :absences,
       absent_since = :absent_since
 where message_id = :id and asked_at is :was_asked_at
"""

FORGET = "delete from pending where message_id = :id and asked_at is :was_asked_at"

# Asked row by row of what is pending: of the device it would be asked of its whole history.
ROUSE = """
update pending set due_at = :now
 where due_at > :now
   and exists (select 1 from sent
                where sent.id = message_id and device_id = :device_id and is_delivered = 0
                  and is_error_send = 0 and is_error = 0 and is_cancel = 0 and is_send = 0)
"""


class Open(NamedTuple):
    """A message that may still change; `status` is None where it is not in the mirror yet."""

    id: int
    device_id: int | None
    status: str | None  #: or `purged`
    reports: bool  #: its device is not known to ask for no delivery reports
    since: datetime  #: when it was made, or when it last changed
    asked_at: datetime | None
    due_at: datetime | None  #: None: not decided yet
    absences: int = 0  #: answers in a row that lacked it
    absent_since: datetime | None = None


def note(
    conn: sqlite3.Connection,
    added: Sequence[Row],
    moved: Sequence[tuple[Row, Row]],
    *,
    now: datetime,
    history_to: int,
) -> None:
    """
    Take in new rows of `sent` that are open, and what has changed of those that were.

    History counts from when it was made, as it is printed; news from now.
    """
    stamp, oldest = utc_text(now), utc_text(now - OLDEST)
    fresh = [
        (row[ID], stamp if row[ID] > history_to else min(row[DATE] or stamp, stamp), stamp)
        for row in added
        if not row[DELIVERED]
    ]
    changed = [(row[ID], stamp, stamp) for _, row in moved if not row[DELIVERED]]
    conn.executemany(ADD, [one for one in fresh if one[1] >= oldest] + changed)
    conn.executemany(DROP, [(row[ID],) for _, row in moved if row[DELIVERED]])


def again(conn: sqlite3.Connection, ids: Iterable[int], now: datetime) -> None:
    """Ask for messages again that had vanished, and have come back."""
    stamp = utc_text(now)
    conn.executemany(ADD, [(number, stamp, stamp) for number in ids])


class Pending:
    """The table, for the pass that asks."""

    def __init__(self, store: Connected) -> None:
        self._store = store

    def any_due(self, now: datetime) -> bool:
        """Tell whether there is anything to ask for, or to decide."""
        with self._store.connected() as conn:
            return bool(conn.execute(ANY, _limits(now, now)).fetchone()[0])

    def take_in(self, now: datetime) -> None:
        """Ask also for messages of drafts that the service has named, and has not shown yet."""
        with self._store.transaction() as conn:
            conn.execute(TAKE_IN, _limits(now, now))

    def find(self, now: datetime, until: datetime, most: int) -> list[Open]:
        """Return what has no time yet, then what a wrong clock has put off, then what is due."""
        with self._store.connected() as conn:
            rows = conn.execute(FIND, _limits(now, until) | {"most": most}).fetchall()
        return [_read(row) for row in rows]

    def keep(self, pairs: Iterable[tuple[Open, Open | None]]) -> None:
        """Note when to ask next, given each as it was and is; None: it is not asked for again."""
        with self._store.transaction() as conn:
            for was, one in pairs:
                conn.execute(KEEP if one else FORGET, _named(one or was, was.asked_at))

    def miss(self, ids: Sequence[int], now: datetime) -> None:
        """Mark messages as missing at the account, and ask for them no more."""
        with self._store.transaction() as conn:
            missing.mark(conn, Box.SENT, ids, utc_text(now))
            conn.executemany(DROP, [(number,) for number in ids])

    def rouse(self, device_ids: Iterable[int], now: datetime) -> None:
        """Ask at once for what waits at these devices."""
        with self._store.transaction() as conn:
            stamp = utc_text(now)
            conn.executemany(ROUSE, [{"device_id": i, "now": stamp} for i in device_ids])


def _limits(now: datetime, until: datetime) -> dict[str, str]:
    return {
        "until": utc_text(until),
        "now": utc_text(now),
        "oldest": utc_text(now - OLDEST),
    }


def _read(row: tuple[Any, ...]) -> Open:
    since, asked_at, due_at, absences, absent_since = row[4:]
    return Open(
        id=row[0],
        device_id=row[1],
        status=row[2],
        reports=row[3] != 0,
        since=from_utc_text(since),
        asked_at=_moment(asked_at),
        due_at=_moment(due_at),
        absences=absences,
        absent_since=_moment(absent_since),
    )


def _moment(text: str | None) -> datetime | None:
    return from_utc_text(text) if text else None


def _named(one: Open, was_asked_at: datetime | None) -> dict[str, object]:
    named = one._asdict() | {"was_asked_at": was_asked_at}
    return {
        name: utc_text(value) if isinstance(value, datetime) else value
        for name, value in named.items()
    }
