"""
Bear processes of `semysync` that need not import it first: the program, loaded once, forks.

`born.Born` starts this as a process beside its own, and asks for programs over a socket: the words
of the command line, the environment, and three open files. What is forked becomes that program as a
fresh interpreter would, runs it, and ends as an interpreter ends. It is a child of whoever asks.
"""

import atexit
import ctypes
import gc
import io
import json
import os
import pkgutil
import runpy
import signal
import socket
import sys
import threading
from importlib import import_module
from pathlib import Path
from types import ModuleType

#: what commands import when they are used: it is what takes the time
SLOW = (
    "certifi",
    "concurrent.futures.thread",
    "encodings.idna",
    "httpcore",
    "httpx",
    "phonenumbers",
    "rich.console",
    "rich.progress",
    "rich.table",
    "sqlite_utils",
)
SLOW_WEB = (
    "datasette.app",  # before its parts
    "semysync.web.serve",
    "semysync.web.plugin",
)
PR_CAPBSET_DROP = 24
CAPABILITIES_V3 = 0x20080522
RIGHTS = (1, 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


def load(*, web):
    """Import the program with all of its commands, and what `web` needs where that is asked for."""
    import semysync

    for found in pkgutil.walk_packages(semysync.__path__, "semysync."):
        if not found.name.startswith(("semysync.web", "semysync.__main__")):
            import_module(found.name)
    for name in (*SLOW, *(SLOW_WEB if web else ())):
        import_module(name)
    gc.collect()
    gc.freeze()  # what is shared with the children stays so


def serve(asking):
    """Bear what is asked for until nobody asks any more; return once, in each that is born."""
    while True:
        head, files, _, _ = socket.recv_fds(asking, 4, 3)
        if not head:
            os._exit(0)
        left, body = int.from_bytes(head, "big"), b""
        while len(body) < left:
            body += asking.recv(left - len(body))
        between = os.fork()
        if not between:
            between = os.getpid()
            born = os.fork()
            if not born:
                while os.getppid() == between:  # until it is the child of who asks
                    os.sched_yield()
                asking.close()
                return json.loads(body), files
            asking.sendall(born.to_bytes(4, "big"))
            os._exit(0)
        for file in files:
            os.close(file)
        _, status = os.waitpid(between, 0)
        assert status == 0
        asking.sendall(b"!")


def become(asked, files):
    """Make the process what it would be if it had been started by itself."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.umask(asked["umask"])
    os.chdir(asked["cwd"])
    if asked["like_anybody"]:
        like_anybody()
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.stdin = sys.__stdin__ = stream(0, sys.stdin)
    sys.stdout = sys.__stdout__ = stream(1, sys.stdout)
    sys.stderr = sys.__stderr__ = stream(2, sys.stderr)


def stream(number, former):
    """Return what an interpreter makes of one of the first three files."""
    file = open(number, "wb" if number else "rb", closefd=False)  # noqa: SIM115
    file.raw.name = former.name
    made = io.TextIOWrapper(
        file,
        encoding=former.encoding,
        errors=former.errors,
        newline="\n",
        line_buffering=former.line_buffering or file.raw.isatty(),
    )
    made.mode = former.mode
    return made


def run(flag, what, *words):
    """Run `-m module` or `-c code`, as an interpreter does."""
    sys.orig_argv = [sys.executable, flag, what, *words]
    sys.argv = [flag, *words]
    sys.path[0] = "" if flag == "-c" else str(Path.cwd())
    main = sys.modules["__main__"] = ModuleType("__main__")
    main.__annotations__ = {}
    if flag == "-m":
        runpy._run_module_as_main(what)
    else:
        exec(compile(what, "<string>", "exec"), main.__dict__)


def end(code):
    """
    End as an interpreter does, but for its last step: it does not take apart what it has loaded.

    That takes longer than most commands. What it would close at that, the collector closes here.
    """
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.setswitchinterval(60)  # threads that nobody waits for are not let on any more
    gc.collect()
    try:
        for file in (sys.stdout, sys.stderr):
            if not file.closed:
                file.flush()
    except OSError:
        sys.exit(code)  # and so the interpreter itself meets it
    os._exit(code & 0xFF)


def like_anybody():
    """Give up root's right to write where the mode forbids it, for who runs the tests as root."""
    libc = ctypes.CDLL(None)
    for right in RIGHTS:
        libc.prctl(PR_CAPBSET_DROP, right, 0, 0, 0)  # what it starts; refused to all but root
    head, held = (ctypes.c_uint32 * 2)(CAPABILITIES_V3, 0), (ctypes.c_uint32 * 6)()
    libc.capget(head, held)
    for place in range(3):  # effective, permitted, inheritable
        held[place] &= ~sum(1 << right for right in RIGHTS)
    libc.capset(head, held)


def main():
    asking = socket.socket(fileno=int(sys.argv[1]))
    load(web=sys.argv[2:] == ["web"])
    try:
        asked, files = serve(asking)
    except KeyboardInterrupt:
        os._exit(128 + signal.SIGINT)
    become(asked, files)
    code = 0
    try:
        run(*asked["words"])
    except SystemExit as exc:
        if not isinstance(exc.code, int | None):
            raise
        code = exc.code or 0
    end(code)


if __name__ == "__main__":
    main()
