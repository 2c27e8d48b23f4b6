"""
The whole program in one process and in simulated time, with all that may happen to it.

`World` is the rig of the sender with the purge, the refresh and copies beside it, and it remembers
what the promises are about: what the mirror ever held, what requests of ours deleted, and what
every draft has made. `check` holds the promises after every step, `settle` when all is calm again.
"""

import itertools
import sqlite3
from collections import Counter
from contextlib import closing
from datetime import timedelta

from sending.rig import FINAL, Rig

from semysync.config import Backup, Purge
from semysync.mirror.copies import backup
from semysync.mirror.tables import purges
from semysync.mirror.tables.purges import Purges
from semysync.passes.purge import Purger
from semysync.sandbox.clocks import DAY as DAY_US
from semysync.sandbox.clocks import instant

BOXES = ("inbox", "sent")
KEPT = "+79990000001"
PHONES = ("+79200000001", "+79200000002", "+79200000003")
DAY = timedelta(days=1)

FLAGS = {
    "accepted": {"is_send_to_phone": 0, "is_send": 0, "is_delivered": 0},
    "on_phone": {"is_send_to_phone": 1, "is_send": 0, "is_delivered": 0},
    "sent": {"is_send_to_phone": 1, "is_send": 1, "is_delivered": 0},
    "delivered": {"is_send_to_phone": 1, "is_send": 1, "is_delivered": 1},
    "failed": {"is_send_to_phone": 1, "is_send": 0, "is_delivered": 0, "is_error_send": 1},
    "cancelled": {"is_send_to_phone": 0, "is_send": 0, "is_delivered": 0, "is_cancel": 1},
}
DONE = ("delivered", "failed", "cancelled")
USUAL = {
    "delete_ignores": "",
    "delete_takes": "all",
    "delete_says": "gone",
    "phone_speed": 1.0,
    "cap": 0,
    "order": "asc",
    "date_filter_clock": "server",
}

#: how often each state was reached, of all worlds of this process
reached = Counter()


class Dead(BaseException):
    """Ends a pass at any place, as a kill does: what is not committed is not there."""


class World(Rig):
    """An account with some history, the program, and the memory of what happened."""

    def __init__(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(folder, messages=0, devices=2)
        self.account = self.sandbox.account
        self.devices = sorted(self.account.devices)
        self.copies = folder / "copies"
        self.numbers = itertools.count(1)
        self.hidden, self.revealed = [], set()
        self.drafts = {}
        self.held = {box: set() for box in BOXES}
        self.deleted = {box: set() for box in BOXES}
        self.excused = set()
        self.wrongs = []
        self.broken = False
        self.misled = False  # deletes do other than they are asked
        self._watch_deletes()
        for ago in range(60, 28, -4):
            for device in self.devices:
                self.receive(device, PHONES[ago % 3], timedelta(days=ago))
                self.elsewhere(device, PHONES[ago % 3], timedelta(days=ago), "delivered")
        self.receive(self.devices[0], KEPT, 50 * DAY)
        self.receive(self.devices[0], PHONES[0], DAY / 2)
        self.receive(self.devices[1], PHONES[0], DAY / 2)

    def _watch_deletes(self):
        """See what requests of ours delete, and that none of it is what must stay."""
        really = self.account.delete

        def delete(box, ids):
            ids = list(ids)
            for number in ids:
                row = self.account.row(box, number)
                made = self.account._shelves[box].find(number).at
                now = instant(self.time.now())
                if made > now - 2 * DAY_US:
                    self.wrongs.append(f"{box} {number} is of the last two days, and was deleted")
                if not self.misled and row["phone"] == KEPT:
                    self.wrongs.append(f"{box} {number} is kept, and was deleted")
                if box == "sent" and not self.misled and status_of(row) not in {*DONE, "sent"}:
                    self.wrongs.append(f"sent {number} is {status_of(row)}, and was deleted")
            really(box, ids)
            self.deleted[box] |= set(ids)

        self.account.delete = delete

    # What happens in the account

    def receive(self, device, phone, ago, *, hidden=False):
        text = f"received {next(self.numbers)}"
        at = self.time.now() - ago
        number = self.account.receive(phone, text, device, at=at, hidden=hidden)
        if hidden:
            self.hidden.append(("inbox", number))

    def reveal(self):
        """Show a hidden message: its id is lower than some that were seen."""
        if not self.hidden:
            return
        box, number = self.hidden.pop()
        self.account.reveal(box, number)
        self.revealed.add((box, number))

    def elsewhere(self, device, phone, ago, status):
        at = self.time.now() - ago
        text = f"sent elsewhere {next(self.numbers)}"
        number = self.account.sent_elsewhere(phone, text, device, at=at)
        if status != "accepted" or ago:
            self.account.change("sent", number, **FLAGS[status])

    def change(self, number, status):
        """Another status, where the message may still get one."""
        self.account.change("sent", number, **FLAGS[status])

    def at_the_next_delete(self, do):
        """Do something between the listing of a slice and its deletion."""

        def before(call):
            if call.method.startswith("del_"):
                self.sandbox.before_call = None
                do(call)

        self.sandbox.before_call = before

    def shown(self, box):
        return list(self.account.rows(box))

    # What the program does

    def purge(self):
        """One pass; return what it came to."""
        config = Purge(keep=[KEPT], inbox_days=30, sent_days=30)
        place = Backup(path=str(self.copies)) if self.copies.exists() else Backup()
        with Purges(self.mirror) as log:
            purged = Purger(
                self.client,
                self.store,
                log,
                self._sync(self.store),
                config,
                backup=place,
                now=self.time.ours,
            ).once()
        states = self.ask("select state from purges")
        reached.update(f"purge: {state}" for (state,) in states[-1:])
        reached[f"purge ended: {type(purged.failure).__name__}"] += 1
        if purged.messages:
            reached["purge: something went"] += 1
        return purged

    def purge_until_death(self, nth):
        """Purge, and die when the nth answer has come; tell whether there were so many."""
        really, left = self.client._post, [nth]

        def post(*args, **how):
            answer = really(*args, **how)
            left[0] -= 1
            if left[0] == 0:
                raise Dead
            return answer

        self.client._post = post
        try:
            self.purge()
        except Dead:
            return True
        finally:
            self.client._post = really
        return False

    def begin_purging_anew(self):
        with Purges(self.mirror) as log:
            if purges.stopped(log.conn):
                reached["purge: begun anew"] += 1
                log.begin_anew()

    def back_up(self):
        copy = backup.make(self.mirror, self.copies, self.time.now, lambda *_: None)
        backup.note(self.mirror, copy, keep=1)
        return copy

    def restore(self):
        """Put the newest copy back; what it does not hold was never deleted at the service."""
        with closing(sqlite3.connect(self.mirror)) as conn:
            newest = backup.newest_copy(conn)
        if newest is None:
            return False
        self.put_back(newest.path)
        self.held = {box: self.here(box) for box in BOXES}
        reached["restored a copy"] += 1
        return True

    def here(self, box):
        with closing(sqlite3.connect(self.mirror)) as conn:
            return {row[0] for row in conn.execute(f"select id from {box}")}

    def begin_again(self, *, loaded):
        """Start, though the first looks of it may fail: then it sends nothing before a good one."""
        self.start(loaded=False)
        if loaded:
            for outcome in self._sync(self.store).complete():
                reached[f"start: {'failed' if outcome.failure else 'complete'}"] += 1

    # The promises

    def check(self):
        """What holds after every step, whatever happened."""
        assert not self.wrongs, self.wrongs
        for box in BOXES:
            here = {row[0] for row in self.ask(f"select id from {box}")}
            assert self.held[box] <= here, ("forgotten", box, self.held[box] - here)  # 6
            self.held[box] = here
            lost = self.deleted[box] - here - self.excused
            assert not lost, ("purged, and not here", box, lost)  # 5
            marks = self.ask(
                "select last_id, floor_id from marks where box = ? and device_id = 0", box
            )
            for last, floor in marks:  # 1
                assert last in here or last == floor, ("a mark without its row", box, last)
        assert not self.twice(), self.twice()  # 2

    def settle(self):
        """Let all become calm, and hold the promises to what is then."""
        self.sandbox.forget_orders()
        self.sandbox.before_call = None
        self.sandbox.set(**USUAL)
        self.refused_at = None
        self.time.jumped_s = 0.0
        for device in self.devices:
            self.account.change_device(device, power=1)
        if self._running is None:
            self.start()
        self.run(300)
        for _ in range(12):
            self.time.passed_s += 2400
            self.steps()
            for outcome in self._sync(self.store).complete():
                assert not outcome.failure, outcome.failure
            refreshed = self._sync(self.store).refresh(requests=None)
            assert not refreshed.failure, refreshed.failure
        self.run(60)
        self.check()
        # What became visible later than any look back, `verify` finds.
        self._all_here(but=self.revealed)
        self._statuses_true(verified=False)
        for _ in range(2):  # the first may go on with one that was broken off, and look at the rest
            outcome, _ = self._sync(self.store).verify(None, repair=True)
            assert not outcome.failure, outcome.failure
            found = outcome.noted.added + outcome.noted.changed
            reached[f"verify at the end: {'found something' if found else 'found nothing'}"] += 1
        self.check()
        self._all_here(but=())
        self._statuses_true(verified=True)
        self._no_draft_lost()

    def _all_here(self, but):
        for box in BOXES:
            marks = {row[0] for row in self.ask("select last_id from marks where box = ?", box)}
            here = {row[0] for row in self.ask(f"select id from {box}")}
            late = {number for where, number in but if where == box}
            missing = {row["id"] for row in self.shown(box)} - here - late
            assert not missing, ("missing", box, missing, marks)

    def _statuses_true(self, *, verified):
        ours = dict(self.ask("select id, status from sent where purged_at is null"))
        for row in self.shown("sent"):
            here, there = ours.get(row["id"]), status_of(row)
            # What was final, or silent for its last look, is asked for by `verify` alone.
            made = self.account._shelves["sent"].find(row["id"]).at
            waited_long = made < instant(self.time.now()) - 30 * DAY_US
            seldom = here in {None, *DONE, "sent"} or waited_long
            if here != there and seldom and not (verified and here):
                reached["a status that only verify sees"] += 1
                continue
            assert here == there, ("a status that is not true", row["id"], here, there)

    def _no_draft_lost(self):
        rows = self.ask("select id, status, error, sent_id from outbox")
        for number, status, error, sent_id in rows:
            reached[f"draft ends {status}"] += 1
            waits = status in {"held", "unknown"} or (status == "queued" and error)
            gone_on = status in {"accepted", "on_phone", "sent"} and sent_id is not None
            assert status in FINAL or waits or gone_on, (number, status, error)


def status_of(row):
    """The status of a row as the account prints it."""
    if row["is_delivered"]:
        return "delivered"
    if row["is_error_send"] or row["is_error"]:
        return "failed"
    if row["is_send"]:
        return "sent"
    if row["is_cancel"]:
        return "cancelled"
    return "on_phone" if row["is_send_to_phone"] else "accepted"
