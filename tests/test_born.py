"""A process that is forked by the nursery is like one that was started: asked of both alike."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from born import USUAL, Born, Nursery, run
from nursery import like_anybody
from processes import PATIENCE_S, Program

BOTH = pytest.mark.parametrize("start", [subprocess.Popen, Born])

# All that a program can see of how it was started.
FACTS = """
import gc, json, locale, os, random, signal, sys, tempfile, threading, time, warnings
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
print(json.dumps({
    "argv": sys.argv,
    "original": sys.orig_argv,
    "path": sys.path,
    "flags": repr(sys.flags),
    "warnings": [repr(each) for each in warnings.filters],
    "names": sorted(globals().keys() - {"status"}),
    "package": repr((__name__, __package__)),
    "main": sys.modules["__main__"].__dict__ is globals(),
    "files": [
        (f.name, f.mode, f.encoding, f.errors, f.line_buffering, f.write_through, f.newlines)
        for f in (sys.stdin, sys.stdout, sys.stderr)
    ],
    "same files": [sys.__stdin__ is sys.stdin, sys.__stdout__ is sys.stdout],
    "buffers": [type(f.buffer).__name__ for f in (sys.stdin, sys.stdout, sys.stderr)],
    "buffer files": [f.buffer.raw.name for f in (sys.stdin, sys.stdout, sys.stderr)],
    "descriptors": sorted(os.listdir("/proc/self/fd")),
    "where the files lead": [os.readlink(f"/proc/self/fd/{n}").split(":")[0] for n in range(3)],
    "environment": dict(os.environ),
    "told to children": os.popen("env | grep -v ^_= | grep -v ^SHLVL= | sort").read(),
    "zone": [time.tzname, time.timezone],
    "locale": locale.setlocale(locale.LC_ALL),
    "cwd": os.getcwd(),
    "temporary": tempfile.gettempdir(),
    "parent": os.getppid(),
    "group": os.getpgid(0),
    "session": os.getsid(0),
    "signals": {n: str(signal.getsignal(n)) for n in signal.valid_signals()},
    "masks": [status[name] for name in ("SigBlk", "SigIgn", "SigCgt", "SigPnd")],
    "rights": [status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")],
    "rights of children": os.popen("grep Cap /proc/self/status").read(),
    "umask": status["Umask"],
    "users": [status["Uid"], status["Gid"], status["Groups"]],
    "threads": [threading.active_count(), threading.current_thread().name, status["Threads"]],
    "collector": [gc.isenabled(), gc.get_threshold()],
    "limit": sys.getrecursionlimit(),
    "handlers": __import__("logging").root.handlers,
}))
"""


@pytest.fixture
def program(tmp_path):
    return Program(tmp_path)


def facts(program, start, **env):
    return json.loads(program.run("one", "--two", code=FACTS, start=start, **env).stdout)


def test_it_sees_what_a_started_one_sees(program):
    env = {"ANSWER": "Привет", "HOME": "/nowhere"}

    born, started = facts(program, Born, **env), facts(program, subprocess.Popen, **env)

    assert born == started
    assert born["argv"] == ["-c", "one", "--two"]


def test_it_has_no_variable_that_it_is_not_given(program):
    command = program._command([], "import os; print(dict(os.environ))")

    assert run(command, env=USUAL).stdout == f"{USUAL}\n".encode()


@pytest.mark.parametrize("args", [["--help"], ["status", "--nonsense"], ["none"]])
def test_it_calls_itself_as_a_started_one(program, args):
    born, started = (program.run(*args, start=start) for start in (Born, subprocess.Popen))

    assert (born.stdout, born.stderr) == (started.stdout, started.stderr)
    assert "Usage: python -m semysync" in born.stdout + born.stderr


def test_it_inherits_the_umask(program):
    before = os.umask(0o123)
    try:
        assert facts(program, Born)["umask"].strip() == "0123"
    finally:
        os.umask(before)


@BOTH
def test_rights_that_are_given_up_are_not_there(program, start):
    (program.home / "closed").mkdir(mode=0o500)

    for code in ("open('closed/file', 'w')", "import os; os.system('touch closed/file')"):
        with program.running(code=code, prepare=like_anybody, start=start) as process:
            assert "Permission denied" in process.communicate()[1]


# Its end


@BOTH
@pytest.mark.parametrize(
    ("end", "code", "said"),
    [
        ("", 0, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit(78)", 78, ""),
        ("sys.exit(256)", 0, ""),
        ("sys.exit(-1)", 255, ""),
        ("sys.exit('no good')", 1, "no good\n"),
        ("raise ZeroDivisionError", 1, "ZeroDivisionError\n"),
        ("os.kill(os.getpid(), 9)", -9, ""),
        ("raise KeyboardInterrupt", -2, "KeyboardInterrupt\n"),
        ("sys.stdout.close()", 0, ""),
        ("print('x'); os.close(1)", 120, "Bad file descriptor\n"),
    ],
)
def test_it_ends_as_a_started_one(program, start, end, code, said):
    with program.running(code=f"import os, sys\n{end}", start=start) as process:
        _, complained = process.communicate()

    assert process.returncode == code
    assert complained.endswith(said)
    assert bool(complained) == bool(said)


# The program, which leaves to its end what can be left to it.
LEAVING = """
import atexit, sqlite3, sys, threading, time
atexit.register(print, "at the end")
class Last:
    def __init__(self):
        self.itself = self
        self.conn = sqlite3.connect("file.db")
        self.conn.execute("pragma journal_mode = wal")
        self.conn.execute("create table t (n)")
    def __del__(self):
        print("let go")
Last()
threading.Thread(target=lambda: (time.sleep(0.1), print("a thread"))).start()
threading.Thread(target=time.sleep, args=(99,), daemon=True).start()
print("unended", end=" ")
"""


@BOTH
def test_what_is_left_to_the_end_is_done(program, start):
    ended = program.run(code=LEAVING, start=start)

    assert ended.returncode == 0
    assert ended.stdout == "unended a thread\nat the end\nlet go\n"
    assert sorted(path.name for path in program.home.iterdir()) == ["file.db"]


# Its life


@BOTH
def test_it_is_a_child_that_takes_signals_and_is_waited_for(program, start):
    code = "import time; print('up', flush=True); time.sleep(99)"
    with program.running(code=code, start=start) as process:
        assert process.stdout.readline() == "up\n"
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)

        assert process.wait(PATIENCE_S) == -signal.SIGTERM
    assert not Path(f"/proc/{process.pid}").exists()


@BOTH
def test_orphans_of_it_are_not_ours(program, start):
    code = "import subprocess; print(subprocess.Popen(['sleep', '99'], stdout=2).pid)"
    with program.running(code=code, start=start) as process:
        orphan = int(process.stdout.readline())
        process.wait()
        try:
            parent = Path(f"/proc/{orphan}/stat").read_text().rpartition(")")[2].split()[1]
        finally:
            os.kill(orphan, signal.SIGKILL)

    assert int(parent) != os.getpid()


def test_nothing_is_open_before_it_begins(program):
    code = """
import gc, os, sqlite3
gc.unfreeze()
print([each for each in gc.get_objects() if isinstance(each, sqlite3.Connection)])
print(len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task")))
"""

    assert program.run(code=code).stdout == "[]\n4 1\n"  # the fourth is of the listing


def test_no_two_have_the_same_luck(program):
    code = "import random, secrets, uuid; print(random.random(), secrets.token_hex(), uuid.uuid4())"

    lucks = [program.run(code=code).stdout.split() for _ in range(2)]

    assert not set(lucks[0]) & set(lucks[1])


def test_many_are_born_at_once_and_none_holds_the_files_of_another(program):
    quick, slow = "print('quick')", "import time; time.sleep(99)"
    with program.running(code=slow), program.running(code=slow):
        began = time.monotonic()
        assert program.run(code=quick).stdout == "quick\n"

        assert time.monotonic() - began < 30


def test_after_a_nursery_comes_another(program):
    nursery, command = Nursery(), program._command([], "print('up')")
    how = {"nursery": nursery, "env": program.env, "stdout": subprocess.PIPE}
    with Born(command, **how) as process:
        assert process.communicate()[0] == b"up\n"
    nursery._process.kill()
    nursery._process.wait()

    with pytest.raises((AssertionError, OSError)), Born(command, **how):
        pass

    with Born(command, **how) as process:
        assert process.communicate()[0] == b"up\n"
    nursery.close()


def test_a_process_that_was_forked_from_this_one_has_children_of_its_own(program):
    from children import in_child

    assert program.run(code="print('one')").stdout == "one\n"
    assert in_child(lambda: program.run(code="print('two')").stdout) == "two\n"
    assert program.run(code="print('three')").stdout == "three\n"


@pytest.mark.parametrize(
    "env", [{"PYTHONUTF8": "0"}, {"LANG": "C"}, {"LD_PRELOAD": ""}, {"TZ": "Asia/Tokyo"}]
)
def test_where_a_variable_is_read_early_it_is_really_started(program, env):
    code = "import sys; print('semysync' in sys.modules)"

    assert program.run(code=code).stdout == "True\n"
    assert program.run(code=code, **env).stdout == "False\n"
