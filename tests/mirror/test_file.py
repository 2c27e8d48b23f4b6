"""Files that cannot be the mirror, each told in a sentence; modes; locks."""

import os
import re
import sqlite3
import stat
import subprocess
import sys

import pytest

from semysync.errors import MirrorBusy, MirrorUnusable
from semysync.mirror.file import SCHEMA_VERSION, open_reader
from semysync.mirror.lock import Lock, Right
from semysync.mirror.schema import MIGRATIONS
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


def test_an_empty_file_becomes_a_mirror(tmp_path):
    (tmp_path / "x.db").touch()

    with Store.migrate(tmp_path / "x.db") as store:
        assert store.device_ids() == {}


@pytest.mark.parametrize(("folder", "file"), [(0o700, 0o600), (0o2770, 0o660), (0o755, 0o600)])
def test_the_file_is_as_open_as_its_folder(tmp_path, folder, file):
    place = tmp_path / "place"
    place.mkdir()
    place.chmod(folder)
    before = os.umask(0o022)

    try:
        with Store.migrate(place / "semysync.db") as store:
            store.device_ids()
            modes = {stat.S_IMODE(path.stat().st_mode) for path in place.iterdir()}
    finally:
        os.umask(before)

    assert modes == {file}


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


def test_the_schema_needs_no_function_of_ours_and_no_json(store):
    """What is stored runs in other people's programs: it must get by on plain SQLite."""
    for (sql,) in store._db.execute("select sql from sqlite_master where sql is not null"):
        assert "json" not in re.sub("--.*", "", sql).lower()


def test_a_plain_program_can_read_the_mirror(store):
    conn = sqlite3.connect(store.path)

    for (name,) in conn.execute("select name from sqlite_master where type in ('table', 'view')"):
        conn.execute(f"select * from {name}").fetchall()
    assert conn.execute("pragma journal_mode").fetchone() == ("wal",)
