"""Files that cannot be the mirror, each told in a sentence; modes; locks."""

import errno
import os
import re
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing
from itertools import combinations, permutations
from pathlib import Path
from types import SimpleNamespace

import pytest
from children import MS_RDONLY, MS_REMOUNT, Died, child, in_child, mount, needs_root, own_mounts
from children import place_for_all as make_place
from processes import PATIENCE_S
from structlog.testing import capture_logs

from semysync.errors import MirrorBusy, MirrorUnusable
from semysync.mirror import lock
from semysync.mirror.access import correct_modes, mode_in
from semysync.mirror.file import (
    SCHEMA_VERSION,
    at_one_moment,
    connect,
    explained,
    explanation,
    open_reader,
)
from semysync.mirror.lock import Lock, Right
from semysync.mirror.schema.migrations import MIGRATIONS
from semysync.mirror.store import Store


def make(path, script):
    conn = sqlite3.connect(path)
    conn.executescript(script)
    conn.close()


OPENERS = [Store.open, Store.migrate, open_reader]


@pytest.mark.parametrize("opened", OPENERS)
def test_a_database_of_another_program_is_refused(tmp_path, opened):
    make(tmp_path / "x.db", "create table t (a)")

    with pytest.raises(MirrorUnusable, match="a database of another program"):
        opened(tmp_path / "x.db")

    conn = sqlite3.connect(tmp_path / "x.db")
    assert conn.execute("select name from sqlite_master").fetchall() == [("t",)]
    assert conn.execute("pragma journal_mode").fetchone() == ("delete",)


@pytest.mark.parametrize("opened", OPENERS)
def test_a_file_that_is_no_database_is_refused(tmp_path, opened):
    (tmp_path / "x.db").write_text("It is a text of more than a hundred letters. " * 10)

    with pytest.raises(MirrorUnusable, match="no SQLite database"):
        opened(tmp_path / "x.db")


@pytest.mark.parametrize("opened", OPENERS)
def test_a_mirror_of_a_newer_version_is_refused(store, opened):
    store._db.execute(f"pragma user_version = {SCHEMA_VERSION + 1}")

    with pytest.raises(MirrorUnusable, match="newer semysync"):
        opened(store.path)


@pytest.mark.parametrize("opened", [Store.open, open_reader])
def test_a_mirror_of_an_older_version_is_left_to_those_who_may_migrate(store, opened):
    store._db.execute(f"pragma user_version = {SCHEMA_VERSION - 1}")

    with pytest.raises(MirrorUnusable, match="older semysync"):
        opened(store.path)


@pytest.mark.parametrize("opened", [Store.open, open_reader])
def test_a_mirror_that_is_not_there_is_not_made_by_readers(tmp_path, opened):
    with pytest.raises(MirrorUnusable, match="there is no mirror at"):
        opened(tmp_path / "x.db")

    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_mirror(tmp_path):
    with pytest.raises(MirrorUnusable, match="is no file"):
        Store.migrate(tmp_path)


def test_the_version_is_the_number_of_migrations():
    assert len(MIGRATIONS._migrations) == SCHEMA_VERSION


def test_a_library_that_is_too_old_is_told(store, monkeypatch):
    monkeypatch.setattr("sqlite3.sqlite_version_info", (3, 36, 0))

    with pytest.raises(MirrorUnusable, match=r"is too old: 3\.37 or newer is needed"):
        open_reader(store.path)


def test_an_empty_file_becomes_a_mirror(tmp_path):
    (tmp_path / "x.db").touch()

    with Store.migrate(tmp_path / "x.db") as store:
        assert store.device_ids() == {}


@pytest.mark.parametrize("opened", OPENERS)
def test_a_folder_is_told_whoever_opens_it(tmp_path, opened):
    with pytest.raises(MirrorUnusable, match="is no file"):
        opened(tmp_path)


@pytest.mark.parametrize("opened", [Store.open, open_reader])
@pytest.mark.parametrize("name", ["a" * 300, "loop.db"])
def test_a_path_that_leads_to_no_file_is_told(tmp_path, opened, name):
    (tmp_path / "loop.db").symlink_to("loop.db")

    with pytest.raises(MirrorUnusable, match="cannot open"):
        opened(tmp_path / name)


@pytest.mark.parametrize("opened", [Store.open, open_reader])
def test_an_empty_file_is_no_mirror_yet(tmp_path, opened):
    (tmp_path / "x.db").touch()

    with pytest.raises(MirrorUnusable, match="is still empty"):
        opened(tmp_path / "x.db")


def test_a_link_that_leads_nowhere_is_not_followed(tmp_path):
    (tmp_path / "x.db").symlink_to(tmp_path / "disk" / "x.db")

    with pytest.raises(MirrorUnusable, match="is no file"):
        Store.migrate(tmp_path / "x.db")


def said_by_sqlite(name):
    error = sqlite3.OperationalError("…")
    error.sqlite_errorname = name
    return error


@pytest.mark.parametrize(
    ("name", "error", "sentence"),
    [
        ("SQLITE_BUSY", MirrorBusy, "another program has been writing to x.db for 30 s"),
        ("SQLITE_BUSY_RECOVERY", MirrorBusy, "in order after a crash"),
        ("SQLITE_PROTOCOL", MirrorBusy, "too many programs open x.db at once"),
        ("SQLITE_IOERR_SHMSIZE", MirrorBusy, "no space left"),
        ("SQLITE_IOERR_WRITE", MirrorBusy, "your quota"),
        ("SQLITE_IOERR_READ", MirrorBusy, "does not answer"),
        ("SQLITE_CORRUPT_VTAB", MirrorUnusable, "is damaged"),
        ("SQLITE_READONLY_DBMOVED", MirrorUnusable, "was moved or replaced"),
        ("SQLITE_CANTOPEN", MirrorUnusable, "cannot write to x.db"),
        ("SQLITE_CONSTRAINT_CHECK", None, None),
    ],
)
def test_what_sqlite_says_of_a_file_becomes_a_sentence(name, error, sentence):
    told = explanation(Path("x.db"), said_by_sqlite(name))

    assert type(told) is (error or type(None))
    assert error is None or sentence in str(told)


def test_an_error_of_the_disk_that_ends_a_moment_of_reading_is_the_one_that_is_told(store):
    def read(conn):
        with explained(store.path, reading=True), at_one_moment(conn):
            conn.execute("rollback")  # which SQLite does by itself
            raise said_by_sqlite("SQLITE_IOERR_READ")

    with (
        closing(open_reader(store.path)) as conn,
        pytest.raises(MirrorBusy, match="does not answer as it should"),
    ):
        read(conn)


def test_a_reader_is_told_that_it_cannot_read():
    told = explanation(Path("x.db"), said_by_sqlite("SQLITE_CANTOPEN"), reading=True)

    assert "cannot read x.db" in str(told)


# how open the files are

MODES = [(0o700, 0o600), (0o2770, 0o660), (0o2775, 0o660), (0o755, 0o600), (0o770, 0o600)]


@pytest.mark.parametrize("umask", [0o022, 0o000, 0o077, 0o777])
@pytest.mark.parametrize(("folder", "file"), MODES)
def test_the_files_are_as_open_as_their_folder(tmp_path, folder, file, umask):
    place = tmp_path / "place"
    place.mkdir()
    place.chmod(folder)
    before = os.umask(umask)

    try:
        mirror = place / "semysync.db"
        with Lock(mirror, Right.SENDER), Store.migrate(mirror) as store:
            store.device_ids()
            modes = {path.name: mode_of(path) for path in place.iterdir()}
    finally:
        os.umask(before)

    names = ["semysync.db", "semysync.db-sender.lock", "semysync.db-shm", "semysync.db-wal"]
    assert modes == dict.fromkeys(names, file)


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_a_folder_that_is_made_is_for_its_owner_alone(tmp_path, umask):
    mirror = tmp_path / "one" / "two" / "semysync.db"
    before = os.umask(umask)

    try:
        Store.migrate(mirror).close()
    finally:
        os.umask(before)

    assert (mode_of(tmp_path / "one"), mode_of(tmp_path / "one" / "two")) == (0o700, 0o700)


@pytest.mark.parametrize("was", [0o644, 0o666, 0o660, 0o600])
@pytest.mark.parametrize(("folder", "now"), [(0o700, 0o600), (0o2770, 0o660)])
def test_a_file_that_is_not_as_open_as_its_folder_is_corrected_with_a_warning(
    store, folder, was, now
):
    store.path.parent.chmod(folder)
    for file in store.path.parent.iterdir():
        file.chmod(was)

    with capture_logs() as lines, Store.migrate(store.path):
        assert {mode_of(file) for file in store.path.parent.iterdir()} == {now}

    ends = ("semysync.db", "semysync.db-wal", "semysync.db-shm")
    assert [(line["event"], line["file"], line["was"], line["now"]) for line in lines] == [
        ("mirror.mode_corrected", str(store.path.with_name(end)), f"{was:04o}", f"{now:04o}")
        for end in (ends if was != now else ())
    ]


def test_a_mirror_that_was_frozen_stays_so(store):
    store.path.chmod(0o400)

    assert correct_modes(store.path) == []
    assert mode_of(store.path) == 0o400


def test_setgid_and_the_group_s_right_to_write_make_a_folder_shared():
    assert {folder: mode_in(folder) for folder in (0o2770, 0o42775, 0o2750, 0o770, 0o1777)} == {
        0o2770: 0o660,
        0o42775: 0o660,
        0o2750: 0o600,
        0o770: 0o600,
        0o1777: 0o600,
    }


def test_a_mirror_behind_a_link_is_as_open_as_the_folder_that_it_is_in(store, tmp_path):
    (tmp_path / "links").mkdir(mode=0o777)
    (tmp_path / "links").chmod(0o2777)
    link = tmp_path / "links" / "link.db"
    link.symlink_to(store.path)

    with capture_logs() as lines:
        Store.migrate(link).close()

    assert lines == []
    assert mode_of(store.path) == 0o600


# users: the daemon, another of its group, and somebody else

DAEMON, FRIEND, STRANGER, GROUP = 54321, 54322, 54323, 54320


@pytest.fixture
def place():
    """A folder of the daemon's, in a place that every user can reach; private at first."""
    with make_place() as top:
        folder = top / "mirror"
        folder.mkdir()
        os.chown(folder, DAEMON, GROUP)
        folder.chmod(0o700)
        yield folder


def by(user, act, *args):
    return in_child(act, *args, user=user, groups=[] if user == STRANGER else [GROUP])


def daemon(path):
    """Start, store a message, and end."""
    with Store.migrate(path) as store:
        write(store._db.conn)


def write(conn):
    conn.execute("insert into contacts (contact) select '+' || count(*) from contacts")


def other_program(path):
    """Insert without a line of ours, as people do."""
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        write(conn)


def read(path):
    with closing(open_reader(path)) as conn:
        return conn.execute("select count(*) from contacts").fetchone()[0]


def killed(act):
    def acting(path):
        conn = sqlite3.connect(path, isolation_level=None)
        act(path)
        conn.execute("select * from contacts").fetchall()
        write(conn)
        os.kill(os.getpid(), signal.SIGKILL)

    return acting


def even_permutations(acts):
    """Return half of all orders, in which each two acts still come at any two places."""
    return [
        order
        for order in permutations(acts)
        if sum(acts.index(a) > acts.index(b) for a, b in combinations(order, 2)) % 2 == 0
    ]


@needs_root
@pytest.mark.parametrize(
    "order",
    even_permutations(
        [(DAEMON, "daemon"), (FRIEND, "other_program"), (FRIEND, "read"), (FRIEND, "die")]
    ),
)
def test_in_a_shared_folder_users_of_the_group_work_in_any_order(place, order):
    place.chmod(0o2770)
    mirror = place / "semysync.db"
    before = os.umask(0o077)

    try:
        by(DAEMON, daemon, mirror)
        for user, name in order:
            if name == "die":
                with pytest.raises(Died):
                    by(user, killed(read), mirror)
                assert mode_of(mirror.with_name("semysync.db-shm")) == 0o660
            else:
                by(user, globals()[name], mirror)
            for file in place.iterdir():
                assert (mode_of(file), file.stat().st_gid) == (0o660, GROUP)
        by(DAEMON, daemon, mirror)
    finally:
        os.umask(before)

    assert by(FRIEND, read, mirror) == 5


@needs_root
def test_a_reader_that_is_there_before_the_daemon_does_not_lock_it_out(place):
    place.chmod(0o2770)
    mirror = place / "semysync.db"
    by(DAEMON, daemon, mirror)

    def reads():
        with closing(open_reader(mirror)) as conn:
            while True:
                yield conn.execute("select count(*) from contacts").fetchone()[0]

    with child(reads, user=FRIEND, groups=[GROUP]) as reader:
        assert reader.said() == 1
        assert mirror.with_name("semysync.db-shm").stat().st_uid == FRIEND
        for count in (2, 3):
            by(DAEMON, daemon, mirror)
            reader.go()
            assert reader.said() == count


@needs_root
def test_the_friend_may_make_the_mirror_and_the_daemon_goes_on_with_it(place):
    place.chmod(0o2770)
    mirror = place / "semysync.db"

    by(FRIEND, daemon, mirror)
    by(DAEMON, daemon, mirror)

    assert mirror.stat().st_uid == FRIEND
    assert by(FRIEND, read, mirror) == 2


@needs_root
def test_a_folder_that_is_opened_to_its_group_later_lets_the_friend_in(place):
    mirror = place / "semysync.db"
    by(DAEMON, daemon, mirror)
    os.chown(mirror, DAEMON, DAEMON)
    place.chmod(0o2770)

    with pytest.raises(MirrorUnusable, match=r"you may not read .*chmod 660"):
        by(FRIEND, read, mirror)
    by(DAEMON, daemon, mirror)

    assert by(FRIEND, read, mirror) == 2
    assert mirror.stat().st_gid == GROUP


@needs_root
def test_a_file_is_not_opened_to_a_group_that_it_is_not_meant_for(place):
    mirror = place / "semysync.db"
    by(DAEMON, daemon, mirror)
    os.chown(place, DAEMON, STRANGER)
    place.chmod(0o2770)

    by(DAEMON, daemon, mirror)

    assert (mode_of(mirror), mirror.stat().st_gid) == (0o600, DAEMON)


@needs_root
@pytest.mark.parametrize("folder", [0o700, 0o2770, 0o2750, 0o755, 0o2775, 0o2777, 0o1777])
@pytest.mark.parametrize("opened", OPENERS)
@pytest.mark.parametrize("alive", [False, True])
def test_a_stranger_gets_a_sentence_and_leaves_nothing_behind(place, folder, opened, alive):
    place.chmod(folder)
    mirror = place / "semysync.db"

    def stay():
        with Store.migrate(mirror) as store:
            write(store._db.conn)
            yield "open"
            write(store._db.conn)

    with child(stay, user=DAEMON, groups=[GROUP]) as keeper:
        assert keeper.said() == "open"
        if not alive:
            keeper.go()
            assert keeper.said() is None
        before = sorted(place.iterdir())

        with pytest.raises(MirrorUnusable) as raised:
            by(STRANGER, opened, mirror)

        assert sorted(place.iterdir()) == before
        assert "you may not" in str(raised.value) or "cannot make" in str(raised.value)
        assert "\n" not in str(raised.value)
        if alive:
            keeper.go()
            assert keeper.said() is None
    by(DAEMON, daemon, mirror)


@needs_root
@pytest.mark.parametrize("opened", OPENERS)
def test_a_folder_further_up_that_is_closed_to_us_is_told(place, opened):
    mirror = place / "deeper" / "semysync.db"
    by(DAEMON, daemon, mirror)

    with pytest.raises(MirrorUnusable, match=r"you may not enter|cannot make"):
        by(STRANGER, opened, mirror)


@needs_root
@pytest.mark.parametrize("folder", [0o777, 0o2777, 0o2775])
@pytest.mark.parametrize("opened", OPENERS)
def test_who_may_only_read_the_file_leaves_nothing_that_locks_its_owner_out(place, folder, opened):
    """The mode that SQLite gives a file by itself, or a copy, in a folder where all may write."""
    mirror = place / "semysync.db"
    by(DAEMON, daemon, mirror)
    mirror.chmod(0o644)
    place.chmod(folder)
    user = STRANGER if folder & 0o002 else FRIEND

    with pytest.raises(MirrorUnusable, match="you may"):
        by(user, opened, mirror)

    assert [file.name for file in place.iterdir()] == ["semysync.db"]
    by(DAEMON, daemon, mirror)
    assert mode_of(mirror) in {0o600, 0o660}


@needs_root
@pytest.mark.parametrize("end", ["-wal", "-shm"])
def test_files_that_lock_the_daemon_out_are_named_with_what_to_do(place, end):
    mirror = place / "semysync.db"
    by(DAEMON, daemon, mirror)
    strange = mirror.with_name(mirror.name + end)
    strange.touch(mode=0o644)
    os.chown(strange, STRANGER, STRANGER)

    told = f"you may not write to {strange}, which belongs to user {STRANGER}: .*`chown {DAEMON} "
    with pytest.raises(MirrorUnusable, match=told):
        by(DAEMON, daemon, mirror)


@needs_root
def test_what_root_makes_in_a_user_s_folder_is_that_user_s(place):
    mirror = place / "semysync.db"

    def start():
        with Lock(mirror, Right.SENDER), Store.migrate(mirror):
            return {file.name: file.stat().st_uid for file in place.iterdir()}

    assert set(in_child(start).values()) == {DAEMON}
    by(DAEMON, start)


@needs_root
def test_a_file_of_root_s_in_a_private_folder_is_told(place):
    mirror = place / "semysync.db"
    mirror.touch(mode=0o600)

    with pytest.raises(MirrorUnusable, match=f"belongs to user root: let root .*chown {DAEMON} "):
        by(DAEMON, daemon, mirror)


# what is read-only


@needs_root
@pytest.mark.parametrize("opened", [Store.open, Store.migrate, connect])
def test_a_frozen_mirror_is_told_to_who_writes_and_read_by_who_reads(place, opened):
    mirror = place / "semysync.db"
    by(DAEMON, daemon, mirror)
    mirror.chmod(0o400)

    with pytest.raises(MirrorUnusable, match=r"may not write to .* mode is 0400, so run `chmod u"):
        by(DAEMON, opened, mirror)

    assert by(DAEMON, read, mirror) == 1


@needs_root
@pytest.mark.parametrize("opened", [Store.open, Store.migrate])
def test_a_read_only_folder_is_told_to_who_writes(place, opened):
    mirror = place / "semysync.db"
    by(DAEMON, daemon, mirror)
    place.chmod(0o500)

    with pytest.raises(MirrorUnusable, match=r"you may not make files in .*mode is 0500"):
        by(DAEMON, opened, mirror)


@needs_root
def test_a_read_only_folder_is_read_while_the_daemon_has_its_files_there(place):
    mirror = place / "semysync.db"
    with pytest.raises(Died):
        by(DAEMON, killed(daemon), mirror)
    place.chmod(0o500)

    assert by(DAEMON, read, mirror) == 2


@needs_root
def test_a_read_only_folder_where_nothing_runs_is_told_to_who_reads(place):
    mirror = place / "semysync.db"
    by(DAEMON, daemon, mirror)
    place.chmod(0o500)

    told = "while no daemon runs: .*; start the daemon, or copy semysync.db"
    with pytest.raises(MirrorUnusable, match=told):
        by(DAEMON, read, mirror)


@needs_root
def test_a_copy_without_wal_is_read_where_nothing_may_be_written(place):
    mirror = place / "semysync.db"
    by(DAEMON, daemon, mirror)
    with closing(sqlite3.connect(mirror)) as conn:
        conn.execute("pragma journal_mode = delete")
    place.chmod(0o500)

    assert by(DAEMON, read, mirror) == 1


@needs_root
@pytest.mark.parametrize("alive", [False, True])
def test_a_read_only_file_system_is_told_and_read_where_sqlite_can(tmp_path, alive):
    def act():
        own_mounts()
        mount(tmp_path, options="mode=700")
        mirror = tmp_path / "semysync.db"
        if alive:
            with pytest.raises(Died):
                in_child(killed(daemon), mirror)
        else:
            daemon(mirror)
        mount(tmp_path, MS_REMOUNT | MS_RDONLY)

        for opened in (Store.open, Store.migrate):
            with pytest.raises(MirrorBusy, match="mounted read-only"):
                opened(mirror)
        if alive:
            return read(mirror)
        with pytest.raises(MirrorUnusable, match=r"or copy semysync.db to a folder of yours"):
            read(mirror)
        return None

    assert in_child(act) == (2 if alive else None)


@needs_root
def test_a_new_mirror_on_a_read_only_file_system_is_told(tmp_path):
    def act():
        own_mounts()
        mount(tmp_path)
        mount(tmp_path, MS_REMOUNT | MS_RDONLY)
        Store.migrate(tmp_path / "new" / "semysync.db")

    with pytest.raises(MirrorBusy, match=r"cannot make the mirror .*: Read-only file system"):
        in_child(act)


# locks


def test_a_right_is_held_once_and_the_holder_is_named(tmp_path):
    mirror = tmp_path / "semysync.db"

    held = pytest.raises(MirrorBusy, match=f"process {os.getpid()} is already at work")
    with Lock(mirror, Right.SENDER), Lock(mirror, Right.PURGE), held:
        Lock(mirror, Right.SENDER)
    with Lock(mirror, Right.SENDER):
        pass


def test_a_right_ends_with_its_holder_however_that_ends(tmp_path):
    mirror = tmp_path / "semysync.db"
    script = (
        "import sys; from pathlib import Path; from semysync.mirror.lock import *;"
        "lock = Lock(Path(sys.argv[1]), Right.SENDER); print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, mirror], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(MirrorBusy, match=f"process {holder.pid} "):
            Lock(mirror, Right.SENDER)
        holder.kill()

    with Lock(mirror, Right.SENDER):
        pass


def test_what_a_holder_was_just_starting_when_it_was_killed_is_waited_for(tmp_path, monkeypatch):
    # Between its fork and its exec such a child has the open file, and with that the lock.
    mirror = tmp_path / "semysync.db"
    script = (
        "import os, signal, sys; from pathlib import Path; from semysync.mirror.lock import *;"
        "lock = Lock(Path(sys.argv[1]), Right.SENDER);"
        "os.kill(os.getpid(), signal.SIGKILL) if os.fork() else sys.stdin.read()"
    )
    holder = subprocess.Popen([sys.executable, "-c", script, mirror], stdin=subprocess.PIPE)
    holder.wait()
    waits = []

    def wait(seconds):
        holder.stdin.close()  # so that the child ends
        waits.append(seconds)
        time.sleep(seconds)

    monkeypatch.setattr(lock, "HEIR_S", PATIENCE_S)
    monkeypatch.setattr(lock, "time", SimpleNamespace(monotonic=time.monotonic, sleep=wait))

    with Lock(mirror, Right.SENDER):
        assert waits


def test_a_right_that_outlives_its_holder_for_long_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr("semysync.mirror.lock.HEIR_S", 0.02)
    mirror = tmp_path / "semysync.db"
    ended = subprocess.Popen(["true"])
    ended.wait()

    with Lock(mirror, Right.SENDER):
        mirror.with_name("semysync.db-sender.lock").write_text(f"{ended.pid}\n")
        with pytest.raises(MirrorBusy, match=f"process {ended.pid} is already at work"):
            Lock(mirror, Right.SENDER)


@pytest.mark.parametrize("written", ["9" * 20, "of nobody", "1"])
def test_a_right_is_held_whatever_stands_in_its_file(tmp_path, monkeypatch, written):
    monkeypatch.setattr("semysync.mirror.lock.HEIR_S", 5)
    mirror = tmp_path / "semysync.db"

    with Lock(mirror, Right.SENDER):
        mirror.with_name("semysync.db-sender.lock").write_text(written)
        with pytest.raises(MirrorBusy, match=f"process {written} is already at work"):
            Lock(mirror, Right.SENDER)


def test_a_file_system_that_knows_no_locks_is_told(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", flock)

    with pytest.raises(MirrorUnusable, match="No locks available; choose a folder on a disk of th"):
        Lock(tmp_path / "semysync.db", Right.SENDER)


def test_two_links_to_a_mirror_lead_to_one_lock(tmp_path):
    (tmp_path / "semysync.db").touch()
    (tmp_path / "link.db").symlink_to("semysync.db")

    with (
        Lock(tmp_path / "semysync.db", Right.SENDER),
        pytest.raises(MirrorBusy, match="already at work"),
    ):
        Lock(tmp_path / "link.db", Right.SENDER)


@needs_root
def test_a_right_goes_from_one_user_of_the_group_to_another(place):
    place.chmod(0o2770)

    def take():
        with Lock(place / "semysync.db", Right.PURGE):
            return True

    assert by(DAEMON, take)
    assert by(FRIEND, take)
    assert by(DAEMON, take)
    with pytest.raises(
        MirrorUnusable, match=r"cannot open .*-purge\.lock: Permission denied; check"
    ):
        by(STRANGER, take)


@needs_root
def test_a_right_can_be_taken_on_a_full_disk(tmp_path):
    def act():
        own_mounts()
        mount(tmp_path, options="size=64k")
        (tmp_path / "ballast").write_bytes(b"x" * 65536)
        with Lock(tmp_path / "semysync.db", Right.SENDER):
            with pytest.raises(MirrorBusy, match=r"process .* is already at work"):
                Lock(tmp_path / "semysync.db", Right.SENDER)
            return (tmp_path / "semysync.db-sender.lock").stat().st_size

    assert in_child(act) == 0


# what other programs find


def test_the_schema_needs_no_function_of_ours_and_no_json(store):
    """What is stored runs in other people's programs: it must get by on plain SQLite."""
    for (sql,) in store._db.execute("select sql from sqlite_master where sql is not null"):
        assert "json" not in re.sub("--.*", "", sql).lower()


def test_a_plain_program_can_read_the_mirror(store):
    conn = sqlite3.connect(store.path)

    for (name,) in conn.execute("select name from sqlite_master where type in ('table', 'view')"):
        conn.execute(f"select * from {name}").fetchall()
    assert conn.execute("pragma journal_mode").fetchone() == ("wal",)
