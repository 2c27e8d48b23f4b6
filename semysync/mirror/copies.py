"""
Know up to when copies of the mirror hold all of it.

What was deleted at the service is only here: where copies are made, a message waits for one. This
is the place to ask whatever makes copies.
"""

import sqlite3
from datetime import datetime

from semysync.config import Backup, Purge
from semysync.errors import PurgeUnsafe
from semysync.mirror import backup as backups


def copied_until(
    conn: sqlite3.Connection, purge: Purge, backup: Backup, now: datetime
) -> datetime | None:
    """
    Return the moment up to which a copy holds all that was mirrored; None where none is needed.

    Raises `PurgeUnsafe` where one is needed and there is none.
    """
    if purge.needs_copy == "no" or backup.path is None:
        return None
    copied = backups.copied_until(conn, now)
    if copied is None:
        raise PurgeUnsafe(
            f"copies of the mirror belong into {backup.path}, and there is none yet: "
            '`semysync backup` makes one, or `needs_copy = "no"` in [purge] does without'
        )
    return copied
