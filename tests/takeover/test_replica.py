"""How Litestream is lived with: a real one, with a folder for the replica."""

import os
import shutil
import signal
import sqlite3
import tempfile
import time
from contextlib import closing, suppress
from datetime import UTC, datetime
from functools import partial
from socketserver import BaseRequestHandler, UnixStreamServer
from threading import Thread

import pytest
import structlog
from machines import LITESTREAM, Machine
from processes import end, wait_until

from semysync.config import Backup, Config, Purge, Replica
from semysync.daemon import fence
from semysync.errors import PurgeUnsafe, ReplicaUnseen
from semysync.mirror.copies.drill import Content, differences
from semysync.mirror.copies.extent import LONGEST_WRITE, copied_until
from semysync.mirror.copies.replica import Kept, restorable
from semysync.mirror.copies.replica import Replica as Place
from semysync.mirror.copies.takeover import taken_over
from semysync.mirror.file import open_reader
from semysync.mirror.store import Store

NOW = datetime(2026, 11, 26, 9, 0, tzinfo=UTC)


def settings(machine):
    return Replica(url=machine.url, socket=str(machine.socket), program=LITESTREAM)


def held(machine, replica=None):
    with closing(open_reader(machine.mirror)) as conn:
        return copied_until(conn, Purge(), Backup(), replica or settings(machine), NOW)


# What is purged must be in the replica


def test_what_litestream_has_brought_in_is_held(one):
    with one.replicating():
        one.insert("+79201234567", "Hello")

        until = held(one)

        assert until == NOW - LONGEST_WRITE
        assert Place(one.url, {}, LITESTREAM).newest().txid == one.synced().replicated
        with closing(open_reader(one.mirror)) as conn:
            nothing = Purge(needs_copy="no")
            assert copied_until(conn, nothing, Backup(), settings(one), NOW) is None


def test_nothing_is_purged_while_litestream_is_dead_or_has_no_socket_or_another_mirror(one):
    with one.replicating():
        pass
    with pytest.raises(PurgeUnsafe, match="does not answer at"):
        held(one)
    for half in (Replica(url=one.url), Replica(socket=str(one.socket))):
        with pytest.raises(PurgeUnsafe, match="set `url` and `socket` in"):
            held(one, half)
    with (
        one.replicating(),
        closing(sqlite3.connect(":memory:")) as other,
        pytest.raises(PurgeUnsafe, match="cannot be known"),
    ):
        copied_until(other, Purge(), Backup(), settings(one), NOW)


def test_nothing_is_purged_that_has_not_come_to_the_place(one):
    with one.replicating():
        shutil.rmtree(one.place)
        one.place.write_text("no folder any more")
        one.insert("+79201234567", "Hello")

        with pytest.raises(PurgeUnsafe):
            held(one)


def test_nothing_is_purged_once_somebody_has_emptied_the_place(one):
    with one.replicating() as litestream:
        wait_until(one.has_a_snapshot, litestream)  # no other file will hold all of the mirror
        one.synced()
        shutil.rmtree(one.place)
        for text in (None, "written after that"):  # which alone comes into the place
            if text:
                one.insert("+79201234567", text)

            assert one.synced().replicated == one.synced().txid  # as if nothing had happened
            with pytest.raises(
                PurgeUnsafe, match=r"nothing at .* can be restored: see whether `url`"
            ):
                held(one)
        assert "wrong  replica      there is nothing at" in one.run("doctor").stdout


def test_nothing_is_purged_where_a_file_is_missing_in_the_place(one):
    with one.replicating() as litestream:
        wait_until(one.has_a_snapshot, litestream)
        for text in ("a", "b", "c"):
            one.insert("+79201234567", text)
            last = one.synced().replicated
        for file in one.place.rglob(f"*{last - 1:016x}.ltx"):
            file.unlink()

        with pytest.raises(PurgeUnsafe, match=f"up to change {last - 2} only, not {last}"):
            held(one)


def test_nothing_is_purged_where_the_replica_is_not_where_it_is_said_to_be(one, tmp_path, sandbox):
    other = Machine(tmp_path, "other", sandbox)
    other.mirror_here()
    with other.replicating():
        for n in range(5):
            other.insert("+79201234567", f"draft {n}")
            other.synced()
    with one.replicating(), pytest.raises(PurgeUnsafe, match=r"6 changes, Litestream has .* 1:"):
        held(one, Replica(url=other.url, socket=str(one.socket), program=LITESTREAM))


ANSWERS = (
    b"",
    b"rubbish",
    b"HTTP/1.0 200 OK\r\n\r\nrubbish",
    b"HTTP/1.0 200 OK\r\n\r\n[1]",
    b'HTTP/1.0 200 OK\r\n\r\n{"txid": null, "replicated_txid": 3}',
    b'HTTP/1.0 200 OK\r\n\r\n{"txid": 0, "replicated_txid": 0}',
    b'HTTP/1.0 500 No\r\n\r\n{"error": "database not open"}',
    b"HTTP/1.0 404 No\r\n\r\n7",
    b"HTTP/1.0 200 OK\r\n\r\n" + b" " * (2 << 20) + b"{}",
)


@pytest.mark.parametrize("answer", ANSWERS, ids=range(len(ANSWERS)))
def test_whatever_answers_at_the_socket_nothing_is_purged_for_it(one, answer):
    class Other(BaseRequestHandler):
        def handle(self):
            self.request.recv(4096)
            with suppress(OSError):
                self.request.sendall(answer)

    with UnixStreamServer(str(one.socket), Other) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            with pytest.raises(PurgeUnsafe, match="cannot be known"):
                held(one)
        finally:
            server.shutdown()
            thread.join()


def test_files_reach_as_far_as_there_is_no_gap():
    def reach(*files):
        found = restorable([Kept(first, last, NOW) for first, last in files])
        return found and found.txid

    assert reach() is None
    assert reach((2, 3)) is None
    assert reach((1, 1), (2, 2), (3, 3)) == 3
    assert reach((3, 3), (1, 2), (5, 5)) == 3
    assert reach((1, 4), (1, 9), (3, 12), (10, 10), (14, 14)) == 12


def test_the_daemon_and_litestream_do_not_fight_over_the_log(one):
    with one.replicating(), one.running("run") as process:
        with one.writer("draft", 0.002):
            wait_until(lambda: len(one.drafts()) > 300, process)
            with Store.open(one.mirror) as store:
                store.give_room_back()  # hourly by the daemon; with Litestream that is its own task
            wait_until(lambda: len(one.drafts()) > 600, process)
        found = one.run("drill")
        code, _ = end(process)

    assert (code, found.returncode) == (0, 0), found.stderr
    log = (one.home / "litestream.log").read_text()
    assert "level=ERROR" not in log
    assert log.count("snapshot complete") <= 1  # more would mean that it had lost its place


def test_nobody_waits_for_forget_where_the_mirror_is_replicated(one):
    contact = one.ask("select contact from inbox order by id limit 1")[0][0]
    with one.replicating():
        wait_until(one.has_a_snapshot)
        began = time.monotonic()
        ended = one.run("forget", contact, "--yes")
        took_s = time.monotonic() - began

    assert ended.returncode == 0, ended.stderr
    assert "Litestream keeps old states of the mirror" in ended.stderr
    assert took_s < 20  # it waited for 30 s, and let nobody write meanwhile


# The drill


def test_a_drill_restores_and_compares(one):
    with one.replicating():
        one.insert("+79201234567", "Hello")

        ended = one.run("drill")

    assert ended.returncode == 0, ended.stderr
    assert "is good" in ended.stdout
    assert one.ask("select drilled_at is not null, drill_error from health") == [(1, None)]
    assert not list(one.mirror.parent.glob(".semysync-drill*"))


def test_a_drill_finds_a_replica_of_something_else(one, tmp_path, sandbox):
    other = Machine(tmp_path, "other", sandbox)
    other.mirror_here()
    with closing(sqlite3.connect(other.mirror)) as conn, conn:
        conn.execute("delete from inbox where id = (select max(id) from inbox)")
    with other.replicating():
        other.synced()
    with one.replicating():
        one.config.write_text(one.config.read_text().replace(one.url, other.url))

        ended = one.run("drill")

    assert ended.returncode == 1
    assert "inbox has" in ended.stderr
    assert "inbox has" in one.ask("select drill_error from health")[0][0]
    assert "wrong  drill" in one.run("doctor").stdout


def test_a_drill_without_a_replica_says_what_is_missing(one, tmp_path):
    ended = one.run("drill")

    assert ended.returncode == 75
    assert "Litestream does not answer" in ended.stderr
    assert "does not answer" in one.ask("select drill_error from health")[0][0]


# As it was before and after: the second message has moved meanwhile, the third has come.
BEFORE = {1: (1, "seen 1", "sent"), 2: (2, "seen 2", "accepted")}
AFTER = BEFORE | {2: (2, "seen 2", "delivered"), 3: (3, "seen 3", "accepted")}
LACKS = ["sent has 1 rows of 2", "sent lacks 1 of its newest rows"]
OTHERWISE = ["sent has 1 of its newest rows otherwise"]


@pytest.mark.parametrize(
    ("change", "found", "found_of_an_older_one"),
    [
        ({}, [], []),
        ({3: AFTER[3]}, [], []),
        ({2: None}, LACKS, []),
        ({3: AFTER[3], 4: AFTER[3]}, ["sent has 4 rows of 2"], ["sent has 4 rows of 2"]),
        ({1: (1, "seen 1", "accepted")}, OTHERWISE, []),
        ({2: AFTER[2]}, [], []),
        ({2: (2, "seen 2", "on_phone")}, [], []),
        ({1: (1, "seen elsewhere", "sent")}, OTHERWISE, OTHERWISE),
        ({2: (2, "seen elsewhere", "accepted")}, OTHERWISE, OTHERWISE),
    ],
)
def test_what_was_restored_is_the_mirror_as_it_may_have_been(change, found, found_of_an_older_one):
    def content(rows):
        return Content({"sent": len(rows)}, {"sent": rows})

    rows = {number: row for number, row in (BEFORE | change).items() if row}
    compared = content(BEFORE), content(rows), content(AFTER)

    assert differences(*compared, whole=True) == found
    assert differences(*compared, whole=False) == found_of_an_older_one


def test_a_drill_that_cannot_ask_how_far_it_is_finds_a_replica_of_another_or_an_old_one(
    one, tmp_path, sandbox
):
    other = Machine(tmp_path, "other", sandbox)
    other.mirror_here()
    with other.replicating():
        other.synced()
    with one.replicating():
        one.synced()
    text = one.config.read_text().replace(f'socket = "{one.socket}"', "")

    one.config.write_text(text)
    well = one.run("drill")
    one.config.write_text(text.replace(one.url, other.url))
    of_another = one.run("drill")
    one.put_passes("+1 year")
    one.config.write_text(text)
    old = one.run("drill")

    assert (well.returncode, well.stderr) == (0, "")
    assert of_another.returncode == 1
    assert "of its newest rows otherwise" in of_another.stderr
    assert old.returncode == 1
    assert "its last change is of" in old.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_drill_that_is_ended_leaves_nothing_for_long(one, tmp_path, number, code):
    began = tmp_path / "began"
    slow = tmp_path / "slow"
    restore = f"[ $1 = restore ] && echo $$ > {began} && exec sleep 60"
    slow.write_text(f'#!/bin/sh\n{restore}\nexec {LITESTREAM} "$@"\n')
    slow.chmod(0o755)
    text = one.config.read_text()
    scratch = partial(one.mirror.parent.glob, ".semysync-drill-*")
    temporary = partial(one.home.glob, "semysync-litestream-*")
    with one.replicating():
        one.synced()
        one.config.write_text(text.replace(LITESTREAM, str(slow)))
        with one.running("drill", TMPDIR=str(one.home)) as process:
            wait_until(lambda: began.exists() and began.read_text(), process)
            modes = [path.stat().st_mode & 0o777 for path in (*scratch(), *temporary())]
            ended, _ = end(process, number)
        with suppress(ProcessLookupError):
            os.kill(int(began.read_text()), signal.SIGKILL)
        left = [*scratch(), *temporary()]
        one.config.write_text(text)
        again = one.run("drill", TMPDIR=str(one.home))

    assert modes == [0o700, 0o700]
    assert ended == code
    assert len(left) == (2 if number == signal.SIGKILL else 0)
    assert again.returncode == 0, again.stderr
    assert not [*scratch(), *temporary()]


def test_a_drill_with_what_is_no_mirror_says_so(one, tmp_path):
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as conn:
        conn.execute("pragma journal_mode = wal")
        conn.execute("create table contacts (name text)")
    Place(f"{one.url}-other", {}, LITESTREAM).put(other)
    with one.replicating():
        one.config.write_text(one.config.read_text().replace(one.url, f"{one.url}-other"))
        ended = one.run("drill")

    assert ended.returncode == 1
    assert "what was restored is no copy of a mirror" in ended.stderr
    assert str(one.mirror.parent) not in ended.stderr


def test_a_drill_into_a_folder_that_takes_nothing_says_so(one):
    with one.replicating():
        ended = one.run("drill", "--to", "/proc")

    assert ended.returncode == 75
    assert "choose another by --to" in ended.stderr


# The doctor


def test_the_doctor_sees_how_far_the_replica_is(one):
    with one.replicating() as litestream:
        well = one.run("doctor").stdout
        litestream.send_signal(signal.SIGKILL)
        litestream.wait()
        dead = one.run("doctor").stdout

    assert "ok     replica      holds all of" in well
    assert "note   drill        whether the replica can be restored was never tried" in well
    assert "wrong  replica      Litestream does not answer" in dead


# What may go wrong with a place


def test_what_cannot_be_seen_is_said_without_a_password(tmp_path):
    place = Place("sftp://me:secret@127.0.0.1:1/replicas/one?key=hidden", {}, LITESTREAM)

    with pytest.raises(ReplicaUnseen) as seen:
        place.newest()

    assert "sftp://127.0.0.1:1/replicas/one" in str(seen.value)
    assert "secret" not in str(seen.value)
    assert "hidden" not in str(seen.value)
    with pytest.raises(ReplicaUnseen, match="install Litestream"):
        Place("file:///nowhere", {}, "no-such-program").newest()


def test_a_place_that_is_not_mounted_lets_nothing_be_sent(one, sandbox):
    with one.replicating():
        one.synced()
    one.place.rename(one.home / "unmounted")
    one.insert("+79201234567", "Hello")

    with one.running("run") as process:
        wait_until(lambda: "is not to be seen" in (one.setting("sending_blocked") or ""), process)
        code, _ = end(process)

    assert code == 0
    assert sandbox.account.effects() == []


def test_a_daemon_that_cannot_look_says_so_once_and_looks_again(one, monkeypatch):
    looked = []

    def look(mirror, replica):
        looked.append(replica)
        if len(looked) == 2:
            raise KeyError("a fault of ours")
        if len(looked) in (3, 4):
            monkeypatch.setattr(tempfile, "tempdir", str(one.home / "full"))
        elif len(looked) == 5:
            monkeypatch.setattr(tempfile, "tempdir", None)
        return taken_over(mirror, replica)

    with one.replicating():
        one.synced()
    monkeypatch.setattr(fence, "taken_over", look)
    monkeypatch.setattr(fence, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(fence, "AGAIN_S", 0.01)
    guard = fence.Fence(Config(replica=settings(one)), one.mirror)

    with structlog.testing.capture_logs() as lines:
        guard.start()
        wait_until(lambda: len(looked) > 6)
        guard.stop()

    assert guard.why() is None
    assert [line["event"] for line in lines] == ["fence.broke", "replica.unseen", "replica.seen"]
