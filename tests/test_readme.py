"""What the README shows is tried as it stands: SQL and programs are run, commands are looked up."""

import os
import re
import shlex
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import click
import pytest
from needing import tool

from semysync.cli import main
from semysync.mirror.store import Store

HOUSE = Path(__file__).parents[1]
README = (HOUSE / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)
MIRROR = "/var/lib/semysync/semysync.db"


def blocks(language, having=""):
    return [text for kind, text in BLOCKS if kind == language and having in text]


@pytest.fixture
def mirror(tmp_path):
    path = tmp_path / "semysync.db"
    Store.migrate(path).close()
    return path


def drafts(mirror):
    with closing(sqlite3.connect(mirror)) as conn:
        return conn.execute("select phone, text, client_key, status from outbox").fetchall()


def test_each_query_runs(mirror):
    # The one for DuckDB is run in tests/takeover/test_elsewhere.py.
    Store.migrate(mirror.with_name("club.db")).close()
    queries = [re.sub(r"/var/lib/semysync/\w+/semysync.db", f"{mirror.parent}/club.db", text)
               for text in blocks("sql") if "read_parquet" not in text]  # fmt: skip

    with closing(sqlite3.connect(mirror, isolation_level=None)) as conn:
        for query in queries:
            conn.executescript(query)

    assert len(queries) >= 3
    assert drafts(mirror) == [("+79201234567", "Your parcel is here", None, "queued")] * 2


def test_each_table_and_view_is_named_with_what_it_holds(mirror):
    section = re.search(r"^## What is in the file\n(.*?)^## ", README, re.DOTALL | re.MULTILINE)[1]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("|")]
    with closing(sqlite3.connect(mirror)) as conn:
        there = {name for (name,) in conn.execute("select name from pragma_table_list")}

    ours = {name for name in there if not re.search("^_?sqlite_|_fts_", name)}

    assert ours == set(re.findall(r"`(\w+)`", " ".join(cells)))


def test_each_link_within_the_project_leads_somewhere():
    prose = re.sub(r"^```.*?^```", "", README, flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.+)$", prose, flags=re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    links = re.findall(r"\]\(([^)]+)\)", prose)

    dead = [
        link
        for link in links
        if not link.startswith("http")
        and not (link[1:] in anchors if link.startswith("#") else (HOUSE / link).exists())
    ]

    assert len(links) > 20
    assert dead == []


def test_the_snippet_in_python_inserts_once(mirror):
    (snippet,) = blocks("python", "insert or ignore")

    for _ in range(2):
        subprocess.run([sys.executable, "-c", snippet.replace(MIRROR, str(mirror))], check=True)

    assert drafts(mirror) == [("+79201234567", "Your order 17 is ready", "order-17", "queued")]


def test_the_snippet_in_php_inserts_once(mirror):
    php = tool("php", "-r", "exit(class_exists('SQLite3') ? 0 : 1);")
    (snippet,) = blocks("php")

    for _ in range(2):
        subprocess.run([php, "-r", snippet.replace(MIRROR, str(mirror))], check=True)

    assert drafts(mirror) == [("+79201234567", "Your order 18 is ready", "order-18", "queued")]


def test_the_snippet_for_node_inserts_once(mirror, tmp_path):
    node = tool("node", "-e", "require('node:sqlite')")
    (snippet,) = blocks("js")
    script = tmp_path / "send.mjs"
    script.write_text(snippet.replace(MIRROR, str(mirror)))

    for _ in range(2):
        subprocess.run([node, script], check=True, stderr=subprocess.DEVNULL)

    assert drafts(mirror) == [("+79201234567", "Your order 19 is ready", "order-19", "queued")]


def test_the_lines_for_the_shell_send(mirror, tmp_path):
    tool("sqlite3")
    (lines,) = blocks("sh", "semysync send --csv")
    (tmp_path / "customers.csv").write_text("phone,text\n+79201234568,From a file\n")
    lines = lines.replace("semysync send", f"{sys.executable} -m semysync send")
    lines = lines.replace(MIRROR, str(mirror)).replace("--wait 60", "")

    subprocess.run(
        ["bash", "-euc", lines],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "SEMYSYNC_DATABASE": str(mirror)},
        check=True,
        capture_output=True,
    )

    assert [text for _, text, *_ in drafts(mirror)] == [
        *("Hello", "Your parcel is here", "Your order 17 is ready", "Good morning", "From a file"),
    ]


def called():
    """Each call of the program in a block for the shell, split as the shell splits it."""
    for text in blocks("sh"):
        for line in text.splitlines():
            for call in re.findall(r"(?:^|[ /;&|(])semysync ([^|;&)>]*)", line.partition(" #")[0]):
                yield shlex.split(call.replace('"$', "").rstrip('"'))


@pytest.mark.parametrize("words", list(called()), ids=" ".join)
def test_each_command_in_a_block_exists_with_its_options(words):
    command, rest = main, list(words)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        command = command.commands[rest.pop(0)]

    options = {option for p in command.params for option in (*p.opts, *p.secondary_opts)}
    assert {word.partition("=")[0] for word in rest if word.startswith("--")} <= options | {
        "--help"
    }


def test_each_file_on_the_way_of_a_message_and_of_a_draft_is_there():
    prose = README.partition("## Developing")[2]
    named = re.findall(r"`([a-z]+/[a-z_/]+\.py|[a-z]+\.py)`", prose)

    assert len(named) > 30
    for name in named:
        assert (
            (HOUSE / "semysync" / name).exists()
            or (HOUSE / name).exists()
            or (HOUSE / "semysync/mirror/tables" / name).exists()
        ), name


def test_each_campaign_that_is_named_is_there():
    named = set(re.findall(r"python -m (tests\.\w+)", README))

    assert len(named) > 4
    for name in named:
        place = HOUSE / name.replace(".", "/")
        assert (place / "__main__.py").exists() or place.with_suffix(".py").exists(), name


def test_the_queries_of_the_cookbook_go_to_the_shell(mirror):
    tool("sqlite3")
    (lines,) = blocks("sh", "help sql unanswered |")
    lines = lines.replace("semysync help", f"{sys.executable} -m semysync help")

    subprocess.run(
        ["bash", "-euo", "pipefail", "-c", lines.replace(MIRROR, str(mirror))],
        check=True,
        capture_output=True,
    )


def test_the_snippet_for_pandas_reads_messages(mirror):
    (snippet,) = blocks("python", "pandas")
    with closing(sqlite3.connect(mirror)) as conn, conn:
        conn.execute("insert into outbox (phone, text) values ('+79201234567', 'Hello')")
    said = []

    class Pandas:  # it is slow to load, and all that is asked of it is to run the query
        @staticmethod
        def read_sql(query, db, parse_dates):
            cursor = db.execute(query)
            said.extend([name for name, *_ in cursor.description if name in parse_dates])
            return cursor.fetchall()

    names = {}
    code = snippet.replace(MIRROR, str(mirror)).replace("import pandas, sqlite3", "import sqlite3")
    exec(code, names | {"pandas": Pandas}, names)
    names["db"].close()

    assert len(names["messages"]) == 1
    assert said == ["at"]
