"""
The mirror: alone in writing SQL to it.

`Store.save` is the heart: it adds a slice of an answer and moves the mark, both or neither. Each
write is one short transaction, so that other programs can write in between; what SQLite says when
a file cannot be used becomes one of our errors, a sentence with what to do.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import msgspec
from sqlite_utils import Database

from semysync.mirror import arrivals, contacts, devices
from semysync.mirror.care import bring_up_to_date
from semysync.mirror.file import (
    check_version,
    connect,
    create,
    explained,
    must_exist,
    writing,
)
from semysync.mirror.rows import (
    ID,
    TABLES,
    TEXT,
    Row,
    Table,
    Writing,
    account_row,
    is_another,
    json_text,
    merged,
)
from semysync.mirror.schema import LATER_INDEXES
from semysync.mirror.times import (
    ANYWHERE,
    Clock,
    Clocks,
    Locale,
    as_printed,
    from_utc_text,
    utc_text,
    zone_named,
)
from semysync.model import Account, Box, Device, Illegible, Message

SERVICE_OFFSET = "utc_offset"  #: the key in `settings` of what was learnt of the service's clock
SLICE = 2_000  #: rows a transaction, where many are written anew
THIN_OUT_EVERY = 100  #: passes
WHOLE_ACCOUNT = 0  #: stands for a device's id in `marks` where the account is asked as a whole


MARK = """
select last_id, floor_id, history, top_id, lookback_id, lookback_next_id, lookback_at, width, loaded_at,
       looked_at
  from marks
 where box = :box and device_id = :device_id
"""

# Where two programs pull at once, the one that is behind must not put anything back.
PUT_MARK = """
insert into marks (box, device_id, last_id, floor_id, history, top_id, lookback_id,
                   lookback_next_id, lookback_at, width, loaded_at, looked_at)
values (:box, :device_id, :last_id, :floor_id, :history, :top_id, :lookback_id,
        :lookback_next_id, :lookback_at, :width, :loaded_at, :looked_at)
    on conflict (box, device_id) do update
   set last_id = max(last_id, excluded.last_id),
       floor_id = excluded.floor_id,
       history = excluded.history,
       top_id = coalesce(top_id, excluded.top_id),
       lookback_id = max(lookback_id, excluded.lookback_id),
       lookback_at = iif(excluded.lookback_next_id >= lookback_next_id,
                         excluded.lookback_at, lookback_at),
       lookback_next_id = max(lookback_next_id, excluded.lookback_next_id),
       width = excluded.width,
       loaded_at = coalesce(loaded_at, excluded.loaded_at),
       looked_at = coalesce(excluded.looked_at, looked_at)
"""

# Whole statements for each case, so that each is answered from an index.
NEWEST = {
    (Box.INBOX, True): "select id from inbox order by id desc limit 1 offset :skip",
    (Box.SENT, True): "select id from sent order by id desc limit 1 offset :skip",
    (Box.INBOX, False): """
        select id from inbox where device_id = :device_id order by id desc limit 1 offset :skip""",
    (Box.SENT, False): """
        select id from sent where device_id = :device_id order by id desc limit 1 offset :skip""",
}

OLDEST = {
    (Box.INBOX, True): "select min(id) from inbox where id > :above",
    (Box.SENT, True): "select min(id) from sent where id > :above",
    (Box.INBOX, False): "select min(id) from inbox where device_id = :device_id and id > :above",
    (Box.SENT, False): "select min(id) from sent where device_id = :device_id and id > :above",
}

DEVICE_IDS = """
select id, mirrored_at is not null and missing_since is null from devices order by id
"""

MEET_DEVICE = "insert or ignore into devices (id, first_seen_at) values (?, ?)"

KEEP_ILLEGIBLE = """
insert into conflicts (box, message_id, reason, row, first_seen_at, last_seen_at)
values (:box, :id, :reason, :row, :now, :now)
    on conflict (box, row) do update set last_seen_at = excluded.last_seen_at, times = times + 1
returning times
"""

KEEP_PASS = """
insert into passes (kind, started_at, finished_at, requests, added, changed, illegible, error)
values (:kind, :started_at, :finished_at, :requests, :added, :changed, :illegible, :error)
"""

# The last one of a kind that was complete stays: how late a box is follows from it.
THIN_OUT_PASSES = """
delete from passes
 where ((finished_at < :hour_ago and added + changed + illegible = 0 and error is null)
        or finished_at < :month_ago)
   and id not in (select max(id) from passes where error is null group by kind)
"""


LAST_ACCOUNT = """
select user_id, paid, plan_type, plan_ends_at, messages_left, extra
  from account
 order by id desc
 limit 1
"""

ADD_ACCOUNT = """
insert into account (at, user_id, paid, plan_type, plan_ends_at, messages_left, extra)
values (:at, :user_id, :paid, :plan_type, :plan_ends_at, :messages_left, :extra)
"""

LEARN_PHONE = "update devices set phone_utc_offset = :offset where id = :id"

LAST_CONTACTS = """
select id, last_active_at, utc_offset from devices where last_active_at is not null
"""

LAST_COMPLETE = """
select started_at from passes where kind = ? and error is null order by id desc limit 1
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

CLOCKS = "select id, phone_utc_offset from devices where phone_utc_offset is not null"


KNOWN_DEVICES = """
select id, mirrored_at is not null and missing_since is null, archived, last_active_at
  from devices
 order by id
"""

OWNERS = {
    Box.INBOX: """
        select id, device_id from inbox
         where id between :low and :high and purged_at is null and missing_since is null""",
    Box.SENT: """
        select id, device_id from sent
         where id between :low and :high and purged_at is null and missing_since is null""",
}


# Those that a cancel may have hit.
WAITING = """
select id, device_id from sent
 where is_delivered = 0 and is_error_send = 0 and is_error = 0 and is_cancel = 0
   and is_send = 0 and is_send_to_phone = 0
 order by created_at desc
 limit ?
"""


class KnownDevice(NamedTuple):
    """A device that was ever seen; `there` tells whether the account had it when last asked."""

    id: int
    there: bool
    archived: bool
    last_active_at: str | None


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """How far a box (of a device) is mirrored; the columns of `marks` are described there."""

    last_id: int = 0
    floor_id: int = 0
    history: str | None = None
    top_id: int | None = None
    lookback_id: int = 0
    lookback_next_id: int = 0
    lookback_at: str | None = None
    width: int | None = None
    loaded_at: str | None = None
    looked_at: str | None = None


Moment = tuple[datetime, datetime]  #: what a clock printed, and a moment that lies close to it


class Saved(NamedTuple):
    """How many messages were new, were changed, and could not be stored (seen the first time)."""

    added: int = 0
    changed: int = 0
    illegible: int = 0


class Pass(msgspec.Struct, kw_only=True):
    """One round of a job, as the table `passes` keeps it."""

    kind: str
    started_at: str
    requests: int = 0
    added: int = 0
    changed: int = 0
    illegible: int = 0
    error: str | None = None


class Store(AbstractContextManager["Store"]):
    """A connection to the mirror, for the thread that opened it."""

    def __init__(self, path: Path, locale: Locale) -> None:
        self.path = path
        self._locale = locale
        self._writing: Writing | None = None
        self._db = Database(connect(path), recursive_triggers=False)
        self._known_devices: set[int] | None = None

    @classmethod
    def open(cls, path: Path, locale: Locale = ANYWHERE) -> Self:
        """
        Open a mirror that exists and is of this version.

        Raises `MirrorUnusable` where it is not, and `MirrorBusy` where another program holds it.
        """
        must_exist(path)
        store = cls(path, locale)
        try:
            with explained(path):
                check_version(store._db.conn, path)
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def migrate(cls, path: Path, locale: Locale = ANYWHERE) -> Self:
        """
        Open a mirror, and make it or bring it up to date first. Needs the sender lock.

        Raises `MirrorUnusable` where the file is not ours, is newer, or cannot be written.
        """
        create(path)
        store = cls(path, locale)
        with explained(path):
            store._migrate()
        return store

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    def mark(self, box: Box, device_id: int) -> Mark:
        """Return how far a box is mirrored; a fresh mark where it was never asked for."""
        with explained(self.path):
            row = next(self._db.query(MARK, {"box": box, "device_id": device_id}), None)
        return msgspec.convert(row, Mark) if row else Mark()

    def save_mark(self, box: Box, device_id: int, mark: Mark) -> None:
        """Store a mark. It never moves back, whoever else has moved it meanwhile."""
        with self._write():
            self._put_mark(box, device_id, mark)

    def reset_mark(self, box: Box, device_id: int) -> None:
        """Forget how far a box is mirrored, so that it is loaded anew; its messages stay."""
        with self._write() as conn:
            conn.execute(
                "delete from marks where box = ? and device_id = ?", (box.value, device_id)
            )

    def save(
        self,
        box: Box,
        messages: Sequence[Message],
        illegible: Sequence[Illegible] = (),
        *,
        now: datetime,
        mark: tuple[int, Mark] | None = None,
    ) -> Saved:
        """
        Add messages to a box and move a device's mark past them: both or neither.

        A message that is there already is brought up to date; what it said before stays in `extra`.
        What is `illegible`, or cannot be stored under its id, is kept in `conflicts`. `mark` is the device's id
        (or `WHOLE_ACCOUNT`) and its new mark.
        """
        table = TABLES[box]
        unfit = list(illegible)
        stamp = utc_text(now)
        writing = self.writing()
        with self._write():
            self._know_devices({m.device_id for m in messages if m.device_id}, stamp)
            there = self._there(table, [message.id for message in messages])
            new: dict[int, Row] = {}
            moved: dict[int, tuple[Row, Row]] = {}
            for message in messages:
                old = new.get(message.id) or there.get(message.id)
                if old is None:
                    new[message.id] = table.row(message, writing, stamp)
                    continue
                row = table.again(message, old, writing)
                if is_another(old, row):
                    unfit.append(_clashing(message))
                elif (row := merged(table, old, row, stamp)) == old:
                    continue
                elif message.id in new:
                    new[message.id] = row
                else:
                    moved[message.id] = moved.get(message.id, (old, old))[0], row
                    there[message.id] = row
            self._add(table, [new[number] for number in sorted(new)])
            self._change(table, moved.values(), stamp)
            unknown = self._keep_illegible(box, unfit, stamp)
            if mark:
                self._put_mark(box, *mark)
        return Saved(len(new), len(moved), unknown)

    def newest(self, box: Box, device_id: int, skip: int = 0) -> int:
        """Return the highest id of a device's (or the account's) box, or the one `skip` below it."""
        query = NEWEST[box, device_id == WHOLE_ACCOUNT]
        with explained(self.path):
            found = self._db.execute(query, {"device_id": device_id, "skip": skip}).fetchone()
        return int(found[0]) if found else 0

    def oldest(self, box: Box, device_id: int, above: int) -> int:
        """Return the lowest id of a device's (or the account's) box above another; 0 without."""
        query = OLDEST[box, device_id == WHOLE_ACCOUNT]
        with explained(self.path):
            found = self._db.execute(query, {"device_id": device_id, "above": above}).fetchone()
        return int(found[0] or 0)

    def device_ids(self) -> dict[int, bool]:
        """
        Return every device ever seen, in the list of devices or in a message.

        Each with whether the account had it when last asked.
        """
        with explained(self.path):
            return {row[0]: bool(row[1]) for row in self._db.execute(DEVICE_IDS)}

    def save_devices(
        self, rows: Iterable[Device | Illegible], *, now: datetime, complete: bool
    ) -> Saved:
        """
        Bring the devices up to date; those absent from a `complete` list are marked as missing.

        Nothing is written for a device of which nothing has changed.
        """
        stamp = utc_text(now)
        kept = list(rows)
        illegible = [row for row in kept if isinstance(row, Illegible)]
        with self._write() as conn:
            added, changed = devices.save(
                conn,
                [row for row in kept if not isinstance(row, Illegible)],
                writing=self.writing(),
                stamp=stamp,
                complete=complete,
            )
            unknown = self._keep_illegible("devices", illegible, stamp)
        self._known_devices = None
        return Saved(added, changed, unknown)

    def save_account(self, account: Account, *, now: datetime) -> bool:
        """Add a row to the account's history where it differs from the last; tell whether."""
        row = account_row(account, self.writing())
        with self._write() as conn:
            cursor = conn.execute(LAST_ACCOUNT)
            names = [column[0] for column in cursor.description]
            last = cursor.fetchone()
            if last == tuple(row[name] for name in names):
                return False
            conn.execute(ADD_ACCOUNT, row | {"at": utc_text(now)})
        return True

    def save_pass(self, finished: Pass, *, now: datetime) -> None:
        """Note a pass, and forget quiet ones of more than an hour ago and all of over a month."""
        with self._write() as conn:
            noted = msgspec.to_builtins(finished) | {"finished_at": utc_text(now)}
            number = conn.execute(KEEP_PASS, noted).lastrowid or 0
            if number % THIN_OUT_EVERY:
                return
            conn.execute(
                THIN_OUT_PASSES,
                {
                    "hour_ago": utc_text(now - timedelta(hours=1)),
                    "month_ago": utc_text(now - timedelta(days=30)),
                },
            )

    def writing(self) -> Writing:
        """Return what is known for writing messages down; configured zones come before learnt."""
        if self._writing is None:
            locale, learnt = self._locale, self.setting(SERVICE_OFFSET)
            service = (
                Clock(offset=int(learnt) if learnt else None)
                if locale.timezone == "auto"
                else Clock(zone_named(locale.timezone))
            )
            if locale.phone_timezone == "auto":
                phones = {row[0]: Clock(offset=row[1]) for row in self._db.execute(CLOCKS)}
                clocks = Clocks(service, phones)
            else:
                clocks = Clocks(service, any_phone=Clock(zone_named(locale.phone_timezone)))
            self._writing = Writing(clocks, locale.region)
        return self._writing

    def last_contacts(self) -> dict[int, datetime]:
        """Return when each device was last active, as it was printed."""
        with explained(self.path):
            rows = self._db.execute(LAST_CONTACTS).fetchall()
        printed = {row[0]: as_printed(row[1], row[2]) for row in rows}
        return {number: moment for number, moment in printed.items() if moment}

    def last_complete(self, kind: str) -> datetime | None:
        """Return when the last complete pass of a kind was begun."""
        with explained(self.path):
            row = self._db.execute(LAST_COMPLETE, (kind,)).fetchone()
        return from_utc_text(row[0]) if row else None

    def times_of_phone(self, device_id: int) -> tuple[list[Moment], list[Moment]]:
        """
        Return what a phone printed lately, each time with a moment that lies close to it.

        First for messages that it sent, with when it had fetched them; then for messages that it
        received, with when they were mirrored.
        """
        with explained(self.path):
            sent = self._db.execute(SENT_BY_PHONE, (device_id,)).fetchall()
            received = self._db.execute(RECEIVED_BY_PHONE, (device_id,)).fetchall()
        sent_moments, received_moments = (
            [
                (printed, from_utc_text(close))
                for text, offset, close in rows
                if (printed := as_printed(text, offset))
            ]
            for rows in (sent, received)
        )
        return sent_moments, received_moments

    def learn_offsets(self, service: int | None, phones: Mapping[int, int]) -> None:
        """
        Remember what the clocks of the service and of phones stand at, in minutes east.

        Where one was unknown till now, the rows that waited for it are put right. Rows that were
        written with another offset keep it: clocks change twice a year.
        """
        known = self.writing().clocks
        first = service is not None and known.service == Clock()
        if service is not None:
            self.set_setting(SERVICE_OFFSET, str(service))
        for number, offset in phones.items():
            first |= known.phone(number) == Clock()
            if known.phone(number).offset != offset:
                with self._write() as conn:
                    conn.execute(LEARN_PHONE, {"id": number, "offset": offset})
        self._writing = None
        if first:
            self.rewrite(only_unknown=True)

    def apply_locale(self) -> None:
        """Write every row anew where the configuration says something else than when it was written."""
        settings = msgspec.to_builtins(self._locale)
        if all(self.setting(key) == value for key, value in settings.items()):
            return
        if self.newest(Box.INBOX, WHOLE_ACCOUNT) or self.newest(Box.SENT, WHOLE_ACCOUNT):
            self.rewrite(only_unknown=False)
        for key, value in settings.items():
            self.set_setting(key, value)

    def rewrite(self, *, only_unknown: bool) -> None:
        """
        Write rows anew with what is known now: all, or those with a time of unknown offset.

        It goes in slices and may be cut off: doing it again does no harm.
        """
        for box, table in TABLES.items():
            self.make_indexes(box)
            find = table.unknown if only_unknown else table.after
            last = 0
            while True:
                with explained(self.path):
                    ids = [row[0] for row in self._db.conn.execute(find, (last, SLICE))]
                if not ids:
                    break
                last = ids[-1]
                self._rewrite(table, ids)

    def _rewrite(self, table: Table, ids: Sequence[int]) -> None:
        with self._write():
            there = self._there(table, ids).values()
            anew = [(row, table.again(table.message(row), row, self.writing())) for row in there]
            self._change(table, [(old, new) for old, new in anew if old != new], None)

    def make_indexes(self, box: Box) -> None:
        """Make the indexes of a box that a first load does without; nothing where they are there."""
        with explained(self.path):
            for statement in LATER_INDEXES[box]:
                self._db.conn.execute(statement)

    def known_devices(self) -> list[KnownDevice]:
        """Return every device ever seen, in the list of devices or in a message."""
        with explained(self.path):
            rows = self._db.execute(KNOWN_DEVICES).fetchall()
        return [KnownDevice(number, bool(there), bool(old), at) for number, there, old, at in rows]

    def owners(self, box: Box, low: int, high: int) -> dict[int, int]:
        """Return whose the messages from one id to another are: the device of each."""
        with explained(self.path):
            rows = self._db.execute(OWNERS[box], {"low": low, "high": high})
            return {number: device_id for number, device_id in rows if device_id}

    def waiting_messages(self, most: int) -> dict[int, int | None]:
        """Return the newest messages that no phone has fetched yet, each with its device."""
        with explained(self.path):
            return dict(self._db.execute(WAITING, (most,)).fetchall())

    def setting(self, key: str) -> str | None:
        """Return what is remembered under a key of `settings`."""
        with explained(self.path):
            found = self._db.execute("select value from settings where key = ?", (key,)).fetchone()
        return found[0] if found else None

    def set_setting(self, key: str, value: str | None) -> None:
        """Remember a value under a key; nothing is written where it is there already."""
        if self.setting(key) != value:
            with self._write() as conn:
                conn.execute("insert or replace into settings values (?, ?)", (key, value))

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        conn = self._db.conn
        with explained(self.path), writing(conn):
            yield conn

    def _migrate(self) -> None:
        bring_up_to_date(self._db, self.path)

    def _know_devices(self, ids: set[int], stamp: str) -> None:
        """Give a row to devices that are seen in messages only, so that they are asked for."""
        if self._known_devices is None:
            rows = self._db.conn.execute("select id from devices")
            self._known_devices = {row[0] for row in rows}
        if unknown := ids - self._known_devices:
            self._db.conn.executemany(MEET_DEVICE, [(number, stamp) for number in unknown])
            self._known_devices |= unknown

    def _put_mark(self, box: Box, device_id: int, mark: Mark) -> None:
        named = msgspec.to_builtins(mark) | {"box": box, "device_id": device_id}
        self._db.conn.execute(PUT_MARK, named)

    def _there(self, table: Table, ids: Sequence[int]) -> dict[int, Row]:
        """Return the rows with these ids; a look at the whole range tells when there is none."""
        conn = self._db.conn
        if not ids or not conn.execute(table.any, (min(ids), max(ids))).fetchone():
            return {}
        return {row[0]: tuple(row) for row in conn.execute(table.find, (json.dumps(ids),))}

    def _add(self, table: Table, rows: Sequence[Row]) -> None:
        """Add new rows, their words and their contacts: ascending, as they lie in the file."""
        conn = self._db.conn
        conn.executemany(table.add, rows)
        conn.executemany(table.words, [(row[ID], row[TEXT]) for row in rows])
        contacts.count(conn, table, rows)
        if table.direction == "out" and rows:
            arrivals.note(conn, rows)

    def _change(self, table: Table, moved: Iterable[tuple[Row, Row]], stamp: str | None) -> None:
        moved = list(moved)
        conn = self._db.conn
        conn.executemany(table.change, [(*row[1:], stamp, row[ID]) for _, row in moved])
        contacts.recount(conn, table, moved)

    def _keep_illegible(self, box: str, rows: Iterable[Illegible], stamp: str) -> int:
        """Keep rows that can't be stored as messages; return how many were not known yet."""
        new = 0
        for row in rows:
            named = msgspec.to_builtins(row) | {"box": box, "now": stamp}
            new += self._db.conn.execute(KEEP_ILLEGIBLE, named).fetchone()[0] == 1
        return new


def _clashing(message: Message) -> Illegible:
    reason = "this id belongs to another message already"
    fields = msgspec.structs.asdict(message)
    row = {k: str(v) if isinstance(v, datetime) else v for k, v in fields.items()}
    return Illegible(reason, json_text(row), message.id)
