"""When a message is asked for again, and what goes into one question: decisions without I/O."""

from datetime import UTC, datetime, timedelta

import pytest

from semysync.mirror.tables.pending import Open
from semysync.passes.refresh import chosen, interval, is_suspect, proves_absent, scheduled

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def an_open(number=1, *, status="accepted", age=timedelta(), asked=timedelta(), **more):
    """A message that has not changed for so long, last asked for so long ago."""
    usual = {"device_id": 351, "reports": True, "due_at": NOW}
    times = {"since": NOW - age, "asked_at": NOW - asked}
    return Open(id=number, status=status, **usual | times | more)


@pytest.mark.parametrize(
    ("status", "age", "expected"),
    [
        ("accepted", timedelta(), 5 * SECOND),
        ("accepted", 80 * SECOND, 10 * SECOND),
        ("on_phone", 4 * HOUR, HOUR / 2),
        ("on_phone", 2 * DAY, HOUR),
        ("on_phone", 20 * DAY, 6 * HOUR),
        ("on_phone", 30 * DAY, None),
        ("sent", 80 * SECOND, 20 * SECOND),
        ("sent", 6 * DAY, 6 * HOUR),
        ("sent", 7 * DAY - HOUR, HOUR),
        ("sent", 7 * DAY, None),
        ("failed", MINUTE, MINUTE),
        ("cancelled", DAY, None),
        ("delivered", timedelta(), None),
        ("purged", timedelta(), None),
    ],
)
def test_a_message_is_asked_for_eagerly_while_young_and_seldom_when_old(status, age, expected):
    assert interval(an_open(status=status, age=age), NOW) == expected


def test_where_no_reports_are_asked_for_a_sent_message_is_soon_left_alone():
    silent = an_open(status="sent", age=HOUR, reports=False)

    assert interval(silent, NOW) == HOUR
    assert interval(silent._replace(since=NOW - DAY), NOW) is None


def test_a_last_look_is_taken_and_not_missed():
    before = an_open(status="sent", age=7 * DAY - MINUTE)

    due_at = scheduled(before, NOW).due_at

    assert due_at == before.since + 7 * DAY
    assert scheduled(before._replace(asked_at=due_at), due_at) is None


@pytest.mark.parametrize("field", ["since", "asked_at"])
def test_a_clock_that_went_back_makes_nothing_young_for_ever(field):
    jumped = an_open(age=HOUR)._replace(**{field: NOW + 300 * DAY})

    later = scheduled(jumped, NOW)

    assert NOW < later.due_at <= NOW + HOUR
    assert later.since <= NOW


def test_a_question_holds_fifty_ids_of_one_device_the_most_urgent_first():
    many = [an_open(n, asked=MINUTE, due_at=NOW - SECOND) for n in range(1, 121)]
    late = an_open(900, asked=HOUR, due_at=NOW - HOUR / 2, device_id=352)
    gone = an_open(901, asked=MINUTE, due_at=NOW, device_id=399)

    questions = chosen([*many, late, gone], NOW, there={351, 352})

    assert [(q.device_id, len(q.those)) for q in questions] == [
        (352, 1),
        (351, 50),
        (351, 50),
        (351, 20),
        (None, 1),
    ]


def test_what_is_soon_due_comes_along_but_makes_no_question():
    soon = an_open(1, asked=45 * MINUTE, due_at=NOW + 15 * MINUTE)
    due = an_open(2, asked=MINUTE)
    elsewhere = an_open(3, asked=45 * MINUTE, due_at=NOW + 15 * MINUTE, device_id=352)

    (question,) = chosen([soon, due, elsewhere], NOW, there={351, 352})

    assert [one.id for one in question.those] == [2, 1]


@pytest.mark.parametrize(
    ("ids", "more", "expected"),
    [
        ([], False, True),
        ([], True, False),
        ([4, 6], False, True),
        ([4, 5], False, False),
        ([6, 7, 8, 9, 10], False, False),  # from above: the cap may have kept the newest
        ([4, 6, 7, 8, 9], False, True),
    ],
)
def test_only_an_answer_that_reaches_around_an_id_proves_that_it_is_gone(ids, more, expected):
    assert proves_absent(5, ids, more=more) is expected


@pytest.mark.parametrize(
    ("absences", "hours", "status", "expected"),
    [
        (4, 6, "sent", True),
        (3, 60, "sent", False),  # an old one is asked for seldom
        (40, 5, "sent", False),
        (4, 6, None, False),  # there is no row yet that could be marked
    ],
)
def test_a_message_is_looked_into_after_several_absences_over_hours(
    absences, hours, status, expected
):
    absent = an_open(status=status, absences=absences, absent_since=NOW - hours * HOUR)

    assert is_suspect(absent, NOW) is expected
