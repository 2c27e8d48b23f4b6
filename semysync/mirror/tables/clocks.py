"""
What the mirror knows of the clocks, and what more can be learnt from.

`known` is what messages are written with; from `last_contacts` and `times_of_phone` a pass learns
(`passes/clocks.py` decides what they prove). All are given a connection.
"""

import sqlite3
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from semysync.mirror.tables import settings
from semysync.times import (
    Clock,
    Clocks,
    Locale,
    as_printed,
    from_utc_text,
    zone_named,
)

Moment = tuple[datetime, datetime]  #: what a clock printed, and a moment that lies close to it

SERVICE = "utc_offset"  #: the key in `settings` of what was learnt of the service's clock

PHONES = "select id, phone_utc_offset from devices where phone_utc_offset is not null"

LEARN_PHONE = "update devices set phone_utc_offset = :offset where id = :id"

LAST_CONTACTS = """
select id, last_active_at, utc_offset from devices where last_active_at is not null
"""

# Of the newest messages only: this is asked every minute, however large the history is.
SENT_BY_PHONE = """
select sent_at, phone_utc_offset, handed_at
  from (select * from sent where device_id = ? order by id desc limit 200)
 where sent_at is not null and handed_at is not null and utc_offset is not null
 order by id desc
 limit 6
"""

# Only what one pull has shown and another one, shortly before, had not; and of ten minutes one
# message, since a phone that was offline uploads many at once.
RECEIVED_BY_PHONE = """
select received_at, utc_offset, mirrored_at
  from inbox
 where id in (select max(id)
                from (select id, received_at, mirrored_at from inbox
                       where device_id = ? order by id desc limit 2000)
               where received_at is not null
               group by substr(mirrored_at, 1, 15)
               order by max(id) desc
               limit 10)
   and exists (select 1 from passes
                where kind = 'inbox' and error is null and finished_at < mirrored_at
                  and started_at > strftime('%Y-%m-%dT%H:%M:%S', mirrored_at, '-60 seconds'))
"""


class Learnt(NamedTuple):
    """What was learnt of clocks: offsets in minutes east, of the service's and of phones'."""

    service: int | None
    phones: Mapping[int, int]

    def with_more(self, service: int | None, phones: Mapping[int, int]) -> "Learnt":
        return Learnt(self.service if service is None else service, {**self.phones, **phones})


def learnt(conn: sqlite3.Connection) -> Learnt:
    """Return what was learnt so far."""
    service = settings.find(conn, SERVICE)
    return Learnt(int(service) if service else None, dict(conn.execute(PHONES).fetchall()))


def learn(conn: sqlite3.Connection, now: Learnt) -> None:
    """Remember what was learnt, within an open transaction."""
    if now.service is not None:
        settings.put(conn, SERVICE, str(now.service))
    conn.executemany(
        LEARN_PHONE, [{"id": number, "offset": offset} for number, offset in now.phones.items()]
    )


def known(conn: sqlite3.Connection, locale: Locale) -> Clocks:
    """Return the clocks of the service and of the phones."""
    return as_known(learnt(conn), locale)


def as_known(learnt: Learnt, locale: Locale) -> Clocks:
    """Return the clocks as they are known: configured zones come before learnt offsets."""
    service = (
        Clock(offset=learnt.service)
        if locale.timezone == "auto"
        else Clock(zone_named(locale.timezone))
    )
    if locale.phone_timezone != "auto":
        return Clocks(service, any_phone=Clock(zone_named(locale.phone_timezone)))
    phones = {number: Clock(offset=offset) for number, offset in learnt.phones.items()}
    return Clocks(service, phones)


def last_contacts(conn: sqlite3.Connection) -> dict[int, datetime]:
    """Return when each device was last active, as it was printed."""
    printed = {row[0]: as_printed(row[1], row[2]) for row in conn.execute(LAST_CONTACTS)}
    return {number: moment for number, moment in printed.items() if moment}


def times_of_phone(conn: sqlite3.Connection, device_id: int) -> tuple[list[Moment], list[Moment]]:
    """
    Return what a phone printed lately, each time with a moment that lies close to it.

    First for messages that it sent, with when it had fetched them; then for messages that it
    received, with when they were mirrored.
    """
    sent, received = (
        [
            (printed, from_utc_text(close))
            for text, offset, close in conn.execute(query, (device_id,))
            if (printed := as_printed(text, offset))
        ]
        for query in (SENT_BY_PHONE, RECEIVED_BY_PHONE)
    )
    return sent, received
