"""A migrated mirror to copy: migrating takes longer than most tests."""

import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from semysync.mirror.store import Store


def lay_blank(path):
    """Make a mirror that holds nothing, as `Store.migrate` does."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(0o600)
    path.write_bytes(blank_mirror())


@cache
def blank_mirror():
    """The bytes of a mirror that holds nothing."""
    with TemporaryDirectory(prefix="semysync-blank-") as folder:
        path = Path(folder, "semysync.db")
        Store.migrate(path).close()
        with closing(sqlite3.connect(path)) as conn:
            conn.execute("pragma wal_checkpoint(truncate)")
        return path.read_bytes()
