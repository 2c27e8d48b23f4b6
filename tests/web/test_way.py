"""How far a draft has come, and what it waits for, as its page says it."""

from datetime import UTC, datetime

import pytest
from webs import ANNA, START, ask, mirror_at, sent

from semysync.mirror.file import open_reader
from semysync.mirror.outbox import drafts
from semysync.times import utc_text
from semysync.web.way import way_of, why

NOW = "updated_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')"
TRIED = [f"contact = phone, {NOW}", f"status = 'sending', attempts = 1, {NOW}"]
TAKEN = [
    *TRIED,
    f"status = coalesce((select status from sent where id = 7), ''), sent_id = 7, {NOW}",
]


@pytest.fixture
def page(tmp_path):
    """Bring a draft to where it is, by the table's own rules; return its steps and its reason."""

    def make(*moves, message=None, blocked=None, quiet_until=None):
        path = tmp_path / "semysync.db"
        mirror_at(path, *([message] if message else []))
        ask(path, "insert into outbox (phone, text) values (?, 'Hello')", ANNA)
        ask(path, "insert into settings values ('quiet_until', ?)", quiet_until)
        for move in moves:
            ask(path, f"update outbox set {move} where id = 1")
        conn = open_reader(path)
        try:
            row = drafts.one(conn, 1)
            became = conn.execute("select * from sent where id = ?", (row["sent_id"],)).fetchone()
            return way_of(row, became), why(row, blocked, utc_text(datetime.now(UTC)))
        finally:
            conn.close()

    return make


def states(way):
    return " ".join(step.state for step in way)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"is_send": 0}, "done now next next next"),
        ({"is_send": 0, "is_send_to_phone": 1, "handed_at": START}, "done done now next next"),
        ({"handed_at": START, "sent_at": START}, "done done done now next"),
        ({"is_delivered": 1, "delivered_at": START}, "done done done done done"),
    ],
)
def test_the_way_of_a_draft_is_that_of_its_message(page, flags, expected):
    way, _ = page(*TAKEN, message=sent(7, **flags))

    assert states(way) == expected
    assert way[0].at
    assert way[0].in_utc


def test_a_draft_that_waits_is_written_and_no_more(page):
    way, reason = page()

    assert states(way) == "now next next next next"
    assert reason == ("", None)


def test_a_message_that_failed_ends_its_way_there(page):
    failed = sent(7, is_send=0, is_error=1, is_send_to_phone=1, handed_at=START)
    way, reason = page(*TAKEN, message=failed)

    assert [step.name for step in way] == [
        "written",
        "taken by the service",
        "fetched by the phone",
        "failed",
    ]
    assert way[-1].state == "wrong"
    assert reason.text == "the phone or the network could not send it"


@pytest.mark.parametrize(
    ("moves", "text", "has_time"),
    [
        (["send_at = '2100-01-01T09:00Z'"], "goes out at", True),
        (["status = 'held'"], "waits for you to release it", False),
        ([*TRIED, f"status = 'queued', error = 'busy', next_attempt_at = '2100', {NOW}"],
         "busy; again at", True),
        (TRIED, "waits for the answer of the service", False),
        ([*TRIED, f"status = 'accepted', sent_id = 9, {NOW}"],
         "waits for the account to show it", False),
        ([*TRIED, "status = 'cancelling'"],
         "to be cancelled; waits for the answer of the service", False),
        ([*TRIED, f"status = 'rejected', error = 'no such device', {NOW}"], "no such device", False),
    ],
)  # fmt: skip
def test_the_reason_says_what_a_draft_waits_for(page, moves, text, has_time):
    _, reason = page(*moves)

    assert reason.text == text
    assert bool(reason.at) is has_time


def test_what_stands_against_sending_is_said_of_a_draft_that_is_due(page):
    assert (
        page(blocked="the token is refused")[1].text == "nothing can be sent: the token is refused"
    )


@pytest.mark.parametrize(
    ("moves", "said"),
    [
        ([], ("quiet hours; goes out at", "2099-01-01T05:00:00.000000Z")),
        (["priority = 1"], ("", None)),
    ],
)
def test_in_quiet_hours_a_draft_without_a_priority_says_when_it_goes(page, moves, said):
    assert page(*moves, quiet_until="2099-01-01T05:00:00.000000Z")[1] == said
