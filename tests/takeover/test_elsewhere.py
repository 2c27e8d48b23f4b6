"""The mirror read elsewhere: what the README says for that is run as it stands there."""

import os
import re
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from needing import tool
from processes import free_port, wait_until

from semysync.times import utc_text

BOXES = ("inbox", "sent")
MOMENT = datetime.now(UTC) + timedelta(hours=1)
COMPARED = "id, text, missing_since, purged_at, contact"

README = Path(__file__).parents[2] / "README.md"


def snippet(heading, language, number=0):
    """A block of code below a heading of the README."""
    section = README.read_text(encoding="utf-8").partition(f"\n### {heading}\n")[2]
    blocks = re.findall(rf"```{language}\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    return blocks[number]


def environment(**more):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return os.environ | {"PATH": path} | more


@contextmanager
def a_shell(script, folder, **more):
    """Run a script of the README, with all that it starts, until the end of the block."""
    tool("sqlite3")
    with (
        (folder / "complaints").open("w") as complaints,
        subprocess.Popen(
            ["sh", "-euc", script],
            cwd=folder,
            env=environment(**more),
            stdout=complaints,
            stderr=complaints,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            os.killpg(process.pid, 15)


def test_a_copy_that_follows_is_read_by_datasette(one, tmp_path):
    script = snippet("Readers elsewhere", "sh")
    script = script.replace("sftp://backup@store.example:22/replicas/one", one.url)
    over = "until [ -e over ]; do sleep 0.05; done; rm over"
    port = str(free_port())
    script = script.replace("sleep 60", over).replace("8001", port)
    reader = tmp_path / "reader"
    reader.mkdir()
    for left in ("follow.db", "follow.db-txid"):  # of a run before the machine was started again
        (reader / left).write_text("0000000000000099")

    def shows(*texts):
        """Tell whether these drafts are shown; let the minute be over where others are."""
        time.sleep(0.05)
        try:
            found = httpx.get(f"http://127.0.0.1:{port}/read/outbox.json?_shape=array&_labels=off")
        except httpx.HTTPError:
            return False
        if found.is_success and sorted(row["text"] for row in found.json()) == sorted(texts):
            return True
        (reader / "over").touch()
        return False

    with one.replicating():
        one.insert("+79201234567", "before")
        one.synced()
        with a_shell(script, reader) as process:
            wait_until(lambda: shows("before"), process)
            one.insert("+79201234567", "after")

            wait_until(lambda: shows("before", "after"), process)


def test_duckdb_reads_the_months_that_export_wrote(one, tmp_path):
    import duckdb

    with closing(sqlite3.connect(one.mirror)) as conn, conn:
        conn.execute(
            "update sent set created_at = '2026-01-31T23:59:59.000000Z'"
            " where id = (select min(id) from sent)"
        )
    ended = one.run("export", "sent", "--format", "parquet", "--by-month", "--out", tmp_path / "a")
    assert ended.returncode == 0, ended.stderr
    query = snippet("Analytics elsewhere", "sql").replace("archive/", f"{tmp_path}/a/")

    found = duckdb.sql(query).fetchall()

    assert sum(row[-1] for row in found) == one.ask("select count(*) from sent")[0][0]
    assert len(list((tmp_path / "a").glob("*.parquet"))) > 1


def test_dlt_follows_what_changes_and_what_is_marked(one, tmp_path, sandbox):
    import duckdb

    recipe = tmp_path / "follow.py"
    recipe.write_text(snippet("Analytics elsewhere", "python"), encoding="utf-8")

    def load():
        ended = subprocess.run(
            [sys.executable, recipe, one.mirror, tmp_path / "elsewhere.duckdb"],
            cwd=tmp_path,
            env=environment(HOME=str(tmp_path), RUNTIME__DLTHUB_TELEMETRY="false"),
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        with closing(duckdb.connect(tmp_path / "elsewhere.duckdb", read_only=True)) as conn:
            return {
                box: set(conn.sql(f"select {COMPARED} from mirror.{box}").fetchall())
                for box in BOXES
            }

    def here():
        return {box: set(one.ask(f"select {COMPARED} from {box}")) for box in BOXES}

    assert load() == here()
    changed, vanished, *_ = sandbox.account.ids("sent")
    sandbox.account.change("sent", changed, msg="changed")
    sandbox.account.remove("sent", [vanished])
    forgotten = one.ask("select contact from inbox order by id desc limit 1")[0][0]
    for command in (("verify", "--all", "--repair"), ("forget", forgotten, "--yes")):
        ended = one.run(*command)
        assert ended.returncode in {0, 1}, ended.stderr
    before = here()
    assert any(row[:2] == (changed, "changed") for row in before["sent"])
    assert any(row[0] == vanished and row[2] for row in before["sent"])
    assert one.ask("select count(*) > 0 from forgotten") == [(1,)]

    touch(one, "desc", missing=True, seconds=0)
    assert load() == here()
    touch(one, "desc", missing=False, seconds=0)  # once more in the same moment,
    touch(one, "asc", missing=True, seconds=-2)  # and by a clock that was set back meanwhile
    assert load() == here()


def touch(machine, order, *, missing, seconds):
    """Change a message, so many seconds after what the last load had seen at the latest."""
    at = utc_text(MOMENT + timedelta(seconds=seconds))
    which = f"id = (select id from inbox order by id {order} limit 1)"
    query = f"update inbox set changed_at = ?, missing_since = iif(?, 'x', null) where {which}"
    with closing(sqlite3.connect(machine.mirror)) as conn, conn:
        assert conn.execute(query, (at, missing)).rowcount == 1
