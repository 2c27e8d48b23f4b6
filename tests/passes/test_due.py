"""When drafts go out, from which phone, and what refusals mean."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semysync.model import Phone
from semysync.passes.due import IN_A_ROW, REST_S, QuietHours, Refusals, Rests, pause_s, senders


def at(text):
    return datetime.fromisoformat(text)


# Quiet hours.


@pytest.mark.parametrize(
    ("hours", "now", "quiet"),
    [
        ("22:00-08:00 UTC", "2026-11-23T21:59:59Z", False),
        ("22:00-08:00 UTC", "2026-11-23T22:00:00Z", True),
        ("22:00-08:00 UTC", "2026-11-24T00:00:00Z", True),
        ("22:00-08:00 UTC", "2026-11-24T07:59:59.999999Z", True),
        ("22:00-08:00 UTC", "2026-11-24T08:00:00Z", False),
        ("13:00-14:30 UTC", "2026-11-23T12:59:59Z", False),
        ("13:00-14:30 UTC", "2026-11-23T13:00:00Z", True),
        ("13:00-14:30 UTC", "2026-11-23T14:29:59Z", True),
        ("13:00-14:30 UTC", "2026-11-23T14:30:00Z", False),
        ("00:00-08:00 UTC", "2026-11-23T00:00:00Z", True),
        ("22:00-00:00 UTC", "2026-11-23T23:59:59Z", True),
        ("22:00-00:00 UTC", "2026-11-24T00:00:00Z", False),
    ],
)
def test_quiet_hours_begin_with_their_first_minute_and_end_before_their_last(hours, now, quiet):
    assert QuietHours.read(hours).hold(at(now)) is quiet


@pytest.mark.parametrize(
    ("zone", "quiet_at", "loud_at"),
    [
        ("Europe/Moscow", "2026-11-23T19:00Z", "2026-11-24T05:00Z"),
        ("+03:00", "2026-11-23T19:00Z", "2026-11-24T05:00Z"),
        ("-03:30", "2026-11-24T01:30Z", "2026-11-23T22:00Z"),
        ("Pacific/Kiritimati", "2026-11-23T08:00Z", "2026-11-23T22:00Z"),
        ("Europe/Moscow", "2026-11-24T00:00+05:00", "2026-11-23T23:59+05:00"),
    ],
)
def test_quiet_hours_go_by_the_clock_of_their_zone(zone, quiet_at, loud_at):
    hours = QuietHours.read(f"22:00-08:00 {zone}")

    assert hours.hold(at(quiet_at))
    assert not hours.hold(at(loud_at))


def test_quiet_hours_keep_to_the_wall_clock_when_it_jumps():
    night = QuietHours.read("22:00-08:00 Europe/Berlin")
    gone = QuietHours.read("02:00-03:00 Europe/Berlin")

    summer, winter = at("2026-07-01T06:30Z"), at("2026-12-01T06:30Z")
    assert (night.hold(summer), night.hold(winter)) == (False, True)
    spring_forward = [at("2026-03-29T00:59:59Z") + timedelta(seconds=i) for i in range(3)]
    assert not any(gone.hold(moment) for moment in spring_forward)  # 01:59:59, then 03:00
    fall_back = [at("2026-10-25T00:00Z") + i * timedelta(minutes=30) for i in range(5)]
    assert [gone.hold(moment) for moment in fall_back] == [True, True, True, True, False]


@given(st.times(), st.datetimes(timezones=st.just(UTC)))
def test_hours_that_begin_and_end_at_once_are_none(hour, now):
    assert not QuietHours(hour, hour, "UTC").hold(now)


@given(st.times(), st.times(), st.datetimes(timezones=st.just(UTC)))
def test_of_two_hours_and_the_hours_between_the_others_one_is_quiet(begin, end, now):
    if begin != end:
        assert QuietHours(begin, end, "UTC").hold(now) != QuietHours(end, begin, "UTC").hold(now)


@pytest.mark.parametrize("text", [None, ""])
def test_without_quiet_hours_there_are_none(text):
    assert QuietHours.read(text) is None


# How long a refused draft waits.


def test_a_refused_draft_waits_five_seconds_doubling_to_ten_minutes():
    assert [pause_s(n) for n in range(1, 10)] == [5, 10, 20, 40, 80, 160, 320, 600, 600]
    assert (pause_s(0), pause_s(-3), pause_s(10**18)) == (5, 5, 600)
    assert isinstance(pause_s(1), float)


# Which phones.


def phone(number, last="2026-11-23T09:00:00.000000Z", **known):
    usual = {"channel": "sms", "use_for_sending": 1, "service_on": 1, "archived": 0, "there": True}
    return Phone(id=number, last_active_at=last, **usual | known)


@pytest.mark.parametrize(
    "known",
    [
        {"there": False},
        {"archived": 1},
        {"channel": "whatsapp"},
        {"channel": "whatsapp_business"},
        {"channel": "type:7"},
        {"use_for_sending": 0},
        {"service_on": 0},
    ],
)
def test_a_phone_that_cannot_send_texts_is_not_chosen(known):
    fresher = "2026-11-23T09:30:00.000000Z"

    assert senders([phone(1), phone(2, fresher, **known)]) == [1]
    assert senders([phone(2, fresher, **known)]) == []


@pytest.mark.parametrize("field", ["channel", "use_for_sending", "service_on"])
def test_what_the_service_does_not_say_of_a_phone_does_not_speak_against_it(field):
    assert senders([phone(1, **{field: None})]) == [1]


def test_phones_seen_within_an_hour_of_the_last_share_the_drafts():
    phones = [
        phone(1, "2026-11-23T08:00:00.000000Z"),
        phone(2, "2026-11-23T09:00:00.000000Z"),
        phone(3, "2026-11-23T07:59:59.999999Z"),
        phone(4, None),
        phone(5, "2026-11-23T08:30:00.000000Z"),
    ]

    assert senders(phones) == [2, 5, 1]


def test_the_last_of_all_is_chosen_however_long_ago_it_was_seen():
    """What tells the time is the service's clock, which may be wrong, and not ours."""
    assert senders([phone(1, "1999-01-01T00:00:00.000000Z"), phone(2, None)]) == [1]


def test_of_phones_that_nobody_knows_when_they_were_seen_the_newest_one_sends():
    assert senders([phone(1, None), phone(3, None), phone(2, None)]) == [3]
    assert senders([]) == []


def test_a_phone_that_cannot_send_does_not_tell_the_time():
    phones = [phone(1), phone(2, "2030-01-01T00:00:00.000000Z", use_for_sending=0)]

    assert senders(phones) == [1]


@given(st.lists(st.sampled_from([phone(1), phone(2), phone(3)]), unique=True))
def test_the_choice_does_not_depend_on_the_order_in_which_phones_are_read(phones):
    assert senders(phones) == sorted((p.id for p in phones), reverse=True)


# Which phones must rest.


def test_a_slow_device_rests_after_a_message_and_no_other_does():
    rests = Rests()
    assert (rests.resting(["1", "2"], 0), rests.rest_s(0)) == ([], None)

    rests.handed("1", 100)
    rests.handed("2", 103)

    assert rests.resting(["1", "2", "3"], 104) == ["1", "2"]
    assert rests.rest_s(104) == 1
    assert rests.resting(["1", "2"], 100 + REST_S) == ["2"]
    assert rests.resting(["1", "2"], 103 + REST_S) == []
    assert rests.rest_s(103 + REST_S) is None


# What refusals mean.


def test_nothing_stands_against_sending_at_first():
    refusals = Refusals()

    assert refusals.may_try(0)
    assert refusals.may_try(-1e9)
    assert refusals.why is None


def test_three_drafts_refused_in_a_row_speak_of_the_account():
    refusals = Refusals()

    assert [refusals.refused(number) for number in (1, 2, 3, 4)] == [False, False, True, True]


def test_one_bad_draft_never_speaks_of_the_account():
    refusals = Refusals()

    assert not any(refusals.refused(1) for _ in range(100))
    assert not any(refusals.refused(number) for number in (1, 2, 1, 2, 2, 1))


def test_a_draft_that_is_taken_ends_the_row():
    refusals = Refusals()

    for number in range(100):
        assert not refusals.refused(number)
        assert not refusals.refused(number + 100)
        refusals.taken()


def test_a_stop_lasts_five_seconds_and_each_further_one_twice_as_long():
    refusals = Refusals()
    now_s, pauses = 1000.0, []

    for _ in range(9):
        refusals.stop("the plan is over", now_s)
        pauses.append(refusals.until_s - now_s)
        assert not refusals.may_try(refusals.until_s - 0.001)
        assert refusals.may_try(refusals.until_s)
        now_s = refusals.until_s

    assert pauses == [5, 10, 20, 40, 80, 160, 320, 600, 600]
    assert refusals.why == "the plan is over"


def test_a_stop_is_as_long_as_the_service_asks_for_within_an_hour():
    refusals = Refusals()

    refusals.stop("too many requests", 0, at_least_s=999_999)
    assert refusals.until_s == 3600
    refusals.stop("too many requests", 3600, at_least_s=100)
    assert refusals.until_s == 3700
    refusals.stop("too many requests", 3700, at_least_s=1)
    assert refusals.until_s == 3720


def test_the_first_draft_that_is_taken_resumes_the_sending_at_full_speed():
    refusals = Refusals()
    for _ in range(5):
        refusals.stop("no connection", 0)

    refusals.taken()

    assert refusals.may_try(0)
    assert refusals.why is None
    refusals.stop("no connection", 0)
    assert refusals.until_s == 5


def test_those_refused_before_a_stop_get_their_attempts_back_once():
    refusals = Refusals()
    for number in range(1, IN_A_ROW + 1):
        refusals.refused(number)

    assert refusals.stop("the service refuses every draft", 0) == [1, 2, 3]
    assert refusals.stop("the service refuses every draft", 5) == []


def test_attempts_are_not_given_back_a_second_time_when_sending_stops_anew():
    refusals = Refusals()
    refusals.refused(1)
    first = refusals.stop("no connection", 0)
    refusals.why = None  # another draft was refused by itself
    refusals.refused(2)

    assert first == [1]
    assert refusals.stop("no connection", 60) == [2]


def test_one_who_tries_during_a_stop_has_nothing_to_get_back():
    refusals = Refusals()
    for number in (1, 2, 3):
        refusals.refused(number)
    refusals.stop("the service refuses every draft", 0)
    refusals.refused(4)

    assert refusals.stop("the service refuses every draft", 5) == []
    refusals.why = None
    assert refusals.stop("no connection", 60) == []


def test_after_a_draft_was_taken_attempts_can_be_given_back_anew():
    refusals = Refusals()
    for _ in range(2):
        refusals.refused(1)
        assert refusals.stop("no connection", 0) == [1]
        refusals.taken()


def play(refusals, queue, bad, *, most=50):
    """Let one draft after the other try, as the sender does; return who did until one was taken."""
    now_s, tries = 0.0, []
    while len(tries) < most:
        now_s = max(now_s, refusals.until_s)
        draft_id = next((i for i in queue if i not in refusals.tried), queue[0])
        tries.append(draft_id)
        if draft_id not in bad:
            refusals.taken()
            return tries
        if refusals.refused(draft_id):
            refusals.stop("the service refuses every draft", now_s)
    return tries


@pytest.mark.parametrize("count", [1, 2, 3, 4, 10])
def test_bad_drafts_do_not_stand_before_a_good_one_for_ever(count):
    queue = list(range(1, count + 2))

    assert play(Refusals(), queue, bad=set(range(1, count + 1))) == queue


def test_where_all_are_refused_each_tries_in_its_turn():
    assert play(Refusals(), [1, 2, 3], bad={1, 2, 3}, most=8) == [1, 2, 3, 1, 2, 3, 1, 2]
    assert play(Refusals(), [1], bad={1}, most=3) == [1, 1, 1]


def test_a_round_ends_when_a_draft_is_taken():
    refusals = Refusals()
    refusals.refused(1)
    refusals.taken()

    assert refusals.tried == []
    assert [refusals.refused(number) for number in (1, 2)] == [False, False]
    refusals.stop("no connection", 0)
    assert refusals.tried == [1, 2]
