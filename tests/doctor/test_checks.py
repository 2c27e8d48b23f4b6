"""What `doctor` makes of facts: each check in each of its states, with a fix for what is wrong."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from semysync.doctor import checks
from semysync.doctor.checks import Asked, Check, Disk, File, Sqlite, State, Unit
from semysync.mirror.reading.health import Condition
from semysync.times import utc_text

NOW = datetime(2026, 11, 26, 9, 0, tzinfo=UTC)
OK, NOTE, WRONG = State.OK, State.NOTE, State.WRONG
MB = 1_000_000


def file(name="semysync.db", mode=0o100600, owner="ann", group="ann"):
    return File(Path("/m") / name, mode, owner, group)


def folder(mode=0o40700, owner="ann", group="ann"):
    return File(Path("/m"), mode, owner, group)


def found(verdict="ok", inbox_s=5, *, loading=False, **fields):
    box = {"messages": 1, "lag_s": inbox_s, "loading": loading}
    usual = dict.fromkeys(Condition._fields) | {"boxes": {"inbox": box, "sent": box}}
    return Condition(**usual | {"verdict": verdict} | fields)


def unit(*facts):
    return Unit("s", True, *facts)  # noqa: FBT003


def one(made):
    (check,) = made
    if check.state is WRONG:
        assert check.fix, "what is wrong needs something to do about it"
    return check


@pytest.mark.parametrize(
    ("made", "state", "says"),
    [
        (checks.config(None, "", None), OK, "no file"),
        (checks.config(Path("/c.toml"), "", file(mode=0o100600)), OK, "/c.toml"),
        (checks.config(Path("/c.toml"), "", file(mode=0o100640)), NOTE, "the group ann can read"),
        (checks.config(Path("/c.toml"), "", file(mode=0o100644)), WRONG, "everybody"),
        (checks.config(Path("/c.toml"), "[pull] x: no", None), WRONG, "[pull] x: no"),
        (checks.token("no token: set it", None, Asked()), WRONG, "no token"),
        (checks.token("", None, Asked(accepted=True)), OK, "the service takes it"),
        (checks.token("", None, Asked(error="no", refused=True)), WRONG, "no"),
        (checks.token("", None, Asked(error="no network")), NOTE, "not known"),
        (checks.token("", file(mode=0o100640), Asked(accepted=True)), OK, "takes it"),
        (checks.webhooks("", file("hooks", 0o100640)), OK, "their secrets are in /m/hooks"),
        (checks.webhooks("", file("hooks", 0o100604)), WRONG, "everybody on this machine"),
        (checks.webhooks("/m/hooks: expected …", None), WRONG, "/m/hooks: expected …"),
        (checks.service("http://x", Asked(accepted=True)), OK, "answers"),
        (checks.service("http://x", Asked(error="no", refused=True)), OK, "answers"),
        (checks.service("http://x", Asked(error="no network")), WRONG, "no network"),
        (checks.clock(Asked(accepted=True, ahead_s=-3)), OK, "agrees"),
        (checks.clock(Asked(accepted=True, ahead_s=70)), NOTE, "70 s ahead of"),
        (checks.clock(Asked(accepted=True, ahead_s=-86_400)), WRONG, "86,400 s behind"),
        (checks.zone("auto", None, None), NOTE, "not learnt yet"),
        (checks.zone("auto", None, 180), OK, "UTC+03:00"),
        (checks.zone("auto", None, -570), OK, "UTC-09:30"),
        (checks.zone("Europe/Berlin", 60, 60), OK, "Europe/Berlin"),
        (checks.zone("Europe/Berlin", 60, None), OK, "Europe/Berlin"),
        (
            checks.zone("Europe/Berlin", 60, 180),
            WRONG,
            "at UTC+01:00, the service's clock at UTC+03",
        ),
        (checks.disk(Disk(900 * MB, 10**6, "ext4", 100 * MB)), OK, "900 MB"),
        (checks.disk(Disk(150 * MB, 10**6, "ext4", 100 * MB)), NOTE, "an update may want twice"),
        (checks.disk(Disk(50 * MB, 10**6, "ext4", MB)), WRONG, "only 50 MB are free"),
        (checks.disk(Disk(900 * MB, 5, "ext4", MB)), WRONG, "only 5 more files"),
        (checks.disk(Disk(900 * MB, None, "btrfs", MB)), OK, "900 MB"),
        (checks.disk(Disk(900 * MB, 10**6, "nfs4", MB)), WRONG, "nfs4"),
        (checks.sqlite(Sqlite((3, 46, 0), (3, 37, 0), has_fts5=True)), OK, "SQLite 3.46.0"),
        (checks.sqlite(Sqlite((3, 36, 1), (3, 37, 0), has_fts5=True)), WRONG, "older than 3.37"),
        (checks.sqlite(Sqlite((3, 46, 0), (3, 37, 0), has_fts5=False)), WRONG, "FTS5"),
        (checks.database([], [], [], []), OK, "whole"),
        (checks.database(["row 1 missing"], [], [], []), WRONG, "damaged: row 1 missing"),
        (checks.database([], ["the trigger x"], [], []), WRONG, "lacks the trigger x"),
        (checks.database([], [], ["the table y"], []), WRONG, "lost the table y"),
        (checks.database([], [], [], ["the view z"]), NOTE, "the view z was changed"),
        (checks.permissions(folder(), [file()]), OK, "open to nobody else"),
        (checks.permissions(folder(0o42770), [file(mode=0o100660)]), OK, "the group ann"),
        (checks.permissions(folder(), [file(mode=0o100644)]), WRONG, "everybody on this machine"),
        (checks.permissions(folder(), [file(mode=0o100660)]), WRONG, "it should be 0600"),
        (checks.permissions(folder(0o42770), [file(mode=0o100600)]), WRONG, "it should be 0660"),
        (checks.permissions(folder(), [file(owner="root")]), WRONG, "belongs to root"),
        (checks.permissions(folder(0o40770), [file()]), NOTE, "may write to /m, and not to"),
        (checks.group(folder(0o42770), ["shop", "web"]), OK, "shop, web"),
        (checks.group(folder(0o42770), []), NOTE, "no members"),
        (checks.access("you may not read it: run this as ann"), WRONG, "you may not read it"),
        (checks.lag(found(), running=True), OK, "inbox 5 s, sent 5 s"),
        (checks.lag(found("late", None), running=False), WRONG, "inbox never read"),
        (checks.lag(found("late", None, loading=True), running=True), WRONG, "inbox never read"),
        (checks.lag(found("failing", last_error="no network"), running=True), WRONG, "no network"),
        (checks.daemon(None, running=True), OK, "running"),
        (checks.daemon(None, running=False), NOTE, "not running"),
        (checks.daemon(Unit("s", found=False), running=None), NOTE, "systemd has no s"),
        (checks.daemon(unit("enabled", "active"), running=None), OK, "s is active"),
        (
            checks.daemon(unit("disabled", "active"), running=None),
            WRONG,
            "does not start",
        ),
        (checks.daemon(unit("enabled", "inactive"), running=None), WRONG, "inactive"),
        (
            checks.daemon(unit("enabled", "failed", "exit-code"), running=None),
            WRONG,
            "s is failed (exit-code)",
        ),
        (checks.copies(found(), None, NOW), NOTE, "there is none"),
        (checks.copies(found(), Path("/c"), NOW), WRONG, "none was made yet"),
        (checks.copies(found(backup_at=utc_text(NOW)), Path("/c"), NOW), OK, "2026-11-26 09:00"),
        (checks.replica("it hangs: restart it", NOW, NOW), WRONG, "it hangs"),
        (checks.replica("", None, NOW), WRONG, "nothing was replicated yet"),
        (checks.replica("", NOW - timedelta(seconds=5), NOW), OK, "holds all of 5 s ago"),
        (checks.replica("", NOW - timedelta(hours=1), NOW), WRONG, "3,600 s ago, and nothing"),
        (checks.drill(None, None, NOW), NOTE, "was never tried"),
        (checks.drill(utc_text(NOW), None, NOW), OK, "2026-11-26 09:00: the replica was restored"),
        (checks.drill(utc_text(NOW), "a row lacks", NOW), WRONG, "2026-11-26 09:00: a row lacks"),
        (checks.drill(utc_text(NOW - timedelta(days=90)), None, NOW), NOTE, "was 90 days ago"),
    ],
)
def test_each_thing_is_judged(made, state, says):
    check = one(made)

    assert check.state is state
    assert says in check.says


@pytest.mark.parametrize(("copies_go", "state"), [(Path("/c"), WRONG), (None, NOTE)])
def test_a_copy_of_last_week_is_old(copies_go, state):
    old = found(backup_at=utc_text(NOW - timedelta(days=7)), backup_path="/c/x.db")

    assert one(checks.copies(old, copies_go, NOW)).state is state


@pytest.mark.parametrize(
    "made",
    [
        checks.service("http://x", Asked()),
        checks.clock(Asked()),
        checks.group(folder(), []),
        checks.access(""),
        checks.daemon(None, running=None),
    ],
)
def test_what_cannot_be_known_is_not_judged(made):
    assert list(made) == []


def test_a_token_that_all_can_read_is_wrong_even_if_it_is_good():
    states = [c.state for c in checks.token("", file(mode=0o100644), Asked(accepted=True))]

    assert states == [WRONG, OK]


def test_a_member_of_the_group_may_have_made_the_files_beside_the_mirror():
    files = [
        file(mode=0o100660, group="semysync"),
        file("semysync.db-wal", 0o100660, owner="shop", group="semysync"),
    ]

    made = list(checks.permissions(folder(0o42770, group="semysync"), files))

    assert made == [Check("permissions", OK, "belongs to ann; open to the group semysync")]


def test_a_file_of_another_group_locks_programs_out():
    files = [file(mode=0o100660, group="semysync"), file("x-wal", 0o100660, group="shop")]

    check = one(checks.permissions(folder(0o42770, group="semysync"), files))

    assert (check.state, check.fix) == (WRONG, "chgrp semysync /m/x-wal")
