"""Keeping the mirror in good order: what goes, and what stays."""

from datetime import UTC, datetime, timedelta

import pytest

from semysync.mirror import housekeeping

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
KEPT = timedelta(days=90)


def add_events(store, ages_days):
    store._db.conn.executemany(
        "insert into events (at, kind) values (?, 'draft.queued')",
        [((NOW - timedelta(days=age)).strftime("%Y-%m-%dT%H:%M:%S.000000Z"),) for age in ages_days],
    )


def test_old_events_go_a_slice_at_a_time_and_young_ones_stay(store, rows, monkeypatch):
    monkeypatch.setattr(housekeeping, "SLICE", 2)
    add_events(store, [100, 99, 98, 97, 96, 1, 0])

    assert store.forget_events(NOW, KEPT) == 5

    assert rows("select seq from events") == [(6,), (7,)]
    assert store.forget_events(NOW, KEPT) == 0


def test_when_all_are_old_all_go_and_numbers_are_not_used_again(store, rows):
    add_events(store, [100, 99])

    assert store.forget_events(NOW, KEPT) == 2

    add_events(store, [0])
    assert rows("select seq from events") == [(3,)]


@pytest.mark.parametrize(
    ("ages", "left"),
    [
        ([100, -4000, 99, 98, 1, 0], [5, 6]),  # the clock was ahead for a moment, long ago
        ([100, 99, -4000, -4000, 1, 0], [3, 4, 5, 6]),  # when, nobody knows: they may be young
        ([100, 99, -4000], [3]),
        ([100, 1, 20_000, 0], [2, 3, 4]),  # it was behind
        ([-4000, -4000], [1, 2]),
    ],
)
def test_a_clock_that_was_wrong_costs_no_young_event_and_keeps_no_old_one(store, rows, ages, left):
    add_events(store, ages)

    store.forget_events(NOW, KEPT)

    assert [seq for (seq,) in rows("select seq from events order by seq")] == left


def test_without_events_there_is_nothing_to_forget(store):
    assert store.forget_events(NOW, timedelta(0)) == 0


def test_the_log_is_emptied_and_a_reader_does_not_hold_it_up_for_long(store):
    wal = store.path.with_name(f"{store.path.name}-wal")
    add_events(store, [0])
    assert wal.stat().st_size > 0

    store.give_room_back()

    assert wal.stat().st_size == 0
    assert store._db.conn.execute("pragma busy_timeout").fetchone() == (30_000,)
