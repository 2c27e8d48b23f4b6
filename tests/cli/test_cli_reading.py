"""`messages`, `devices` and `status` through the real process, and what the terminal gets to see."""

import json
import sqlite3
import subprocess
from contextlib import closing

import pytest
from drafting import change
from processes import TOKEN, Program
from typist import on_terminal

NASTY = "\x1b[31mred\x1b[0m \x9b1m \u202eesrever\u202c\r\nnext\tline \x07 end"


@pytest.fixture
def empty(program):
    """A mirror without anything in it."""
    from semysync.mirror.store import Store

    Store.migrate(program.mirror).close()
    return program


def test_messages_shows_the_newest_with_the_latest_last(synced, sandbox):
    sandbox.account.receive("+79201234567", "The very latest")
    synced.mirror_here()

    lines = synced.run("messages", "-n", "3").stdout.splitlines()

    assert len(lines) == 1 + 3
    assert lines[0].split() == ["when", "(UTC)", "contact", "status", "text"]
    assert lines[-1].split()[2:] == ["<", "+79201234567", "The", "very", "latest"]
    assert all(line == line.rstrip() for line in lines)


def test_messages_can_be_narrowed(synced, sandbox):
    sandbox.account.receive("+7 (920) 123-45-67", "Mine")
    synced.mirror_here()

    found = synced.run("messages", "--json", "--contact", "+7 920 123-45-67", "--direction", "in")

    assert [row["text"] for row in json.loads(found.stdout)] == ["Mine"]


def test_messages_of_one_device_as_json(synced, sandbox):
    device = next(iter(sandbox.account.devices))

    rows = json.loads(synced.run("messages", "--json", "--device", device, "-n", 10**30).stdout)

    both = [*sandbox.account.rows("inbox"), *sandbox.account.rows("sent")]
    assert {r["id"] for r in rows} == {r["id"] for r in both if r["id_device"] == device}


@pytest.mark.parametrize("where", ["pipe", "terminal"])
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_text_cannot_command_the_terminal(synced, where, form):
    change(synced, "update inbox set text = ?, contact = ?", NASTY, NASTY)
    change(synced, "update sent set text = ?, contact = ?", NASTY, NASTY)
    command = ("messages", "-n", "2", *form)

    if where == "pipe":
        shown = synced.run(*command).stdout
    else:
        shown = on_terminal(synced, *command, NO_COLOR="1")

    assert "esrever" in shown
    shown = shown.replace("\x1b[1m", "").replace("\x1b[0m", "")  # headings may be bold
    assert not any(c < " " or "\x7f" <= c <= "\x9f" for c in shown.replace("\n", ""))
    assert "\u202e" not in shown
    if form:
        assert json.loads(shown)[0]["text"] == NASTY


def test_bytes_that_are_no_text_do_not_hide_the_others(synced):
    change(synced, "update inbox set text = cast(x'68ff69' as text)")

    assert "h\ufffdi" in synced.run("messages", "--direction", "in").stdout


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_tables_fit_the_terminal(synced, columns):
    change(synced, "update inbox set text = ?", "谢谢您的订单 " * 40)

    from rich.cells import cell_len

    for command in (["messages", "-n", "20"], ["devices"]):
        shown = on_terminal(synced, *command, columns=columns, NO_COLOR="1")

        plain = shown.replace("\x1b[1m", "").replace("\x1b[0m", "")
        assert max(map(cell_len, plain.splitlines())) <= columns


def test_a_narrow_terminal_cuts_off_no_text_and_no_id(synced, sandbox):
    change(synced, "update inbox set text = ?", "one two three four five six seven")

    texts = on_terminal(synced, "messages", "-n", "1", "--direction", "in", columns=60)
    phones = on_terminal(synced, "devices", columns=60)

    assert "".join(texts.split()).endswith("onetwothreefourfivesixseven")
    assert all(str(number) in phones for number in sandbox.account.devices)


def test_a_reader_that_has_seen_enough_is_no_error(synced):
    command = " ".join(synced._command(["messages", "-n", "300"], None))

    ended = subprocess.run(
        ["bash", "-c", f"{command} --json | head -n 1; {command} | head -n 1"],
        env=synced.env,
        cwd=synced.home,
        capture_output=True,
        check=True,
    )

    assert ended.stderr == b""
    assert ended.stdout.startswith(b"[\n       when (")


def test_a_terminal_without_the_letters_gets_escapes(synced):
    change(synced, "update inbox set text = 'Привет'")

    ended = synced.run("messages", "--direction", "in", PYTHONIOENCODING="latin-1")

    assert ended.returncode == 0
    assert "\\u041f" in ended.stdout


@pytest.mark.parametrize("command", ["status", "sync", "export messages"])
def test_a_command_whose_output_nobody_wants_does_its_work_all_the_same(synced, command):
    command = " ".join(synced._command(command.split(), None))

    ended = subprocess.run(
        ["bash", "-c", f"{command} >&- 2>&-"], env=synced.env, cwd=synced.home, check=False
    )

    assert ended.returncode == 0


def test_an_empty_mirror_says_so(empty):
    assert empty.run("messages").stdout == "No messages.\n"
    assert empty.run("devices").stdout == "No devices.\n"
    assert empty.run("conversations").stdout == "No conversations.\n"
    assert json.loads(empty.run("messages", "--json").stdout) == []
    assert json.loads(empty.run("devices", "--json").stdout) == []
    assert empty.run("status").returncode == 1


def test_devices_shows_each_phone(synced, sandbox):
    shown = synced.run("devices").stdout
    rows = json.loads(synced.run("devices", "--json").stdout)

    assert {row["id"] for row in rows} == set(sandbox.account.devices)
    assert all(str(row["id"]) in shown for row in rows)


def test_devices_tells_what_is_gone_and_what_is_archived(synced, sandbox):
    first, second = sandbox.account.devices
    sandbox.account.remove_device(first)
    sandbox.account.archive_device(second)
    synced.mirror_here()

    lines = synced.run("devices").stdout.splitlines()

    notes = {line.split()[0]: line for line in lines[1:]}
    assert "gone from the account" in notes[str(first)]
    assert notes[str(second)].endswith("archived")


@pytest.mark.parametrize("command", ["messages", "devices", "status"])
def test_without_a_mirror_the_way_to_one_is_told(program, command):
    ended = program.run(command)

    assert ended.returncode == 78
    assert ended.stderr.startswith(f"semysync: there is no mirror at {program.mirror} yet")
    assert "semysync sync" in ended.stderr
    assert not program.mirror.exists()


@pytest.mark.parametrize("command", ["messages", "devices", "status"])
def test_a_mirror_that_is_named_needs_no_configuration(synced, command):
    synced.config.write_text("this is no TOML")

    by_option = synced.run(command, "--database", synced.mirror)
    by_environment = synced.run(command, SEMYSYNC_DATABASE=str(synced.mirror))

    assert by_option.returncode == by_environment.returncode == 0
    assert synced.run(command).returncode == 78


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("messages", "folder"),
        ("messages", "closed folder"),
        ("messages", "text"),
        ("devices", "other"),
        ("status", "other"),
    ],
)
def test_what_is_no_mirror_is_refused(program, command, kind):
    path = program.home / kind
    if kind == "folder":
        path.mkdir()
    elif kind == "closed folder":
        path.mkdir(mode=0o000)
        path /= "semysync.db"
    elif kind == "text":
        path.write_text("Dear Sir or Madam, " * 100)
    else:
        with closing(sqlite3.connect(path)) as conn:
            conn.execute("create table theirs (x)")

    ended = program.run(command, "--database", path)

    assert ended.returncode == 78
    assert ended.stderr.startswith("semysync: ")
    assert ended.stderr.count("\n") == 1


def test_a_mirror_that_may_not_be_read_is_refused(synced):
    synced.mirror.chmod(0o000)

    ended = synced.run("status")

    assert ended.returncode == 78
    assert ended.stderr.count("\n") == 1


def test_readers_do_not_wait_for_a_writer(synced):
    with closing(sqlite3.connect(synced.mirror, isolation_level=None)) as writer:
        writer.execute("begin immediate")
        writer.execute("update inbox set text = 'not yet'")

        assert "not yet" not in synced.run("messages").stdout


def test_readers_never_need_the_token(synced, tmp_path):
    other = Program(tmp_path / "elsewhere")
    other.home.mkdir()

    ended = other.run("messages", "--database", synced.mirror)

    assert ended.returncode == 0
    assert TOKEN not in ended.stdout


def test_readers_import_nothing_slow(synced):
    heavy = {"httpx", "sqlite_utils", "apscheduler", "structlog", "semysync.sandbox"}
    code = (
        "import sys\n"
        "from semysync.cli import main\n"
        "try: main()\n"
        f"finally: print(sorted({heavy!r} & sys.modules.keys()))"
    )

    for command in (["--help"], ["status"], ["--version"]):
        assert synced.run(*command, code=code, start=subprocess.Popen).stdout.endswith("\n[]\n")


def test_devices_are_those_of_status_and_say_what_is_wrong(synced):
    change(synced, "update devices set utc_offset = null")
    change(
        synced,
        "insert or replace into device_states (device_id, offline_since)"
        " select id, '2026-01-01T00:00:00.000000Z' from devices limit 1",
    )
    shown = synced.run("devices").stdout
    rows = json.loads(synced.run("devices", "--json").stdout)

    assert rows == json.loads(synced.run("status", "--json").stdout)["devices"]
    assert {row["service_on"] for row in rows} == {True}
    assert shown.count("offline") == 1
    assert shown.count("~20") == len(rows)  # as the phone printed it
    assert "seen ~20" in synced.run("status").stdout
