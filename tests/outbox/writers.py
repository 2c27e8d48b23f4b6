"""
Programs that write drafts, each as people use it.

`insert(**columns)` inserts a draft and returns its id where the program can say it; `execute(sql)`
runs any statement. What the table refuses raises `RefusedError`, with all that the program shows.
"""

import asyncio
import sqlite3
import subprocess
import warnings
from contextlib import closing

import sqlite_utils
from needing import tool


class RefusedError(Exception):
    """The table has refused, in these words."""


class Writer:
    """What all of them can do."""

    def refusals(self, statements):
        """Return what is said to each statement; nothing where it was not refused."""
        return list(map(self._refusal, statements))

    def _refusal(self, sql):
        try:
            self.execute(sql)
        except RefusedError as exc:
            return str(exc)
        return ""


class Python(Writer):
    """The module `sqlite3` of Python, with a setting of the connection."""

    def __init__(self, path, pragma="recursive_triggers = off"):
        self.path = path
        self._pragma = pragma

    def insert(self, **columns):
        names, marks = ", ".join(columns), ", ".join("?" * len(columns))
        return self.execute(
            f"insert into outbox ({names}) values ({marks})", *columns.values()
        ).lastrowid

    def execute(self, sql, *values):
        with closing(sqlite3.connect(self.path, isolation_level=None)) as conn:
            conn.execute(f"pragma {self._pragma}")
            try:
                return conn.execute(sql, values)
            except sqlite3.IntegrityError as exc:
                raise RefusedError(str(exc)) from None


class Shell(Writer):
    """The `sqlite3` shell, with options and a first line."""

    def __init__(self, path, *options, first=""):
        self.path = path
        self._options = options
        self._first = first

    def insert(self, **columns):
        values = ", ".join(map(literal, columns.values()))
        self.execute(f"insert into outbox ({', '.join(columns)}) values ({values})")

    def execute(self, sql):
        ended = subprocess.run(
            [tool("sqlite3"), *self._options, self.path],
            input=f"{self._first}\n{sql};\n",
            capture_output=True,
            encoding="utf-8",
            timeout=30,
            check=False,
        )
        if ended.returncode or ended.stderr:
            raise RefusedError(ended.stderr)


class SqliteUtils(Writer):
    """The library sqlite-utils."""

    def __init__(self, path):
        self.path = path

    def insert(self, **columns):
        with self.table() as table:
            return table.insert(columns).last_pk

    def execute(self, sql):
        with self.table() as table:
            table.db.execute(sql)
            table.db.conn.commit()

    def table(self):
        return _Table(self.path)


class _Table:
    """The table `outbox` for a block; what it refuses is `RefusedError`."""

    def __init__(self, path):
        self._db = sqlite_utils.Database(path)

    def __enter__(self):
        return self._db["outbox"]

    def __exit__(self, kind, exc, traceback):
        self._db.close()
        if isinstance(exc, sqlite3.IntegrityError):
            raise RefusedError(str(exc)) from None


class Datasette(Writer):
    """A writable canned query of Datasette, called over its own HTTP."""

    def __init__(self, path):
        self.path = path

    def insert(self, **columns):
        values = ", ".join(f":{name}" for name in columns)
        sql = f"insert into outbox ({', '.join(columns)}) values ({values})"
        self.execute(sql, **columns)

    def execute(self, sql, **values):
        (answer,) = asyncio.run(self._answers([sql], {k: str(v) for k, v in values.items()}))
        if not answer["ok"]:
            raise RefusedError(answer["message"])

    def refusals(self, statements):
        """As of the others, but with one start of Datasette for all of them."""
        return [
            "" if answer["ok"] else answer["message"]
            for answer in asyncio.run(self._answers(statements, {}))
        ]

    async def _answers(self, statements, values):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from datasette.app import Datasette as App

            queries = {f"q{n}": {"sql": sql, "write": True} for n, sql in enumerate(statements)}
            app = App(
                [str(self.path)],
                metadata={"databases": {self.path.stem: {"queries": queries}}},
            )
            await app.invoke_startup()
            answers = [
                await app.client.post(f"/{self.path.stem}/{name}?_json=1", data=values)
                for name in list(queries)  # it adds to each
            ]
            for database in app.databases.values():
                database.close()
            return [answer.json() for answer in answers]


def literal(value):
    """A value as it stands in SQL."""
    match value:
        case None:
            return "null"
        case int() | float():
            return repr(value)
        case bytes():
            return f"cast(x'{value.hex()}' as text)"
    if "\0" in value:
        return f"cast(x'{value.encode().hex()}' as text)"
    return "'" + value.replace("'", "''") + "'"
