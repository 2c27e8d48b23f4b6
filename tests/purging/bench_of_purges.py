"""
An account with a history, its mirror, and purges of it, in simulated time.

`truth` remembers every message that ever existed at the service, so that at the end of any purge
`all_here` can say that the mirror has them, and `recent` which must still be at the service.
"""

import itertools
from contextlib import ExitStack
from datetime import timedelta

from sending.rig import DESK, Time, blank_mirror

from semysync.config import Purge
from semysync.mirror.store import Store
from semysync.mirror.tables.purges import Purges
from semysync.passes.pull import Puller
from semysync.passes.purge import Purger
from semysync.passes.sync import Sync
from semysync.sandbox import Sandbox, Switches
from semysync.service.client import Client

BOXES = ("inbox", "sent")
DELETES = {"inbox": "del_inbox_sms", "sent": "del_outbox_sms"}
DAY = timedelta(days=1)
KEPT_DAYS = 10  #: what is younger is only in the way: it costs time in each list


class Bench:
    """One account, one mirror; `purge` is a pass, `days` lets days go by."""

    def __init__(
        self,
        folder,
        *,
        per_day=1,
        history=18,
        devices=2,
        kept_every=0,
        switches=None,
        scope="auto",
        mirrored="all",
        **config,
    ):
        folder.mkdir(parents=True, exist_ok=True)
        self.mirror = folder / "semysync.db"
        self.mirror.write_bytes(blank_mirror())
        self.time = Time()
        self.config = {"inbox_days": KEPT_DAYS, "sent_days": KEPT_DAYS} | config
        self.scope, self.mirrored = scope, mirrored
        self.sandbox = Sandbox(
            messages=0, devices=devices, clock=self.time.now, switches=Switches(**switches or {})
        )
        self.account = self.sandbox.account
        self.devices = itertools.cycle(list(self.account.devices))
        self.truth = {box: {} for box in BOXES}
        self.born = {}
        self.per_day, self.history, self.kept_every = per_day, history, kept_every
        self.kept = set()
        self._stack = ExitStack()
        self._writers, self._turns = itertools.count(), itertools.count()

    def __enter__(self):
        enter = self._stack.enter_context
        enter(self.sandbox)
        self.client = enter(
            Client(self.sandbox.token, base_url=self.sandbox.base_url, timeout_s=10)
        )
        self.open()
        for ago in range(self.history, -1, -1):
            for hour in range(self.per_day):
                at = self.time.now() - ago * DAY - timedelta(minutes=1080 + hour)
                device = next(self.devices)
                keep = self.kept_every and next(self._turns) % self.kept_every == 0
                phone = self.config["keep"][0] if keep else None
                made = {
                    ("inbox", self.receive(at, device, phone)),
                    ("sent", self.sent(at, device, phone)),
                }
                self.kept |= made if keep else set()
        if self.history >= 0:
            self.pull()
        return self

    def __exit__(self, *_):
        self.store.close()
        self.log.close()
        self._stack.close()

    def open(self):
        self.store, self.log = Store.open(self.mirror), Purges(self.mirror)

    def again(self):
        """As after a kill: nothing is tidied up but what the system tidies."""
        self.store.close()
        self.log.close()
        self.open()

    def again_from_nothing(self):
        """With a new mirror, which has all of the history from a first load."""
        self.store.close()
        self.log.close()
        for name in ("", "-wal", "-shm"):
            self.mirror.with_name(self.mirror.name + name).unlink(missing_ok=True)
        self.mirror.write_bytes(blank_mirror())
        self.open()
        self.pull()

    # What happens in the account

    def receive(self, at, device=DESK, phone=None, **how):
        phone = phone or f"+7920{next(self._writers):07d}"
        text = f"Received at {at:%d %H:%M}"
        number = self.account.receive(phone, text, device, at=at, **how)
        self.born["inbox", number] = at
        return number

    def sent(self, at, device=DESK, phone=None, status="delivered", **how):
        """A message that was sent elsewhere, and stands where `status` says."""
        phone = phone or f"+7920{next(self._writers):07d}"
        text = f"Sent at {at:%d %H:%M}"
        number = self.account.sent_elsewhere(phone, text, device, at=at, **how)
        self.born["sent", number] = at
        flags = {
            "delivered": {"is_send_to_phone": 1, "is_send": 1, "is_delivered": 1},
            "failed": {"is_send_to_phone": 1, "is_error_send": 1},
            "cancelled": {"is_cancel": 1},
            "sent": {"is_send_to_phone": 1, "is_send": 1, "is_delivered": 0, "delivered": None},
            "accepted": {"is_send_to_phone": 0, "is_send": 0, "is_delivered": 0},
        }[status]
        self.account.change("sent", number, **flags)
        return number

    def days(self, count):
        self.time.passed_s += count * 86_400

    # What the program does

    def sync(self):
        puller = Puller(
            account=self.client, mirror=self.store, now=self.time.ours, history=self.mirrored
        )
        return Sync(self.client, self.store, puller, scope=self.scope)

    def pull(self):
        self.remember()
        for outcome in self.sync().complete():
            assert not outcome.failure, outcome.failure

    def remember(self):
        for box in BOXES:
            self.truth[box] |= {row["id"]: row["msg"] for row in self.account.rows(box)}

    def purge(self, **how):
        """One pass, as the daemon takes it."""
        self.remember()
        purger = Purger(
            self.client,
            self.store,
            self.log,
            self.sync(),
            Purge(**self.config),
            now=self.time.ours,
            **how,
        )
        return purger.once()

    def purge_all(self, **how):
        """Pass after pass, until nothing goes any more."""
        went = idle = 0
        while idle < 2:  # one pass may find only what is not shown
            purged = self.purge(**how)
            assert not purged.failure, purged.failure
            idle = 0 if purged.messages else idle + 1
            went += purged.messages
        return went

    def purge_until_it_stops(self, most=60):
        """Pass after pass, until nothing goes any more or one fails; return why."""
        for _ in range(most):
            purged = self.purge()
            if purged.failure:
                return str(purged.failure)
            if not purged.messages:
                return None
        raise AssertionError("it finds no end")

    # What is seen

    def ask(self, query, *parameters):
        return self.store._db.execute(query, parameters).fetchall()

    def column(self, query, *parameters):
        return [row[0] for row in self.ask(query, *parameters)]

    def there(self, box):
        return self.account.ids(box)

    def purged(self, box):
        return self.column(f"select id from {box} where purged_at is not null order by id")

    def old(self, box, days=None):
        """What was ever at the service, and is older than the limit by now."""
        days = days or self.config[f"{box}_days"]
        limit = self.time.now() - days * DAY
        return sorted(i for (there, i), at in self.born.items() if there == box and at < limit)

    def may_go(self, box):
        return [i for i in self.old(box) if (box, i) not in self.kept]

    def recent(self, box):
        """Messages of today and yesterday, in any zone."""
        since = self.time.now() - 2 * DAY
        return {i for (there, i), at in self.born.items() if there == box and at > since}

    def deletes(self):
        return [call for call in list(self.sandbox.requests) if call.method.startswith("del_")]

    def events(self, kind):
        return self.column("select data from events where kind = ? order by seq", kind)

    def check(self):
        """What holds whatever happened: all that ever was is here, and the last days are there."""
        for box in BOXES:
            here = dict(self.ask(f"select id, text from {box}"))
            missing = self.truth[box].keys() - here.keys()
            assert not missing, (box, missing)
            gone = self.recent(box) - set(self.there(box))
            assert not gone, (box, gone)


def grown(make, **how):
    """An account where slices are of a day by now, and much is still to go."""
    bench = make(**{"per_day": 10, "history": 20, "devices": 1} | how)
    for box in BOXES:
        bench.store.set_setting(f"purge_clean_{box}", "3")
    return bench
