"""
The attempts to send drafts: begun before a request, ended by what it came to.

Each function works within a transaction of its caller. An attempt stays on record for as long as
it may still turn out to have been taken: without it nobody would know whose a message is.
"""

import json
import sqlite3
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from semysync.contact import dialled, tail
from semysync.mirror.outbox.queue import Draft, Due
from semysync.times import utc_text

GHOSTS_FOR = timedelta(days=7)  #: so long a second message of a draft is still told

BEGIN_ATTEMPT = """
insert into attempts (draft_id, number, began_at, tail, device, batched, above_id, arrivals_from,
                      complete, clock_right)
select :draft_id, 1 + coalesce((select max(number) from attempts where draft_id = :draft_id), 0),
       :began_at, :tail, :device, :batched,
       max(coalesce((select max(id) from sent), 0),
           coalesce((select max(top_id) from marks where box = 'sent'), 0)),
       coalesce((select max(seq) from arrivals), 0), :complete, :clock_right
"""

WAS_LOST = "select 1 from attempts where draft_id = ? and outcome = 'lost' limit 1"

WAS_TRIED = "select 1 from attempts where draft_id = ? limit 1"

TELL = "insert into events (kind, message_id, data) values (:kind, :message_id, :data)"

# What was known before the attempt, or belongs to another draft, cannot be this one's.
IS_STRANGE = """
select exists (select 1 from outbox where sent_id = :message_id)
    or (exists (select 1 from sent where id = :message_id)
        and not exists (select 1 from arrivals
                         where sent_id = :message_id
                           and seq > (select arrivals_from from attempts
                                       where draft_id = :draft_id order by number desc limit 1)))
"""

TAKE = """
update outbox
   set sent_id = :message_id, error = null, next_attempt_at = null,
       status = coalesce((select status from sent where id = :message_id), 'accepted'),
       updated_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')
 where id = :draft_id
"""

# An attempt that was lost besides may still bring a second message.
FORGET_ANSWERED = "delete from attempts where draft_id = :draft_id and outcome is not 'lost'"

FORGET_FOUND = """
delete from attempts
 where draft_id = :draft_id
   and (outcome is not 'lost' or 1 = (select count(*) from attempts
                                       where draft_id = :draft_id and outcome = 'lost'))
"""

LOSE = """
update outbox
   set status = 'unknown', error = :error,
       updated_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')
 where id = :draft_id
"""

PUT_BACK = """
update outbox
   set status = case when cancel_wanted_at is not null then 'cancelled'
                     when :counts and attempts >= :most then 'rejected' else 'queued' end,
       attempts = attempts - (not :counts),
       error = :error, next_attempt_at = :next_attempt_at,
       updated_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')
 where id = :draft_id
"""

GIVE_BACK = """
update outbox
   set attempts = attempts - 1, updated_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')
 where id = ? and status = 'queued' and attempts > 0
"""

END_ATTEMPT = """
update attempts set outcome = :outcome, ended_at = :now
 where draft_id = :draft_id
   and number = (select max(number) from attempts where draft_id = :draft_id)
"""

END_UNMADE = """
delete from attempts
 where draft_id = :draft_id
   and number = (select max(number) from attempts where draft_id = :draft_id)
"""

RESTORE_ATTEMPT = """
insert into attempts (draft_id, number, began_at, ended_at, outcome, tail, batched, above_id,
                      arrivals_from, complete, clock_right, held)
select :draft_id, 1 + coalesce((select max(number) from attempts where draft_id = :draft_id), 0),
       :began_at, :began_at, 'lost', :tail, 0, coalesce((select max(id) from sent), 0),
       coalesce((select max(seq) from arrivals), 0), :complete, 0, :held
"""

# A message of a draft that is gone is known by the events of that draft.
SENT_BY_NOBODY_HERE = """
select id from sent
 where contact = :contact and created_at > :since and utc_offset is not null
   and is_out = 0 and trim(text, char(9, 10, 13, 32)) = trim(:text, char(9, 10, 13, 32))
   and not exists (select 1 from outbox where sent_id = sent.id)
   and not exists (select 1 from events where message_id = sent.id and kind glob 'draft.*')
 order by id
 limit 20
"""

WRITTEN = "select contact, text, created_at from outbox where id = ?"

SEE_FROM = """
update attempts set above_id = min(above_id, :message_id - 1)
 where draft_id = :draft_id and outcome = 'lost'
"""

FIRST_TIME = "select created_at from outbox where id = :id and attempts = 1"

THIN_OUT = """
delete from attempts
 where draft_id not in (select id from outbox where status in ('queued', 'sending', 'unknown', 'held'))
   and (outcome is not 'lost' or began_at < :week_ago)
"""


class SentElsewhere(Exception):
    """The account shows a message of a draft that was never sent from here; `sentence` says so."""

    def __init__(self, draft_id: int, message_id: int) -> None:
        self.sentence = (
            f"another machine seems to send from a copy of this mirror: the account shows draft "
            f"{draft_id}, which never went out from here, as message {message_id}. If that machine "
            "has taken over, stop this daemon for good; if not, `semysync takeover` lets this one "
            "send again"
        )
        super().__init__(self.sentence)


class Taken(NamedTuple):
    """The service named the message that became of a draft."""

    draft_id: int
    message_id: int


class NotTaken(NamedTuple):
    """A draft was surely not taken. `counts`: as one of the attempts that it has."""

    draft_id: int
    why: str
    next_attempt_at: str | None
    counts: bool = True
    never_left: bool = False


class Lost(NamedTuple):
    """What became of a draft is not known."""

    draft_id: int
    why: str


Result = Taken | NotTaken | Lost


def must_be_ours(conn: sqlite3.Connection, draft: Draft) -> None:
    """
    Raise `SentElsewhere` where a draft that was just claimed for the first time is out already.

    Its message was made after it was written, and no draft of this mirror has claimed it.
    """
    if draft.kind != "text" or conn.execute(WAS_TRIED, (draft.id,)).fetchone():
        return
    if (row := conn.execute(FIRST_TIME, {"id": draft.id}).fetchone()) is None:
        return
    wanted = {"contact": draft.contact, "text": draft.text, "since": row[0]}
    if found := conn.execute(SENT_BY_NOBODY_HERE, wanted).fetchone():
        raise SentElsewhere(draft.id, found[0])


def let_arrive_again(conn: sqlite3.Connection, draft_id: int, end: str) -> None:
    """Let the messages count as new that may be a draft's, and that nobody here has sent."""
    contact, text, created_at = conn.execute(WRITTEN, (draft_id,)).fetchone()
    wanted = {"contact": contact, "text": text, "since": created_at}
    for (message_id,) in conn.execute(SENT_BY_NOBODY_HERE, wanted).fetchall():
        conn.execute("delete from arrivals where sent_id = ?", (message_id,))
        conn.execute("insert into arrivals (sent_id, tail) values (?, ?)", (message_id, end))
        conn.execute(SEE_FROM, {"draft_id": draft_id, "message_id": message_id})


def begin(
    conn: sqlite3.Connection, draft: Draft, due: Due, *, complete: bool, batched: bool
) -> None:
    """Note that a draft is about to be sent, and what was known of the account before."""
    if conn.execute(WAS_LOST, (draft.id,)).fetchone():
        tell(conn, "draft.resent", None, draft_id=draft.id)
    named = {
        "draft_id": draft.id,
        "began_at": utc_text(due.now),
        "tail": tail(dialled(draft.phone, draft.contact)),
        "device": draft.device,
        "batched": batched,
        "complete": complete,
        "clock_right": due.clock_right,
    }
    conn.execute(BEGIN_ATTEMPT, named)


def end(conn: sqlite3.Connection, result: Result, *, now: datetime, max_attempts: int) -> Result:
    """
    Store what a request came to for one draft; return that, as it was stored.

    A message that was known before the attempt, or that another draft has claimed, cannot be this
    draft's: its answer counts as lost.
    """
    match result:
        case Taken(draft_id, message_id):
            named = {"draft_id": draft_id, "message_id": message_id}
            if conn.execute(IS_STRANGE, named).fetchone()[0]:
                why = f"the service named message {message_id}, which is another's"
                lose(conn, draft_id, why, now)
                return Lost(draft_id, why)
            conn.execute(TAKE, named)
            conn.execute(FORGET_ANSWERED, named)
        case NotTaken():
            _put_back(conn, result, now, max_attempts)
        case Lost(draft_id, why):
            lose(conn, draft_id, why, now)
    return result


def lose(conn: sqlite3.Connection, draft_id: int, why: str, now: datetime) -> None:
    """Note that nobody knows what became of a draft's last attempt."""
    conn.execute(LOSE, {"draft_id": draft_id, "error": why})
    conn.execute(END_ATTEMPT, {"draft_id": draft_id, "outcome": "lost", "now": utc_text(now)})


def find(conn: sqlite3.Connection, draft_id: int, message_id: int) -> None:
    """Give a draft the message that was found to be its own."""
    named = {"draft_id": draft_id, "message_id": message_id}
    conn.execute(TAKE, named)
    conn.execute(FORGET_FOUND, named)


def give_back(conn: sqlite3.Connection, draft_ids: Iterable[int]) -> None:
    """Let refusals not count that were the account's, as was seen later."""
    conn.executemany(GIVE_BACK, [(draft_id,) for draft_id in draft_ids])


def tell(conn: sqlite3.Connection, kind: str, message_id: int | None, *, draft_id: int) -> None:
    """Write an event that no trigger writes."""
    data = json.dumps({"draft_id": draft_id}, separators=(",", ":"))
    conn.execute(TELL, {"kind": kind, "message_id": message_id, "data": data})


def thin_out(conn: sqlite3.Connection, now: datetime) -> None:
    """Forget attempts of which nothing can come any more, and arrivals without attempts."""
    conn.execute(THIN_OUT, {"week_ago": utc_text(now - GHOSTS_FOR)})
    conn.execute("delete from arrivals where not exists (select 1 from attempts)")


def _put_back(conn: sqlite3.Connection, result: NotTaken, now: datetime, max_attempts: int) -> None:
    named = {
        "draft_id": result.draft_id,
        "error": result.why,
        "next_attempt_at": result.next_attempt_at,
        "counts": result.counts,
        "most": max_attempts,
    }
    conn.execute(PUT_BACK, named)
    if result.never_left:  # there was no request
        conn.execute(END_UNMADE, {"draft_id": result.draft_id})
        return
    ended = {"draft_id": result.draft_id, "outcome": "refused", "now": utc_text(now)}
    conn.execute(END_ATTEMPT, ended)
