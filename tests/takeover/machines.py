"""Two machines, each with the program, a Litestream and a place for its replica, and one account."""

import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path

from processes import TOKEN, Program, wait_until

from semysync.errors import ReplicaUnseen
from semysync.mirror.copies.replica import Litestream

LITESTREAM = shutil.which("litestream", path=str(Path(sys.executable).parent))

CONFIG = """
timezone = "+03:00"

[pull]
inbox_s = 1
sent_s = 1
devices_s = 1

[send]
settle_s = {settle_s}

[replica]
url = "{url}"
options = {{ {options} }}
socket = "{socket}"
program = "{program}"
"""

# A program of somebody else, which inserts a draft every so often until it is killed, and prints
# the number of each that was committed.
WRITER = """
import sqlite3, sys, time
path, name, pause_s = sys.argv[1], sys.argv[2], float(sys.argv[3])
conn = sqlite3.connect(path, isolation_level=None, timeout=30)
n = 0
while True:
    n += 1
    conn.execute(
        "insert into outbox (phone, text, client_key) values (?, ?, ?)",
        (f"+7920{n:07}", f"{name} {n}", f"{name}-{n}"),
    )
    print(n, flush=True)
    time.sleep(pause_s)
"""


class Machine(Program):
    """A machine: a home of its own, and a replica `name` among those of all machines."""

    def __init__(self, folder, name, sandbox, *, replicated=True, settle_s=2, url=None, options=()):
        home = folder / name
        home.mkdir()
        super().__init__(home)
        self.name = name
        self.place = folder / "replicas" / name
        self.url = url or f"file://{self.place}"
        self.options = dict(options)
        self.socket = home / "litestream.sock"
        shown = {"url": self.url, "socket": str(self.socket), "program": LITESTREAM}
        shown["options"] = ", ".join(f"{k} = {json.dumps(v)}" for k, v in self.options.items())
        rest = CONFIG.format(settle_s=settle_s, **shown)
        if not replicated:
            rest = rest.partition("[replica]")[0]
        self.configure(sandbox.base_url, TOKEN, api=rest)

    @contextmanager
    def replicating(self):
        """Run Litestream beside the daemon; killed at the end of the block, as by a power cut."""
        replica = {"url": self.url, "sync-interval": "250ms"} | self.options
        db = {"path": str(self.mirror), "replica": replica}
        db["monitor-interval"] = "100ms"
        config = self.home / "litestream.yml"
        control = {"enabled": True, "path": str(self.socket)}
        # Files that unite others come at the start alone, and of one kind: it is known when all are there.
        levels = [{"interval": "24h"}]
        config.write_text(json.dumps({"socket": control, "levels": levels, "dbs": [db]}))
        with (self.home / "litestream.log").open("a") as log:
            process = subprocess.Popen(
                [LITESTREAM, "replicate", "-config", config], stdout=log, stderr=log
            )
        try:
            wait_until(self._is_replicating, process)
            yield process
        finally:
            process.kill()
            process.wait()

    def _is_replicating(self):
        try:
            return Litestream(self.socket).last_sync_at(self.mirror) is not None
        except ReplicaUnseen:
            return False

    def has_a_snapshot(self):
        """Whether Litestream has made the snapshot of its start, and united what came before it."""
        return all(any((self.place / "ltx" / level).glob("*.ltx")) for level in ("1", "9"))

    def synced(self):
        """Let all that was committed so far come into the replica."""
        return Litestream(self.socket).synced(self.mirror)

    def take_over(self, other):
        """Become the sender in place of another machine; return what the command says."""
        ended = self.run("takeover", "--from", other.url, "--json")
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    def insert(self, phone, text, **columns):
        """Insert a draft, as any program does."""
        columns = {"phone": phone, "text": text} | columns
        marks = ", ".join("?" * len(columns))
        with closing(sqlite3.connect(self.mirror, timeout=30)) as conn, conn:
            conn.execute(
                f"insert into outbox ({', '.join(columns)}) values ({marks})", [*columns.values()]
            )

    @contextmanager
    def writer(self, name, pause_s):
        """Let a program insert drafts until the end of the block."""
        with (self.home / "inserted").open("w") as printed:
            process = subprocess.Popen(
                [sys.executable, "-c", WRITER, str(self.mirror), name, str(pause_s)],
                stdout=printed,
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def inserted(self):
        """How many drafts that program has committed."""
        return len((self.home / "inserted").read_text().split())

    def put_passes(self, by):
        """Let all passes have been at another time: `+1 year` than they were."""
        with closing(sqlite3.connect(self.mirror)) as conn, conn:
            conn.execute(
                "update passes set started_at = strftime('%Y-%m-%dT%H:%M:%f000Z', started_at, ?)",
                (by,),
            )

    def setting(self, key):
        found = self.ask(f"select value from settings where key = '{key}'")
        return found[0][0] if found else None

    def told(self):
        """What the events say of another machine that sends."""
        return [
            data for (data,) in self.ask("select data from events where kind = 'sending.fenced'")
        ]

    def drafts(self):
        """What became of each draft, by its text."""
        return dict(self.ask("select text, status from outbox"))


def made(sandbox):
    """The texts that really went out, each as often as it did."""
    return [effect["text"] for effect in sandbox.account.effects()]
