"""`run` through the real process: what it takes in, what it survives, and how it ends."""

import json
import signal
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from subprocess import Popen

import pytest
from processes import (
    IMPATIENT,
    PATIENCE_S,
    QUICK,
    TOKEN,
    asked,
    end,
    has_all,
    mirrored,
    truth,
    wait_until,
)
from structlog.testing import capture_logs

from semysync.config import load
from semysync.daemon.loop import Loop
from semysync.service.client import Client
from semysync.service.pace import Pace


def failures(program):
    return asked(program, "select error from passes where error is not null")


def events(logged):
    return [json.loads(line) for line in logged.splitlines()]


def test_it_mirrors_the_account_and_then_what_arrives(program, sandbox):
    with program.running("run") as process:
        wait_until(lambda: has_all(program, sandbox), process)
        sandbox.account.receive("+79201234567", "Fresh")
        wait_until(lambda: has_all(program, sandbox), process)
        first = "select 1 from passes where kind = 'sent' and added > 0 and error is null"
        wait_until(lambda: program.ask(first), process)

        code, logged = end(process)

    names = [line["event"] for line in events(logged)]
    assert code == 0
    assert names[0] == "daemon.started"
    assert "daemon.stopping" in names
    assert names[-1] == "daemon.stopped"
    finished = {line["kind"] for line in events(logged) if line["event"] == "pass.finished"}
    assert finished >= {"devices", "inbox", "sent"}


def test_the_log_holds_no_texts_numbers_or_token(program, sandbox):
    with program.running("run") as process:
        wait_until(lambda: has_all(program, sandbox), process)
        _, logged = end(process)

    assert TOKEN not in logged
    for box in ("inbox", "sent"):
        for row in sandbox.account.rows(box):
            assert row["phone"] not in logged or len(row["phone"]) < 5
            assert row["msg"] not in logged or len(row["msg"]) < 5


def test_a_second_one_names_the_first_and_leaves(program, sandbox):
    with program.running("run") as process:
        wait_until(lambda: has_all(program, sandbox), process)

        second = program.run("run")

        assert second.returncode == 75
        assert second.stderr.startswith(f"semysync: process {process.pid} is already at work on")
        assert second.stderr.count("\n") == 1
        assert process.poll() is None


def test_sync_works_beside_it(program, sandbox):
    program.configure(sandbox.base_url, rest="[pull]\ninbox_s = 3600\nsent_s = 3600\n")
    with program.running("run") as process:
        wait_until(lambda: has_all(program, sandbox), process)
        sandbox.account.receive("+79201234567", "Fresh")

        ended = program.run("sync")

        assert ended.returncode == 0
        assert "inbox    1 new" in ended.stdout
        assert end(process)[0] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_the_middle_of_a_first_load(program, sandbox, number):
    sandbox.set(cap=5, delay_s=0.2)  # it takes six seconds at least
    with program.running("run") as process:
        wait_until(lambda: mirrored(program, "inbox"), process)

        code, logged = end(process, number)

    assert code == 0
    assert "pass.stopped" in {line["event"] for line in events(logged)}
    assert 0 < len(mirrored(program, "inbox")) < len(truth(sandbox, "inbox"))
    sandbox.set(cap=0, delay_s=0)
    assert program.run("sync").returncode == 0
    assert has_all(program, sandbox)


@pytest.mark.parametrize("fault_methods", ["devices", "inbox_sms,outbox_sms"])
def test_a_signal_ends_it_while_the_service_hangs(program, sandbox, fault_methods):
    program.configure(sandbox.base_url, api="timeout_s = 2", rest=QUICK)
    program.mirror_here()
    sandbox.set(fault="hang", fault_methods=fault_methods)
    asked = len(sandbox.requests)
    with program.running("run") as process:
        wait_until(lambda: any(call.method in fault_methods for call in sandbox.requests[asked:]))
        hanging = len(sandbox.requests)

        code, logged = end(process)

    assert code == 0
    assert len(sandbox.requests) == hanging  # it asked nothing else
    assert events(logged)[-1]["event"] == "daemon.stopped"


def test_a_second_signal_does_not_wait_for_an_answer(program, sandbox):
    program.mirror_here()
    with closing(sqlite3.connect(program.mirror)) as conn, conn:
        conn.execute("insert into outbox (phone, text) values ('+79201234567', 'Hello')")
    sandbox.set(fault="hang", fault_methods="sms")
    with program.running("run") as process:
        wait_until(lambda: any(call.method == "sms" for call in sandbox.requests), process)
        process.send_signal(signal.SIGTERM)
        assert any("daemon.stopping" in line for line in iter(process.stderr.readline, ""))

        wait_until(lambda: process.poll() is not None or process.send_signal(signal.SIGTERM))

    assert process.returncode == -signal.SIGTERM


# The program, which gets a signal as soon as it imports what is slow to import.
SIGNALLED = """
import os, sys
class Finder:
    def find_spec(self, name, path, target=None):
        if name == "structlog":
            os.kill(os.getpid(), {number})
sys.meta_path.insert(0, Finder())
from semysync.cli import main
main()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_comes_while_it_starts_is_a_clean_end(program, sandbox, number):
    with program.running("run", code=SIGNALLED.format(number=number.value), start=Popen) as process:
        _, logged = process.communicate(timeout=PATIENCE_S)

    assert (process.returncode, logged) == (0, "")
    assert not sandbox.requests
    assert program.run("sync").returncode == 0


def test_it_holds_no_library_that_only_serves_a_terminal(program, sandbox):
    code = "import atexit, sys; from semysync.cli import main\n"
    code += "atexit.register(lambda: print({'rich', 'pygments'} & sys.modules.keys()))\nmain()"
    with program.running("run", code=code, start=Popen) as process:
        wait_until(lambda: sandbox.requests, process)
        process.terminate()
        said, _ = process.communicate(timeout=PATIENCE_S)

    assert (process.returncode, said) == (0, "set()\n")


def test_its_threads_share_a_few_heaps(program, sandbox):
    code = """
import atexit, ctypes
from semysync.cli import main
def tell():
    libc = ctypes.CDLL(None)
    libc.fdopen.restype = ctypes.c_void_p
    stream = ctypes.c_void_p(libc.fdopen(1, b"w"))
    libc.malloc_info(0, stream)
    libc.fflush(stream)
atexit.register(tell)
main()
"""
    with program.running("run", code=code, start=Popen) as process:
        wait_until(lambda: has_all(program, sandbox), process)
        process.terminate()
        said, _ = process.communicate(timeout=PATIENCE_S)

    assert 0 < said.count("<heap nr=") <= 2


@pytest.mark.parametrize("fault", ["html", "http_429", "api_error"])
def test_a_sick_service_does_not_end_it(program, sandbox, fault):
    program.mirror_here()
    sandbox.set(fault=fault)
    with program.running("run") as process:
        wait_until(lambda: failures(program), process)
        sandbox.account.receive("+79201234567", "Fresh")
        sandbox.set(fault="none")

        wait_until(lambda: has_all(program, sandbox), process)

        assert end(process)[0] == 0


def test_a_service_that_is_down_at_first_is_taken_up_when_it_comes(program, sandbox):
    sandbox.stop()
    with program.running("run") as process:
        wait_until(lambda: failures(program), process)
        sandbox.start()

        wait_until(lambda: has_all(program, sandbox), process)

        assert end(process)[0] == 0


class Flawed(Client):
    """A client with a bug that shows once."""

    flaws = 1

    def devices(self, *, archived):
        self.flaws -= 1
        if self.flaws == 0:
            raise ZeroDivisionError
        return super().devices(archived=archived)


def test_a_pass_that_breaks_is_logged_with_its_traceback_and_the_next_one_comes(program, sandbox):
    program.mirror_here()
    config = load(program.config, {})
    with Flawed(TOKEN, base_url=sandbox.base_url) as client, capture_logs() as logged:
        loop = Loop(config, program.mirror, client, client, Pace())
        loop.start()
        sandbox.account.add_device()

        wait_until(lambda: program.ask("select count(*) from devices") == [(4,)])

        loop.stop()
    broke = next(entry for entry in logged if entry["event"] == "pass.broke")
    assert broke["kind"] == "devices"
    assert isinstance(broke["exc_info"], ZeroDivisionError)
    assert failures(program) == [("the pass broke off (ZeroDivisionError); its log says where",)]


def test_housekeeping_which_asks_nothing_ends_no_failure_of_the_service(program, sandbox):
    program.mirror_here()
    sandbox.stop()
    config = load(program.config, {})
    with Client(TOKEN, base_url=sandbox.base_url) as client, capture_logs() as logged:
        loop = Loop(config, program.mirror, client, client, Pace())
        loop.start()
        wait_until(lambda: program.ask("select 1 from events where kind = 'pull.failing'"))
        before = loop._ended_s.get("housekeeping")

        loop.hasten("housekeeping")

        wait_until(lambda: loop._ended_s.get("housekeeping") != before)
        loop.stop()
    assert "pull.recovered" not in {entry["event"] for entry in logged}
    assert not program.ask("select 1 from events where kind = 'pull.recovered'")


def test_a_mirror_that_another_program_locks_is_no_end(program, sandbox):
    program.mirror_here()
    with (
        closing(sqlite3.connect(program.mirror, isolation_level=None)) as writer,
        program.running("run", code=IMPATIENT) as process,
    ):
        lines = map(json.loads, iter(process.stderr.readline, ""))
        assert next(lines)["event"] == "daemon.started"
        writer.execute("begin immediate")
        sandbox.account.receive("+79201234567", "Fresh")
        failed = next(line for line in lines if line["event"] == "mirror.failing")
        writer.execute("rollback")

        wait_until(lambda: has_all(program, sandbox), process)

        assert "another program has been writing to" in failed["error"]
        assert end(process)[0] == 0


def test_it_works_on_when_nobody_reads_its_log(program, sandbox):
    with program.running("run") as process:
        process.stderr.readline()
        process.stderr.close()
        sandbox.account.receive("+79201234567", "Fresh")

        wait_until(lambda: has_all(program, sandbox), process)

        process.terminate()
        assert process.wait(PATIENCE_S) == 0


def test_it_makes_the_folder_of_the_mirror(program, sandbox):
    with program.running("run", "--database", "a/b/c.db") as process:
        wait_until((program.home / "a" / "b" / "c.db").exists, process)
        wait_until(lambda: sandbox.requests, process)

        assert end(process)[0] == 0


def test_without_a_token_it_does_not_start(program, sandbox):
    program.configure(sandbox.base_url, token="", rest=QUICK)

    ended = program.run("run")

    assert ended.returncode == 78
    assert "set `token_file`" in ended.stderr


def test_it_purges_on_its_schedule_where_that_is_enabled(program, sandbox):
    account = sandbox.account
    account.remove("inbox", account.ids("inbox"))
    device = min(account.devices)
    long_ago = datetime.now(UTC) - timedelta(days=40)
    old = account.receive("+79201234567", "Old", device, at=long_ago)
    new = account.receive("+79201234567", "New", device)
    purging = "[purge]\nenabled = true\nevery_s = 1\n"
    program.configure(sandbox.base_url, api="requests_per_minute = 100000", rest=QUICK + purging)

    with program.running("run") as process:
        wait_until(lambda: old not in account.ids("inbox"), process)
        account.change("inbox", new, msg="Newer")
        code, logged = end(process)

    assert code == 0
    assert new in account.ids("inbox")
    assert not [line for line in events(logged) if line["level"] == "error"]


def test_it_never_deletes_where_that_is_not_enabled(program, sandbox):
    long_ago = datetime.now(UTC) - timedelta(days=40)
    sandbox.account.receive("+79201234567", "Old", at=long_ago)

    with program.running("run") as process:
        wait_until(lambda: has_all(program, sandbox), process)
        end(process)

    assert not [call for call in sandbox.requests if call.method.startswith("del_")]
    assert "purge" not in {row[0] for row in program.ask("select kind from passes")}
