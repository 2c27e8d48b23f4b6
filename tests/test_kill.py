"""`sync` is killed again and again, at random moments, and goes on where it was."""

import random
import signal
import sqlite3
from contextlib import closing

from processes import TOKEN, Program, no_further, truth, wait_until

from semysync.sandbox import Sandbox

KILLS = 15
SEED = 2


def test_a_load_that_is_killed_again_and_again_ends_with_the_whole_account(tmp_path):
    chance = random.Random(SEED)
    program = Program(tmp_path)
    with Sandbox(messages=5000, devices=2, token=TOKEN) as sandbox:
        sandbox.set(cap=150, order=chance.choice(["asc", "desc"]), delay_s=0.002)
        program.configure(sandbox.base_url)

        killed = 0
        while killed < KILLS:
            killed += killed_after(chance.randint(1, 22), program, sandbox, chance)
            assert sound(program)
        ended = program.run("sync")

        assert ended.returncode == 0
        assert sound(program)
        for box in ("inbox", "sent"):
            assert program.ask(f"select id, text from {box} order by id") == truth(sandbox, box)
        assert program.ask("select count(*) from conflicts") == [(0,)]


def killed_after(requests, program, sandbox, chance):
    """Start `sync` and kill it after so many requests; tell whether it had not ended by itself."""
    with no_further(sandbox, requests) as is_there, program.running("sync") as process:
        wait_until(lambda: is_there() or process.poll() is not None)
        spin(chance.randint(0, 20_000))
        process.kill()
        return process.wait() == -signal.SIGKILL


def spin(turns):
    """Let a moment pass, so that the kill meets whatever is done with an answer."""
    for _ in range(turns):
        pass


def sound(program):
    """Nothing is stored half: SQLite finds no fault, and no mark is above what is there."""
    if not program.mirror.exists():
        return True
    with closing(sqlite3.connect(program.mirror)) as conn:
        if conn.execute("select count(*) from sqlite_master").fetchone()[0] == 0:
            return True  # killed before the tables were made
        marks = conn.execute(
            """
            select count(*) from marks
             where last_id > floor_id
               and last_id not in (select id from inbox union all select id from sent)
            """
        ).fetchone()[0]
        return conn.execute("pragma integrity_check").fetchone()[0] == "ok" and marks == 0
