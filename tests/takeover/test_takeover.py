"""A second machine takes over: real processes, a real Litestream, a folder for replicas."""

import shutil
import socket
import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import pytest
from failover import fail_over
from machines import LITESTREAM, Machine, made
from processes import end, wait_until

from semysync import config
from semysync.config import Backup, Purge
from semysync.errors import MirrorUnusable, PurgeUnsafe, ReplicaUnseen
from semysync.mirror.copies import takeover
from semysync.mirror.copies.extent import copied_until
from semysync.mirror.copies.replica import Replica
from semysync.mirror.file import open_reader

NOW = datetime(2026, 11, 26, 9, 0, tzinfo=UTC)


def settings(machine):
    return config.Replica(url=machine.url, socket=str(machine.socket), program=LITESTREAM)


def place(machine):
    return Replica(machine.url, {}, LITESTREAM)


def take(machine, other):
    return takeover.take_over(machine.mirror, place(other), lambda: NOW, lambda *_: None)


@pytest.fixture
def one(tmp_path, sandbox):
    """A machine that has replicated its mirror, with a draft in it, and is dead."""
    one = Machine(tmp_path, "one", sandbox)
    one.mirror_here()
    with one.replicating():
        one.insert("+79201234567", "Hello")
        one.synced()
    return one


@pytest.fixture
def two(tmp_path, sandbox):
    return Machine(tmp_path, "two", sandbox)


def test_the_second_machine_sends_each_draft_once_and_the_first_stays_silent(tmp_path):
    came = fail_over(tmp_path)

    assert came.drafts > 5  # so many had been sent, however little there was time for
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
    one.put_passes("-1 year")
    one.insert("+79201234568", "another")
    with one.running("run") as process:
        wait_until(lambda: "another machine" in (one.setting("sending_blocked") or ""), process)
        code, _ = end(process)
    assert code == 0
    assert one.told() == ['{"cause": "account"}']
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


def test_a_takeover_that_broke_off_leaves_nothing_and_may_be_done_again(one, two, monkeypatch):
    real = Replica.restore

    def breaks_off(self, target):
        if target.name == "taken-over.db":
            raise ReplicaUnseen("the network is gone")
        return real(self, target)

    monkeypatch.setattr(Replica, "restore", breaks_off)
    with pytest.raises(ReplicaUnseen, match="the network is gone"):
        take(two, one)
    assert not two.mirror.exists()
    assert not list(two.mirror.parent.glob(".*takeover*"))
    assert "has taken over" in takeover.taken_over(one.mirror, place(one))  # from here on it counts
    monkeypatch.undo()

    assert take(two, one) == (1, takeover.Replica.newest(place(one)).at, 60, 1, None)


def test_two_machines_cannot_both_take_over(one, two, tmp_path, sandbox, monkeypatch):
    three = Machine(tmp_path, "three", sandbox)
    take(two, one)

    monkeypatch.setattr(takeover, "this_host", lambda: "a-third-host")
    with pytest.raises(MirrorUnusable, match="has taken over from there at"):
        take(three, one)

    assert not three.mirror.exists()


def test_of_two_that_take_over_at_once_one_gives_way(one, two, monkeypatch):
    restore = Replica.restore

    def slow(self, target):
        if (
            target.name == "taken-over.db"
        ):  # another has seen no mark either, and leaves its own now
            shutil.rmtree(one.place.with_name("one-taken-1"))
            with monkeypatch.context() as there:
                there.setattr(socket, "gethostname", lambda: "a-copy-of-this-machine")
                takeover._mark(place(one).beside("taken-1"), 1, NOW)
        return restore(self, target)

    monkeypatch.setattr(Replica, "restore", slow)

    with pytest.raises(MirrorUnusable, match="takes over at this moment"):
        take(two, one)
    assert not two.mirror.exists()


def test_what_is_no_mirror_is_not_taken_over(one, two, tmp_path):
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as conn:
        conn.execute("pragma journal_mode = wal")
        conn.execute("create table contacts (name text)")
    place(one)._replace(url=f"{one.url}-other").put(other)

    ended = two.run("takeover", "--from", f"{one.url}-other")

    assert ended.returncode == 78
    assert "holds is no copy of a mirror" in ended.stderr
    assert not two.mirror.exists()
    assert not one.place.with_name("one-other-taken-1").exists()


def test_back_and_forth_only_the_last_one_sends(one, two):
    take(two, one)
    with two.replicating():
        two.synced()
    for file in one.mirror.parent.iterdir():
        file.rename(one.home / file.name)

    taken = take(one, two)

    assert taken.number == 2
    assert takeover.taken_over(one.mirror, place(one)) is None
    assert "has taken over" in takeover.taken_over(two.mirror, place(two))


def test_who_becomes_the_sender_again_is_told_of_the_other_and_sees_the_next_one(
    one, two, tmp_path, sandbox
):
    idle = one.run("takeover").stdout
    assert takeover.taken_over(one.mirror, place(one)) is None
    take(two, one)
    assert "has taken over" in takeover.taken_over(one.mirror, place(one))

    again = one.run("takeover").stdout
    with one.replicating():
        one.synced()
    third = take(Machine(tmp_path, "three", sandbox), one)

    assert "other " not in idle
    assert f"other    {socket.gethostname()} has taken over from here before" in again
    assert third.number == 2
    assert "has taken over" in takeover.taken_over(one.mirror, place(one))


def test_who_has_just_taken_over_does_not_wait_for_a_replica_of_its_own(one, two, sandbox):
    take(two, one)

    two.insert("+79201234568", "at once")
    with two.running("run") as process:
        wait_until(lambda: "at once" in made(sandbox), process)


def test_what_lies_at_the_place_of_the_mirror_is_not_touched(one, two):
    two.mirror.parent.mkdir(parents=True)
    log = two.mirror.with_name("semysync.db-wal")
    log.write_text("of an earlier life")

    with pytest.raises(MirrorUnusable, match="is there already"):
        take(two, one)

    assert log.read_text() == "of an earlier life"
    assert takeover.taken_over(one.mirror, place(one)) is None


def test_a_takeover_from_its_own_place_is_refused(one):
    ended = one.run("takeover", "--from", f"{one.url}/")

    assert ended.returncode == 78
    assert "must be two places" in ended.stderr


def test_sync_too_sends_nothing_once_another_has_taken_over(one, two, sandbox):
    take(two, one)

    ended = one.run("sync")

    assert ended.returncode == 0, ended.stderr
    assert made(sandbox) == []
    assert "has taken over at" in one.setting("sending_blocked")
    one.run("sync")
    assert one.told() == ['{"cause": "replica"}']


def test_who_was_taken_over_from_purges_nothing_any_more(one, two):
    take(two, one)

    with (
        one.replicating(),
        closing(open_reader(one.mirror)) as conn,
        pytest.raises(PurgeUnsafe, match="has taken over at"),
    ):
        copied_until(conn, Purge(), Backup(), settings(one), NOW)


def test_numbers_that_the_replica_lacks_are_not_given_again(one, two):
    one.insert("+79201234568", "not replicated")

    take(two, one)
    two.insert("+79201234569", "on the second")

    assert one.ask("select id from outbox where text = 'not replicated'") == [(2,)]
    assert two.ask("select id, text from outbox") == [(1, "Hello"), (1_000_001, "on the second")]
    assert two.ask(
        "select min(seq) > 1000000 from events where kind = 'draft.queued'"
        " and data like '%1000001%'"
    ) == [(1,)]


def test_nothing_goes_out_before_the_account_was_searched(one, two, sandbox):
    with one.running(
        "run"
    ) as process:  # it is not dead, and has sent what the replica has as queued
        wait_until(lambda: made(sandbox) == ["Hello"], process)
        end(process)
    take(two, one)

    with two.running("run") as process:
        wait_until(lambda: two.ask("select sent_id from outbox where sent_id > 0"), process)
        end(process)

    assert made(sandbox) == ["Hello"]
