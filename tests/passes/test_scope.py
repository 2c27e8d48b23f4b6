"""When the account may be asked as a whole, and where that goes on from."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semysync.errors import Refused, Throttled
from semysync.mirror.tables.devices import KnownDevice
from semysync.mirror.tables.marks import Mark
from semysync.model import HIGHEST_ID, Box
from semysync.passes import scope
from semysync.passes.scope import Findings, Standing
from semysync.service.questions import Range
from semysync.times import utc_text

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


def device(number, *, there=True, archived=False):
    return KnownDevice(number, there, archived, None)


class Row(NamedTuple):
    id: int


# ruff: noqa: ARG002  the fakes have the shape of the real ones


@dataclass
class FakeAccount:
    """Messages by id, each of a device; those of `hides` only the device itself shows."""

    messages_of: dict
    hides: frozenset = frozenset()
    cap: int = 10_000
    cap_keeps: str = "oldest"
    ends: str = "inclusive"
    asked: int = 0

    def messages(self, box, which, device_id):
        self.asked += 1
        high = HIGHEST_ID if which.end is None or self.ends == "ignored" else which.end
        edge = self.ends == "exclusive"
        ids = [
            number
            for number, owner in sorted(self.messages_of.items())
            if which.start + edge <= number <= high - edge
            and (owner == device_id if device_id else owner not in self.hides)
        ]
        ids = ids[: self.cap] if self.cap_keeps == "oldest" else ids[-self.cap :]
        return [Row(number) for number in reversed(ids)]


@dataclass
class FakeMirror:
    """Holds the messages that were ever read from an account."""

    held: dict

    def newest(self, box, device_id, skip=0):
        ids = sorted((n for n, d in self.held.items() if device_id in (0, d)), reverse=True)
        return ids[skip] if skip < len(ids) else 0

    def oldest(self, box, device_id, above):
        return min((n for n in self.held if n > above), default=0)

    def owners(self, box, low, high):
        return {n: d for n, d in self.held.items() if low <= n <= high}


histories = st.dictionaries(st.integers(2, 400), st.integers(1, 6), min_size=1, max_size=150)
services = st.fixed_dictionaries(
    {
        "cap": st.sampled_from([5, 7, 60, 10_000]),
        "cap_keeps": st.sampled_from(["oldest", "newest"]),
        "ends": st.sampled_from(["inclusive", "exclusive", "ignored"]),
    }
)


@given(histories, services, st.frozensets(st.integers(1, 6)), st.frozensets(st.integers(1, 400)))
def test_a_hidden_device_never_counts_as_shown(held, service, hides, deleted):
    """However the service cuts its answers, and whatever was deleted there meanwhile."""
    there = set(held.values())
    left = {number: owner for number, owner in held.items() if number not in deleted}
    account = FakeAccount(left, hides, **service)

    found = scope.probe(account, FakeMirror(held), Box.INBOX, there)

    assert not found.shown & hides
    assert found.hidden <= hides


@given(histories, services, st.frozensets(st.integers(1, 400)))
def test_where_everything_is_shown_no_device_counts_as_hidden(held, service, deleted):
    there = set(held.values())
    left = {number: owner for number, owner in held.items() if number not in deleted}

    found = scope.probe(FakeAccount(left, **service), FakeMirror(held), Box.INBOX, there)

    assert not found.hidden
    assert found.shown <= set(left.values())


@given(histories, st.sampled_from(["inclusive", "exclusive"]), st.integers(5, 10_000))
def test_every_device_with_messages_is_shown_where_bounds_are_heeded(held, ends, cap):
    there = set(held.values())
    account = FakeAccount(held, ends=ends, cap=cap)

    found = scope.probe(account, FakeMirror(held), Box.INBOX, there | {99})

    assert found == Findings(frozenset(there), frozenset())
    assert account.asked <= 1 + len(there)


@given(histories, st.frozensets(st.integers(1, 6), min_size=1), st.sampled_from([5, 10_000]))
def test_no_probe_passes_where_a_device_with_messages_is_hidden(held, hides, cap):
    there = set(held.values())
    account = FakeAccount(held, hides, cap=cap)

    found = scope.probe(account, FakeMirror(held), Box.INBOX, there)
    standing = scope.settled(found, [device(number) for number in there], len(there), NOW)

    assert bool(standing.shown) == (not hides & there)


class Refusing(FakeAccount):
    """Refuses questions without a device."""

    error = Refused("name a device", code="-5")

    def messages(self, box, which, device_id):
        if not device_id:
            raise self.error
        return super().messages(box, which, device_id)


def test_a_refusal_is_a_finding_and_a_wish_for_a_pause_is_none():
    account = Refusing({1: 1, 2: 2})

    found = scope.probe(account, FakeMirror({1: 1, 2: 2}), Box.SENT, {1, 2})
    account.error = Throttled("later", retry_after_s=None)

    assert found == Findings()
    with pytest.raises(Throttled):
        scope.probe(account, FakeMirror({1: 1, 2: 2}), Box.SENT, {1, 2})


class Hiding(FakeAccount):
    """Hides what its devices show, and refuses to show one."""

    error = Refused("it is gone", code="-5")

    def messages(self, box, which, device_id):
        if device_id == 2:
            raise self.error
        return super().messages(box, which, device_id)


def test_what_a_device_does_not_show_either_is_not_hidden_and_a_wish_for_a_pause_proves_nothing():
    held = {1: 1, 2: 2, 3: 1}
    account = Hiding(held, hides=frozenset({2}))

    found = scope.probe(account, FakeMirror(held), Box.SENT, {1, 2})
    account.error = Throttled("later", retry_after_s=None)

    assert found == Findings(shown=frozenset({1}))
    with pytest.raises(Throttled):
        scope.probe(account, FakeMirror(held), Box.SENT, {1, 2})


def test_an_answer_without_rows_speaks_against_the_account_never_for_it():
    account = FakeAccount({1: 1, 2: 2}, hides=frozenset({1, 2}))

    found = scope.probe(account, FakeMirror({1: 1, 2: 2}), Box.SENT, {1, 2})
    nothing_left = scope.probe(FakeAccount({}), FakeMirror({1: 1, 2: 2}), Box.SENT, {1, 2})

    assert not found.shown
    assert found.hidden
    assert nothing_left == Findings()


def test_an_answer_is_held_to_what_lies_between_its_lowest_and_its_highest_row():
    owners = {2: 1, 4: 1, 6: 2, 8: 2, 10: 1, 12: 2}

    cut = scope.lacking(Range(1), [4, 5, 7, 8, 10], owners)
    small = scope.lacking(Range(1, 12), [4, 5, 7, 8], owners)

    assert cut == {2: {6}}
    assert small == {1: {2, 10}, 2: {6}}  # 12 is an end, which may not belong to the range


DEVICES = [device(1), device(2), device(3, archived=True), device(4, there=False)]


@pytest.mark.parametrize(
    ("found", "filled", "shown"),
    [
        (Findings(frozenset({1, 2, 4})), 3, [1, 2, 4]),
        (Findings(frozenset({1})), 1, [1]),
        (Findings(frozenset({1})), 2, []),
        (Findings(frozenset({1, 4})), 2, []),  # one that is gone proves nothing
        (Findings(frozenset({1, 2}), frozenset({3})), 3, []),
        (Findings(frozenset({1, 2}), frozenset({4})), 3, [1, 2]),
        (Findings(), 0, []),
    ],
)
def test_a_probe_passes_with_two_devices_or_the_only_one_and_none_hidden(found, filled, shown):
    standing = scope.settled(found, DEVICES, filled, NOW)

    assert standing.shown == shown
    assert not scope.due(standing, scope.roster(DEVICES), NOW + timedelta(minutes=6))


@pytest.mark.parametrize(("shown", "hours"), [([1, 2], 6), ([], 24)])
def test_a_probe_is_repeated_after_a_while_and_when_the_devices_change(shown, hours):
    names = scope.roster(DEVICES)
    standing = Standing(shown=shown, devices=names, probed_at=utc_text(NOW))

    assert not scope.due(standing, names, NOW + timedelta(hours=hours, seconds=-1))
    assert scope.due(standing, names, NOW + timedelta(hours=hours))
    assert scope.due(standing, names, NOW - timedelta(days=400))
    for change in ([device(1)], [device(1, archived=True), *DEVICES[1:]], [*DEVICES, device(5)]):
        assert scope.due(standing, scope.roster(change), NOW)
    assert not scope.due(standing, scope.roster(DEVICES[:3]), NOW)  # the fourth is gone anyway


def test_a_probe_that_came_to_nothing_is_not_made_again_at_once():
    begun = scope.begun(Standing(shown=[1, 2]), NOW)

    for standing in (begun, scope.doubted(NOW)):
        assert not scope.due(standing, "1 2", NOW + timedelta(minutes=4))
        assert scope.due(standing, "1 2", NOW + timedelta(minutes=5))
    assert begun.shown == [1, 2]
    assert scope.due(Standing(), "1 2", NOW)


ids = st.integers(0, 10_000)
marks = st.builds(lambda f, a, b: Mark(floor_id=f, lookback_id=a, last_id=a + b), ids, ids, ids)


@given(st.lists(marks, min_size=1), ids, ids)
def test_the_account_begins_at_its_newest_and_looks_back_no_less_than_any_device(
    several, newest, thousandth
):
    mark = scope.joined(several, newest, thousandth, NOW, history="all")

    assert mark.last_id == mark.lookback_next_id == newest
    assert mark.lookback_id == min(max(m.lookback_id for m in several), thousandth or newest)
    assert mark.floor_id <= min(m.floor_id for m in several)
    assert mark.loaded_at == mark.lookback_at == utc_text(NOW)


def test_a_device_that_was_silent_for_years_does_not_make_the_account_read_those_again():
    silent = Mark(last_id=40, lookback_id=40)
    busy = Mark(last_id=900_000, lookback_id=899_000)

    mark = scope.joined([silent, busy], 900_000, 898_500, NOW, history="all")

    assert (mark.last_id, mark.lookback_id) == (900_000, 898_500)


def test_a_standing_outlives_the_program():
    standing = scope.settled(Findings(frozenset({1, 2})), DEVICES, 2, NOW)

    assert msgspec.json.decode(msgspec.json.encode(standing), type=Standing) == standing
