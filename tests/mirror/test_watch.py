"""
Commits of others, noticed: real processes write, and no test hopes that a time suffices.

Where a hint must have done it, there is no beat, and the writer waits until the look at the beginning
of a wait is over; should that be late, the look sees the commit, and the test holds nonetheless.
"""

import os
import select
import sqlite3
import struct
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from itertools import accumulate, pairwise
from pathlib import Path
from shutil import rmtree
from threading import Event, Thread, Timer

import pytest
from children import child, needs_root, place_for_all
from processes import PATIENCE_S

from semysync.errors import MirrorUnusable
from semysync.mirror import watch as watching
from semysync.mirror.watch import Watch

NOBODY = 65534

# Takes lines of Python, and says after each that it is done.
WRITER = """
import sqlite3, sys, time
def opened(synchronous="normal"):
    conn = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
    conn.execute(f"pragma synchronous = {synchronous}")
    return conn
def commit():
    conn.execute("insert into t values (1)")
def commit_later():
    time.sleep(0.02)
    commit()
for line in sys.stdin:
    exec(line)
    print("done", flush=True)
"""


class Writer:
    """A process of its own that writes to the mirror, with nothing of ours."""

    def __init__(self, path):
        self.process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )

    def begin(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def done(self):
        assert self.process.stdout.readline() == "done\n"

    def does(self, line):
        self.begin(line)
        self.done()

    def commits(self):
        self.does("commit()")


@contextmanager
def writing_to(path, *, make=True, synchronous="normal"):
    writer = Writer(path)
    try:
        writer.does(f"conn = opened({synchronous!r})")
        if make:
            writer.does("conn.execute('pragma journal_mode = wal')")
            writer.does("conn.execute('create table t (a)')")
        yield writer
    finally:
        writer.process.kill()
        writer.process.communicate()


@pytest.fixture
def path(tmp_path):
    """A mirror in a folder of its own: the name is all that matters here."""
    (tmp_path / "kept").mkdir()
    return tmp_path / "kept" / "semysync.db"


@pytest.fixture
def writer(path):
    with writing_to(path) as writer:
        yield writer


@pytest.fixture
def only_hints(monkeypatch):
    """No look without a hint, for as long as any test takes."""
    monkeypatch.setattr(watching, "BEAT_S", 3600.0)


@pytest.fixture
def no_inotify(monkeypatch):
    def refuse(**_):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(watching, "INotify", refuse)


class DeafINotify:
    """As on a file system that takes a watch and then says nothing."""

    def __init__(self, **_):
        self.ends = os.pipe()
        os.set_blocking(self.ends[0], False)

    def add_watch(self, *_):
        pass

    def fileno(self):
        return self.ends[0]

    def close(self):
        for end in self.ends:
            os.close(end)


@pytest.fixture
def told(monkeypatch):
    """Put an inotify in place whose events the test writes itself."""
    made = []

    class Told(DeafINotify):
        def __init__(self, **_):
            super().__init__()
            made.append(self)

    monkeypatch.setattr(watching, "INotify", Told)

    def tell(name, mask=2, times=1):
        padded = name.encode().ljust(16, b"\0") if name else b""
        event = struct.pack("iIII", 1 if name else -1, mask, 0, len(padded)) + padded
        os.write(made[-1].ends[1], event * times)

    return tell


def told_soon(watch):
    """
    Wait for a commit; return whether it was told before the look at the end of the wait.

    The last hint counts as one of long ago: no look that it led to helps.
    """
    watch._hinted_at -= 1_000_000
    ends = time.monotonic() + PATIENCE_S / 2
    return watch.wait(PATIENCE_S) and time.monotonic() < ends


def count_looks(watch):
    """Return a list that grows by one with each look."""
    looks = []
    watch._conn.set_trace_callback(looks.append)
    return looks


def open_numbers():
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  it counts, it names nothing


@pytest.mark.parametrize("synchronous", ["normal", "full", "extra"])
def test_a_commit_of_another_process_is_hinted_at(path, writer, only_hints, synchronous):
    writer.does(f"conn.execute('pragma synchronous = {synchronous}')")

    with Watch(path) as watch:
        assert watch.hinted
        for _ in range(20):
            writer.begin("commit_later()")
            assert told_soon(watch)
            writer.done()


def test_a_commit_that_takes_long_after_its_last_byte_is_seen(path, writer, told, only_hints):
    with Watch(path) as watch:
        told("semysync.db-wal")
        assert not watch.wait(0.03)  # the hint is there, the commit is not yet
        ends = time.monotonic() + PATIENCE_S / 2
        writer.begin("commit_later()")

        assert watch.wait(PATIENCE_S)

        assert time.monotonic() < ends
        writer.done()


def test_looks_after_a_hint_are_farther_and_farther_apart(path, writer, told, monkeypatch):
    clock, slept = [1000.0], []

    class Poll:
        def __init__(self):
            self.real = select_poll()
            self.register = self.real.register

        def poll(self, timeout):
            if found := self.real.poll(0):
                return found
            slept.append(timeout)
            clock[0] += timeout / 1000
            return []

    select_poll = select.poll
    monkeypatch.setattr(watching.select, "poll", Poll)
    monkeypatch.setattr(watching, "monotonic", lambda: clock[0])
    with Watch(path) as watch:
        assert not watch.wait(10)
        looks = count_looks(watch)
        told("semysync.db-wal")
        slept.clear()

        assert not watch.wait(5)

    assert slept[:3] == pytest.approx([2, 2, 2])
    assert all(a <= b * 1.01 for a, b in pairwise(slept[:-1]))  # the last is cut by the end
    assert max(slept) == pytest.approx(1000)
    assert sum(reached_ms < 100 for reached_ms in accumulate(slept)) > 8
    assert len(looks) < 30


def test_without_inotify_the_mirror_is_polled(path, writer, only_hints, no_inotify):
    with Watch(path) as watch:
        assert not watch.hinted
        for _ in range(5):
            writer.begin("commit_later()")
            assert told_soon(watch)
            writer.done()


def test_without_the_library_the_mirror_is_polled(path, writer, only_hints, monkeypatch):
    monkeypatch.setattr(watching, "INotify", None)

    with Watch(path) as watch:
        writer.begin("commit_later()")

        assert told_soon(watch)
        assert not watch.hinted
        writer.done()


def test_a_watch_that_is_refused_leaves_no_file_open(path, writer, only_hints, monkeypatch):
    class Full(DeafINotify):
        def add_watch(self, *_):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(watching, "INotify", Full)
    before = open_numbers()

    with Watch(path) as watch:
        writer.begin("commit_later()")
        assert told_soon(watch)
        writer.done()

    assert open_numbers() == before


def test_a_folder_that_never_tells_anything_is_polled_soon(path, writer, monkeypatch):
    monkeypatch.setattr(watching, "INotify", DeafINotify)

    with Watch(path) as watch:
        for _ in range(watching.DEAF_AFTER):
            assert watch.hinted
            writer.commits()
            assert told_soon(watch)
        assert not watch.hinted

        monkeypatch.setattr(watching, "BEAT_S", 3600.0)
        writer.commits()
        assert told_soon(watch)


def test_many_commits_do_not_make_a_folder_deaf_that_tells(path, writer):
    with Watch(path) as watch:
        writer.begin("for _ in range(2000): commit()")
        while not select.select([writer.process.stdout], [], [], 0)[0]:
            watch.wait(0.01)
        writer.done()

        assert watch.hinted


def test_nothing_is_told_where_nothing_happened(path, writer):
    with Watch(path) as watch:
        assert not watch.wait(0)
        assert not watch.wait(-1)
        assert not watch.wait(0.02)


def test_a_commit_between_two_waits_is_told_once(path, writer, only_hints):
    with Watch(path) as watch:
        assert not watch.wait(0)
        writer.commits()
        writer.commits()

        assert watch.wait(0)
        assert not watch.wait(0)


def test_a_commit_of_this_process_is_told_too(path, writer, only_hints):
    with Watch(path) as watch, closing(sqlite3.connect(path)) as conn, conn:
        conn.execute("insert into t values (1)")
        conn.commit()

        assert told_soon(watch)


def test_what_is_rolled_back_is_not_told(path, writer):
    with Watch(path) as watch:
        writer.does("conn.execute('begin immediate')")
        writer.does("conn.execute('insert into t values (1)')")
        assert not watch.wait(0.01)
        writer.does("conn.execute('rollback')")

        assert not watch.wait(0.01)


@pytest.mark.parametrize("mode", ["passive", "full", "restart", "truncate"])
def test_a_checkpoint_does_not_break_it(path, writer, only_hints, mode):
    with Watch(path) as watch:
        for _ in range(3):
            writer.commits()
            assert told_soon(watch)
            writer.does(f"conn.execute('pragma wal_checkpoint({mode})').fetchall()")
            watch.wait(0)  # SQLite may count the new beginning of the log as a change

            writer.begin("commit_later()")
            assert told_soon(watch)
            writer.done()
        assert watch.hinted


def test_a_mirror_with_a_rollback_journal_is_watched(path, only_hints):
    with writing_to(path, make=False) as writer:
        writer.does("conn.execute('create table t (a)')")
        with Watch(path) as watch:
            for _ in range(5):
                writer.begin("commit_later()")
                assert told_soon(watch)
                writer.done()
            writer.does("conn.execute('pragma journal_mode = wal')")
            watch.wait(0)

            writer.begin("commit_later()")
            assert told_soon(watch)
            writer.done()


def test_a_mirror_that_is_locked_for_long_is_no_harm(path):
    with writing_to(path, make=False) as writer:
        writer.does("conn.execute('create table t (a)')")
        with Watch(path) as watch:
            writer.does("conn.execute('begin exclusive')")
            assert not watch.wait(0.05)
            assert watch._conn
            writer.does("commit()")
            writer.begin("conn.execute('commit')")

            assert told_soon(watch)
            writer.done()


def test_writers_that_come_and_go_are_seen(path, writer, only_hints):
    writer.does("conn.close()")  # the last one: -wal is gone
    assert not path.with_name("semysync.db-wal").exists()

    with Watch(path) as watch:
        for _ in range(5):
            writer.begin("conn = opened(); commit(); conn.close()")
            assert told_soon(watch)
            writer.done()
            watch.wait(0)


def test_files_beside_the_mirror_that_are_deleted_and_made_again_are_found(path, writer):
    writer.does("conn.execute('pragma wal_checkpoint(truncate)').fetchall()")
    with Watch(path) as watch:
        writer.does("conn.close()")
        for end in ("-wal", "-shm"):
            path.with_name(path.name + end).unlink()
        writer.does("conn = opened(); commit()")

        assert told_soon(watch)
        writer.begin("commit_later()")
        assert told_soon(watch)
        writer.done()


@pytest.mark.parametrize("inotify", [True, False])
def test_a_mirror_that_is_restored_is_another_one(path, writer, inotify, request):
    if not inotify:
        request.getfixturevalue("no_inotify")
    writer.does(f"conn.execute('vacuum into ?', [{str(path) + '.copy'!r}])")
    with Watch(path) as watch:
        writer.does("conn.close()")
        for end in ("", "-wal", "-shm"):
            path.with_name(path.name + end).unlink(missing_ok=True)
        assert not watch.wait(0)
        path.with_name(path.name + ".copy").rename(path)

        assert told_soon(watch)

        writer.does("conn = opened()")
        writer.does("conn.execute('pragma journal_mode = wal')")
        watch.wait(0)
        writer.begin("commit_later()")
        assert told_soon(watch)
        writer.done()
        assert watch.hinted == inotify


def test_what_is_no_mirror_is_looked_at_again_until_it_is_one(path, writer, monkeypatch):
    monkeypatch.setattr(watching, "BEAT_S", 0.01)
    elsewhere = path.parent.with_name("elsewhere")
    with Watch(path) as watch:
        path.parent.rename(elsewhere)
        path.parent.mkdir()
        path.write_text("It is a text of more than a hundred letters. " * 10)
        while watch._conn:
            assert not watch.wait(0.02)
        assert not watch.wait(0.05)
        rmtree(path.parent)
        elsewhere.rename(path.parent)

        assert told_soon(watch)
        writer.commits()
        assert told_soon(watch)


def test_a_disk_that_fails_ends_nothing(path, writer, monkeypatch):
    monkeypatch.setattr(watching, "BEAT_S", 0.01)

    def fail(_):
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorname = "SQLITE_IOERR_READ"
        raise error

    with Watch(path) as watch:
        with monkeypatch.context() as patched:
            patched.setattr(watching, "_data_version", fail)
            assert not watch.wait(0.05)
            writer.commits()
            assert not watch.wait(0.05)

        assert told_soon(watch)


def test_a_folder_that_is_renamed_is_no_harm(path, writer, monkeypatch):
    monkeypatch.setattr(watching, "BEAT_S", 0.01)
    elsewhere = path.parent.with_name("elsewhere")
    with Watch(path) as watch:
        path.parent.rename(elsewhere)
        assert not watch.wait(0.05)
        writer.begin("commit_later()")
        assert told_soon(watch)
        writer.done()
        path.parent.mkdir()
        assert not watch.wait(0.05)
        with writing_to(path) as another:
            assert told_soon(watch)  # a new mirror in the old place
            while watch.wait(0.05):
                pass

            another.begin("commit_later()")
            assert told_soon(watch)
            another.done()


def test_a_folder_that_is_deleted_is_no_harm(path, writer, monkeypatch):
    monkeypatch.setattr(watching, "BEAT_S", 0.01)
    with Watch(path) as watch:
        rmtree(path.parent)

        assert not watch.wait(0.05)
        assert not watch.wait(0)


def test_a_link_to_the_mirror_is_followed(path, writer, only_hints, tmp_path):
    (tmp_path / "link.db").symlink_to(path)

    with Watch(tmp_path / "link.db") as watch:
        writer.begin("commit_later()")

        assert told_soon(watch)
        writer.done()


def test_a_mirror_that_is_not_there_is_told_in_a_sentence(tmp_path):
    before = open_numbers()

    with pytest.raises(MirrorUnusable), Watch(tmp_path / "x.db"):
        pass

    assert list(tmp_path.iterdir()) == []
    assert open_numbers() == before


@pytest.mark.parametrize("inotify", [True, False])
def test_wake_ends_the_wait_of_another_thread(path, writer, only_hints, inotify, request):
    if not inotify:
        request.getfixturevalue("no_inotify")
    with Watch(path) as watch:
        for _ in range(3):
            watch._hinted_at -= 1_000_000  # so that no other look is due
            Timer(0.02, watch.wake).start()
            assert not watch.wait(3000)


def test_wake_before_a_wait_ends_it_and_no_other(path, writer, only_hints):
    watch = Watch(path)
    watch.wake()
    with watch:
        assert not watch.wait(3000)
        for _ in range(70_000):  # more than the pipe holds
            watch.wake()
        assert not watch.wait(3000)
        with pytest.raises(BlockingIOError):  # or it would end every rest from now on
            os.read(watch._bell[0], 1)

        writer.begin("commit_later()")
        assert told_soon(watch)
        writer.done()
    watch.wake()


def test_a_commit_is_not_lost_to_wake(path, writer, only_hints):
    with Watch(path) as watch:
        writer.commits()
        watch.wake()

        assert not watch.wait(0)
        assert watch.wait(0)


def test_closing_gives_every_file_number_back(path, writer):
    with closing(sqlite3.connect(path)) as conn:  # SQLite keeps them while another has the file
        conn.execute("select * from t").fetchall()
        before = open_numbers()
        for _ in range(3):
            with Watch(path) as watch:
                writer.commits()
                watch.wait(PATIENCE_S)
                assert open_numbers() > before
            watch.close()
    with Watch(path):
        pass

    assert open_numbers() <= before


def test_opening_anew_leaves_no_file_open(path, writer, monkeypatch):
    monkeypatch.setattr(watching, "BEAT_S", 0.01)
    with Watch(path) as watch:
        before = open_numbers()
        writer.does("conn.close()")
        for _ in range(5):
            for end in ("-wal", "-shm"):
                path.with_name(path.name + end).unlink()
            assert told_soon(watch)

        assert open_numbers() == before


@needs_root
def test_who_may_only_read_can_watch():
    def waits(path):
        watching.BEAT_S = 3600.0  # in the child alone
        with Watch(path) as watch:
            yield watch.hinted
            for _ in range(5):
                yield told_soon(watch)

    with place_for_all() as folder, writing_to(Path(folder, "x.db")) as writer:
        for file in folder.iterdir():
            file.chmod(0o644)
        with child(waits, folder / "x.db", user=NOBODY) as reader:
            assert reader.said() is True
            for _ in range(5):
                reader.go()
                writer.begin("commit_later()")
                assert reader.said() is True
                writer.done()


def test_a_burst_of_hints_does_not_spin(path, writer, told, monkeypatch):
    monkeypatch.setattr(watching, "BEAT_S", 3600.0)
    with Watch(path) as watch:
        looks = count_looks(watch)
        stopping = Event()

        def tell():
            while not stopping.is_set():
                told("semysync.db-wal", times=3)

        thread = Thread(target=tell)
        thread.start()
        began = time.monotonic()
        assert not watch.wait(0.3)
        took_s = time.monotonic() - began
        # The pipe may be full, unlike inotify's queue, which never holds a writer up.
        stopping.set()
        while thread.is_alive():
            watch._hints.heard()

        assert 3 < len(looks) <= took_s / watching.SHORTEST_S + 2


def test_hints_about_other_files_are_no_reason_to_look(path, writer, told, only_hints):
    with Watch(path) as watch:
        assert not watch.wait(0.2)
        looks = count_looks(watch)
        hinted_at = watch._hinted_at
        for name in ("other.db", "semysync.db-shm", "semysync.db.bak", "x"):
            told(name)

        assert not watch.wait(0.05)

        assert len(looks) <= 2  # at the beginning and at the end
        assert watch._hinted_at == hinted_at


@pytest.mark.parametrize("times", [1, 100, 2000])
def test_hints_that_were_lost_are_a_hint(path, writer, told, monkeypatch, times):
    monkeypatch.setattr(watching, "BEAT_S", 3600.0)
    monkeypatch.setattr(watching, "READ_BYTES", 8192)
    with Watch(path) as watch:
        hinted_at = watch._hinted_at
        told("other.db", times=times - 1)
        told("", mask=0x4000)  # IN_Q_OVERFLOW

        assert not watch.wait(0.01)

        assert watch._hinted_at > hinted_at
        with pytest.raises(BlockingIOError):  # none is left
            os.read(watch._hints.fileno(), 1)


def test_after_an_overflow_of_the_real_queue_commits_are_hinted_at(path, writer, only_hints):
    many = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if many > 50_000:
        pytest.skip(f"NOT TESTED: {many} hints take too long to make")
    with Watch(path) as watch:
        for n in range(many // 2 + 10):
            file = path.with_name(f"{n}")
            file.touch()
            file.unlink()
        assert not watch.wait(0.05)

        writer.begin("commit_later()")
        assert told_soon(watch)
        writer.done()
        assert watch.hinted
