"""
Bear processes of `semysync` that need not import it first: the program, loaded once, forks.

Each line of the standard input asks for one, with its arguments, environment, files and black box;
its number is printed, and how it ended. What takes the program seconds, so that people and services
are spared, takes a part of it here.
"""

import ctypes
import json
import os
import pkgutil
import signal
import sys
import traceback
from datetime import timedelta
from importlib import import_module


def load():

    import semysync

    for found in pkgutil.walk_packages(semysync.__path__, "semysync."):
        if not found.name.startswith(("semysync.web", "semysync.sandbox", "semysync.__main__")):
            import_module(found.name)


def hasten():
    from semysync.daemon import jobs, loop, process, sending, tempo
    from semysync.follow import hints, retries
    from semysync.passes import due, verify

    put(loop, ANSWER_S=5, END_S=5, REST_S=0.05)
    put(process, BEAT_S=0.1)
    put(sending, AGAIN_S=0.2, FIRST_S=0.1)
    put(tempo, FIRST_S=0.1, FIRST_OPEN_S=0.1, LONGEST_S=0.5, SHORTEST_S=0.1, REST_S=0.05)
    put(jobs, HOUSEKEEPING_S=1, VERIFY_S=1, REFRESH_S=1)
    put(verify, EVERY=timedelta(seconds=4))
    put(due, FIRST_PAUSE_S=0.05)
    put(hints, SETTLE_S=1.0, LOOK_EVERY_S=0.2)
    retries.Patience.__new__.__defaults__ = (0.1, 0.2, retries.timedelta(days=2))


def put(module, **values):
    """Put what is there to another value."""
    for name, value in values.items():
        assert hasattr(module, name), f"{module.__name__}.{name} is no more"
        setattr(module, name, value)


def be(asked):
    """Be the program, to its end."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: never outlive the test
    os.environ.clear()
    os.environ.update(asked["env"])
    os.chdir(asked["env"]["HOME"])
    for number, name in enumerate(asked["files"]):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_APPEND
        os.dup2(os.open(name, flags, 0o600), number)
    if asked["mutation"]:
        exec(asked["mutation"], {})
    if asked["box"]:
        import mortal

        mortal.begin(asked["box"])
    from semysync.cli import main

    sys.argv = ["semysync", *asked["args"]]
    main(prog_name="semysync")


def live(asked):
    code = 70
    try:
        be(asked)
    except SystemExit as exc:
        code = exc.code if isinstance(exc.code, int) else int(exc.code is not None)
    except BaseException:  # noqa: BLE001  it is seen in the log
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main():
    load()
    hasten()
    for line in sys.stdin:
        asked = json.loads(line)
        pid = os.fork()
        if not pid:
            live(asked)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
