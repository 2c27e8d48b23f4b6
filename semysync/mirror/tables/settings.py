"""
Keep the table `settings`: what is remembered under a name, for the daemon and for views.

All is given a connection; what writes belongs into the transaction that it goes with.
"""

import sqlite3


def find(conn: sqlite3.Connection, key: str) -> str | None:
    """Return what is remembered under a key."""
    row = conn.execute("select value from settings where key = ?", (key,)).fetchone()
    return row[0] if row else None


def put(conn: sqlite3.Connection, key: str, value: str | None) -> None:
    """Remember a value under a key."""
    conn.execute("insert or replace into settings values (?, ?)", (key, value))


def drop(conn: sqlite3.Connection, key: str) -> None:
    """Forget what is remembered under a key."""
    conn.execute("delete from settings where key = ?", (key,))
