"""
The whole program in one process and in simulated time, with all that may happen to it.

`World` is the rig of the sender with all the other parts of the daemon beside it: pulls of both
boxes, refresh, verify, purge, copies, a hook and the listener of webhooks. What must hold is in
`promises`; `settle` lets all become calm, for what holds then.
"""

import asyncio
import itertools
import sqlite3
from contextlib import closing
from datetime import timedelta
from types import SimpleNamespace
from unittest.mock import patch

import httpx
from promises import FLAGS, SOON_S, Promises
from reaching import reached
from sending.rig import NOON, Rig
from switching import BLINDING, SICK
from wire import Dead, Perilous

import semysync.follow.hints
import semysync.follow.hooks
import semysync.service.client
from semysync.config import Backup, Purge, Send
from semysync.config.hooks import Hook
from semysync.config.listening import Address
from semysync.follow.actions import Outcome
from semysync.follow.hints import Awaited, Doorbell
from semysync.follow.hooks import Follower
from semysync.follow.listener import Listener, Served
from semysync.follow.retries import Patience
from semysync.mirror.copies import backup
from semysync.mirror.store import Store
from semysync.mirror.tables import purges
from semysync.mirror.tables.purges import Purges
from semysync.model import Box
from semysync.passes.pull import Puller
from semysync.passes.purge import Purger
from semysync.passes.sync import Sync
from semysync.passes.turns import Turns
from semysync.sandbox.switches import Switches
from semysync.sandbox.webhooks import fields_of, request
from semysync.times import Locale

KEPT = "+79990000001"
MOVING = {
    44: "accepted",
    40: "on_phone",
    36: "sent",
}  #: of the history, by age: these came no further
PHONES = ("+79200000001", "+79200000002", "+79200000003")
DAY = timedelta(days=1)
HISTORY_FROM = (NOON - 45 * DAY).date()
SECRET = "a-secret-of-webhooks"
SETTLE_S = 300  #: of hints
USUAL = Switches()


class World(Rig):
    """An account with some history, the program, and what is configured."""

    transport = Perilous

    def __init__(self, folder, *, scope="account", history="all", id_spaces="apart"):
        folder.mkdir(parents=True, exist_ok=True)
        self.perils = {}
        switches = {"id_spaces": id_spaces}
        super().__init__(folder, messages=0, devices=2, switches=switches)
        self.account = self.sandbox.account
        self.devices = sorted(self.account.devices)
        self.scope, self.history, self.lookback_s = scope, history, 600
        self.purging = Purge(keep=[KEPT], inbox_days=30, sent_days=30)
        self.copies, self.ages = folder / "copies", []
        self.numbers = itertools.count(1)
        self.hidden, self.hidden_at = [], {}
        self.broken = False
        self.misled = False  # deletes do other than they are asked
        self.honest = True  # all clocks always were right
        self.rings, self.hints = [], {}
        self.hook_fails = self.hook_dies = False
        self.before_delete = None
        self.due = {}
        self.promises = Promises(self)
        self.sandbox.before_call = self._hear
        for ago in range(60, 28, -4):
            for device in self.devices:
                kept = ago == 48 and device == self.devices[0]
                self.receive(device, KEPT if kept else PHONES[ago % 3], timedelta(days=ago))
                status = MOVING.get(ago, "delivered") if device == self.devices[0] else "delivered"
                self.elsewhere(device, PHONES[ago % 3], timedelta(days=ago), status)
        self.receive(self.devices[0], PHONES[0], DAY / 2)
        self.receive(self.devices[1], PHONES[0], DAY / 2)

    # Life

    def __enter__(self):
        clock = SimpleNamespace(
            time=lambda: self.time.ours().timestamp(), monotonic=self.time.clock
        )
        wall = SimpleNamespace(now=lambda _: self.time.ours())
        for module in (semysync.service.client, semysync.follow.hooks):
            self._stack.enter_context(patch.object(module, "time", clock))
        real = semysync.service.client.datetime
        dates = SimpleNamespace(fromtimestamp=real.fromtimestamp)
        self._stack.enter_context(patch.object(semysync.service.client, "datetime", dates))
        for module in (semysync.follow.hints, semysync.follow.hooks):
            self._stack.enter_context(patch.object(module, "datetime", wall))
        return super().__enter__()

    def start(self, *, loaded=True):
        self._puller = self._turns = None
        self.due = {}
        hook = Hook(name="hook", on=["*.*"])
        self.follower = Follower(
            hook, self._deliver, self.mirror, patience=Patience(lasts=timedelta(hours=1))
        )
        self.awaited = Awaited(self.mirror, clock=self.time.clock)
        self.listener = Listener(
            Address("127.0.0.1", 1),
            self.mirror,
            secrets=[SECRET],
            served=Served(health=False, metrics=False),
            awaited=self.awaited,
            hint=lambda box, devices: self.hints.setdefault(box, set()).update(devices),
            metrics=SimpleNamespace(called=lambda *_: None),
        )
        self.listener._doorbell = Doorbell(
            self.listener._ring,
            lambda _, ring: self.rings.append(ring),
            clock=self.time.clock,
        )
        super().start(loaded=False)
        self._running.callback(self.follower.close)
        self.store.apply_locale()
        self.promises.started()
        if loaded:
            self.load()

    def end(self):
        super().end()
        self.promises.ended()

    def load(self):
        """Mirror the account; a failure of that is no end."""
        for outcome in self._sync(self.store).complete():
            self.note(outcome)

    def note(self, outcome):
        how = "failed" if outcome.failure else "complete"
        reached[f"pass {outcome.noted.kind} {how}"] += 1
        return outcome

    def do(self, work):
        """Let the program do something; a kill may come meanwhile, and a start anew."""
        try:
            return work()
        except Dead:
            self.perils.clear()
            self.end()
            self.start()

    def again(self):
        self.end()
        self.do(self.start)

    def _store(self):
        store = Store.open(self.mirror, Locale(region=self.region))
        self._simulate(store._db.conn)
        return store

    def _sync(self, store):
        if self._puller is None:
            self._turns = Turns(60)
            self._puller = Puller(
                account=self.client,
                mirror=store,
                history=self.history,
                lookback=timedelta(seconds=self.lookback_s),
                now=self.time.ours,
            )
        return Sync(self.client, store, self._puller, scope=self.scope, turns=self._turns)

    def _ahead_s(self):
        return self.sending.ahead_s() if self.sending.service_now() else self.client.ahead_s()

    def configure(self, *, scope=None, lookback_s=None, region=(), purging=None, **send):
        """End, and begin anew with something configured otherwise."""
        self.end()
        self.scope = scope or self.scope
        self.lookback_s = lookback_s or self.lookback_s
        self.region = self.region if region == () else region
        self.purging = purging or self.purging
        self.config = Send(
            **{name: getattr(self.config, name) for name in Send.__struct_fields__} | send
        )
        self.do(self.start)

    # What happens in the account

    def receive(self, device, phone, ago, *, hidden=False):
        text = f"received {next(self.numbers)}"
        at = self.time.now() - ago
        number = self.account.receive(phone, text, device, at=at, hidden=hidden)
        if hidden:
            self.hidden.append(("inbox", number))
            self.hidden_at[number] = self.time.passed_s

    def reveal(self):
        """Show a hidden message: its id is lower than some that were seen."""
        if self.hidden:
            box, number = self.hidden.pop()
            self.account.reveal(box, number)
            self.promises.late.add((box, number))
            reached["a message is late"] += 1
            if self.honest and self.time.passed_s - self.hidden_at[number] < SOON_S:
                self.promises.soon.add((box, number))
                reached["a message is late, but not too late to look back to"] += 1

    def elsewhere(self, device, phone, ago, status):
        at = self.time.now() - ago
        text = f"sent elsewhere {next(self.numbers)}"
        number = self.account.sent_elsewhere(phone, text, device, at=at)
        if status != "accepted" or ago:
            self.change(number, status)

    def change(self, number, status):
        """Another status, where the message may still get one."""
        self.account.change("sent", number, **FLAGS[status])
        self.promises.changed_at[number] = self.time.now()

    def _hear(self, call):
        """Hear of every call, before it has an effect."""
        self.promises.asked(call)
        if call.method and call.method.startswith("del_") and self.before_delete:
            do, self.before_delete = self.before_delete, None
            do(call)

    def switch(self, **switches):
        """Let the service answer otherwise from now on."""
        self.promises.look_around()  # what was hidden until now may show below what was pulled
        self.sandbox.set(**switches)
        self.promises.look_around()

    @property
    def blind(self):
        switches = self.sandbox.switches
        return any(getattr(switches, name) in values for name, values in BLINDING.items())

    # What people do

    def draft(self, text, phone, *, kind="text", **columns):
        number = super().draft(text, phone, kind=kind, **columns)
        self.promises.drafted(number, kind, text)
        return number

    def forget_draft(self, number):
        self.writer.execute("delete from outbox where id = ?", (number,))
        self.promises.drafts.discard(number)

    # What the program does

    def run(self, seconds=None, **how):
        return self.do(lambda: super(World, self).run(seconds, **how))

    def look(self):
        """Look at what was sent, and do all else that is due in a daemon."""
        self._ring()
        sync, now = self._sync(self.store), self.time.passed_s
        if now >= self.due.get("devices", 0):
            self.note(sync.devices())
            self.due["devices"] = now + 60
        if now >= self.due.get("account", 0):
            self.note(sync.account())
            self.due["account"] = now + 3600
        self.note(sync.box(Box.INBOX))
        if sync.refresh_is_due():
            self.note(sync.refresh())
        self.awaited.settle()
        self.follow()
        before, looks = self.promises.calls, self.looks
        outcome = self.note(super().look())
        if self.looks > looks:
            self.promises.looked(before)
        return outcome

    def _ring(self):
        rings, self.rings = self.rings, []
        for ring in rings:
            ring()
        hints, self.hints = self.hints, {}
        for box, devices in hints.items():
            self._sync(self.store)  # it makes the turns
            self._turns.hint(Box(box), devices)
            self.note(self._sync(self.store).box(Box(box)))

    def purge(self):
        """One pass; return what it came to."""
        place = Backup(path=str(self.copies)) if self.copies.exists() else Backup()
        with Purges(self.mirror) as log:
            self._simulate(log.conn)
            before = self.ask("select coalesce(max(id), 0) from purges")[0][0]
            purged = Purger(
                self.client,
                self.store,
                log,
                self._sync(self.store),
                self.purging,
                backup=place,
                now=self.time.ours,
            ).once()
        states = self.ask("select state from purges where id >= ?", before)
        reached.update(f"purge came to {state}" for (state,) in states)
        reached[f"purge ended: {type(purged.failure).__name__}"] += 1
        return purged

    def begin_purging_anew(self):
        with Purges(self.mirror) as log:
            if purges.stopped(log.conn):
                reached["purge begun anew"] += 1
                log.begin_anew()

    def verify(self, since=None, *, repair=True):
        outcome, report = self._sync(self.store).verify(since, repair=repair)
        self.note(outcome)
        return outcome, report

    def keep_house(self, days):
        if self.store.forget_events(self.time.ours(), timedelta(days=days), ["hook"]):
            reached["events forgotten"] += 1
        self.store.give_room_back()

    def back_up(self):
        copy = backup.make(self.mirror, self.copies, self.time.ours, lambda *_: None)
        kept = self.copies.parent / f"age-{next(self.numbers)}.db"
        kept.write_bytes(copy.path.read_bytes())
        backup.note(self.mirror, copy, keep=1)
        self.ages.append(kept)
        return copy

    def restore(self, age, *, claims=True):
        """Put a copy back: the newest, an older one, or the oldest."""
        with closing(sqlite3.connect(self.mirror)) as conn:
            newest = backup.newest_copy(conn)
        if age == "newest":
            place = newest and newest.path
        else:
            older = self.ages[:-1]
            place = older and (older[0] if age == "oldest" else older[-1])
        if not place:
            return
        self._restore(place, whole=age == "newest", claims=claims)
        reached[f"restored the {age} copy"] += 1

    def restore_once_more(self):
        """Put the copy back that was made last: a mirror that came of it does not know of it."""
        self._restore(self.ages[-1], whole=True)
        reached["restored once more"] += 1

    def _restore(self, place, *, whole, claims=True):
        claims = claims or not self.mirror.with_name(f"{self.mirror.name}-claims").exists()
        self.put_back(place, claims=claims)
        self.promises.restored(whole=whole)
        reached["restored without the claims"] += not claims
        self.do(self.start)

    # Hooks and webhooks

    def follow(self):
        """Let the hook deliver what there is."""
        while self.follower.step() <= 0:
            pass

    def _deliver(self, telling, _done):
        if self.hook_fails:
            reached["hook failed"] += 1
            return Outcome("it fails")
        self.promises.told(telling["seq"])
        if self.hook_dies:
            self.hook_dies = False
            reached["killed at a hook"] += 1
            raise Dead
        return Outcome(None)

    def call_webhook(self, which, fields, times=1):
        """Let the service tell of a message, in the encoding of the moment."""

        async def call():
            transport = httpx.ASGITransport(self.listener.app())
            async with httpx.AsyncClient(transport=transport) as http:
                url = f"http://here/webhook/{SECRET}/{which}"
                answer = await http.send(request(http, url, fields, self.sandbox.switches))
                assert answer.status_code == 200

        for _ in range(times):
            asyncio.run(call())

    def fields_of(self, box, number):
        row = self.account._shelves[box].find(number)
        empty = self.sandbox.switches.webhook_status == "empty"
        return fields_of(row, self.account.clocks, empty=empty)

    # The end

    def calm(self):
        """End all that is wrong, with the account and with what is configured."""
        self.sandbox.forget_orders()
        self.before_delete = None
        self.perils.clear()
        self.refused_at = None
        self.time.jumped_s = 0.0
        self.hook_fails = self.hook_dies = False
        self.misled = False
        self.promises.look_around()
        ill = (*SICK, *BLINDING, "delete_ignores", "delete_takes", "delete_says")
        self.sandbox.set(**{name: getattr(USUAL, name) for name in ill})
        self.sandbox.set(arrivals_every_s=0.0, answers="off")
        for device in self.devices:
            self.account.change_device(device, power=1, is_arhive=0)

    def settle(self):
        """Let all become calm, and hold the promises to what is then."""
        self.calm()
        self.configure(quiet_hours=None, per_minute=0, enabled=True, device="auto")
        self.run(200)
        for _ in range(4):
            self.time.passed_s += 7200
            self.steps()
            for outcome in self._sync(self.store).complete():
                assert not outcome.failure, outcome.failure
            refreshed = self._sync(self.store).refresh(requests=None)
            assert not refreshed.failure, refreshed.failure
        self.run(60)
        self.promises.check()
        # What became visible later than any look back, `verify` finds.
        self.promises.all_here(but=self.promises.late - self.promises.soon)
        self.promises.statuses_true(verified=False)
        for _ in range(2):  # the first may go on with one that was broken off, and look at the rest
            outcome, report = self.verify()
            assert not outcome.failure, outcome.failure
            found = outcome.noted.added + outcome.noted.changed
            reached[f"verify at the end: {'found something' if found else 'found nothing'}"] += 1
        self.time.passed_s += SETTLE_S
        self.run(60)
        self.promises.check()
        self.promises.all_here(but=())
        self.promises.statuses_true(verified=True)
        self.promises.at_rest(unproven=report.unproven)
