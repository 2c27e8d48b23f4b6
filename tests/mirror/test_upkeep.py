"""How a mirror is made, brought up to date, compared and put right."""

import os
import resource
import signal
import sqlite3
import stat
from collections import namedtuple
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from children import Died, child, in_child, mount, needs_root, own_mounts
from sqlite_utils import Database, Migrations
from structlog.testing import capture_logs

from semysync.errors import MirrorBusy, MirrorUnusable
from semysync.mirror.file import check_version, connect, explained, open_reader
from semysync.mirror.schema import comparing, upkeep
from semysync.mirror.schema.comparing import differences
from semysync.mirror.schema.migrations import MIGRATIONS
from semysync.mirror.schema.upkeep import bring_up_to_date, no_room
from semysync.mirror.store import Store
from semysync.mirror.tables.boxes import LATER_INDEXES
from semysync.model import Box, Received

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
NEXT = "m900_text_in_capitals"
COPY = f"semysync.db-before-{NEXT}"


def with_more(*functions):
    """The real migrations, and some that are yet to come."""
    migrations = Migrations("semysync")
    migrations._migrations = list(MIGRATIONS._migrations)
    for function in functions:
        migrations()(function)
    return migrations


def m900_text_in_capitals(db):
    db.execute("update inbox set text = upper(text)")


def m901_note(db):
    db.execute("create table notes (id integer primary key, note text) strict")


CAPITALS = with_more(m900_text_in_capitals)
REWRITING = frozenset({NEXT})


def messages(count, text="text"):
    return [
        Received(
            id=number,
            device_id=1,
            phone="+79201234567",
            text=text,
            channel="sms",
            received_at=None,
        )
        for number in range(1, count + 1)
    ]


@pytest.fixture
def mirror(tmp_path):
    """A mirror of the version before, with ten messages; its maker was killed, so it has a WAL."""
    path = tmp_path / "semysync.db"
    with pytest.raises(Died):
        in_child(make_and_be_killed, path)
    assert path.with_name(f"{path.name}-wal").stat().st_size
    return path


def make_and_be_killed(path):
    with Store.migrate(path) as store:
        store.save(Box.INBOX, messages(10), now=NOW)
        os.kill(os.getpid(), signal.SIGKILL)


def up_to_date(path, migrations=MIGRATIONS, rewriting=frozenset()):
    with explained(path), closing(connect(path)) as conn:
        bring_up_to_date(Database(conn), path, migrations, rewriting)


def ask(path, query):
    with closing(sqlite3.connect(path)) as conn:
        return conn.execute(query).fetchall()


def change(path, *statements):
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        for statement in statements:
            conn.execute(statement)


def schema_of(path):
    return ask(path, "select type, name, sql from sqlite_master order by 1, 2")


def version_of(path):
    return ask(path, "pragma user_version")[0][0]


def beside(path):
    """What lies beside a mirror, apart from SQLite's own."""
    ends = ("semysync.db", "-wal", "-shm")
    return sorted(file.name for file in path.parent.iterdir() if not file.name.endswith(ends))


def as_before(path):
    """Say whether a mirror is whole, of the version before, and can be used."""
    assert ask(path, "pragma integrity_check") == [("ok",)]
    with closing(open_reader(path)) as reader:
        assert differences(reader) == comparing.Differences()
    with Store.open(path) as store:
        assert store.newest(Box.INBOX, 1) == 10
        store.save(Box.INBOX, [], now=NOW)
    return ask(path, "select distinct text from inbox") == [("text",)]


# migrations


def test_a_new_mirror_is_made_without_a_copy_and_without_a_word(tmp_path):
    with capture_logs() as lines, Store.migrate(tmp_path / "semysync.db"):
        assert beside(tmp_path / "semysync.db") == []

    assert lines == []


def test_a_start_with_nothing_to_do_writes_nothing(mirror):
    with closing(sqlite3.connect(mirror)) as watcher, capture_logs() as lines:
        before = watcher.execute("pragma data_version").fetchone()
        up_to_date(mirror)

        assert watcher.execute("pragma data_version").fetchone() == before
    assert lines == []


def test_before_a_migration_that_rewrites_a_copy_is_made(mirror):
    with capture_logs() as lines:
        up_to_date(mirror, CAPITALS, REWRITING)

    assert ask(mirror, "select distinct text from inbox") == [("TEXT",)]
    assert beside(mirror) == [COPY]
    assert as_before(mirror.with_name(COPY))
    assert [line["event"] for line in lines] == ["mirror.copied", "mirror.migrated"]
    assert lines[0]["copy"] == str(mirror.with_name(COPY))


def test_before_a_migration_that_only_adds_none_is_made(mirror):
    up_to_date(mirror, with_more(m901_note), REWRITING)

    assert ask(mirror, "select count(*) from notes") == [(0,)]
    assert version_of(mirror) == len(MIGRATIONS._migrations) + 1
    assert beside(mirror) == []


def test_several_migrations_are_as_many_steps(mirror):
    def m902_fails(db):
        db.execute("insert into nowhere values (1)")

    with pytest.raises(MirrorUnusable, match="no such table: nowhere"):
        up_to_date(mirror, with_more(m900_text_in_capitals, m901_note, m902_fails), REWRITING)

    assert version_of(mirror) == len(MIGRATIONS._migrations) + 2
    assert beside(mirror) == [COPY]
    up_to_date(mirror, with_more(m900_text_in_capitals, m901_note), REWRITING)


@pytest.mark.parametrize(("folder", "mode"), [(0o700, 0o600), (0o2770, 0o660)])
def test_a_copy_is_as_open_as_the_mirror(mirror, folder, mode):
    mirror.parent.chmod(folder)

    up_to_date(mirror, CAPITALS, REWRITING)

    assert stat.S_IMODE(mirror.with_name(COPY).stat().st_mode) == mode


def test_an_earlier_copy_is_not_overwritten(mirror):
    mirror.with_name(COPY).write_text("precious")

    up_to_date(mirror, CAPITALS, REWRITING)

    assert mirror.with_name(COPY).read_text() == "precious"
    assert as_before(mirror.with_name(f"{COPY}-2"))


def test_a_copy_is_found_beside_the_mirror_itself_not_beside_a_link_to_it(mirror, tmp_path):
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "link.db"
    link.symlink_to(mirror)

    up_to_date(link, CAPITALS, REWRITING)

    assert as_before(mirror.with_name(COPY))


def test_without_room_for_a_copy_a_rewriting_migration_is_refused(mirror, monkeypatch):
    usage = namedtuple("usage", "total used free")  # noqa: PYI024
    monkeypatch.setattr(upkeep.shutil, "disk_usage", lambda _: usage(10**6, 10**6 - 5000, 5000))

    with pytest.raises(MirrorUnusable, match=r"0\.0 MB are free: free some and start again"):
        up_to_date(mirror, CAPITALS, REWRITING)

    assert as_before(mirror)
    assert beside(mirror) == []


def test_room_is_for_the_copy_and_as_much_again():
    assert no_room(Path("x.db"), size=100, free=200) is None
    assert "x.db must be rewritten" in no_room(Path("x.db"), size=100, free=199)


def test_a_migration_that_fails_halfway_has_changed_nothing(mirror):
    def m900_text_in_capitals(db):
        db.execute("update inbox set text = upper(text)")
        db.execute("drop table sent")
        db.execute("insert into nowhere values (1)")

    before = schema_of(mirror)
    with pytest.raises(MirrorUnusable, match=r"no such table: nowhere\) and is as it was"):
        up_to_date(mirror, with_more(m900_text_in_capitals), REWRITING)

    assert schema_of(mirror) == before
    assert as_before(mirror)
    assert beside(mirror) == []  # a daemon that is started again and again must not fill the disk


def test_a_bug_in_a_migration_keeps_its_traceback_and_changes_nothing(mirror):
    def m900_text_in_capitals(db):
        db.execute("update inbox set text = upper(text)")
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        up_to_date(mirror, with_more(m900_text_in_capitals), REWRITING)

    assert as_before(mirror)


def test_a_kill_within_a_migration_leaves_the_version_before_and_a_whole_copy(mirror):
    def m900_text_in_capitals(db):
        db.execute("update inbox set text = upper(text)")
        os.kill(os.getpid(), signal.SIGKILL)

    for _ in range(3):
        with pytest.raises(Died):
            in_child(up_to_date, mirror, with_more(m900_text_in_capitals), REWRITING)

        assert as_before(mirror)
        assert as_before(mirror.with_name(COPY))
    assert beside(mirror) == [COPY]  # one that says the same is enough
    up_to_date(mirror, CAPITALS, REWRITING)
    assert beside(mirror) == [COPY]


def test_a_copy_that_cannot_be_made_is_told_and_nothing_is_changed(mirror):
    mirror.with_name(f"{COPY}.part").mkdir()

    with pytest.raises(MirrorUnusable, match=r"cannot make .*\.part, a copy of the mirror before"):
        up_to_date(mirror, CAPITALS, REWRITING)

    assert as_before(mirror)


def test_a_file_that_another_has_to_itself_for_long_is_for_later(mirror, monkeypatch):
    monkeypatch.setattr("semysync.mirror.file.BUSY_S", 0.05)
    change(mirror, "pragma journal_mode = delete")
    with closing(sqlite3.connect(mirror, isolation_level=None)) as other:
        other.execute("begin immediate")

        with pytest.raises(MirrorBusy):
            up_to_date(mirror)


def test_what_is_missing_is_put_back_later_where_another_writes_for_long(mirror, monkeypatch):
    monkeypatch.setattr("semysync.mirror.file.BUSY_S", 0.05)
    change(mirror, "drop view health")
    with closing(sqlite3.connect(mirror, isolation_level=None)) as other:
        other.execute("begin immediate")

        with pytest.raises(MirrorBusy):
            up_to_date(mirror)

    up_to_date(mirror)
    assert ask(mirror, "select count(*) from health") == [(1,)]


def test_what_changed_after_a_kill_is_in_another_copy(mirror):
    def m900_text_in_capitals(db):
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(Died):
        in_child(up_to_date, mirror, with_more(m900_text_in_capitals), REWRITING)
    change(mirror, "update inbox set phone = '+1' where id = 1")

    up_to_date(mirror, CAPITALS, REWRITING)

    assert beside(mirror) == [COPY, f"{COPY}-2"]
    phone = "select phone from inbox where id = 1"
    assert ask(mirror.with_name(COPY), phone) == [("+79201234567",)]
    assert ask(mirror.with_name(f"{COPY}-2"), phone) == [("+1",)]


@pytest.mark.parametrize("moment", ["new_file", "_kept", "sync_folder"])
def test_a_kill_while_copying_leaves_no_half_copy(mirror, monkeypatch, moment):
    original = getattr(upkeep, moment)

    def kill(*args):
        original(*args)
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(upkeep, moment, kill)
    with pytest.raises(Died):
        in_child(up_to_date, mirror, CAPITALS, REWRITING)
    monkeypatch.undo()

    assert as_before(mirror)
    left = beside(mirror)
    assert left == ([f"{COPY}.part"] if moment == "new_file" else [COPY])
    if left == [COPY]:
        assert as_before(mirror.with_name(COPY))
    up_to_date(mirror, CAPITALS, REWRITING)
    assert beside(mirror) == [COPY]


def test_nothing_that_is_written_while_a_copy_is_made_is_missing_in_it(mirror, monkeypatch):
    copied = upkeep._kept

    def while_copying(*args):
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            change(mirror, "pragma busy_timeout = 0", "delete from inbox")
        return copied(*args)

    monkeypatch.setattr(upkeep, "_kept", while_copying)
    up_to_date(mirror, CAPITALS, REWRITING)

    assert as_before(mirror.with_name(COPY))


def test_programs_that_migrate_at_the_same_time_do_it_once(tmp_path):
    path = tmp_path / "semysync.db"

    def start():
        yield "ready"
        Store.migrate(path).close()
        yield "made"
        up_to_date(path, CAPITALS, REWRITING)

    crowd = [child(start) for _ in range(6)]
    started = [each.__enter__() for each in crowd]
    try:
        for step in ("ready", "made", None):
            assert [each.said() for each in started] == [step] * 6
            if step:
                for each in started:
                    each.go()
    finally:
        for each in crowd:
            each.__exit__(None, None, None)

    names = [migration.name for migration in CAPITALS._migrations]
    assert ask(path, "select name from _sqlite_migrations order by id") == [(n,) for n in names]
    assert version_of(path) == len(names)
    assert beside(path) == [COPY]


def test_a_reader_keeps_what_it_reads_while_the_mirror_is_migrated(mirror):
    with closing(open_reader(mirror)) as reader:
        rows = reader.execute("select text from inbox")
        first = rows.fetchone()["text"]
        up_to_date(mirror, CAPITALS, REWRITING)

        assert [first, *(row["text"] for row in rows)] == ["text"] * 10
        assert reader.execute("select text from inbox").fetchone()["text"] == "TEXT"


def test_another_writer_makes_a_migration_wait_and_in_the_end_say_so(mirror):
    with closing(sqlite3.connect(mirror, isolation_level=None)) as other:
        other.execute("begin immediate")
        with explained(mirror), closing(connect(mirror)) as conn:
            conn.execute("pragma busy_timeout = 1")
            with pytest.raises(MirrorBusy, match="another program has been writing"):
                in_words(mirror, bring_up_to_date, Database(conn), mirror, CAPITALS, REWRITING)


def in_words(path, act, *args):
    with explained(path):
        return act(*args)


def test_a_program_that_reads_a_file_before_it_is_a_mirror_is_waited_for(tmp_path, monkeypatch):
    path = tmp_path / "semysync.db"
    path.touch()
    monkeypatch.setattr(upkeep.file, "BUSY_S", 0)

    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin exclusive")
        with pytest.raises(MirrorBusy):
            Store.migrate(path)
        other.execute("rollback")
        Store.migrate(path).close()


def test_programs_that_begin_the_wal_at_the_same_time_try_again(tmp_path, monkeypatch):
    class Crowded:
        """A connection as SQLite behaves when several ask at once: it refuses without waiting."""

        refusals = 2

        def execute(self, _):
            if self.refusals:
                self.refusals -= 1
                busy = sqlite3.OperationalError("database is locked")
                busy.sqlite_errorname = "SQLITE_BUSY"
                raise busy
            return self

        def fetchone(self):
            return ("wal",)

    monkeypatch.setattr(upkeep.time, "sleep", lambda _: None)
    conn = Crowded()

    upkeep._into_wal(conn, tmp_path / "semysync.db")

    assert conn.refusals == 0


def test_a_file_system_where_the_wal_does_not_work_is_told(tmp_path):
    with closing(sqlite3.connect(":memory:")) as conn, pytest.raises(MirrorUnusable, match="WAL"):
        bring_up_to_date(Database(conn), tmp_path / "semysync.db")


def test_a_mirror_that_contradicts_itself_is_refused(mirror):
    change(mirror, "delete from _sqlite_migrations")

    with pytest.raises(MirrorUnusable, match="does not agree with itself"):
        up_to_date(mirror, CAPITALS, REWRITING)

    assert as_before(mirror)


def test_what_rewrites_or_drops_is_named():
    """Also on an empty database SQLite asks for the right to do what would destroy something."""
    destroying = {sqlite3.SQLITE_DROP_TABLE, sqlite3.SQLITE_ALTER_TABLE}
    changing = {sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE}

    def rewriting(migrations):
        found = set()

        with closing(Database(memory=True)) as db:
            for migration in migrations._migrations:
                assert migration.transactional
                views = {view.name for view in db.views}  # they hold nothing

                def asked(
                    action, table, _column, _database, trigger, name=migration.name, views=views
                ):
                    own = str(table).startswith("sqlite_") or table in views
                    if action in destroying or (action in changing and not (own or trigger)):
                        found.add(name)
                    return sqlite3.SQLITE_OK

                db.conn.set_authorizer(asked)
                migration.fn(db)
                db.conn.set_authorizer(None)
        return found

    assert rewriting(MIGRATIONS) == upkeep.REWRITING
    assert rewriting(with_more(m900_text_in_capitals, m901_note)) == upkeep.REWRITING | {NEXT}


# comparing


def test_triggers_that_are_gone_are_put_back_with_a_warning(mirror):
    before = schema_of(mirror)
    change(mirror, "drop trigger inbox_row_goes", "drop trigger sent_row_goes")

    with capture_logs() as lines:
        up_to_date(mirror)

    assert schema_of(mirror) == before
    (line,) = lines
    assert (line["event"], line["log_level"]) == ("mirror.put_back", "warning")
    assert line["missing"] == [
        "the trigger inbox_row_goes (of inbox)",
        "the trigger sent_row_goes (of sent)",
    ]


def test_what_transform_strips_is_put_back(mirror):
    with closing(sqlite3.connect(mirror)) as conn:
        Database(conn)["contacts"].transform(column_order=["name"])
        Database(conn)["inbox"].transform(column_order=["text"])
    assert ask(mirror, "select name from sqlite_master where name like 'inbox_row_goes'") == []

    with capture_logs() as lines:
        up_to_date(mirror)

    assert ask(mirror, "select name from sqlite_master where name = 'inbox_row_goes'")
    assert {line["event"] for line in lines} == {"mirror.put_back", "mirror.differs"}


@pytest.mark.parametrize(
    ("box", "harm"),
    [
        ("inbox", "update inbox set text = 'another' where id = 3"),
        ("inbox", "delete from inbox where id = 3"),
        ("sent", "update sent set text = 'another' where id = 3"),
        ("sent", "delete from sent where id = 3"),
    ],
)
def test_what_happened_without_a_trigger_of_the_search_is_caught_up_with(mirror, box, harm):
    """An index that still holds what a row no longer says is damaged by its next change."""
    change(
        mirror,
        "insert into sent (id, text, channel, mirrored_at) values (3, 'text 3', 'sms', '')",
        "insert into sent_fts (rowid, text) values (3, 'text 3')",
        f"drop trigger {box}_{'row_goes' if harm.startswith('delete') else 'text_changes'}",
        harm,
    )

    up_to_date(mirror)
    change(mirror, f"update {box} set text = 'the last' where id = 3")

    found = f"select rowid from {box}_fts where {box}_fts match ?"
    assert ask(mirror, found.replace("?", "'3'")) == []
    assert ask(mirror, found.replace("?", "'another'")) == []
    assert len(ask(mirror, found.replace("?", "'last'"))) == harm.startswith("update")


def test_a_draft_that_came_without_the_ledger_is_entered_there(mirror):
    change(
        mirror,
        "drop trigger outbox_kept",
        "insert into outbox (phone, text, client_key) values ('+79201234567', 'Hello', 'k')",
    )

    up_to_date(mirror)

    again = (
        "insert or replace into outbox (phone, text, client_key) values ('+79201234567', 'x', 'k')"
    )
    with pytest.raises(sqlite3.IntegrityError, match="OR IGNORE"):
        change(mirror, again)
    assert ask(mirror, "select text from outbox") == [("Hello",)]


@pytest.mark.parametrize(("flag", "status"), [("is_send", "sent"), ("is_error", "failed")])
def test_a_draft_whose_message_moved_without_the_trigger_follows_it(mirror, flag, status):
    change(
        mirror,
        "insert into outbox (phone, text) values ('+79201234567', 'Hello')",
        "update outbox set contact = phone, updated_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')",
        """update outbox set status = 'sending', attempts = 1,
                             updated_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')""",
        """update outbox set status = 'accepted', sent_id = 7,
                             updated_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')""",
        "insert into sent (id, channel, mirrored_at) values (7, 'sms', '')",
        f"update sent set {flag} = 1 where id = 7",
        "drop trigger sent_moves_draft",
        "update sent set is_send_to_phone = 1, is_send = 1, is_delivered = 1 where id = 7",
    )
    before = ask(mirror, "select status from outbox")

    up_to_date(mirror)

    assert before == [(status,)]
    assert ask(mirror, "select status from outbox") == [("delivered",)]


@pytest.mark.parametrize("lost", ["view messages", "view health", "index contacts_by_time"])
def test_views_and_indexes_that_are_gone_are_put_back(mirror, lost):
    before = schema_of(mirror)
    change(mirror, f"drop {lost}")

    with capture_logs() as lines:
        up_to_date(mirror)

    assert schema_of(mirror) == before
    assert lost in lines[0]["missing"][0]


def test_a_search_index_that_is_gone_is_made_and_filled_again(mirror):
    change(mirror, "drop table inbox_fts")

    with capture_logs() as lines:
        up_to_date(mirror)

    assert lines[0]["missing"] == ["the table inbox_fts"]
    assert ask(mirror, "select count(*) from inbox_fts where inbox_fts match 'text'") == [(10,)]
    assert ask(mirror, "pragma integrity_check") == [("ok",)]


def test_what_users_add_is_left_alone(mirror):
    change(
        mirror,
        "create table mine (a)",
        "create index mine_by_a on mine (a)",
        "create view my_view as select * from inbox",
        "create trigger my_trigger after insert on inbox begin delete from mine; end",
        "create table _litestream_seq (id integer primary key, seq integer)",
        "create table _litestream_lock (id integer)",
        "analyze",
        *(statement for statements in LATER_INDEXES.values() for statement in statements),
    )
    before = schema_of(mirror)

    with capture_logs() as lines:
        up_to_date(mirror)

    assert schema_of(mirror) == before
    assert lines == []


def test_what_users_change_is_left_alone_with_a_warning(mirror):
    change(
        mirror,
        "drop view messages",
        "create view messages as select 1 as one",
        "drop view stuck",
        "create table stuck (a)",
        "alter table contacts add column birthday text",
    )
    before = schema_of(mirror)

    with capture_logs() as lines:
        up_to_date(mirror)

    assert schema_of(mirror) == before
    (line,) = lines
    assert line["event"] == "mirror.differs"
    assert sorted(line["changed"]) == ["the table contacts", "the view messages", "the view stuck"]


def test_white_space_is_no_change(mirror):
    (sql,) = ask(mirror, "select sql from sqlite_master where name = 'messages'")[0]
    change(mirror, "drop view messages", sql.replace("\n", "\n\n  "))

    with closing(open_reader(mirror)) as reader:
        assert differences(reader) == comparing.Differences()


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (["drop table account"], "has lost the table account: restore a copy"),
        (["alter table inbox drop column extra"], "the column inbox.extra"),
        (
            [
                "create table t as select * from account",
                "drop table account",
                "create view account as select * from t",
            ],
            "the table account",
        ),
    ],
)
def test_a_table_or_column_that_is_gone_is_told(mirror, damage, told):
    change(mirror, "drop view stuck", *damage)
    before = schema_of(mirror)

    with pytest.raises(MirrorUnusable, match=told):
        up_to_date(mirror)

    assert schema_of(mirror) == before


def test_what_cannot_be_put_back_is_told(mirror):
    def m902_unique(db):
        db.execute("create unique index one_text on inbox (text) where text <> 'text'")

    migrations = with_more(m902_unique)
    up_to_date(mirror, migrations)
    change(mirror, "drop index one_text", "update inbox set text = 'other'")

    with pytest.raises(MirrorUnusable, match=r"lacks the index one_text \(of inbox\)"):
        up_to_date(mirror, migrations)


def test_a_search_index_that_lost_a_part_is_told():
    whole = comparing._expected(MIGRATIONS)
    things = {key: thing for key, thing in whole.things.items() if thing.name != "inbox_fts_data"}

    found = comparing.compared(whole, whole._replace(things=things))

    assert found == comparing.Differences(lost=("the table inbox_fts_data",))


def test_a_comparison_writes_nothing(mirror):
    change(mirror, "drop trigger inbox_row_goes")

    with closing(open_reader(mirror)) as reader:
        found = differences(reader)

    assert [thing.name for thing in found.missing] == ["inbox_row_goes"]
    assert (found.lost, found.changed) == ((), ())


# no space left


def m900_grows(db):
    db.execute("create table big (a)")
    db.execute(
        "with recursive n (i) as (select 1 union all select i + 1 from n where i < 2000) "
        "insert into big select randomblob(1000) from n"
    )


GROWS = with_more(m900_grows)


def test_a_mirror_at_its_limit_is_told_and_stays_as_it_was(mirror):
    with explained(mirror), closing(connect(mirror)) as conn:
        conn.execute("pragma max_page_count = 120")
        with pytest.raises(MirrorBusy, match="no space left"):
            in_words(mirror, bring_up_to_date, Database(conn), mirror, GROWS)

    assert as_before(mirror)


def test_a_limit_on_the_size_of_files_is_told_and_the_mirror_stays_as_it_was(mirror):
    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))
        up_to_date(mirror, GROWS)

    with pytest.raises(MirrorBusy, match="your quota"):
        in_child(limited)

    assert as_before(mirror)


@needs_root
@pytest.mark.parametrize(
    ("free", "migrations", "rewriting", "error"),
    [
        (40_000, CAPITALS, REWRITING, "must be rewritten for this version"),
        (1_000_000, GROWS, frozenset(), "no space left"),
        (1_000_000, GROWS, frozenset({"m900_grows"}), "no space left"),
    ],
)
def test_on_a_full_disk_nothing_is_half_done(tmp_path, free, migrations, rewriting, error):
    def act():
        path = small_disk(tmp_path, free)
        with pytest.raises((MirrorBusy, MirrorUnusable), match=error):
            up_to_date(path, migrations, rewriting)
        assert beside(path) == ["ballast"]
        (path.parent / "ballast").unlink()
        assert as_before(path)

    in_child(act)


@needs_root
def test_a_disk_that_fills_up_while_a_copy_is_made_leaves_none(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")  # noqa: PYI024
    monkeypatch.setattr(upkeep.shutil, "disk_usage", lambda _: usage(0, 0, 10**9))

    def act():
        path = small_disk(tmp_path, 40_000)
        with pytest.raises(MirrorBusy, match="no space left"):
            up_to_date(path, CAPITALS, REWRITING)
        assert beside(path) == ["ballast"]
        assert as_before(path)

    in_child(act)


@needs_root
def test_a_disk_without_room_for_the_two_files_is_told(tmp_path):
    def act():
        path = small_disk(tmp_path, 0)
        for opened in (Store.open, Store.migrate, open_reader):
            with pytest.raises(MirrorBusy, match="no space left"):
                opened(path)
        (path.parent / "ballast").unlink()
        assert as_before(path)

    in_child(act)


def small_disk(place, free):
    """Mount a disk with a mirror and little room; return the mirror."""
    own_mounts()
    mount(place, options="size=4m,mode=700")
    path = place / "semysync.db"
    with Store.migrate(path) as store:
        store.save(Box.INBOX, messages(10), now=NOW)
    size = os.statvfs(place).f_bavail * os.statvfs(place).f_frsize - free
    (place / "ballast").write_bytes(b"x" * (size // 4096 * 4096))
    return path


def test_a_newer_mirror_is_refused_by_a_program_that_knows_less(mirror):
    up_to_date(mirror, with_more(m901_note))

    with pytest.raises(MirrorUnusable, match="newer semysync"):
        Store.migrate(mirror)
    with closing(connect(mirror)) as conn:
        assert check_version(conn, mirror, newest=len(MIGRATIONS._migrations) + 1)
