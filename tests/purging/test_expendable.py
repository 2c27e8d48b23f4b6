"""What may go, in which slices, and what an answer means: decided without any I/O."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semysync.errors import PurgeStopped
from semysync.model import Box, Facts, Held
from semysync.passes import expendable
from semysync.passes.expendable import (
    FINISHED,
    WAYS,
    Came,
    Limits,
    Reason,
    Slice,
    check_came,
    check_shown,
    gone,
    slices,
    why_it_stays,
)
from semysync.service.questions import Range, latest_end

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
OLD = (NOW - 40 * DAY).replace(tzinfo=None)
LIMITS = Limits(days=30)
FACTS = Facts(first_young=None, dated=frozenset({1}), devices=frozenset({1}))


def held(number=5, **how):
    usual = {
        "device_id": 1,
        "contact": "+79201234567",
        "printed": OLD,
        "offset": 0,
        "seen_at": NOW - DAY,
        "touched_at": NOW - 8 * DAY,
        "live": False,
        "newest_before": None,
        "missing": False,
        "status": None,
    }
    return Held(id=number, **(usual | how))


def reason(box=Box.INBOX, *, facts=FACTS, limits=LIMITS, **how):
    if box is Box.SENT:
        how = {"status": "delivered"} | how
    return why_it_stays(box, held(**how), facts, limits, NOW)


def test_what_is_old_and_finished_may_go():
    assert reason() is None
    assert reason(Box.SENT) is None


@pytest.mark.parametrize(
    ("box", "how", "why"),
    [
        (Box.INBOX, {"printed": None}, Reason.UNDATED),
        (Box.INBOX, {"device_id": None}, Reason.DEVICE),
        (Box.INBOX, {"device_id": 2}, Reason.DEVICE),
        (Box.INBOX, {"missing": True}, Reason.MISSING),
        (Box.INBOX, {"facts": FACTS._replace(first_young=5)}, Reason.AMONG_YOUNG),
        (Box.INBOX, {"facts": FACTS._replace(first_young=6)}, None),
        (Box.INBOX, {"facts": FACTS._replace(clashes=frozenset({5}))}, Reason.CLASH),
        (Box.INBOX, {"facts": FACTS._replace(absent=frozenset({5}))}, Reason.ABSENT),
        (Box.INBOX, {"limits": Limits(30, frozenset({"+79201234567"}))}, Reason.KEPT),
        (Box.INBOX, {"limits": Limits(41)}, Reason.YOUNG),
        # It may lie
        (Box.INBOX, {"live": True}, Reason.UNPROVEN),
        (Box.INBOX, {"live": True, "seen_at": NOW - 31 * DAY}, None),
        (Box.INBOX, {"newest_before": NOW - 30 * DAY}, Reason.UNPROVEN),
        (Box.INBOX, {"newest_before": NOW - 39 * DAY}, None),
        (Box.INBOX, {"facts": FACTS._replace(dated=frozenset())}, Reason.UNPROVEN),
        (Box.SENT, {"facts": FACTS._replace(dated=frozenset())}, None),
        # Offsets
        (
            Box.INBOX,
            {"printed": OLD + 10 * DAY - timedelta(hours=11), "offset": None},
            Reason.YOUNG,
        ),
        (Box.INBOX, {"printed": OLD + 10 * DAY - timedelta(hours=13), "offset": None}, None),
        # Copies
        (Box.INBOX, {"limits": Limits(30, copied_until=NOW - 8 * DAY)}, Reason.UNCOPIED),
        (Box.INBOX, {"limits": Limits(30, copied_until=NOW - 7 * DAY)}, None),
        # What is sent
        (Box.SENT, {"status": "accepted"}, Reason.MOVING),
        (Box.SENT, {"status": "on_phone"}, Reason.MOVING),
        (Box.SENT, {"status": "failed"}, None),
        (Box.SENT, {"status": "cancelled"}, None),
        (Box.SENT, {"status": "sent"}, None),
        (Box.SENT, {"status": "sent", "touched_at": NOW - 6 * DAY}, Reason.UNSETTLED),
        (Box.SENT, {"facts": FACTS._replace(drafts=frozenset({5}))}, Reason.DRAFT),
        (Box.SENT, {"facts": FACTS._replace(doubts=frozenset({5}))}, Reason.DOUBT),
    ],
)
def test_why_a_message_stays(box, how, why):
    assert reason(box, **how) is why


times = st.datetimes(datetime(2010, 1, 1), datetime(2030, 1, 1))
moments = times.map(lambda time: time.replace(tzinfo=UTC))
numbers = st.integers(1, 40)
some = st.builds(
    Held,
    id=st.just(0),
    device_id=st.sampled_from([1, 2, None]),
    contact=st.sampled_from(["+1", "+2"]),
    printed=st.none() | st.datetimes(datetime(2026, 9, 1), datetime(2026, 12, 1)),
    offset=st.none() | st.sampled_from([-720, 0, 180, 840]),
    seen_at=st.datetimes(datetime(2026, 9, 1), datetime(2026, 11, 23)).map(
        lambda time: time.replace(tzinfo=UTC)
    ),
    touched_at=st.datetimes(datetime(2026, 9, 1), datetime(2026, 11, 23)).map(
        lambda time: time.replace(tzinfo=UTC)
    ),
    live=st.booleans(),
    newest_before=st.none(),
    missing=st.booleans(),
    status=st.sampled_from(["delivered", "failed", "cancelled", "sent", "accepted", "on_phone"]),
)
boxes = st.sampled_from(list(Box))


@given(boxes, some, st.integers(3, 60), st.none() | numbers)
def test_nothing_goes_that_could_be_young_or_open_or_kept(box, one, days, first_young):
    facts = Facts(first_young, frozenset({1}), frozenset({1, 2}))
    one = one._replace(id=20)

    why = why_it_stays(box, one, facts, Limits(days, frozenset({"+1"})), NOW)

    if why is None:
        assert one.contact != "+1"
        assert not one.missing
        assert one.device_id is not None
        assert (
            one.printed + timedelta(hours=-(one.offset or -720) / 60)
            <= (NOW - days * DAY).replace(tzinfo=None)
            or one.offset == 0
        )
        assert first_young is None or one.id < first_young
        if box is Box.SENT:
            assert one.status in {*FINISHED, "sent"}
            assert one.status != "sent" or one.touched_at <= NOW - 7 * DAY


judged = st.lists(st.tuples(some, st.none() | st.just(Reason.KEPT)), max_size=40).map(
    lambda rows: [
        (one._replace(id=number, printed=one.printed or OLD), why)
        for number, (one, why) in enumerate(rows, 1)
    ]
)


@given(boxes, judged, st.integers(1, 200), st.integers(1, 60))
def test_slices_hold_each_message_that_may_go_once_and_no_other(box, rows, size, most):
    cut = list(slices(box, rows, size=size, most=most))

    ids = [number for one in cut for number in one.ids]
    may_go = [held.id for held, why in rows if why is None]
    assert sorted(ids) == sorted(set(ids))
    assert set(ids) <= set(may_go)
    assert len(ids) == min(most, len(may_go))
    stay = {held.id for held, why in rows if why is not None}
    for one in cut:
        assert list(one.ids) == sorted(one.ids)
        assert len(one.ids) <= (min(size, 50) if box is Box.SENT else size)
        assert len({held.printed.date() for held in one.messages}) == 1
        assert {held.device_id or 0 for held in one.messages} == {one.device_id}
        if box is Box.INBOX:
            assert not stay & set(range(one.ids[0], one.ids[-1] + 1))


@given(
    boxes,
    st.lists(st.datetimes(datetime(2026, 10, 1), datetime(2026, 11, 23)), min_size=1, max_size=5),
    st.sampled_from([0, 1, 2]),
)
def test_what_is_named_is_inside_its_window_which_ends_before_yesterday(box, printed, way):
    messages = [held(number, printed=one) for number, one in enumerate(sorted(printed), 10)]
    one = Slice(box, 1, tuple(messages))

    asked = one.named(WAYS[box][way % len(WAYS[box])], NOW)

    if asked is None:
        assert max(printed) + timedelta(minutes=1) > latest_end(NOW)
        return
    assert asked.dates.end <= latest_end(NOW)
    assert asked.dates.start <= min(printed)
    assert max(printed) <= asked.dates.end
    if isinstance(asked.which, Range):
        assert asked.which.start <= 10
        assert asked.which.end >= one.ids[-1]


def test_of_a_range_only_messages_without_another_between_them_are_kept():
    one = Slice(Box.INBOX, 1, tuple(held(number) for number in range(1, 8)))

    assert one.only({1, 3, 4, 5, 7}).ids == (3, 4, 5)
    assert one._replace(box=Box.SENT).only({1, 3, 7}).ids == (1, 3, 7)


@given(
    st.frozensets(numbers, min_size=1),
    st.none() | st.frozensets(numbers),
    st.frozensets(numbers),
    st.frozensets(numbers),
    st.frozensets(numbers),
)
def test_only_a_delete_that_did_what_it_says_and_was_told_is_no_surprise(
    doomed, said, changed, left, vanished
):
    came = Came(said, changed & doomed, left & doomed, vanished - doomed)

    went = gone(doomed, came)

    assert doomed - left <= went
    assert not went & came.left
    try:
        check_came(doomed, came)
    except PurgeStopped:
        return
    assert not came.vanished
    if said is not None:
        assert said == doomed - left
        assert said
        assert not came.changed
        assert went == said


def test_a_list_that_shows_anything_else_stops_it():
    check_shown({1, 2}, {1}, 0)
    with pytest.raises(PurgeStopped, match="2 others as well, such as 3"):
        check_shown({1, 2}, {1, 3, 4}, 0)
    with pytest.raises(PurgeStopped, match="a row that makes no sense"):
        check_shown({1, 2}, {1}, 1)


@given(st.lists(numbers, unique=True).map(sorted), st.lists(numbers, unique=True).map(sorted))
def test_what_is_absent_from_a_second_list(before, after):
    assert expendable.absent(before, after) == set(before) - set(after)


@pytest.mark.parametrize(
    ("printed", "offset", "meant"),
    [
        (datetime(2026, 11, 23, 9, 0), 180, datetime(2026, 11, 23, 6, 0, tzinfo=UTC)),
        (datetime(2026, 11, 23, 9, 0), None, datetime(2026, 11, 23, 21, 0, tzinfo=UTC)),
        (datetime(9999, 12, 31, 23, 0), None, datetime.max.replace(tzinfo=UTC)),
    ],
)
def test_a_printed_time_is_taken_for_the_latest_that_it_can_be(printed, offset, meant):
    assert expendable.latest(printed, offset) == meant
