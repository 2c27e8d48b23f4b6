"""Copies of a mirror: of one moment, proved, and never at the cost of others."""

import errno
import os
import shutil
import sqlite3
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from semysync.errors import BackupFailed, MirrorUnusable, SemysyncError
from semysync.mirror.copies import backup
from semysync.mirror.copies.backup import check, copied_until, copies, make, note
from semysync.mirror.file import open_reader
from semysync.mirror.store import Store
from semysync.model import Box

NOW = datetime(2026, 11, 26, 3, 0, tzinfo=UTC)


def unwatched(_what, _share):
    pass


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "copies").mkdir()
    return tmp_path / "copies"


@pytest.fixture
def full(store, received, monkeypatch):
    """A mirror of some megabytes, of which a copy takes several steps."""
    monkeypatch.setattr(backup, "PAGES", 200)
    store.save(Box.INBOX, [received(n, text="x" * 900) for n in range(1, 5_001)], now=NOW)
    return store


@pytest.fixture
def take(store, folder):
    """Make a copy and note it, each a day after the one before; return it, and what was deleted."""
    day = 0

    def take(keep=7, to=folder, at=None):
        nonlocal day
        day += 1
        moment = at or NOW + timedelta(days=day)
        made = make(store.path, to, lambda: moment, unwatched)
        return made, note(store.path, made, keep)

    return take


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def ask(path, query):
    with closing(sqlite3.connect(path)) as conn:
        return conn.execute(query).fetchall()


def test_a_copy_holds_what_was_mirrored_before_the_time_that_it_bears(store, folder, received):
    def now():
        store.save(Box.INBOX, [received(7)], now=NOW - timedelta(microseconds=1))
        return NOW

    copy = make(store.path, folder, now, unwatched)

    assert ask(copy.path, "select id from inbox") == [(7,)]


def test_a_copy_holds_what_the_mirror_holds_in_one_file(full, folder):
    copy = make(full.path, folder, lambda: NOW, unwatched)

    assert names(folder) == ["semysync-20261126T030000Z.db"]
    assert copy.path == folder / "semysync-20261126T030000Z.db"
    assert copy.messages == 5_000
    assert copy.bytes == copy.path.stat().st_size
    assert ask(copy.path, "select count(*), max(text) from inbox") == [(5_000, "x" * 900)]
    assert ask(copy.path, "pragma journal_mode") == [("delete",)]
    assert names(folder) == ["semysync-20261126T030000Z.db"]


def test_a_copy_is_a_mirror_that_works(store, folder, received):
    store.save(Box.INBOX, [received(1)], now=NOW)
    copy = make(store.path, folder, lambda: NOW, unwatched)

    with Store.migrate(copy.path) as again:
        again.save(Box.INBOX, [received(2)], now=NOW)
        assert again.newest(Box.INBOX, 351) == 2


@pytest.mark.parametrize(("mode", "expected"), [(0o700, 0o600), (0o2770, 0o660)])
def test_a_copy_is_as_open_as_its_folder(store, folder, mode, expected):
    folder.chmod(mode)

    copy = make(store.path, folder, lambda: NOW, unwatched)

    assert copy.path.stat().st_mode & 0o777 == expected


def test_a_copy_is_of_one_moment_though_others_write_all_the_while(full, folder, received):
    """What is written meanwhile is not in it, and the copy does not begin anew."""
    steps = []

    def watch(what, share):
        if what == "copying":
            steps.append(share)
            number = 100_000 + len(steps)
            full.save(Box.INBOX, [received(number), received(number + 500_000)], now=NOW)

    copy = make(full.path, folder, lambda: NOW, watch)

    assert len(steps) > 3
    assert steps == sorted(steps)
    assert ask(copy.path, "select count(*) from inbox") == [(5_000,)]
    assert full.newest(Box.INBOX, 351) > 600_000


def test_a_copy_beside_a_writer_that_never_rests_is_whole(full, folder, received):
    """Each transaction has two rows: a copy with one of them would be of no moment."""
    begun, stop = threading.Event(), threading.Event()

    def write():
        with Store.open(full.path) as store:
            number = 100_001
            while not stop.is_set():
                store.save(Box.INBOX, [received(number), received(number + 1)], now=NOW)
                number += 2
                begun.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert begun.wait(30)
        for minute in range(5):
            at = NOW + timedelta(minutes=minute)
            copy = make(full.path, folder, lambda at=at: at, unwatched)
            ((count,),) = ask(copy.path, "select count(*) from inbox where id > 100000")
            assert count > 0
            assert count % 2 == 0
    finally:
        stop.set()
        writer.join()


def test_writers_do_not_wait_for_a_copy(full, folder, received):
    """A step of a copy holds no lock that a writer needs."""
    written = []

    def watch(_what, _share):
        with closing(sqlite3.connect(full.path, timeout=0)) as conn, conn:
            conn.execute("insert into outbox (phone, text) values ('+79201234567', 'Hello')")
        written.append(1)

    make(full.path, folder, lambda: NOW, watch)

    assert len(written) > 3


def test_where_there_is_no_room_nothing_is_made(full, folder, monkeypatch):
    little = SimpleNamespace(free=10**6)
    monkeypatch.setattr(backup.shutil, "disk_usage", lambda _: little)

    with pytest.raises(BackupFailed, match=r"a copy takes \d\.\d MB, and in .* 1\.0 MB are free"):
        make(full.path, folder, lambda: NOW, unwatched)
    assert names(folder) == []


def test_where_the_disk_gets_full_nothing_is_left(full, folder, monkeypatch):
    """SQLite says so in the middle of the copy; the file may not grow beyond a limit here."""
    real = sqlite3.connect

    def connect(path, *args, **kwargs):
        conn = real(path, *args, **kwargs)
        if str(path).endswith(".part"):
            conn.execute("pragma max_page_count = 100")
        return conn

    monkeypatch.setattr(backup.sqlite3, "connect", connect)

    with pytest.raises(BackupFailed, match="no space left in"):
        make(full.path, folder, lambda: NOW, unwatched)
    assert names(folder) == []


def test_a_folder_that_is_there_but_for_its_last_part_is_made(store, folder):
    copy = make(store.path, folder / "daily", lambda: NOW, unwatched)

    assert copy.path.is_file()
    assert (folder / "daily").stat().st_mode & 0o777 == 0o700


def test_a_folder_far_from_anything_is_not_made(store, folder):
    """It may be a disk that is not mounted; the copies must not go under its place."""
    with pytest.raises(BackupFailed, match="mount what belongs there"):
        make(store.path, folder / "usb" / "daily", lambda: NOW, unwatched)


def test_a_folder_that_cannot_be_made_is_told(store, tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(
        BackupFailed, match=r"cannot make the folder .*/file/daily: Not a directory"
    ):
        make(store.path, tmp_path / "file" / "daily", lambda: NOW, unwatched)


def test_a_folder_in_which_no_file_can_be_made_is_told(store):
    with pytest.raises(BackupFailed, match="cannot make a file in /proc/self"):
        backup._reserved(Path("/proc/self"), "semysync-20261126T030000Z")


def test_of_one_second_there_are_no_more_than_so_many_copies(store, folder):
    stem = "semysync-20261126T030000Z"
    for number in range(1, 100):
        (folder / (f"{stem}.db" if number == 1 else f"{stem}-{number}.db")).touch()

    with pytest.raises(BackupFailed, match="too many copies are being made in"):
        make(store.path, folder, lambda: NOW, unwatched)


def test_a_disk_that_breaks_while_it_is_written_is_told_and_nothing_is_left(
    store, folder, monkeypatch
):
    def fsync(_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(backup.os, "fsync", fsync)

    with pytest.raises(BackupFailed, match=r"does not take the copy \(Input/output error\): check"):
        make(store.path, folder, lambda: NOW, unwatched)
    assert names(folder) == []


def test_ctrl_c_ends_a_proof(full, folder, monkeypatch):
    copy = make(full.path, folder, lambda: NOW, unwatched).path
    monkeypatch.setattr(backup, "STEPS", 100)
    sqlite3.enable_callback_tracebacks(False)  # noqa: FBT003  Datasette has them told, for all

    def interrupted(_what, _share):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check(copy, interrupted)


def test_a_damaged_mirror_gives_no_copy_and_removes_none(full, folder, take):
    first, _ = take()
    full._db.execute("pragma wal_checkpoint(truncate)")
    with full.path.open("r+b") as raw:
        raw.seek(400 * 4096)
        raw.write(b"\xff" * 40_960)

    with pytest.raises(SemysyncError, match=r"is no good|is damaged"):
        take(keep=1)

    assert names(folder) == [first.path.name]


def test_a_copy_that_lacks_rows_is_no_good(full, folder, monkeypatch):
    counted = backup._counts
    monkeypatch.setattr(
        backup, "_counts", lambda conn: counted(conn) | {"inbox": counted(conn)["inbox"] + seen()}
    )
    calls = iter((1, 0))

    def seen():
        return next(calls)

    with pytest.raises(BackupFailed, match="inbox has 5,000 rows of 5,001"):
        make(full.path, folder, lambda: NOW, unwatched)
    assert names(folder) == []


def test_old_copies_go_when_a_new_one_is_proved(folder, take):
    made = [take(keep=3) for _ in range(5)]

    assert [removed for _, removed in made] == [[], [], [], [made[0][0].path], [made[1][0].path]]
    assert names(folder) == [copy.path.name for copy, _ in made[2:]]


def test_with_one_to_keep_it_is_the_new_one(folder, take):
    take(keep=1)
    copy, removed = take(keep=1)

    assert names(folder) == [copy.path.name]
    assert len(removed) == 1


def test_the_new_copy_stays_whatever_the_clock_says(folder, take):
    take(at=NOW)
    copy, _ = take(keep=1, at=NOW - timedelta(days=400))

    assert names(folder) == [copy.path.name]


def test_what_is_not_ours_is_never_deleted(folder, take, tmp_path):
    """Neither what others put there, nor what became of a copy of ours, nor another's copies."""
    mine, _ = take()
    moved, _ = take()
    moved.path.write_text("precious notes", encoding="utf-8")
    other = tmp_path / "other" / "semysync.db"
    Store.migrate(other).close()
    theirs = make(other, folder, lambda: NOW, unwatched)
    note(other, theirs, 1)
    strange = folder / "semysync-20200101T000000Z.db"
    strange.write_bytes(b"x")

    kept, _ = take(keep=1)

    there = {theirs.path.name, strange.name, moved.path.name, kept.path.name}
    assert set(names(folder)) == there
    assert not mine.path.exists()
    assert moved.path.read_text(encoding="utf-8") == "precious notes"


def test_copies_in_another_folder_are_counted_apart(folder, take, tmp_path):
    take(keep=1)
    take(keep=1, to=tmp_path / "usb")

    assert len(names(folder)) == len(names(tmp_path / "usb")) == 1


def test_two_copies_of_one_second_have_two_names(store, folder):
    for _ in range(3):
        make(store.path, folder, lambda: NOW, unwatched)

    assert names(folder) == [
        "semysync-20261126T030000Z-2.db",
        "semysync-20261126T030000Z-3.db",
        "semysync-20261126T030000Z.db",
    ]


def test_what_a_kill_left_is_cleared_but_not_what_is_being_written(store, folder):
    import fcntl

    dead = folder / "semysync-20261125T030000Z.db.part"
    dead.write_bytes(b"half a copy")
    other = folder / "notes.db.part"
    other.write_bytes(b"not ours")
    alive = folder / "semysync-20261125T040000Z.db.part"
    with alive.open("wb") as writing:
        fcntl.flock(writing, fcntl.LOCK_EX)
        make(store.path, folder, lambda: NOW, unwatched)

    assert names(folder) == [
        "notes.db.part",
        "semysync-20261125T040000Z.db.part",
        "semysync-20261126T030000Z.db",
    ]


def test_up_to_when_a_copy_holds_everything_is_known_while_it_is_there(store, folder, take):
    later = NOW + timedelta(days=30)
    with closing(open_reader(store.path)) as conn:
        assert copied_until(conn, later) is None
        first, _ = take()
        second, _ = take()
        assert copied_until(conn, later) == NOW + timedelta(days=2)
        second.path.unlink()
        assert copied_until(conn, later) == NOW + timedelta(days=1)
        first.path.write_bytes(b"")
        assert copied_until(conn, later) is None


def test_a_copy_from_the_future_proves_nothing(store, folder, take):
    take(at=NOW)
    take(at=NOW + timedelta(days=3650))

    with closing(open_reader(store.path)) as conn:
        assert copied_until(conn, NOW + timedelta(hours=1)) == NOW


def test_the_moment_is_that_of_the_beginning(full, folder, received):
    """A message that comes while the copy is made is not promised to be in it."""
    clock = [NOW]

    def watch(_what, _share):
        clock[0] += timedelta(seconds=10)
        full.save(Box.INBOX, [received(30_000)], now=clock[0])

    note(full.path, make(full.path, folder, lambda: clock[0], watch), 7)

    with closing(open_reader(full.path)) as conn:
        assert copied_until(conn, NOW + timedelta(days=1)) == NOW
        assert [copy.messages for copy in copies(conn)] == [5_000]


def test_a_good_copy_is_proved(full, folder):
    copy = make(full.path, folder, lambda: NOW, unwatched)

    proof = check(copy.path, unwatched)

    assert proof.faults == ()
    assert proof.counts["inbox"] == 5_000
    assert proof.newest_at == "2026-11-23T09:41:13.000000Z"


@pytest.mark.parametrize("damage", ["zeros", "cut", "index"])
def test_damage_is_found(full, folder, damage):
    full.make_indexes(Box.INBOX)
    copy = make(full.path, folder, lambda: NOW, unwatched).path
    if damage == "zeros":
        with copy.open("r+b") as raw:
            raw.seek(100 * 4096)
            raw.write(bytes(4096))
    elif damage == "cut":
        os.truncate(copy, copy.stat().st_size // 2)
    else:
        with closing(sqlite3.connect(copy)) as conn, conn:
            conn.execute("pragma writable_schema = on")
            conn.execute(
                "update sqlite_master set sql = replace(sql, 'device_id, id', 'id, device_id') "
                "where name = 'inbox_by_device'"
            )

    assert check(copy, unwatched).faults


def test_what_is_no_copy_is_refused_with_a_sentence(folder, store):
    for name, content in (("text.db", b"hello" * 1000), ("empty.db", b"")):
        (folder / name).write_bytes(content)
    with closing(sqlite3.connect(folder / "other.db")) as conn, conn:
        conn.execute("create table a (b)")
    newer = make(store.path, folder, lambda: NOW, unwatched).path
    with closing(sqlite3.connect(newer)) as conn, conn:
        conn.execute("pragma user_version = 999")

    for name, sentence in (
        ("text.db", "is no SQLite database"),
        ("empty.db", "is no copy of a mirror"),
        ("other.db", "is no copy of a mirror"),
        ("none.db", "there is no file"),
        (newer.name, "was written by a newer semysync"),
    ):
        with pytest.raises(MirrorUnusable, match=sentence):
            check(folder / name, unwatched)


def test_a_file_that_is_a_copy_by_name_only_stays_when_it_is_a_link(folder, take, tmp_path):
    first, _ = take()
    shutil.move(first.path, tmp_path / "kept.db")
    first.path.symlink_to(tmp_path / "kept.db")

    take(keep=1)

    assert (tmp_path / "kept.db").is_file()
    assert first.path.is_symlink()


def test_a_row_that_somebody_wrote_deletes_no_file_of_another_name(store, folder, take):
    (folder / "notes.txt").write_bytes(b"precious")
    store._db.execute(
        "insert into backups (at, path, bytes, messages) values ('2026', ?, 8, 0)",
        (str(folder / "notes.txt"),),
    )
    store._db.conn.commit()

    take(keep=1)

    assert (folder / "notes.txt").read_bytes() == b"precious"
