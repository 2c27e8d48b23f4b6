"""
The drafts, for the thread that sends them: alone in writing SQL to `outbox` and `attempts`.

Each method is one transaction, on the disk before it returns (`synchronous = full`), since a
request may follow that must not be made twice. What is due is claimed by one statement, and what a
request came to is recorded by one transaction. An attempt stays on record for as long as it may
still turn out to have been taken.
"""

import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from semysync.contact import contact_of, dialled, tail
from semysync.mirror.file import connect, explained, writing
from semysync.mirror.times import from_utc_text, utc_text
from semysync.model import Attempt, Candidate, Phone
from semysync.segments import segments, utf16_units

LONGEST_TEXT = 1000  #: UTF-16 units, as a phone counts
AT_ONCE = 500  #: drafts that are looked at in one transaction
WINDOW = 20  #: drafts of a batch are chosen from the first so many times as many
GHOSTS_FOR = timedelta(days=7)  #: so long a second message of a draft is still told

CLAIMS = "claims"  #: the key in `settings` of how often drafts were claimed

UNSEEN = """
select id, phone, text, kind from outbox
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

REJECT = """
update outbox
   set status = 'rejected', error = :error,
       updated_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')
 where id = :id
"""

# A draft that was tried before goes alone, by the call that can surely be refused; so does a code.
_DUE = """
    select outbox.id, contact, priority,
           kind = 'ussd' or exists (select 1 from attempts where draft_id = outbox.id) as alone
      from outbox indexed by outbox_queued
     where status = 'queued' and contact is not null
       and (priority > 0 or not :quiet)
       and (send_at is null or (send_at <= :now and :clock_right))
       and (next_attempt_at is null or next_attempt_at <= :now)
       and (device is not null or :device_at_hand)
       and (not exists (select 1 from attempts where draft_id = outbox.id)
            or outbox.id in (select value from json_each(:looked)))
       and not exists (select 1 from outbox as other
                        where other.status = 'sending' and other.contact = outbox.contact)
       and not exists (select 1 from outbox as other
                        where other.status = 'unknown' and other.contact = outbox.contact
                          and substr(other.text, 1, 60) = substr(outbox.text, 1, 60))
     order by priority desc, outbox.id
     limit :window
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
select exists (select 1 from outbox where contact is null and status in ('queued', 'held'))
"""

BEGIN_ATTEMPT = """
insert into attempts (draft_id, number, began_at, tail, device, batched, above_id, arrivals_from,
                      complete, clock_right)
select :draft_id, 1 + coalesce((select max(number) from attempts where draft_id = :draft_id), 0),
       :began_at, :tail, :device, :batched,
       max(coalesce((select max(id) from sent), 0),
           coalesce((select max(top_id) from marks where box = 'sent'), 0)),
       coalesce((select max(seq) from arrivals), 0), :complete, :clock_right
returning number
"""

WAS_LOST = "select 1 from attempts where draft_id = ? and outcome = 'lost' limit 1"

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

UNKNOWN = """
select id, kind, attempts, cancel_wanted_at is not null as cancel_wanted, error,
       exists (select 1 from attempts where draft_id = outbox.id and held = 1) as held
  from outbox
 where status = 'unknown'
 order by id
"""

LOST_ATTEMPTS = """
select attempts.draft_id, phone, contact, text, kind, sent_id is not null, began_at, above_id, arrivals_from,
       complete, clock_right
  from attempts join outbox on outbox.id = attempts.draft_id
 where outcome = 'lost'
 order by attempts.draft_id, number
"""

CANDIDATES = """
select arrivals.seq, sent.id, sent.phone, sent.text, sent.created_at, sent.utc_offset
  from arrivals cross join sent on sent.id = arrivals.sent_id
 where arrivals.tail in (select tail from attempts where outcome = 'lost')
   and sent.is_out = 0
   and not exists (select 1 from outbox where sent_id = sent.id)
"""

SETTLED = """
update outbox
   set status = :status, error = :error, next_attempt_at = null,
       updated_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')
 where id = :draft_id and status = 'unknown'
"""

# Nothing is written, and nobody is woken, where the sentence is there already.
SAY = """
update outbox
   set error = :error, updated_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')
 where id = :draft_id and error is not :error
"""

_EXPIRES_AT = """
coalesce(expires_at,
         strftime('%Y-%m-%dT%H:%M:%f000Z',
                  max(created_at, coalesce(send_at, ''),
                      coalesce((select released_at from outbox_keys
                                 where outbox_keys.id = outbox.id), '')),
                  '+' || :lifetime_s || ' seconds'))
"""

EXPIRED = f"select id, error from outbox where status = 'queued' and {_EXPIRES_AT} <= :now"  # noqa: S608

IS_EXPIRED = f"select {_EXPIRES_AT} <= :now from outbox where id = :draft_id"  # noqa: S608

EXPIRE = """
update outbox
   set status = 'expired', error = :error,
       updated_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')
 where id = :draft_id
"""

NEXT_TIME = """
select min(at) from (
    select send_at as at from outbox where status = 'queued' and send_at > :now
    union all
    select next_attempt_at from outbox
     where status in ('queued', 'cancelling') and next_attempt_at > :now
)
"""

CANCELLING = """
select id, sent_id from outbox
 where status = 'cancelling' and sent_id is not null
   and (next_attempt_at is null or next_attempt_at <= :now)
 order by id
 limit 25
"""

# The wish was uttered while the answer was awaited.
WISHED = """
select id from outbox
 where status = 'accepted' and cancel_wanted_at is not null and sent_id is not null
"""

PHONES = """
select id, channel, use_for_sending, service_on, archived,
       mirrored_at is not null and missing_since is null, last_active_at
  from devices
"""

# Of each device that the account has, or of the account as a whole, the newest id was learnt; and
# all that was sent before is mirrored.
STATE_OF_BOX = """
select count(*),
       coalesce(sum(exists (select 1 from marks
                             where box = 'sent' and device_id in (devices.id, 0)
                               and coalesce(top_id, loaded_at) is not null)), 0),
       coalesce(sum(exists (select 1 from marks
                             where box = 'sent' and device_id in (devices.id, 0)
                               and loaded_at is not null)), 0)
  from devices
 where mirrored_at is not null and missing_since is null
"""

OPEN_DRAFTS = (
    "select id, phone, contact, status, created_at from outbox where status in ('queued', 'held')"
)

RESTORE_ATTEMPT = """
insert into attempts (draft_id, number, began_at, ended_at, outcome, tail, batched, above_id,
                      arrivals_from, complete, clock_right, held)
select :draft_id, 1 + coalesce((select max(number) from attempts where draft_id = :draft_id), 0),
       :began_at, :began_at, 'lost', :tail, 0, coalesce((select max(id) from sent), 0),
       coalesce((select max(seq) from arrivals), 0), :complete, 0, :held
"""

THIN_OUT = """
delete from attempts
 where draft_id not in (select id from outbox where status in ('queued', 'sending', 'unknown', 'held'))
   and (outcome is not 'lost' or began_at < :week_ago)
"""

SHOWN = """
select id, phone, text from sent where id in (select value from json_each(?))
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


class Claim(NamedTuple):
    """Drafts that go out in one request; `number` counts the claims of a mirror."""

    number: int
    drafts: list[Draft]


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


class Unknown(NamedTuple):
    """A draft of which it is not known whether the service took it."""

    id: int
    kind: str
    attempts: int
    cancel_wanted: bool
    error: str | None
    held: bool


class Cancelling(NamedTuple):
    """A draft whose message is to be cancelled."""

    id: int
    message_id: int


class Due(NamedTuple):
    """What decides which drafts are due."""

    now: datetime
    batch: int = 25
    quiet: bool = False
    device_at_hand: bool = True
    clock_right: bool = True
    looked: Sequence[int] = ()

    def named(self) -> dict[str, object]:
        """Return the parameters of the statements."""
        return {
            "now": utc_text(self.now),
            "batch": self.batch,
            "window": WINDOW * self.batch,
            "quiet": self.quiet,
            "device_at_hand": self.device_at_hand,
            "clock_right": self.clock_right,
            "looked": json.dumps(list(self.looked)),
        }


class Outbox(AbstractContextManager["Outbox"]):
    """The sender's connection to the mirror, for the thread that opened it."""

    def __init__(self, path: Path, *, region: str | None = None) -> None:
        self.path = path
        self._region = region
        self._conn = connect(path)
        # Bytes that are not UTF-8 can be written by any program; they must not hide the others.
        self._conn.text_factory = lambda value: value.decode("utf-8", "surrogateescape")
        self._conn.execute("pragma synchronous = full")

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._conn.close()

    # What there is to do.

    def phones(self) -> list[Phone]:
        """Return the devices with what the choice of one goes by."""
        with explained(self.path):
            return [Phone(*row) for row in self._conn.execute(PHONES)]

    def state_of_box(self) -> tuple[bool, bool]:
        """
        Tell whether anything may be sent, and whether all that was sent before is mirrored.

        A message of ours could not be told from an old one before the newest id is known.
        """
        with explained(self.path):
            devices, known, loaded = self._conn.execute(STATE_OF_BOX).fetchone()
        return devices > 0 and known == devices, devices > 0 and loaded == devices

    def anything_unseen(self) -> bool:
        """Tell whether there is a draft that was not looked at yet."""
        with explained(self.path):
            return bool(self._conn.execute(ANY_UNSEEN).fetchone()[0])

    def anything_queued(self) -> bool:
        """Tell whether a draft is still to be sent, now or later."""
        query = "select exists (select 1 from outbox where status = 'queued')"
        with explained(self.path):
            return bool(self._conn.execute(query).fetchone()[0])

    def anything_due(self, due: Due) -> bool:
        """Tell whether there is a draft to look at or to send, without writing anything."""
        if self.anything_unseen():
            return True
        with explained(self.path):
            named = due.named() | {"window": 1}
            return bool(self._conn.execute(ANY_DUE, named).fetchone()[0])

    def next_time(self, now: datetime) -> datetime | None:
        """Return when the next draft comes due that is not due yet."""
        with explained(self.path):
            found = self._conn.execute(NEXT_TIME, {"now": utc_text(now)}).fetchone()[0]
        return from_utc_text(found) if found else None

    def accepted_since(self, moment: datetime) -> int:
        """Count the drafts that the service took since then."""
        query = "select count(*) from outbox where accepted_at > ?"
        with explained(self.path):
            return int(self._conn.execute(query, (utc_text(moment),)).fetchone()[0])

    # A request: claimed, then recorded.

    def claim(self, due: Due, *, complete: bool) -> Claim | None:
        """
        Look at new drafts, and claim those that are due and go out in one request.

        The intent is on the disk when this returns. None where nothing is due. Of each draft the
        attempt is noted, with what was known of the account before it.
        """
        with self._write() as conn:
            self._see_new_drafts(conn)
            drafts = [Draft(*row) for row in conn.execute(CLAIM, due.named())]
            if not drafts:
                return None
            drafts.sort(key=lambda draft: (-draft.priority, draft.id))
            for draft in drafts:
                self._begin(conn, draft, due, complete=complete, batched=len(drafts) > 1)
            number = 1 + int(self._setting(conn, CLAIMS) or 0)
            self._set(conn, CLAIMS, str(number))
        return Claim(number, drafts)

    def record(
        self, results: Iterable[Result], *, now: datetime, max_attempts: int
    ) -> list[Result]:
        """
        Store what a request came to, in one transaction; return that, as it was stored.

        A message that was known before the attempt, or that another draft has claimed, cannot be
        this draft's: its answer counts as lost.
        """
        stored: list[Result] = []
        with self._write() as conn:
            for result in results:
                match result:
                    case Taken(draft_id, message_id):
                        named = {"draft_id": draft_id, "message_id": message_id}
                        if conn.execute(IS_STRANGE, named).fetchone()[0]:
                            why = f"the service named message {message_id}, which is another's"
                            self._lose(conn, draft_id, why, now)
                            stored.append(Lost(draft_id, why))
                            continue
                        conn.execute(TAKE, named)
                        conn.execute(FORGET_ANSWERED, named)
                    case NotTaken():
                        self._put_back(conn, result, now, max_attempts)
                    case Lost(draft_id, why):
                        self._lose(conn, draft_id, why, now)
                stored.append(result)
        return stored

    def give_back(self, draft_ids: Sequence[int]) -> None:
        """Let refusals not count that were the account's, as was seen later."""
        if draft_ids:
            with self._write() as conn:
                conn.executemany(GIVE_BACK, [(draft_id,) for draft_id in draft_ids])

    # What was lost, and what becomes of it.

    def lose_what_was_sending(self, now: datetime) -> int:
        """At the start: the answers to what an ended daemon had sent will never come."""
        why = "the daemon was ended before the answer came; the account is being searched"
        with self._write() as conn:
            ids = [row[0] for row in conn.execute("select id from outbox where status = 'sending'")]
            for draft_id in ids:
                self._lose(conn, draft_id, why, now)
        return len(ids)

    def doubt_open_drafts(self) -> int:
        """After a restore: whatever is still to be sent here may have gone out already."""
        why = "the mirror was restored or moved: the account is being searched for this message"
        with self._write() as conn:
            complete = self._state(conn)
            rows = conn.execute(OPEN_DRAFTS).fetchall()
            for draft_id, phone, _contact, status, created_at in rows:
                named = {
                    "draft_id": draft_id,
                    "began_at": created_at,
                    "tail": tail(phone),
                    "complete": complete,
                    "held": status == "held",
                }
                conn.execute(RESTORE_ATTEMPT, named)
                conn.execute(LOSE, {"draft_id": draft_id, "error": why})
        return len(rows)

    def unknown(self) -> list[Unknown]:
        """Return the drafts of which it is not known whether the service took them."""
        with explained(self.path):
            rows = self._conn.execute(UNKNOWN).fetchall()
        return [
            Unknown(i, kind, attempts, bool(wish), error, bool(held))
            for i, kind, attempts, wish, error, held in rows
        ]

    def waiting_for_a_look(self) -> list[int]:
        """Return the drafts that were tried, and go out again only after a look."""
        query = """
            select id from outbox
             where status = 'queued' and exists (select 1 from attempts where draft_id = outbox.id)
        """
        with explained(self.path):
            return [row[0] for row in self._conn.execute(query)]

    def newest_arrival(self) -> int:
        """Return the number of what arrived last of that which may be a draft's; 0 for nothing."""
        with explained(self.path):
            query = "select coalesce(max(seq), 0) from arrivals"
            return int(self._conn.execute(query).fetchone()[0])

    def evidence(self) -> tuple[list[Attempt], list[Candidate]]:
        """Return the attempts that may have been taken, and the messages that may be theirs."""
        with explained(self.path):
            lost = self._conn.execute(LOST_ATTEMPTS).fetchall()
            found = self._conn.execute(CANDIDATES).fetchall() if lost else []
        attempts = [
            Attempt(
                draft_id=draft_id,
                phone=dialled(phone, contact or phone),
                text=wording(kind, text),
                began_at=from_utc_text(began_at),
                above_id=above_id,
                arrivals_from=arrivals_from,
                complete=bool(complete),
                clock_right=bool(clock_right),
                resent=bool(resent),
            )
            for draft_id, phone, contact, text, kind, resent, began_at, above_id, arrivals_from,
            complete, clock_right in lost
        ]  # fmt: skip
        candidates = [
            Candidate(
                id=number,
                phone=phone or "",
                text=text or "",
                arrival=seq,
                made_at=from_utc_text(at) if at and offset is not None else None,
            )
            for seq, number, phone, text, at, offset in found
        ]
        return attempts, candidates

    def adopt(self, found: Mapping[int, int], doubled: Mapping[int, Sequence[int]]) -> None:
        """Give drafts the messages that were found to be theirs, and tell of second ones."""
        if not (found or doubled):
            return
        with self._write() as conn:
            for draft_id, message_id in found.items():
                named = {"draft_id": draft_id, "message_id": message_id}
                conn.execute(TAKE, named)
                conn.execute(FORGET_FOUND, named)
            for draft_id, message_ids in doubled.items():
                for message_id in message_ids:
                    self._tell(conn, "draft.doubled", message_id, draft_id=draft_id)
                    conn.execute("delete from arrivals where sent_id = ?", (message_id,))

    def say(self, sentences: Mapping[int, str]) -> None:
        """Write into drafts why they wait; nothing where it stands there already."""
        with self._write() as conn:
            conn.executemany(SAY, [{"draft_id": i, "error": s} for i, s in sentences.items()])

    def settle(self, draft_id: int, status: str, why: str | None) -> None:
        """End the search for a draft's message: `queued`, `held`, `expired` or `cancelled`."""
        with self._write() as conn:
            named = {"draft_id": draft_id, "status": status, "error": why}
            conn.execute(SETTLED, named)
            if status in {"expired", "held"}:
                conn.execute("update attempts set held = 0 where draft_id = ?", (draft_id,))

    def is_expired(self, draft_id: int, now: datetime, lifetime_s: int) -> bool:
        """Tell whether the time of a draft has passed."""
        named = {"draft_id": draft_id, "now": utc_text(now), "lifetime_s": lifetime_s}
        with explained(self.path):
            row = self._conn.execute(IS_EXPIRED, named).fetchone()
        return bool(row and row[0])

    def expire(self, now: datetime, lifetime_s: int) -> int:
        """End the drafts whose time has passed before they went out."""
        named = {"now": utc_text(now), "lifetime_s": lifetime_s}
        with explained(self.path):
            if not self._conn.execute(f"{EXPIRED} limit 1", named).fetchone():
                return 0
        with self._write() as conn:
            rows = conn.execute(EXPIRED, named).fetchall()
            for draft_id, error in rows:
                why = "its time passed before it went out" + (f": {error}" if error else "")
                conn.execute(EXPIRE, {"draft_id": draft_id, "error": why})
        return len(rows)

    # Cancelling.

    def cancelling(self, now: datetime) -> list[Cancelling]:
        """Return the drafts whose messages are to be cancelled now."""
        with explained(self.path):
            wished = [row[0] for row in self._conn.execute(WISHED)]
        if wished:
            with self._write() as conn:
                conn.executemany(
                    "update outbox set status = 'cancelling' where id = ? and status = 'accepted'",
                    [(draft_id,) for draft_id in wished],
                )
        with explained(self.path):
            rows = self._conn.execute(CANCELLING, {"now": utc_text(now)}).fetchall()
        return [Cancelling(*row) for row in rows]

    def put_off_cancel(self, draft_id: int, why: str, next_attempt_at: datetime) -> None:
        """Ask again later to cancel what is still waiting."""
        with self._write() as conn:
            conn.execute(
                """
                update outbox
                   set error = :error, next_attempt_at = :at,
                       updated_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')
                 where id = :draft_id and status = 'cancelling'
                """,
                {"draft_id": draft_id, "error": why, "at": utc_text(next_attempt_at)},
            )

    # What is learnt of the service.

    def shown(self, message_ids: Sequence[int]) -> dict[int, tuple[str, str]]:
        """Return the number and the text of messages, as the account shows them."""
        with explained(self.path):
            rows = self._conn.execute(SHOWN, (json.dumps(list(message_ids)),))
            return {number: (phone or "", text or "") for number, phone, text in rows}

    def setting(self, key: str) -> str | None:
        """Return what is remembered under a key of `settings`."""
        with explained(self.path):
            return self._setting(self._conn, key)

    def set_setting(self, key: str, value: str | None) -> None:
        """Remember a value under a key; nothing is written where it is there already."""
        if self.setting(key) != value:
            with self._write() as conn:
                self._set(conn, key, value)

    def thin_out(self, now: datetime) -> None:
        """Forget attempts of which nothing can come any more, and arrivals without attempts."""
        with self._write() as conn:
            conn.execute(THIN_OUT, {"week_ago": utc_text(now - GHOSTS_FOR)})
            conn.execute("delete from arrivals where not exists (select 1 from attempts)")

    # How it is done.

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with explained(self.path), writing(self._conn):
            yield self._conn

    def _see_new_drafts(self, conn: sqlite3.Connection) -> None:
        """Give new drafts their contact, and reject those that the table could not see through."""
        for draft_id, phone, text, kind in conn.execute(UNSEEN, {"most": AT_ONCE}).fetchall():
            if why := defect(phone, text):
                conn.execute(REJECT, {"id": draft_id, "error": why})
                continue
            named = {
                "id": draft_id,
                "contact": phone.strip() if kind == "ussd" else contact_of(phone, self._region),
                "segments": segments(text) if kind == "text" else None,
            }
            conn.execute(SEEN, named)

    def _begin(
        self, conn: sqlite3.Connection, draft: Draft, due: Due, *, complete: bool, batched: bool
    ) -> None:
        named = {
            "draft_id": draft.id,
            "began_at": utc_text(due.now),
            "tail": tail(dialled(draft.phone, draft.contact)),
            "device": draft.device,
            "batched": batched,
            "complete": complete,
            "clock_right": due.clock_right,
        }
        if conn.execute(WAS_LOST, (draft.id,)).fetchone():
            self._tell(conn, "draft.resent", None, draft_id=draft.id)
        conn.execute(BEGIN_ATTEMPT, named).fetchone()

    def _lose(self, conn: sqlite3.Connection, draft_id: int, why: str, now: datetime) -> None:
        conn.execute(LOSE, {"draft_id": draft_id, "error": why})
        conn.execute(END_ATTEMPT, {"draft_id": draft_id, "outcome": "lost", "now": utc_text(now)})

    def _put_back(
        self, conn: sqlite3.Connection, result: NotTaken, now: datetime, max_attempts: int
    ) -> None:
        named = {
            "draft_id": result.draft_id,
            "error": result.why,
            "next_attempt_at": result.next_attempt_at,
            "counts": result.counts,
            "most": max_attempts,
        }
        conn.execute(PUT_BACK, named)
        if result.never_left:  # there was no request
            conn.execute(
                """
                delete from attempts
                 where draft_id = :draft_id
                   and number = (select max(number) from attempts where draft_id = :draft_id)
                """,
                {"draft_id": result.draft_id},
            )
            return
        conn.execute(
            END_ATTEMPT,
            {"draft_id": result.draft_id, "outcome": "refused", "now": utc_text(now)},
        )

    def _tell(
        self, conn: sqlite3.Connection, kind: str, message_id: int | None, *, draft_id: int
    ) -> None:
        data = json.dumps({"draft_id": draft_id}, separators=(",", ":"))
        conn.execute(TELL, {"kind": kind, "message_id": message_id, "data": data})

    def _setting(self, conn: sqlite3.Connection, key: str) -> str | None:
        found = conn.execute("select value from settings where key = ?", (key,)).fetchone()
        return found[0] if found else None

    def _set(self, conn: sqlite3.Connection, key: str, value: str | None) -> None:
        conn.execute("insert or replace into settings values (?, ?)", (key, value))

    def _state(self, conn: sqlite3.Connection) -> bool:
        devices, _, loaded = conn.execute(STATE_OF_BOX).fetchone()
        return bool(devices > 0 and loaded == devices)


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
