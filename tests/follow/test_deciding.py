"""What hooks decide without any I/O: which events are theirs, and when one is tried again."""

from datetime import UTC, datetime, timedelta

import pytest

from semysync.event_kinds import KINDS, named_by
from semysync.follow.actions import Outcome
from semysync.follow.hints import SETTLE_S, overdue
from semysync.follow.hooks import judged
from semysync.follow.matching import Facts, fits, fits_text, is_for
from semysync.follow.retries import Patience
from semysync.mirror.tables.followers import Delivery
from semysync.times import utc_text

NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("on", "kind", "expected"),
    [
        (["message.received"], "message.received", True),
        (["message.received"], "message.sent", False),
        (["message.*"], "message.sent", True),
        (["message.*"], "draft.sent", False),
        (["draft.failed", "device.*"], "device.offline", True),
        (["*"], "purge.done", True),
    ],
)
def test_a_hook_hears_of_the_kinds_that_it_names(on, kind, expected):
    assert is_for(on, kind) is expected


def test_a_pattern_names_kinds_that_there_are():
    assert named_by("message.received") == ["message.received"]
    assert set(named_by("device.*")) == {kind for kind in KINDS if kind.startswith("device.")}
    assert named_by("message.recieved") == []


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("order", "Your ORDER 17 is ready", True),
        ("ready order", "Your order 17 is ready", True),  # in any order
        ("order", "Borderline", False),  # whole words
        ("order late", "Your order 17 is ready", False),
        ("заказ", "Ваш Заказ готов", True),
        ("straße", "STRASSE", True),
        ("*17*", "Your order 17 is ready", True),
        ("your*", "Your order", True),
        ("your", "* not a pattern here, your", True),
        ("code ????", "Code 4711", True),
        ("code ????", "Code 471", False),
        ("code [0-9]*", "code x", False),
        ("*a*a*a*a*a*a*a*b", "a" * 1000, False),  # and at once
        ("^code.$", "code1", False),  # never a regular expression
        ("(a+)+$", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!", False),
    ],
)
def test_a_text_is_matched_by_words_or_by_a_shell_pattern(pattern, text, expected):
    assert fits_text(pattern, text) is expected


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ({}, True),
        ({"contact": "+79201234567"}, True),
        ({"contact": "+7 (920) 123-45-67"}, True),  # however it is written
        ({"contact": "8 920 123-45-67"}, True),  # in the region
        ({"contact": "+7920*"}, True),
        ({"contact": "+44*"}, False),
        ({"device": 351}, True),
        ({"device": "352"}, False),
        ({"device": "desk"}, True),
        ({"channel": "whatsapp*"}, False),
        ({"channel": "sms", "text": "ready"}, True),
        ({"channel": "sms", "text": "late"}, False),
    ],
)
def test_all_that_is_matched_must_fit(match, expected):
    facts = Facts("+79201234567", ("351", "desk"), "sms", "It is ready")

    assert fits(match, facts, "RU") is expected


@pytest.mark.parametrize("key", ["contact", "channel", "text", "device"])
def test_what_is_about_nothing_fits_no_pattern(key):
    assert not fits({key: "*"}, Facts())
    assert fits({}, Facts())


def test_a_delivery_is_tried_for_two_days_at_growing_distances():
    patience = Patience()
    distances = [patience.distance_s(n) for n in range(1, patience.most_attempts())]

    assert distances[:4] == [5, 10, 20, 40]
    assert distances[-1] == 3600
    assert distances == sorted(distances)
    assert 48 * 3600 <= sum(distances) < 49 * 3600


def test_neither_restarts_nor_jumps_of_the_clock_use_up_the_chances():
    patience = Patience()
    most = patience.most_attempts()

    assert not patience.is_over(10 * most, NOW, NOW + timedelta(hours=47))  # restarted every minute
    assert not patience.is_over(
        3, NOW, NOW + timedelta(days=365)
    )  # a jump, or a machine that was off
    assert not patience.is_over(most, NOW, NOW - timedelta(days=365))  # back
    assert patience.is_over(most, NOW, NOW + timedelta(days=2))
    assert patience.distance_s(10_000) == 3600


@pytest.mark.parametrize(
    ("why", "began_days_ago", "tried", "expected"),
    [
        (None, 0, 0, ("done", None)),
        ("it ended with 1", 0, 0, ("failing", NOW + timedelta(seconds=5))),
        ("it ended with 1", 3, 500, ("dead", None)),
        ("it ended with 1", 3, 1, ("failing", NOW + timedelta(seconds=10))),  # it was off meanwhile
        ("it ended with 1", -3, 1, ("failing", NOW + timedelta(seconds=10))),  # a clock was ahead
    ],
)
def test_an_attempt_leaves_a_delivery_done_failing_or_dead(why, began_days_ago, tried, expected):
    first_at = utc_text(NOW - timedelta(days=began_days_ago)) if tried else ""
    before = Delivery(
        follower="h", seq=7, kind="message.received", attempts=tried, first_at=first_at
    )

    after = judged(before, Outcome(why), Patience(), began=NOW, now=NOW)

    status, next_at = expected
    assert (after.status, after.next_at) == (status, next_at and utc_text(next_at))
    assert (after.attempts, after.error) == (tried + 1, why)
    assert after.first_at <= utc_text(NOW)


def test_a_message_that_a_later_list_lacks_is_overdue_and_no_other():
    waits_s = {("inbox", 1): SETTLE_S, ("inbox", 2): SETTLE_S - 1, ("sent", 3): SETTLE_S}
    called = NOW - timedelta(seconds=SETTLE_S)

    assert overdue(waits_s, {"inbox": called, "sent": None}, NOW) == {("inbox", 1): called}
    assert overdue(waits_s, {"inbox": called - timedelta(seconds=1), "sent": None}, NOW) == {}
