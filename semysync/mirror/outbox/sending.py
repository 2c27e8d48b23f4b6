"""
The drafts, for the thread that sends them: its connection to the mirror, and its transactions.

Each method is one transaction (`expire` several), on the disk before it returns (`synchronous =
full`), since a request may follow that must not be made twice. What is due is claimed by one
statement (`queue`), and what a request came to is recorded by one transaction (`attempts`). What
was lost on the way is the subject of `evidence`.
"""

import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from semysync.mirror.file import connect, explained, writing, writing_a_slice
from semysync.mirror.outbox import attempts, queue
from semysync.mirror.outbox.attempts import Result, SentElsewhere
from semysync.mirror.outbox.queue import Draft, Due
from semysync.mirror.tables import events, passes, settings
from semysync.model import Phone
from semysync.times import utc_text

CLAIMS = "claims"  #: the key in `settings` of the number of the last claim,
CLAIMS_BEFORE = "claims_before"  #: and of the one before it; None where nothing agrees with that
STEP_BITS = 20  #: of how far the next number is, at most: copies that go on must not meet

SENT_SINCE = """
with taken as materialized (select id from outbox where accepted_at between :since and :now)
select (select count(*) from taken)
       + (select count(*) from attempts
           where began_at between :since and :now and outcome is not 'refused'
             and draft_id not in (select id from taken))
"""

NEXT_TIME = """
select (julianday(min(at)) - julianday(:now)) * 86400 from (
    select min(send_at) as at from outbox indexed by outbox_by_send_at
     where status = 'queued' and send_at > :now
    union all
    select min(next_attempt_at) from outbox indexed by outbox_by_next_attempt
     where status in ('queued', 'cancelling') and next_attempt_at > :now
)
"""

CANCELLING = """
select id, sent_id from outbox
 where status = 'cancelling' and sent_id is not null
   and (next_attempt_at is null or next_attempt_at <= :now or next_attempt_at > :pauses_end)
 order by id
 limit 25
"""

# The wish was uttered while the answer was awaited.
WISHED = """
select id from outbox indexed by outbox_wishes
 where cancel_wanted_at is not null and status = 'accepted' and sent_id is not null
"""

CARRY_OUT = "update outbox set status = 'cancelling' where id = ? and status = 'accepted'"

PUT_OFF_CANCEL = """
update outbox
   set error = :error, next_attempt_at = :at,
       updated_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')
 where id = :draft_id and status = 'cancelling'
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


class Claim(NamedTuple):
    """Drafts that go out in one request; `number` counts the claims of a mirror."""

    number: int
    drafts: list[Draft]


class Cancelling(NamedTuple):
    """A draft whose message is to be cancelled."""

    id: int
    message_id: int


class Outbox(AbstractContextManager["Outbox"]):
    """The sender's connection to the mirror, for the thread that opened it."""

    def __init__(self, path: Path, *, region: str | None = None) -> None:
        self.path = path
        self._region = region
        self._conn = connect(path)
        # Bytes that are not UTF-8 can be written by any program; they must not hide the others.
        self._conn.text_factory = lambda value: value.decode("utf-8", "surrogateescape")
        self._conn.execute("pragma synchronous = full")

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._conn.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Read; what goes wrong is explained."""
        with explained(self.path):
            yield self._conn

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Write in one transaction, which is on the disk when the block ends."""
        with explained(self.path), writing(self._conn):
            yield self._conn

    # What there is to do.

    def phones(self) -> list[Phone]:
        """Return the devices with what the choice of one goes by."""
        with self.reading() as conn:
            return [Phone(*row) for row in conn.execute(PHONES)]

    def state_of_box(self) -> tuple[bool, bool]:
        """
        Tell whether anything may be sent, and whether all that was sent before is mirrored.

        A message of ours could not be told from an old one before the newest id is known.
        """
        with self.reading() as conn:
            devices, known, loaded = conn.execute(STATE_OF_BOX).fetchone()
        return devices > 0 and known == devices, devices > 0 and loaded == devices

    def looked_at(self) -> datetime | None:
        """Return when the last complete look at what was sent began."""
        with self.reading() as conn:
            return passes.last_complete(conn, "sent")

    def anything_unseen(self) -> bool:
        """Tell whether there is a draft that was not looked at yet."""
        with self.reading() as conn:
            return queue.any_unseen(conn)

    def anything_queued(self) -> bool:
        """Tell whether a draft is still to be sent, now or later."""
        query = "select exists (select 1 from outbox where status = 'queued')"
        with self.reading() as conn:
            return bool(conn.execute(query).fetchone()[0])

    def anything_due(self, due: Due) -> bool:
        """Tell whether there is a draft to look at or to send, without writing anything."""
        with self.reading() as conn:
            return queue.any_unseen(conn) or queue.any_due(conn, due)

    def next_time_s(self, now: datetime) -> float | None:
        """Return in how many seconds the next draft comes due that is not due yet."""
        with self.reading() as conn:
            seconds: float | None = conn.execute(NEXT_TIME, {"now": utc_text(now)}).fetchone()[0]
        return seconds

    def sent_between(self, moment: datetime, now: datetime) -> int:
        """
        Count the drafts that the service took since a moment, or may have taken.

        What is stamped later than now was so by a clock that has been put back since.
        """
        named = {"since": utc_text(moment), "now": utc_text(now)}
        with self.reading() as conn:
            return int(conn.execute(SENT_SINCE, named).fetchone()[0])

    def is_expired(self, draft_id: int, now: datetime, lifetime_s: int) -> bool:
        """Tell whether the time of a draft has passed."""
        with self.reading() as conn:
            return queue.is_expired(conn, draft_id, now, lifetime_s)

    # A request: claimed, then recorded.

    def claim(self, due: Due, *, complete: bool) -> Claim | None:
        """
        Look at new drafts, and claim those that are due and go out in one request.

        The intent is on the disk when this returns. None where nothing is due. Of each draft the
        attempt is noted, with what was known of the account before it. Raises `SentElsewhere`, and
        claims nothing, where the account shows one of them that nobody here has sent.
        """
        try:
            return self._claimed(due, complete=complete)
        except SentElsewhere:
            with self.writing() as conn:  # that a draft was looked at is kept, for who searches
                queue.see_new(conn, self._region)
            raise

    def _claimed(self, due: Due, *, complete: bool) -> Claim | None:
        with self.writing() as conn:
            queue.see_new(conn, self._region)
            drafts = queue.claim(conn, due)
            if not drafts:
                return None
            if complete and due.clock_right:
                for draft in drafts:
                    attempts.must_be_ours(conn, draft)
            for draft in drafts:
                attempts.begin(conn, draft, due, complete=complete, batched=len(drafts) > 1)
            before = int(settings.find(conn, CLAIMS) or 0)
            number = before + 1 + secrets.randbits(STEP_BITS)
            settings.put(conn, CLAIMS_BEFORE, str(before))
            settings.put(conn, CLAIMS, str(number))
        return Claim(number, drafts)

    def record(
        self,
        results: Iterable[Result],
        *,
        now: datetime,
        max_attempts: int,
        give_back: Sequence[int] = (),
    ) -> list[Result]:
        """
        Store what a request came to, in one transaction; return that, as it was stored.

        Drafts in `give_back` were refused before for what was the account's fault, as is seen now.
        """
        with self.writing() as conn:
            attempts.give_back(conn, give_back)
            return [
                attempts.end(conn, result, now=now, max_attempts=max_attempts) for result in results
            ]

    # What only time changes.

    def expire(self, now: datetime, lifetime_s: int) -> int:
        """End the drafts whose time has passed before they went out; return how many."""
        with self.reading() as conn:
            ids = queue.expired(conn, now, lifetime_s)
            ended = 0
            for first in range(0, len(ids), queue.AT_ONCE):
                with writing_a_slice(conn):
                    some = ids[first : first + queue.AT_ONCE]
                    ended += queue.expire(conn, some, now, lifetime_s)
        return ended

    def thin_out(self, now: datetime) -> None:
        """Forget attempts of which nothing can come any more, and arrivals without attempts."""
        with self.writing() as conn:
            attempts.thin_out(conn, now)

    # Cancelling.

    def cancelling(self, now: datetime) -> list[Cancelling]:
        """Return the drafts whose messages are to be cancelled now."""
        with self.reading() as conn:
            wished = conn.execute(WISHED).fetchall()
        if wished:
            with self.writing() as conn:
                conn.executemany(CARRY_OUT, wished)
        with self.reading() as conn:
            named = {"now": utc_text(now), "pauses_end": utc_text(now + queue.LONGEST_PAUSE)}
            rows = conn.execute(CANCELLING, named).fetchall()
        return [Cancelling(*row) for row in rows]

    def put_off_cancel(self, draft_id: int, why: str, next_attempt_at: datetime) -> None:
        """Ask again later to cancel what is still waiting."""
        named = {"draft_id": draft_id, "error": why, "at": utc_text(next_attempt_at)}
        with self.writing() as conn:
            conn.execute(PUT_OFF_CANCEL, named)

    # What is remembered.

    def setting(self, key: str) -> str | None:
        """Return what is remembered under a key of `settings`."""
        with self.reading() as conn:
            return settings.find(conn, key)

    def claimed(self) -> tuple[int, int | None] | None:
        """Return the numbers of the last claim and of the one before; None before the first."""
        with self.reading() as conn:
            last, before = settings.find(conn, CLAIMS), settings.find(conn, CLAIMS_BEFORE)
        return None if last is None else (int(last), int(before) if before else None)

    def set_setting(self, key: str, value: str | None) -> None:
        """Remember a value under a key; nothing is written where it is there already."""
        if self.setting(key) != value:
            with self.writing() as conn:
                settings.put(conn, key, value)

    def tell_fenced(self, key: str, why: str, cause: str, now: datetime) -> None:
        """Remember why nothing is sent for another machine's sake, with an event that tells it."""
        with self.writing() as conn:
            settings.put(conn, key, why)
            events.fenced(conn, cause, utc_text(now))
