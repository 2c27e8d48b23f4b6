"""Processes of `semysync`, forked from one that has loaded it: as real as others, and soon there."""

import atexit
import ctypes
import json
import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from nursery import like_anybody

PR_SET_CHILD_SUBREAPER = 36
FILE = str(Path(__file__).with_name("nursery.py"))
#: what every process is told that a test starts, wherever it is run: language and zone
USUAL = {"LANG": "C.UTF-8", "TZ": "UTC"}
#: variables that are read while an interpreter starts, or while it imports the program
EARLY = ("PYTHON", "LC_", "LD_", "MALLOC_", "GLIBC_", "PROMETHEUS_", "TZ")
#: what a process is told so that its coverage is measured with that of the tests
MEASURED = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}


class Nursery:
    """
    The process that forks the programs of this process; started when it is first needed.

    With `tracing`, a command before its own, it is traced, and they are. With `web` it has loaded
    Datasette too, and what is of it.
    """

    _lock = Lock()  # of all of them: who is made an heir is this process

    def __init__(self, tracing=(), *, web=False):
        self._tracing, self._web = tracing, web
        self._process = None
        os.register_at_fork(after_in_child=self._forget)
        atexit.register(self.close)

    def bear(self, files, **asked):
        """Return the number of a new child of this process."""
        with self._lock:
            if not self._process:
                self._open()
            try:
                with inheriting():
                    return self._ask(files, json.dumps(asked).encode())
            except BaseException:  # such as a test's end, in the middle: its answer is nobody's
                self.close()
                raise

    def _ask(self, files, body):
        socket.send_fds(self._socket, [len(body).to_bytes(4, "big")], files)
        self._socket.sendall(body)
        said = b""
        while len(said) < 5:  # a number, and that it is our child
            said += (more := self._socket.recv(5 - len(said)))
            assert more, "the nursery has ended"
        return int.from_bytes(said[:4], "big")

    def _open(self):
        self._socket, other = socket.socketpair()
        with other:
            self._process = subprocess.Popen(
                [
                    *self._tracing,
                    *(sys.executable, FILE, str(other.fileno())),
                    *(["web"] if self._web else []),
                ],
                env={"PATH": os.environ["PATH"]} | USUAL | MEASURED,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(other.fileno(),),
            )

    def close(self):
        if self._process:
            self._socket.close()
            self._process.wait()
            self._process = None

    def _forget(self):
        """A process that was forked from this one has a nursery of its own, if any."""
        if self._process:
            self._socket.close()
            self._process.returncode = 0  # it is not a child of this one
            self._process = None
        Nursery._lock = Lock()


@contextmanager
def inheriting():
    """Inherit, for a moment, the children of our children that end: they do not go to process 1."""
    prctl = ctypes.CDLL(None).prctl
    assert prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    try:
        yield
    finally:
        prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


NURSERY, WEB = Nursery(), Nursery(web=True)


class Born(subprocess.Popen):
    """
    A process of `python -m semysync …`, or `python -c code …`; otherwise like `Popen`.

    Where an interpreter has to find something when it begins, it is really started: variables of
    `EARLY`, what `preexec_fn` does, a session of its own. A test asks for `Popen` itself if it is
    about what is imported and when, or about what others see of the process (`/proc`).
    """

    def __init__(self, command, nursery=None, **how):
        self._nursery = nursery or (WEB if command[1:4] == ["-m", "semysync", "web"] else NURSERY)
        super().__init__(command, **how)

    def _execute_child(  # noqa: PLR0917  it is called so
        self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo,
        creationflags, shell, stdin, to_stdin, from_stdout, stdout, from_stderr, stderr, *others,
    ):  # fmt: skip
        if pass_fds or not can_be_born(env, preexec_fn, others):
            super()._execute_child(
                args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo,
                creationflags, shell, stdin, to_stdin, from_stdout, stdout, from_stderr, stderr,
                *others,
            )  # fmt: skip
            return
        files = (stdin, stdout, stderr)
        self.pid = self._nursery.bear(
            [number if file == -1 else file for number, file in enumerate(files)],
            words=list(map(os.fsdecode, args[1:])),
            env=env,
            cwd=os.fsdecode(cwd or Path.cwd()),
            umask=umask(),
            like_anybody=preexec_fn is like_anybody,
        )
        self._child_created = True
        self._close_pipe_fds(stdin, to_stdin, from_stdout, stdout, from_stderr, stderr)


def can_be_born(env, preexec_fn, others):
    """Tell whether a process that runs already can become what is asked for."""
    return (
        preexec_fn in {None, like_anybody}
        and env is not None
        and USUAL.items() <= env.items()
        and not any(name.startswith(EARLY) for name in env.keys() - USUAL)
        # Signals as they are usual; no other user, group, umask or session.
        and list(others) == [True, None, None, None, -1, False, -1]
    )


def umask():
    """Return the umask of this process, without changing it for a moment."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Umask")).split()[1], 8)


def run(command, *, given=None, start=Born, **how):
    """Run a command to its end, as `subprocess.run` does, and give it something to read."""
    with start(
        command,
        stdin=subprocess.DEVNULL if given is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **how,
    ) as process:
        try:
            printed, complained = process.communicate(given, timeout=60)
        finally:
            process.kill()
    return subprocess.CompletedProcess(command, process.returncode, printed, complained)
