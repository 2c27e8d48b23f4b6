"""`export` through the real process: each format read back, order, bounds, and what is refused."""

import csv
import io
import json
import re
import resource
import subprocess

import pytest
from drafting import change

ORDER = [1, 10, 2, 11, 3]  # the ids of the messages in `talk`, by time


def ids(rows):
    return [int(row["id"]) for row in rows]


def test_csv_goes_to_standard_output_and_reads_back(talk):
    change(
        talk, """update inbox set text = 'a "quoted", ' || char(10) || 'line; 😀' where id = 2"""
    )

    rows = list(csv.DictReader(io.StringIO(talk.run("export").stdout)))

    assert ids(rows) == ORDER
    assert rows[2]["text"] == 'a "quoted", \nline; 😀'


def test_json_lines_keep_types_and_nulls(talk):
    change(talk, "update inbox set text = null where id = 2")

    rows = [
        json.loads(line) for line in talk.run("export", "--format", "jsonl").stdout.splitlines()
    ]

    assert [row["id"] for row in rows] == ORDER
    assert rows[2]["text"] is None
    assert rows[0]["device"] == 351


def test_parquet_keeps_types(talk):
    from pyarrow import parquet

    assert "5 rows" in talk.run("export", "--out", "all.parquet").stdout

    table = parquet.read_table(talk.home / "all.parquet")
    assert table.column("id").to_pylist() == ORDER
    assert str(table.schema.field("id").type) == "int64"
    assert table.column("text").to_pylist()[0] == "Привет, заказ готов?"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--contact", "+7 (920) 123-45-67"), [1, 10]),
        (("--since", "2026-11-21", "--until", "2026-11-22"), [2, 11]),
        (("inbox", "--device", "351", "--since", "2026-11-21"), [2, 3]),
        (("sent", "--status", "failed"), [11]),
    ],
)
def test_an_export_can_be_narrowed(talk, options, expected):
    assert ids(csv.DictReader(io.StringIO(talk.run("export", *options).stdout))) == expected


def test_every_table_and_view_can_be_exported(talk):
    said = talk.run("export", "nothing").stderr
    names = re.search(r"there are (.*)", said)[1].split(", ")

    assert {"messages", "inbox", "sent", "outbox", "devices", "events", "health"} <= set(names)
    for name in names:
        ended = talk.run("export", name)
        assert (ended.returncode, ended.stderr) == (0, ""), name
        assert ended.stdout.count(",") > 0


def test_a_file_for_each_month(talk):
    change(talk, "update inbox set received_at = '2026-10-05T08:00:00.000000Z' where id = 3")
    change(talk, "update inbox set received_at = null where id = 2")

    talk.run("export", "inbox", "--by-month", "--out", "months")

    found = {
        file.name: ids(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"))))
        for file in (talk.home / "months").iterdir()
    }
    assert found == {
        "inbox-undated.csv": [2],
        "inbox-2026-10.csv": [3],
        "inbox-2026-11.csv": [1],
    }


def test_a_page_for_each_conversation_is_safe_and_complete(talk):
    change(talk, """update inbox set text = '<script>alert("x")</script> & שלום' where id = 2""")
    change(talk, "update contacts set name = '<b>Bob</b>' where contact = '+447700900123'")

    talk.run("export", "--format", "html", "--out", "pages", TZ="Europe/Moscow")

    pages = {file.name: file.read_text() for file in (talk.home / "pages").iterdir()}
    page = pages["447700900123.html"]
    assert set(re.findall(r'href="([^"#]+)"', pages["index.html"])) == set(pages) - {"index.html"}
    assert "<script" not in page
    assert "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; שלום" in page
    assert "&lt;b&gt;Bob&lt;/b&gt;" in pages["index.html"]
    assert re.findall(r'<article id="(\w+-\d+)"', page) == ["in-2", "out-11"]
    assert "11:00" in page  # 08:00 in UTC
    assert "~08:00" in next(text for name, text in pages.items() if name.startswith("Beeline"))


@pytest.mark.parametrize("sender", ["+index", "index", "+INDEX"])
def test_a_name_that_a_sender_chose_takes_no_page_of_another(talk, sender):
    change(talk, "update contacts set contact = ? where contact = 'Beeline'", sender)
    change(talk, "update inbox set contact = ? where contact = 'Beeline'", sender)

    ended = talk.run("export", "--format", "html", "--out", "pages")

    assert ended.returncode == 0
    pages = [file.name.lower() for file in (talk.home / "pages").iterdir()]
    assert len(pages) == 4
    assert pages.count("index.html") == 1


def test_what_is_there_already_is_left_unless_forced(talk):
    (talk.home / "mine.csv").write_text("precious")

    refused = talk.run("export", "--out", "mine.csv")

    assert refused.returncode == 2
    assert "mine.csv is there already: name another, or say --force" in refused.stderr
    assert (talk.home / "mine.csv").read_text() == "precious"
    assert talk.run("export", "--out", "mine.csv", "--force").returncode == 0
    assert (talk.home / "mine.csv").read_text().startswith("direction,")
    assert (talk.home / "mine.csv").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("nothing",), "there is no table or view 'nothing'"),
        (("inbox_fts",), "there is no table or view 'inbox_fts'"),
        (("mesages",), "there is no table or view 'mesages'; did you mean messages? There are"),
        (("account", "--contact", "x"), "--contact does not go with account"),
        (("--format", "parquet"), "parquet needs --out"),
        (("--by-month",), "--by-month needs --out"),
        (("settings", "--by-month", "--out", "x"), "--by-month does not go with settings"),
        (("inbox", "--format", "html", "--out", "x"), "html is for messages"),
    ],
)
def test_what_cannot_be_exported_is_told_in_a_sentence(talk, args, says):
    ended = talk.run("export", *args)

    assert ended.returncode == 2
    assert says in ended.stderr


def test_a_conversation_without_such_a_message_has_no_page_and_a_message_may_have_no_time(talk):
    change(talk, "update inbox set received_at = null where id = 3")
    change(talk, "insert into contacts (contact, name) values ('+31', 'Never wrote')")

    talk.run("export", "--format", "html", "--out", "pages", "--direction", "in")

    pages = {path.name: path.read_text() for path in (talk.home / "pages").iterdir()}
    assert len(pages) == 4
    assert "Never wrote" not in pages["index.html"]
    assert "Balance: order more" in next(pages[name] for name in pages if "Beeline" in name)


def test_without_the_extra_parquet_says_what_to_install_and_leaves_nothing(talk):
    code = "import sys; sys.modules['pyarrow'] = None; from semysync.cli import main; main()"

    ended = talk.run("export", "--out", "x.parquet", code=code)

    assert ended.returncode == 1
    assert "Parquet needs pyarrow: pip install 'semysync[parquet]'" in ended.stderr
    assert not list(talk.home.glob("x.parquet*"))


def test_a_folder_that_we_may_not_enter_takes_no_file(talk):
    (talk.home / "closed").mkdir(mode=0o000)

    ended = talk.run("export", "--out", "closed/messages.csv")

    assert ended.returncode == 1
    assert "cannot write closed/messages.csv: Permission denied" in ended.stderr


def test_no_room_leaves_no_half_file(talk):
    change(talk, "update inbox set text = hex(zeroblob(100000))")

    ended = subprocess.run(
        talk._command(["export", "--out", "big.csv"], None),
        env=talk.env,
        cwd=talk.home,
        capture_output=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
        check=False,
    )

    assert ended.returncode == 1
    assert b"cannot write big.csv: File too large" in ended.stderr
    assert not list(talk.home.glob("big*"))
