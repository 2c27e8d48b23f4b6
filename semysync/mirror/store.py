"""
The mirror, for the passes: what they do to it, in one class.

`Store.save` is the heart: it adds a slice of an answer and moves the mark, both or neither. Each
write is one short transaction, so that other programs can write in between; what SQLite says when
a file cannot be used becomes one of our errors, a sentence with what to do.
"""

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple, Self

import structlog
from sqlite_utils import Database

from semysync.config import Devices
from semysync.mirror import corrections, housekeeping
from semysync.mirror.file import (
    check_version,
    connect,
    create,
    explained,
    must_exist,
    writing,
)
from semysync.mirror.reading import person
from semysync.mirror.schema.upkeep import bring_up_to_date
from semysync.mirror.tables import account as plan
from semysync.mirror.tables import (
    alarms,
    arrivals,
    boxes,
    clocks,
    comparing,
    conflicts,
    devices,
    events,
    lateness,
    marks,
    missing,
    passes,
    pending,
    settings,
)
from semysync.mirror.tables.alarms import USUAL
from semysync.mirror.tables.clocks import Moment
from semysync.mirror.tables.devices import KnownDevice
from semysync.mirror.tables.marks import WHOLE_ACCOUNT, Mark
from semysync.mirror.tables.passes import Pass
from semysync.mirror.tables.rows import TABLES, Writing
from semysync.mirror.tables.sorting import sorted_out
from semysync.model import HIGHEST_ID, Account, Box, Device, Illegible, Message
from semysync.times import ANYWHERE, Locale, utc_text

log = structlog.get_logger("semysync")


class Saved(NamedTuple):
    """How many messages were new, were changed, and could not be stored (seen the first time)."""

    added: int = 0
    changed: int = 0
    illegible: int = 0


class Store(AbstractContextManager["Store"]):
    """A connection to the mirror, for the thread that opened it."""

    def __init__(self, path: Path, locale: Locale) -> None:
        self.path = path
        self._locale = locale
        self._db = Database(connect(path), recursive_triggers=False)
        self._known_devices: set[int] | None = None
        #: called between the transactions of a work that may be long; what it raises breaks that
        #: off
        self.between: Callable[[], object] = lambda: None

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
        try:
            with explained(path):
                bring_up_to_date(store._db, path)
        except BaseException:
            store.close()
            raise
        return store

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    def mark(self, box: Box, device_id: int) -> Mark:
        """Return how far a box is mirrored; a fresh mark where it was never asked for."""
        with self.connected() as conn:
            return marks.find(conn, box, device_id)

    def save_mark(self, box: Box, device_id: int, mark: Mark) -> None:
        """Store a mark. It never moves back, whoever else has moved it meanwhile."""
        with self.transaction() as conn:
            marks.put(conn, box, device_id, mark)

    def reset_mark(self, box: Box, device_id: int) -> None:
        """Forget how far a box is mirrored, so that it is loaded anew; its messages stay."""
        with self.transaction() as conn:
            marks.forget(conn, box, device_id)

    def save(
        self,
        box: Box,
        messages: Sequence[Message],
        illegible: Sequence[Illegible] = (),
        *,
        now: datetime,
        mark: tuple[int, Mark] | None = None,
        history_to: int = 0,
        as_of: int | None = None,
    ) -> Saved:
        """
        Add messages to a box and move a device's mark past them: both or neither.

        A message that is there already is brought up to date; what it said before stays in `extra`.
        What is `illegible`, or cannot be stored under its id, is kept in `conflicts`. `mark` is the
        device's id (or `WHOLE_ACCOUNT`) and its new mark. Nobody is told of new messages with ids
        up to `history_to`. `as_of` is the newest event from before the question: what others have
        learnt of a message since then, by a later question perhaps, stands.
        """
        table = TABLES[box]
        stamp = utc_text(now)
        with self.transaction() as conn:
            writing = self._writing(conn)
            self._know_devices(conn, {m.device_id for m in messages if m.device_id}, stamp)
            if forgotten := person.known(conn, box, [message.id for message in messages]):
                messages = [message for message in messages if message.id not in forgotten]
            there = boxes.find(conn, table, [message.id for message in messages])
            found = sorted_out(table, messages, there, writing, stamp)
            unfit = [*illegible, *map(conflicts.clashing, found.others)]
            moved = events.not_overtaken(conn, box, found.moved, as_of)
            added = [found.new[number] for number in sorted(found.new)]
            newest = boxes.newest(conn, box, WHOLE_ACCOUNT, 0) if added else 0
            boxes.add(conn, table, added)
            boxes.change(conn, table, list(moved.values()), stamp)
            if added and added[-1][0] > history_to:
                events.came(conn, box, [row for row in added if row[0] > history_to], stamp)
                late = [row for row in added if history_to < row[0] < newest]
                lateness.note(conn, box, late, stamp)
            events.moved(conn, box, list(moved.values()), stamp)
            shown = there.keys() - {row.id for row in unfit}
            back = missing.clear(conn, box, shown, stamp)
            if box is Box.SENT:
                pairs = list(moved.values())
                pending.note(conn, added, pairs, now=now, history_to=history_to)
                pending.again(conn, back, now)
            unknown = conflicts.keep(conn, box, unfit, stamp)
            if mark:
                marks.put(conn, box, *mark)
        return Saved(len(added), len(moved), unknown)

    def newest_event(self) -> int:
        """Return the number of the newest event, to tell later what has happened since."""
        with self.connected() as conn:
            return events.newest(conn)

    def history_to(self, box: Box) -> int:
        """Return the id up to which a message that was never seen is history, and no news."""
        return int(self.setting(f"history_to_{box}") or HIGHEST_ID)

    def begin_news(self, box: Box) -> None:
        """Let all that comes from now on count as news, also from devices that are yet to come."""
        self.set_setting(f"history_to_{box}", str(self.newest(box, WHOLE_ACCOUNT)))

    def compared(
        self, box: Box, messages: Sequence[Message], now: datetime
    ) -> dict[int, comparing.Seen]:
        """
        Compare messages with what is here: the day of each, and in what it differs, if at all.

        Those that were removed here for good are left out.
        """
        with self.connected() as conn:
            forgotten = person.known(conn, box, [message.id for message in messages])
            messages = [message for message in messages if message.id not in forgotten]
            return comparing.compared(conn, box, messages, self._writing(conn), utc_text(now))

    def differing(self, box: Box, messages: Sequence[Message]) -> dict[int, bool]:
        """Return the messages that are not here just so; whether in more than their `extra`."""
        with self.connected() as conn:
            return boxes.differing(conn, TABLES[box], messages, self._writing(conn))

    def channels(self, box: Box, ids: Sequence[int]) -> dict[int, str]:
        """Return by what each message came or went; an answer of a delete may not say it."""
        with self.connected() as conn:
            return boxes.channels(conn, TABLES[box], ids)

    def lookback(self, box: Box) -> timedelta:
        """Return how far pulls must look back by how late messages were shown so far."""
        with self.connected() as conn:
            return lateness.lookback(conn, box)

    def newest(self, box: Box, device_id: int, skip: int = 0) -> int:
        """Return the highest id of a device's (or the account's) box, or the one `skip` below it."""
        with self.connected() as conn:
            return boxes.newest(conn, box, device_id, skip)

    def oldest(self, box: Box, device_id: int, above: int) -> int:
        """Return the lowest id of a device's (or the account's) box above another; 0 without."""
        with self.connected() as conn:
            return boxes.oldest(conn, box, device_id, above)

    def owners(self, box: Box, low: int, high: int) -> dict[int, int]:
        """Return whose the messages from one id to another are: the device of each."""
        with self.connected() as conn:
            return boxes.owners(conn, box, low, high)

    def known_devices(self) -> list[KnownDevice]:
        """Return every device ever seen, in the list of devices or in a message."""
        with self.connected() as conn:
            return devices.known(conn)

    def device_ids(self) -> dict[int, bool]:
        """Return every device ever seen, each with whether the account had it when last asked."""
        return {device.id: device.there for device in self.known_devices()}

    def save_devices(
        self,
        rows: Iterable[Device | Illegible],
        *,
        now: datetime,
        complete: bool,
        service_now: datetime | None = None,
        limits: Devices = USUAL,
    ) -> Saved:
        """
        Bring the devices up to date; those absent from a `complete` list are marked as missing.

        Nothing is written for a device of which nothing has changed. What is worth an event by
        `limits` is told; `service_now` is the time by the service's clock, where it is known.
        """
        stamp = utc_text(now)
        kept = list(rows)
        illegible = [row for row in kept if isinstance(row, Illegible)]
        legible = [row for row in kept if not isinstance(row, Illegible)]
        with self.transaction() as conn:
            writing = self._writing(conn)
            formerly = alarms.known(conn)
            added, changed = devices.save(
                conn, legible, writing=writing, stamp=stamp, complete=complete
            )
            notices = alarms.watch(
                conn,
                legible,
                formerly,
                limits=limits,
                clock=writing.clocks.service,
                now=now,
                service_now=service_now,
                looked_at=passes.last_complete(conn, "devices"),
            )
            unknown = conflicts.keep(conn, "devices", illegible, stamp)
        for notice in notices:
            log.info(notice.kind, device=notice.device_id, **notice.data)
        self._known_devices = None
        return Saved(added, changed, unknown)

    def save_account(self, account: Account, *, now: datetime) -> bool:
        """Add a row to the account's history where it differs from the last; tell whether."""
        with self.transaction() as conn:
            return plan.save(conn, account, writing=self._writing(conn), stamp=utc_text(now))

    def save_pass(self, finished: Pass, *, now: datetime) -> None:
        """Note a pass, and forget quiet ones of more than an hour ago and all of over a month."""
        with self.transaction() as conn:
            passes.keep(conn, finished, now)

    def last_contacts(self) -> dict[int, datetime]:
        """Return when each device was last active, as it was printed."""
        with self.connected() as conn:
            return clocks.last_contacts(conn)

    def last_complete(self, kind: str) -> datetime | None:
        """Return when the last complete pass of a kind was begun."""
        with self.connected() as conn:
            return passes.last_complete(conn, kind)

    def times_of_phone(self, device_id: int) -> tuple[list[Moment], list[Moment]]:
        """
        Return what a phone printed lately, each time with a moment that lies close to it.

        First for messages that it sent, with when it had fetched them; then for messages that it
        received, with when they were mirrored.
        """
        with self.connected() as conn:
            return clocks.times_of_phone(conn, device_id)

    def learn_offsets(self, service: int | None, phones: Mapping[int, int]) -> None:
        """
        Learn what the clocks of the service and of phones stand at, in minutes east.

        Rows that were written when less was known are put right.
        """
        with self.connected() as conn:
            corrections.learn(conn, self._locale, service, phones, self.between)

    def apply_locale(self) -> None:
        """Write every row anew where the configuration says something else than when it was written."""
        with self.connected() as conn:
            corrections.apply_locale(conn, self._locale, self.between)

    def make_indexes(self, box: Box) -> None:
        """Make the indexes of a box that a first load does without; nothing where they are there."""
        with self.connected() as conn:
            boxes.make_indexes(conn, box)

    def drafts_wait(self) -> bool:
        """Tell whether a draft waits for a look at all that the account has sent."""
        with self.connected() as conn:
            return arrivals.awaited(conn)

    def waiting_drafts(self) -> int:
        """Count the drafts that are still to be sent."""
        with self.connected() as conn:
            return arrivals.waiting(conn)

    def waiting_messages(self, most: int) -> dict[int, int | None]:
        """Return the newest messages that no phone has fetched yet, each with its device."""
        with self.connected() as conn:
            return boxes.waiting(conn, most)

    def tell_failing(self, what: str, box: Box | None, cause: str, *, now: datetime) -> None:
        """Let an event say that the account, or a pass of it, is not to be read; once."""
        with self.transaction() as conn:
            if self.setting(f"failing_{what}") is None:
                events.reading(conn, "pull.failing", box, cause, utc_text(now))
                settings.put(conn, f"failing_{what}", cause)

    def tell_recovered(self, what: str, box: Box | None, *, now: datetime) -> bool:
        """Let an event say that it is read again, where a failure was told; return whether."""
        if (cause := self.setting(f"failing_{what}")) is None:
            return False
        with self.transaction() as conn:
            events.reading(conn, "pull.recovered", box, cause, utc_text(now))
            settings.drop(conn, f"failing_{what}")
        return True

    def forget_events(
        self, now: datetime, kept: timedelta, followed_by: Collection[str] = ()
    ) -> int:
        """Forget the events that were `kept` for so long and all followers have seen; count them."""
        with self.connected() as conn:
            return housekeeping.forget_events(conn, now, kept, followed_by)

    def give_room_back(self) -> None:
        """Empty the `-wal` file, unless somebody reads from it just now."""
        with self.connected() as conn:
            housekeeping.give_room_back(conn)

    def setting(self, key: str) -> str | None:
        """Return what is remembered under a key of `settings`."""
        with self.connected() as conn:
            return settings.find(conn, key)

    def set_setting(self, key: str, value: str | None) -> None:
        """Remember a value under a key; nothing is written where it is there already."""
        if self.setting(key) != value:
            with self.transaction() as conn:
                settings.put(conn, key, value)

    @contextmanager
    def connected(self) -> Iterator[sqlite3.Connection]:
        """Hand out the connection; what SQLite says of the file becomes one of our errors."""
        with explained(self.path):
            yield self._db.conn

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Hold one transaction: all that is written in it is stored, or nothing."""
        try:
            with self.connected() as conn, writing(conn):
                yield conn
        except BaseException:
            self._known_devices = None  # what was added to them may not be there
            raise

    def _writing(self, conn: sqlite3.Connection) -> Writing:
        """Return what is known for writing messages down; within a transaction, so that it holds."""
        return Writing(clocks.known(conn, self._locale), self._locale.region)

    def _know_devices(self, conn: sqlite3.Connection, ids: set[int], stamp: str) -> None:
        """Give a row to devices that are seen in messages only, so that they are asked for."""
        if self._known_devices is None:
            self._known_devices = set(self.device_ids())
        if unknown := ids - self._known_devices:
            devices.meet(conn, unknown, stamp)
            self._known_devices |= unknown
