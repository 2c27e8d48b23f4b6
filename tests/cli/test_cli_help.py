"""`help`, and the queries it shows: each runs against a mirror that has something of everything."""

import json
import re

import pytest

from semysync.cli import main
from semysync.mirror.reading.queries import QUERIES


@pytest.fixture(scope="module")
def lively(tmp_path_factory):
    """A mirror after a first load and a day of traffic."""
    from processes import TOKEN, Program

    from semysync.sandbox import Sandbox

    program = Program(tmp_path_factory.mktemp("lively"))
    with Sandbox(messages=300, devices=3, token=TOKEN) as sandbox:
        program.configure(sandbox.base_url)
        program.mirror_here()
        sandbox.account.receive("+79201234567", "Stop")
        program.mirror_here()
    return program


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.name)
def test_each_query_runs_as_it_is_shown(lively, query):
    shown = lively.run("help", "sql", query.name).stdout
    title, _, sql = shown.partition("\n")

    import sqlite3

    conn = sqlite3.connect(f"file:{lively.mirror}?mode=ro", uri=True)
    try:
        cursor = conn.execute(sql, {"contact": "+79201234567", "words": "st*"})
        names = [name for name, *_ in cursor.description]
        rows = cursor.fetchall()
    finally:
        conn.close()

    assert title.startswith("-- ")
    assert query.title in title
    assert len(set(names)) == len(names)
    if query.name in {"conversation", "search", "wants_no_more", "messages_per_day", "unread"}:
        assert rows


def test_the_cookbook_lists_thirty_queries_each_once():
    assert len({query.name for query in QUERIES}) == len(QUERIES) >= 30


def test_the_cookbook_lists_its_queries(program):
    listed = program.run("help", "sql")
    named = json.loads(program.run("help", "sql", "--json").stdout)

    assert [query["name"] for query in named] == [query.name for query in QUERIES]
    assert all(query.name in listed.stdout for query in QUERIES)


def test_help_explains_each_command_as_its_own_option_does(program):
    assert program.run("help", "send").stdout == program.run("send", "--help").stdout
    assert program.run("help").stdout == program.run("--help").stdout
    assert (
        program.run("help", "hooks", "test").stdout == program.run("hooks", "test", "--help").stdout
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("mesages",), "there is no command 'mesages'; did you mean messages?"),
        (("sql", "unansw"), "there is no query 'unansw'; did you mean unanswered?"),
        (("sql", "xyzzy"), "there is no query 'xyzzy': `semysync help sql` lists them"),
    ],
)
def test_a_slip_is_told_with_the_nearest_name(program, words, says):
    ended = program.run("help", *words)

    assert ended.returncode == 2
    assert says in ended.stderr


def test_the_readme_names_each_command():
    from pathlib import Path

    readme = Path(__file__).parents[2].joinpath("README.md").read_text(encoding="utf-8")

    missing = [
        name
        for name in main.commands
        if f"`semysync {name}" not in readme and f"`{name}" not in readme
    ]
    assert missing == []


NARROWS = {"--contact", "--device", "--direction", "--channel", "--status", "--since", "--until"}
EVERYWHERE = {"--config", "--database", "--json", "--help", "--version"}


def test_the_readme_names_each_option_in_the_row_of_its_command():
    from pathlib import Path

    readme = Path(__file__).parents[2].joinpath("README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`semysync [^|]*\|.*) \|$", readme, re.MULTILINE)
    for name, command in main.commands.items():
        (row,) = [
            row for row in rows if re.search(rf"`(semysync )?{name}\b", row.partition("|")[0])
        ]
        narrows = NARROWS if "what narrows" in row else set()
        named = set(re.findall(r"(?<![\w-])--?[a-z-]+", row)) | EVERYWHERE | narrows

        for one in (command, *getattr(command, "commands", {}).values()):
            options = [p.opts for p in one.params if p.opts[0].startswith("-")]
            assert [spelt for spelt in options if named.isdisjoint(spelt)] == [], name


def test_the_help_shows_each_command_once_in_its_family(program):
    shown = program.run("--help").stdout

    for name in main.commands:
        assert len(re.findall(rf"^  {name}  ", shown, re.MULTILINE)) == 1, name
    assert shown.index("Send:") < shown.index("  outbox ") < shown.index("Read:")
