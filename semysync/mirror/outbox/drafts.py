"""
What a user may do to the outbox, in the plain SQL that any program may use.

Nothing here has a right that other programs lack. The table's own rules decide, and what they
refuse is `NotAllowed`, in the table's words.
"""

import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from semysync.mirror.file import at_one_moment, open_writer, writing
from semysync.mirror.schema.views import PHONE_IS_AWAY

COLUMNS = ("phone", "text", "device", "priority", "send_at", "expires_at", "client_key", "kind")
WAITING = ("queued", "held", "sending", "unknown", "accepted", "on_phone", "cancelling")
ENDED = ("sent", "delivered", "failed", "cancelled", "rejected", "expired")
#: what drafts wait for, or why they failed, where nobody has said more
WHY = {
    "sending": "waits for the answer of the service",
    "unknown": "waits for a look into the account: the answer was lost",
    "accepted": "waits for the phone to fetch it",
    "on_phone": "waits for the phone to send it",
    "cancelling": "waits for the service to cancel it",
    "failed": "the phone or the network could not send it",
}

OURS = ("is_seen", "quiet_until", "stuck_because")  #: what is shown of a draft beside its columns

AT_ONCE = 500  #: drafts released in one transaction
NEWEST = 1_000  #: the last finished drafts are looked for among so many

# `or ignore` only where there is a key: it would hide whatever else a constraint may say.
ADD = """
insert into outbox (phone, text, device, priority, send_at, expires_at, client_key, kind, status)
values (:phone, :text, :device, :priority, :send_at, :expires_at, null, :kind, :status)
returning id
"""

ADD_ONCE = """
insert or ignore into outbox
       (phone, text, device, priority, send_at, expires_at, client_key, kind, status)
values (:phone, :text, :device, :priority, :send_at, :expires_at, :client_key, :kind, :status)
returning id
"""

WITH_KEY = "select id from outbox where client_key = ?"

COPY = """
insert into outbox (phone, text, device, priority, send_at, expires_at, kind)
select phone, text, device, priority,
       iif(send_at > strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'), send_at, null),
       iif(expires_at > strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'), expires_at, null), kind
  from outbox
 where id = :id
returning id
"""

MOVE = "update outbox set status = :status where id = :id"

RELEASE_SOME = """
update outbox
   set status = 'queued'
 where id in (select id from outbox where status = 'held' and id <= :highest order by id limit :most)
"""

HELD = "select count(*), max(id) from outbox where status = 'held'"

_SHOWN = f"""
select outbox.*, sent.id is not null as is_seen,
       case when outbox.status = 'queued' and outbox.priority = 0
            then (select value from settings
                   where key = 'quiet_until' and value > strftime('%Y-%m-%dT%H:%M:%S', 'now'))
            end as quiet_until,
       case when sent.id is null or outbox.status not in ('accepted', 'on_phone') then null
{PHONE_IS_AWAY.rstrip()} end as stuck_because
  from outbox left join sent on sent.id = outbox.sent_id
       left join devices on devices.id = sent.device_id
       left join device_states on device_states.device_id = sent.device_id
"""

ONE = f"{_SHOWN} where outbox.id = ?"

# What is on its way first, then the others in the order in which they go.
WAIT = f"""
{_SHOWN}
 where outbox.status in ('queued', 'held', 'sending', 'unknown', 'accepted', 'on_phone',
                         'cancelling')
   and instr(:statuses, ' ' || outbox.status || ' ')
 order by outbox.status = 'held', outbox.status = 'queued', priority desc, outbox.id
"""

# There is no index on what is finished: the last of them are among the newest.
HAVE_ENDED = f"""
{_SHOWN}
 where outbox.id in (select id from (select id, finished_at, updated_at from outbox
                               where status not in ('queued', 'held', 'sending', 'unknown',
                                                    'accepted', 'on_phone', 'cancelling')
                                 and instr(:statuses, ' ' || status || ' ')
                               order by id desc limit :among)
               order by coalesce(finished_at, updated_at) desc, id desc
               limit :limit)
 order by coalesce(finished_at, updated_at) desc, outbox.id desc
"""

NEWS = """
select seq, at, substr(kind, 7) as what
  from events
 where seq > :seen and kind glob 'draft.*'
   and (data = printf('{"draft_id":%d}', :id) or data glob printf('{"draft_id":%d,*', :id))
 order by seq
"""

BLOCKED = "select value from settings where key = 'sending_blocked' and value <> ''"

LAST_EVENT = "select coalesce(max(seq), 0) from events"

STATUSES = """
select id, status from sent where id in (select value from json_each(?)) order by id
"""

DEVICE = "select id, coalesce(label, name) as name, channel from devices where id = ?"

# What a cancel of all that waits at a device may have hit, or was too late for. What the phone has
# sent already is left out: it can be a hundred thousand messages that nobody reports on. By device,
# or in order, SQLite would go through all of them.
OPEN_MESSAGES = """
select id from sent
 where +device_id = :device
   and is_delivered = 0 and is_error_send = 0 and is_error = 0 and is_cancel = 0 and is_send = 0
   and purged_at is null and missing_since is null
union
select sent_id from outbox
 where status in ('sending', 'unknown', 'accepted', 'cancelling') and sent_id is not null
   and not exists (select 1 from sent where id = outbox.sent_id)
"""

STILL_HERE = """
select count(*) from outbox where status in ('queued', 'held') and device = cast(? as text)
"""


class NotAllowed(Exception):
    """The table refuses; the message is its sentence."""


class Added(NamedTuple):
    """What became of a draft: `new`, or the one that has its key, which may be deleted (None)."""

    id: int | None
    new: bool


class Outcome(NamedTuple):
    """What became of a wish about a draft; `new_id` is a copy's."""

    id: int
    done: bool
    sentence: str
    status: str | None = None
    new_id: int | None = None


def open_outbox(path: Path) -> sqlite3.Connection:
    """
    Open a mirror to write drafts into it; rows come as `sqlite3.Row`.

    What is committed is on the disk: a command that has ended well must not lose a draft.
    """
    conn = open_writer(path)
    conn.execute("pragma synchronous = full")
    return conn


def add(conn: sqlite3.Connection, fields: Mapping[str, object]) -> Added:
    """
    Insert a draft, within a transaction; what is not named is as the table has it.

    Raises `NotAllowed` where the table refuses it, and leaves the transaction as it was.
    """
    usual = dict.fromkeys(COLUMNS) | {"text": "", "priority": 0, "kind": "text", "status": "queued"}
    row = usual | {name: value for name, value in fields.items() if value not in (None, "")}
    with _in_its_words():
        if row["client_key"] is None:
            return Added(conn.execute(ADD, row).fetchone()[0], new=True)
        added = conn.execute(ADD_ONCE, row).fetchone()
    if added:
        return Added(added[0], new=True)
    known = conn.execute(WITH_KEY, (row["client_key"],)).fetchone()
    return Added(known[0] if known else None, new=False)


def one(conn: sqlite3.Connection, draft_id: int) -> sqlite3.Row | None:
    """Return a draft, with what `outbox` shows of it."""
    row: sqlite3.Row | None = conn.execute(ONE, (draft_id,)).fetchone()
    return row


def drafts(
    conn: sqlite3.Connection, statuses: Collection[str], limit: int | None
) -> Iterator[sqlite3.Row]:
    """Return the drafts of these statuses: all that wait, then the last finished, newest first."""
    named = {"statuses": f" {' '.join(statuses)} "}
    if not set(WAITING).isdisjoint(statuses):
        yield from conn.execute(WAIT, named)
    if not set(ENDED).isdisjoint(statuses):
        bounds = {"limit": -1, "among": -1} if limit is None else {"limit": limit, "among": NEWEST}
        bounds["among"] = max(bounds["among"], bounds["limit"])
        yield from conn.execute(HAVE_ENDED, named | bounds)


def last_event(conn: sqlite3.Connection) -> int:
    """Return the number of the last event."""
    return int(conn.execute(LAST_EVENT).fetchone()[0])


def news(
    conn: sqlite3.Connection, draft_id: int, seen: int | None
) -> tuple[sqlite3.Row | None, list[tuple[str, str]], int]:
    """
    Return a draft, what happened to it since an event was seen (when and what), and the last event.

    Where none was seen, its present status is what happened.
    """
    with at_one_moment(conn):
        row = one(conn, draft_id)
        last = last_event(conn)
        if seen is None:
            happened = [(row["updated_at"], row["status"])] if row else []
        else:
            named = {"seen": seen, "id": draft_id}
            happened = [(event["at"], event["what"]) for event in conn.execute(NEWS, named)]
    return row, happened, last


def blocked(conn: sqlite3.Connection) -> str | None:
    """Return what stands against sending anything, in the sender's words."""
    row = conn.execute(BLOCKED).fetchone()
    return row[0] if row else None


def device(conn: sqlite3.Connection, device_id: int) -> sqlite3.Row | None:
    """Return what a device is called."""
    row: sqlite3.Row | None = conn.execute(DEVICE, (device_id,)).fetchone()
    return row


def still_here(conn: sqlite3.Connection, device_id: int) -> int:
    """Count the drafts for a device that no request was made for."""
    return int(conn.execute(STILL_HERE, (device_id,)).fetchone()[0])


def open_messages(conn: sqlite3.Connection, device_id: int) -> list[int]:
    """Return the messages that a cancel of all that waits at a device may hit, ascending."""
    return sorted(row[0] for row in conn.execute(OPEN_MESSAGES, {"device": device_id}))


def statuses(conn: sqlite3.Connection, message_ids: Collection[int]) -> list[tuple[int, str]]:
    """Return the status of each message."""
    return [(row[0], row[1]) for row in conn.execute(STATUSES, (json.dumps(list(message_ids)),))]


def held(conn: sqlite3.Connection) -> tuple[int, int]:
    """Return how many drafts are held, and the highest of their ids."""
    count, highest = conn.execute(HELD).fetchone()
    return count, highest or 0


def cancel(conn: sqlite3.Connection, draft_id: int) -> Outcome:
    """Cancel a draft, or note the wish where it is on its way."""
    status = _status(conn, draft_id)
    if status is None:
        return _no_such(draft_id)
    if status in {"cancelled", "cancelling"}:
        return Outcome(draft_id, done=True, sentence=f"is {status} already", status=status)
    if status in {*ENDED, "on_phone"}:
        sentence = f"is {status}: it is too late to cancel it"
        return Outcome(draft_id, done=False, sentence=sentence, status=status)
    moved = _move(conn, draft_id, "cancelling")
    if moved.done and moved.status != "cancelled":
        sentence = (
            f"is {moved.status}: it will be cancelled as soon as may be, if it is not too late"
        )
        return moved._replace(sentence=sentence)
    return moved


def hold(conn: sqlite3.Connection, draft_id: int) -> Outcome:
    """Hold a draft that is queued."""
    status = _status(conn, draft_id)
    if status is None:
        return _no_such(draft_id)
    if status == "held":
        return Outcome(draft_id, done=True, sentence="is held already", status=status)
    if status == "unknown":
        sentence = "was sent and its answer was lost: it cannot be held"
        return Outcome(draft_id, done=False, sentence=sentence, status=status)
    if status != "queued":
        sentence = f"is {status}: only one that is queued can be held"
        return Outcome(draft_id, done=False, sentence=sentence, status=status)
    return _move(conn, draft_id, "held")


def release(conn: sqlite3.Connection, draft_id: int) -> Outcome:
    """Put a held draft into the queue, and no other: of others `queued` would mean `send again`."""
    status = _status(conn, draft_id)
    if status is None:
        return _no_such(draft_id)
    if status == "queued":
        return Outcome(draft_id, done=True, sentence="is queued already", status=status)
    if status == "unknown":
        sentence = f"is not held, its answer was lost: see `semysync retry {draft_id}`"
        return Outcome(draft_id, done=False, sentence=sentence, status=status)
    if status != "held":
        sentence = f"is {status}, not held"
        return Outcome(draft_id, done=False, sentence=sentence, status=status)
    return _move(conn, draft_id, "queued")


def retry(conn: sqlite3.Connection, draft_id: int, *, twice: bool) -> Outcome:
    """
    Send once more: a copy of a draft that is finished or held, or an unknown one itself.

    An unknown one may have been taken, so it goes only where `twice` allows that. A copy leaves
    out times that have passed.
    """
    status = _status(conn, draft_id)
    if status is None:
        return _no_such(draft_id)
    if status == "unknown":
        if twice:
            moved = _move(conn, draft_id, "queued")
            return moved._replace(sentence="is queued again: it may go out for the second time")
        sentence = (
            "may go out twice, since its answer was lost and the service may have taken it: "
            "look into the account first, then say --yes"
        )
        return Outcome(draft_id, done=False, sentence=sentence, status=status)
    if status not in {*ENDED, "held"}:
        sentence = f"is {status} and has not ended: there is nothing to try again yet"
        return Outcome(draft_id, done=False, sentence=sentence, status=status)
    try:
        with _in_its_words():
            new_id = conn.execute(COPY, {"id": draft_id}).fetchone()[0]
    except NotAllowed as exc:
        return Outcome(draft_id, done=False, sentence=str(exc), status=status)
    sentence = f"goes out again as draft {new_id}"
    if status == "held":
        sentence += f"; draft {draft_id} itself stays held"
    return Outcome(draft_id, done=True, sentence=sentence, status=status, new_id=new_id)


def release_all(conn: sqlite3.Connection, highest: int) -> int:
    """Release every held draft up to this id, some at a time; return how many."""
    released = 0
    while True:
        with writing(conn):
            some = conn.execute(RELEASE_SOME, {"highest": highest, "most": AT_ONCE}).rowcount
        if not some:
            return released
        released += some


def _status(conn: sqlite3.Connection, draft_id: int) -> str | None:
    row = conn.execute("select status from outbox where id = ?", (draft_id,)).fetchone()
    return row[0] if row else None


def _no_such(draft_id: int) -> Outcome:
    return Outcome(draft_id, done=False, sentence="is not in the outbox")


def _move(conn: sqlite3.Connection, draft_id: int, status: str) -> Outcome:
    try:
        with _in_its_words():
            conn.execute(MOVE, {"id": draft_id, "status": status})
    except NotAllowed as exc:
        stays = _status(conn, draft_id)
        return Outcome(draft_id, done=False, sentence=str(exc), status=stays)
    now = _status(conn, draft_id)
    return Outcome(draft_id, done=True, sentence=f"is {now}", status=now)


@contextmanager
def _in_its_words() -> Iterator[None]:
    try:
        yield
    except UnicodeEncodeError:
        raise NotAllowed(
            "a column holds bytes that are not UTF-8: insert it anew, as UTF-8"
        ) from None
    except sqlite3.IntegrityError as exc:  # what a trigger says, or a strict column
        raise NotAllowed(str(exc)) from None
