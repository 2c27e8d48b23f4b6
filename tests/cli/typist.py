"""Somebody at a terminal, who reads what a command shows there, and types."""

import fcntl
import os
import pty
import subprocess
import termios
import time
from contextlib import contextmanager

from born import Born
from processes import PATIENCE_S

LOOK = {"NO_COLOR": "1", "COLUMNS": "100"}


class Typist:
    """Waits for a question, and types an answer."""

    def __init__(self, number):
        self.number, self.shown = number, ""

    def answers(self, question, answer):
        ends = time.monotonic() + PATIENCE_S
        seen = len(self.shown)
        while question not in self.shown[seen:]:
            assert time.monotonic() < ends, self.shown
            self._read()
        os.write(self.number, answer.encode() + b"\n")

    def rest(self):
        while self._read():
            pass
        return self.shown

    def _read(self):
        try:
            piece = os.read(self.number, 65536)
        except OSError:
            return False
        self.shown += piece.decode().replace("\r\n", "\n")
        return bool(piece)


@contextmanager
def at_terminal(program, *args):
    """Run a command on a terminal."""
    with _typing(program, args, Born) as process:
        yield process


@contextmanager
def at_own_terminal(program, *args):
    """Run a command on a terminal that is all its own, so that it can be asked for a secret there."""
    how = {"start_new_session": True, "preexec_fn": _take_the_terminal}
    with _typing(program, args, subprocess.Popen, **how) as process:
        yield process


@contextmanager
def _typing(program, args, start, **how):
    ours, theirs = pty.openpty()
    with start(
        program._command(args, None),
        env=program.env | LOOK,
        cwd=program.home,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        **how,
    ) as process:
        os.close(theirs)
        process.typist = Typist(ours)
        yield process
        process.kill()
    os.close(ours)


def _take_the_terminal():
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
