"""No question can be put that lacks a range, a list or dates: it would be about today only."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semysync.service.client import Client
from semysync.service.questions import Dates, Doomed, Ids, Range, latest_end

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
DAY = Dates(datetime(2026, 1, 1), datetime(2026, 1, 2, 23, 59, 59))


def test_a_range_names_what_is_set_and_nothing_else():
    assert Range(7).fields() == {"start_id": "7"}
    assert Range(7, 9).fields() == {"start_id": "7", "end_id": "9"}
    assert Range(7, dates=DAY).fields() == {
        "start_id": "7",
        "date_start": "2026-01-01 00:00:00",
        "date_end": "2026-01-02 23:59:59",
    }


def test_a_list_is_joined_by_commas():
    assert Ids((3, 1, 2)).fields() == {"list_id": "3,1,2"}


@pytest.mark.parametrize(
    "make",
    [
        lambda: Range(0),
        lambda: Range(-1),
        lambda: Range(5, 4),
        lambda: Ids(()),
        lambda: Ids((0,)),
        lambda: Ids(tuple(range(1, 52))),
        lambda: Dates(datetime(2026, 1, 2), datetime(2026, 1, 1)),
        lambda: Dates(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)),
        lambda: Doomed(0, Range(1, 2), DAY, NOW),
        lambda: Doomed(1, Range(1), DAY, NOW),
        lambda: Doomed(1, Range(1, 2, DAY), DAY, NOW),
        lambda: Doomed(1, Ids((1,)), Dates(DAY.start, datetime(2026, 3, 9)), NOW),
    ],
)
def test_an_empty_or_impossible_question_cannot_be_made(make):
    with pytest.raises(ValueError, match=r"."):
        make()


def test_a_delete_carries_a_device_and_ids_and_dates():
    assert Doomed(351, Range(15, 15), DAY, NOW).fields() == {
        "device": "351",
        "start_id": "15",
        "end_id": "15",
        "date_start": "2026-01-01 00:00:00",
        "date_end": "2026-01-02 23:59:59",
    }


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.timezones()),
    st.timezones(),
    st.timezones(),
)
def test_a_window_to_delete_ends_before_yesterday_whoever_reads_it(now, reads, lives):
    end = latest_end(now).replace(tzinfo=reads)

    yesterday = now.astimezone(lives).date() - timedelta(days=1)

    assert end.astimezone(lives).date() < yesterday


def test_the_inbox_takes_no_list_of_ids_to_delete():
    with Client("0" * 32) as client, pytest.raises(TypeError, match="name a range"):
        client.delete_inbox(Doomed(351, Ids((15,)), DAY, NOW))
