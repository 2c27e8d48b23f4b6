"""When the next pass comes, decided without any I/O."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semysync.daemon.gate import cause_of
from semysync.daemon.tempo import (
    JITTER,
    LONGEST_S,
    SERVICE,
    Circuit,
    interval_s,
    jump_s,
    pause_s,
)
from semysync.errors import Refused, Throttled, Unreachable, Unreadable

DOWN = Unreachable("devices: cannot connect")
NO = Refused("devices: the service has answered code -1", code="-1")
HOUR = 3600.0


def circuit():
    return Circuit(chance=lambda: 0.5)  # no jitter


@pytest.mark.parametrize(
    ("every_s", "since_news_s", "wait_s"),
    [
        (10, None, 10),
        (10, 0, 2.5),
        (10, 59, 2.5),
        (10, 60, 5),
        (10, 599, 5),
        (10, 600, 10),
        (20, 1, 5),
        (4, 1, 2),  # not more often than every two seconds,
        (1, 1, 1),  # unless configured so
    ],
)
def test_passes_come_faster_after_news_and_as_configured_in_a_quiet(every_s, since_news_s, wait_s):
    assert interval_s(every_s, since_news_s) == wait_s


def test_pauses_double_up_to_ten_minutes():
    assert [pause_s(5, n, 0.5) for n in (1, 2, 3, 8, 1000)] == [5, 10, 20, 600, 600]


@given(st.floats(0, 1), st.integers(1, 10**9))
def test_no_two_programs_ask_at_the_same_time(chance, failures):
    middle = pause_s(10, failures, 0.5)

    assert middle * (1 - JITTER) <= pause_s(10, failures, chance) <= middle * (1 + JITTER)


@pytest.mark.parametrize("day", [86_400.0, -86_400.0, 3_600.0, -3_600.0, 2.5, -2.5])
def test_a_clock_that_was_put_is_noticed(day):
    assert jump_s((1000.0, 5.0), (1000.0 + 5 + day, 10.0)) == day


@pytest.mark.parametrize("drift", [0.0, 1.5, -1.5])
def test_a_clock_that_drifts_is_none_that_jumps(drift):
    assert jump_s((1000.0, 5.0), (1005.0 + drift, 10.0)) == 0.0


def test_a_kind_that_fails_comes_at_growing_distances_and_the_others_as_ever():
    passes, now, distances = circuit(), 0.0, []
    for _ in range(8):
        passes.answered("devices")
        passes.failed("inbox", Unreadable("inbox: no answer"), now, 10)
        assert not passes.is_open
        assert passes.wait_s("sent", now) == 0
        distances.append(passes.wait_s("inbox", now))
        now += distances[-1]

    assert distances == [10, 20, 40, 80, 160, 320, 600, 600]


def test_a_kind_that_fails_three_times_is_told_once_and_once_when_it_is_over():
    passes = circuit()
    told = []
    for n in range(5):
        passes.answered("devices")
        told.append(passes.failed("inbox", Unreadable("…"), n * HOUR, 10))

    assert told == [set(), set(), {"inbox"}, set(), set()]
    assert passes.answered("sent") == set()
    assert passes.answered("inbox") == {"inbox"}
    assert passes.answered("inbox") == set()


def test_three_failures_of_whatever_kinds_open_the_circuit_which_is_told_once():
    passes = circuit()

    told = [passes.failed(kind, DOWN, 0.0, 10) for kind in ("devices", "inbox", "sent", "inbox")]

    assert told == [set(), set(), {SERVICE}, set()]
    assert passes.is_open
    assert all(passes.wait_s(kind, 0.0) > 0 for kind in ("devices", "inbox", "sent", "account"))
    assert not passes.refused


def opened():
    passes = circuit()
    for kind in ("inbox", "sent", "devices"):
        passes.failed(kind, DOWN, 0.0, 10)
    return passes


def test_an_open_circuit_lets_one_through_at_a_time_at_growing_distances():
    passes, now, asked = opened(), 0.0, []
    while now < HOUR:
        now += 1
        for kind in ("inbox", "sent", "devices", "account"):
            if passes.enter(kind, now) == 0:
                asked.append(now)
                passes.failed(kind, DOWN, now, 10)

    distances = [later - earlier for earlier, later in pairwise(asked)]
    assert asked[0] == 5
    assert distances[:6] == [10, 20, 40, 80, 160, 320]
    assert set(distances[6:]) == {LONGEST_S}


def test_what_was_under_way_when_it_opened_does_not_make_the_pause_longer():
    passes = opened()

    for kind in ("inbox", "sent", "account"):
        passes.failed(kind, DOWN, 1.0, 10)

    assert passes.wait_s("inbox", 0.0) == 5


def test_one_that_never_comes_back_keeps_an_open_circuit_for_no_longer_than_a_pause():
    passes = opened()

    assert passes.enter("inbox", 5.0) == 0
    assert passes.enter("sent", 5.0) == 10
    assert passes.enter("sent", 15.0) == 0


def test_one_that_has_nothing_to_ask_closes_nothing_and_stands_in_nobodys_way():
    passes = opened()

    assert passes.enter("refresh", 5.0) == 0
    passes.asked_nothing(5.5)

    assert passes.is_open
    assert passes.enter("inbox", 5.5) == 0
    assert passes.enter("sent", 5.5) == 10


def test_the_first_answer_closes_the_circuit_for_all():
    passes = opened()

    assert passes.answered("account") == {SERVICE}

    assert not passes.is_open
    assert all(passes.wait_s(kind, 0.0) == 0 for kind in ("devices", "inbox", "sent", "account"))
    assert passes.answered("inbox") == set()


def test_after_it_has_closed_it_opens_and_is_told_again():
    passes = opened()
    passes.answered("inbox")

    told = [passes.failed("inbox", DOWN, 1.0, 10) for _ in range(3)]

    assert told == [set(), set(), {SERVICE}]
    assert passes.wait_s("inbox", 1.0) == 5


def test_a_refused_token_opens_it_at_once_and_stops_the_sending_until_an_answer():
    passes = circuit()

    assert passes.failed("devices", NO, 0.0, 60) == {SERVICE}
    assert passes.refused
    passes.failed("inbox", DOWN, 10.0, 10)
    assert passes.refused  # the network has failed too; the token is no better by that
    passes.answered("devices")
    assert not passes.refused


def test_refusals_of_boxes_alone_open_it_like_other_failures():
    passes = circuit()

    passes.failed("inbox", NO, 0.0, 10)
    assert not passes.is_open
    passes.failed("sent", NO, 0.0, 10)
    passes.failed("inbox", NO, 0.0, 10)

    assert passes.is_open
    assert passes.refused


def test_a_service_that_wants_a_pause_is_left_alone_for_so_long():
    passes = circuit()

    passes.failed("inbox", Throttled("…", retry_after_s=120), 0.0, 10)

    assert passes.wait_s("sent", 0.0) == 120
    assert not passes.refused


def test_nobody_is_left_alone_for_more_than_an_hour():
    passes = circuit()

    passes.failed("inbox", Throttled("…", retry_after_s=999_999), 0.0, 10)

    assert passes.wait_s("inbox", 0.0) == HOUR


def test_a_pass_that_breaks_rests_and_no_other_does():
    passes = circuit()

    passes.broke("verify", 0.0)
    assert passes.wait_s("verify", 0.0) == 0.5  # it may have been a moment's
    for _ in range(20):
        passes.broke("verify", 0.0)

    assert passes.wait_s("verify", 0.0) == LONGEST_S
    assert passes.wait_s("inbox", 0.0) == 0
    assert not passes.is_open
    assert passes.answered("inbox") == set()
    assert passes.wait_s("verify", 0.0) == LONGEST_S
    passes.answered("verify")
    assert passes.wait_s("verify", 0.0) == 0


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["fail", "no", "ok", "break"]))))
def test_whatever_happens_what_is_told_is_told_in_turns_and_no_pause_is_for_ever(history):
    passes, now, standing = Circuit(), 0.0, set()
    for kind, what in history:
        now += 1
        if what == "ok":
            over = passes.answered(kind)
            assert over <= standing
            standing -= over
        elif what == "break":
            passes.broke(kind, now)
        else:
            news = passes.failed(kind, DOWN if what == "fail" else NO, now, 10)
            assert not news & standing
            standing |= news
        assert passes.wait_s(kind, now) <= LONGEST_S * (1 + JITTER)
    passes.answered("a")
    passes.answered("b")
    assert not passes.told


@pytest.mark.parametrize(
    ("failure", "cause"),
    [
        (Throttled("later", retry_after_s=None), "throttled"),
        (Refused("no", code="-1"), "refused"),
        (Unreachable("nobody"), "unreachable"),
        (Unreadable("no JSON"), "unreadable"),
    ],
)
def test_events_name_what_is_wrong_in_a_word(failure, cause):
    assert cause_of(failure) == cause
