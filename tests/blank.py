"""A migrated mirror to copy: migrating takes longer than most tests."""

import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from semysync.mirror.store import Store


@cache
def blank_mirror():
    """The bytes of a mirror that holds nothing."""
    with TemporaryDirectory(prefix="semysync-blank-") as folder:
        path = Path(folder, "semysync.db")
        Store.migrate(path).close()
        with closing(sqlite3.connect(path)) as conn:
            conn.execute("pragma wal_checkpoint(truncate)")
        return path.read_bytes()
