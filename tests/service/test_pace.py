"""How many questions go out in a minute, who goes first, and what a pause means."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semysync.errors import Throttled
from semysync.model import Outgoing
from semysync.service.client import Client
from semysync.service.pace import DUST, LEFT_ALONE_S, Pace, Stopped
from semysync.service.questions import Range


class Clock:
    """Simulated seconds: waiting lets them pass."""

    def __init__(self):
        self.now = 1000.0
        self.waits = []

    def __call__(self):
        return self.now

    def wait(self, seconds):
        self.waits.append(seconds)
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


def paced(per_minute, clock):
    return Pace(per_minute, clock=clock, wait=clock.wait)


def taken(pace, clock, count, **how):
    """Take so many turns in a row; return when each came."""
    times = []
    for _ in range(count):
        pace.take("devices", **how)
        times.append(clock.now)
    return times


@given(
    st.integers(1, 100), st.lists(st.sampled_from([0, 0, 0, 0.1, 3, 59, 61, 500.5]), max_size=150)
)
def test_no_span_of_time_sees_more_turns_than_a_minute_s_worth_and_its_own_share(per_minute, rests):
    clock = Clock()
    pace = paced(per_minute, clock)
    times = []
    for rest in rests:
        clock.now += rest
        times += taken(pace, clock, 1)

    for first, start in enumerate(times):
        for last, end in enumerate(times[first:], first):
            share = per_minute + (end - start) * per_minute / 60
            assert last - first + 1 <= share + 2 * DUST * len(times)


@given(st.integers(1, 100), st.integers(0, 300))
def test_turns_come_as_soon_as_the_pace_allows(per_minute, count):
    clock = Clock()

    times = taken(paced(per_minute, clock), clock, per_minute + count)

    assert times[per_minute - 1] == 1000
    assert clock.now == pytest.approx(1000 + count * 60 / per_minute)


def test_without_a_limit_nobody_waits(clock):
    taken(paced(None, clock), clock, 1000)

    assert clock.waits == []


def test_a_pace_of_no_questions_is_refused():
    with pytest.raises(ValueError, match="per_minute must be at least 1, got 0"):
        Pace(0)


def test_what_is_urgent_goes_at_once_and_the_others_wait_the_longer(clock):
    pace = paced(60, clock)
    taken(pace, clock, 60)

    urgent = taken(pace, clock, 5, urgent=True)
    (ordinary,) = taken(pace, clock, 1)

    assert urgent == [1000] * 5
    assert ordinary == pytest.approx(1006)


def test_urgent_questions_do_not_go_beyond_a_minute_s_worth(clock):
    pace = paced(60, clock)
    taken(pace, clock, 60)

    times = taken(pace, clock, 62, urgent=True)

    assert times[59] == 1000
    assert times[60:] == pytest.approx([1002, 1004])


def test_however_much_is_urgent_others_have_their_turn(clock):
    pace = paced(60, clock)
    taken(pace, clock, 60)
    taken(pace, clock, 60, urgent=True)
    asked = []

    while (
        clock.now < 1300
    ):  # a hint each second, for five minutes, and now one, now the other first
        clock.now += 1
        order = (True, False) if clock.now % 2 else (False, True)
        asked += [u for u in order if pace._until_turn("inbox_sms", urgent=u) == 0]

    assert asked.count(False) > 60  # from when the minute's worth is paid back
    assert asked.count(True) > 100


@pytest.mark.parametrize("how", [{}, {"urgent": True}])
def test_nothing_is_asked_before_a_pause_is_over(clock, how):
    pace = paced(60, clock)
    pace.pause(30)
    pace.pause(10)

    clock.now += 29
    with pytest.raises(Throttled, match="a pause of 1 s more") as caught:
        pace.take("inbox_sms", **how)
    clock.now += 1
    pace.take("inbox_sms", **how)

    assert caught.value.retry_after_s == 1
    assert clock.waits == []


def test_a_pause_of_days_is_not_believed(clock):
    pace = paced(60, clock)
    pace.pause(999_999)

    clock.now += LEFT_ALONE_S

    pace.take("inbox_sms")


def test_stopping_ends_a_wait_for_a_turn():
    pace = Pace(1)
    pace.take("devices")
    ended = []

    def wait_for_a_turn():
        try:
            pace.take("devices")
        except Stopped:
            ended.append(True)

    waiting = threading.Thread(target=wait_for_a_turn)
    waiting.start()
    pace.stop()
    waiting.join(timeout=30)

    assert ended == [True]


def test_two_threads_never_take_the_same_turn():
    clock = Clock()
    pace = paced(50, clock)
    taken_by = []

    def take():
        for _ in range(25):
            pace.take("devices")
            taken_by.append(threading.get_ident())

    threads = [threading.Thread(target=take) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(taken_by) == 50
    assert clock.waits == []
    pace.take("devices")
    assert len(clock.waits) == 1


def test_questions_of_all_clients_of_a_pace_take_turns_and_sending_does_not(sandbox, clock):
    pace = paced(4, clock)
    options = {"base_url": sandbox.base_url, "pace": pace}
    with Client(sandbox.token, **options) as one, Client(sandbox.token, **options) as other:
        one.user()
        one.devices(archived=False)
        other.inbox(Range(1))
        other.sent(Range(1))
        accepted = one.send(Outgoing(device="active", phone="+79201234567", text="Ready"))
        one.cancel(accepted.id)
        waits_so_far = list(clock.waits)
        one.user()

    assert waits_so_far == []
    assert sum(clock.waits) == pytest.approx(15)


def test_a_client_that_is_urgent_does_not_wait(sandbox, clock):
    pace = paced(1, clock)
    with Client(sandbox.token, base_url=sandbox.base_url, pace=pace, urgent=True) as client:
        client.user()
        client.user()

    assert clock.waits == []


def test_the_service_s_wish_for_a_pause_is_heeded(sandbox, clock):
    sandbox.set(fault="http_429", retry_after=40, fault_times=1)
    with Client(sandbox.token, base_url=sandbox.base_url, pace=paced(60, clock)) as client:
        with pytest.raises(Throttled, match="HTTP 429"):
            client.user()
        clock.now += 39
        with pytest.raises(Throttled, match="not asked"):
            client.inbox(Range(1))
        asked_meanwhile = len(sandbox.requests)
        clock.now += 1
        client.user()

    assert asked_meanwhile == 1
    assert client.requests == 2


def test_a_pause_of_unknown_length_keeps_nobody_from_asking(sandbox, clock):
    sandbox.set(fault="http_429", fault_times=1)
    with Client(sandbox.token, base_url=sandbox.base_url, pace=paced(60, clock)) as client:
        with pytest.raises(Throttled):
            client.user()

        client.user()


def test_a_client_that_was_stopped_asks_nothing(sandbox):
    pace = Pace()
    with Client(sandbox.token, base_url=sandbox.base_url, pace=pace) as client:
        pace.stop()

        with pytest.raises(Stopped):
            client.user()

    assert sandbox.requests == []
