"""
A stand-in with all that goes on there, a mirror, and the program that is killed again and again.

Messages come in and go out, phones report, two programs insert drafts, webhooks call, hooks are
told, the purge is on, and everything that the daemon does once an hour or a day it does each second.
`World.live` is one life of a process, `World.rest` brings all to rest without a kill, and `truths`
says what must hold then.
"""

import json
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from threading import Event, Thread

from born import NURSERY, Born, Nursery
from mortal import Box
from processes import PATIENCE_S, TOKEN, Program, free_port, wait_until
from receiving import Receiver

from semysync.sandbox import Sandbox

HERE = Path(__file__).parent

REST_S = 300  #: how long all may take to come to rest
TOLD = ("message.received", "draft.accepted")  #: what hooks hear of, each in a process of its own
SECRET = "a-secret-of-the-address-0123"

CONFIG = """
[pull]
inbox_s = 1
sent_s = 1
devices_s = 1
account_s = 1
[send]
settle_s = 1
batch = 5
[purge]
enabled = true
every_s = 1
inbox_days = 3
sent_days = 3
max_per_pass = 20
needs_copy = "{needs_copy}"
[backup]
path = "{home}/copies"
keep = 2
[http]
listen = "127.0.0.1:{port}"
webhook_secrets = ["{secret}"]
[[hook]]
name = "program"
on = {told}
run = ["/bin/sh", "-c", "cat >> {home}/heard"]
[[hook]]
name = "post"
on = {told}
url = "{receiver}"
[log]
format = "json"
level = "info"
"""

# A program of somebody else, with what SQLite has by itself: it waits five seconds for another.
WRITER = """
import sqlite3, sys, time
path, name, pause_s = sys.argv[1], sys.argv[2], float(sys.argv[3])
conn = sqlite3.connect(path, isolation_level=None)
n = 0
for _ in sys.stdin:
    for _ in range(3):
        phone = f"+7920{name}{n // 2:05}"
        conn.execute("insert into outbox (phone, text) values (?, ?)", (phone, f"{name} {n}"))
        n += 1
        time.sleep(pause_s)
    print(n, flush=True)
"""


# The program, begun by `hurried`.
LIFE = """
import sys
sys.path.insert(0, {here!r})
import hurried
hurried.live({box!r}, {mutation!r})
"""


class Life(Born):
    """A process of the program."""

    def has_ended(self, within_s=0.0):
        with suppress(subprocess.TimeoutExpired):
            self.wait(within_s)
        return self.returncode is not None

    def end(self, within_s=60):
        """Wait for it; return its exit code, negative for a signal."""
        return self.wait(within_s)


class World:
    """What the lives share; a context, which takes its processes with it."""

    def __init__(
        self, folder, *, seed=1, messages=80, tracing=None, mutation="", needs_copy="auto"
    ):
        self.random = random.Random(seed)
        self.program = Program(folder)
        self.home = folder
        self.mirror = self.program.mirror
        self.box = Box(folder / "box")
        self.log = folder / "log"
        self.sandbox = Sandbox(messages=messages, devices=2, token=TOKEN, seed=seed)
        self.receiver = Receiver()
        self.port = free_port()
        self.drafts = {}  # how many each writer has inserted
        self._writers = {}
        self._tracing, self._mutation = tracing, mutation
        self._nursery = NURSERY
        self._lives = []
        self._needs_copy = needs_copy
        self.forgotten = set()  # numbers of whom nothing is to be known any more
        self._stopping = Event()
        self._flowing, self._calm = Event(), Event()
        self._came = 0  # messages and turns of writers

    def __enter__(self):
        self.sandbox.start()
        self.sandbox.set(
            phone_speed=40,
            answers="on",
            cap=self.random.choice((0, 8, 30)),
            order=self.random.choice(("asc", "desc")),
        )
        self.program.configure(
            self.sandbox.base_url,
            api="requests_per_minute = 60000\ntimeout_s = 3",
            rest=CONFIG.format(
                home=self.home,
                port=self.port,
                secret=SECRET,
                receiver=self.receiver.url,
                needs_copy=self._needs_copy,
                told=json.dumps(TOLD),
            ),
        )
        webhook = f"http://127.0.0.1:{self.port}/webhook/{SECRET}"
        self.sandbox.webhooks.set(inbox=f"{webhook}/inbox", status=f"{webhook}/status")
        self._history = {
            box: {row["id"]: row for row in self.sandbox.account.rows(box)}
            for box in ("inbox", "sent")
        }
        if self._tracing:
            self._nursery = Nursery(self._tracing(self.home / "nursery.trace"))
        self._traffic = Thread(target=self._flow, daemon=True)
        self._traffic.start()
        return self

    def somebody(self):
        """
        Choose a number of the history, to be forgotten; one that is written in one way only.

        Without a region a number as dialled within a country is another contact, and stays.
        """
        with closing(self.reader()) as conn:
            rows = conn.execute(
                "select max(contact) from contacts group by substr(contact, -9)"
                " having count(*) = 1 and max(contact) in (select contact from inbox where id <= ?)"
                " order by 1",
                (max(self._history["inbox"]),),
            ).fetchall()
        (number,) = self.random.choice(rows)
        self.forgotten.add(_key(number))
        return number

    def there(self, box):
        """What the account holds now of those who are not forgotten."""
        rows = self.sandbox.account.rows(box)
        return {row["id"]: row for row in rows if not self._is_forgotten(row)}

    def ever(self, box):
        """The text of each message that the account ever held, of those who are not forgotten."""
        rows = [*self._history[box].values(), *self.sandbox.account.rows(box)]
        return {row["id"]: row["msg"] for row in rows if not self._is_forgotten(row)}

    def _is_forgotten(self, row):
        return _key(row["phone"]) in self.forgotten

    def __exit__(self, *_):
        self._stopping.set()
        self._flowing.set()
        self.end_writers()
        for life in self._lives:
            life.kill()
            life.wait()
        if self._tracing:
            self._nursery.close()
        self._traffic.join()
        self.sandbox.stop()
        self.receiver.close()

    def _command(self, name, *python):
        """Return how to start a process, traced where that is wanted."""
        tracing = self._tracing(self.home / f"{name}.trace") if self._tracing else []
        return [*tracing, sys.executable, *python]

    def traces(self):
        return sorted(self.home.glob("*.trace"))

    # Lives

    def start(self, *args, **env):
        """Start a process: the daemon, or another command."""
        self.box.clear()
        args = args or ("run",)
        complaints = self.log if args == ("run",) else self.home / "complaints"
        code = LIFE.format(here=str(HERE), box=str(self.box.path), mutation=self._mutation)
        with (self.home / "out").open("a") as out, complaints.open("a") as log:
            life = Life(
                self.program._command(args, code),
                nursery=self._nursery,
                env=self.program.env | env,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
            )
        self._lives.append(life)
        return life

    def rest(self):
        """Let the daemon run until nothing is left to do, and end it; return what is not so."""
        self.ebb()
        self.box.plan()
        for _ in range(10):
            life = self.start()
            why = self.quiet(life)
            life.send_signal(signal.SIGTERM)
            if code := life.end():
                return [f"the daemon ended with {code} at rest: {why}"]
            # A purge may be stopped between a deletion and its record; the next daemon settles it.
            if why or not (why := self.unrest()):
                break
        return [why] if why else []

    def quiet(self, life, within_s=REST_S):
        """Wait until nothing is left to do; return what is, where that does not come."""
        ends = time.monotonic() + within_s
        asked = len(self.sandbox.requests)
        while why := self.unrest() or self._unasked(asked):
            if life.has_ended(0.05):
                return f"the daemon ended with {life.returncode}: {why}"
            if time.monotonic() > ends:
                return why
        return None

    def unrest(self):
        """Say what is still to be done; None where all is at rest."""
        try:
            with closing(self.reader()) as conn:
                return self._unrest(conn)
        except sqlite3.Error as exc:
            return f"the mirror cannot be read: {exc}"

    def _unasked(self, before):
        """A daemon that has only begun has not looked yet."""
        asked = {call.method for call in self.sandbox.requests[before:]}
        return None if {"inbox_sms", "outbox_sms", "user"} <= asked else "it has not looked yet"

    def _unrest(self, conn):
        def one(query):
            return conn.execute(query).fetchone()[0]

        if not one("select exists (select 1 from sqlite_master where name = 'followers')"):
            return "there are no tables yet"
        waiting = conn.execute(
            "select status, count(*) from outbox where status not in"
            " ('delivered', 'failed', 'cancelled') group by 1"
        ).fetchall()
        if waiting:
            return f"drafts are under way: {waiting}"
        if one("select count(*) from marks where loaded_at is null") or not one(
            "select count(*) from marks"
        ):
            return "the history is not loaded"
        for box in ("inbox", "sent"):
            there = {(row["id"], row["msg"]) for row in self.there(box).values()}
            here = set(conn.execute(f"select id, text from {box} where purged_at is null"))
            if there != here:
                return f"{box}: {len(there - here)} are missing, {len(here - there)} too many"
        on_their_way = conn.execute(
            "select id from sent where status not in ('delivered', 'failed', 'cancelled')"
        )
        if {i for (i,) in on_their_way} - self._history["sent"].keys():
            return "messages are on their way"
        behind = one(
            "select count(*) from followers where position <"
            " (select max(seq) from events where kind in ('{}', '{}'))".format(*TOLD)
        )
        return f"{behind} hooks are behind" if behind else None

    def reader(self):
        conn = sqlite3.connect(f"file:{self.mirror}?mode=ro", uri=True, timeout=30)
        conn.execute("select count(*) from sqlite_master")
        return conn

    # Traffic

    def flow(self, least=0):
        """Let traffic flow; return once so much has come."""
        came = self._came
        self._calm.clear()
        self._flowing.set()
        wait_until(lambda: self._came >= came + least)

    def ebb(self):
        """Let no traffic flow any more."""
        self._flowing.clear()
        assert self._calm.wait(PATIENCE_S), "a writer does not come to an end"

    def _flow(self):
        chance = random.Random(self.random.random())
        while not self._stopping.is_set():
            if not self._flowing.is_set():
                self._calm.set()
                self._flowing.wait()
                continue
            number = f"+7921{chance.randrange(10**7):07}"
            match chance.randrange(4):
                case 0:
                    self.sandbox.account.receive(number, f"in {chance.random()}")
                case 1:
                    self.sandbox.account.sent_elsewhere(number, f"elsewhere {chance.random()}")
                case _:
                    self._insert(chance.choice(("01", "02")))
            self._came += 1
            self._stopping.wait(chance.choice((0.01, 0.1, 0.3)))

    def _insert(self, name):
        """Let a writer insert some drafts, where there is a mirror."""
        if name not in self._writers:
            try:
                with closing(self.reader()) as conn:
                    if not conn.execute(
                        "select 1 from sqlite_master where name = 'outbox_keys'"
                    ).fetchone():
                        return
            except sqlite3.Error:
                return
            with (self.home / "writers").open("ab") as complaints:
                self._writers[name] = subprocess.Popen(
                    self._command(f"writer-{name}", "-c", WRITER, str(self.mirror), name, "0.002"),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=complaints,
                    encoding="utf-8",
                )
        writer = self._writers[name]
        with suppress(OSError, ValueError):
            writer.stdin.write("\n")
            writer.stdin.flush()
            self.drafts[name] = int(writer.stdout.readline())

    def end_writers(self):
        """Let the writers end, which they do by themselves when nobody asks them any more."""
        for writer in self._writers.values():
            with suppress(OSError):
                writer.stdin.close()
            writer.wait()
            writer.stdout.close()
        self._writers = {}

    @property
    def complaints(self):
        """What the writers were told by SQLite."""
        path = self.home / "writers"
        return path.read_text() if path.exists() else ""


def _key(phone):
    """What numbers of one person have in common; a name is one by itself."""
    return re.sub(r"\D", "", phone)[-9:] or phone


def cleared(folder):
    """Return an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
