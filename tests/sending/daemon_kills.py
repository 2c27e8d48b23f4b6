"""The real daemon, killed at random moments while two programs insert drafts."""

import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter

from processes import TOKEN, Program, wait_until

from semysync.sandbox import Sandbox

GONE_OUT = ("accepted", "on_phone", "sent", "delivered")
SEED = 4

# A program of somebody else, with what SQLite has by itself: it waits five seconds for another.
WRITER = """
import sqlite3, sys, time
path, name, drafts, pause_s = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
conn = sqlite3.connect(path, isolation_level=None)
for n in range(drafts):
    conn.execute(
        "insert into outbox (phone, text) values (?, ?)", (f"+7920{name}{n:05}", f"{name} {n}")
    )
    time.sleep(pause_s)
"""

CONFIG = """
[pull]
sent_s = 1
[send]
settle_s = 1
lost_answer = "{lost_answer}"
"""


def writer(program, name, drafts, pause_s):
    """Start a program that inserts drafts."""
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(program.mirror), name, str(drafts), str(pause_s)],
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def kill_the_daemon(folder, kills, *, lost_answer="resend", drafts=None, seed=SEED):
    """
    Kill the daemon so often while two programs insert drafts; each is sent once in the end.

    No writer is told that the database is locked. With `hold` what the account does not show is
    sent by a person.
    """
    chance = random.Random(seed)
    drafts = drafts or 5 * kills
    program = Program(folder)
    with Sandbox(messages=60, devices=2, token=TOKEN) as sandbox:
        program.configure(sandbox.base_url, rest=CONFIG.format(lost_answer=lost_answer))
        program.mirror_here()
        writers = [writer(program, name, drafts, kills * 0.7 / drafts) for name in ("01", "02")]
        try:
            for _ in range(kills):
                _start_and_kill(program, sandbox, chance)
            for process in writers:
                _, complaints = process.communicate(timeout=120)
                assert (process.returncode, complaints) == (0, "")
        finally:
            for process in writers:
                process.kill()
        _run_to_the_end(program, sandbox)
        made = Counter(effect["text"] for effect in sandbox.account.effects())
    wanted = Counter(f"{name} {n}" for name in ("01", "02") for n in range(drafts))
    assert made - wanted == Counter(), f"sent twice: {made - wanted}"
    assert wanted - made == Counter(), f"lost: {wanted - made}"


def _start_and_kill(program, sandbox, chance):
    """Kill it while it starts, or some requests later, or a moment after one of those."""
    wanted = len(sandbox.requests) + chance.randint(0, 12)
    with program.running("run") as process:
        wait_until(lambda: len(sandbox.requests) >= wanted or process.poll() is not None)
        time.sleep(chance.choice([0, 0, 0.001, 0.005, 0.02, 0.1]) * chance.random())
        process.kill()
        assert process.wait() == -signal.SIGKILL


def _run_to_the_end(program, sandbox):
    """Let the daemon run until each draft has its message; where a person must decide, decide."""
    with program.running("run") as process:
        conn = sqlite3.connect(program.mirror, isolation_level=None, timeout=30)
        ends = time.monotonic() + 300
        while conn.execute(
            "select exists (select 1 from outbox where status not in (?, ?, ?, ?))", GONE_OUT
        ).fetchone()[0]:
            assert process.poll() is None
            assert time.monotonic() < ends, conn.execute(
                "select status, count(*) from outbox group by 1"
            ).fetchall()
            there = {effect["text"] for effect in sandbox.account.effects()}
            for draft, text in conn.execute(
                "select id, text from outbox"
                " where status = 'unknown' and instr(error, 'to queued to send')"
            ).fetchall():
                assert text not in there, "its message is there, and a person is asked"
                conn.execute(
                    "update outbox set status = 'queued' where id = ? and status = 'unknown'",
                    (draft,),
                )
            time.sleep(0.2)
        conn.close()
