"""
The sender, the passes and the stand-in in one process, in simulated time, over real HTTP.

`Rig.run` does what the daemon does: steps of the sender, a look at the account where one is wanted
or due, and in between the time passes. SQLite's `now` is the simulated one on every connection of
the rig, so that the triggers, in whatever program, live in the same time as the sender.
"""

import json
import sqlite3
from collections import Counter
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache

import httpx
from blank import blank_mirror

from semysync.config import Send
from semysync.mirror.outbox.claims import Claims
from semysync.mirror.outbox.sending import Outbox
from semysync.mirror.store import Store
from semysync.model import Box
from semysync.passes.pull import Puller
from semysync.passes.send import Sender
from semysync.passes.sync import Sync
from semysync.sandbox import Sandbox, Switches
from semysync.service.client import Client
from semysync.service.pace import Pace
from semysync.times import utc_text

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
PHONE = "+79201234567"
LOOK_EVERY_S = 20  #: as `sent_s`
DESK, SHOP, CHAT = 352114, 352151, 352188  #: the first devices of a stand-in: SMS, SMS, WhatsApp

DAY_S = 86_400
LOST = {"fault": "drop", "method": "sms,sms_more"}

FINAL = {"delivered", "failed", "cancelled", "rejected", "expired"}
GONE_OUT = {"accepted", "on_phone", "sent", "delivered"}


def number(count):
    """One of many numbers."""
    return f"+7920555{count:04d}"


def after(seconds):
    """A time so long after the beginning, as the table has it."""
    return utc_text(NOON + timedelta(seconds=seconds))


class Time:
    """The simulated time: a clock that never jumps, and the time of day beside it."""

    def __init__(self):
        self.passed_s = 0.0
        self.jumped_s = 0.0  # of the time of day only

    def clock(self):
        return self.passed_s

    def now(self):
        """The service's time, and ours where our clock is right."""
        return NOON + timedelta(seconds=self.passed_s)

    def ours(self):
        return self.now() + timedelta(seconds=self.jumped_s)

    def strftime(self, form, *what):
        """SQLite's own, but for `now`."""
        moment = self.ours()
        stamp = moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}"
        if what == ("now",) and form == "%Y-%m-%dT%H:%M:%f000Z":
            return f"{stamp}000Z"
        return _strftime(form, *(stamp if part == "now" else part for part in what))


def _strftime(*what):
    marks = ", ".join("?" * len(what))
    return _calculator().execute(f"select strftime({marks})", what).fetchone()[0]


@cache
def _calculator():
    return sqlite3.connect(":memory:", check_same_thread=False)


class Faulty(httpx.HTTPTransport):
    """A transport that meets a closed door at the nth request from now."""

    def __init__(self, rig):
        super().__init__(verify=False)  # to read all certificates takes longer than a test
        self._rig = rig

    def handle_request(self, request):
        rig = self._rig
        rig.asked += 1
        if rig.asked == rig.refused_at:
            with rig.sandbox.refusing():
                return super().handle_request(request)
        return super().handle_request(request)


class Rig:
    """One account, one mirror, one sender, and the time they live in."""

    transport = Faulty
    region = None

    def __init__(
        self,
        folder,
        *,
        mirror=None,
        messages=30,
        devices=2,
        switches=None,
        timeout_s=10,
        **config,
    ):
        self.time = Time()
        self.timeout_s = timeout_s
        self.mirror = mirror or folder / "semysync.db"
        self.config = Send(**{"settle_s": 60} | config)
        self.sandbox = Sandbox(
            messages=messages,
            devices=devices,
            clock=self.time.now,
            switches=Switches(**switches or {}),
        )
        self.asked = 0
        self.refused_at = None
        self.looks = 0
        self.look_wanted = False
        self.looking = True
        self.host = "here"
        self.clock_known = True  # whether an answer bore a date
        self._stack = ExitStack()
        self._running = None

    # Life

    def __enter__(self):
        if not self.mirror.exists():
            self.mirror.write_bytes(blank_mirror())
        self._stack.enter_context(self.sandbox)
        self.start()
        return self

    def __exit__(self, *_):
        self.end()
        self._stack.close()

    def start(self, *, loaded=True):
        """Begin as the daemon does; with `loaded` the account is mirrored before."""
        self._running = stack = ExitStack()
        enter = stack.enter_context
        self.client, self.sending = (
            enter(
                Client(
                    self.sandbox.token,
                    base_url=self.sandbox.base_url,
                    timeout_s=self.timeout_s,
                    pace=Pace(clock=self.time.clock),
                    transport=self.transport(self),
                )
            )
            for _ in range(2)
        )
        self.store, self.sending_store = enter(self._store()), enter(self._store())
        self.outbox = enter(Outbox(self.mirror, region=self.region))
        self.claims = enter(Claims(self.mirror, host=self.host))
        self._simulate(self.outbox._conn)
        self.writer = self.connect()
        stack.callback(self.writer.close)
        self.sender = Sender(
            self.outbox,
            self.claims,
            self.sending,
            self.config,
            store=self.sending_store,
            ahead_s=self._ahead_s,
            hasten=self._hasten,
            clock=self.time.clock,
            now=self.time.ours,
        )
        if loaded:
            self.load()
        self.sender.start()

    def end(self):
        """End like a kill: nothing is tidied up but what the system tidies."""
        if self._running:
            self._running.close()
            self._running = None

    def again(self, **how):
        """End, and begin anew on the same mirror."""
        self.end()
        self.start(**how)

    def copy(self, name="copy.db"):
        """Return a copy as a backup makes it."""
        copy = self.mirror.with_name(name)
        with closing(sqlite3.connect(self.mirror)) as conn:
            conn.execute("vacuum into ?", (str(copy),))
        return copy

    def put_back(self, copy, *, claims=True):
        """Put a copy in the mirror's place while nobody works on it."""
        self.end()
        for name in ("-wal", "-shm"):
            self.mirror.with_name(self.mirror.name + name).unlink(missing_ok=True)
        self.mirror.write_bytes(copy.read_bytes())
        if not claims:
            self.mirror.with_name(f"{self.mirror.name}-claims").unlink()

    def connect(self, mirror=None):
        """A connection as any program has one, but in the time of the test."""
        conn = sqlite3.connect(mirror or self.mirror, isolation_level=None)
        self._simulate(conn)
        return conn

    def _store(self):
        store = Store.open(self.mirror)
        self._simulate(store._db.conn)
        return store

    def _simulate(self, conn):
        conn.create_function("strftime", -1, self.time.strftime)

    def _hasten(self):
        self.look_wanted = True

    def _ahead_s(self):
        return self.time.jumped_s if self.clock_known else None

    # What a person does

    def draft(self, text="Hello", phone=PHONE, **columns):
        """Insert a draft; return its number."""
        columns = {"phone": phone, "text": text} | columns
        names = ", ".join(columns)
        marks = ", ".join("?" * len(columns))
        return self.writer.execute(
            f"insert into outbox ({names}) values ({marks})", list(columns.values())
        ).lastrowid

    def set(self, draft_id, status):
        self.writer.execute("update outbox set status = ? where id = ?", (status, draft_id))

    def cancel(self, draft_id):
        self.set(draft_id, "cancelling")

    # What is seen

    def ask(self, query, *parameters):
        return self.writer.execute(query, parameters).fetchall()

    def of(self, draft_id, column="status"):
        return self.ask(f"select {column} from outbox where id = ?", draft_id)[0][0]

    def statuses(self):
        return [row[0] for row in self.ask("select status from outbox order by id")]

    def events(self, draft_id=None):
        """The kinds of the events of drafts, of one or of all, in their order."""
        rows = self.ask("select kind, data from events where kind like 'draft.%' order by seq")
        return [
            kind.removeprefix("draft.")
            for kind, data in rows
            if draft_id in {None, json.loads(data)["draft_id"]}
        ]

    def setting(self, key):
        found = self.ask("select value from settings where key = ?", key)
        return found[0][0] if found else None

    def made(self):
        """The texts of the messages that the service really made, in their order."""
        return [effect["text"] for effect in self.sandbox.account.effects()]

    def twice(self):
        """Texts that were made more than once."""
        return [text for text, times in Counter(self.made()).items() if times > 1]

    def requests(self, *methods):
        """The calls of sms and sms_more so far, or of other methods."""
        wanted = methods or ("sms", "sms_more")
        return [call for call in list(self.sandbox.requests) if call.method in wanted]

    def batches(self):
        """The texts of each request to send."""
        return [
            [item["msg"] for item in call.params["data"]]
            if call.method == "sms_more"
            else [call.params["msg"]]
            for call in self.requests()
        ]

    # Time

    def load(self):
        """Mirror the account, as the daemon does at its start."""
        for outcome in self._sync(self.store).once():
            assert not outcome.failure, outcome.failure

    def look(self):
        """Look at all that was sent; the sender is told where it proved complete."""
        began = self.time.clock()
        outcome = self.pull()
        if outcome.complete and not outcome.failure:
            self.looks += 1
            self.sender.looked(began)
        return outcome

    def pull(self):
        """Pull what was sent, but tell nobody: as a look that fails at another device."""
        return self._sync(self.store).box(Box.SENT, everyone=True)

    def _sync(self, store):
        puller = Puller(account=self.client, mirror=store, now=self.time.now)
        return Sync(self.client, store, puller, scope="account")

    def steps(self):
        """Let the sender do all that there is to do now."""
        for _ in range(10_000):
            if not self.sender.step():
                return
        raise AssertionError("the sender finds no end")

    def run(self, seconds=None, *, until=None, most_s=4000):
        """Let time pass with all that the daemon does in it: for so long, or until something holds."""
        ends = self.time.passed_s + (most_s if seconds is None else seconds)
        next_look = self.time.passed_s
        while True:
            self.steps()
            if until and until():
                return
            if self.look_wanted or self.time.passed_s >= next_look:
                self.look_wanted = False
                if self.looking:
                    self.look()
                next_look = self.time.passed_s + LOOK_EVERY_S
                self.steps()
                if until and until():
                    return
            rest = ends - self.time.passed_s
            if rest <= 0:
                assert not until, f"it did not come: {self.shown()}"
                return
            pause = min(rest, max(0.25, self.sender.next_time_s()), next_look - self.time.passed_s)
            self.time.passed_s += min(pause, 2.0) if self.look_wanted else pause

    def shown(self):
        return self.ask("select id, status, sent_id, attempts, next_attempt_at, error from outbox")

    def until(self, draft_id, *statuses, **how):
        """Run until a draft stands there; return what stands in `error`."""
        self.run(until=lambda: self.of(draft_id) in statuses, **how)
        return self.of(draft_id, "error")

    def until_out(self, **how):
        """Run until the service has named a message for every draft."""
        self.run(until=lambda: all(status in GONE_OUT for status in self.statuses()), **how)

    def until_out_but(self, *waiting):
        """The same, but for drafts that are to wait."""
        ids = [row[0] for row in self.ask("select id from outbox") if row[0] not in waiting]
        self.run(until=lambda: all(self.of(draft) in GONE_OUT for draft in ids))

    @contextmanager
    def switched(self, **switches):
        """Set switches while a block runs."""
        before = {name: getattr(self.sandbox.switches, name) for name in switches}
        self.sandbox.set(**switches)
        yield
        self.sandbox.set(**before)
