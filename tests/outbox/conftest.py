"""A mirror that holds nothing, and the programs that write to it."""

import sqlite3
from contextlib import closing

import pytest
from blank import blank_mirror
from writers import Datasette, Python, Shell, SqliteUtils

WRITERS = {
    "python": Python,
    "recursive triggers": lambda path: Python(path, "recursive_triggers = on"),
    "untrusted schema": lambda path: Python(path, "trusted_schema = off"),
    "shell": Shell,
    "safe shell": lambda path: Shell(path, "-safe"),
    "defensive shell": lambda path: Shell(
        path, first=".dbconfig defensive on\n.dbconfig trusted_schema off"
    ),
    "sqlite-utils": SqliteUtils,
    "datasette": Datasette,
}


@pytest.fixture
def mirror(tmp_path):
    path = tmp_path / "semysync.db"
    path.write_bytes(blank_mirror())
    return path


@pytest.fixture(params=WRITERS)
def writer(request, mirror):
    """Each program in turn."""
    return WRITERS[request.param](mirror)


@pytest.fixture
def ask(mirror):
    """Ask the mirror."""

    def ask(query, *values):
        with closing(sqlite3.connect(mirror)) as conn:
            conn.text_factory = lambda value: value.decode("utf-8", "replace")
            return conn.execute(query, values).fetchall()

    return ask
