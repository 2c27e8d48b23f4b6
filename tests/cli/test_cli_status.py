"""`status` through the real process: what a person sees first, and what a script gets."""

import json
import sqlite3
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from subprocess import Popen
from types import SimpleNamespace

import pytest
from drafting import change
from processes import wait_until
from test_cli_reading import empty  # noqa: F401
from typist import on_terminal

from semysync.cli.status import reason
from semysync.times import utc_text


def ago(**past):
    return utc_text(datetime.now(UTC) - timedelta(**past))


def lines_of(program, **env):
    """What `status` says, by the word that each line begins with."""
    lines = program.run("status", **env).stdout.splitlines()
    return {line[:8].strip(): line[9:] for line in reversed(lines)}


def test_it_is_ok_after_a_sync(synced):
    ended = synced.run("status")
    facts = json.loads(synced.run("status", "--json").stdout)

    assert ended.returncode == 0
    assert ended.stdout.startswith("verdict  ok\n")
    assert (facts["verdict"], len(facts["devices"]), facts["errors"]) == ("ok", 2, [])
    assert sum(box["messages"] for box in facts["boxes"]) == 300
    assert facts["mirror"] == str(synced.mirror)
    assert facts["daemon"] is False


def test_it_is_late_where_a_box_was_not_read_for_long(synced):
    change(synced, "update passes set finished_at = ? where kind = 'sent'", ago(days=3, minutes=1))

    ended = synced.run("status")

    assert ended.returncode == 1
    assert ended.stdout.startswith("verdict  late: no daemon runs; start it, or type `semysync sy")
    assert "messages, complete as of 3 days ago" in ended.stdout


def test_it_is_late_where_a_box_was_never_read_to_its_end(synced):
    change(synced, "delete from passes where kind = 'inbox'")
    change(synced, "update marks set loaded_at = null where box = 'inbox'")

    assert lines_of(synced)["inbox"].endswith("the first load is not complete")


def test_an_empty_mirror_has_something_to_say(empty):
    lines = lines_of(empty)

    assert lines["verdict"].startswith("late: no daemon runs")
    assert lines["inbox"] == "0 messages, not yet read to the end"
    assert lines["devices"] == "none yet"
    assert lines["daemon"] == "not running"


def test_a_quiet_device_that_is_asked_seldom_is_no_matter(synced):
    change(
        synced,
        "update marks set looked_at = '2020-01-01T00:00:00.000000Z' "
        "where device_id = (select min(device_id) from marks)",
    )

    assert synced.run("status").stdout.startswith("verdict  ok\n")


def test_it_is_failing_after_a_pass_that_failed(synced, sandbox):
    sandbox.set(fault="http_500")
    synced.run("sync")

    ended = synced.run("status")

    assert ended.returncode == 1
    assert ended.stdout.startswith("verdict  failing: what was asked last went wrong\n")
    assert "error    devices: the service is in trouble (HTTP 500)\n" in ended.stdout


def test_sending_that_is_stopped_is_told_with_its_reason(synced):
    change(synced, "insert into settings values ('sending_blocked', 'no device can send')")

    lines = lines_of(synced)

    assert lines["verdict"] == "failing: sending is stopped"
    assert lines["sending"] == "stopped: no device can send"


@pytest.mark.parametrize(
    ("boxes", "running", "why"),
    [
        ({"inbox": (None, True), "sent": (5, False)}, True, "the first load goes on"),
        ({"inbox": (None, True), "sent": (5, False)}, None, "the first load is not complete"),
        ({"inbox": (None, False), "sent": (5, False)}, True, "inbox was not read to the end yet"),
        ({"inbox": (None, False), "sent": (None, False)}, True, "inbox and sent were not read to"),
        (
            {"inbox": (50, False), "sent": (7200, False)},
            True,
            "sent was read to its end 2 hours ag",
        ),
    ],
)
def test_why_it_is_late_is_told(boxes, running, why):
    facts = {box: {"lag_s": lag_s, "loading": loads} for box, (lag_s, loads) in boxes.items()}
    late = SimpleNamespace(verdict="late", boxes=facts, idle_s=3)

    assert reason(late, running=running).startswith(why)


def test_a_mirror_of_which_nothing_was_read_yet_says_so():
    late = SimpleNamespace(verdict="late", boxes={}, idle_s=None)

    assert reason(late, running=True) == "nothing was read yet"


def test_a_plan_that_is_nearly_over_is_told_and_so_is_its_end(synced):
    change(synced, "update account set plan_ends_at = '2026-12-24T00:00:00', messages_left = 7")
    well = lines_of(synced)["account"]
    change(synced, "insert into settings values ('plan_is_low', '7 messages are left')")

    assert well.startswith("7 messages left, until 2026-12-24")
    assert lines_of(synced)["account"] == "7 messages are left"


def test_the_queue_is_told_by_what_becomes_of_it(synced):
    add = "insert into outbox (phone, text, status, send_at) values ('+79201234567', 'x', ?, ?)"
    for status, send_at in (("queued", None), ("queued", "2099-01-01T00:00Z"), ("held", None)):
        change(synced, add, status, send_at)

    facts = json.loads(synced.run("status", "--json").stdout)["outbox"]

    assert lines_of(synced)["outbox"].startswith("1 due, the oldest for ")
    assert lines_of(synced)["outbox"].endswith(" s, 1 for later, 1 held")
    assert facts["drafts"] == {"queued": 2, "held": 1}
    assert facts["due"] == 1


@pytest.mark.parametrize("phones", [3])
def test_phones_that_need_somebody_come_first_with_what_is_wrong(synced, sandbox):
    well, silent, low = sorted(sandbox.account.devices)
    change(synced, "update devices set archived = 0, label = null, service_on = 1")
    change(synced, "update devices set last_active_at = ? where id = ?", ago(hours=3), silent)
    change(synced, "update devices set utc_offset = 0, use_for_sending = 1")
    change(synced, "update devices set use_for_sending = 0 where id = ?", silent)
    change(synced, "update device_states set offline_since = '2026' where device_id = ?", silent)
    change(synced, "update device_states set battery_low_since = '2026' where device_id = ?", low)
    change(synced, "update devices set battery = 9, service_on = 0 where id = ?", low)

    ended = synced.run("status").stdout.splitlines()

    at = next(n for n, line in enumerate(ended) if line.startswith("devices"))
    first, second, third = ended[at : at + 3]
    assert {first.split()[1], second.split()[0]} == {str(silent), str(low)}
    assert third.split()[0] == str(well)
    shown = first + second
    assert "seen 3 hours ago, offline, not used for sending" in shown
    assert "  9 %" in shown
    assert "battery low, switched off in the app" in shown


def test_of_many_phones_the_first_are_shown_and_the_rest_counted(synced):
    for number in range(1, 31):
        change(
            synced,
            "insert into devices (id, name, archived, first_seen_at, mirrored_at, missing_since)"
            " values (?, 'A12', ?, '2026', '2026', ?)",
            number,
            int(number > 20),
            "2026" if number > 28 else None,
        )

    shown = synced.run("status").stdout

    assert "         10 more in use, 10 archived, 2 gone from the account\n" in shown


def test_a_first_load_that_goes_on_is_told_while_the_daemon_runs(program, sandbox):
    """The service lets the questions for a box wait for its answer."""
    go_on = threading.Event()
    sandbox.before_call = lambda call: "box" in call.method and go_on.wait(30)
    program.configure(sandbox.base_url)
    try:
        with program.running("run") as process:
            wait_until(lambda: "352114" in program.run("status").stdout, process)
            found = program.run("status")
    finally:
        go_on.set()

    assert found.returncode == 1
    assert found.stdout.startswith("verdict  late: inbox and sent were not read to the end yet\n")


def test_a_running_daemon_is_seen(synced):
    with synced.running("run") as process:
        wait_until(lambda: lines_of(synced)["daemon"].startswith("running"), process)
        facts = json.loads(synced.run("status", "--json").stdout)

    assert facts["daemon"] is True


def test_colours_are_for_terminals_that_want_them(synced):
    with_colour = on_terminal(synced, "status")
    without = on_terminal(synced, "status", NO_COLOR="1")

    assert with_colour.startswith("verdict  \x1b[32m\x1b[1mok\x1b[0m\n")
    assert "\x1b" not in without
    assert "\x1b" not in synced.run("status").stdout


def test_an_error_cannot_command_the_terminal(synced):
    with closing(sqlite3.connect(synced.mirror)) as conn, conn:
        conn.execute(
            "insert into passes (kind, started_at, finished_at, requests, added, changed, "
            "illegible, error) values ('inbox', ?, ?, 1, 0, 0, 0, ?)",
            (ago(seconds=1), ago(seconds=1), "no\x1b[2J\nverdict  ok"),
        )

    shown = synced.run("status").stdout

    assert "\x1b" not in shown
    assert shown.count("\nverdict") == 0


def test_the_last_copy_is_told(synced, tmp_path):
    made = json.loads(synced.run("backup", "--json", "--to", tmp_path / "copies").stdout)

    facts = json.loads(synced.run("status", "--json").stdout)

    assert lines_of(synced)["backup"].endswith(f" s ago, {made['file']}")
    assert (facts["backup_at"], facts["backup_path"]) == (made["at"], made["file"])


@pytest.mark.parametrize("heavy", ["httpx", "sqlite_utils", "structlog", "apscheduler"])
def test_nothing_slow_is_imported_for_it(synced, heavy):
    code = f"""
import sys
from semysync.cli import main
try:
    main()
except SystemExit:
    pass
sys.exit({heavy!r} in sys.modules)
"""

    assert synced.run("status", code=code, start=Popen).returncode == 0


def test_a_mirror_that_lost_a_view_sends_to_the_doctor(synced):
    change(synced, "drop view health")

    ended = synced.run("status")

    assert ended.returncode == 78
    assert ended.stderr.startswith(
        "semysync: the mirror lacks what belongs in it (no such table: h"
    )


def test_only_what_got_stuck_lately_is_counted(synced):
    change(synced, "update sent set is_delivered = 1, created_at = ?", ago(days=400))
    assert "stuck" not in lines_of(synced)

    change(synced, "update sent set is_delivered = 0, is_send = 0, is_error = 0, is_error_send = 0")
    assert "stuck" not in lines_of(synced)

    change(
        synced,
        "update sent set created_at = ?, utc_offset = 0, is_cancel = 0 "
        "where id = (select max(id) from sent)",
        ago(hours=2),
    )
    assert lines_of(synced)["stuck"].startswith("1 of the last week, for over an hour")
