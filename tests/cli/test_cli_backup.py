"""`backup` through the real process, beside a daemon that writes."""

import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

from processes import QUICK, end, mirrored, wait_until


def test_a_copy_goes_where_the_configuration_says_and_old_ones_go(synced, sandbox):
    synced.configure(sandbox.base_url, rest='[backup]\npath = "copies"\nkeep = 2\n')
    copies = synced.config.parent / "copies"

    made = [json.loads(synced.run("backup", "--json").stdout) for _ in range(3)]

    assert [fact["removed"] for fact in made] == [[], [], [made[0]["file"]]]
    assert sorted(map(str, copies.iterdir())) == sorted(fact["file"] for fact in made[1:])
    assert {fact["messages"] for fact in made} == {300}
    assert synced.ask("select count(*) from backups") == [(2,)]
    said = synced.run("backup").stdout
    assert f"deleted  {Path(made[1]['file']).name}, since the newest 2 are kept\n" in said


def test_what_is_said_of_a_copy_is_for_a_person(synced, tmp_path):
    ended = synced.run("backup", "--to", tmp_path / "copies")

    first, second = ended.stdout.splitlines()
    assert ended.returncode == 0
    assert first.startswith(f"copy     {tmp_path / 'copies'}/semysync-20")
    assert second.startswith("holds    300 messages, ")
    assert second.endswith(" MB, checked")


def test_a_copy_is_made_or_proved_and_not_both(synced):
    ended = synced.run("backup", "--to", "copies", "--check", synced.mirror)

    assert ended.returncode == 2
    assert "--check proves a copy, --to makes one: give one of them" in ended.stderr


def test_a_folder_that_may_not_be_written_is_told(synced, tmp_path):
    (tmp_path / "copies").mkdir(mode=0o500)

    ended = synced.run("backup", "--to", tmp_path / "copies")

    assert ended.returncode == 75
    assert "you may not write to the folder" in ended.stderr
    assert "choose another by --to" in ended.stderr


def test_a_copy_where_we_may_not_look_is_told(synced, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o000)

    ended = synced.run("backup", "--check", "closed/semysync.db")

    assert ended.returncode == 78
    assert ended.stderr == "semysync: cannot look for closed/semysync.db: Permission denied\n"


def test_without_a_folder_it_says_how_to_name_one(synced):
    ended = synced.run("backup")

    assert ended.returncode == 78
    assert ended.stderr == (
        "semysync: no folder for copies: give one by --to, or set `path` in [backup]\n"
    )


def test_check_proves_a_copy_and_ends_with_1_for_a_bad_one(synced, tmp_path):
    copy = json.loads(synced.run("backup", "--json", "--to", tmp_path / "copies").stdout)["file"]
    good = synced.run("backup", "--check", copy)
    with Path(copy).open("r+b") as raw:
        raw.seek(Path(copy).stat().st_size // 2 // 4096 * 4096)
        raw.write(b"\xff" * 8192)

    bad = synced.run("backup", "--check", copy)
    facts = json.loads(synced.run("backup", "--check", copy, "--json").stdout)

    assert (good.returncode, bad.returncode) == (0, 1)
    assert good.stdout.splitlines()[0] == f"{copy} is good"
    assert bad.stdout.splitlines()[0] == f"{copy} is damaged:"
    assert facts["good"] is False
    assert facts["faults"]


def test_a_copy_beside_a_daemon_that_writes_is_whole_and_the_daemon_goes_on(program, sandbox):
    program.configure(sandbox.base_url, rest=QUICK)
    with program.running("run") as process:
        wait_until(lambda: held(program) >= 300, process)
        for number in range(5):
            sandbox.account.receive("+79201234567", f"Message {number}")
            copy = program.run("backup", "--json", "--to", program.home / "copies").stdout
        wait_until(lambda: held(program) == 305, process)
        code, logged = end(process)

    facts = json.loads(copy)
    assert code == 0
    assert "error" not in logged
    assert program.run("backup", "--check", facts["file"]).returncode == 0
    assert 300 <= facts["messages"] <= 305
    assert len(list((program.home / "copies").iterdir())) == 5


def held(program):
    return len(mirrored(program, "inbox") + mirrored(program, "sent"))


def test_a_mirror_that_may_not_be_written_is_copied_but_it_is_said(synced, tmp_path):
    """A user who may only read: the mirror cannot note the copy, the copy is good all the same."""
    with closing(sqlite3.connect(synced.mirror)) as conn:
        conn.execute("pragma wal_checkpoint")  # so that -wal and -shm are there
        synced.mirror.chmod(0o400)
        ended = synced.run("backup", "--json", "--to", tmp_path / "copies")

    assert ended.returncode == 1
    assert json.loads(ended.stdout)["noted"] is False
    assert "the mirror could not note it" in ended.stderr
    assert len(list((tmp_path / "copies").iterdir())) == 1


def test_a_kill_in_the_middle_leaves_no_copy_and_the_next_one_clears_up(synced, tmp_path):
    code = """
import os, signal
from semysync.mirror.copies import backup
real = backup._counts
def die(conn):
    os.kill(os.getpid(), signal.SIGKILL)
backup._counts = die
from semysync.cli import main
main()
"""
    copies = tmp_path / "copies"
    with synced.running("backup", "--to", copies, code=code) as process:
        assert process.wait() == -signal.SIGKILL
    left = [path.name for path in copies.iterdir()]

    synced.run("backup", "--to", copies)

    assert len(left) == 1
    assert left[0].endswith(".db.part")
    assert [path.suffix for path in copies.iterdir()] == [".db"]
