"""The seeded history, by arithmetic and against a count on fingers."""

from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semysync.sandbox import Account, Switches
from semysync.sandbox.clocks import instant
from semysync.sandbox.history import History, Station
from semysync.sandbox.selection import Without, seeded_matches

STATIONS = [Station(1, 0), Station(2, 0), Station(3, 1)]


def history(count, box="sent", seed=1, span=90 * 86_400_000_000):
    return History(
        box,
        count,
        base=70_000_000,
        seed=seed,
        span=span,
        start=1_700_000_000_000_000,
        pool=20,
        stations=STATIONS,
    )


def test_a_million_messages_are_not_made_before_they_are_asked_for(clock):
    account = Account(messages=1_000_000, clock=clock, switches=Switches(cap=50))
    histories = [account._shelves[box].history for box in ("inbox", "sent")]

    rows = account.select("sent", account.wanted("sent", {"start_id": "1", "device": "352151"}))
    newest = rows[len(rows) - 1]

    assert len(rows) == 183_333
    assert newest.device_id == 352_151
    assert [history.generated for history in histories] == [0, 1]


def test_the_same_seed_gives_the_same_messages(clock):
    first, again, other = (Account(messages=60, seed=seed, clock=clock) for seed in (5, 5, 6))

    assert list(first.rows("sent")) == list(again.rows("sent"))
    assert list(first.rows("sent")) != list(other.rows("sent"))


def test_the_boxes_share_the_messages_and_the_contacts(clock):
    account = Account(messages=1000, clock=clock)
    inbox, sent = list(account.rows("inbox")), list(account.rows("sent"))

    assert (len(inbox), len(sent)) == (450, 550)
    assert {row["phone"] for row in inbox} & {row["phone"] for row in sent}
    assert {"Beeline", "900"} < {row["phone"] for row in inbox}
    busiest = Counter(row["phone"] for row in sent).most_common(1)[0][1]
    assert busiest > 3 * 550 / 50


def test_history_ends_just_before_the_start_and_is_at_rest(clock):
    rows = list(Account(messages=5000, clock=clock).rows("sent"))
    end = (clock.now + timedelta(hours=3)).strftime("%Y-%m-%d %H:%M:%S")

    assert "2026-03-10 14:50" < rows[-1]["date"] < end
    assert all((row["send_to_phone"] or "") < end for row in rows)


def test_seeded_messages_are_in_every_final_state(clock):
    rows = list(Account(messages=5000, clock=clock).rows("sent"))

    for flag in ("is_delivered", "is_error", "is_error_send", "is_cancel", "is_out"):
        assert sum(row[flag] for row in rows) > 0
    assert sum(row["is_delivered"] for row in rows) > 0.8 * len(rows)
    assert any(row["is_send"] and not row["is_delivered"] and not row["is_error"] for row in rows)
    assert any(row["is_send_to_phone"] and not row["is_send"] for row in rows)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_history_may_be_tiny(clock, count):
    account = Account(messages=count, devices=1, clock=clock)

    assert len(account.ids("inbox")) + len(account.ids("sent")) == count


@given(count=st.integers(1, 5000), seed=st.integers(0, 99), data=st.data())
@settings(max_examples=60, deadline=None)
def test_ids_and_times_are_found_by_arithmetic(count, seed, data):
    seeded = history(count, seed=seed)
    n = data.draw(st.integers(0, count - 1))
    id_, at = seeded.id_of(n), seeded.at_of(n)

    assert seeded.n_of(id_) == n
    assert seeded.first_from_id(id_) == n
    assert seeded.first_from_id(id_ + 1) == n + 1
    assert seeded.first_from(at) == n
    assert seeded.first_from(at + 1) == n + 1
    assert n == 0 or seeded.id_of(n - 1) < id_
    assert n == 0 or seeded.at_of(n - 1) < at
    assert (seeded.row(n).id, seeded.row(n).at) == (id_, at)


def test_ids_between_two_messages_are_nobodys():
    seeded = history(300)
    ids = {seeded.id_of(n) for n in range(300)}

    known = [id_ for id_ in range(69_999_990, 70_002_200) if seeded.n_of(id_) is not None]

    assert known == sorted(ids)


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_selection_is_what_looking_at_every_row_would_give(data):
    account = data.draw(accounts())
    wanted = data.draw(filters(account))

    shown = [row["id"] for row in account.rows("sent")]
    selection = account.select("sent", account.wanted("sent", wanted))

    query = account.wanted("sent", wanted)
    everyone = [account._shelves["sent"].find(id_) for id_ in shown]
    assert [row.id for row in selection] == [row.id for row in everyone if query.takes(row)]


@st.composite
def accounts(draw):
    """Accounts with a short history, some of it gone or changed, and some rows made since."""
    switches = Switches(today_only="off", filters=draw(st.sampled_from(["and", "or"])))
    account = Account(messages=draw(st.integers(0, 60)), switches=switches)
    ids = account.ids("sent")
    if ids:
        account.remove("sent", draw(st.lists(st.sampled_from(ids), max_size=5)))
        for id_ in draw(st.sets(st.sampled_from(ids), max_size=4)):
            if id_ in account.ids("sent"):
                account.change("sent", id_, msg="changed", id_device=352_151)
        account.reuse_ids("sent", draw(st.sets(st.sampled_from(ids), max_size=2)))
    for _ in range(draw(st.integers(0, 5))):
        account.sent_elsewhere("900", "new")
    return account


@st.composite
def filters(draw, account):
    """Filters near what there is."""
    ids = account.ids("sent") or [70_000_000]
    near = st.sampled_from(ids).flatmap(lambda id_: st.integers(id_ - 9, id_ + 9))
    made = {
        "start_id": near.map(str),
        "end_id": near.map(str),
        "list_id": st.lists(st.sampled_from(ids) | near, min_size=1).map(
            lambda some: ",".join(map(str, some))
        ),
        "device": st.sampled_from(["352114", "352151", "352114,352188", "active"]),
        "phone": st.sampled_from([row["phone"] for row in account.rows("sent")] or ["900"]),
        "date_start": st.sampled_from(
            [row["date"] for row in account.rows("sent")] or ["2020-1-1"]
        ),
    }
    names = draw(st.sets(st.sampled_from(sorted(made))))
    return {name: draw(made[name]) for name in names}


@given(st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)), st.integers(1, 4))
def test_a_sequence_without_some_is_the_others(members, holes, stride):
    for whole in (sorted(members), range(0, 50, stride)):
        without = Without(whole, sorted(holes))
        left = list(without)

        assert without[1:9:2] == left[1:9:2]
        assert left == [member for member in whole if member not in holes]


def test_one_device_is_a_stride(clock):
    seeded = history(1000)
    account = Account(messages=0, clock=clock)
    wanted = account.wanted("sent", {"start_id": str(seeded.id_of(500))})
    narrow = type(wanted)(low=wanted.low, devices=frozenset({2}))

    assert seeded_matches(seeded, narrow, [], 0) == range(502, 1000, 3)


def test_times_need_a_zone(clock):
    with pytest.raises(ValueError, match="a time needs a zone"):
        instant(clock.now.replace(tzinfo=None))
