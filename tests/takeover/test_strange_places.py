"""Places and sockets that do not do what Litestream does: nothing is taken for done by them."""

import sqlite3
import subprocess
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from socketserver import BaseRequestHandler, UnixStreamServer
from threading import Thread

import pytest
from blank import lay_blank
from processes import Program

from semysync.config import Backup, Purge
from semysync.config import Replica as Configured
from semysync.errors import BackupFailed, MirrorUnusable, PurgeUnsafe, ReplicaUnseen
from semysync.mirror.copies import drill, replica, takeover
from semysync.mirror.copies.extent import copied_until, lacking
from semysync.mirror.copies.replica import Litestream, Replica
from semysync.mirror.file import open_reader
from semysync.mirror.store import Store
from semysync.model import Box
from semysync.times import utc_text

NOW = datetime(2026, 11, 26, 9, 0, tzinfo=UTC)
ONE_FILE = '[{"min_txid": "1", "max_txid": "3", "timestamp": "2026-11-26T08:00:00Z"}]'

# It lists and restores what lies beside it, of the replica or of the mark; to leave a mark changes
# what lies there.
PROGRAM = """#!/bin/sh
cd "$(dirname "$0")"
case "$(cat "$3")" in *-taken-*) kind=mark ;; *) kind=mirror ;; esac
case $1 in
ltx) cat $kind.json ;;
restore) while [ "$1" != -o ]; do shift; done; [ ! -f $kind.db ] || cp $kind.db "$2" ;;
replicate)
    cp "$(sed 's/.*"path": "\\([^"]*\\)".*/\\1/' "$3")" mark.db
    cp mirror.json mark.json
    . ./then.sh ;;
esac
"""


@pytest.fixture
def mirror(tmp_path):
    path = tmp_path / "data" / "semysync.db"
    path.parent.mkdir()
    lay_blank(path)
    Store.migrate(path).close()
    return path


@pytest.fixture
def place(tmp_path, mirror):
    """A place of which a program of ours tells; it holds a mirror, and no mark."""
    folder = tmp_path / "place"
    folder.mkdir()
    (folder / "mirror.json").write_text(ONE_FILE)
    (folder / "mark.json").write_text("[]")
    (folder / "then.sh").write_text(":")
    with closing(sqlite3.connect(mirror)) as conn:
        conn.execute("vacuum into ?", (str(folder / "mirror.db"),))
    program = folder / "litestream"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    return Replica("file:///replicas/one", {}, str(program))


def take(place, target):
    return takeover.take_over(target, place, lambda: NOW, lambda *_: None)


def test_what_lies_there_is_taken_over(place, tmp_path):
    assert take(place, tmp_path / "two" / "semysync.db").number == 1


@pytest.mark.parametrize(
    ("change", "then", "error", "says"),
    [
        ("echo '[]' > mirror.json", "", ReplicaUnseen, "that can be restored"),
        ("rm mirror.db", "", ReplicaUnseen, "there is no replica at file:///replicas/one$"),
        ("", "rm mirror.db", ReplicaUnseen, "there is no replica at .* any more"),
        ("", "cp damaged.db mirror.db", MirrorUnusable, "holds is damaged .*: restore an earlier"),
        ("", "rm mark.db", ReplicaUnseen, "the mark at .*-taken-1 is gone in this moment"),
        ("", "echo nonsense > mark.db", ReplicaUnseen, "the mark at .*-taken-1 cannot be read"),
    ],
)
def test_nothing_is_taken_over_from_a_place_that_fails(  # noqa: PLR0917
    place, mirror, tmp_path, change, then, error, says
):
    folder = tmp_path / "place"
    whole = (folder / "mirror.db").read_bytes()
    (folder / "damaged.db").write_bytes(whole[:8192] + b"\xff" * 4096 + whole[12288:])
    (folder / "then.sh").write_text(then or ":")
    run(change, folder)
    target = tmp_path / "two" / "semysync.db"

    with pytest.raises(error, match=says):
        take(place, target)

    assert not target.exists()
    assert [path.name for path in target.parent.iterdir()] == ["semysync.db-sender.lock"]


def run(command, folder):
    subprocess.run(["sh", "-c", command or ":"], cwd=folder, check=True)


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("#!/bin/sh\necho '[{}]'", "in a form that is unknown here: Litestream 0.5.17 or later"),
        ("#!/bin/sh\necho nonsense", "in a form that is unknown here: Litestream 0.5.17 or later"),
        ("#!/bin/sh\nexit 3", "ltx of file:///replicas/one: it ended with 3"),
        ("#!/bin/sh\nexec sleep 9", "file:///replicas/one did not answer within 0.1 s"),
        ("\0", "cannot run .*: Exec format error"),
    ],
)
def test_a_program_that_is_not_litestream_has_seen_nothing(place, monkeypatch, program, says):
    monkeypatch.setattr(replica, "LOOK_S", 0.1 if "sleep" in program else 20)
    Path(place.program).write_text(program, encoding="utf-8")

    with pytest.raises(ReplicaUnseen, match=says):
        place.files()


# The socket.


@contextmanager
def answering(path, said):
    """Serve one answer to everything that is asked at a socket."""

    class Other(BaseRequestHandler):
        def handle(self):
            asked = b""
            while not asked.endswith((b"null", b"}")):
                asked += self.request.recv(4096)
            with suppress(OSError):
                self.request.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + said.encode())

    with UnixStreamServer(str(path), Other) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield path
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ('{"databases": []}', "does not replicate /m.db: its configuration must name that path"),
        ('{"databases": [{"path": "/m.db", "status": "stopped"}]}', "has stopped to replicate"),
        ('{"databases": [{}]}', "is not Litestream 0.5.17 or later"),
        ("7", "is not Litestream 0.5.17 or later"),
    ],
)
def test_a_socket_that_knows_nothing_of_the_mirror_says_nothing_of_it(tmp_path, said, says):
    with answering(tmp_path / "s", said) as path, pytest.raises(ReplicaUnseen, match=says):
        Litestream(path).last_sync_at("/m.db")


def test_nothing_is_purged_while_the_replica_is_behind(place, mirror, tmp_path):
    with (
        answering(tmp_path / "s", '{"txid": 5, "replicated_txid": 3}') as path,
        closing(open_reader(mirror)) as conn,
        pytest.raises(PurgeUnsafe, match=r"the replica is behind the mirror \(3 of 5\): wait"),
    ):
        copied_until(conn, Purge(), Backup(), configured(place, path), NOW)


def configured(place, path):
    return Configured(url=place.url, socket=str(path), program=place.program)


def test_nothing_is_purged_for_a_copy_that_cannot_be_read(mirror, tmp_path):
    copy = tmp_path / "copy.db"
    copy.write_bytes(b"no database" * 99)

    with (
        closing(open_reader(mirror)) as conn,
        pytest.raises(
            PurgeUnsafe, match=r"cannot be read .*: make another one by `semysync backup`"
        ),
    ):
        lacking(copy, conn, Box.INBOX, [1])


# The drill.


@pytest.mark.parametrize(
    ("folder", "lists", "error", "says"),
    [
        ("data", "[]", ReplicaUnseen, "there is no replica at .* that can be restored"),
        ("nowhere", ONE_FILE, BackupFailed, "there is no folder .*nowhere: choose another by --to"),
        ("/proc", ONE_FILE, BackupFailed, "cannot write to /proc: .*; choose another by --to"),
    ],
)
def test_a_drill_that_cannot_be_made_says_why(  # noqa: PLR0917
    place, mirror, tmp_path, monkeypatch, folder, lists, error, says
):
    monkeypatch.setattr(drill, "ROOM", 0)
    (tmp_path / "place" / "mirror.json").write_text(lists)

    with pytest.raises(error, match=says):
        drill.drill(
            mirror, place, None, tmp_path / folder, clock=lambda: 0.0, watch=lambda *_: None
        )


# The commands.

HURRIED = (
    "import semysync.mirror.file; semysync.mirror.file.BUSY_S = 0.1;"
    "from semysync.cli import main; main()"
)


@pytest.fixture
def program(tmp_path, sandbox, place):
    program = Program(tmp_path / "home")
    program.home.mkdir()
    program.configure(
        sandbox.base_url, rest=f'[replica]\nurl = "{place.url}"\nprogram = "{place.program}"'
    )
    return program


def test_a_takeover_says_of_when_the_replica_is(program, place):
    nowhere = program.run("takeover", "--from", "")
    taken = program.run("takeover", "--from", "file:///replicas/another")

    assert nowhere.returncode == 2
    assert "--from needs the place of a replica" in nowhere.stderr
    assert taken.returncode == 0, taken.stderr
    assert "replica  its last change is of 2026-11-26 08:00:00 UTC, " in taken.stdout
    assert program.mirror.is_file()


@pytest.mark.parametrize(
    ("made", "says"),
    [
        ((), "there is no mirror at"),
        (("create table other (x)",), "a database of another program"),
        (("pragma application_id = 1397050713", "pragma user_version = 99"), "a newer semysync"),
    ],
)
def test_no_machine_sends_again_from_what_is_no_mirror_of_this_version(tmp_path, made, says):
    path = tmp_path / "semysync.db"
    for statement in made:
        with closing(sqlite3.connect(path)) as conn:
            conn.execute(statement)

    with pytest.raises(MirrorUnusable, match=says):
        takeover.send_again(path, None)

    assert not Path(f"{path}-claims").exists()


def test_a_takeover_where_no_mirror_can_be_made_says_so(program):
    (program.home / "closed").mkdir(mode=0o500)

    ended = program.run(
        "takeover", "--from", "file:///replicas/another", "--database", "closed/below/semysync.db"
    )

    assert ended.returncode == 78
    assert ended.stderr.startswith("semysync: cannot make the mirror closed/below/semysync.db: ")


def test_a_drill_that_the_mirror_cannot_note_is_told_all_the_same(program):
    Store.migrate(program.mirror).close()
    with closing(sqlite3.connect(program.mirror, isolation_level=None)) as other:
        other.execute("begin immediate")

        ended = program.run("drill", code=HURRIED)

    assert ended.returncode == 0
    assert ended.stdout.startswith("replica  file:///replicas/one is good\n")
    assert "the mirror could not note what came of it: " in ended.stderr


def test_a_drill_where_there_is_no_mirror_or_no_way_to_the_folder_is_told(program):
    without = program.run("drill")
    program.mirror.parent.mkdir(parents=True)
    program.mirror.touch()
    empty = program.run("drill")
    Store.migrate(program.mirror).close()
    (program.home / "closed").mkdir(mode=0o000)
    closed = program.run("drill", "--to", "closed/below")

    assert (without.returncode, empty.returncode, closed.returncode) == (78, 78, 75)
    assert without.stderr.startswith(f"semysync: there is no mirror at {program.mirror} yet: ")
    assert empty.stderr.startswith(f"semysync: {program.mirror} is still empty: ")
    assert closed.stderr == "semysync: there is no folder closed/below: choose another by --to\n"


def test_a_sync_sends_nothing_while_the_place_is_not_to_be_seen(program, sandbox, place):
    Store.migrate(program.mirror).close()
    program.run("send", "+79201234567", "Hello")
    Path(place.program).write_text("#!/bin/sh\nexit 3", encoding="utf-8")

    ended = program.run("sync")

    assert ended.returncode == 0
    assert not sandbox.account.effects()
    (blocked,) = program.ask("select value from settings where key = 'sending_blocked'")[0]
    assert blocked.startswith(f"{takeover.UNSEEN}: ")


def test_the_doctor_sees_that_another_has_taken_over_or_that_it_cannot_be_seen(
    program, tmp_path, place
):
    Store.migrate(program.mirror).close()
    (tmp_path / "place" / "mark.json").write_text(ONE_FILE)
    with closing(sqlite3.connect(tmp_path / "place" / "mark.db")) as conn, conn:
        conn.execute(takeover.MARK)
        conn.execute("insert into taken values ('elsewhere', 'two', ?, 1)", (utc_text(NOW),))

    taken = program.run("doctor").stdout
    Path(place.program).write_text("#!/bin/sh\nexit 3", encoding="utf-8")
    unseen = program.run("doctor").stdout

    assert "wrong  takeover     two has taken over at 2026-11-26 09:00, and sends" in taken
    assert f"wrong  takeover     {takeover.UNSEEN}\n" in unseen
    assert "→ " in unseen.partition(takeover.UNSEEN)[2].splitlines()[1]
