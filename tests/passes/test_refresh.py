"""Statuses become true: what is asked when, and what becomes of messages, in simulated time."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from semysync.errors import Refused, Throttled, Unreadable
from semysync.mirror.tables.pending import Pending
from semysync.model import Box
from semysync.passes import refresh
from semysync.sandbox import Sandbox, Switches
from semysync.service.questions import Ids
from semysync.times import utc_text

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PHONE = "+79201234567"


@pytest.fixture
def sandbox(clock):
    """A stand-in whose phones do nothing by themselves."""
    with Sandbox(messages=0, devices=3, switches=Switches(phone_speed=0), clock=clock) as stand_in:
        yield stand_in


class World:
    """A mirror that has loaded an empty account, in simulated time: all that comes now is news."""

    def __init__(self, sandbox, store, sync, clock):
        self.sandbox, self.account = sandbox, sandbox.account
        self.store, self.sync, self.clock = store, sync, clock
        self.devices = sorted(sandbox.account.devices)
        sync.once()

    def rows(self, query, *parameters):
        return self.store._db.execute(query, parameters).fetchall()

    def pulled(self, count=1, device_id=None):
        """Let messages be sent by another client and pulled; return their ids."""
        device_id = device_id or self.devices[0]
        ids = [self.account.sent_elsewhere(PHONE, f"text {n}", device_id) for n in range(count)]
        self.sync.box(Box.SENT)
        self.sandbox.requests.clear()
        return ids

    def write(self, statement):
        with self.store.transaction() as conn:
            conn.execute(statement)

    def go_on(self, duration, every=5 * SECOND):
        """Let time pass, with a refresh every so often where one is due."""
        end = self.clock.now + duration
        while self.clock.now < end:
            self.clock.now += every
            if self.sync.refresh_is_due():
                assert self.sync.refresh().noted.error is None

    def refresh_after(self, duration, **how):
        """Let time pass, and then refresh once."""
        self.clock.now += duration
        return self.sync.refresh(**how)

    def status(self, number):
        return self.rows("select status from sent where id = ?", number)[0][0]

    def told(self, number):
        query = "select kind, data from events where message_id = ? order by seq"
        return [(kind, data and json.loads(data)) for kind, data in self.rows(query, number)]

    def missing(self):
        return [row[0] for row in self.rows("select id from sent where missing_since is not null")]

    def pending(self):
        return [row[0] for row in self.rows("select message_id from pending order by 1")]

    def lists(self):
        return lists(self.sandbox)


def lists(sandbox):
    """The lists of ids that were asked for."""
    return [
        [int(number) for number in call.params["list_id"].split(",")]
        for call in sandbox.requests
        if call.method == "outbox_sms" and "list_id" in call.params
    ]


@pytest.fixture
def world(sandbox, store, make_sync, clock):
    return World(sandbox, store, make_sync(now=clock), clock)


def test_a_question_that_was_put_off_beyond_all_reason_is_due(world):
    """Our clock was far ahead, and has been put right."""
    world.pulled()
    world.refresh_after(20 * DAY)

    world.clock.now -= 10 * DAY

    assert world.sync.refresh_is_due()


def test_what_was_asked_for_by_a_clock_that_was_ahead_is_asked_for_again(world):
    (number,) = world.pulled()
    world.refresh_after(20 * DAY)
    world.clock.now -= 10 * DAY
    world.account.change("sent", number, **DELIVERED)

    world.go_on(10 * SECOND)

    assert world.status(number) == "delivered"


@pytest.mark.parametrize("ahead", [20 * MINUTE, 20 * HOUR])
def test_what_was_asked_for_by_a_clock_a_little_ahead_does_not_wait_for_it(world, ahead):
    # seed 1795695776 of tests.machine: a status stood still for the day that a clock had been ahead
    (number,) = world.pulled()
    world.refresh_after(ahead)
    world.clock.now -= ahead - 10 * SECOND
    world.account.change("sent", number, **DELIVERED)

    assert world.sync.refresh_is_due()
    world.sync.refresh()

    assert world.status(number) == "delivered"


def test_a_clock_that_is_far_ahead_ends_no_waiting(world):
    # seed 7004 of tests.machine: all that was open counted as silent for its last look
    (number,) = world.pulled()
    world.sandbox.clock = lambda: world.clock.now - 400 * DAY
    world.refresh_after(400 * DAY)

    assert world.pending() == [number]


def test_a_clock_that_was_far_behind_ends_no_waiting(world):
    # seed 5201 of tests.machine: by the right clock what was open counted as silent for a year
    (number,) = world.pulled()
    world.refresh_after(-400 * DAY)
    world.refresh_after(400 * DAY + MINUTE)
    world.account.change("sent", number, **DELIVERED)

    world.go_on(MINUTE)

    assert world.status(number) == "delivered"


# Every path of a status.

ON_PHONE = {"is_send_to_phone": 1, "send_to_phone": "2026-11-23 12:00:01.5"}
SENT = ON_PHONE | {"is_send": 1, "send": "2026-11-23 14:00:02"}
DELIVERED = SENT | {"is_delivered": 1, "delivered": "2026-11-23 14:00:05"}
FAILED = SENT | {"is_error": 1, "error_date": "2026-11-23 14:00:05"}
NEVER_SENT = ON_PHONE | {"is_error_send": 1, "error_date": "2026-11-23 14:00:05"}
CANCELLED = {"is_cancel": 1, "cancel": "2026-11-23 12:00:03"}


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([ON_PHONE, SENT, DELIVERED], ["on_phone", "sent", "delivered"]),
        ([DELIVERED], ["delivered"]),
        ([ON_PHONE, NEVER_SENT], ["on_phone", "failed"]),
        ([SENT, FAILED], ["sent", "failed"]),
        ([CANCELLED], ["cancelled"]),
        ([CANCELLED, CANCELLED | SENT, CANCELLED | DELIVERED], ["cancelled", "sent", "delivered"]),
        ([FAILED, FAILED | DELIVERED], ["failed", "delivered"]),
        ([FAILED | {"is_error_send": 1}], ["failed"]),
    ],
    ids=lambda steps: " ".join(steps) if isinstance(steps[0], str) else None,
)
def test_every_path_of_a_status_is_followed_with_its_times_and_told(world, steps, expected):
    (number,) = world.pulled()
    for flags in steps:
        world.account.change("sent", number, **flags)
        world.go_on(30 * MINUTE, MINUTE)

    was = ["accepted", *expected]
    assert world.told(number) == [
        ("message.accepted", None),
        *((f"message.{now}", {"was": then}) for then, now in zip(was, expected, strict=False)),
    ]
    named = steps[-1]
    times = world.rows(
        "select handed_at, sent_at, delivered_at, cancelled_at, failed_at from sent"
    )[0]
    names = ("send_to_phone", "send", "delivered", "cancel", "error_date")
    assert [at is not None for at in times] == [name in named for name in names]


@pytest.mark.parametrize("days", [0.01, 0.5, 2, 6.5])
def test_a_delivery_that_comes_days_later_is_seen_and_a_final_one_is_left_alone(world, days):
    (number,) = world.pulled()
    world.account.change("sent", number, **SENT)
    world.go_on(MINUTE)
    world.go_on(days * DAY, 10 * MINUTE)
    world.account.change("sent", number, **DELIVERED)

    world.go_on(6 * HOUR, 10 * MINUTE)

    assert world.status(number) == "delivered"
    world.sandbox.requests.clear()
    world.go_on(DAY, HOUR)
    assert world.lists() == []


def test_a_fresh_message_is_delivered_here_seconds_after_it_is_there(world):
    (number,) = world.pulled()
    world.go_on(20 * SECOND)
    world.account.change("sent", number, **DELIVERED)

    world.go_on(10 * SECOND)

    assert world.status(number) == "delivered"


def test_a_message_that_stays_sent_gets_a_last_look_and_then_costs_nothing(world):
    (number,) = world.pulled()
    world.account.change("sent", number, **SENT)
    world.go_on(8 * DAY, HOUR / 2)

    assert 50 < len(world.lists()) < 150
    assert world.rows("select count(*) from pending") == [(0,)]


def test_a_message_on_a_phone_is_stuck_and_not_failed(world):
    (number,) = world.pulled()
    world.account.change("sent", number, **ON_PHONE)

    world.go_on(3 * DAY, HOUR)

    assert world.status(number) == "on_phone"
    ((reason, last_active),) = world.rows(
        "select reason, device_last_active_at from stuck where id = ? and what = 'message'", number
    )
    assert reason
    assert last_active


def test_what_waits_at_a_phone_is_asked_for_when_the_phone_is_back(world):
    (number,) = world.pulled()
    device_id = min(world.account.devices)
    world.account.change_device(device_id, power=0)
    world.sync.devices()
    world.go_on(2 * DAY, HOUR)
    world.account.change("sent", number, **DELIVERED)
    world.account.change_device(device_id, power=1)
    world.clock.now += SECOND

    world.sync.devices()
    world.sync.refresh()

    assert world.status(number) == "delivered"


def test_history_is_asked_for_only_where_it_is_young(make_sync, sandbox, clock, rows):
    old, young, done = (
        sandbox.account.sent_elsewhere(PHONE, "text", at=clock.now - age, **flags)
        for age, flags in ((40 * DAY, SENT), (DAY, SENT), (DAY, DELIVERED))
    )
    sync = make_sync(now=clock)

    steps = sync.once()

    assert "refresh" not in [outcome.noted.kind for outcome in steps]
    assert rows("select message_id from pending") == [(young,)]
    assert lists(sandbox) == []  # they were read just now
    clock.now += DAY
    sync.refresh()
    assert lists(sandbox) == [[young]]
    assert {old, done} < set(sandbox.account.ids("sent"))


# However the service answers.


@pytest.mark.parametrize(
    "switches",
    [
        {},
        {"list_id_device": "right", "list_device": "required"},
        {"list_id_limit": 10, "list_id_over": "cut"},
        {"list_id_limit": 7, "list_id_over": "error"},
        {"cap": 5, "cap_keeps": "newest", "order": "mixed"},
        {"list_device": "empty"},
        {"filters": "or"},
        {"flags": "text", "numbers": "text", "code": "absent", "empty": "missing"},
    ],
    ids=str,
)
def test_all_statuses_come_however_lists_of_ids_are_answered(world, switches):
    ids = [i for device_id in sorted(world.account.devices) for i in world.pulled(60, device_id)]
    world.sandbox.set(**switches)
    for number in ids:
        world.account.change("sent", number, **DELIVERED)

    world.go_on(10 * MINUTE, MINUTE)

    assert {world.status(number) for number in ids} == {"delivered"}
    assert world.missing() == []
    assert max(len(asked) for asked in world.lists()) <= 50


def test_how_many_ids_a_list_may_hold_is_learnt_once(world):
    world.pulled(50)
    world.sandbox.set(list_id_limit=7, list_id_over="error")
    world.clock.now += MINUTE
    world.sync.refresh(requests=None)
    world.sandbox.requests.clear()

    world.clock.now += 10 * MINUTE
    world.sync.refresh(requests=None)

    assert {len(asked) for asked in world.lists()} == {6, 2}
    assert world.store.setting(refresh.LIST_SIZE) == "6"


def test_a_refusal_of_a_moment_does_not_make_lists_shorter_for_good(world):
    world.pulled(50)
    world.clock.now += MINUTE
    world.sandbox.requests.clear()
    world.sandbox.order_fault("api_error", method="outbox_sms")

    outcome = world.sync.refresh(requests=None)

    assert outcome.failure is None
    assert [len(asked) for asked in world.lists()] == [50, 50]
    assert world.store.setting(refresh.LIST_SIZE) is None


def test_one_pass_makes_few_requests_and_the_next_goes_on(world):
    for _ in range(8):
        world.pulled(50)
    world.clock.now += MINUTE
    world.sync.refresh()
    assert len(world.lists()) == 5

    world.sync.refresh()

    asked = [i for ids in world.lists() for i in ids]
    assert len(asked) == len(set(asked)) == 400


def test_a_sick_service_leaves_everything_due(world):
    (number,) = world.pulled()
    world.account.change("sent", number, **DELIVERED)
    world.sandbox.set(fault="http_500", fault_methods="outbox_sms")
    world.clock.now += MINUTE

    outcome = world.sync.refresh()
    world.sandbox.set(fault="none")

    assert isinstance(outcome.failure, Unreadable)
    assert world.sync.refresh_is_due()
    world.sync.refresh()
    assert world.status(number) == "delivered"


def test_a_refusal_is_told_and_proves_nothing(world):
    world.pulled(3)
    world.sandbox.set(token_refused="yes")
    for _ in range(12):
        world.clock.now += HOUR
        outcome = world.sync.refresh()
        assert isinstance(outcome.failure, Refused)

    world.sandbox.set(token_refused="no")
    world.go_on(HOUR, MINUTE)

    assert world.rows("select sum(absences), count(*) from pending") == [(0, 3)]


def test_a_device_that_refuses_does_not_stop_the_others(world):
    first, second, _ = sorted(world.account.devices)
    (lost,), (number,) = world.pulled(device_id=first), world.pulled(device_id=second)
    world.account.change("sent", number, **DELIVERED)
    del world.account.devices[first]
    world.clock.now += MINUTE

    world.sync.refresh()

    assert world.status(number) == "delivered"
    assert world.status(lost) == "accepted"


def test_a_service_that_asks_for_a_pause_is_asked_nothing_more_and_the_rest_stays_due(world):
    first, second, _ = world.devices
    (at_first,), (at_second,) = world.pulled(device_id=first), world.pulled(device_id=second)
    world.clock.now += MINUTE
    world.sandbox.requests.clear()
    world.sandbox.order_fault("http_429", method="outbox_sms")

    outcome = world.sync.refresh()

    assert isinstance(outcome.failure, Throttled)
    (asked,) = world.lists()
    assert world.rows(
        "select message_id from pending where due_at <= ?", utc_text(world.clock.now)
    ) == [(({at_first, at_second} - set(asked)).pop(),)]


def test_what_is_roused_within_the_second_in_which_it_was_asked_for_is_due(world):
    (number,) = world.pulled()
    world.refresh_after(MINUTE)
    world.account.change("sent", number, **DELIVERED)

    Pending(world.store).rouse(world.devices, world.clock.now)
    world.refresh_after(SECOND)

    assert world.status(number) == "delivered"


# What vanishes, and what only seems to.


@pytest.mark.parametrize(
    "switches",
    [{}, {"list_id_device": "right", "list_device": "required"}, {"start_id": "exclusive"}],
    ids=str,
)
def test_a_vanished_message_is_marked_after_hours_and_never_deleted(world, switches):
    number, *others = world.pulled(3)
    world.sandbox.set(**switches)
    world.account.remove("sent", [number])

    world.go_on(5 * HOUR, 5 * MINUTE)
    assert world.missing() == []
    world.go_on(5 * HOUR, 5 * MINUTE)

    assert world.rows("select id, status from sent where missing_since is not null") == [
        (number, "accepted")
    ]
    assert world.told(number)[-1] == ("message.missing", None)
    assert world.rows("select message_id from pending order by 1") == [(i,) for i in others]


def test_whichever_question_is_answered_by_the_wish_for_a_pause_nothing_is_missing_by_that(world):
    (number,) = world.pulled()
    world.account.remove("sent", [number])
    for nth in range(1, 20):
        world.clock.now += 7 * HOUR
        world.write("update pending set absences = 9, absent_since = asked_at, due_at = asked_at")
        world.sandbox.requests.clear()
        world.sandbox.order_fault("http_429", nth=nth)
        failure = world.sync.refresh().failure
        if len(world.sandbox.requests) < nth:  # none was left to be answered so
            break
        assert isinstance(failure, Throttled)
        assert world.missing() == []
        world.sandbox.forget_orders()

    assert nth > 5
    assert world.missing() == [number]


def test_a_message_that_comes_back_is_no_longer_missing(world):
    (number,) = world.pulled()
    Pending(world.store).miss([number], NOW)

    world.sync.box(Box.SENT)

    assert world.rows("select missing_since from sent") == [(None,)]
    assert [kind for kind, _ in world.told(number)][-2:] == ["message.missing", "message.returned"]
    assert world.rows("select message_id from pending") == [(number,)]


def test_a_message_moved_to_another_device_is_found_there(world):
    world.sandbox.set(list_id_device="right", list_device="required")
    (number,) = world.pulled()
    other = max(world.account.devices)
    world.account.change("sent", number, id_device=other, **DELIVERED)

    world.go_on(10 * HOUR, 5 * MINUTE)

    assert world.rows("select device_id, status, missing_since from sent") == [
        (other, "delivered", None)
    ]


def test_a_message_that_only_a_range_shows_is_not_missing(world, monkeypatch):
    (number,) = world.pulled()
    sent = world.sync._client.sent

    def shows_no_list(which, device_id):
        return sent(Ids((10**9,)) if isinstance(which, Ids) else which, device_id)

    monkeypatch.setattr(world.sync._client, "sent", shows_no_list)
    world.go_on(10 * HOUR, 5 * MINUTE)

    assert world.rows("select max(absences) >= 4 from pending") == [(1,)]
    assert world.missing() == []
    assert world.pending() == [number]


def test_thousands_that_vanish_at_once_are_looked_into_a_few_at_a_time(world):
    ids = world.pulled(40)
    world.account.remove("sent", ids)
    for _ in range(100):
        world.clock.now += 10 * MINUTE
        world.sandbox.requests.clear()
        world.sync.refresh()
        assert len(world.sandbox.requests) <= 25

    assert world.rows("select count(*) from sent where missing_since is not null") == [(40,)]


def test_what_was_purged_is_not_asked_for(world):
    (number,) = world.pulled()
    with world.store.transaction() as conn:
        conn.execute("update sent set purged_at = '2026-11-23T09:00:00.000000Z'")
    world.account.remove("sent", [number])
    world.clock.now += MINUTE

    world.sync.refresh()

    assert world.lists() == []
    assert world.rows("select * from pending") == []


# Drafts.


def test_a_draft_follows_its_message_before_any_look_has_shown_that(world):
    number = world.account.sent_elsewhere(PHONE, "Hello", **DELIVERED)
    now = "updated_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')"
    with world.store.transaction() as conn:
        conn.execute("insert into outbox (phone, text) values (?, 'Hello')", (PHONE,))
        conn.execute(f"update outbox set contact = phone, {now}")
        conn.execute(f"update outbox set status = 'sending', attempts = 1, {now}")
        conn.execute(f"update outbox set status = 'accepted', sent_id = {number}, {now}")
    world.clock.now = datetime.now(UTC)

    assert world.sync.refresh_is_due()
    world.sync.refresh()

    assert world.rows("select status, sent_id from outbox") == [("delivered", number)]
    assert world.told(number)[-1] == ("message.delivered", None)


def test_a_row_without_change_writes_nothing_but_when_it_was_asked_for(world):
    (number,) = world.pulled()
    world.clock.now += MINUTE
    before = world.rows("select changed_at, mirrored_at from sent")

    outcome = world.sync.refresh()

    assert (outcome.noted.added, outcome.noted.changed) == (0, 0)
    assert world.rows("select changed_at, mirrored_at from sent") == before
    assert world.rows("select message_id, asked_at from pending") == [
        (number, "2026-11-23T09:01:00.000000Z")
    ]
