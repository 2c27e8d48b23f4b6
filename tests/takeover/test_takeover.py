"""A second machine takes over: real processes, a real Litestream, a folder for replicas."""

import sqlite3
from contextlib import closing

from failover import fail_over
from machines import Machine, made
from processes import end, wait_until


def test_the_second_machine_sends_each_draft_once_and_the_first_stays_silent(tmp_path):
    came = fail_over(tmp_path)

    assert came.drafts > 20
    assert came.lost <= came.drafts / 2


def after_another_has_sent(folder, sandbox):
    """A machine that finds one of its two drafts in the account, though it has not sent it."""
    one, two = (Machine(folder, name, sandbox, replicated=False) for name in ("one", "two"))
    one.mirror_here()
    one.insert("+79201234567", "Hello")
    copy = one.run("backup", "--to", folder / "copies")
    assert copy.returncode == 0, copy.stderr
    two.mirror.parent.mkdir(parents=True)
    next((folder / "copies").glob("*.db")).rename(two.mirror)
    with two.running("run") as process:
        wait_until(lambda: made(sandbox) == ["Hello"], process)
        end(process)
    with closing(sqlite3.connect(one.mirror)) as conn, conn:  # a year goes by
        conn.execute("update passes set started_at = replace(started_at, '2026', '2025')")
    one.insert("+79201234568", "another")
    with one.running("run") as process:
        wait_until(lambda: "another machine" in (one.setting("sending_blocked") or ""), process)
        code, _ = end(process)
    assert code == 0
    return one


def test_who_comes_back_without_a_replica_sees_by_the_account_that_another_sends(tmp_path, sandbox):
    one = after_another_has_sent(tmp_path, sandbox)

    assert made(sandbox) == ["Hello"]
    assert one.drafts() == {"Hello": "queued", "another": "queued"}
    assert "for good; if not, `semysync takeover`" in one.run("status").stdout


def test_who_had_stopped_can_be_made_the_sender_again(tmp_path, sandbox):
    one = after_another_has_sent(tmp_path, sandbox)

    ended = one.run("takeover")
    with one.running("run") as process:
        wait_until(lambda: made(sandbox) == ["Hello", "another"], process)
        end(process)

    assert ended.returncode == 0, ended.stderr
    assert "2 open drafts" in ended.stdout
    assert one.ask("select sent_id is not null from outbox") == [(1,), (1,)]
