"""`stats`: plots of a mirror in the terminal."""

import json
import re

import pytest
from drafting import change

from semysync.cli.stats import bar, duration, sparkline
from semysync.mirror.reading.plots import PLOTS


def test_stats_draw_what_the_mirror_holds(synced):
    ended = synced.run("stats", COLUMNS="80")

    assert (ended.returncode, ended.stderr) == (0, "")
    assert "Messages a day" in ended.stdout
    assert "Messages an hour" in ended.stdout
    assert "Devices: messages in 14 days" in ended.stdout
    assert "█" in ended.stdout
    assert max(map(len, ended.stdout.splitlines())) <= 80
    assert "\x1b" not in ended.stdout


def test_stats_draw_how_long_deliveries_take_and_how_the_plan_goes_down(synced):
    now = "strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', '-1 day')"
    change(
        synced,
        f"update sent set created_at = {now}, utc_offset = 0, phone_utc_offset = 0,"
        " delivered_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', '-1 day', '+90 seconds'),"
        " is_delivered = 1",
    )
    for hours in (9, 6, 3):
        change(
            synced,
            "insert into account (at, messages_left) values"
            f" (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', '-{hours} hours'), {hours})",
        )

    shown = synced.run("stats", COLUMNS="80").stdout

    assert "Time to delivery" in shown
    assert re.search(r"^half .* 90 s$", shown, re.MULTILINE)
    assert "Messages left in the plan, the last 90 days" in shown


def test_stats_as_json_are_the_rows_of_every_plot(synced):
    found = json.loads(synced.run("stats", "--json").stdout)

    assert set(found) == {"now", *(plot.name for plot in PLOTS)}
    assert found["now"]["verdict"] == "ok"
    assert found["days"][-1].keys() == {"day", "direction", "messages"}


def test_each_channel_is_counted_for_itself(program, store):
    with store.transaction() as conn:
        conn.execute(
            """insert into inbox (id, channel, received_at, mirrored_at)
               select value, iif(value = 1, 'sms', 'whatsapp'),
                      strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'), '2026' from json_each('[1, 2, 3]')"""
        )

    found = json.loads(program.run("stats", "--json", "--database", store.path).stdout)

    for plot in ("days", "hours"):
        counted = {(row["direction"], row["messages"]) for row in found[plot]}
        assert counted == {("received", 1), ("received, whatsapp", 2)}


@pytest.mark.parametrize("columns", ["1", "20", "500"])
def test_stats_fit_any_terminal_and_an_empty_mirror(program, store, columns):
    ended = program.run("stats", "--database", store.path, COLUMNS=columns)

    assert (ended.returncode, ended.stderr) == (0, "")
    assert "0 messages today" in " ".join(ended.stdout.split())


def test_a_bar_has_the_shares_of_its_parts_and_never_hides_one():
    assert bar((5, 5), 10, 20).plain == "█" * 10 + "░" * 10
    assert bar((1, 1000), 1001, 20).plain == "█" + "░" * 19
    assert bar((0, 1), 1000, 20).plain == "░"
    assert bar((0, 0), 0, 20).plain == ""


def test_a_sparkline_shows_the_last_numbers_between_nothing_and_the_highest():
    assert sparkline([0, 1, 4, 8], 10) == "·▂▅█"
    assert sparkline([0, 0], 10) == "··"
    assert sparkline(range(100), 3) == "███"
    assert sparkline([50, 100], 10, top=100) == "▅█"


def test_a_duration_is_said_in_the_unit_that_fits():
    assert [duration(s) for s in (0.4, 119, 120, 7199, 9000)] == [
        "0 s",
        "119 s",
        "2 min",
        "120 min",
        "2.5 h",
    ]
