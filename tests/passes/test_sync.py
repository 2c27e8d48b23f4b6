"""Passes one after the other: what a box is asked for, and twenty devices that keep up."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from semysync.errors import Unreadable
from semysync.model import Box
from semysync.passes.pull import Puller
from semysync.passes.sync import Sync
from semysync.passes.turns import Turns
from semysync.sandbox import Sandbox
from semysync.service.client import Client
from semysync.service.pace import Pace

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
PHONE = "+79201234567"
FIRST_LOAD = 15 * MINUTE  #: what it takes, and what it leaves undone for a while


class Clock:
    """Simulated time, for the mirror, the service and the pace alike."""

    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now

    def monotonic(self):
        return (self.now - NOW).total_seconds()

    def pass_by(self, seconds):
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def sandbox():
    with Sandbox(messages=120, devices=3) as stand_in:
        yield stand_in


@pytest.fixture
def auto(make_sync, clock):
    """The passes with the default scope, in simulated time."""
    return make_sync(scope="auto", now=clock)


def once(sync, clock, seconds=10):
    """Take every step, some seconds after the last time; return the pass of the inbox."""
    clock.pass_by(seconds)
    outcomes = sync.once()
    assert not any(outcome.noted.error for outcome in outcomes)
    return outcomes[1]


def asked_for(sandbox, method="inbox_sms"):
    """The devices that were asked for since the last time, each once; None: the whole account."""
    devices = [call.params.get("device") for call in sandbox.requests if call.method == method]
    sandbox.requests.clear()
    return [device and int(device) for device in dict.fromkeys(devices)]


def assert_equal(sandbox, rows):
    for box in Box:
        assert [row[0] for row in rows(f"select id from {box} order by id")] == sandbox.account.ids(
            box
        )


def test_the_account_is_asked_as_a_whole_once_a_probe_has_shown_that_this_is_the_same(
    auto, sandbox, clock
):
    devices = sorted(sandbox.account.devices)
    once(auto, clock)
    first = asked_for(sandbox)
    once(auto, clock)
    second = asked_for(sandbox)

    once(auto, clock)

    assert set(first) == set(devices)
    assert second == [*devices, None]
    assert set(asked_for(sandbox)) == {None}


@pytest.mark.parametrize(
    "switches",
    [
        {},
        {"order": "mixed", "start_id": "exclusive", "end_id": "exclusive"},
        {"cap": 7, "cap_keeps": "oldest"},
        {"cap": 7, "cap_keeps": "newest"},
        {"end_id": "ignored", "cap": 30, "cap_keeps": "newest"},
        {"empty": "missing", "code": "absent", "data": "object"},
    ],
    ids=str,
)
def test_nothing_is_lost_on_the_way_to_the_whole_account(auto, sandbox, rows, clock, switches):
    """Messages come all the time, and of those that come first some are shown last."""
    sandbox.set(**switches)
    devices = sorted(sandbox.account.devices)
    hidden = []
    for number in range(5):
        late = sandbox.account.receive(PHONE, "late", devices[number % 3], hidden=True)
        for device in devices:
            sandbox.account.receive(PHONE, "new", device)
            sandbox.account.sent_elsewhere(PHONE, "gone", device)
        once(auto, clock)
        hidden.append(late)
        if len(hidden) > 2:
            sandbox.account.reveal("inbox", hidden.pop(0))
    for late in hidden:
        sandbox.account.reveal("inbox", late)
    asked_for(sandbox)

    once(auto, clock)

    assert_equal(sandbox, rows)
    assert None in asked_for(sandbox)


@pytest.mark.parametrize("list_device", ["required", "empty", "partial"])
def test_a_service_that_wants_a_device_is_asked_by_device(auto, sandbox, rows, clock, list_device):
    sandbox.set(list_device=list_device)
    for _ in range(3):
        once(auto, clock)
    asked_for(sandbox)

    for device in sorted(sandbox.account.devices):
        sandbox.account.receive(PHONE, "new", device)
    once(auto, clock)

    assert asked_for(sandbox) == sorted(sandbox.account.devices)
    assert_equal(sandbox, rows)


@pytest.mark.parametrize("list_device", ["required", "empty"])
def test_a_service_that_begins_to_want_a_device_gets_it_in_the_next_pass(
    auto, sandbox, rows, clock, list_device
):
    for _ in range(3):
        once(auto, clock)
    sandbox.set(list_device=list_device)
    clock.pass_by(10)
    auto.once()
    for device in sorted(sandbox.account.devices):
        sandbox.account.receive(PHONE, "new", device)

    once(auto, clock)

    assert_equal(sandbox, rows)


def test_what_a_service_begins_to_hide_is_found_by_the_next_probe(auto, sandbox, rows, clock):
    for _ in range(3):
        once(auto, clock)
    sandbox.set(list_device="partial")
    for device in sorted(sandbox.account.devices):
        sandbox.account.receive(PHONE, "new", device)
    once(auto, clock)
    missing = len(sandbox.account.ids("inbox")) - rows("select count(*) from inbox")[0][0]

    once(auto, clock, seconds=6 * 3600)
    asked_for(sandbox)
    once(auto, clock)

    assert missing > 0
    assert_equal(sandbox, rows)
    assert asked_for(sandbox) == sorted(sandbox.account.devices)


def test_a_device_that_comes_is_loaded_by_itself_and_then_stands_with_the_others(
    auto, sandbox, rows, clock
):
    """Its history was moved here from elsewhere: among the messages that were read long ago."""
    for _ in range(3):
        once(auto, clock)
    known = sandbox.account.ids("inbox")
    moved = next(number for number in range(known[5], known[-1]) if number not in known)
    new = sandbox.account.add_device(name="Moved")
    sandbox.account.reuse_ids("inbox", [moved])
    sandbox.account.receive(PHONE, "from another account", new)
    asked_for(sandbox)

    once(auto, clock, seconds=301)
    first = asked_for(sandbox)
    once(auto, clock)
    asked_for(sandbox)
    once(auto, clock)

    assert first[0] is None
    assert set(first) == {None, new}
    assert_equal(sandbox, rows)
    assert asked_for(sandbox) == [None]
    assert rows("select loaded_at is not null from marks where device_id = ?", new) == [(1,)] * 2


def test_a_device_without_messages_is_asked_beside_the_whole(auto, sandbox, rows, clock):
    new = sandbox.account.add_device(name="Fresh")
    for _ in range(3):
        once(auto, clock)
    asked_for(sandbox)

    once(auto, clock)

    assert asked_for(sandbox) == [None, new]


def test_going_over_to_the_whole_account_reads_no_history_again(store, clock):
    sizes = []

    class Watching(Client):
        def messages(self, box, which, device_id=None):
            answer = super().messages(box, which, device_id)
            sizes.append((device_id, answer.size))
            return answer

    with (
        Sandbox(messages=6500, devices=2, clock=clock) as sandbox,
        Watching(sandbox.token, base_url=sandbox.base_url) as client,
    ):
        sync = Sync(client, store, Puller(account=client, mirror=store, now=clock))
        for _ in range(12):
            once(sync, clock, seconds=120)
        whole = [size for device_id, size in sizes if device_id is None]

    assert len(whole) >= 20
    assert max(whole) < 2100  # of 2900 and more: what the devices look back over at most


def test_before_a_probe_every_device_looks_back_over_more_than_a_thousand_messages(
    make_sync, sandbox, rows, clock
):
    """A message becomes visible below the thousandth newest, when its device is to be left off."""
    device = min(sandbox.account.devices)
    sync = make_sync(scope="device", now=clock)
    for _ in range(3):
        once(sync, clock, seconds=601)
    late = sandbox.account.receive(PHONE, "late", device, hidden=True)
    for number in range(1100):
        sandbox.account.receive(PHONE, f"new {number}", device)
    once(sync, clock)
    sandbox.account.reveal("inbox", late)
    once(sync, clock)
    before = rows("select count(*) from inbox where id = ?", late)

    once(make_sync(scope="auto", now=clock), clock)

    assert before == [(0,)]
    assert_equal(sandbox, rows)


def test_a_pull_that_breaks_off_leaves_the_way_to_the_whole_account_open(
    auto, sandbox, rows, clock
):
    """The probe is not made where a device could not be read, and not again at once."""
    once(auto, clock)
    sandbox.set(fault="http_500", fault_methods="inbox_sms", fault_times=1)
    clock.pass_by(10)
    auto.once()
    asked_for(sandbox)

    once(auto, clock)
    soon = asked_for(sandbox)
    once(auto, clock, seconds=301)
    asked_for(sandbox)
    once(auto, clock)

    assert None not in soon
    assert asked_for(sandbox) == [None]


def test_a_probe_that_gets_no_answer_concludes_nothing_and_is_no_failure(auto, sandbox, clock):
    once(auto, clock)
    devices = sorted(sandbox.account.devices)
    # Before the probe each device is asked three times: to see that no answer was cut.
    sandbox.order_fault("http_500", method="inbox_sms", nth=3 * len(devices) + 1)
    asked_for(sandbox)

    once(auto, clock)
    failed = asked_for(sandbox)
    once(auto, clock)

    assert failed == [*devices, None]
    assert set(asked_for(sandbox)) == set(devices)  # as before


def test_a_look_at_all_fails_where_it_cannot_be_seen_what_the_account_hides(make_sync, sandbox):
    sync = make_sync(scope="account")
    sync.once()
    sandbox.order_fault("http_500", method="outbox_sms", nth=2)

    outcome = sync.box(Box.SENT, everyone=True)

    assert isinstance(outcome.failure, Unreadable)
    assert sync.box(Box.SENT, everyone=True).failure is None


def test_a_standing_that_makes_no_sense_is_as_good_as_none(auto, sandbox, store, rows, clock):
    for _ in range(2):
        once(auto, clock)
    store.set_setting("scope_inbox", '{"shown": "all"}')
    asked_for(sandbox)

    once(auto, clock)

    assert set(asked_for(sandbox)) == {None, *sandbox.account.devices}


def test_an_island_of_a_pull_that_was_cut_off_is_not_taken_for_all(sandbox, make_sync, rows, clock):
    """Twenty new messages, of which an answer holds the newest seven; the next question fails."""
    sandbox.set(cap=7, cap_keeps="newest")
    sync = make_sync(now=clock)
    device = min(sandbox.account.devices)
    for _ in range(4):  # the look back ends, so that the next pull starts at the mark
        once(sync, clock, seconds=700)
    new = [sandbox.account.receive(PHONE, f"new {n}", device) for n in range(20)]
    ask, asked = sync._client.messages, []

    def failing(box, which, device_id):
        asked.append(which)
        if len(asked) == 2:
            sandbox.set(fault="http_500", fault_times=1)
        return ask(box, which, device_id)

    sync._client.messages = failing
    clock.pass_by(10)
    failed = sync.box(Box.INBOX)
    held = {row[0] for row in rows("select id from inbox")}
    once(sync, clock)

    assert "HTTP 500" in failed.noted.error
    assert held & set(new) == set(new[-7:])
    assert_equal(sandbox, rows)


INTERVALS = {"devices": 60, Box.INBOX: 10, Box.SENT: 20}


LASTS = 25 * MINUTE


class Passes:
    """Some of a daemon's passes in simulated time, with a message every so often."""

    def __init__(self, sandbox, client, store, clock, scope):
        self.sandbox, self.client, self.store, self.clock = sandbox, client, store, clock
        self.arrived = {}
        self.passes = []
        puller = Puller(account=client, mirror=store, now=clock)
        self.sync = Sync(client, store, puller, scope=scope, turns=Turns(60))

    def run(self, *, message_every_s):
        """Let a message arrive at some live device every so often, till two minutes before the end."""
        live = [device.id for device in self.sandbox.account.devices.values() if device.is_ready]
        chance = Random(7)
        message_at = began = self.clock.now
        next_at = dict.fromkeys(INTERVALS, began)
        while (kind := min(next_at, key=next_at.get)) and self.clock.now < began + LASTS:
            while message_at <= next_at[kind] and message_at < began + LASTS - 2 * MINUTE:
                self.clock.now = max(self.clock.now, message_at)
                number = self.sandbox.account.receive(PHONE, "new", chance.choice(live))
                self.arrived[number] = self.clock.now
                message_at += chance.uniform(0, 2 * message_every_s) * SECOND
            self.clock.now = max(self.clock.now, next_at[kind])
            self._pass(kind)
            interval = INTERVALS[kind] * SECOND
            next_at[kind] += ((self.clock.now - next_at[kind]) // interval + 1) * interval
        return self

    def _pass(self, kind):
        began = self.clock.now
        outcome = self.sync.devices() if kind == "devices" else self.sync.box(kind)
        assert outcome.noted.error is None
        self.passes.append((kind, began, outcome.noted.requests))

    def lateness(self, *, after):
        """How many seconds after its arrival each message came into the mirror."""
        mirrored = dict(self.store._db.execute("select id, mirrored_at from inbox").fetchall())
        return [
            (datetime.fromisoformat(mirrored[number]) - at).total_seconds()
            for number, at in self.arrived.items()
            if at > NOW + after
        ]

    def asked_in_minutes(self, *, after):
        """How many questions the passes of each whole minute asked."""
        asked = Counter()
        for _, began, requests in self.passes:
            asked[(began - NOW) // MINUTE] += requests
        return [
            count for minute, count in asked.items() if after // MINUTE < minute < LASTS // MINUTE
        ]


@pytest.fixture
def make_passes(store, clock):
    """Make passes over an account of twenty devices, four of them archived."""
    with Sandbox(messages=400, devices=20, clock=clock) as sandbox:
        pace = Pace(60, clock=clock.monotonic, wait=clock.pass_by)
        with Client(sandbox.token, base_url=sandbox.base_url, pace=pace) as client:
            yield lambda scope: Passes(sandbox, client, store, clock, scope)


def test_twenty_devices_keep_up_where_each_is_asked_by_itself(make_passes):
    passes = make_passes("device").run(message_every_s=20)

    assert len(passes.arrived) > 50
    assert max(passes.lateness(after=FIRST_LOAD)) <= 60
    assert max(passes.asked_in_minutes(after=FIRST_LOAD)) <= 60
    assert min(passes.asked_in_minutes(after=FIRST_LOAD)) > 40  # the allowance is made use of
    assert passes.client.requests <= 60 + 60 * (LASTS // MINUTE)


def test_twenty_devices_are_one_question_a_box_where_the_account_answers_as_a_whole(make_passes):
    passes = make_passes("auto").run(message_every_s=20)

    inbox = [
        requests
        for kind, began, requests in passes.passes
        if kind is Box.INBOX and began > NOW + FIRST_LOAD
    ]
    assert max(passes.lateness(after=FIRST_LOAD)) <= 10
    assert max(passes.asked_in_minutes(after=FIRST_LOAD)) <= 15
    assert max(inbox) <= 2
    assert inbox.count(1) / len(inbox) > 0.9
