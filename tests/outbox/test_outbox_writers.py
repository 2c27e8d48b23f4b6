"""What any program may put into the outbox and change there, and what it is told where it may not."""

import re
import sqlite3

import pytest
import sqlite_utils.cli
from click.testing import CliRunner
from writers import Datasette, Python, RefusedError, SqliteUtils

PHONE = "+79201234567"

NUMBER = "outbox.phone is not a number such as +79201234567"
TIME = "is not a date with a time such as 2026-11-24T09:00Z or 2026-11-24 12:00+03:00"
COMMAND = "outbox.text holds what the service would take for a command"
DAEMONS = "they belong to the daemon"

REFUSED = [
    ({"phone": ""}, "outbox.phone is empty"),
    ({"phone": "  "}, "outbox.phone is empty"),
    ({"phone": "Beeline"}, NUMBER),
    ({"phone": 79201234567.0}, NUMBER),
    ({"phone": "79201234567.0"}, NUMBER),
    ({"phone": "7.9201234567e10"}, NUMBER),
    ({"phone": "+"}, NUMBER),
    ({"phone": "++79201234567"}, NUMBER),
    ({"phone": "7+9201234567"}, NUMBER),
    ({"phone": "7"}, NUMBER),
    ({"phone": "+7920123456789012"}, NUMBER),
    ({"phone": "٧٩٢٠١٢٣٤٥٦٧"}, NUMBER),
    ({"phone": "*100#"}, NUMBER),
    ({"phone": "hello", "kind": "ussd"}, "outbox.phone of a ussd draft is not a code"),
    ({"text": ""}, "outbox.text is empty"),
    ({"text": " \t\n"}, "outbox.text is empty"),
    ({"text": "\u00a0\u200b\u200d\u2060\ufeff"}, "outbox.text is empty"),
    ({"text": "x" * 1001}, "outbox.text is longer than 1000 characters"),
    ({"text": "[USSD]"}, COMMAND),
    ({"text": "Dear [Name]"}, COMMAND),
    ({"text": "See <IMG src=x>"}, COMMAND),
    ({"kind": "mms"}, "outbox.kind is not text or ussd"),
    ({"priority": -1}, "outbox.priority is not a whole number from 0 to 1000000"),
    ({"priority": 1_000_001}, "outbox.priority is not a whole number from 0 to 1000000"),
    ({"priority": 2**63 - 1}, "outbox.priority is not a whole number from 0 to 1000000"),
    ({"priority": "high"}, "cannot store TEXT value in INTEGER column outbox.priority"),
    ({"device": "office"}, "outbox.device is not a device id, ids joined by commas, or active"),
    ({"device": "351,,352"}, "outbox.device is not a device id, ids joined by commas, or active"),
    ({"status": "sending"}, "outbox.status of a new draft is queued or held"),
    ({"status": "delivered"}, "outbox.status of a new draft is queued or held"),
    ({"client_key": "x" * 201}, "outbox.client_key is longer than 200 characters"),
    ({"expires_at": "2026-11-24T09:00Z", "send_at": "2026-11-24T09:01Z"}, "is before send_at"),
    ({"expires_at": "2026-11-24T10:00+03:00", "send_at": "2026-11-24T09:00Z"}, "is before send_at"),
    ({"id": 7}, "outbox.id is given by the table: leave it out"),
    ({"id": -1}, "outbox.id is given by the table: leave it out"),
    ({"id": 0}, "outbox.id is given by the table: leave it out"),
    ({"id": 2**63 - 1}, "outbox.id is given by the table: leave it out"),
    ({"contact": PHONE}, DAEMONS),
    ({"sent_id": 5}, DAEMONS),
    ({"attempts": 1}, DAEMONS),
    ({"created_at": "2026-11-24T09:00:00.000000Z"}, DAEMONS),
    ({"error": "x"}, DAEMONS),
]

NO_TIMES = [
    *("09:00", "now", "2026-11-24", "2461000.5", "5", "2026-02-30T09:00Z", "2026-02-29 09:00"),
    *("2026-13-01T09:00", "2026-11-31T09:00", "2026-11-24T24:00", "2026-11-24T09:60"),
    *("2026-11-24T09:00:60", "2026-11-24T09:00+25:00", "2026-11-24T09:00 MSK", "24.11.2026 09:00"),
    *("0000-01-01T00:00", "9999-12-31T23:59Z", "10000-01-01T00:00", "1999-12-31T23:59"),
    *("2026-11-24T9:00", " 2026-11-24T09:00", "2026-11-24T09:00,5", "2026-11-24T09:00+0300"),
]

TAKEN = [
    ({}, "status, priority, kind, attempts", ("queued", 0, "text", 0)),
    ({"phone": "8 (920) 123-45-67"}, "phone", ("8 (920) 123-45-67",)),
    ({"phone": 79201234567}, "phone", ("79201234567",)),
    ({"text": "x" * 1000}, "length(text)", (1000,)),
    ({"text": "Привет, 👋🏽!"}, "text", ("Привет, 👋🏽!",)),
    ({"text": "it's"}, "text", ("it's",)),
    ({"priority": 1_000_000}, "priority", (1_000_000,)),
    ({"priority": "5"}, "priority", (5,)),
    ({"status": "held"}, "status", ("held",)),
    ({"device": "351, 352"}, "device", ("351,352",)),
    ({"device": "active"}, "device", ("active",)),
    ({"device": "", "client_key": "", "send_at": ""}, "device, client_key, send_at", (None,) * 3),
    ({"kind": "ussd", "phone": "*100#", "text": ""}, "phone, kind", ("*100#", "ussd")),
    ({"send_at": "2026-11-24T09:00Z"}, "send_at", ("2026-11-24T09:00:00.000000Z",)),
    ({"send_at": "2026-11-24 12:00+03:00"}, "send_at", ("2026-11-24T09:00:00.000000Z",)),
    ({"send_at": "2026-11-24 09:00:01.5"}, "send_at", ("2026-11-24T09:00:01.500000Z",)),
    ({"send_at": "2028-02-29T23:59-12:00"}, "send_at", ("2028-03-01T11:59:00.000000Z",)),
    (
        {"send_at": "2026-11-24T12:00+03:00", "expires_at": "2026-11-24T09:00Z"},
        "expires_at = send_at",
        (1,),
    ),
]


@pytest.fixture
def draft(writer):
    """A draft that waits."""
    writer.insert(phone=PHONE, text="Hello", client_key="order-1")


# New drafts


def test_a_row_that_cannot_be_sent_fails_with_a_sentence(writer, ask):
    for columns, sentence in REFUSED:
        with pytest.raises(RefusedError) as refused:
            writer.insert(**{"phone": PHONE, "text": "Hello"} | columns)
        assert sentence in str(refused.value), columns

    assert ask("select count(*) from outbox") == [(0,)]
    assert ask("select count(*) from events") == [(0,)]


@pytest.mark.parametrize("column", ["send_at", "expires_at"])
def test_what_is_no_date_with_a_time_is_refused(mirror, column):
    for text in NO_TIMES:
        with pytest.raises(RefusedError, match=f"outbox.{column}") as refused:
            Python(mirror).insert(phone=PHONE, text="Hello", **{column: text})
        assert TIME in str(refused.value), text


def test_a_row_that_can_be_sent_is_taken(writer, ask):
    for columns, shown, stored in TAKEN:
        writer.insert(**{"phone": PHONE, "text": "Hello"} | columns)

        assert ask(f"select {shown} from outbox order by id desc limit 1") == [stored], columns

    assert ask("select kind from events") == [
        (f"draft.{columns.get('status', 'queued')}",) for columns, _, _ in TAKEN
    ]


@pytest.mark.parametrize("column", ["phone", "text", "priority", "kind", "status"])
def test_a_null_is_refused_where_something_must_stand(mirror, column):
    with pytest.raises(RefusedError, match=f"outbox.{column}"):
        Python(mirror).insert(**{"phone": PHONE, "text": "Hello"} | {column: None})


def test_a_nul_is_refused_wherever_it_stands(mirror):
    """SQLite itself sees a text only up to its first NUL."""
    for column, value in {"phone": f"{PHONE}\0", "text": "Hel\0lo", "device": "351\0"}.items():
        with pytest.raises(RefusedError, match=f"outbox.{column}"):
            Python(mirror).insert(**{"phone": PHONE, "text": "Hello"} | {column: value})


def test_bytes_are_refused_as_bytes_and_taken_as_text(mirror, ask):
    with pytest.raises(RefusedError, match=r"cannot store BLOB value in TEXT column outbox.text"):
        Python(mirror).insert(phone=PHONE, text="Привет".encode("cp1251"))

    insert = "insert into outbox (phone, text) values (?, cast(? as text))"
    Python(mirror).execute(insert, PHONE, "Привет".encode("cp1251"))
    assert ask("select status from outbox") == [("queued",)]  # the daemon rejects it: see there


# The same row twice


@pytest.mark.parametrize("way", ["insert or replace", "replace"])
def test_to_replace_a_known_draft_is_refused(writer, draft, ask, way):
    known = ("id", "1"), ("client_key", "'order-1'"), ("rowid", "1")
    for column, value in known:
        with pytest.raises(
            RefusedError, match=r"(never OR REPLACE|not finished cannot be deleted)"
        ):
            writer.execute(
                f"{way} into outbox ({column}, phone, text) values ({value}, '{PHONE}', 'New')"
            )

    assert ask("select id, text, status from outbox") == [(1, "Hello", "queued")]


def test_a_known_key_is_ignored_where_that_is_asked_for(writer, draft, ask):
    for insert, end in (("insert or ignore", ""), ("insert", "on conflict do nothing")):
        writer.execute(
            f"{insert} into outbox (phone, text, client_key)"
            f" values ('{PHONE}', 'New', 'order-1') {end}"
        )
    with pytest.raises(RefusedError, match=r"outbox.client_key"):
        writer.insert(phone=PHONE, text="New", client_key="order-1")

    assert ask("select id, text from outbox") == [(1, "Hello")]


def test_to_ignore_hides_no_mistake(writer, ask):
    for columns in ("'Beeline', 'Hello', 'k'", f"'{PHONE}', null, 'k'", f"null, '{PHONE}', 'k'"):
        with pytest.raises(RefusedError, match=r"outbox\.(phone|text)"):
            writer.execute(
                f"insert or ignore into outbox (phone, text, client_key) values ({columns})"
            )

    assert ask("select count(*) from outbox") == [(0,)]


@pytest.mark.parametrize("way", ["insert", "insert or replace", "insert or ignore"])
def test_the_id_and_the_key_of_a_deleted_draft_stay_used(writer, draft, ask, way):
    writer.execute("update outbox set status = 'cancelling'")
    writer.execute("delete from outbox")

    key = f"{way} into outbox (phone, text, client_key) values ('{PHONE}', 'New', 'order-1')"
    if way == "insert or ignore":
        writer.execute(key)
    else:
        with pytest.raises(RefusedError, match="this client_key was used before"):
            writer.execute(key)
    with pytest.raises(RefusedError, match="this id or client_key was used before"):
        writer.execute(f"{way} into outbox (id, phone, text) values (1, '{PHONE}', 'New')")
    assert ask("select count(*) from outbox") == [(0,)]

    writer.insert(phone=PHONE, text="New", client_key="order-2")
    assert ask("select id from outbox") == [(2,)]


def test_an_upsert_edits_a_draft_that_was_not_tried(writer, draft, ask):
    writer.execute(
        f"insert into outbox (phone, text, client_key) values ('{PHONE}', 'New', 'order-1')"
        " on conflict (client_key) do update set text = excluded.text"
    )

    assert ask("select id, text, status from outbox") == [(1, "New", "queued")]


# Changes


def test_an_edited_draft_is_checked_and_looked_at_anew(writer, draft, ask, mirror):
    Python(mirror).execute(
        "update outbox set contact = phone, segments = 1,"
        " updated_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')"
    )

    with pytest.raises(RefusedError, match=r"outbox.text is empty"):
        writer.execute("update outbox set text = ''")
    with pytest.raises(RefusedError, match=re.escape(TIME)):
        writer.execute("update or ignore outbox set send_at = '09:00'")
    writer.execute("update outbox set text = 'New', send_at = '2026-11-24 12:00+03:00'")

    assert ask("select text, send_at, contact, segments from outbox") == [
        ("New", "2026-11-24T09:00:00.000000Z", None, None)
    ]


def test_a_draft_is_held_released_cancelled_and_deleted(writer, draft, ask):
    writer.execute("update outbox set status = 'held' where id = 1")
    writer.execute("update outbox set status = 'queued' where id = 1")
    with pytest.raises(RefusedError, match="not finished cannot be deleted; cancel it first"):
        writer.execute("delete from outbox where id = 1")
    writer.execute("update outbox set status = 'cancelling' where id = 1")
    for status in ("queued", "held", "sending"):
        with pytest.raises(RefusedError, match="a finished draft is never revived"):
            writer.execute(f"update outbox set status = '{status}' where id = 1")
    ended = ask("select status, finished_at is not null from outbox")
    writer.execute("delete from outbox where id = 1")

    assert ended == [("cancelled", 1)]
    assert ask("select kind from events order by seq") == [
        (f"draft.{status}",) for status in ("queued", "held", "queued", "cancelled")
    ]


def test_what_is_not_a_user_s_to_set_is_refused(writer, draft, ask):
    changes = [
        *(f"status = '{status}'" for status in ("sending", "unknown", "accepted", "on_phone")),
        *(f"status = '{status}'" for status in ("sent", "delivered", "failed", "rejected")),
        *("status = 'expired'", "status = 'nonsense'", "status = null"),
        *("id = 7", "rowid = 7", "_rowid_ = 7", "client_key = 'x'", "created_at = 'x'"),
        *("contact = 'x'", "sent_id = 5", "attempts = 5", "attempts = -1", "error = 'x'"),
        *("segments = 5", "next_attempt_at = 'x'", "cancel_wanted_at = 'x'", "accepted_at = 'x'"),
        *("finished_at = 'x'", "updated_at = 'x'"),
    ]
    ways = ("update", "update or ignore", "update or replace")
    statements = [f"{way} outbox set {change} where id = 1" for way in ways for change in changes]

    refusals = dict(zip(statements, writer.refusals(statements), strict=True))

    assert [statement for statement, said in refusals.items() if "outbox" not in said] == []
    assert ask("select id, status, client_key, attempts from outbox") == [
        (1, "queued", "order-1", 0)
    ]


def test_an_id_cannot_be_moved_onto_another_draft(mirror, ask):
    """`or replace` would delete that one without a word."""
    for text in ("one", "two"):
        Python(mirror).insert(phone=PHONE, text=text)

    for name in ("id", "rowid", "oid", "_rowid_"):
        with pytest.raises(RefusedError, match="outbox"):
            Python(mirror).execute(f"update or replace outbox set {name} = 2 where id = 1")

    assert ask("select id, text from outbox") == [(1, "one"), (2, "two")]


# What the programs have of their own


def test_sqlite_utils_inserts_upserts_and_ignores(mirror, ask):
    utils = SqliteUtils(mirror)
    rows = [{"phone": PHONE, "text": f"{n}", "client_key": f"k{n}"} for n in range(3)]
    with utils.table() as table:
        table.insert_all(rows)
        table.insert_all(rows, ignore=True)
        table.upsert({"id": 2, "phone": PHONE, "text": "New"}, pk="id")
    for row in ({"id": 1, "phone": PHONE, "text": "New"}, rows[0]):
        with (
            pytest.raises(RefusedError, match=r"(never OR REPLACE|cancel it first)"),
            utils.table() as table,
        ):
            table.insert(row, replace=True)
    with pytest.raises(RefusedError, match=r"outbox.id is given"), utils.table() as table:
        table.upsert({"id": 9, "phone": PHONE, "text": "New"}, pk="id")

    assert ask("select id, text from outbox") == [(1, "0"), (2, "New"), (3, "2")]


@pytest.mark.parametrize("option", [(), ("--ignore",), ("--replace",)])
def test_sqlite_utils_inserts_a_csv_file(mirror, ask, tmp_path, option):
    sheet = tmp_path / "drafts.csv"
    sheet.write_text(f"phone,text,client_key\n{PHONE},Привет,a\n8 920 123 45 68,Hello,b\n")

    first = CliRunner().invoke(
        sqlite_utils.cli.cli, ["insert", str(mirror), "outbox", str(sheet), "--csv", *option]
    )
    again = CliRunner().invoke(
        sqlite_utils.cli.cli, ["insert", str(mirror), "outbox", str(sheet), "--csv", *option]
    )

    assert first.exit_code == 0, first.output
    assert (again.exit_code == 0) == (option == ("--ignore",)), again.output
    assert ask("select id, text from outbox") == [(1, "Привет"), (2, "Hello")]


def test_one_bad_line_leaves_the_whole_file_out(mirror, ask, tmp_path):
    sheet = tmp_path / "drafts.csv"
    sheet.write_text(f"phone,text\n{PHONE},Hello\n79201234567.0,Hello\n")

    ended = CliRunner().invoke(
        sqlite_utils.cli.cli, ["insert", str(mirror), "outbox", str(sheet), "--csv"]
    )

    assert ended.exit_code == 1
    assert NUMBER in ended.output
    assert ask("select count(*) from outbox") == [(0,)]


def test_datasette_shows_the_sentence_and_keeps_a_repeat_harmless(mirror, ask):
    datasette = Datasette(mirror)
    insert = "insert or ignore into outbox (phone, text, client_key) values (:phone, :text, :key)"
    for _ in range(2):
        datasette.execute(insert, phone=PHONE, text="Hello", key="order-1")

    with pytest.raises(RefusedError, match=r"^outbox\.phone is not a number such as"):
        datasette.execute(insert, phone="Beeline", text="Hello", key="order-2")

    assert ask("select client_key from outbox") == [("order-1",)]


def test_a_transaction_that_is_undone_leaves_nothing(mirror, ask):
    conn = sqlite3.connect(mirror, isolation_level=None)
    conn.execute("begin")
    conn.execute("insert into outbox (phone, text, client_key) values (?, 'Hello', 'a')", (PHONE,))
    conn.execute("rollback")
    conn.close()

    Python(mirror).insert(phone=PHONE, text="Hello", client_key="a")

    assert ask("select seq, kind from events") == [(1, "draft.queued")]
