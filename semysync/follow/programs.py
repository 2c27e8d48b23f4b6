"""
Run a program for a hook: without a shell, with little around it, and never for ever.

`subprocess` is not used: our threads have the signals blocked that end the daemon, a program would
inherit that, and the way to undo it there is not safe beside other threads. `posix_spawn` is.
"""

import os
import selectors
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from threading import Event
from typing import NamedTuple

KEPT = 4_000  #: bytes of what a program prints: half from its beginning, half from its end
LOOK_EVERY_S = 0.05  #: whether it has ended, where nothing is printed,
SHORTEST_S = 0.001  #: and at first, where it has just closed its output
GRACE_S = 3.0  #: when the daemon is stopped, for a program that is at work
UNDYING_S = 2.0  #: for one that is killed, and may not be by us: sudo, or one with another user
AFTER_END_S = 0.2  #: for what it has printed, where something that it left behind holds its output
AT_ONCE = 65_536  #: bytes
UNKNOWN = -1_000  #: no status of a program


class Ended(NamedTuple):
    """How a program came to its end: `why` is None where all went well."""

    why: str | None
    output: str
    stopped: bool = False  #: the daemon was ended, and the program with it


class Output:
    """The beginning and the end of what a program prints."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._tail = bytearray()
        self._left_out = 0

    def add(self, printed: bytes) -> None:
        room = KEPT // 2 - len(self._head)
        self._head += printed[:room]
        self._tail += printed[room:]
        if (surplus := len(self._tail) - KEPT // 2) > 0:
            self._left_out += surplus
            del self._tail[:surplus]

    def text(self) -> str:
        gap = f"\n[{self._left_out:,} bytes left out]\n".encode() if self._left_out else b""
        whole = bytes(self._head) + gap + bytes(self._tail)
        return whole.decode("utf-8", "replace").replace("\0", "\ufffd")


def run(
    argv: Sequence[str],
    given: bytes,
    environ: Mapping[str, str],
    *,
    limit_s: float,
    stopping: Event,
) -> Ended:
    """
    Run a program with `given` on its standard input, until it ends.

    At its time limit, and a moment after `stopping`, it is killed with its whole process group.
    """
    with ExitStack() as held:
        # Ctrl-C waits until it is known whom to end.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        held.callback(signal.pthread_sigmask, signal.SIG_SETMASK, before)
        stdin, to_it = os.pipe()
        from_it, stdout = os.pipe()
        try:
            pid = _spawned(argv, environ, stdin, stdout)
        except (OSError, ValueError) as exc:
            for number in (to_it, from_it):
                os.close(number)
            return Ended(_why_not_started(argv[0], exc), "")
        finally:
            for number in (stdin, stdout):
                os.close(number)
        program = held.enter_context(_Program(pid, to_it, from_it, given))
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        ends, stops_at = time.monotonic() + limit_s, None
        while (status := program.attend()) is None:
            now = time.monotonic()
            if stopping.is_set() and stops_at is None:
                stops_at = now + GRACE_S
            if now >= min(ends, stops_at or ends):
                program.kill()
                why = f"it took longer than {limit_s:g} s, and was ended"
                return Ended(why, program.printed(), stopped=now < ends)
        return Ended(_why_failed(status), program.printed())


def _spawned(argv: Sequence[str], environ: Mapping[str, str], stdin: int, stdout: int) -> int:
    return os.posix_spawnp(
        argv[0],
        list(argv),
        dict(environ),
        file_actions=[
            (os.POSIX_SPAWN_DUP2, stdin, 0),
            (os.POSIX_SPAWN_DUP2, stdout, 1),
            (os.POSIX_SPAWN_DUP2, stdout, 2),
            *((os.POSIX_SPAWN_CLOSE, number) for number in _inherited()),
        ],
        setpgroup=0,
        setsigmask=[],
        # These are ignored by Python, or by who started us.
        setsigdef=[signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD],
    )


def _inherited() -> Iterator[int]:
    """Return what is open since before our start, such as sockets of systemd's."""
    names: list[str] = []
    with suppress(OSError):  # no such folder in some sandbox
        names = os.listdir("/dev/fd")  # noqa: PTH208  numbers
    for name in names:
        with suppress(OSError):  # the folder itself, which is closed by now
            if int(name) > 2 and os.get_inheritable(int(name)):
                yield int(name)


class _Program(AbstractContextManager["_Program"]):
    """A program at work: it is given its input, and heard."""

    def __init__(self, pid: int, to_it: int, from_it: int, given: bytes) -> None:
        self._pid = pid
        self._given = memoryview(given)
        self._to_it, self._from_it = to_it, from_it
        self._output = Output()
        self._rest_s = SHORTEST_S
        self._open = selectors.DefaultSelector()
        for number, event in ((to_it, selectors.EVENT_WRITE), (from_it, selectors.EVENT_READ)):
            os.set_blocking(number, False)
            self._open.register(number, event)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind:  # somebody has pressed Ctrl-C, which the program's own group does not hear
            self.kill()
        for key in list(self._open.get_map().values()):
            self._close(key.fd)
        self._open.close()

    def attend(self) -> int | None:
        """Take part in what it does for a moment; return its status once it has ended."""
        if self._open.get_map():
            self._exchange(LOOK_EVERY_S)
        else:  # it is about to end, or has closed its output and works on
            time.sleep(self._rest_s)
            self._rest_s = min(2 * self._rest_s, LOOK_EVERY_S)
        try:
            found, status = os.waitpid(self._pid, os.WNOHANG)
        except ChildProcessError:
            return UNKNOWN
        return os.waitstatus_to_exitcode(status) if found else None

    def kill(self) -> None:
        """End it, and all that it has started in its group; one that cannot be ended is left."""
        for end in (os.killpg, os.kill):  # it may have left its group
            with suppress(ProcessLookupError, PermissionError):
                end(self._pid, signal.SIGKILL)
        ends = time.monotonic() + UNDYING_S
        with suppress(ChildProcessError):
            while not os.waitpid(self._pid, os.WNOHANG)[0] and time.monotonic() < ends:
                time.sleep(LOOK_EVERY_S / 5)

    def printed(self) -> str:
        """Return what it has printed; what it left behind may hold its output open for ever."""
        if self._to_it in self._open.get_map():
            self._close(self._to_it)
        ends = time.monotonic() + AFTER_END_S
        while self._open.get_map() and (rest_s := ends - time.monotonic()) > 0:
            self._exchange(rest_s)
        return self._output.text()

    def _exchange(self, wait_s: float) -> None:
        for key, _ in self._open.select(wait_s):
            if not (self._hear() if key.fd == self._from_it else self._feed()):
                self._close(key.fd)

    def _hear(self) -> bool:
        """Take what it has printed; return whether there may be more."""
        printed = os.read(self._from_it, AT_ONCE)
        self._output.add(printed)
        return bool(printed)

    def _feed(self) -> bool:
        """Give it some of its input; return whether there is more that it wants."""
        try:
            self._given = self._given[os.write(self._to_it, self._given[:AT_ONCE]) :]
        except BrokenPipeError:  # it does not read
            return False
        return bool(self._given)

    def _close(self, number: int) -> None:
        self._open.unregister(number)
        os.close(number)


def _why_not_started(program: str, exc: Exception) -> str:
    match exc:
        case FileNotFoundError():
            return f"there is no program {program}: give its whole path"
        case PermissionError():
            return f"{program} may not be run: see whether it is a program, and who may run it"
        case OSError():
            return f"{program} cannot be run: {exc.strerror}"
    return f"{program} cannot be run: {exc}"


def _why_failed(status: int) -> str | None:
    if status == UNKNOWN:
        return "how it ended is not known: semysync was started with SIGCHLD ignored"
    if status == 0:
        return None
    if status > 0:
        return f"it ended with {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"it was ended by {name}"
