"""
Which of the databases that Datasette serves are mirrors, and who may read them or write to them.

A mirror is known by its `application_id`, whatever the file is called.
"""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from datasette.utils import StartupError, sqlite_timelimit, tilde_decode
from datasette.utils.asgi import NotFound, Request

from semysync.errors import MirrorUnusable, SemysyncError
from semysync.mirror.access import harm
from semysync.mirror.file import (
    APPLICATION_ID,
    at_one_moment,
    check_version,
    explained,
    must_exist,
)
from semysync.web.links import Links

if TYPE_CHECKING:
    from datasette.app import Datasette
    from datasette.database import Database

SEND = "semysync-send"  #: the permission to write drafts, names and what was read

READ_FROM = ("messages", "inbox", "sent", "outbox", "contacts", "devices")

PATIENCE_MS = 2_000  #: how long a page of ours may take in SQL

NAMES_KEPT_S = 10  #: a table shows the name of a device in every row

DEVICE_NAMES = """
select id, coalesce(nullif(label, ''), nullif(name, '')) from devices
"""

T = TypeVar("T")

File = tuple[int, int]  #: a device and a number on it

_opened: WeakKeyDictionary["Database", File] = WeakKeyDictionary()
_known: WeakKeyDictionary["Datasette", set[str]] = WeakKeyDictionary()
_device_names: WeakKeyDictionary["Datasette", dict[str, tuple[float, dict[int, str]]]] = (
    WeakKeyDictionary()
)


class TooSlow(SemysyncError):
    """A question took longer than a page may."""


class Mirror(NamedTuple):
    """A mirror that Datasette serves, for someone who may read it."""

    name: str
    database: "Database"
    links: Links
    may_send: bool

    @property
    def path(self) -> Path:
        return Path(self.database.path)

    async def ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """
        Put a question to the mirror on one of Datasette's connections; it sees one moment.

        Raises `MirrorUnusable` where the file is of another version, or was moved or replaced since
        it was opened; `TooSlow` after two seconds.
        """

        def asked(conn: sqlite3.Connection) -> T:
            self.must_be_there()
            with explained(self.path, reading=True):
                check_version(conn, self.path)
                try:
                    with at_one_moment(conn), sqlite_timelimit(conn, PATIENCE_MS):
                        return question(conn)
                except sqlite3.OperationalError as exc:
                    if exc.args == ("interrupted",):
                        raise TooSlow("that took too long: ask for less") from None
                    raise

        answer: T = await self.database.execute_fn(asked)
        return answer

    def must_be_there(self) -> None:
        """
        Raise `MirrorUnusable` where another file has taken the mirror's place, or none.

        Datasette would go on showing the old one, while drafts went into the new one.
        """
        must_exist(self.path)
        if _opened[self.database] != file_at(self.path):
            raise MirrorUnusable(
                f"{self.path} was replaced since this server was started: start it again"
            )


def file_at(path: Path) -> File:
    """Return which file a path leads to."""
    status = path.stat()
    return status.st_dev, status.st_ino


def known(datasette: "Datasette") -> list[str]:
    """Return the names of the mirrors that were seen so far."""
    return [name for name in datasette.databases if name in _known.get(datasette, ())]


async def names(datasette: "Datasette") -> list[str]:
    """Return the names of the databases that are mirrors now."""
    seen = _known.setdefault(datasette, set())
    for name, database in datasette.databases.items():
        if name not in seen and await _is_mirror(database):
            seen.add(name)
    return known(datasette)


async def _is_mirror(database: "Database") -> bool:
    if database.is_memory or database.path is None:
        return False
    try:
        _opened[database] = file_at(Path(database.path))
        found = await database.execute("pragma application_id", log_sql_errors=False)
    except (OSError, sqlite3.Error):  # no database at all, or one that cannot be read now
        return False
    return bool(found.rows[0][0] == APPLICATION_ID)


async def device_names(datasette: "Datasette", name: str) -> dict[int, str]:
    """Return what the devices of a mirror are called, as it was not long ago."""
    known_names = _device_names.setdefault(datasette, {})
    asked_at, called = known_names.get(name, (0.0, {}))
    if not asked_at or time.monotonic() - asked_at > NAMES_KEPT_S:
        found = await datasette.databases[name].execute(DEVICE_NAMES)
        called = dict(found.rows)
        known_names[name] = (time.monotonic(), called)
    return called


def refuse_harm(datasette: "Datasette") -> None:
    """
    Keep Datasette from opening a mirror where that would lock its owner out.

    Raises `StartupError`. Nothing is open yet, so the file's head may be read.
    """
    for database in datasette.databases.values():
        if database.is_memory or database.path is None or not database.is_mutable:
            continue
        path = Path(database.path)
        sentence = harm(path) if path.is_file() else None
        if sentence and _head_says_mirror(path):
            raise StartupError(sentence)


def _head_says_mirror(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(72)[68:] == APPLICATION_ID.to_bytes(4, "big")


async def mirror_of(datasette: "Datasette", request: Request) -> Mirror:
    """
    Return the mirror that a page is about.

    Raises `NotFound` where there is none of this name, `Forbidden` for who may not read it.
    """
    route = tilde_decode(request.url_vars["database"])
    try:
        database = datasette.get_database(route=route)
    except KeyError:
        raise NotFound("There is no such database") from None
    name = database.name
    for table in READ_FROM:
        await datasette.ensure_permissions(
            request.actor, [("view-table", (name, table)), ("view-database", name), "view-instance"]
        )
    if name not in await names(datasette):
        raise NotFound("This database is no mirror of semysync")
    may_send = database.is_mutable and await may(datasette, request.actor, name)
    return Mirror(name, database, Links(datasette, name), may_send)


async def may(datasette: "Datasette", actor: dict[str, Any] | None, name: str) -> bool:
    """Tell whether somebody may write: nobody may who was not allowed to."""
    return bool(await datasette.permission_allowed(actor, SEND, resource=name, default=False))
