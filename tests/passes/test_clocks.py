"""Offsets are learnt from what is sure, and from nothing else."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semysync.passes.clocks import phone_offset, service_offset
from semysync.times import (
    Clock,
    as_printed,
    from_utc_text,
    in_utc,
    only_offset,
    utc_text,
    zone_named,
)

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
offsets = st.integers(-48, 56).map(lambda quarters: quarters * 15)
seconds = st.integers(0, 59).map(lambda s: timedelta(seconds=s))


def printed(moment, offset):
    return (moment + timedelta(minutes=offset)).replace(tzinfo=None)


@given(offsets, st.integers(0, 400), st.data())
def test_the_only_offset_is_the_true_one(offset, length, data):
    happened = NOW - timedelta(seconds=data.draw(st.integers(0, length)))

    found = only_offset(printed(happened, offset), NOW - timedelta(seconds=length), NOW)

    assert found == offset


@given(offsets, st.integers(900, 100_000))
def test_moments_far_apart_prove_nothing(offset, length):
    start = NOW - timedelta(seconds=length)

    assert only_offset(printed(NOW, offset), start, NOW) is None


@given(offsets)
def test_an_impossible_time_proves_nothing(offset):
    halfway = printed(NOW, offset) + timedelta(minutes=7)

    assert only_offset(halfway, NOW - timedelta(seconds=60), NOW) is None


@given(offsets, st.lists(seconds, min_size=1, max_size=5))
def test_phones_in_touch_between_two_readings_show_the_service_s_clock(offset, ages):
    before = {n: printed(NOW - timedelta(minutes=5), offset) for n in range(len(ages))}
    after = {n: printed(NOW - age, offset) for n, age in enumerate(ages)}

    assert service_offset(before, after, NOW - timedelta(seconds=60), NOW) == offset


def test_a_phone_that_was_not_in_touch_shows_nothing():
    """It may have been off for three hours, or the zone be another one: nobody can tell."""
    same = {1: printed(NOW, 0)}

    assert service_offset(same, same, NOW - timedelta(seconds=60), NOW) is None
    assert service_offset({}, same, NOW - timedelta(seconds=60), NOW) is None


def test_phones_that_disagree_show_nothing():
    before = {1: printed(NOW, -600), 2: printed(NOW, -600)}
    after = {1: printed(NOW, 60), 2: printed(NOW, 120)}

    assert service_offset(before, after, NOW - timedelta(seconds=60), NOW) is None


@given(offsets, st.lists(seconds, min_size=2, max_size=10))
def test_messages_on_their_way_show_a_phone_s_clock(offset, delays):
    fetched = [NOW - timedelta(hours=n) for n in range(len(delays))]
    sent = [(printed(at + delay, offset), at) for at, delay in zip(fetched, delays, strict=True)]

    assert phone_offset(sent, []) == offset
    assert phone_offset(sent[:1], []) is None


def test_a_phone_that_once_was_slow_is_outvoted():
    slow = [(printed(NOW + timedelta(minutes=45), 60), NOW)]
    usual = [(printed(NOW + timedelta(seconds=n), 60), NOW) for n in range(3)]

    assert phone_offset(slow + usual, []) == 60


def test_received_messages_show_a_phone_s_clock_where_it_sends_none():
    usual = [(printed(NOW - timedelta(seconds=n), 330), NOW) for n in range(3)]

    assert phone_offset([], usual) == 330
    assert phone_offset([], usual[:2]) is None


def test_a_phone_that_is_often_late_by_the_same_time_is_taken_for_no_other_zone():
    """Nothing is received after it was mirrored, nor sent before it was fetched."""
    late = [(printed(NOW - timedelta(minutes=30), 180), NOW) for _ in range(6)]
    slow = [(printed(NOW + timedelta(minutes=30), 180), NOW) for _ in range(4)]
    usual = [(printed(NOW, 180), NOW) for _ in range(3)]

    assert phone_offset([], late + usual) == 180
    assert phone_offset(slow + usual[:2], []) == 180


def test_a_message_may_take_some_minutes_in_one_direction_only():
    minutes = timedelta(seconds=170)
    later, earlier = (printed(NOW + minutes, 180), NOW), (printed(NOW - minutes, 180), NOW)

    assert phone_offset([later] * 2, []) == 180
    assert phone_offset([earlier] * 2, []) is None
    assert phone_offset([], [earlier] * 3) == 180
    assert phone_offset([], [later] * 3) is None


def test_what_proves_nothing_does_not_stand_in_the_way():
    useless = [(printed(NOW + timedelta(minutes=7), 180), NOW)] * 4
    usual = [(printed(NOW, 180), NOW)] * 3

    assert phone_offset(useless + usual, useless) == 180
    assert phone_offset(useless, useless + usual) == 180


@given(st.datetimes(min_value=datetime(1, 1, 3), max_value=datetime(9999, 12, 29)), offsets)
def test_what_was_printed_is_never_lost(moment, offset):
    assert as_printed(in_utc(moment, offset), offset) == moment
    assert as_printed(in_utc(moment, None), None) == moment
    assert len(in_utc(moment, offset)) == 27


@pytest.mark.parametrize("edge", [datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59)])
def test_the_edges_of_the_calendar_do_no_harm(edge):
    for offset in (-720, 840):
        assert len(in_utc(edge, offset)) == 27
        assert as_printed(in_utc(edge, offset), offset) is not None


@given(st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2037, 1, 1)))
def test_daylight_saving_is_right_with_a_name(moment):
    zone = zone_named("Europe/Berlin")
    clock = Clock(zone)

    text = in_utc(moment, clock.offset_at(moment))

    assert text == utc_text(moment.replace(tzinfo=zone))
    assert from_utc_text(text).tzinfo is UTC


@pytest.mark.parametrize("name", ["+3", "Mars/Base", "", "../etc/passwd", "+25:00", "+03:60"])
def test_what_is_no_zone_is_refused(name):
    with pytest.raises(ValueError, match="is no time zone"):
        zone_named(name)


def test_a_zone_may_be_named_by_its_offset():
    assert Clock(zone_named("+05:30")).offset_at(datetime(2026, 1, 1)) == 330
    assert Clock(zone_named("-09:30")).offset_at(datetime(2026, 1, 1)) == -570


def test_what_somebody_wrote_at_the_end_of_the_calendar_is_shown_as_it_stands():
    assert as_printed("9999-12-31T23:59:00", 60) == datetime(9999, 12, 31, 23, 59)
