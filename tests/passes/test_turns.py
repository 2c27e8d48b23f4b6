"""Whose turn it is where devices are asked one by one."""

from datetime import UTC, datetime, timedelta
from math import ceil

from hypothesis import given
from hypothesis import strategies as st

from semysync.mirror.tables.devices import KnownDevice
from semysync.model import Box
from semysync.passes.turns import (
    LONGEST_WAIT,
    RECENT,
    RETIRED_WAIT,
    Habits,
    Turns,
    allowance,
    chosen,
    due,
)

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)

moments = st.none() | st.integers(-7200, 7200).map(lambda seconds: NOW + seconds * SECOND)
habits = st.builds(Habits, st.booleans(), moments, moments, moments, st.just(value=False))


def device(number, *, there=True, archived=False, last="2026-11-23T08:00:00.000000Z"):
    return KnownDevice(number, there, archived, last)


@given(st.dictionaries(st.integers(1, 50), habits, max_size=20), st.none() | st.integers(1, 20))
def test_a_choice_keeps_to_the_allowance_but_for_those_never_asked(devices, most):
    asked = chosen(devices, NOW, most)

    never_asked = {
        number for number, h in devices.items() if h.asked_at is None or h.asked_at > NOW
    }
    assert never_asked <= set(asked)
    assert len(asked) == len(set(asked))
    assert all(due(devices[number], NOW) for number in asked)
    if most is None:
        assert set(asked) == {number for number, h in devices.items() if due(h, NOW)}
    else:
        assert len(asked) <= max(most, len(never_asked))


@given(st.dictionaries(st.integers(1, 50), habits, max_size=20), st.integers(1, 20))
def test_nobody_who_waited_too_long_stands_back_for_one_who_did_not(devices, most):
    asked = chosen(devices, NOW, most)

    def waited(number):
        h = devices[number]
        wait = RETIRED_WAIT if h.retired else LONGEST_WAIT
        return h.asked_at is None or h.asked_at > NOW or NOW - h.asked_at >= wait

    if any(not waited(number) for number in asked):
        assert {number for number in devices if waited(number)} <= set(asked)


@given(habits.filter(lambda h: h.asked_at is not None))
def test_what_is_archived_or_gone_is_asked_hourly_whatever_its_news(h):
    h = h._replace(retired=True)

    assert due(h, NOW) == (not timedelta(0) <= NOW - h.asked_at < RETIRED_WAIT)


def test_a_device_in_use_is_asked_in_each_pass_and_a_quiet_one_once_a_minute():
    just_now = Habits(asked_at=NOW - 10 * SECOND)

    assert not due(just_now, NOW)
    assert due(just_now, NOW + 50 * SECOND)
    assert due(just_now._replace(news_at=NOW - timedelta(minutes=59)), NOW)
    assert due(just_now._replace(alive_at=NOW - timedelta(minutes=9)), NOW)
    assert not due(just_now._replace(news_at=NOW - RECENT), NOW)
    assert not due(just_now._replace(alive_at=NOW - timedelta(minutes=10)), NOW)


@given(
    st.integers(1, 20),
    st.integers(1, 10),
    st.integers(1, 90),
    st.lists(st.sets(st.integers(0, 19)), min_size=15, max_size=30),
)
def test_every_device_is_asked_after_a_minute_and_the_passes_that_all_of_them_take(
    count, most, interval_s, news
):
    """Whoever has news, at each of the passes."""
    asked_at = dict.fromkeys(range(count), NOW)
    news_at = {}
    now = NOW
    for fresh in news:
        now += interval_s * SECOND
        devices = {
            number: Habits(asked_at=asked_at[number], news_at=news_at.get(number), alive_at=now)
            for number in range(count)
        }
        for number in chosen(devices, now, most):
            asked_at[number] = now
            if number in fresh:
                news_at[number] = now

        longest = LONGEST_WAIT + (ceil(count / most) + 1) * interval_s * SECOND
        assert all(now - moment <= longest for moment in asked_at.values())


def test_fresh_news_come_first_among_those_who_need_not_be_asked():
    devices = {
        1: Habits(asked_at=NOW - 30 * SECOND, alive_at=NOW),
        2: Habits(asked_at=NOW - 10 * SECOND, alive_at=NOW, news_at=NOW - MINUTE),
        3: Habits(asked_at=NOW - 20 * SECOND, alive_at=NOW),
        4: Habits(asked_at=NOW - 60 * SECOND),
    }

    assert chosen(devices, NOW, None) == [4, 2, 1, 3]
    assert chosen(devices, NOW, 2) == [4, 2]


def test_both_boxes_together_leave_a_fifth_of_the_requests_to_others():
    an_hour_of_inbox = 360 * allowance(60, 10 * SECOND)
    an_hour_of_sent = 180 * allowance(60, 20 * SECOND)

    assert an_hour_of_inbox + an_hour_of_sent == 0.8 * 60 * 60
    assert allowance(1, SECOND) == 1
    assert allowance(60, None) is None
    assert allowance(None, SECOND) is None


def test_the_first_pass_asks_all_and_the_next_only_those_in_use():
    turns = Turns()
    devices = [device(1), device(2, archived=True), device(3, there=False), device(4)]

    first = turns.next(Box.INBOX, devices, NOW)
    for number in first:
        turns.asked(Box.INBOX, number, NOW, news=number == 4)
    now = NOW + timedelta(minutes=30)  # none has given a sign of life since
    turns.asked(Box.INBOX, 1, now, news=False)
    turns.asked(Box.INBOX, 4, now, news=False)

    assert first == [1, 2, 3, 4]
    assert turns.next(Box.INBOX, devices, now + 10 * SECOND) == [4]
    assert turns.next(Box.SENT, devices, now + 10 * SECOND) == [1, 2, 3, 4]


def test_a_contact_that_moves_is_a_sign_of_life_by_whatever_clock():
    turns = Turns()
    turns.next(Box.INBOX, [device(1, last=None)], NOW)
    now = NOW + timedelta(hours=2)
    turns.asked(Box.INBOX, 1, now, news=False)

    still_there = turns.next(Box.INBOX, [device(1, last=None)], now + SECOND)
    moved = turns.next(Box.INBOX, [device(1, last="1999-01-01T00:00:00.000000Z")], now + SECOND)

    assert (still_there, moved) == ([], [1])


def test_a_device_that_was_hinted_at_is_asked_whatever_its_turn_and_once():
    turns = Turns(requests_per_minute=60)
    devices = [device(number, archived=number == 20) for number in range(1, 21)]
    for number in turns.next(Box.INBOX, devices, NOW):
        turns.asked(Box.INBOX, number, NOW, news=False)
    now = NOW + SECOND
    turns.hint(Box.INBOX, [20, 7, 99])
    turns.hint(Box.INBOX, [7, 8])

    assert sorted(turns.next(Box.INBOX, devices, now)) == [7, 8, 20]
    assert set(turns.next(Box.INBOX, devices, now + SECOND)).isdisjoint({20})
    assert len(turns.next(Box.INBOX, devices, now + SECOND)) == 1
