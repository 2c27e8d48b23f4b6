"""
The replica of a mirror, which Litestream keeps: look into it, restore it, see how far it is.

Litestream is a program of its own, and is asked by its commands and by its control socket. What it
needs to know is given to it in a file that only we can read, since a URL may hold a password. That
file is JSON, which is YAML as well.
"""

import json
import os
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from socket import AF_UNIX, SOCK_STREAM, socket
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from semysync import config
from semysync.errors import ReplicaUnseen
from semysync.mirror.copies.scratch import small_folder

LOOK_S = 60  #: for an answer to what is small
RESTORE_S = 6 * 3600
LONGEST_ANSWER = 1 << 20  #: of what answers at the socket

#: Litestream keeps its own numbers in these tables of each database that it replicates
OF_LITESTREAM = ("_litestream_seq", "_litestream_lock")


def was_replicated(conn: sqlite3.Connection) -> bool:
    """Tell whether Litestream has ever replicated the database of a connection."""
    query = "select exists (select 1 from sqlite_master where name = ?)"
    return bool(conn.execute(query, OF_LITESTREAM[:1]).fetchone()[0])


class Held(NamedTuple):
    """The newest of what a replica holds: Litestream's number of it, and when it was written."""

    txid: int
    at: datetime


class Kept(NamedTuple):
    """A file of a replica: which of Litestream's numbers it has, from the first to the last."""

    first: int
    last: int
    at: datetime


def restorable(files: Sequence[Kept]) -> Held | None:
    """
    Return how far these files reach without a gap, from the first number on; None for nowhere.

    Litestream restores no further, and goes on adding files behind a gap without a word.
    """
    reached = None
    while nexts := [file for file in files if file.first <= _after(reached) <= file.last]:
        farthest = max(nexts, key=lambda file: file.last)
        reached = Held(farthest.last, farthest.at)
    return reached


def _after(reached: Held | None) -> int:
    return reached.txid + 1 if reached else 1


class Replica(NamedTuple):
    """A place where Litestream keeps a database; `options` are its own, as in its configuration."""

    url: str
    options: Mapping[str, str | int | bool]
    program: str = "litestream"

    def beside(self, word: str) -> "Replica":
        """Return the place beside this one, whose name goes on with a word."""
        parts = urlsplit(self.url)
        path = f"{parts.path.rstrip('/')}-{word}"
        return self._replace(url=urlunsplit(parts._replace(path=path)))

    @property
    def shown(self) -> str:
        """The place as it may be shown: without a name, a password and what follows a `?`."""
        parts = urlsplit(self.url)
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit((parts.scheme, host, parts.path, "", ""))

    def newest(self) -> Held | None:
        """
        Return the newest that lies there, restorable or not; None where nothing is there.

        Of a folder that is not mounted nothing can be seen either. Raises `ReplicaUnseen` where the
        place does not answer.
        """
        return max((Held(file.last, file.at) for file in self.files()), default=None)

    def files(self) -> list[Kept]:
        """Return what lies there; raises `ReplicaUnseen` where the place does not answer."""
        with small_folder() as folder:
            path = folder / "semysync.db"
            listed = self._litestream("ltx", path, "-json", "-level", "all", longest_s=LOOK_S)
        try:
            return [
                Kept(
                    int(one["min_txid"], 16),
                    int(one["max_txid"], 16),
                    datetime.fromisoformat(one["timestamp"]),
                )
                for one in json.loads(listed)
            ]
        except (KeyError, TypeError, ValueError):
            raise ReplicaUnseen(
                f"{self.program} lists {self.shown} in a form that is unknown here: "
                "Litestream 0.5.17 or later is needed"
            ) from None

    def restore(self, target: Path) -> bool:
        """
        Restore what it holds into a new file; return whether it holds anything.

        Raises `ReplicaUnseen` where that fails, and then leaves no file.
        """
        told = ("-if-replica-exists", "-o", str(target))
        self._litestream("restore", target, *told, longest_s=RESTORE_S)
        return target.exists()

    def put(self, database: Path) -> None:
        """Copy a small database there, once. Raises `ReplicaUnseen` where that fails."""
        self._litestream("replicate", None, "-once", longest_s=LOOK_S, of=database)

    def _litestream(
        self, command: str, path: Path | None, *told: str, longest_s: int, of: Path | None = None
    ) -> str:
        with self._configured(of or path) as file:
            asked = [self.program, command, "-config", str(file), "-no-expand-env", *told]
            try:
                ended = subprocess.run(  # noqa: S603  what the configuration names
                    [*asked, *([str(path)] if path else [])],
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    encoding="utf-8",
                    errors="replace",
                    timeout=longest_s,
                    env=_environment(),
                    check=False,
                )
            except FileNotFoundError:
                raise ReplicaUnseen(
                    f"there is no program {self.program}: install Litestream 0.5.17 or later, or "
                    "name it by `program` in [replica]"
                ) from None
            except OSError as exc:
                raise ReplicaUnseen(f"cannot run {self.program}: {exc.strerror}") from None
            except subprocess.TimeoutExpired:
                raise ReplicaUnseen(f"{self.shown} did not answer within {longest_s} s") from None
        if ended.returncode:
            raise ReplicaUnseen(f"{self.program} {command} of {self.shown}: {self._said(ended)}")
        return ended.stdout

    @contextmanager
    def _configured(self, database: Path | None) -> Iterator[Path]:
        replica = {**self.options, "url": self.url}
        with small_folder() as folder:
            file = folder / "litestream.yml"
            file.touch(mode=0o600)
            dbs = [{"path": str(database), "replica": replica}]
            file.write_text(json.dumps({"dbs": dbs}), encoding="utf-8")
            yield file

    def _said(self, ended: "subprocess.CompletedProcess[str]") -> str:
        """Return the last that it said, without what is secret."""
        lines = (ended.stderr or ended.stdout).strip().splitlines()
        said = lines[-1] if lines else f"it ended with {ended.returncode}"
        if password := urlsplit(self.url).password:
            said = said.replace(password, "***")
        return said.replace(self.url, self.shown).removeprefix("Error: ")


def place_of(replica: config.Replica) -> Replica | None:
    """Return where a replica is kept; None where none is configured."""
    return Replica(replica.url, replica.options, replica.program) if replica.url else None


class Position(NamedTuple):
    """How far Litestream is with a database, and how far its replica."""

    txid: int
    replicated: int


def must_be_whole(place: Replica, files: Sequence[Kept], reaching: range | None = None) -> None:
    """
    Raise `ReplicaUnseen` where not all of these files of a place can be restored, or not so far.

    Litestream goes on as before where somebody has emptied the place, and says that all is well.
    """
    reached = restorable(files)
    newest = max((file.last for file in files), default=0)
    if reached is None:
        what = f"there is nothing at {place.shown} from which the mirror can be restored"
    elif reached.txid < newest:
        what = f"{place.shown} can be restored up to change {reached.txid:,} only, not {newest:,}"
    elif reaching and reached.txid not in reaching:
        what = f"{place.shown} holds {reached.txid:,} changes, Litestream has replicated {reaching[0]:,}"
    else:
        return
    raise ReplicaUnseen(
        f"{what}: see whether `url` in [replica] is where Litestream writes to; if so, stop it, move "
        "aside what lies there, and start it again"
    )


class Litestream(NamedTuple):
    """The Litestream that is at work, by its control socket."""

    socket: Path

    def synced(self, mirror: Path, longest_s: int = LOOK_S) -> Position:
        """
        Let it bring all that was committed so far into the replica; return how far that came.

        Raises `ReplicaUnseen` where it does not answer, or does not know the mirror.
        """
        wanted = {"path": str(mirror), "wait": True, "timeout": longest_s}
        answer = self._ask("POST", "/sync", longest_s + 5, wanted)
        try:
            position = Position(int(answer["txid"]), int(answer["replicated_txid"]))
        except (KeyError, TypeError, ValueError):
            raise self._strange() from None
        if position.txid < 1:
            raise ReplicaUnseen(f"Litestream ({self.socket}) has not yet begun with {mirror}: wait")
        return position

    def last_sync_at(self, mirror: Path) -> datetime | None:
        """
        Return when the replica was last known to hold everything; None where never.

        Raises `ReplicaUnseen` where it does not answer, or does not replicate the mirror.
        """
        answer = self._ask("GET", "/list", 10, None)
        try:
            found = next((d for d in answer["databases"] if d["path"] == str(mirror)), None)
            if found is None or found["status"] != "replicating":
                how = "does not replicate" if found is None else "has stopped to replicate"
                raise ReplicaUnseen(
                    f"Litestream ({self.socket}) {how} {mirror}: its configuration must name that path"
                )
            at = found.get("last_sync_at")
            return datetime.fromisoformat(at) if at else None
        except (KeyError, TypeError, ValueError):
            raise self._strange() from None

    def _ask(self, method: str, path: str, timeout_s: int, body: object) -> Any:
        with closing(_Local(self.socket, timeout_s)) as connection:
            try:
                connection.request(method, path, json.dumps(body), {"Host": "litestream"})
                answer = connection.getresponse()
                said = json.loads(answer.read(LONGEST_ANSWER))
            except (OSError, HTTPException) as exc:
                raise ReplicaUnseen(
                    f"Litestream does not answer at {self.socket} ({exc or type(exc).__name__}): "
                    "see whether it runs, as this user, with `socket` in its configuration"
                ) from None
            except ValueError:
                raise self._strange() from None
        if answer.status == HTTPStatus.OK:
            return said
        why = said.get("error", answer.status) if isinstance(said, dict) else said
        raise ReplicaUnseen(f"Litestream ({self.socket}): {why}")

    def _strange(self) -> ReplicaUnseen:
        return ReplicaUnseen(
            f"what answers at {self.socket} is not Litestream 0.5.17 or later: set `socket` in [replica]"
        )


def litestream_of(replica: config.Replica) -> Litestream | None:
    """Return the Litestream at work; None where its socket is not configured."""
    return Litestream(Path(replica.socket)) if replica.socket else None


class _Local(HTTPConnection):
    """A connection to a socket of this machine."""

    def __init__(self, path: Path, timeout_s: int) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket(AF_UNIX, SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _environment() -> dict[str, str]:
    """Return what Litestream may see of our environment: all but the token."""
    hidden = {"SEMYSYNC_TOKEN", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET"}
    return {name: value for name, value in os.environ.items() if name not in hidden}
