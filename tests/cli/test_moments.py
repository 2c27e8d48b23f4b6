"""Times as a person types them, in a zone where the clocks are changed."""

import time
from datetime import UTC, datetime

import pytest

from semysync.cli.moments import local_text, local_zone, moment, past

NOON = datetime(2026, 11, 23, 11, 0, tzinfo=UTC)  # 12:00 in Berlin


@pytest.fixture(autouse=True)
def berlin(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("13:00", "2026-11-23T12:00:00"),
        ("12:00", "2026-11-23T11:00:00"),  # now is the next one too
        ("11:59", "2026-11-24T10:59:00"),
        ("9:00", "2026-11-24T08:00:00"),
        (" 09:00:30 ", "2026-11-24T08:00:30"),
        ("2026-11-24 09:00", "2026-11-24T08:00:00"),
        ("2026-11-24 9:00", "2026-11-24T08:00:00"),
        ("2026-11-24T09:00:01.5", "2026-11-24T08:00:01.500000"),
        ("2026-07-24 09:00", "2026-07-24T07:00:00"),
        ("2026-11-24T09:00Z", "2026-11-24T09:00:00"),
        ("2026-11-24 12:00+03:00", "2026-11-24T09:00:00"),
        ("2026-11-24 12:00 -03:30", "2026-11-24T15:30:00"),
        ("2026-10-25 02:30", "2026-10-25T00:30:00"),  # it comes twice: the first
    ],
)
def test_a_time_is_local_unless_it_names_its_zone(typed, meant):
    found = moment(typed, after=NOON)

    assert found.isoformat() == f"{meant}+00:00"


@pytest.mark.parametrize(
    "typed",
    ["", "soon", "9", "24:00", "12:60", "2026-11-24", "2026-02-30 09:00", "2026-11-24 25:00",
     "2026-11-24 09:00 MSK", "2026-11-24 09:00+30:00", "0001-01-01 00:00", "٠٩:٠٠", "20261124T0900"],
)  # fmt: skip
def test_what_is_no_time_is_refused_with_what_one_looks_like(typed):
    with pytest.raises(ValueError, match=r"is no time such as 09:00, '2026-11-24 09:00' or "):
        moment(typed, after=NOON)


def test_a_time_that_the_clocks_jump_over_is_refused():
    with pytest.raises(ValueError, match="2027-03-28 02:30 does not exist in the local zone"):
        moment("2027-03-28 02:30", after=NOON)


def test_a_moment_is_shown_with_its_zone(monkeypatch):
    assert local_text(NOON) == "2026-11-23 12:00 CET"
    assert local_text(NOON.replace(month=7, second=5)) == "2026-07-23 13:00:05 CEST"

    monkeypatch.setenv("TZ", "America/Sao_Paulo")
    time.tzset()
    assert local_zone(NOON) == "UTC-03:00"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-20", "2026-11-19T23:00:00"),
        ("today", "2026-11-22T23:00:00"),
        ("Yesterday", "2026-11-21T23:00:00"),
        ("11:59", "2026-11-23T10:59:00"),
        ("13:00", "2026-11-22T12:00:00"),
        ("30m", "2026-11-23T10:30:00"),
        ("12 h", "2026-11-22T23:00:00"),
        ("7d", "2026-11-16T11:00:00"),
        ("2w", "2026-11-09T11:00:00"),
        ("2026-11-20 09:00", "2026-11-20T08:00:00"),
        ("2030-11-20T09:00Z", "2030-11-20T09:00:00"),
    ],
)
def test_a_time_that_is_over_is_understood(text, expected):
    assert past(text, before=NOON) == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "soon", "7", "7y", "99999w", "2026-02-30", "24:00"])
def test_a_time_that_is_none_says_what_one_looks_like(text):
    with pytest.raises(ValueError, match=r"is no time such as 2026-11-24, .*, yesterday, 09:00"):
        past(text, before=NOON)
