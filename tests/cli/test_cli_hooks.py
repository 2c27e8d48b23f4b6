"""`semysync hooks`: what it shows, tries and repeats, through the real process."""

import json
import sqlite3
from contextlib import closing

import pytest
from drafting import change, draft
from processes import TOKEN, Program, asked, end, wait_until

from semysync.sandbox import Sandbox

HOOKS = """
[[hook]]
name = "log"
on = ["message.*", "draft.queued"]
match = { contact = "+79201234567" }
run = ["sh", "-c", "cat >> log; echo $SEMYSYNC_SEQ"]

[[hook]]
name = "broken"
on = ["draft.*"]
run = ["false"]
"""


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(messages=20, devices=1, token=TOKEN) as stand_in:
        yield stand_in


@pytest.fixture
def program(tmp_path, sandbox):
    program = Program(tmp_path)
    hooks = HOOKS.replace("log;", f"{tmp_path}/log;")
    program.configure(sandbox.base_url, rest=f"[pull]\ninbox_s = 1\n{hooks}")
    return program


def told(program, name="log"):
    return asked(program, f"select seq, status from deliveries where follower = '{name}'")


def test_the_whole_way_of_a_hook(program, tmp_path):
    program.mirror_here()
    before = program.run("hooks")
    with program.running("run") as process:
        wait_until(lambda: program.ask("select * from followers"), process)
        draft(program)
        wait_until(lambda: told(program) and told(program, "broken"), process)
        seq = told(program)[0][0]

        shown = program.run("hooks")
        facts = json.loads(program.run("hooks", "--json").stdout)
        replayed = program.run("hooks", "replay", "log", "--from", seq)
        lines = (tmp_path / "log").read_text().count('"draft.queued"')
        wait_until(
            lambda: (tmp_path / "log").read_text().count('"draft.queued"') > lines or lines > 1
        )

        code, logged = end(process)

    assert before.returncode == 0
    assert "begins with the daemon" in before.stdout
    assert shown.returncode == 1  # a delivery fails
    assert "run sh" in shown.stdout
    assert "it ended with 1" in shown.stdout
    assert {hook["name"] for hook in facts["hooks"]} == {"log", "broken"}
    assert facts["deliveries"][0]["status"] == "failing"
    assert replayed.stdout.startswith(f"log goes on with event {seq}, and repeats what is up to ")
    assert replayed.stderr == ""
    assert code == 0
    assert "hook.failing" in logged
    assert "Hello" not in logged


def test_a_hook_that_is_removed_is_shown_and_goes_on_when_it_is_back(program, sandbox):
    program.mirror_here()
    change(program, "insert into followers values ('former', 0, '2026-01-01')")

    shown = program.run("hooks")

    assert "not configured" in shown.stdout


def test_a_hook_is_tried_without_daemon_and_mirror(program, tmp_path):
    well, broken, none = (program.run("hooks", "test", name) for name in ("log", "broken", "no"))

    assert (well.returncode, well.stdout) == (0, "0\nlog: done\n")
    assert json.loads((tmp_path / "log").read_text())["kind"] == "message.received"
    assert (broken.returncode, broken.stderr) == (1, "semysync: broken: it ended with 1\n")
    assert none.returncode == 2
    assert "known: log, broken" in none.stderr


def test_what_cannot_be_repeated_is_told(program):
    program.mirror_here()

    early = program.run("hooks", "replay", "log", "--from", 1)
    change(program, "insert into followers values ('log', 3, '2026-01-01')")
    ahead = program.run("hooks", "replay", "log", "--from", 7)
    draft(program)
    change(program, "update followers set position = 1")
    change(program, "insert into events (kind) values ('purge.done')")
    change(program, "delete from events where seq = 1")
    change(program, "update followers set position = 2")
    some = program.run("hooks", "replay", "log", "--from", 1)
    next_one = program.run("hooks", "replay", "log", "--from", 2)

    assert early.returncode == ahead.returncode == 2
    assert "has not begun yet" in early.stderr
    assert "log is at event 3, and comes to 7 by itself" in ahead.stderr
    assert some.returncode == 0
    assert "the events before 2 are gone" in some.stderr
    assert "no daemon runs" in some.stderr
    assert some.stdout == "log goes on with event 2, and repeats what is up to 2\n"
    assert next_one.stdout == "log tries event 2 again, without a wait\n"


def test_without_hooks_it_says_how_to_make_one(program, sandbox):
    program.configure(sandbox.base_url)
    program.mirror_here()

    assert "There are no hooks" in program.run("hooks").stdout


@pytest.fixture
def behind(program):
    """A hook that has three events before it, and cannot deliver the first."""
    program.mirror_here()
    with closing(sqlite3.connect(program.mirror, isolation_level=None)) as conn:
        for _ in range(3):
            conn.execute("insert into events (kind) values ('draft.held')")
        conn.execute("insert into followers values ('broken', 0, '2026-01-01')")
        conn.execute(
            "insert into deliveries values ('broken', 1, 'draft.held', 'failing', 4, "
            "'2026-01-01', '2026-01-01', '2026-01-02', 'it ended with 1', null, '')"
        )
    return program


def test_an_event_that_always_fails_is_skipped_and_kept_as_dead(behind):
    skipped = behind.run("hooks", "skip", "broken")
    again = behind.run("hooks", "skip", "broken")

    assert (skipped.returncode, skipped.stdout) == (0, "broken goes on behind event 1\n")
    assert "no daemon runs" in skipped.stderr
    assert again.returncode == 2
    assert "broken stands at no event that fails" in again.stderr
    assert behind.ask("select position from followers") == [(1,)]
    assert behind.ask("select status, next_at, error from deliveries") == [
        ("dead", None, "skipped by hand: it ended with 1")
    ]


def test_what_was_skipped_is_shown_and_no_alarm_and_what_was_given_up_is_one(behind):
    behind.run("hooks", "skip", "broken")
    skipped = behind.run("hooks")
    with closing(sqlite3.connect(behind.mirror, isolation_level=None)) as conn:
        conn.execute(
            "insert into deliveries values ('broken', 2, 'draft.held', 'dead', 60, "
            "'2026-01-01', '2026-01-03', null, 'it ended with 1', null, '')"
        )
    given_up = behind.run("hooks")

    assert (skipped.returncode, given_up.returncode) == (0, 1)
    assert "skipped by hand: it ended with 1" in skipped.stdout


def test_of_many_events_that_are_not_delivered_the_last_are_shown_and_the_rest_counted(behind):
    with closing(sqlite3.connect(behind.mirror, isolation_level=None)) as conn:
        conn.execute(
            """insert into deliveries
               with recursive n(i) as (select 2 union all select i + 1 from n where i < 24)
               select 'broken', i, 'draft.held', 'dead', 60, '2026-01-01', '2026-01-03', null,
                      'it ended with 1', null, '' from n"""
        )

    shown = behind.run("hooks").stdout.splitlines()

    assert shown[-1] == "and 4 before them: see --json"
    assert [line.split()[0] for line in shown[-21:-1]] == [str(seq) for seq in range(5, 25)]


def test_all_that_waits_is_skipped(behind):
    skipped = behind.run("hooks", "skip", "broken", "--all")
    again = behind.run("hooks", "skip", "broken", "--all")
    early = behind.run("hooks", "skip", "log")

    assert skipped.stdout == "broken goes on behind event 3\n"
    assert behind.ask("select position, status from followers, deliveries") == [(3, "dead")]
    assert "broken has seen every event" in again.stderr
    assert "log has not begun yet" in early.stderr


def test_what_a_hook_that_is_gone_has_left_undone_is_shown_and_no_alarm(behind, sandbox):
    with_it = behind.run("hooks")
    behind.configure(sandbox.base_url)
    without_it = behind.run("hooks")

    assert (with_it.returncode, without_it.returncode) == (1, 0)
    assert "it ended with 1" in without_it.stdout


def test_options_may_stand_before_the_name_of_the_command(behind):
    elsewhere = behind.config.rename(behind.config.with_name("elsewhere.toml"))
    tried = behind.run("hooks", "--config", elsewhere, "test", "broken")
    skipped = behind.run(
        "hooks", "--database", behind.mirror, "--json", "skip", "broken", "--config", elsewhere
    )

    assert "it ended with 1" in tried.stderr
    assert json.loads(skipped.stdout) == {"hook": "broken", "position": 1}
