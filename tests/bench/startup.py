"""
How long a command takes that does next to nothing, beside an empty Python and one that loads click.

    .venv/bin/python tests/bench/startup.py --rounds 20

The commands run in turn, so that what else the machine does falls on all alike. Time on the
processor depends the least on it; the ratio is to an empty Python.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from semysync.mirror.store import Store

COMMANDS = {
    "empty Python": ("-c", "pass"),
    "click alone": ("-c", "import click"),
    "--version": ("-m", "semysync", "--version"),
    "--help": ("-m", "semysync", "--help"),
    "status": ("-m", "semysync", "status"),
    "messages": ("-m", "semysync", "messages"),
    "send": ("-m", "semysync", "send", "+79201234567", "Hello", "--hold"),
}


def timed(words, environment):
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *words], env=environment, capture_output=True, check=False)
    took, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return took * 1000, spent * 1000


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--rounds", type=int, default=20)
    rounds = options.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="semysync-bench-") as folder:
        mirror = Path(folder) / "semysync.db"
        Store.migrate(mirror).close()
        environment = {"PATH": os.environ["PATH"], "HOME": folder, "SEMYSYNC_DATABASE": str(mirror)}
        figures = {name: [] for name in COMMANDS}
        for _ in range(rounds + 1):
            for name, words in COMMANDS.items():
                figures[name].append(timed(words, environment))
    print(f"{'':<14}{'ms':>8}{'least':>8}{'CPU ms':>8}{'ratio':>8}")
    floor = median(spent for _, spent in figures["empty Python"][1:])
    for name, found in figures.items():
        took, spent = (
            sorted(column) for column in zip(*found[1:], strict=True)
        )  # the first warms up
        print(f"{name:<14}{median(took):>8.0f}{took[0]:>8.0f}{median(spent):>8.0f}", end="")
        print(f"{median(spent) / floor:>8.1f}")


if __name__ == "__main__":
    main()
