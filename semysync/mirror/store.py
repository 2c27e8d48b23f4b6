"""
The mirror: alone in writing SQL to it.

`Store.save` is the heart: it adds a slice of an answer and moves the mark, both or neither. Each
write is one short transaction, so that other programs can write in between; what SQLite says when
a file cannot be used becomes one of our errors, a sentence with what to do.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec
from sqlite_utils import Database

from semysync.mirror.file import (
    APPLICATION_ID,
    SCHEMA_VERSION,
    check_version,
    connect,
    create,
    explained,
    must_exist,
)
from semysync.mirror.rows import TABLES, Table, device_row, is_another, merged
from semysync.mirror.schema import MIGRATIONS
from semysync.mirror.times import utc_text
from semysync.model import Box, Device, Illegible, Message

WHOLE_ACCOUNT = 0  #: stands for a device's id in `marks` where the account is asked as a whole


MARK = """
select last_id, floor_id, top_id, lookback_id, lookback_next_id, lookback_at, width, loaded_at,
       looked_at
  from marks
 where box = :box and device_id = :device_id
"""

PUT_MARK = """
insert into marks (box, device_id, last_id, floor_id, top_id, lookback_id, lookback_next_id,
                   lookback_at, width, loaded_at, looked_at)
values (:box, :device_id, :last_id, :floor_id, :top_id, :lookback_id, :lookback_next_id,
        :lookback_at, :width, :loaded_at, :looked_at)
    on conflict (box, device_id) do update
   set last_id = max(last_id, excluded.last_id),
       floor_id = excluded.floor_id,
       top_id = coalesce(top_id, excluded.top_id),
       top_id = excluded.top_id,
       lookback_id = max(lookback_id, excluded.lookback_id),
       lookback_next_id = max(lookback_next_id, excluded.lookback_next_id),
       lookback_at = excluded.lookback_at,
       width = excluded.width,
       loaded_at = coalesce(loaded_at, excluded.loaded_at),
       looked_at = excluded.looked_at
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

SAVE_DEVICE = """
insert into devices (id, name, label, channel, manufacturer, android_version, app_version, battery,
                     service_on, use_for_sending, reports_on, archived, speed, limit_phone,
                     limit_use, limit_at, limit_period, last_active_at, extra,
                     first_seen_at, mirrored_at)
values (:id, :name, :label, :channel, :manufacturer, :android_version, :app_version, :battery,
        :service_on, :use_for_sending, :reports_on, :archived, :speed, :limit_phone,
        :limit_use, :limit_at, :limit_period, :last_active_at, :extra,
        :now, :now)
    on conflict (id) do update
   set name = excluded.name, label = excluded.label, channel = excluded.channel,
       manufacturer = excluded.manufacturer, android_version = excluded.android_version,
       app_version = excluded.app_version, battery = excluded.battery,
       service_on = excluded.service_on, use_for_sending = excluded.use_for_sending,
       reports_on = excluded.reports_on, archived = excluded.archived, speed = excluded.speed,
       limit_phone = excluded.limit_phone, limit_use = excluded.limit_use,
       limit_at = excluded.limit_at, limit_period = excluded.limit_period,
       last_active_at = excluded.last_active_at, extra = excluded.extra,
       mirrored_at = coalesce(mirrored_at, excluded.mirrored_at),
       changed_at = excluded.mirrored_at, missing_since = null
 where mirrored_at is null or missing_since is not null
    or (name, label, channel, manufacturer, android_version, app_version, battery, service_on,
        use_for_sending, reports_on, archived, speed, limit_phone, limit_use, limit_at,
        limit_period, last_active_at, extra)
       is not
       (excluded.name, excluded.label, excluded.channel, excluded.manufacturer,
        excluded.android_version, excluded.app_version, excluded.battery, excluded.service_on,
        excluded.use_for_sending, excluded.reports_on, excluded.archived, excluded.speed,
        excluded.limit_phone, excluded.limit_use, excluded.limit_at, excluded.limit_period,
        excluded.last_active_at, excluded.extra)
"""

MISS_DEVICE = """
update devices set missing_since = ?
 where id = ? and missing_since is null and mirrored_at is not null
"""

KEEP_ILLEGIBLE = """
insert into conflicts (box, message_id, reason, row, first_seen_at, last_seen_at)
values (:box, :id, :reason, :row, :now, :now)
    on conflict (box, row) do update set last_seen_at = excluded.last_seen_at, times = times + 1
"""

KEEP_PASS = """
insert into passes (kind, started_at, finished_at, requests, added, changed, illegible, error)
values (:kind, :started_at, :finished_at, :requests, :added, :changed, :illegible, :error)
"""

THIN_OUT_PASSES = """
delete from passes
 where (finished_at < :hour_ago and added + changed + illegible = 0 and error is null)
    or finished_at < :month_ago
"""


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """How far a box (of a device) is mirrored; the columns of `marks` are described there."""

    last_id: int = 0
    floor_id: int = 0
    top_id: int | None = None
    lookback_id: int = 0
    lookback_next_id: int = 0
    lookback_at: str | None = None
    width: int | None = None
    loaded_at: str | None = None
    looked_at: str | None = None


class Saved(NamedTuple):
    """How many messages were new, were changed, and could not be stored as such."""

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

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db = Database(connect(path), recursive_triggers=False)
        self._known_devices: set[int] | None = None

    @classmethod
    def open(cls, path: Path) -> Self:
        """
        Open a mirror that exists and is of this version.

        Raises `MirrorUnusable` where it is not, and `MirrorBusy` where another program holds it.
        """
        must_exist(path)
        store = cls(path)
        with explained(path):
            check_version(store._db.conn, path)
        return store

    @classmethod
    def migrate(cls, path: Path) -> Self:
        """
        Open a mirror, and make it or bring it up to date first. Needs the sender lock.

        Raises `MirrorUnusable` where the file is not ours, is newer, or cannot be written.
        """
        create(path)
        store = cls(path)
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

    def save(
        self,
        box: Box,
        rows: Sequence[Message | Illegible],
        *,
        now: datetime,
        mark: tuple[int, Mark] | None = None,
    ) -> Saved:
        """
        Add rows to a box and move a device's mark past them: both or neither.

        A message that is there already is brought up to date; what it said before stays in `extra`.
        A row that cannot be stored under its id is kept in `conflicts`. `mark` is the device's id
        (or `WHOLE_ACCOUNT`) and its new mark.
        """
        legible: list[Any] = [row for row in rows if not isinstance(row, Illegible)]
        illegible = [row for row in rows if isinstance(row, Illegible)]
        stamp = utc_text(now)
        with self._write() as conn:
            self._know_devices({m.device_id for m in legible if m.device_id}, stamp)
            table = TABLES[box]
            added = conn.executemany(table.add, [table.row(m, stamp) for m in legible]).rowcount
            changed = 0
            if added < len(legible):
                changed, conflicts = self._update(table, legible, stamp)
                illegible += conflicts
            self._keep_illegible(box, illegible, stamp)
            if mark:
                self._put_mark(box, *mark)
        return Saved(max(added, 0), changed, len(illegible))

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
        devices: dict[int, Device] = {}
        illegible: list[Illegible] = []
        for row in rows:
            if isinstance(row, Illegible):
                illegible.append(row)
            else:
                devices[row.id] = row
        with self._write() as conn:
            known = {row[0] for row in conn.execute("select id from devices")}
            added = len(devices.keys() - known)
            written = conn.executemany(
                SAVE_DEVICE, [device_row(device, stamp) for device in devices.values()]
            ).rowcount
            if complete:
                gone = [(stamp, number) for number in known - devices.keys()]
                conn.executemany(MISS_DEVICE, gone)
            self._keep_illegible("devices", illegible, stamp)
        self._known_devices = None
        return Saved(added, max(written, 0) - added, len(illegible))

    def save_pass(self, finished: Pass, *, now: datetime) -> None:
        """Note a pass, and forget quiet ones of more than an hour ago and all of over a month."""
        with self._write() as conn:
            conn.execute(KEEP_PASS, msgspec.to_builtins(finished) | {"finished_at": utc_text(now)})
            conn.execute(
                THIN_OUT_PASSES,
                {
                    "hour_ago": utc_text(now - timedelta(hours=1)),
                    "month_ago": utc_text(now - timedelta(days=30)),
                },
            )

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        """Hold the write lock from the start: a lock that is asked for halfway may be refused."""
        conn = self._db.conn
        with explained(self.path):
            conn.execute("begin immediate")
            try:
                yield conn
                conn.execute("commit")
            except BaseException:
                if conn.in_transaction:
                    conn.execute("rollback")
                raise

    def _migrate(self) -> None:
        conn = self._db.conn
        check_version(conn, self.path, to_migrate=True)
        conn.execute("pragma journal_mode = wal")
        if conn.execute("pragma user_version").fetchone()[0] == SCHEMA_VERSION:
            return
        with self._write():
            MIGRATIONS.apply(self._db)
            conn.execute(f"pragma application_id = {APPLICATION_ID}")
            conn.execute(f"pragma user_version = {SCHEMA_VERSION}")

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

    def _update(
        self, table: Table, messages: Sequence[Message], stamp: str
    ) -> tuple[int, list[Illegible]]:
        """Compare what came with what is there; write what differs, and return what clashes."""
        conn = self._db.conn
        ids = json.dumps([message.id for message in messages])
        there = {row[0]: tuple(row) for row in conn.execute(table.find, (ids,))}
        differing: list[tuple[Any, ...]] = []
        clashing: list[Illegible] = []
        for message in messages:
            old = there[message.id]
            new = table.row(message, old[table.mirrored])
            if new == old:
                continue
            if is_another(old, new):
                reason = "this id belongs to another message already"
                row = msgspec.json.encode(message).decode()
                clashing.append(Illegible(reason, row, message.id))
                continue
            now_there = merged(table, old, new, stamp)
            if now_there != old:
                differing.append((*now_there[1:], stamp, message.id))
                there[message.id] = now_there
        conn.executemany(table.change, differing)
        return len(differing), clashing

    def _keep_illegible(self, box: str, rows: Iterable[Illegible], stamp: str) -> None:
        self._db.conn.executemany(
            KEEP_ILLEGIBLE,
            [msgspec.to_builtins(row) | {"box": box, "now": stamp} for row in rows],
        )
