"""
What speaks for and against that drafts went out whose answers were lost, and what is made of it.

The judgement itself is `passes.lost`'s; here are the attempts and the messages that it goes by, and
its results are stored. Each method is one transaction of the sender's connection.
"""

import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from semysync.contact import dialled, tail
from semysync.mirror.outbox import attempts
from semysync.mirror.outbox.queue import wording
from semysync.mirror.outbox.sending import CLAIMS, CLAIMS_BEFORE, Outbox
from semysync.mirror.tables import settings
from semysync.mirror.tables.numbers import leap
from semysync.model import Attempt, Candidate
from semysync.times import from_utc_text

UNKNOWN = """
select id, kind, attempts, cancel_wanted_at is not null as cancel_wanted, error,
       exists (select 1 from attempts where draft_id = outbox.id and held = 1) as held
  from outbox
 where status = 'unknown'
 order by id
"""

LOST_ATTEMPTS = """
select attempts.draft_id, phone, contact, text, kind, sent_id is not null, began_at, above_id,
       arrivals_from, complete, clock_right
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

# A wish to cancel that came meanwhile is seen the next time.
SETTLED = """
update outbox
   set status = :status, error = :error, next_attempt_at = null,
       updated_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')
 where id = :draft_id and status = 'unknown'
   and (cancel_wanted_at is null or :status = 'cancelled')
"""

# Nothing is written, and nobody is woken, where the sentence is there already.
SAY = """
update outbox
   set error = :error, updated_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')
 where id = :draft_id and error is not :error and status in ('queued', 'unknown')
"""

# As `queue` has it: no other of these goes out while the first is unknown.
BEHIND = """
select queued.id, max(lost.id)
  from outbox as lost cross join outbox as queued on queued.contact = lost.contact
 where lost.status = 'unknown' and queued.status = 'queued'
   and substr(queued.text, 1, 60) = substr(lost.text, 1, 60)
 group by queued.id
"""

CLEAR = """
update outbox
   set error = null, updated_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')
 where id = :id and status = 'queued' and error = :error
"""

WAITING_FOR_A_LOOK = """
select id from outbox
 where id in (select draft_id from attempts) and +status = 'queued'
"""

CLAIMS_BITS = 40  #: of where a restored mirror begins to count: no copy has come to that

OPEN_DRAFTS = "select id, phone, status, created_at from outbox where status in ('queued', 'held')"

SHOWN = """
select id, phone, text from sent where id in (select value from json_each(?))
"""


class Unknown(NamedTuple):
    """A draft of which it is not known whether the service took it."""

    id: int
    kind: str
    attempts: int
    cancel_wanted: bool
    error: str | None
    held: bool


class Settled(NamedTuple):
    """How the search for a draft's message ended: `queued`, `held`, `expired` or `cancelled`."""

    draft_id: int
    status: str
    why: str | None


class Evidence:
    """The sender's view of what was lost, over its connection."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    # What may have gone out.

    def lose_what_was_sending(self, now: datetime) -> int:
        """At the start: the answers to what an ended daemon had sent will never come."""
        why = "the daemon was ended before the answer came; the account is being searched"
        with self._outbox.writing() as conn:
            ids = [row[0] for row in conn.execute("select id from outbox where status = 'sending'")]
            for draft_id in ids:
                attempts.lose(conn, draft_id, why, now)
        return len(ids)

    def doubt_open_drafts(self, *, also_mirrored: bool = False) -> int:
        """
        After a restore: whatever is still to be sent here may have gone out already.

        What was written after the copy is not here, and its numbers are not given again.

        Where another machine has sent meanwhile, its message may be `also_mirrored` already.
        """
        why = "the mirror was restored or moved: the account is being searched for this message"
        _, complete = self._outbox.state_of_box()
        with self._outbox.writing() as conn:
            rows = conn.execute(OPEN_DRAFTS).fetchall()
            for draft_id, phone, status, created_at in rows:
                named = {
                    "draft_id": draft_id,
                    "began_at": created_at,
                    "tail": tail(phone),
                    "complete": complete,
                    "held": status == "held",
                }
                conn.execute(attempts.RESTORE_ATTEMPT, named)
                conn.execute(attempts.LOSE, {"draft_id": draft_id, "error": why})
                if also_mirrored:
                    attempts.let_arrive_again(conn, draft_id, named["tail"])
            leap(conn)
            # Counted on from the copy's number, claims would come to where that copy, or another
            # one, agrees with them: put back later, it would pass for the mirror that sent last.
            settings.put(conn, CLAIMS, str(secrets.randbits(CLAIMS_BITS)))
            settings.put(conn, CLAIMS_BEFORE, None)
        return len(rows)

    def unknown(self) -> list[Unknown]:
        """Return the drafts of which it is not known whether the service took them."""
        with self._outbox.reading() as conn:
            rows = conn.execute(UNKNOWN).fetchall()
        return [
            Unknown(i, kind, attempts, bool(wish), error, bool(held))
            for i, kind, attempts, wish, error, held in rows
        ]

    def waiting_for_a_look(self) -> list[int]:
        """Return the drafts that were tried, and go out again only after a look."""
        with self._outbox.reading() as conn:
            return [row[0] for row in conn.execute(WAITING_FOR_A_LOOK)]

    def newest_arrival(self) -> int:
        """Return the number of what arrived last of that which may be a draft's; 0 for nothing."""
        with self._outbox.reading() as conn:
            query = "select coalesce(max(seq), 0) from arrivals"
            return int(conn.execute(query).fetchone()[0])

    def read(self) -> tuple[list[Attempt], list[Candidate]]:
        """Return the attempts that may have been taken, and the messages that may be theirs."""
        with self._outbox.reading() as conn:
            lost = conn.execute(LOST_ATTEMPTS).fetchall()
            found = conn.execute(CANDIDATES).fetchall() if lost else []
        tried = [
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
        return tried, candidates

    def adopt(self, found: Mapping[int, int], doubled: Mapping[int, Sequence[int]]) -> None:
        """Give drafts the messages that were found to be theirs, and tell of second ones."""
        if not (found or doubled):
            return
        with self._outbox.writing() as conn:
            for draft_id, message_id in found.items():
                attempts.find(conn, draft_id, message_id)
            for draft_id, message_ids in doubled.items():
                for message_id in message_ids:
                    attempts.tell(conn, "draft.doubled", message_id, draft_id=draft_id)
                    conn.execute("delete from arrivals where sent_id = ?", (message_id,))

    def behind(self) -> dict[int, int]:
        """Return the queued drafts that wait for an unknown one, each with that one."""
        with self._outbox.reading() as conn:
            return dict(conn.execute(BEHIND).fetchall())

    def clear(self, sentences: Mapping[int, str]) -> None:
        """Take sentences back from queued drafts, where they still stand there."""
        with self._outbox.writing() as conn:
            conn.executemany(CLEAR, [{"id": i, "error": s} for i, s in sentences.items()])

    def say(self, sentences: Mapping[int, str]) -> None:
        """Write into drafts why they wait; nothing where it stands there already."""
        with self._outbox.writing() as conn:
            conn.executemany(SAY, [{"draft_id": i, "error": s} for i, s in sentences.items()])

    def settle(self, ended: Sequence[Settled]) -> None:
        """End the search for the messages of drafts."""
        with self._outbox.writing() as conn:
            for draft_id, status, why in ended:
                conn.execute(SETTLED, {"draft_id": draft_id, "status": status, "error": why})
                if status in {"expired", "held"}:
                    conn.execute("update attempts set held = 0 where draft_id = ?", (draft_id,))

    # What is learnt of the service.

    def shown(self, message_ids: Sequence[int]) -> dict[int, tuple[str, str]]:
        """Return the number and the text of messages, as the account shows them."""
        with self._outbox.reading() as conn:
            rows = conn.execute(SHOWN, (json.dumps(list(message_ids)),))
            return {number: (phone or "", text or "") for number, phone, text in rows}
