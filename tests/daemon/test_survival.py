"""What the daemon survives: services, files, clocks and signals. Told once, and recovered from."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from itertools import groupby
from pathlib import Path
from threading import Thread

import pytest
from needing import tool
from processes import (
    HASTY,
    PATIENCE_S,
    QUICK,
    TOKEN,
    Program,
    asked,
    end,
    has_all,
    like_anybody,
    wait_until,
)

from semysync.sandbox import Sandbox

OTHER_TOKEN = "0" * 32
FAILED_TRIES = "select count(*) from passes where error is not null"

# The program, which says of each try that the mirror refused what it otherwise says once.
TALKATIVE = """
import sys
from semysync.daemon.telling import Telling
told = Telling.mirror_failed
def tell(*facts):
    told(*facts)
    sys.stderr.write('{"event": "mirror.tried"}\\n')  # at once: print() writes the end by itself
Telling.mirror_failed = tell
"""


class Log:
    """What a process logs, read as it comes."""

    def __init__(self, process):
        self._process = process
        self._lines = []
        self._thread = Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        for line in self._process.stderr:
            self._lines.append(json.loads(line))

    def ended(self):
        """End the process; return its exit code, once all is read that it has logged."""
        code = ended(self._process)
        self._thread.join(PATIENCE_S)
        return code

    def all(self):
        return list(self._lines)

    def names(self):
        return [line["event"] for line in self.all()]

    def has(self, name):
        return name in self.names()


def ended(process, number=signal.SIGTERM):
    """Send a signal; return the exit code, once it has ended."""
    process.send_signal(number)
    return process.wait(PATIENCE_S)


def events(program, kind):
    return asked(program, f"select box, data from events where kind = '{kind}'")


def write(program, sql, *values):
    with closing(sqlite3.connect(program.mirror, timeout=30)) as conn, conn:
        return conn.execute(sql, values).lastrowid


def draft(program, text="Hello"):
    return write(program, "insert into outbox (phone, text) values ('+79201234567', ?)", text)


def methods(sandbox):
    return [call.method for call in list(sandbox.requests)]


# The service


def test_a_token_that_is_refused_stops_the_sending_until_it_is_put_right(program, sandbox):
    program.mirror_here()
    program.configure(sandbox.base_url, token=OTHER_TOKEN, rest=QUICK)
    number = draft(program)
    sandbox.requests.clear()
    with program.running("run", code=HASTY) as process:
        log = Log(process)
        blocked = "select 1 from settings where key = 'sending_blocked' and value <> ''"
        wait_until(lambda: asked(program, blocked), process)
        before = len(methods(sandbox))
        wait_until(lambda: len(methods(sandbox)) > before + 2, process)  # it asks again

        assert "sms" not in methods(sandbox)
        assert log.names().count("pull.failing") == 1
        assert asked(program, f"select status from outbox where id = {number}") == [("queued",)]

        program.configure(sandbox.base_url, rest=QUICK)
        process.send_signal(signal.SIGHUP)

        wait_until(lambda: "sms" in methods(sandbox), process)
        assert log.ended() == 0
    assert events(program, "pull.failing") == [(None, '{"cause": "refused"}')]
    assert events(program, "pull.recovered") == [(None, '{"cause": "refused"}')]
    assert TOKEN not in str(log.all())
    assert OTHER_TOKEN not in str(log.all())


def test_a_service_that_is_gone_for_long_is_told_once_and_taken_up_when_it_comes(program, sandbox):
    program.mirror_here()
    with program.running("run", code=HASTY) as process:
        log = Log(process)
        wait_until(lambda: sandbox.requests, process)
        sandbox.stop()
        wait_until(lambda: log.has("pull.failing"), process)
        tries = asked(program, FAILED_TRIES)
        wait_until(lambda: asked(program, FAILED_TRIES) > [(tries[0][0] + 3,)], process)
        sandbox.account.receive("+79201234567", "Fresh")
        sandbox.start()

        wait_until(lambda: has_all(program, sandbox), process)
        wait_until(lambda: log.has("pull.recovered"), process)

        assert log.ended() == 0
    assert log.names().count("pull.failing") == log.names().count("pull.recovered") == 1
    assert log.names().count("pass.failed") <= 4  # one a kind at most
    assert [json.loads(data)["cause"] for _, data in events(program, "pull.failing")] == [
        "unreachable"
    ]


def test_a_box_that_fails_alone_is_told_and_the_others_go_on(program, sandbox):
    program.mirror_here()
    sandbox.set(fault="html", fault_methods="inbox_sms")
    alone = ("inbox", '{"cause": "unreadable"}')
    with program.running("run", code=HASTY) as process:
        log = Log(process)
        # Three failures without an answer in between speak of the service, until another answers.
        wait_until(lambda: alone in events(program, "pull.failing"), process)
        sandbox.set(fault="none")
        wait_until(
            lambda: len(events(program, "pull.failing")) == len(events(program, "pull.recovered")),
            process,
        )

        assert log.ended() == 0
    told = events(program, "pull.failing")
    assert told.count(alone) == 1
    assert log.names().count("pull.failing") == len(told) <= 2


def test_a_failure_that_was_told_by_an_earlier_run_is_over_when_this_one_is_answered(
    program, sandbox
):
    program.mirror_here()
    sandbox.stop()
    with program.running("run", code=HASTY) as process:
        wait_until(lambda: events(program, "pull.failing"), process)
        process.kill()
    sandbox.start()
    with program.running("run", code=HASTY) as process:
        wait_until(lambda: events(program, "pull.recovered"), process)

        assert ended(process) == 0
    assert len(events(program, "pull.failing")) == 1


def test_sends_do_not_wait_for_a_pull_that_hangs(program, sandbox):
    program.mirror_here()
    sandbox.set(fault="hang", fault_methods="devices,inbox_sms,outbox_sms,user")
    with program.running("run") as process:
        wait_until(lambda: sandbox.requests, process)

        draft(program)

        wait_until(lambda: "sms" in methods(sandbox), process)
        wait_until(
            lambda: asked(program, "select 1 from outbox where status = 'accepted'"), process
        )
        assert ended(process) == 0


# Stops


@pytest.mark.parametrize("method", ["devices", "inbox_sms", "outbox_sms", "user"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_does_not_wait_for_the_answer_to_a_question(program, sandbox, method, number):
    program.mirror_here()
    sandbox.set(fault="hang", fault_methods=method)
    sandbox.requests.clear()
    with program.running("run") as process:
        wait_until(lambda: method in methods(sandbox), process)
        began = time.monotonic()

        assert ended(process, number) == 0

        assert time.monotonic() - began < 15  # it would have been 30
    assert not asked(program, "select 1 from passes where error is not null")


def test_a_stop_waits_for_the_answer_to_what_is_being_sent(program, sandbox):
    program.mirror_here()
    number = draft(program)
    sandbox.set(delay_s=0.6)
    sandbox.requests.clear()
    with program.running("run") as process:
        wait_until(lambda: "sms" in methods(sandbox), process)

        assert ended(process) == 0

    assert asked(program, f"select status from outbox where id = {number}") == [("accepted",)]


def test_an_answer_that_does_not_come_while_stopping_is_searched_for_later(program, sandbox):
    program.mirror_here()
    number = draft(program)
    sandbox.set(fault="hang", fault_methods="sms")
    sandbox.requests.clear()
    with program.running("run", code=HASTY) as process:
        wait_until(lambda: "sms" in methods(sandbox), process)
        began = time.monotonic()

        assert ended(process) == 0

        assert time.monotonic() - began < 15
    assert asked(program, f"select status from outbox where id = {number}") == [("unknown",)]


# The program, where nobody answers what the address of a name is.
NAMELESS = """
import socket, sys, time
def ask(*_, **__):
    sys.stderr.write('{"event": "name.asked"}\\n')
    time.sleep(60)
socket.getaddrinfo = ask
"""


def test_what_nothing_can_break_off_is_left_behind(program, sandbox):
    program.mirror_here()
    with program.running("run", code=NAMELESS + HASTY) as process:
        log = Log(process)
        wait_until(lambda: log.has("name.asked"), process)
        began = time.monotonic()

        assert log.ended() == 0

        assert time.monotonic() - began < 15
    assert log.names()[-1] in {"daemon.abandoned", "daemon.stopping"}
    assert program.run("outbox").returncode == 0


def test_two_daemons_on_two_files_do_not_meet(tmp_path, sandbox):
    with Sandbox(messages=50, devices=1, token=TOKEN) as other:
        programs = []
        for name, stand_in in (("one", sandbox), ("two", other)):
            (tmp_path / name).mkdir()
            program = Program(tmp_path / name)
            program.configure(stand_in.base_url, rest=QUICK)
            programs.append(program)
        first, second = programs
        with first.running("run") as one, second.running("run") as two:
            wait_until(lambda: has_all(first, sandbox), one)
            wait_until(lambda: has_all(second, other), two)

            assert end(one)[0] == 0
            assert two.poll() is None
            other.account.receive("+79201234567", "Fresh")
            wait_until(lambda: has_all(second, other), two)
            assert end(two)[0] == 0


# The configuration read again


def test_a_new_configuration_is_followed(program, sandbox):
    program.configure(sandbox.base_url, rest="[pull]\ninbox_s = 3600\nsent_s = 3600\n")
    with program.running("run") as process:
        log = Log(process)
        wait_until(lambda: has_all(program, sandbox), process)
        sandbox.account.receive("+79201234567", "Fresh")
        program.configure(sandbox.base_url, rest=f'{QUICK}[log]\nlevel = "debug"\n')

        process.send_signal(signal.SIGHUP)
        wait_until(lambda: log.has("configuration.reread"), process)
        wait_until(lambda: has_all(program, sandbox), process)
        sandbox.account.receive("+79201234567", "Fresher")

        wait_until(lambda: has_all(program, sandbox), process)  # not only once at the start
        assert log.ended() == 0


def test_a_configuration_with_mistakes_changes_nothing_and_they_are_named(program, sandbox):
    mistakes = {
        "[pull]\ninbox_s = 0\nsent = 3\n": "inbox_s = 0",
        "[api]\nbase_url = 'https://localhost'\n": "no token",
        "[pull": "is no TOML",
        None: "cannot read the configuration",
    }
    with program.running("run", "--config", program.config) as process:
        log = Log(process)

        def kept():
            return [line for line in log.all() if line["event"] == "configuration.kept"]

        for number, (text, said) in enumerate(mistakes.items(), 1):
            wait_until(lambda: has_all(program, sandbox), process)
            program.config.unlink()
            if text:
                program.config.write_text(text, encoding="utf-8")

            process.send_signal(signal.SIGHUP)
            wait_until(lambda number=number: len(kept()) == number, process)

            assert said in kept()[-1]["mistakes"]
            sandbox.account.receive("+79201234567", "Fresh")
            wait_until(lambda: has_all(program, sandbox), process)
        assert log.ended() == 0


def test_another_place_of_the_mirror_needs_a_restart_and_the_rest_is_followed(program, sandbox):
    with program.running("run") as process:
        log = Log(process)
        wait_until(lambda: has_all(program, sandbox), process)
        program.configure(sandbox.base_url, rest=f'{QUICK}[database]\npath = "elsewhere.db"\n')

        process.send_signal(signal.SIGHUP)
        wait_until(lambda: log.has("configuration.reread"), process)

        assert log.has("configuration.needs_restart")
        assert not (program.config.parent / "elsewhere.db").exists()
        assert log.ended() == 0


# The program, to which it takes long to write the mirror anew.
REWRITING = """
import time
from semysync.mirror.tables import boxes
from semysync.mirror import corrections
corrections.SLICE, change = 1, boxes.change
boxes.change = lambda *rest: (time.sleep(0.05), change(*rest))
"""


def test_neither_a_stop_nor_a_new_configuration_waits_until_a_mirror_is_written_anew(
    program, sandbox
):
    program.mirror_here()
    zone = "timezone = '+03:00'\nphone_timezone = '+03:00'"
    program.configure(sandbox.base_url, api=zone, rest=QUICK)
    with program.running("run", code=REWRITING + HASTY) as process:
        log = Log(process)
        wait_until(lambda: log.has("mirror.rewriting"), process)

        process.send_signal(signal.SIGHUP)

        wait_until(lambda: log.has("configuration.reread"), process)
        wait_until(lambda: log.names().count("mirror.rewriting") == 2, process)
        assert log.ended() == 0
    assert log.names()[-1] == "daemon.stopped"
    assert not log.has("daemon.abandoned")
    assert not log.has("mirror.rewritten")


@pytest.mark.parametrize("is_freed", [True, False])
def test_a_new_configuration_waits_for_a_mirror_that_is_locked(program, sandbox, is_freed):
    program.mirror_here()
    with (
        closing(sqlite3.connect(program.mirror, isolation_level=None)) as writer,
        program.running("run", code=HASTY) as process,
    ):
        log = Log(process)
        wait_until(lambda: log.has("daemon.started"), process)
        writer.execute("begin immediate")
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: log.has("daemon.held_up"), process)
        if is_freed:
            writer.execute("rollback")
            sandbox.account.receive("+79201234567", "Fresh")
            wait_until(lambda: has_all(program, sandbox), process)

        assert log.ended() == 0
    assert log.names().count("daemon.held_up") == 1


# The mirror


def test_a_mirror_that_is_locked_for_long_is_told_once_and_worked_on_afterwards(program, sandbox):
    program.mirror_here()
    with (
        closing(sqlite3.connect(program.mirror, isolation_level=None)) as writer,
        program.running("run", code=TALKATIVE + HASTY) as process,
    ):
        log = Log(process)
        wait_until(lambda: log.has("daemon.started"), process)
        writer.execute("begin immediate")
        sandbox.account.receive("+79201234567", "Fresh")
        wait_until(lambda: log.has("mirror.failing"), process)
        wait_until(lambda: log.names().count("mirror.tried") > 3, process)
        writer.execute("rollback")

        wait_until(lambda: has_all(program, sandbox), process)
        wait_until(lambda: log.has("mirror.recovered"), process)

        assert log.ended() == 0
    assert log.names().count("mirror.failing") == 1
    assert not log.has("pass.broke")


def test_a_file_that_may_not_be_written_for_a_while_is_told_once(program, sandbox):
    program.mirror_here()
    folder = program.mirror.parent
    files = [path for path in folder.iterdir() if path.is_file()]
    with program.running("run", code=HASTY, prepare=like_anybody) as process:
        log = Log(process)
        wait_until(lambda: log.has("daemon.started"), process)
        for path in files:
            path.chmod(0o400)
        folder.chmod(0o500)
        sandbox.account.receive("+79201234567", "Fresh")
        wait_until(lambda: log.has("mirror.failing"), process)
        folder.chmod(0o700)
        for path in files:
            path.chmod(0o600)

        wait_until(lambda: has_all(program, sandbox), process)
        wait_until(lambda: log.has("mirror.recovered"), process)

        assert log.ended() == 0
    told = [line for line in log.all() if line["event"] in {"mirror.failing", "mirror.recovered"}]
    # While the files become writable one by one, a pass may come through before the last is.
    for failing, lines in groupby(told, lambda line: line["event"] == "mirror.failing"):
        said = [line["error"] for line in lines if failing]
        assert len(said) == len(set(said)) <= 3  # the folder, the file, or one beside it


def mounted(*mounts):
    """Give the process mounts of its own, which go with it: arguments of mount(2)."""

    def prepare():
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        private = (b"none", b"/", None, 0x4000 | 1 << 18, None)  # MS_REC | MS_PRIVATE
        if libc.unshare(0x20000) or any(libc.mount(*each) for each in (private, *mounts)):
            raise OSError(ctypes.get_errno(), "cannot mount")

    return prepare


def small_disk(place, size):
    """Give the process a disk of its own, of this size."""
    return mounted((b"tmpfs", os.fsencode(place), b"tmpfs", 0, f"size={size}".encode()))


def read_only(place):
    """Let the process see a folder on a file system that is mounted read-only."""
    at, bind = os.fsencode(place), 0x1000
    return mounted((at, at, None, bind, None), (at, at, None, bind | 0x20 | 1, None))


def ask_inside(pid, mirror, query):
    """Ask the mirror from among the mounts of a process."""
    code = "import json, sqlite3, sys; print(json.dumps("
    code += (
        "sqlite3.connect(f'file:{sys.argv[1]}?mode=ro', uri=True).execute(sys.argv[2]).fetchall()))"
    )
    inside = ["nsenter", f"--target={pid}", "--mount", sys.executable, "-c", code, mirror, query]
    found = subprocess.run(inside, capture_output=True, check=False)
    return list(map(tuple, json.loads(found.stdout or "[]")))


def fill(path):
    """Fill a disk to the last byte."""
    with path.open("wb", buffering=0) as filler, suppress(OSError):
        while filler.write(bytes(4096)):
            pass


def test_a_disk_that_is_full_for_a_while_is_told_once_and_nothing_is_lost(program, sandbox):
    program.mirror.parent.mkdir(parents=True)
    with program.running(
        "run", code=TALKATIVE + HASTY, prepare=small_disk(program.mirror.parent, "8m")
    ) as (process):
        log = Log(process)
        filler = Path(f"/proc/{process.pid}/root{program.mirror.parent}", "filler")
        program.ask = lambda query: ask_inside(process.pid, program.mirror, query)
        wait_until(lambda: has_all(program, sandbox), process)
        fill(filler)
        for n in range(200):  # more than fits into what the files have room for
            sandbox.account.receive("+79201234567", f"Fresh {n} " * 50)
        wait_until(lambda: log.has("mirror.failing"), process)
        wait_until(lambda: log.names().count("mirror.tried") > 3, process)
        filler.unlink()

        wait_until(lambda: has_all(program, sandbox), process)
        wait_until(lambda: log.has("mirror.recovered"), process)

        assert asked(program, "pragma integrity_check") == [("ok",)]
        assert log.ended() == 0
    assert (
        log.names().count("mirror.failing") <= 2
    )  # "no space", and "does not take what is written"
    assert not log.has("pass.broke")


def inside(process, *commands):
    """Run commands among the mounts of a process."""
    for command in commands:
        at = ["nsenter", f"--target={process.pid}", "--mount", *map(str, command)]
        subprocess.run(at, check=True, capture_output=True)


def test_a_file_system_that_is_read_only_for_a_while_is_told_once(program, sandbox):
    folder = program.mirror.parent
    folder.mkdir(parents=True)
    with program.running(
        "run", code=TALKATIVE + HASTY, prepare=small_disk(folder, "8m")
    ) as process:
        log = Log(process)
        program.ask = lambda query: ask_inside(process.pid, program.mirror, query)
        wait_until(lambda: has_all(program, sandbox), process)
        bound = ["mount", "--bind", folder, folder]
        inside(process, bound, ["mount", "-o", "remount,bind,ro", folder])
        sandbox.account.receive("+79201234567", "Fresh")
        wait_until(lambda: log.has("mirror.failing"), process)
        wait_until(lambda: log.names().count("mirror.tried") > 3, process)
        inside(process, ["umount", "--lazy", folder])

        wait_until(lambda: has_all(program, sandbox), process)
        wait_until(lambda: log.has("mirror.recovered"), process)

        assert log.ended() == 0
    said = [line["error"] for line in log.all() if line["event"] == "mirror.failing"]
    assert len(said) == 1
    assert "mounted read-only" in said[0]
    assert not log.has("pass.broke")


def test_a_file_system_that_is_read_only_at_the_start_is_tried_again_by_systemd(program):
    program.mirror_here()
    folder = program.mirror.parent
    with program.running("run", prepare=read_only(folder)) as process:
        _, said = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 75  # not 78, after which systemd gives up
    assert "mounted read-only" in said


# The clock


@pytest.mark.parametrize("jump", ["-1d", "+1h", "+20y"])
def test_a_clock_that_is_put_loses_no_pass(program, sandbox, tmp_path, jump):
    tool("faketime")
    (found,) = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
    clock = tmp_path / "clock"
    clock.write_text("+0\n", encoding="utf-8")
    program.mirror_here()
    # So rarely that only the jump can be why it asks again.
    program.configure(sandbox.base_url, rest="[pull]\ninbox_s = 600\nsent_s = 600\n")
    with program.running(
        "run",
        code=HASTY,
        LD_PRELOAD=str(found),
        FAKETIME_TIMESTAMP_FILE=str(clock),
        FAKETIME_CACHE_DURATION="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1",
    ) as process:
        log = Log(process)
        last = "select max(id) from passes where kind = 'sent'"
        before = asked(program, last)
        wait_until(lambda: asked(program, last) != before, process)
        sandbox.account.receive("+79201234567", "Fresh")
        clock.write_text(f"{jump}\n", encoding="utf-8")

        wait_until(lambda: log.has("clock.jumped"), process)
        wait_until(lambda: has_all(program, sandbox), process)

        assert log.ended() == 0
    assert log.names().count("clock.jumped") == 1
    assert not log.has("pass.broke")
