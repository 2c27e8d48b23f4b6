"""`sync` through the real process: what it loads, how it ends, and what it says of bad input."""

import json
import os
import signal
import sqlite3
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import Popen
from threading import Thread

import pytest
from processes import IMPATIENT, TOKEN, end, free_port, truth, wait_until

from semysync.config import Api, Config
from semysync.errors import ConfigError
from semysync.service.connecting import client_for

TABLES = ("inbox", "sent", "devices")


@pytest.fixture
def answering():
    """Serve one body to every request; return the address."""
    servers = []

    def serve(body):
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}/api/3/"

    yield serve
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def counts(program):
    return [program.ask(f"select count(*) from {table}")[0][0] for table in TABLES]


def said_once(ended, code):
    """It ended with the code, after one sentence and nothing else; return the sentence."""
    assert ended.returncode == code, ended
    assert ended.stderr.startswith("semysync: ")
    assert ended.stderr.count("\n") == 1
    assert TOKEN not in ended.stderr + ended.stdout
    return ended.stderr


def test_it_mirrors_the_whole_account(program, sandbox):
    program.configure(sandbox.base_url)

    ended = program.run("sync")

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[0] == "devices  2 new, 0 changed"
    assert ended.stdout.splitlines()[-1] == f"mirror   {program.mirror}"
    for box in ("inbox", "sent"):
        assert program.ask(f"select id, text from {box} order by id") == truth(sandbox, box)


def test_it_prints_what_came_of_it_as_json(program, sandbox):
    program.configure(sandbox.base_url)

    facts = json.loads(program.run("sync", "--json").stdout)

    assert facts["mirror"] == str(program.mirror)
    assert [p["kind"] for p in facts["passes"]] == ["devices", "inbox", "sent", "account"]
    assert sum(p["added"] for p in facts["passes"][1:]) == 300
    assert not any(p["error"] for p in facts["passes"])


def test_it_says_how_many_drafts_it_has_handed_over_and_how_many_rows_make_no_sense(
    synced, sandbox
):
    sandbox.account.change("inbox", sandbox.account.receive("+79201234567", "Lost"), id=None)
    synced.run("send", "+79201234567", "Hello")

    said = synced.run("sync").stdout

    assert "1 rows that make no sense, kept in the table conflicts" in said
    assert "outbox   1 handed over\n" in said
    assert [row["msg"] for row in sandbox.account.rows("sent")][-1] == "Hello"


def test_a_second_one_brings_only_what_is_new(synced, sandbox):
    sandbox.account.receive("+79201234567", "Fresh")

    ended = synced.run("sync")

    assert "inbox    1 new, 0 changed\nsent     0 new, 0 changed\n" in ended.stdout


def test_the_database_and_the_token_may_come_from_the_environment(program, sandbox):
    program.configure(sandbox.base_url, token="")
    program.env |= {"SEMYSYNC_TOKEN": TOKEN, "SEMYSYNC_DATABASE": str(program.home / "x.db")}

    ended = program.run("sync")

    assert ended.returncode == 0
    assert (program.home / "x.db").exists()
    assert not program.mirror.exists()


def test_the_option_goes_before_the_environment(program, sandbox):
    program.configure(sandbox.base_url)

    program.run("sync", "--database", "named.db", SEMYSYNC_DATABASE="other.db")

    assert (program.home / "named.db").exists()
    assert not (program.home / "other.db").exists()


def test_a_broken_first_load_goes_on_where_it_was(program, sandbox):
    sandbox.set(cap=20, fault="http_500", fault_methods="outbox_sms")
    program.configure(sandbox.base_url)
    program.run("sync")
    half = counts(program)
    sandbox.set(fault="none")

    ended = program.run("sync")

    assert half[1] == 0 < half[0]
    assert ended.returncode == 0
    for box in ("inbox", "sent"):
        assert program.ask(f"select id, text from {box} order by id") == truth(sandbox, box)


def test_ctrl_c_says_that_nothing_is_lost(program, sandbox):
    sandbox.set(fault="hang")
    program.configure(sandbox.base_url)
    with program.running("sync") as process:
        wait_until(lambda: sandbox.requests, process)

        code, said = end(process, signal.SIGINT)

    assert code == 1
    assert said.startswith("semysync: stopped; what came so far is kept")


def test_the_token_is_not_in_the_list_of_processes(program, sandbox):
    sandbox.set(fault="hang")
    program.configure(sandbox.base_url)
    with program.running("sync", start=Popen) as process:
        wait_until(lambda: sandbox.requests, process)

        line = Path(f"/proc/{process.pid}/cmdline").read_bytes()

    assert b"semysync" in line
    assert TOKEN.encode() not in line


@pytest.mark.parametrize("refusal", ["minus_one", "http_403"])
def test_a_wrong_token_is_refused_by_the_service(program, sandbox, refusal):
    sandbox.set(wrong_token=refusal)
    program.configure(sandbox.base_url, token="wrong-and-secret")

    ended = program.run("sync")

    assert "check the token" in said_once(ended, 69)
    assert "wrong-and-secret" not in ended.stderr
    assert counts(program) == [0, 0, 0]


def test_a_token_that_the_service_repeats_is_masked(program, answering):
    body = json.dumps({"code": "-1", "error": f"no user has {TOKEN}"}).encode()
    program.configure(answering(body))

    ended = program.run("sync", "--json")

    assert "no user has ***" in said_once(ended, 69)
    assert not program.ask(f"select 1 from passes where error like '%{TOKEN}%'")


def test_a_missing_token_is_a_matter_of_configuration(program, sandbox):
    program.configure(sandbox.base_url, token="")

    ended = program.run("sync")

    assert "set `token_file` in [api], or $SEMYSYNC_TOKEN" in said_once(ended, 78)
    assert sandbox.requests == []
    assert not program.mirror.exists()


def test_an_unknown_host_is_for_later(program):
    program.configure("https://no-such-host.invalid/api/3/")

    ended = program.run("sync")

    assert "cannot connect to no-such-host.invalid" in said_once(ended, 75)
    assert "check the network, and `base_url`" in ended.stderr


def test_a_closed_port_is_for_later(program):
    program.configure(f"http://127.0.0.1:{free_port()}/api/3/")

    said_once(program.run("sync"), 75)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("html", "no JSON"),
        ("empty", "the body is empty"),
        ("cut", "the connection broke"),
        ("truncated", "no JSON"),
        ("drop", "the connection broke"),
        ("http_500", "the service is in trouble (HTTP 500)"),
    ],
)
def test_an_answer_that_is_none_is_for_later_and_harms_nothing(synced, sandbox, fault, says):
    before = counts(synced)
    sandbox.account.receive("+79201234567", "Missed for now")
    sandbox.set(fault=fault)

    ended = synced.run("sync")

    sentence = said_once(ended, 75)
    assert says in sentence
    assert "(inbox and sent and account failed as well); try again later" in sentence
    assert counts(synced) == before
    sandbox.set(fault="none")
    assert synced.run("sync").returncode == 0
    assert counts(synced)[0] == before[0] + 1


def test_silence_ends_with_the_time_out(program, sandbox):
    sandbox.set(fault="hang")
    program.configure(sandbox.base_url, api="timeout_s = 1")

    assert "no answer within 1 s" in said_once(program.run("sync"), 75)


@pytest.mark.parametrize(
    ("seconds", "says"), [(120, "try again in 120 s"), (0, "try again in a few minutes")]
)
def test_a_service_that_wants_a_pause_gets_one(program, sandbox, seconds, says):
    sandbox.set(fault="http_429", retry_after=seconds)
    program.configure(sandbox.base_url)

    ended = program.run("sync")

    assert says in said_once(ended, 75)
    assert len(sandbox.requests) == 1


def test_a_wrong_address_is_named_as_such(program, sandbox):
    program.configure(sandbox.base_url.replace("/3/", "/4/"))

    assert "check `base_url`" in said_once(program.run("sync"), 69)


def test_a_redirect_is_not_followed_with_the_token(program, sandbox):
    sandbox.set(fault="redirect", fault_methods="devices")
    program.configure(sandbox.base_url)

    assert "the token is not sent after it" in said_once(program.run("sync"), 75)


@pytest.mark.parametrize("body", [b"[]", b"null", b'{"data": 5}'])
def test_json_of_another_shape_is_for_later(program, answering, body):
    program.configure(answering(body))

    said_once(program.run("sync"), 75)
    assert counts(program) == [0, 0, 0]


def test_escape_sequences_from_the_service_do_not_reach_the_terminal(program, answering):
    program.configure(answering(b'{"code": "5", "error": "\\u001b[2Jgone\\u009b1m\\nsecond"}'))

    sentence = said_once(program.run("sync"), 69)

    assert not any(ord(c) < 32 or 126 < ord(c) < 160 for c in sentence.rstrip("\n"))


def test_one_failing_box_is_done_in_part(program, sandbox):
    sandbox.set(fault="http_500", fault_methods="outbox_sms")
    program.configure(sandbox.base_url)

    ended = program.run("sync")

    assert "sent of device" in said_once(ended, 1)
    assert "sent     0 new, 0 changed, not complete" in ended.stdout
    assert program.ask("select id, text from inbox order by id") == truth(sandbox, "inbox")


def test_several_mistakes_in_a_configuration_are_told_at_once(program):
    program.configure("http://semysms.net/", rest="[pull]\ninbox_s = 0\nfoo = 1\n[push]\n")

    ended = program.run("sync")

    first, *mistakes = ended.stderr.splitlines()
    assert ended.returncode == 78
    assert first == f"semysync: {program.config} has mistakes:"
    assert [m.split(":")[0].strip() for m in mistakes] == [
        "[pull] inbox_s = 0",
        "[pull] foo",
        "[push]",
        "[api] base_url = 'http",
    ]
    assert TOKEN not in ended.stderr


def test_a_configuration_that_is_not_there_is_named(program):
    ended = program.run("sync", "--config", "nowhere.toml")

    assert "cannot read the configuration nowhere.toml: No such file" in said_once(ended, 78)


def test_a_useless_proxy_is_a_matter_of_configuration(program):
    program.configure("https://semysms.net/api/3/")

    ended = program.run("sync", HTTPS_PROXY="nonsense://localhost:1")

    assert "check $HTTPS_PROXY" in said_once(ended, 78)


def test_wrong_usage_ends_with_2(program):
    assert program.run("sync", "--databse", "x").returncode == 2
    assert program.run("snyc").returncode == 2
    assert program.run("messages", "-n", "0").returncode == 2


def test_a_database_of_another_program_is_left_as_it_is(program, sandbox):
    program.configure(sandbox.base_url)
    path = program.home / "other.db"
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("create table theirs (x)")
    before = path.read_bytes()

    ended = program.run("sync", "--database", path)

    assert "a database of another program" in said_once(ended, 78)
    assert path.read_bytes() == before
    assert [p.name for p in program.home.glob("other.db*")] == ["other.db"]
    assert sandbox.requests == []


def test_a_file_that_is_no_database_is_left_as_it_is(program, sandbox):
    program.configure(sandbox.base_url)
    path = program.home / "letter.txt"
    path.write_text("Dear Sir or Madam, " * 100)

    ended = program.run("sync", "--database", path)

    assert "is no SQLite database" in said_once(ended, 78)
    assert path.read_text() == "Dear Sir or Madam, " * 100
    assert [p.name for p in program.home.glob("letter*")] == ["letter.txt"]


@pytest.mark.parametrize("command", ["sync", "run", "messages", "devices", "status"])
def test_a_mirror_of_a_newer_version_is_refused(synced, command):
    with closing(sqlite3.connect(synced.mirror)) as conn:
        conn.execute("pragma user_version = 999")

    assert "written by a newer semysync" in said_once(synced.run(command), 78)


def test_a_mirror_in_which_another_program_writes_is_for_later(synced, sandbox):
    before = counts(synced)
    sandbox.account.receive("+79201234567", "Missed for now")
    asked = len(sandbox.requests)
    with closing(sqlite3.connect(synced.mirror, isolation_level=None)) as writer:
        writer.execute("begin immediate")

        ended = synced.run("sync", code=IMPATIENT)

        assert "another program has been writing to" in said_once(ended, 75)
        assert counts(synced) == before
        assert len(sandbox.requests) == asked  # before it is seen what an earlier run has left
    assert synced.run("sync").returncode == 0
    assert counts(synced)[0] == before[0] + 1


@pytest.mark.parametrize("command", ["sync", "run"])
def test_a_folder_cannot_be_the_mirror(program, sandbox, command):
    program.configure(sandbox.base_url)
    (program.home / "folder").mkdir()

    ended = program.run(command, "--database", "folder")

    assert "folder is no file" in said_once(ended, 78)


@pytest.mark.parametrize("command", ["sync", "run"])
def test_a_folder_that_may_not_be_written_to_cannot_hold_the_mirror(program, sandbox, command):
    program.configure(sandbox.base_url)
    (program.home / "closed").mkdir(mode=0o555)

    ended = program.run(command, "--database", "closed/mirror.db")

    assert "cannot make the mirror closed/mirror.db: Permission denied" in said_once(ended, 78)
    assert not [*(program.home / "closed").iterdir()]


def test_a_path_below_a_file_cannot_be_the_mirror(program, sandbox):
    program.configure(sandbox.base_url)

    ended = program.run("sync", "--database", program.config / "mirror.db")

    said_once(ended, 78)


def test_an_existing_mirror_that_may_not_be_written_is_refused(synced):
    before = counts(synced)
    synced.mirror.chmod(0o400)
    synced.mirror.parent.chmod(0o500)

    ended = synced.run("sync")

    synced.mirror.parent.chmod(0o700)
    said_once(ended, 78)
    assert counts(synced) == before


def test_beside_a_program_that_is_only_about_to_make_the_mirror_it_is_for_later(program, sandbox):
    from semysync.mirror.file import create
    from semysync.mirror.lock import Lock, Right

    program.configure(sandbox.base_url)
    create(program.mirror)
    with Lock(program.mirror, Right.SENDER):
        ended = program.run("sync")

    assert f"process {os.getpid()} is already at work" in said_once(ended, 75)
    assert program.run("sync").returncode == 0


def test_an_address_that_no_host_can_have_is_told():
    settings = Config(api=Api(base_url="https://xn--a.net/"))

    with pytest.raises(ConfigError, match="cannot prepare a connection to"):
        client_for(settings, "token")
