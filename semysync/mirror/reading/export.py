"""
What leaves the mirror as a file: a table or view, narrowed, in an order that is always the same.

All of it is read by one statement, so that it is of one moment, and handed on row by row, so that
memory does not grow with the history.
"""

import re
import sqlite3
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import NamedTuple

from semysync.mirror.reading.history import Narrowed

TABLES = """
select name from pragma_table_list
 where schema = 'main' and type in ('table', 'view')
   and name not glob 'sqlite_*' and name not glob '_sqlite_*'
 order by type desc, name
"""

#: by which column a table is narrowed: the first of these that it has
COLUMNS: dict[str, tuple[str, ...]] = {
    "contact": ("contact",),
    "device": ("device", "device_id"),
    "direction": ("direction",),
    "channel": ("channel",),
    "status": ("status",),
    "since": ("at", "received_at", "created_at", "started_at", "last_at", "first_seen_at"),
    "until": ("at", "received_at", "created_at", "started_at", "last_at", "first_seen_at"),
}
COMPARED = {"since": ">=", "until": "<"}

#: of what has no primary key
ORDERS = {"messages": ("at", "direction", "id"), "conversations": ("contact",)}


class Column(NamedTuple):
    """A column, and what it holds: `integer`, `real` or `text`."""

    name: str
    kind: str


class Selection(NamedTuple):
    """What is exported."""

    name: str
    columns: tuple[Column, ...]
    query: str
    parameters: dict[str, object]
    time: str | None  #: the column that says when, if there is one

    def count(self, conn: sqlite3.Connection) -> int:
        """Count the rows."""
        query = f"select count(*) from ({self.query})"
        return int(conn.execute(query, self.parameters).fetchone()[0])

    def by_time(self) -> "Selection":
        """Return the same in the order of time."""
        unsorted, _, order = self.query.rpartition(" order by ")
        return self._replace(query=f"{unsorted} order by {_quoted(self.time or '')}, {order}")

    def rows(self, conn: sqlite3.Connection) -> Iterator[tuple[object, ...]]:
        """Return the rows, in the order of their key or of time."""
        cursor = conn.cursor()
        cursor.row_factory = None
        yield from cursor.execute(self.query, self.parameters)


def names(conn: sqlite3.Connection) -> list[str]:
    """Return the tables and views of a mirror, the views first."""
    return [row[0] for row in conn.execute(TABLES)]


def selection(conn: sqlite3.Connection, name: str, wanted: Narrowed) -> Selection:
    """
    Return what to read of a table or view.

    Raises `ValueError` with a sentence where there is no such thing, or it can't be narrowed so.
    """
    known = names(conn)
    if name not in known:
        near = get_close_matches(name.lower(), known, 1)
        meant = f"did you mean {near[0]}? There are" if near else "there are"
        raise ValueError(f"there is no table or view {name!r}; {meant} {', '.join(known)}")
    described = conn.execute("select name, type, pk from pragma_table_xinfo(?)", (name,)).fetchall()
    there = [row["name"] for row in described]
    clauses = []
    for option, value in wanted._asdict().items():
        if value is None:
            continue
        column = _first(COLUMNS[option], there)
        if column is None:
            raise ValueError(f"--{option} does not go with {name}: it has no such column")
        clauses.append(f"{_quoted(column)} {COMPARED.get(option, '=')} :{option}")
    keys = [row["name"] for row in sorted(described, key=lambda row: row["pk"]) if row["pk"]]
    order = ORDERS.get(name) or keys or there[:1]
    query = (
        f"select {', '.join(map(_quoted, there))} from {_quoted(name)}"
        + (f" where {' and '.join(clauses)}" if clauses else "")
        + f" order by {', '.join(map(_quoted, order))}"
    )
    columns = tuple(
        Column(row["name"], row["type"].lower() or _kind(conn, name, row["name"]))
        for row in described
    )
    parameters: dict[str, object] = dict(wanted._asdict())
    return Selection(name, columns, query, parameters, _first(COLUMNS["since"], there))


def month_of(text: object) -> str:
    """Return the month of a time in the mirror, `2026-11`; `undated` for what has none."""
    return text[:7] if isinstance(text, str) and re.match(r"\d{4}-\d{2}-", text) else "undated"


def _kind(conn: sqlite3.Connection, name: str, column: str) -> str:
    """Return what a computed column of a view holds, by the first value there is."""
    column = _quoted(column)
    query = f"select typeof({column}) from {_quoted(name)} where {column} is not null limit 1"
    found = conn.execute(query).fetchone()
    return found[0] if found else "text"


def _first(columns: Sequence[str], there: Sequence[str]) -> str | None:
    return next((column for column in columns if column in there), None)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
