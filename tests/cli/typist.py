"""Somebody at a terminal, who reads what a command shows there, and types."""

import fcntl
import os
import pty
import select
import subprocess
import termios
from contextlib import contextmanager

from born import Born
from processes import PATIENCE_S

LOOK = {"NO_COLOR": "1", "COLUMNS": "100"}  #: of a terminal at which somebody types


class Typist:
    """Waits for a question, and types an answer."""

    def __init__(self, number):
        self.number, self._seen = number, b""

    @property
    def shown(self):
        return self._seen.decode("utf-8", "replace").replace("\r\n", "\n")

    def answers(self, question, answer):
        seen = len(self.shown)
        while question not in self.shown[seen:]:
            assert self._read(), f"it has ended, or said nothing for long: {self.shown}"
        os.write(self.number, answer.encode() + b"\n")

    def rest(self):
        while self._read():
            pass
        return self.shown

    def _read(self):
        if not select.select([self.number], [], [], PATIENCE_S)[0]:
            return False
        try:
            piece = os.read(self.number, 65536)
        except OSError:  # nobody has the terminal any more
            return False
        self._seen += piece
        return bool(piece)


def on_terminal(program, *args, columns=80, **env):
    """Run a command on a terminal; return what it shows there."""
    look = {"LINES": "1000", "COLUMNS": str(columns)} | env
    with _typing(program, args, Born, look) as process:
        shown = process.typist.rest()
        process.wait()
    return shown


@contextmanager
def at_terminal(program, *args):
    """Run a command on a terminal, at which somebody types."""
    with _typing(program, args, Born, LOOK) as process:
        yield process


@contextmanager
def at_own_terminal(program, *args):
    """Run a command on a terminal that is all its own, so that it can be asked for a secret there."""
    how = {"start_new_session": True, "preexec_fn": _take_the_terminal}
    with _typing(program, args, subprocess.Popen, LOOK, **how) as process:
        yield process


@contextmanager
def _typing(program, args, start, look, **how):
    ours, theirs = pty.openpty()
    with start(
        program._command(args, None),
        env=program.env | look,
        cwd=program.home,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        **how,
    ) as process:
        os.close(theirs)
        process.typist = Typist(ours)
        try:
            yield process
        finally:
            process.kill()
            os.close(ours)


def _take_the_terminal():
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
