"""
Which drafts go out next, in the SQL that says so.

Each function works within a transaction of its caller (see `sending`): new drafts are looked at,
those that are due are claimed by one statement, and those whose time has passed are ended.
"""

import json
import re
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from semysync.contact import contact_of
from semysync.segments import segments, utf16_units
from semysync.times import utc_text

LONGEST_TEXT = 1000  #: UTF-16 units, as a phone counts
AT_ONCE = 500  #: drafts that are looked at in one transaction
LONGEST_PAUSE = timedelta(minutes=10)  #: between two attempts; what is put off longer was not by us
FEW = 1_000  #: drafts whose time has come, which are put in order each time
WINDOW = 20  #: drafts of a batch are chosen from the first so many times as many

UNSEEN = """
select id, phone, text, kind from outbox indexed by outbox_unseen
 where contact is null and status in ('queued', 'held')
 order by id
 limit :most
"""

SEEN = """
update outbox
   set contact = :contact, segments = :segments,
       updated_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')
 where id = :id
"""

NUMBERED = """
select id, phone, contact from outbox
 where id > :last and contact is not null and kind = 'text'
 order by id
 limit :most
"""

# One that was edited meanwhile gets its contact when it is looked at again.
RENUMBER = """
update outbox
   set contact = :now, updated_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')
 where id = :id and contact = :contact
"""

REJECT = """
update outbox
   set status = 'rejected', error = :error,
       updated_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')
 where id = :id
"""

_EXPIRES_AT = """
coalesce(expires_at,
         strftime('%Y-%m-%dT%H:%M:%f000Z',
                  max(created_at, coalesce(send_at, ''),
                      coalesce((select released_at from outbox_keys
                                 where outbox_keys.id = outbox.id), '')),
                  '+' || :lifetime_s || ' seconds'))
"""

# Of several ids the service takes whichever it likes.
_MAY_GO_TO = "instr(',' || device || ',', ',' || value || ',') > 0"

# A pause that ends too late was begun by a clock that has been put back since.
#
# A draft that was tried before goes alone, by the call that can surely be refused; so does a code,
# and what goes to a device that takes one message at a time.
_DUE_OF = f"""
    select outbox.id, contact, priority,
           kind = 'ussd' or exists (select 1 from json_each(:slow) where {_MAY_GO_TO})
               or exists (select 1 from attempts where draft_id = outbox.id) as alone
      from outbox indexed by <index>
     where status = 'queued' and contact is not null
       and <when>
       and (priority > 0 or not :quiet)
       and (next_attempt_at is null or next_attempt_at <= :now or next_attempt_at > :pauses_end)
       and (:lifetime_s is null or ({_EXPIRES_AT.strip()} <= :now) is not true)
       and outbox.id not in (select value from json_each(:refused))
       and iif(device is null, :device_at_hand,
               not exists (select 1 from json_each(:resting) where {_MAY_GO_TO}))
       and (not exists (select 1 from attempts where draft_id = outbox.id)
            or outbox.id in (select value from json_each(:looked)))
       and not exists (select 1 from outbox as other
                        where other.status = 'sending' and other.contact = outbox.contact)
       and not exists (select 1 from outbox as other
                        where other.status = 'unknown' and other.contact = outbox.contact
                          and substr(other.text, 1, 60) = substr(outbox.text, 1, 60))
"""


def _due_of(index: str, when: str) -> str:
    return _DUE_OF.replace("<index>", index).replace("<when>", when)


# However many are for later, they are not gone through: those whose time has come are found by it,
# and put in order. Where it has come for many at once, that would take longer than going along.
_DUE = f"""
{_due_of("outbox_at_once", "send_at is null")}
    union all
{_due_of("outbox_by_send_at", ":few_timed and send_at <= :now and :clock_right")}
    union all
{_due_of("outbox_queued", "not :few_timed and send_at <= :now and :clock_right")}
     order by priority desc, id
     limit :window
"""

FEW_TIMED = """
select count(*) < :few
  from (select 1 from outbox indexed by outbox_by_send_at
         where status = 'queued' and send_at <= :now limit :few)
"""

CLAIM = """
with due as materialized (-- due
), firsts as materialized (
    select *, row_number() over (partition by contact order by priority desc, id) as turn from due
), lead as (
    select alone from firsts where turn = 1 order by priority desc, id limit 1
)
update outbox
   set status = 'sending', attempts = attempts + 1, next_attempt_at = null, error = null,
       updated_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')
 where id in (select id from firsts
               where turn = 1 and alone = (select alone from lead)
               order by priority desc, id
               limit iif((select alone from lead), 1, :batch))
returning id, phone, contact, text, device, kind, priority, attempts
""".replace("-- due\n", _DUE)

ANY_DUE = "select exists (select 1 from (-- due\n))".replace("-- due\n", _DUE)

ANY_UNSEEN = """
select exists (select 1 from outbox indexed by outbox_unseen
                where contact is null and status in ('queued', 'held'))
"""

# No draft expires before the time from which on it may be sent.
EXPIRED = f"""
select id from outbox indexed by outbox_at_once
 where status = 'queued' and send_at is null and {_EXPIRES_AT} <= :now
union all
select id from outbox indexed by outbox_by_send_at
 where status = 'queued' and send_at <= :now and {_EXPIRES_AT} <= :now
"""

IS_EXPIRED = f"select {_EXPIRES_AT} <= :now from outbox where id = :draft_id"

# Asked again: a draft may have been edited, held or released since.
EXPIRE = f"""
update outbox
   set status = 'expired',
       error = 'its time passed before it went out' || coalesce(': ' || nullif(error, ''), ''),
       updated_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')
 where id in (select value from json_each(:ids)) and status = 'queued' and {_EXPIRES_AT} <= :now
"""


class Draft(NamedTuple):
    """A draft that is claimed for sending."""

    id: int
    phone: str
    contact: str
    text: str
    device: str | None
    kind: str
    priority: int
    attempts: int


class Due(NamedTuple):
    """What decides which drafts are due."""

    now: datetime
    batch: int = 25
    quiet: bool = False
    device_at_hand: bool = True
    clock_right: bool = True
    looked: Sequence[int] = ()  #: drafts that were tried, and of which a look has shown nothing
    refused: Sequence[int] = ()  #: drafts that come after all others
    slow: Sequence[str] = ()  #: devices that take one message at a time
    resting: Sequence[str] = ()  #: those of them that take none yet
    lifetime_s: int | None = None  #: how long one waits that names no end; None: none has an end

    def named(self) -> dict[str, object]:
        """Return what the statements are to know of it."""
        return {
            "now": utc_text(self.now),
            "pauses_end": utc_text(self.now + LONGEST_PAUSE),
            "lifetime_s": self.lifetime_s,
            "batch": self.batch,
            "window": WINDOW * self.batch,
            "quiet": self.quiet,
            "device_at_hand": self.device_at_hand,
            "clock_right": self.clock_right,
            "looked": json.dumps(list(self.looked)),
            "refused": json.dumps(list(self.refused)),
            "slow": json.dumps(list(self.slow)),
            "resting": json.dumps(list(self.resting)),
        }


def see_new(conn: sqlite3.Connection, region: str | None) -> None:
    """Give new drafts their contact, and reject those that the table could not see through."""
    for draft_id, phone, text, kind in conn.execute(UNSEEN, {"most": AT_ONCE}).fetchall():
        if why := defect(phone, text):
            conn.execute(REJECT, {"id": draft_id, "error": why})
            continue
        named = {
            "id": draft_id,
            "contact": phone.strip() if kind == "ussd" else contact_of(phone, region),
            "segments": segments(text) if kind == "text" else None,
        }
        conn.execute(SEEN, named)


def numbered(conn: sqlite3.Connection, last: int) -> list[tuple[int, str, str]]:
    """Return some drafts after the `last` that was seen: ids, numbers, and the contacts they have."""
    return conn.execute(NUMBERED, {"last": last, "most": AT_ONCE}).fetchall()


def follow_region(
    conn: sqlite3.Connection, region: str | None, drafts: Iterable[tuple[int, str, str]]
) -> None:
    """Give drafts, as `numbered` returns them, the contact that their number has by a new region."""
    for draft_id, phone, contact in drafts:
        if (now := contact_of(phone, region)) != contact:
            conn.execute(RENUMBER, {"id": draft_id, "contact": contact, "now": now})


def any_unseen(conn: sqlite3.Connection) -> bool:
    """Tell whether there is a draft that was not looked at yet."""
    return bool(conn.execute(ANY_UNSEEN).fetchone()[0])


def any_due(conn: sqlite3.Connection, due: Due) -> bool:
    """Tell whether there is a draft to send."""
    anyone = _named(conn, due._replace(refused=())) | {"window": 1}
    return bool(conn.execute(ANY_DUE, anyone).fetchone()[0])


def _named(conn: sqlite3.Connection, due: Due) -> dict[str, object]:
    """Return the parameters of the statements, with how what is due is best found."""
    few = conn.execute(FEW_TIMED, {"now": utc_text(due.now), "few": FEW}).fetchone()[0]
    return due.named() | {"few_timed": few}


def claim(conn: sqlite3.Connection, due: Due) -> list[Draft]:
    """Claim the drafts that are due and go out in one request, in their order."""
    drafts = [Draft(*row) for row in conn.execute(CLAIM, _named(conn, due))]
    if not drafts and due.refused:
        return claim(conn, due._replace(refused=()))
    return sorted(drafts, key=lambda draft: (-draft.priority, draft.id))


def is_expired(conn: sqlite3.Connection, draft_id: int, now: datetime, lifetime_s: int) -> bool:
    """Tell whether the time of a draft has passed."""
    named = {"draft_id": draft_id, "now": utc_text(now), "lifetime_s": lifetime_s}
    row = conn.execute(IS_EXPIRED, named).fetchone()
    return bool(row and row[0])


def expired(conn: sqlite3.Connection, now: datetime, lifetime_s: int) -> list[int]:
    """Return the queued drafts whose time has passed."""
    named = {"now": utc_text(now), "lifetime_s": lifetime_s}
    return [row[0] for row in conn.execute(EXPIRED, named)]


def expire(
    conn: sqlite3.Connection, draft_ids: Sequence[int], now: datetime, lifetime_s: int
) -> int:
    """End those of some drafts whose time has passed before they went out; return how many."""
    ids = json.dumps(draft_ids)
    named = {"ids": ids, "now": utc_text(now), "lifetime_s": lifetime_s}
    return conn.execute(EXPIRE, named).rowcount


def defect(phone: str, text: str) -> str | None:
    """Say what is wrong with a draft that SQL cannot see."""
    for name, value in (("phone", phone), ("text", text)):
        if re.search("[\udc80-\udcff]", value):
            return f"`{name}` holds bytes that are not UTF-8: insert it anew, as UTF-8"
    if (units := utf16_units(text)) > LONGEST_TEXT:
        return (
            f"`text` is {units:,} UTF-16 units long, as phones count (an emoji is two or more); "
            f"at most {LONGEST_TEXT:,} can be sent: cut it, or send two"
        )
    return None


def wording(kind: str, text: str) -> str:
    """Return the text as it is given to the service."""
    return "[ussd]" if kind == "ussd" else text
