"""The program as a person runs it: processes of their own, in a home that holds nothing else."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from random import SystemRandom
from threading import Event

from blank import lay_blank
from born import MEASURED, USUAL, Born, run
from nursery import like_anybody

from semysync.cli.pulling import make_sync, open_store
from semysync.config import load
from semysync.service.connecting import client_for

TOKEN = "7f3a-very-secret-51c9"
QUICK = "[pull]\ninbox_s = 1\nsent_s = 1\ndevices_s = 1\n"
PATIENCE_S = 60  # how long a test waits for what must happen soon: longer than any wait of ours
LOCAL_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")  # of the system's own choice
CHANCE = SystemRandom()  # not the one that Hypothesis begins anew, in each worker alike

# The program, but it waits a second for another writer: half a minute is too long for a test.
IMPATIENT = """
import semysync.mirror.file
semysync.mirror.file.BUSY_S = 1
from semysync.cli import main
main()
"""


# The program, but what takes seconds, so that people and services are spared, takes a part of it.
HASTY = """
import semysync.daemon.loop as loop
import semysync.daemon.process as process
import semysync.daemon.sending as sending
import semysync.daemon.tempo as tempo
import semysync.mirror.file
semysync.mirror.file.BUSY_S = 0.5
loop.ANSWER_S, loop.END_S, loop.REST_S, process.BEAT_S, sending.AGAIN_S = 1, 1, 0.1, 0.1, 0.2
tempo.FIRST_S, tempo.FIRST_OPEN_S, tempo.LONGEST_S = 0.1, 0.1, 0.5
from semysync.cli import main
main()
"""


class Program:
    """`semysync` with an environment that is only what it needs."""

    def __init__(self, home):
        self.home = home
        self.mirror = home / "data" / "semysync" / "semysync.db"
        self.config = home / "config" / "semysync" / "config.toml"
        self.env = {
            **USUAL,
            "PATH": os.environ["PATH"],
            "TERM": "xterm",
            "HOME": str(home),
            "TMPDIR": str(home),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_DATA_HOME": str(home / "data"),
        } | MEASURED

    def configure(self, base_url, token=TOKEN, *, api="", rest=""):
        """Write the configuration where it is looked for."""
        self.config.parent.mkdir(parents=True, exist_ok=True)
        self.config.write_text(
            f'[api]\nbase_url = "{base_url}"\ntoken = "{token}"\n{api}\n{rest}', encoding="utf-8"
        )

    def run(self, *args, code=None, given=None, start=Born, **env):
        """
        Run a command to its end, and see that it ended as it should.

        With `start=Popen` the interpreter starts anew, and imports what it needs (see `Born`).
        """
        ended = run(
            self._command(args, code),
            env=self.env | env,
            cwd=self.home,
            encoding="utf-8",
            preexec_fn=like_anybody,
            given=given,
            start=start,
        )
        assert "Traceback" not in ended.stderr, ended.stderr
        return ended

    def mirror_here(self):
        """Bring the mirror up to date in this process: quicker, where it is only a beginning."""
        if not self.mirror.exists():
            lay_blank(self.mirror)
        settings = load(self.config, {})
        with client_for(settings, settings.token({})) as client, open_store(self.mirror) as store:
            outcomes = make_sync(settings, client, store, lambda _: None).once()
        assert not any(outcome.failure for outcome in outcomes)

    @contextmanager
    def running(self, *args, code=None, prepare=None, start=Born, **env):
        """
        Start a command, and kill it at the end of the block if it still runs.

        `prepare` is called in the process before it becomes the program.
        """
        with start(
            self._command(args, code),
            env=self.env | env,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            preexec_fn=prepare,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def ask(self, query):
        """Ask the mirror in the usual place."""
        conn = sqlite3.connect(f"file:{self.mirror}?mode=ro", uri=True)
        try:
            return conn.execute(query).fetchall()
        finally:
            conn.close()

    @staticmethod
    def _command(args, code):
        return [sys.executable, *(["-c", code] if code else ["-m", "semysync"]), *map(str, args)]


def wait_until(true, process=None):
    """Wait until something holds; fail when it does not come, or the process has ended."""
    ends = (began := time.monotonic()) + PATIENCE_S
    while not true():
        if process and process.poll() is not None and not true():
            raise AssertionError(f"it ended before: {process.communicate()}")
        assert time.monotonic() < ends, "it did not come"
        # To look takes a fifth of the time at most, so that what is waited for has the rest.
        time.sleep(min(max(4 * (time.monotonic() - began), 0.002), 0.05))
        began = time.monotonic()


def end(process, number=signal.SIGTERM):
    """Send a signal and wait for the end; return the exit code and what was logged."""
    process.send_signal(number)
    _, logged = process.communicate(timeout=PATIENCE_S)
    return process.returncode, logged


@contextmanager
def no_further(sandbox, requests):
    """
    Let nobody come further than so many requests during a block: the next waits for its answer.

    The block is given whether so many were made.
    """
    wanted, over = len(sandbox.requests) + requests, Event()
    sandbox.before_call = lambda _: len(sandbox.requests) <= wanted or over.wait(PATIENCE_S)
    try:
        yield lambda: len(sandbox.requests) >= wanted
    finally:
        sandbox.before_call = None
        over.set()


def free_port():
    """Return a port that nobody listens at, nor is given who leaves the choice to the system."""
    ports = range(10_000, int(LOCAL_PORTS.read_text().split()[0])) or range(10_000, 65_536)
    while True:
        port = CHANCE.choice(ports)
        with suppress(OSError), socket.socket() as bound:
            bound.bind(("127.0.0.1", port))
            return port


def truth(sandbox, box):
    """What the account holds: ids and texts."""
    return [(row["id"], row["msg"]) for row in sandbox.account.rows(box)]


def asked(program, query):
    """What the mirror answers; nothing while there is none, or no such table in it."""
    try:
        return program.ask(query)
    except sqlite3.OperationalError:
        return []


def mirrored(program, box):
    """What the mirror holds: ids and texts."""
    return asked(program, f"select id, text from {box} order by id")


def has_all(program, sandbox):
    """Tell whether the mirror holds what the account does."""
    return all(mirrored(program, box) == truth(sandbox, box) for box in ("inbox", "sent"))
