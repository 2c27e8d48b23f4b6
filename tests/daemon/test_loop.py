"""One pass and its turns: when it comes again, what it leaves behind, and when it is stuck."""

import sqlite3
import time
from concurrent.futures import Future, wait
from contextlib import closing
from queue import Queue
from threading import Event, Thread

import pytest
from processes import PATIENCE_S, TOKEN, wait_until
from structlog.testing import capture_logs

from semysync.config import Config
from semysync.daemon import loop as loop_module
from semysync.daemon import tempo
from semysync.daemon.jobs import Job
from semysync.daemon.loop import STUCK_AFTER_S, Loop
from semysync.errors import Unreachable
from semysync.mirror import file
from semysync.mirror.store import Store
from semysync.service import line
from semysync.service.client import Client
from semysync.service.pace import Pace, Stopped


@pytest.fixture
def loop_of(tmp_path, sandbox, monkeypatch):
    """Start a loop with one job, the step given."""
    Store.migrate(tmp_path / "semysync.db").close()
    running = []

    def make(step):
        monkeypatch.setattr(loop_module, "jobs", lambda *_: [Job("inbox", 3600, step)])
        client = Client(TOKEN, base_url=sandbox.base_url)
        loop = Loop(Config(), tmp_path / "semysync.db", client, client, Pace())
        running.append((loop, client))
        loop.start()
        return loop

    yield make
    for loop, client in running:
        loop.stop()
        client.close()


def test_a_box_that_is_hinted_at_while_it_is_pulled_is_pulled_again_without_a_rest(
    loop_of, monkeypatch
):
    monkeypatch.setattr(loop_module, "REST_S", 3600)
    begun, may_end = [], Event()

    def step(_kit):
        begun.append(time.monotonic())
        may_end.wait(PATIENCE_S)

    loop = loop_of(step)
    wait_until(lambda: begun)
    loop.hint("inbox", [351])
    may_end.set()

    wait_until(lambda: len(begun) == 2)


def test_passes_that_end_as_soon_as_they_begin_hold_up_nobody(loop_of, monkeypatch):
    """APScheduler tells of the end of such a pass while it holds what a haste waits for."""
    listen = Future.add_done_callback

    def listen_late(future, callback):
        wait([future], 0.05)
        listen(future, callback)

    monkeypatch.setattr(Future, "add_done_callback", listen_late)
    monkeypatch.setattr(loop_module, "REST_S", 0)
    begun = []
    loop = loop_of(begun.append)

    def be_in_haste():
        while len(begun) < 20:
            loop.hasten("inbox")

    in_haste = Thread(target=be_in_haste, daemon=True)
    in_haste.start()
    in_haste.join(PATIENCE_S / 4)

    assert not in_haste.is_alive()


def test_a_step_that_gets_no_answer_is_a_pass_that_failed(loop_of):
    def step(_kit):
        raise Unreachable("inbox_sms: nobody answers")

    with capture_logs() as logged:
        loop_of(step)
        wait_until(lambda: logged)

    assert (logged[0]["event"], logged[0]["kind"]) == ("pass.failed", "inbox")
    assert logged[0]["error"] == "inbox_sms: nobody answers"


def test_a_failure_that_the_mirror_does_not_take_is_told_as_soon_as_it_does(
    loop_of, tmp_path, monkeypatch
):
    for name in ("FIRST_S", "FIRST_BROKEN_S", "FIRST_OPEN_S"):
        monkeypatch.setattr(tempo, name, 0.05)
    monkeypatch.setattr(loop_module, "interval_s", lambda *_: 0.05)
    monkeypatch.setattr(file, "BUSY_S", 0)
    begun = []

    def step(_kit):
        if not begun:
            other.execute("begin immediate")
        begun.append(True)
        raise Unreachable("inbox_sms: nobody answers")

    with (
        closing(
            sqlite3.connect(tmp_path / "semysync.db", isolation_level=None, check_same_thread=False)
        ) as other,
        capture_logs() as logged,
    ):
        loop_of(step)
        wait_until(lambda: len(begun) > 4)  # three in a row are news
        other.execute("rollback")

        wait_until(lambda: "pull.failing" in [line["event"] for line in logged])
        assert other.execute("select kind from events").fetchall() == [("pull.failing",)]


def test_a_sender_that_is_stopped_in_the_middle_ends_without_a_word(loop_of, monkeypatch):
    def step(_sender):
        raise Stopped

    monkeypatch.setattr("semysync.daemon.sending.HEAD_START_S", 0)
    monkeypatch.setattr("semysync.daemon.sending.Sender.step", step)
    with capture_logs() as logged:
        loop = loop_of(lambda _: None)

        assert loop._sending.join(PATIENCE_S)
    assert logged == []


# What has come to a stand.


class Ahead:
    """What of `time` is asked for there, so many seconds ahead."""

    def __init__(self):
        self.s = 0

    def monotonic(self):
        return time.monotonic() + self.s

    def time(self):
        return time.time() + self.s


@pytest.fixture
def ahead(monkeypatch):
    ahead = Ahead()
    for module in (loop_module, line):
        monkeypatch.setattr(module, "time", ahead)
    return ahead


@pytest.fixture
def standing_loop(loop_of, monkeypatch):
    monkeypatch.setattr(loop_module, "PATIENCE", 0)
    return loop_of


def test_a_pass_that_stands_still_is_stuck_and_one_that_asks_is_not(standing_loop, ahead):
    told, done = Queue(), Queue()

    def slow(kit):
        for _ in iter(told.get, "end"):
            done.put(kit.client.user())

    loop = standing_loop(slow)
    for _ in range(3):
        told.put("ask")
        done.get(timeout=PATIENCE_S)
        ahead.s += STUCK_AFTER_S - 60
        assert loop.stuck() is None

    ahead.s += 61
    assert loop.stuck() == "inbox"

    told.put("end")
    wait_until(lambda: loop.stuck() is None)


def test_a_loop_that_waits_for_its_time_is_not_stuck(standing_loop, ahead):
    loop = standing_loop(lambda _: None)
    wait_until(lambda: loop._ended_s)

    ahead.s = STUCK_AFTER_S + 1

    assert loop.stuck() is None


def test_a_pass_that_nobody_begins_is_stuck(standing_loop, monkeypatch):
    monkeypatch.setattr(loop_module, "STUCK_AFTER_S", 0.1)
    loop = standing_loop(lambda _: None)
    wait_until(lambda: loop._ended_s)

    loop._scheduler.pause()
    loop.hasten("inbox")

    wait_until(lambda: loop.stuck() == "inbox")
