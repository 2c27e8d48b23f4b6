"""The programs of hooks: whatever one does, it comes to an end, and is told in a sentence."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from threading import Event, Timer

import pytest
from processes import wait_until

from semysync.follow import programs

ENVIRON = {"PATH": os.environ["PATH"]}


def run(*argv, given=b"", limit_s=20, stopping=None, environ=ENVIRON):
    return programs.run(argv, given, environ, limit_s=limit_s, stopping=stopping or Event())


def python(code, *args, **options):
    return run(sys.executable, "-c", code, *args, **options)


class Later:
    """The time, which is an hour on once something holds, but not when it is first asked for."""

    def __init__(self, holds):
        self._holds, self.sleep = holds, time.sleep
        self._has_begun = False

    def monotonic(self):
        is_over = self._has_begun and self._holds()
        self._has_begun = True
        return time.monotonic() + (3600 if is_over else 0)


@pytest.fixture
def over_when(monkeypatch):
    """Let the limit of a program be over as soon as it has done what the test is about."""
    return lambda holds: monkeypatch.setattr(programs, "time", Later(holds))


def has_lines(path, count=1):
    return path.exists() and path.read_text().count("\n") == count


def test_it_reads_its_input_and_is_heard():
    given = "Привет 👋\n".encode() * 50_000  # more than a pipe holds

    ended = python("import sys; sys.stdout.write(sys.stdin.read()[-10:])", given=given)

    assert ended == (None, "\nПривет 👋\n"[-10:], False)


def test_one_that_does_not_read_its_input_is_fine():
    assert run("true", given=b"x" * 1_000_000).why is None
    assert (
        python("import os, time; os.close(0); time.sleep(0.2)", given=b"x" * 1_000_000).why is None
    )


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("raise SystemExit(3)", "it ended with 3"),
        ("import os; os.kill(os.getpid(), 11)", "it was ended by SIGSEGV"),
        ("import os; os.kill(os.getpid(), 15)", "it was ended by SIGTERM"),
        ("import os; os.kill(os.getpid(), 40)", "it was ended by signal 40"),
        ("import os; os.close(1); os.close(2); import time; time.sleep(.1)", None),
    ],
)
def test_how_it_ended_is_told(code, why):
    assert python(code).why == why


def test_of_a_megabyte_the_beginning_and_the_end_are_kept():
    ended = python("print('a' * 1_000_000); print('\\0z')")

    assert ended.why is None
    assert ended.output.startswith("aaaa")
    assert ended.output.endswith("a\n\ufffdz\n")
    assert "bytes left out]" in ended.output
    assert len(ended.output) < programs.KEPT + 100


def test_standard_error_is_kept_as_well():
    assert "No such file" in run("ls", "/no such place").output


def test_at_its_limit_it_is_killed_with_all_that_it_started(tmp_path, over_when):
    pids = tmp_path / "pids"
    over_when(lambda: has_lines(pids, 2))
    code = f"sleep 100 & echo $! > {pids}; echo $$ >> {pids}; wait"

    ended = run("sh", "-c", code)

    assert ended.why == "it took longer than 20 s, and was ended"
    assert not ended.stopped
    for pid in map(int, pids.read_text().split()):
        wait_until(lambda pid=pid: not is_running(pid))


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_one_that_prints_for_ever_is_killed_at_its_limit(monkeypatch, over_when):
    heard, add = [], programs.Output.add

    def hear(output, printed):
        add(output, printed)
        heard.append(printed)

    monkeypatch.setattr(programs.Output, "add", hear)
    over_when(lambda: heard)

    ended = run("yes")

    assert ended.why == "it took longer than 20 s, and was ended"
    assert ended.output.startswith("y\ny\n")


@pytest.fixture
def left(tmp_path):
    """Where a program notes what it leaves behind, which is ended with the test."""
    left = tmp_path / "left"
    yield left
    os.kill(pid := int(left.read_text()), signal.SIGKILL)
    with suppress(ChildProcessError):  # not of ours, but of one that has ended
        os.waitpid(pid, 0)


def test_what_it_leaves_behind_with_its_output_is_not_waited_for(left):
    began = time.monotonic()
    ended = run("sh", "-c", f"echo done; sleep 30 & echo $! > {left}")

    assert ended == (None, "done\n", False)
    assert time.monotonic() - began < 15


def test_what_it_leaves_behind_with_its_input_is_not_waited_for(monkeypatch, left):
    monkeypatch.setattr(programs, "AFTER_END_S", 30)
    code = f"exec 3<&0; sleep 30 <&3 >/dev/null 2>&1 & echo $! > {left}"

    began = time.monotonic()
    ended = run("sh", "-c", code, given=b"x" * 1_000_000)

    assert ended == (None, "", False)
    assert time.monotonic() - began < 15


def test_it_is_ended_a_moment_after_the_daemon_is(monkeypatch):
    monkeypatch.setattr(programs, "GRACE_S", 0.1)
    stopping = Event()
    Timer(0.1, stopping.set).start()

    ended = run("sleep", "30", stopping=stopping)

    assert ended.stopped


def test_one_that_ends_within_that_moment_has_done_its_work():
    stopping = Event()
    stopping.set()

    assert run("true", stopping=stopping) == (None, "", False)


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("no-such-program-anywhere", "there is no program no-such-program-anywhere"),
        ("/etc/passwd", "/etc/passwd may not be run"),
        ("/", "/ may not be run"),
        ("a\0b", "a\0b cannot be run: embedded null byte"),
    ],
)
def test_one_that_cannot_be_started_is_told(program, why):
    before = len(list(Path("/proc/self/fd").iterdir()))

    ended = run(program)

    assert ended.why.startswith(why)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_one_that_is_no_program_is_told(tmp_path):
    script = tmp_path / "x"
    script.write_bytes(b"\0\1\2")
    script.chmod(0o755)

    assert run(str(script)).why == f"{script} cannot be run: Exec format error"


def test_there_is_no_shell():
    hostile = "$(touch /tmp/owned); `id` | cat > x && 'y' \"z\" * ~ \\"

    assert run("printf", "%s", hostile).output == hostile


def test_it_can_be_told_to_end_though_we_have_the_signals_blocked():
    ours = {signal.SIGTERM, signal.SIGINT, signal.SIGPIPE}
    signal.pthread_sigmask(signal.SIG_BLOCK, ours)
    try:
        masks = run("grep", "-E", "SigBlk|SigIgn", "/proc/self/status").output
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ours)

    blocked, ignored = (int(line.split()[1], 16) for line in masks.splitlines())
    for number in ours:
        assert not (blocked | ignored) >> (number - 1) & 1


def test_it_gets_no_file_and_no_variable_of_ours(tmp_path):
    with (tmp_path / "secret").open("w") as file:
        os.set_inheritable(file.fileno(), True)  # noqa: FBT003
        files = run("ls", "/proc/self/fd").output.split()
        variables = run("env", environ={"PATH": os.environ["PATH"], "X": "1"}).output.split("\n")

    assert set(files) <= {"0", "1", "2", "3"}  # the last is the folder that it lists
    assert {line.partition("=")[0] for line in variables if line} <= {"PATH", "X"}


def test_one_that_has_left_its_group_is_killed_as_well(tmp_path, over_when):
    pid = tmp_path / "pid"
    over_when(lambda: has_lines(pid))

    ended = python(
        """import os, sys, time
open_, ours = os.pipe()
if not (child := os.fork()):
    os.setpgid(0, 0)
    os.close(ours)
    os.read(open_, 1)
    os._exit(0)
while os.getpgid(child) != child:
    pass
os.setpgid(0, child)
os.close(ours)
print(os.getpid(), file=open(sys.argv[1], "w"), flush=True)
time.sleep(60)
""",
        str(pid),
    )

    assert ended.why == "it took longer than 20 s, and was ended"
    assert not is_running(int(pid.read_text()))


def test_one_that_cannot_be_killed_is_left(monkeypatch, left, over_when):
    monkeypatch.setattr(programs, "UNDYING_S", 0.1)
    over_when(lambda: has_lines(left))

    def forbidden(*_):
        raise PermissionError  # as for sudo, which belongs to root

    with monkeypatch.context() as patched:
        patched.setattr(os, "killpg", forbidden)
        patched.setattr(os, "kill", forbidden)
        ended = run("sh", "-c", f"echo $$ > {left}; exec sleep 30")

    assert ended.why == "it took longer than 20 s, and was ended"
    assert is_running(int(left.read_text()))


CALLED = """
import os, signal, sys
from threading import Event
from semysync.follow import programs
if sys.argv[2:] == ["ignored"]:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have us ignore it
if len(sys.argv) > 3:  # as soon as the program has said in this file who it is
    started = os.posix_spawnp
    def interrupted(*args, **how):
        pid = started(*args, **how)
        while not os.path.exists(sys.argv[3]) or not os.path.getsize(sys.argv[3]):
            pass
        os.kill(os.getpid(), signal.SIGINT)
        return pid
    os.posix_spawnp = interrupted
print(programs.run(["sh", "-c", sys.argv[1]], b"", {"PATH": "/usr/bin:/bin"},
                   limit_s=30, stopping=Event()).why)
"""


def test_a_failure_is_none_of_success_where_nobody_tells_how_it_ended():
    ended = subprocess.run(
        [sys.executable, "-c", CALLED, "exit 3", "ignored"], capture_output=True, check=True
    )

    assert ended.stdout.startswith(b"how it ended is not known")


def test_it_ends_with_whoever_is_interrupted(tmp_path):
    noted = tmp_path / "pid"
    with subprocess.Popen(
        [sys.executable, "-c", CALLED, f"echo $$ > {noted}; exec sleep 30"],
        stderr=subprocess.DEVNULL,
    ) as called:
        wait_until(lambda: noted.exists() and noted.read_text().strip())
        called.send_signal(signal.SIGINT)
    pid = int(noted.read_text())

    wait_until(lambda: not is_running(pid))


def test_it_ends_with_whoever_is_interrupted_just_when_it_was_started(tmp_path):
    noted = tmp_path / "pid"
    ended = subprocess.run(
        [sys.executable, "-c", CALLED, f"echo $$ > {noted}; exec sleep 30", "interrupted", noted],
        stderr=subprocess.PIPE,
        check=False,
    )

    assert b"KeyboardInterrupt" in ended.stderr
    assert not is_running(int(noted.read_text()))


def test_one_that_has_just_closed_its_output_is_seen_to_end_at_once(monkeypatch):
    monkeypatch.setattr(programs, "LOOK_EVERY_S", 20.0)
    began = time.monotonic()

    for _ in range(3):
        assert python("import os, time; os.close(1); os.close(2); time.sleep(.02)").why is None

    assert time.monotonic() - began < 15
