"""`--json`: what each command prints has the shape that the README shows, and none is left out."""

import json
import re
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import click
import pytest
from processes import TOKEN, Program

from semysync.cli import main
from semysync.mirror.copies.replica import Replica
from semysync.sandbox import Sandbox

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BLOCK = re.search(r"^## JSON\n.*?^```text\n(.*?)^```", README, re.DOTALL | re.MULTILINE)[1]
PARTS = re.compile(r"[\[\]{}:,]|[^\[\]{}:,\s]+")

#: what the README calls a command in a line of its own, and how it is called to see the shape
CALLS = {
    "messages": "messages",
    "search": "search order",
    "conversations": "conversations",
    "outbox": "outbox",
    "send": "send +79201234567 Hello",
    "send --csv": "send --csv drafts.csv",
    "hold": "hold 1",
    "release": "release 1",
    "cancel": "cancel 1",
    "retry": "retry 1",
    "release --all": "release --all --yes",
    "cancel --device": "cancel --device {device} --yes",
    "devices": "devices",
    "status": "status",
    "stats": "stats",
    "doctor": "doctor",
    "verify": "verify --all",
    "sync": "sync",
    "purge": "purge",
    "purge --yes": "purge --yes",
    "backup": "backup --to copies",
    "backup --check": "backup --check {copy}",
    "drill": "drill",
    "takeover": "takeover",
    "forget": "forget +79201234569 --yes",
    "hooks": "hooks",
    "hooks test": "hooks test tell",
    "hooks replay": "hooks replay tell --from 1",
    "hooks skip": "hooks skip tell --all",
    "help sql": "help sql",
    "help sql NAME": "help sql unanswered",
    "init": "init --config other.toml --base-url {url} --token-file token",
    "sandbox --list-switches": "sandbox --list-switches",
}
MAY_BE_EMPTY = {"send --csv.used_before", "cancel --device.too_late", "stats.delivery"}
ENDLESS = {"sandbox"}  #: ends with Ctrl-C only, and is seen in a test of its own
EXTRA = """
[purge]
inbox_days = 3
needs_copy = "no"
sent_days = 3
[[hook]]
name = "tell"
on = ["message.received"]
run = ["true"]
"""
WORLD = """
insert into outbox (phone, text, status) values ('+79201234567', 'Good morning', 'held');
insert into passes (kind, started_at, finished_at, error, requests, added, changed, illegible)
values ('account', '2026-01-01T00:00:00.000000Z', '2026-01-01T00:00:01.000000Z', 'no', 1, 0, 0, 0);
insert into followers (name, position, since) values ('tell', 1, '2026-01-01T00:00:00.000000Z');
insert into events (kind, box, message_id) values ('message.received', 'inbox', 1);
insert into deliveries (follower, seq, kind, status, attempts, first_at, last_at, error)
select 'tell', max(seq), 'message.received', 'dead', 9, '2026-01-01T00:00:00.000000Z',
       '2026-01-01T00:00:00.000000Z', 'it ended with 1' from events;
delete from sent where id = (select id from sent order by id desc limit 1 offset 20);
"""


def read(text):
    """Read a shape: a dict of shapes, a list of one shape or none, or None for a value."""
    parts = PARTS.findall(text)

    def shape():
        if parts[0] == "[":
            parts.pop(0)
            found = [] if parts[0] == "]" else [shape()]
            assert parts.pop(0) == "]", text
            return found
        if parts[0] != "{":
            return parts.pop(0) and None
        parts.pop(0)
        found = {}
        while parts[0] != "}":
            name = parts.pop(0)
            found[name] = parts.pop(0) and shape() if parts[0] == ":" else None
            if parts[0] == ",":
                parts.pop(0)
        parts.pop(0)
        return found

    found = shape()
    assert not parts, text
    return found


def documented():
    """Each shape of the README, by what it is of."""
    shapes = {}
    for line in re.sub(r"\n +", " ", BLOCK).splitlines():
        names, _, shape = line.partition("  ")
        shapes |= dict.fromkeys(names.split(", "), read(shape))
    return shapes


SHAPES = documented()


def compare(shape, value, where, unseen):
    """Hold a value to its shape; lists that are empty show nothing of theirs."""
    if value is None or shape is None:
        assert not isinstance(value, dict | list), where
    elif isinstance(shape, list):
        assert isinstance(value, list), where
        if shape and not value:
            unseen.append(where)
        for one in value:
            if shape:
                compare(shape[0], one, f"{where}[]", unseen)
            else:
                assert not isinstance(one, dict | list), where
    else:
        assert isinstance(value, dict), where
        if shape:  # {} is one with keys of any name
            assert list(value) == list(shape), where
            for name, of in shape.items():
                compare(of, value[name], f"{where}.{name}", unseen)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A program whose mirror has something of everything, and the words of its calls."""
    program = Program(tmp_path_factory.mktemp("shapes"))
    with Sandbox(messages=300, devices=3, token=TOKEN) as sandbox:
        place = f"file://{program.home}/replica"
        litestream = shutil.which("litestream", path=str(Path(sys.executable).parent))
        rest = f'{EXTRA}[replica]\nurl = "{place}"\nprogram = "{litestream}"\n'
        program.configure(sandbox.base_url, api="requests_per_minute = 60000", rest=rest)
        program.mirror_here()
        Replica(place, {}, litestream).put(program.mirror)
        (program.home / "drafts.csv").write_text(
            "phone,text,client_key\n+79201234568,Hi,a\n,Hi,b\n"
        )
        (program.home / "token").write_text(TOKEN)
        (program.home / "token").chmod(0o600)
        with closing(sqlite3.connect(program.mirror)) as conn:
            conn.executescript(WORLD)
        program.run("send", "+79201234569", "Good evening", "--key", "a2")
        program.run("cancel", "2")
        copy = json.loads(program.run("backup", "--to", "copies", "--json").stdout)["file"]
        yield (
            program,
            {
                "device": next(iter(sandbox.account.devices)),
                "url": sandbox.base_url,
                "copy": copy,
            },
        )


@pytest.mark.parametrize("name", CALLS)
def test_json_has_the_shape_that_is_documented(world, name):
    program, words = world

    ended = program.run(*CALLS[name].format(**words).split(), "--json")

    unseen = []
    assert ended.returncode in {0, 1}, ended.stderr
    compare(SHAPES[name], json.loads(ended.stdout), name, unseen)
    assert set(unseen) <= MAY_BE_EMPTY


def test_the_sandbox_tells_where_it_is(world):
    program, _ = world
    with program.running("sandbox", "--port", "0", "--messages", "0", "--json") as process:
        decoder, text = json.JSONDecoder(), ""
        while not text.rstrip().endswith("}"):
            text += process.stdout.readline()

    compare(SHAPES["sandbox"], decoder.decode(text), "sandbox", [])


def test_each_command_with_json_has_its_shape_in_the_readme():
    def with_json(group, before=""):
        for name, command in group.commands.items():
            if any("--json" in parameter.opts for parameter in command.params):
                yield f"{before}{name}"
            if isinstance(command, click.Group):
                yield from with_json(command, f"{before}{name} ")

    told = {"help": "help sql"}
    missing = [name for name in with_json(main) if told.get(name, name) not in SHAPES]
    assert missing == []
    assert CALLS.keys() | ENDLESS == SHAPES.keys()


def test_a_shape_that_differs_is_told():
    with pytest.raises(AssertionError, match=r"x\.b\[\]"):
        compare(read("{a, b: [{c}]}"), {"a": 1, "b": [{"c": 1, "d": 2}]}, "x", [])
