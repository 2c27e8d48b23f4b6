"""
Compare a mirror with what its migrations make: `compared` decides, without any I/O.

What somebody has added to a mirror is no matter; what is missing can be made again, unless rows
went with it.
"""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from functools import cache
from typing import NamedTuple

from sqlite_utils import Database, Migrations

from semysync.mirror.schema.migrations import MIGRATIONS

OBJECTS = """
select type, name, tbl_name, sql from sqlite_master
 where sql is not null and name not like 'sqlite\\_%' escape '\\'
   and name not like '\\_sqlite\\_%' escape '\\'
 order by rowid
"""
SHADOWS = "select name from pragma_table_list where schema = 'main' and type = 'shadow'"
COLUMNS = """
select tables.name, columns.name, columns.hidden
  from sqlite_master as tables, pragma_table_xinfo(tables.name) as columns
 where tables.type = 'table' and tables.sql not like 'create virtual%'
"""


class Thing(NamedTuple):
    """A table, view, index or trigger, as `sqlite_master` has it."""

    kind: str
    name: str
    table: str
    sql: str


class Differences(NamedTuple):
    """In what a mirror differs from what its migrations make; what is added to it is no matter."""

    missing: tuple[Thing, ...] = ()  #: can be made again, and nothing is lost
    lost: tuple[str, ...] = ()  #: tables and columns whose content is gone
    changed: tuple[str, ...] = ()


def differences(conn: sqlite3.Connection, migrations: Migrations = MIGRATIONS) -> Differences:
    """Compare a mirror of this version with what the migrations make; writes nothing."""
    expected = _expected(migrations)
    there = _shape(conn)
    return compared(expected, there)


class Shape(NamedTuple):
    """What a database consists of, in the order of its making."""

    things: Mapping[tuple[bool, str], Thing]
    columns: Mapping[str, frozenset[tuple[str, int]]]  #: of ordinary tables
    parts: Mapping[str, str]  #: tables that SQLite made by itself, and the search index they are of


@cache
def _expected(migrations: Migrations) -> Shape:
    with closing(Database(memory=True)) as db:
        migrations.apply(db)
        return _shape(db.conn)


def _shape(conn: sqlite3.Connection) -> Shape:
    things = [Thing(*row) for row in conn.execute(OBJECTS)]
    columns: dict[str, set[tuple[str, int]]] = {}
    for table, column, hidden in conn.execute(COLUMNS):
        columns.setdefault(table, set()).add((column, hidden))
    indexes = [thing.name for thing in things if _is_search(thing)]
    parts = {
        part: index
        for (part,) in conn.execute(SHADOWS)
        for index in indexes
        if part.startswith(f"{index}_")
    }
    return Shape(
        {_key(thing): thing for thing in things},
        {table: frozenset(names) for table, names in columns.items()},
        parts,
    )


def compared(expected: Shape, there: Shape) -> Differences:
    """Sort what differs into what can be made again, what is lost, and what was changed."""
    missing: list[Thing] = []
    lost: list[str] = []
    changed: list[str] = []
    for key, thing in expected.things.items():
        found = there.things.get(key)
        if found and _text(found) == _text(thing):
            continue
        if index := expected.parts.get(thing.name):
            # Its text is SQLite's own affair, and without its index it is to be missing.
            if not found and (False, index) in there.things:
                lost.append(named(thing))
        elif thing.kind == "table" and not _is_search(thing):
            gone = _lost(thing, found, expected, there)
            lost += gone
            changed += [] if gone else [named(thing)]
        elif found:
            changed.append(named(thing))
        else:
            missing.append(thing)
    return Differences(tuple(missing), tuple(lost), tuple(changed))


def _lost(table: Thing, found: Thing | None, expected: Shape, there: Shape) -> list[str]:
    """Return what is gone of a table: all of it, or columns (a computed one that is so no more)."""
    if not found or found.kind != "table":
        return [named(table)]
    gone = expected.columns[table.name] - there.columns.get(found.name, frozenset())
    return [f"the column {table.name}.{column}" for column, _ in sorted(gone)]


def _key(thing: Thing) -> tuple[bool, str]:
    """Return what is unique: triggers have names of their own, all others share theirs."""
    return thing.kind == "trigger", thing.name.lower()


def _text(thing: Thing) -> str:
    return " ".join(thing.sql.split())


def _is_search(thing: Thing) -> bool:
    return _text(thing).lower().startswith("create virtual table")


def named(thing: Thing) -> str:
    """Name a thing for a person."""
    if thing.kind in {"trigger", "index"}:
        return f"the {thing.kind} {thing.name} (of {thing.table})"
    return f"the {thing.kind} {thing.name}"
