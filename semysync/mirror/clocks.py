"""
What the mirror knows of the clocks, and what more can be learnt from.

`known` is what messages are written with; from `last_contacts` and `times_of_phone` a pass learns
(`passes/clocks.py` decides what they prove). All are given a connection.
"""

import sqlite3
from datetime import datetime

from semysync.mirror.times import (
    Clock,
    Clocks,
    Locale,
    as_printed,
    from_utc_text,
    zone_named,
)

Moment = tuple[datetime, datetime]  #: what a clock printed, and a moment that lies close to it

PHONES = "select id, phone_utc_offset from devices where phone_utc_offset is not null"

LEARN_PHONE = "update devices set phone_utc_offset = :offset where id = :id"

LAST_CONTACTS = """
select id, last_active_at, utc_offset from devices where last_active_at is not null
"""

SENT_BY_PHONE = """
select sent_at, phone_utc_offset, handed_at
  from sent
 where device_id = ? and sent_at is not null and handed_at is not null and utc_offset is not null
 order by id desc
 limit 10
"""

# Only what one pull has shown and another one, shortly before, had not; and of ten minutes one
# message, since a phone that was offline uploads many at once.
RECEIVED_BY_PHONE = """
select received_at, utc_offset, mirrored_at
  from inbox
 where id in (select max(id) from inbox
               where device_id = ? and received_at is not null
               group by substr(mirrored_at, 1, 15)
               order by max(id) desc
               limit 20)
   and exists (select 1 from passes
                where kind = 'inbox' and error is null and finished_at < mirrored_at
                  and started_at > strftime('%Y-%m-%dT%H:%M:%S', mirrored_at, '-60 seconds'))
"""


def known(conn: sqlite3.Connection, locale: Locale, learnt: str | None) -> Clocks:
    """
    Return the clocks of the service and of the phones; configured zones come before learnt offsets.

    `learnt` is the offset of the service's clock as it is kept in `settings`.
    """
    service = (
        Clock(offset=int(learnt) if learnt else None)
        if locale.timezone == "auto"
        else Clock(zone_named(locale.timezone))
    )
    if locale.phone_timezone != "auto":
        return Clocks(service, any_phone=Clock(zone_named(locale.phone_timezone)))
    return Clocks(service, {row[0]: Clock(offset=row[1]) for row in conn.execute(PHONES)})


def learn_phone(conn: sqlite3.Connection, device_id: int, offset: int) -> None:
    """Remember what a phone's clock stands at, in minutes east."""
    conn.execute(LEARN_PHONE, {"id": device_id, "offset": offset})


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
