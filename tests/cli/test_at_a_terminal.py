"""What only a person sees who sits at a terminal: bars where it takes long, questions before harm."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from drafting import change
from processes import TOKEN
from typist import at_own_terminal, at_terminal, on_terminal

PHONE = "+79201234567"


# Bars.


def test_a_first_load_shows_how_far_each_box_is(program, sandbox):
    program.configure(sandbox.base_url)

    shown = on_terminal(program, "sync", columns=100)

    for device in sandbox.account.devices:
        assert f"inbox of device {device}" in shown
        assert f"sent of device {device}" in shown
    received = sum(row["id_device"] == device for row in sandbox.account.rows("inbox"))
    assert f"{received:,} messages" in shown
    assert program.ask("select count(*) from messages") == [(300,)]


def test_an_export_into_a_file_shows_how_many_rows_are_written(synced):
    change(
        synced,
        """insert into events (kind)
           with recursive n(i) as (select 1 union all select i + 1 from n where i < 2500)
           select 'message.received' from n""",
    )
    count = synced.ask("select count(*) from events")[0][0]

    shown = on_terminal(synced, "export", "events", "--out", "events.csv", columns=100)
    printed = on_terminal(synced, "export", "events", columns=100)

    assert f"2000/{count}" in shown
    assert shown.endswith(f"{count:,} rows: events.csv\n")
    assert f"/{count}" not in printed  # it would stand between the rows
    assert len((synced.home / "events.csv").read_text().splitlines()) == count + 1


def test_a_backup_shows_what_it_is_at(synced):
    shown = on_terminal(synced, "backup", "--to", "copies", columns=100)

    assert "copying" in shown
    assert "holds    300 messages" in shown


def test_a_purge_shows_how_much_is_gone(program, sandbox):
    program.configure(sandbox.base_url, api="requests_per_minute = 100000")
    before = datetime.now(UTC) - timedelta(days=40)
    sandbox.account.remove("inbox", sandbox.account.ids("inbox"))
    for minute in range(9):
        sandbox.account.receive(PHONE, "Old", at=before + timedelta(minutes=minute))
    sandbox.account.receive(PHONE, "New")
    program.mirror_here()

    shown = on_terminal(program, "purge", "--yes", columns=100)

    assert re.search(r"deleted +\S*━\S+ +9 messages", shown), shown
    assert "inbox    9 deleted at the service" in shown


# Questions.


@pytest.mark.parametrize(("answer", "status", "code"), [("n", "held", 1), ("y", "queued", 0)])
def test_held_drafts_go_out_only_if_a_person_agrees(talk, answer, status, code):
    change(talk, "insert into outbox (phone, text) values (?, 'Hello')", PHONE)
    change(talk, "update outbox set status = 'held'")

    with at_terminal(talk, "release", "--all") as process:
        process.typist.answers("Release 1 held draft? They go out at once [y/N]", answer)
        process.typist.rest()

        assert process.wait() == code
    assert talk.ask("select status from outbox") == [(status,)]


def test_nothing_is_cancelled_at_a_device_unless_a_person_agrees(synced, sandbox):
    sandbox.requests.clear()

    with at_terminal(synced, "cancel", "--device", min(sandbox.account.devices)) as process:
        process.typist.answers("that may wait [y/N]", "n")
        process.typist.rest()

        assert process.wait() == 1
    assert not sandbox.requests


@pytest.mark.parametrize(("answer", "left", "code"), [("n", 1, 1), ("y", 0, 0)])
def test_nobody_is_forgotten_unless_a_person_agrees(talk, answer, left, code):
    with at_terminal(talk, "forget", PHONE) as process:
        process.typist.answers(f"Remove all of this about {PHONE} for good? [y/N]", answer)
        shown = process.typist.rest()

        assert process.wait() == code
    assert "inbox                1\n" in shown  # what would go
    assert ("nothing was removed" in shown) == bool(left)
    assert talk.ask(f"select count(*) from inbox where contact = '{PHONE}'") == [(left,)]


def test_a_text_is_typed_where_none_was_given(talk):
    with at_terminal(talk, "send", PHONE, "-") as process:
        process.typist.answers(
            "Type the text, then Ctrl-D on a line of its own:", "Two\nlines\n\x04"
        )
        process.typist.rest()

        assert process.wait() == 0
    assert talk.ask("select text from outbox") == [("Two\nlines",)]


# The token, which `init` asks for.


def test_a_token_is_asked_for_until_the_service_takes_one_but_not_for_ever(program, sandbox):
    with at_own_terminal(program, "init", "--base-url", sandbox.base_url) as process:
        for token in ("слово", "wrong", "wronger"):
            process.typist.answers("Token (it is not shown)", token)
        shown = process.typist.rest()

        assert process.wait() == 69
    assert "what you typed holds no token: expected one word" in shown
    assert shown.count("try again") == 1
    assert not program.config.exists()
    assert len(sandbox.requests) == 2


def test_who_only_types_what_can_be_no_token_is_told_where_to_find_one(program, sandbox):
    with at_own_terminal(program, "init", "--base-url", sandbox.base_url) as process:
        for _ in range(3):
            process.typist.answers("Token (it is not shown)", "слово")
        shown = process.typist.rest()

        assert process.wait() == 78
    assert "no token was given" in shown
    assert not sandbox.requests


def test_where_the_service_wants_a_pause_no_other_token_is_asked_for(program, sandbox):
    sandbox.set(fault="http_429")
    with at_own_terminal(program, "init", "--base-url", sandbox.base_url) as process:
        process.typist.answers("Token (it is not shown)", TOKEN)
        shown = process.typist.rest()

        assert process.wait() == 75
    assert "try again" not in shown
