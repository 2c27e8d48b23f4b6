"""`send` through the real process: one message, many from a file, and the way they go."""

import json
import os
import pty
import shlex
import signal
import sqlite3
import subprocess
from contextlib import closing

import pytest
from born import Born, run
from drafting import (
    PHONE,
    accept,
    change,
    draft,
    expire,
    refuse,
    reject,
    report,
    status_of,
    step,
)
from processes import IMPATIENT, PATIENCE_S, end, wait_until

from semysync.mirror.lock import Lock, Right, is_held
from semysync.mirror.store import Store

NO_DAEMON = "semysync: no daemon runs: nothing goes out until `semysync run` is started\n"


@pytest.fixture
def program(program):
    """The program with an empty mirror, and no configuration at all."""
    Store.migrate(program.mirror).close()
    return program


def fed(program, given, *args, **env):
    """Run a command with something on its standard input."""
    return run(
        program._command(args, None),
        env=program.env | env,
        cwd=program.home,
        given=given if isinstance(given, bytes) else given.encode(),
    )


def drafts(program, columns="phone, text"):
    return program.ask(f"select {columns} from outbox order by id")


def sheet(program, content):
    path = program.home / "list.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# One message.


def test_send_needs_neither_configuration_nor_service(program):
    ended = program.run("send", PHONE, "Your parcel is here")

    assert (ended.returncode, ended.stdout) == (0, f"Draft 1 to {PHONE} is queued.\n")
    assert ended.stderr == NO_DAEMON
    assert drafts(program, "phone, text, status, contact") == [
        (PHONE, "Your parcel is here", "queued", None)
    ]


def test_beside_a_daemon_nothing_is_to_be_said(program):
    with Lock(program.mirror, Right.SENDER):
        ended = program.run("send", PHONE, "Hello")

    assert (ended.returncode, ended.stderr) == (0, "")


def test_every_option_arrives_in_its_column(program):
    ended = program.run(
        *("send", PHONE, "Hello", "--at", "2090-11-24T12:00+03:00", "--expires"),
        *("2090-11-25T09:00Z", "--device", "351, 352", "--key", "order-1", "--priority", "7"),
        "--hold",
    )

    assert "Draft 1 to +79201234567 is held, not before 2090-11-24 09:00 UTC, " in ended.stdout
    columns = "send_at, expires_at, device, client_key, priority, kind, status"
    assert drafts(program, columns) == [
        (
            *("2090-11-24T09:00:00.000000Z", "2090-11-25T09:00:00.000000Z"),
            *("351,352", "order-1", 7, "text", "held"),
        )
    ]


def test_a_local_time_is_stored_in_utc_and_shown_in_both(program):
    ended = program.run("send", PHONE, "Hi", "--at", "2090-11-24 09:00", TZ="Asia/Tokyo")

    assert ", not before 2090-11-24 09:00 JST (2090-11-24 00:00 UTC)." in ended.stdout
    assert drafts(program, "send_at") == [("2090-11-24T00:00:00.000000Z",)]


def test_the_help_says_which_zone_is_meant(program):
    shown = program.run("send", "--help", TZ="Asia/Tokyo").stdout

    assert "JST here" in " ".join(shown.split())


def test_an_end_before_the_beginning_is_that_of_the_next_day(program):
    program.run("send", PHONE, "Hi", "--at", "2090-11-24 22:00", "--expires", "08:00", TZ="UTC")

    assert drafts(program, "expires_at") == [("2090-11-25T08:00:00.000000Z",)]


def test_an_end_that_has_passed_is_told(program):
    ended = program.run("send", PHONE, "Hi", "--expires", "2020-01-01 09:00")

    assert "2020-01-01 09:00 UTC has passed already" in ended.stderr


def test_a_code_needs_no_text(program):
    ended = program.run("send", "--kind", "ussd", "*100#", "--device", "351")

    assert ended.returncode == 0
    assert drafts(program, "phone, text, kind, device") == [("*100#", "", "ussd", "351")]


def test_a_text_may_come_from_standard_input(program):
    fed(program, "Привет,\nworld \n\n", "send", PHONE, "-")

    assert drafts(program) == [(PHONE, "Привет,\nworld ")]


def test_a_text_may_begin_with_a_dash(program):
    program.run("send", "--priority", "1", "--", PHONE, "-5 % today")

    assert drafts(program) == [(PHONE, "-5 % today")]


def test_json_shows_the_row(program):
    facts = json.loads(program.run("send", PHONE, "Hello", "--json").stdout)

    assert facts["inserted"] is True
    row = facts["draft"]
    assert (row["id"], row["phone"], row["text"], row["status"]) == (1, PHONE, "Hello", "queued")
    names = [name for _, name, *_ in program.ask("pragma table_info(outbox)")]
    assert list(row) == names


def test_a_key_that_was_used_is_one_message(program):
    program.run("send", PHONE, "Hello", "--key", "order-1")

    again = program.run("send", PHONE, "Hello again", "--key", "order-1")
    facts = json.loads(program.run("send", PHONE, "Hello", "--key", "order-1", "--json").stdout)

    assert again.returncode == 0
    assert again.stdout == (
        "The key order-1 was used before: nothing is added.\n"
        f"Draft 1 to {PHONE} has it, and is queued: Hello\n"
    )
    assert (facts["inserted"], facts["draft"]["text"]) == (False, "Hello")
    assert drafts(program) == [(PHONE, "Hello")]


def test_a_key_of_a_deleted_draft_stays_used(program):
    program.run("send", PHONE, "Hello", "--key", "order-1")
    change(program, "update outbox set status = 'cancelling'")
    change(program, "delete from outbox")

    again = program.run("send", PHONE, "Hello", "--key", "order-1", "--wait")

    assert again.returncode == 0
    assert "was used before, by a draft that is deleted: nothing is added" in again.stdout
    assert drafts(program) == []


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("79201234567.0", "Hi"), "outbox.phone is not a number such as +79201234567"),
        ((PHONE, " "), "outbox.text is empty"),
        ((PHONE, "a" * 1001), "`text` is 1,001 UTF-16 units long"),
        ((PHONE, "😀" * 501), "`text` is 1,002 UTF-16 units long"),
        ((PHONE, "see [ping]"), "outbox.text holds what the service would take for a command"),
        ((PHONE, "Hi", "--device", "my phone"), "outbox.device is not a device id"),
        ((PHONE, "Hi", "--key", "k" * 201), "outbox.client_key is longer than 200"),
        ((PHONE, "Hi", "--at", "2099-11-24T09:00Z", "--expires", "2099-11-24T08:00Z"),
         "outbox.expires_at is before send_at"),
        ((PHONE, b"\xcf\xf0"), "`text` holds bytes that are not UTF-8"),
        ((PHONE, "Hi", "--key", b"\xcf"), "a column holds bytes that are not UTF-8"),
    ],
)  # fmt: skip
def test_what_the_table_refuses_is_told_in_a_sentence(program, args, says):
    command = [*program._command(["send"], None), *args]

    ended = run(command, env=program.env, cwd=program.home)

    assert ended.returncode == 2
    assert ended.stderr.decode().startswith(f"semysync: {says}")
    assert ended.stderr.count(b"\n") == 1
    assert drafts(program) == []


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ((), "Missing argument 'PHONE'"),
        ((PHONE,), "Missing argument 'TEXT'"),
        ((PHONE, "Hello", "world"), "unexpected extra argument (world)"),
        ((PHONE, "Hi", "--at", "25:00"), "--at: '25:00' is no time such as 09:00"),
        ((PHONE, "Hi", "--expires", "soon"), "--expires: 'soon' is no time"),
        ((PHONE, "Hi", "--priority", "-1"), "-1 is not in the range"),
        ((PHONE, "Hi", "--wait", "long"), "'long' is no number of seconds; put --wait behind"),
        ((PHONE, "Hi", "--wait=nan"), "'nan' is no number of seconds"),
        (("--csv", "list.csv", PHONE), "PHONE and --csv do not go together"),
        (("--csv", "list.csv", "--key", "x"), "--key and --csv do not go together"),
        (("--csv", "list.csv", "--wait"), "--wait and --csv do not go together"),
        (("--csv", "nowhere.csv"), "cannot read nowhere.csv: No such file"),
        (("--csv", "."), "cannot read .: Is a directory"),
    ],
)
def test_wrong_usage_ends_with_2_and_a_sentence(program, args, says):
    ended = program.run("send", *args)

    assert ended.returncode == 2
    assert says in ended.stderr
    assert drafts(program) == []


@pytest.mark.parametrize(("text", "parts"), [("я" * 202, 4), ("a" * 460, 4)])
def test_many_parts_are_told(program, text, parts):
    said = program.run("send", PHONE, text).stderr

    assert f"semysync: the text takes {parts} SMS, and the operator may charge for each\n" in said
    assert "SMS" not in program.run("send", PHONE, text[: -1 - len(text) % 3]).stderr


@pytest.mark.parametrize("command", [["send", PHONE, "Hi"], ["send", "--csv", "-"], ["outbox"]])
def test_without_a_mirror_the_way_to_one_is_told(program, command):
    program.mirror.unlink()

    ended = program.run(*command)

    assert ended.returncode == 78
    assert "there is no mirror" in ended.stderr
    assert not program.mirror.exists()


def test_a_mirror_of_another_version_is_refused(program):
    change(program, "pragma user_version = 999")

    ended = program.run("send", PHONE, "Hi")

    assert ended.returncode == 78
    assert "was written by a newer semysync" in ended.stderr


def test_a_mirror_that_is_busy_is_for_later(program):
    with closing(sqlite3.connect(program.mirror, isolation_level=None)) as writer:
        writer.execute("begin immediate")

        ended = program.run("send", PHONE, "Hi", code=IMPATIENT)

    assert ended.returncode == 75
    assert "another program has been writing to" in ended.stderr


def test_what_is_sent_is_on_the_disk(program):
    """Whoever reads that a draft is queued has lost nothing when the machine is switched off."""
    traced = program.run(
        *("send", PHONE, "Hi"),
        code="""
import sqlite3
from semysync.mirror.outbox import drafts
kept = drafts.open_outbox
def opened(path):
    conn = kept(path)
    print("synchronous", conn.execute("pragma synchronous").fetchone()[0])
    return conn
drafts.open_outbox = opened
from semysync.cli import main
main()
""",
    )

    assert "synchronous 2\n" in traced.stdout


def test_looking_for_the_daemon_never_stands_in_its_way(program):
    with Lock(program.mirror, Right.SENDER):
        pass
    traced = program.run(
        *("send", PHONE, "Hi"),
        code="""
import fcntl
def never(*_):
    raise AssertionError("it took a lock")
fcntl.flock = fcntl.lockf = never
from semysync.cli import main
main()
""",
    )

    assert (traced.returncode, traced.stderr) == (0, NO_DAEMON)


# The way it goes.


def waiting(program, *args):
    return program.running("send", PHONE, "Hello", *args)


def way(output):
    """The statuses that were shown, each without its time."""
    return [line[10:] for line in output.splitlines() if line[2:3] == ":"]


def there(program):
    return lambda: bool(drafts(program))


def test_wait_shows_each_status_until_it_is_sent(program):
    with waiting(program, "--wait") as process:
        wait_until(there(program), process)
        accept(program, 1, 901)
        report(program, 901, "is_send_to_phone")
        report(program, 901, "is_send")
        shown, _ = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 0
    assert way(shown) == ["queued", "sending", "accepted", "on_phone", "sent"] or way(shown) == [
        *("queued", "sending", "accepted   message 901", "on_phone", "sent")
    ]


def test_beside_the_daemon_a_message_goes_its_whole_way(synced, sandbox):
    sandbox.set(phone_speed=20)
    synced.configure(sandbox.base_url, rest="[pull]\nsent_s = 1")
    with synced.running("run") as daemon:
        wait_until(lambda: is_held(synced.mirror, Right.SENDER), daemon)
        ended = synced.run("send", PHONE, "Hello from the shell", "--wait", "30")
        listed = synced.run("outbox")
        end(daemon)

    assert ended.returncode == 0
    assert (ended.stderr, listed.stderr) == ("", "")
    assert way(ended.stdout)[:2] == ["queued", "sending"]
    assert [row["msg"] for row in sandbox.account.rows("sent")][-1] == "Hello from the shell"


def test_wait_shows_the_sentence_in_error(program):
    with waiting(program, "--wait=30") as process:
        wait_until(there(program), process)
        refuse(program, 1, "the service asks for a pause")
        assert "queued     the service asks for a pause\n" in until(process, "pause")
        step(program, 1, "error = 'the plan is over'")
        assert "queued     the plan is over\n" in until(process, "plan")
        reject(program, 1, "refused for good")
        shown, _ = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 1
    assert way(shown) == ["sending", "rejected   refused for good"]


def until(process, word):
    """Read what a process prints up to the line with this word."""
    shown = ""
    while word not in shown:
        line = process.stdout.readline()
        assert line, shown
        shown += line
    return shown


@pytest.mark.parametrize(
    ("ending", "code"),
    [("is_delivered", 0), ("is_error_send", 1), ("is_cancel", 1), ("expired", 1), ("deleted", 1)],
)
def test_wait_ends_as_the_message_does(program, ending, code):
    with waiting(program, "--wait", "--json") as process:
        wait_until(there(program), process)
        if ending == "expired":
            expire(program, 1)
        elif ending == "deleted":
            with closing(sqlite3.connect(program.mirror)) as conn, conn:
                conn.execute("update outbox set status = 'cancelling'")
                conn.execute("delete from outbox")
        else:
            accept(program, 1, 901)
            report(program, 901, ending)
        shown, said = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == code
    facts = json.loads(shown)
    if ending == "deleted":
        assert facts["draft"] is None
        assert "draft 1 is deleted" in said
    else:
        assert facts["draft"]["status"] == status_of(program, 1)


# The program, where another deletes a draft as soon as it is there.
UNWANTED = """
from semysync.cli import main, sending
insert = sending.insert
def unwanted(conn, fields):
    added = insert(conn, fields)
    conn.execute("update outbox set status = 'cancelling'")
    conn.execute("delete from outbox")
    return added
sending.insert = unwanted
main()
"""


@pytest.mark.parametrize(("options", "code"), [((), 0), (("--wait",), 1)])
def test_a_draft_that_another_deletes_at_once_was_added_all_the_same(program, options, code):
    ended = program.run("send", PHONE, "Hello", *options, code=UNWANTED)

    assert ended.returncode == code
    assert ended.stdout.startswith(f"Draft 1 to {PHONE} is queued.\n")
    assert ("draft 1 is deleted" in ended.stderr) == bool(options)


def test_wait_is_for_later_when_the_time_is_over(program):
    ended = program.run("send", PHONE, "Hi", "--wait", "0.2")

    assert ended.returncode == 75
    assert "semysync: draft 1 is still queued after 0.2 s: waits for its turn\n" in ended.stderr
    assert status_of(program, 1) == "queued"


def test_wait_says_what_blocks_the_sending(program):
    change(program, "insert into settings values ('sending_blocked', 'the plan is over')")

    ended = program.run("send", PHONE, "Hi", "--wait", "0")

    assert "after 0 s: nothing can be sent: the plan is over" in ended.stderr


def test_ctrl_c_ends_the_waiting_and_not_the_message(program):
    with waiting(program, "--wait") as process:
        wait_until(there(program), process)
        until(process, "queued")
        until(process, "queued")
        code, said = end(process, signal.SIGINT)

    assert code == 75
    assert "semysync: stopped waiting; draft 1 goes on: see `semysync outbox`" in said
    assert status_of(program, 1) == "queued"


def test_wait_for_a_key_that_was_used_tells_how_its_draft_is(program):
    program.run("send", PHONE, "Hello", "--key", "order-1")
    accept(program, 1, 901)
    report(program, 901, "is_delivered")

    ended = program.run("send", PHONE, "Hello", "--key", "order-1", "--wait", "5")

    assert (ended.returncode, ended.stderr) == (0, "")
    assert way(ended.stdout) == ["delivered"]


# Many from a file.


def test_a_file_goes_in_and_what_is_refused_is_told_by_its_line(program):
    sheet(
        program,
        "\ufeffphone;text;priority;client_key\r\n"
        "+79201234567;Hello;5;a\r\n"
        "7.92E+10;Excel was here;;\r\n"
        '900;"Two\r\nlines; ""quoted""";;b\r\n'
        "901;Hi, you;many;\r\n"
        "902;x;;;more\r\n"
        '903;"open;;\r\n'
        "904;😀;;a\r\n"
        "905;last;;\r\n",
    )

    ended = program.run("send", "--csv", "list.csv")

    assert ended.returncode == 1
    assert ended.stdout == (
        "Added 3 drafts, ids from 1 to 4; 1 line with a key that was used before; refused 4 lines.\n"
    )
    told = ended.stderr.splitlines()
    assert (
        told[0] == "semysync: list.csv, line 3: outbox.phone is not a number such as +79201234567"
    )
    assert told[1].startswith(
        "semysync: list.csv, line 6: cannot store TEXT value in INTEGER column"
    )
    assert told[2].startswith("semysync: list.csv, line 7: it has 5 cells for 4 columns")
    assert told[3].startswith("semysync: list.csv, line 8: ")
    assert drafts(program, "phone, text, priority, client_key") == [
        ("+79201234567", "Hello", 5, "a"),
        ("900", 'Two\r\nlines; "quoted"', 0, "b"),
        ("905", "last", 0, None),
    ]


def test_json_tells_what_became_of_each_line_of_a_file(program):
    sheet(program, "phone,text,client_key\n900,a,k\n901,,\n902,b,k\n903,c,\n")

    ended = program.run("send", "--csv", "list.csv", "--json")

    assert json.loads(ended.stdout) == {
        "inserted": 2,
        "known": 1,
        "drafts": [{"line": 2, "id": 1}, {"line": 5, "id": 3}],
        "used_before": [{"line": 4, "id": 1}],
        "refused": [{"line": 3, "error": "outbox.text is empty"}],
    }


def test_options_stand_for_what_a_line_leaves_empty(program):
    sheet(program, "phone,text,device,send_at,kind\n900,a,,,\n*100#,,352,2090-01-01T00:00Z,ussd\n")

    ended = program.run(
        *("send", "--csv", "list.csv", "--device", "351", "--at", "2090-11-24T09:00Z"),
        *("--priority", "3", "--hold"),
    )

    assert ended.returncode == 0
    assert drafts(program, "device, send_at, kind, priority, status") == [
        ("351", "2090-11-24T09:00:00.000000Z", "text", 3, "held"),
        ("352", "2090-01-01T00:00:00.000000Z", "ussd", 3, "held"),
    ]


def test_a_time_in_a_file_is_as_the_table_takes_it(program):
    sheet(program, "phone,text,send_at\n900,a,2090-11-24 09:00\n901,b,09:00\n")

    ended = program.run("send", "--csv", "list.csv", TZ="Asia/Tokyo")

    assert drafts(program, "send_at") == [("2090-11-24T09:00:00.000000Z",)]
    assert "line 3: outbox.send_at is not a date with a time" in ended.stderr


def test_a_file_may_come_from_standard_input(program):
    ended = fed(program, "text,phone\nHi,900\n", "send", "--csv", "-")

    assert ended.stdout == b"Added 1 draft, id 1.\n"
    assert drafts(program) == [("900", "Hi")]


def test_a_file_in_another_encoding_is_told_by_its_lines(program):
    sheet(program, "phone,text\n900,Привет\n901,ok\n".encode("cp1251"))

    ended = program.run("send", "--csv", "list.csv")

    assert ended.returncode == 1
    assert "line 2: `text` holds bytes that are not UTF-8" in ended.stderr
    assert drafts(program) == [("901", "ok")]


def test_a_file_without_the_columns_is_wrong_usage(program):
    sheet(program, "number;message\n900;a\n")

    ended = program.run("send", "--csv", "list.csv")

    assert ended.returncode == 2
    assert "list.csv: its first line names the columns, and 'number', 'message'" in ended.stderr


def test_long_texts_of_a_file_are_counted(program):
    sheet(program, "phone,text\n" + f"900,{'я' * 300}\n" * 2 + "901,short\n")

    said = program.run("send", "--csv", "list.csv").stderr

    assert "semysync: 2 texts of more than 3 SMS, each may be charged for\n" in said


def test_a_repeated_file_with_keys_adds_nothing(program):
    sheet(program, "phone,text,client_key\n" + "".join(f"900,t{i},k{i}\n" for i in range(700)))
    program.run("send", "--csv", "list.csv")

    again = program.run("send", "--csv", "list.csv")

    assert again.returncode == 0
    assert again.stdout == "Added 0 drafts; 700 lines with a key that was used before.\n"
    assert len(drafts(program)) == 700


def test_a_file_that_is_still_being_written_locks_nobody_out(program):
    with Born(
        program._command(["send", "--csv", "-"], None),
        env=program.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdin.write(b"phone,text\n" + b"900,a\n" * 350)
        process.stdin.flush()
        wait_until(there(program), process)

        draft(program, text="in between")

        process.stdin.close()
        process.stdin = None
        process.wait()
    assert len(drafts(program)) == 351


def test_what_is_in_is_told_when_it_is_broken_off(program):
    with program.running("send", "--csv", "pipe") as process:
        os.mkfifo(program.home / "pipe")
        process.kill()
    with program.running("send", "--csv", "pipe") as process:
        with (program.home / "pipe").open("wb", buffering=0) as pipe:
            pipe.write(b"phone,text\n" + b"900,a\n" * 310)
            wait_until(there(program), process)
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE_S)
        shown, said = process.communicate()

    assert process.returncode == 1
    assert shown == "Added 300 drafts, ids from 1 to 300.\n"
    assert "broken off behind line 301 of pipe: what follows is not added" in said
    assert len(drafts(program)) == 300


def test_a_mirror_that_is_busy_says_what_of_a_file_is_in(program):
    sheet(program, "phone,text\n900,a\n")
    with closing(sqlite3.connect(program.mirror, isolation_level=None)) as writer:
        writer.execute("begin immediate")

        ended = program.run("send", "--csv", "list.csv", code=IMPATIENT)

    assert ended.returncode == 75
    assert "broken off behind line 0 of list.csv" in ended.stderr
    assert "another program has been writing to" in ended.stderr


def test_a_terminal_gets_a_bar(program):
    sheet(program, "phone,text\n" + "900,a\n" * 900)
    ours, theirs = pty.openpty()

    ended = subprocess.run(
        program._command(["send", "--csv", "list.csv"], None),
        env=program.env | {"COLUMNS": "80"},
        cwd=program.home,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        check=True,
    )
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)

    assert ended.stdout == b"Added 900 drafts, ids from 1 to 900.\n"
    assert "drafts" in shown
    assert "refused" in shown


# What the README says.


def blocks(language):
    """The README's examples in a language, in its part on sending."""
    from pathlib import Path

    readme = Path(__file__).parents[2].joinpath("README.md").read_text(encoding="utf-8")
    part = readme.split("\n## Send\n")[1].split("\n## ")[0]
    return [block.split("```")[0] for block in part.split(f"```{language}\n")[1:]]


def test_the_statements_of_the_readme_work(program):
    for statement in blocks("sql"):
        with closing(sqlite3.connect(program.mirror)) as conn:
            conn.executescript(statement)
    for code in blocks("python"):
        exec(code.replace("/var/lib/semysync/semysync.db", str(program.mirror)), {})

    assert len(drafts(program)) >= 2


def test_the_shell_lines_of_the_readme_work(program):
    sheet(program, "phone,text,client_key\n900,a,k\n").rename(program.home / "customers.csv")
    (lines,) = blocks("sh")

    for line in lines.strip().splitlines():
        words = shlex.split(line.replace("/var/lib/semysync/semysync.db", str(program.mirror)))
        if words[0] == "semysync":
            words = ["0" if word == "60" else word for word in words]
            assert program.run(*words[1:]).returncode in {0, 75}
        else:
            subprocess.run(words, check=True, env=program.env)

    assert len(drafts(program)) == len(lines.strip().splitlines())
