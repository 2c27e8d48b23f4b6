"""
A peer: the daemon of Gammu, with its dummy phone and its tables in SQLite.

Rows are inserted into its outbox, one by one at random moments, or many at once; each counts as sent
when it stands among its sent items. Debian: gammu-smsd and libdbd-sqlite3.
"""

import random
import shutil
import sqlite3
import statistics
import subprocess
import tempfile
import time
from contextlib import closing, contextmanager
from pathlib import Path

SCHEMA = Path("/usr/share/doc/gammu-smsd/examples/sqlite.sql")
CONFIG = """
[gammu]
model = dummy
connection = none
port = {folder}/phone
device = {folder}/phone
[smsd]
service = sql
driver = sqlite3
dbdir = {folder}/
database = smsd.db
logfile = {folder}/log
{settings}
"""
#: it looks into its outbox once a second, and into the phone for half a minute in between
DEFAULTS = ""
EAGER = "commtimeout = 1\nloopsleep = 0\nsendtimeout = 1"
INSERT = """
insert into outbox (DestinationNumber, TextDecoded, CreatorID) values (?, 'Hello', 'bench')
"""
PATIENCE_S = 120


def missing() -> str | None:
    """Say what is not installed; None where nothing is missing."""
    if shutil.which("gammu-smsd") is None:
        return "gammu-smsd is not installed"
    if not SCHEMA.exists():
        return f"gammu-smsd is there without {SCHEMA}"
    if not any(Path("/usr/lib").glob("*/dbd/libdbdsqlite3.so")):
        return "libdbd-sqlite3 is not installed"
    return None


@contextmanager
def running(settings: str):
    """Run it, ready to send; yield its database."""
    with tempfile.TemporaryDirectory(prefix="semysync-gammu-") as folder:
        Path(folder, "phone").mkdir()
        path = Path(folder, "smsd.db")
        with closing(sqlite3.connect(path)) as conn:
            conn.executescript(SCHEMA.read_text())
        config = Path(folder, "smsdrc")
        config.write_text(CONFIG.format(folder=folder, settings=settings))
        command = ["gammu-smsd", "-c", str(config)]
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                with closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as conn:
                    until(conn, "select count(*) from phones", 1)
                    yield conn
            finally:
                process.kill()


def until(conn: sqlite3.Connection, query: str, number: int) -> None:
    ends = time.monotonic() + PATIENCE_S
    while conn.execute(query).fetchone()[0] < number:
        if time.monotonic() > ends:
            raise TimeoutError(query)
        time.sleep(0.01)


def delays(settings: str, rows: int, within_s: float) -> list[float]:
    """Return how many seconds after each commit the row was sent."""
    chance = random.Random(1)
    moments = sorted(chance.uniform(0, within_s) for _ in range(rows))
    committed, sent = {}, {}
    with running(settings) as conn:
        began = time.monotonic()
        while len(sent) < rows and time.monotonic() < began + within_s + PATIENCE_S:
            if moments and time.monotonic() - began >= moments[0]:
                number = conn.execute(INSERT, (f"+7920{moments.pop(0) * 1e5:07.0f}",)).lastrowid
                committed[number] = time.monotonic()
            for (number,) in conn.execute("select ID from sentitems"):
                sent.setdefault(number, time.monotonic())
            time.sleep(0.01)
    return sorted(sent[number] - at for number, at in committed.items() if number in sent)


def speed(rows: int) -> float:
    """Return how many rows a second it sends, of many that were inserted at once."""
    with running(EAGER) as conn:
        conn.execute("begin")
        conn.executemany(INSERT, [(f"+7920{n:07}",) for n in range(rows)])
        conn.execute("commit")
        until(conn, "select count(*) from sentitems", 1)
        began = time.monotonic()
        until(conn, "select count(*) from sentitems", rows)
        return (rows - 1) / (time.monotonic() - began)


def report(rows: int) -> None:
    """Print how it compares, or what is missing for that."""
    if why := missing():
        print(f"Gammu SMSD: {why}")
        return
    print(f"Gammu SMSD, many at once {speed(20 * rows):8,.1f} a second")
    for name, settings, within_s in (("defaults", DEFAULTS, 30), ("eager", EAGER, 10)):
        took = delays(settings, rows, within_s)
        print(
            f"Gammu SMSD, {name:<9}    median {1000 * statistics.median(took):8,.0f} ms,"
            f" longest {1000 * took[-1]:8,.0f} ms, of {len(took)}"
        )


if __name__ == "__main__":
    report(10)
