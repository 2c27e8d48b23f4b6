"""Where pulls start, how they go on after trouble, and what they cost."""

import json
from datetime import UTC, date, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semysync.errors import Refused, TooLarge, Unbounded, Unreachable, Unreadable
from semysync.mirror.tables.marks import Mark
from semysync.model import Box, Received
from semysync.passes.pull import Progress, Puller, first_loaded, looked, start_of
from semysync.sandbox import Sandbox
from semysync.service.client import Client
from semysync.service.questions import Dates, Range
from semysync.times import utc_text

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
LOOKBACK = timedelta(seconds=600)


@given(st.lists(st.tuples(st.integers(1, 400), st.integers(0, 30)), min_size=1, max_size=60))
def test_every_pull_looks_back_to_what_was_the_newest_row_a_lookback_ago(steps):
    """Pulls come at any distance; each may bring rows. No thousandth row limits them here."""
    mark = first_loaded(Mark(last_id=100), 0, NOW)
    now = NOW
    known = [(now, 100)]  # when which id was the newest known
    far_looks = [now]
    for seconds, new_rows in steps:
        now += timedelta(seconds=seconds)

        start, far = start_of(mark, 0, now=now, lookback=LOOKBACK)

        a_lookback_ago = [top for at, top in known if at <= now - LOOKBACK]
        assert start <= (a_lookback_ago[-1] if a_lookback_ago else 100)
        assert start <= mark.last_id
        if far:
            far_looks.append(now)
        assert now - far_looks[-1] < LOOKBACK
        mark = msgspec.structs.replace(mark, last_id=mark.last_id + new_rows)
        mark = looked(mark, now, looks_back_far=far)
        known.append((now, mark.last_id))


@given(st.integers(0, 2000), st.integers(0, 599))
def test_only_one_pull_in_each_lookback_looks_back_over_more_than_a_thousand_rows(back, age):
    mark = Mark(
        last_id=5000, lookback_id=5000 - back, lookback_at=utc_text(NOW), loaded_at=utc_text(NOW)
    )

    start, far = start_of(mark, 4000, now=NOW + timedelta(seconds=age), lookback=LOOKBACK)
    far_start, due = start_of(mark, 4000, now=NOW + LOOKBACK, lookback=LOOKBACK)

    assert (start, far) == (max(4000, 5000 - back), False)
    assert (far_start, due) == (5000 - back, True)


def test_a_clock_that_goes_back_does_not_stop_the_looks_back():
    mark = Mark(last_id=9, lookback_id=3, lookback_at=utc_text(NOW), loaded_at=utc_text(NOW))

    assert start_of(mark, 5, now=NOW - timedelta(days=365), lookback=LOOKBACK) == (3, True)


def test_a_first_load_goes_on_at_its_mark():
    assert start_of(Mark(last_id=70), 60, now=NOW, lookback=LOOKBACK) == (70, False)


def test_a_quiet_pull_asks_each_box_and_device_once(sandbox, make_sync):
    clock = {"now": NOW}
    sync = make_sync(now=lambda: clock["now"])
    sync.once()
    for _ in range(3):  # what was loaded becomes old, and the look back over it ends
        clock["now"] += timedelta(minutes=11)
        sync.once()

    clock["now"] += timedelta(seconds=10)
    _, inbox, sent, _ = sync.once()

    assert (inbox.noted.requests, sent.noted.requests) == (3, 3)


def test_a_quiet_pull_writes_no_message(sandbox, make_sync, store):
    sync = make_sync()
    sync.once()

    _, inbox, sent, _ = sync.once()

    assert (inbox.noted.added, inbox.noted.changed) == (0, 0)
    assert (sent.noted.added, sent.noted.changed) == (0, 0)


def test_a_change_within_the_look_back_is_seen(sandbox, make_sync, rows):
    sync = make_sync()
    sync.once()
    newest = max(sandbox.account.ids("sent"))
    sandbox.account.change("sent", newest, is_error_send=1, error_date="2026-11-23 10:00:00")

    _, _, sent, _ = sync.once()

    assert sent.noted.changed == 1
    assert rows("select is_error_send from sent where id = ?", newest) == [(1,)]


@pytest.mark.parametrize("switches", [{}, {"cap": 10}, {"cap": 10, "cap_keeps": "newest"}])
def test_history_none_mirrors_what_comes_from_now_on(sandbox, make_sync, rows, switches):
    sandbox.set(**switches)
    sync = make_sync(history="none", by_device=False)
    sync.once()
    before = {row[0] for row in rows("select id from inbox")}
    new = [sandbox.account.receive("+79201234567", f"new {n}") for n in range(25)]

    sync.once()

    after = {row[0] for row in rows("select id from inbox")}
    assert after - before == set(new)
    assert len(before) <= 40  # those of the last days, where a cap hid the newest


def test_history_none_of_an_account_that_rested_for_years_begins_at_its_newest(
    tmp_path, make_sync, rows, sandbox
):
    years_on = datetime.now(UTC) + timedelta(days=1500)
    sync = make_sync(history="none", now=lambda: years_on, by_device=False)

    sync.once()

    assert rows("select floor_id from marks where box = 'inbox'") == [
        (max(sandbox.account.ids("inbox")),)
    ]


@pytest.mark.parametrize(
    "switches",
    [{}, {"cap": 10}, {"cap": 10, "cap_keeps": "newest"}, {"phone_skew_s": -400_000}],
)
def test_history_from_a_date_mirrors_every_message_of_it_and_few_others(
    sandbox, make_sync, rows, switches
):
    sandbox.set(**switches)
    dates = sorted(row["date"] for row in sandbox.account.rows("inbox"))
    since = datetime.fromisoformat(dates[len(dates) // 2]).date()

    outcomes = make_sync(history=since, by_device=False).once()

    assert [outcome.noted.error for outcome in outcomes] == [None] * 4
    for box in Box:
        wanted = {r["id"] for r in sandbox.account.rows(box) if r["date"] >= str(since)}
        mirrored = {row[0] for row in rows(f"select id from {box}")}
        assert mirrored >= wanted
    before = str(since - timedelta(days=10))
    assert rows("select count(*) from sent where created_at < ?", before) == [(0,)]


def test_history_from_a_date_begins_at_the_lowest_id_of_a_later_date(sandbox, make_sync, rows):
    sandbox.set(date_filter_clock="printed")
    ids = sandbox.account.ids("inbox")
    newest = sandbox.account.row("inbox", ids[-1])["date"]
    sandbox.account.change("inbox", ids[3], date=newest)

    make_sync(history=date.fromisoformat(newest[:10]), by_device=False).once()

    assert rows("select min(id) from inbox") == [(ids[3],)]


def test_history_none_begins_nowhere_until_the_newest_message_is_known(sandbox, make_sync, rows):
    sandbox.order_fault("http_500", method="inbox_sms")
    sync = make_sync(history="none", by_device=False)

    failed = sync.once()[1]

    assert isinstance(failed.failure, Unreadable)
    assert rows("select count(*) from inbox") == [(0,)]
    sync.once()
    assert rows("select floor_id from marks where box = 'inbox'") == [
        (max(sandbox.account.ids("inbox")),)
    ]


@pytest.mark.parametrize("since", [date(2001, 1, 1), date.min])
def test_history_from_before_the_first_message_is_all_of_it(sandbox, make_sync, rows, since):
    make_sync(history=since).once()

    assert rows("select count(*) from inbox") == [(len(list(sandbox.account.ids("inbox"))),)]


def test_an_answer_that_is_too_large_is_asked_for_in_smaller_windows(
    sandbox, client, make_sync, rows
):
    client._largest_answer = 4000

    outcomes = make_sync().once()

    assert [outcome.noted.error for outcome in outcomes] == [None] * 4
    for box in Box:
        ids = [row[0] for row in rows(f"select id from {box} order by id")]
        assert ids == sorted(sandbox.account.ids(box))


@pytest.mark.parametrize("end_id", ["inclusive", "ignored"])
def test_large_answers_are_got_through_also_where_the_end_is_ignored(
    sandbox, client, make_sync, rows, end_id
):
    sandbox.set(end_id=end_id)
    client._largest_answer = 8000

    outcomes = make_sync().once()

    assert [outcome.noted.error for outcome in outcomes] == [None] * 4
    ids = [row[0] for row in rows("select id from sent order by id")]
    assert ids == sorted(sandbox.account.ids("sent"))


@pytest.mark.parametrize("fault", ["cut", "html", "empty", "http_500", "drop", "truncated"])
def test_a_first_load_gets_over_a_few_bad_answers(sandbox, make_sync, rows, fault):
    sandbox.set(fault=fault, fault_times=2, fault_methods="inbox_sms", cap=20)

    _, inbox, *_ = make_sync(by_device=False).once()

    assert inbox.noted.error is None
    ids = [row[0] for row in rows("select id from inbox order by id")]
    assert ids == sorted(sandbox.account.ids("inbox"))


def test_a_pull_of_what_is_new_leaves_a_note_to_ask_for_less_next_time(sandbox, make_sync, rows):
    sync = make_sync(by_device=False)
    sync.once()
    sandbox.set(fault="http_500", fault_times=1, fault_methods="inbox_sms")

    _, failed, *_ = sync.once()
    width_after_failure = rows("select width from marks where box = 'inbox'")[0][0]
    new = sandbox.account.receive("+79201234567", "new")
    _, inbox, *_ = sync.once()

    assert "HTTP 500" in failed.noted.error
    assert failed.noted.requests == 1
    assert width_after_failure is not None
    assert inbox.noted.error is None
    assert rows("select text from inbox where id = ?", new) == [("new",)]
    assert rows("select width from marks where box = 'inbox'") == [(None,)]


def test_a_device_that_is_gone_from_the_account_is_no_failure(sandbox, make_sync, rows):
    make_sync().once()
    gone = min(sandbox.account.devices)
    sandbox.account.remove_device(gone)

    outcomes = make_sync().once()

    assert [outcome.noted.error for outcome in outcomes] == [None] * 4
    assert outcomes[1].complete == 2
    assert rows("select id from devices where missing_since is not null") == [(gone,)]


def test_a_device_that_fails_does_not_stop_the_others(sandbox, make_sync, client):
    broken = min(sandbox.account.devices)
    ask = client.messages
    client.messages = lambda box, which, device_id: ask(
        box, which, "no number" if device_id == broken else device_id
    )

    _, inbox, *_ = make_sync().once()

    assert f"inbox of device {broken}: " in inbox.noted.error
    assert inbox.complete == 2


def test_a_device_is_not_gone_because_its_list_was_cut(make_sync, client, rows):
    sync, put = make_sync(), client._put
    sync.devices()

    def cut(method, fields):
        answer = json.loads(put(method, fields))
        return bytearray(json.dumps(answer | {"data": answer["data"][:1]}).encode())

    client._put = cut
    sync.devices()

    assert rows("select count(*) from devices where missing_since is not null") == [(0,)]


def test_the_contact_of_a_device_that_was_gone_shows_no_clock(make_sync, client, store):
    """It comes back with a contact of five hours ago: that is not how the service's clock stands."""
    now = NOW
    sync = make_sync(now=lambda: now)
    put, contact = client._put, "2026-11-23 02:00:00"

    def phones(*contacts):
        data = [{"id": n, "date_last_active": at} for n, at in enumerate(contacts, 351)]
        return bytearray(json.dumps({"code": 0, "data": data}).encode())

    for contacts in [(contact, contact), (contact,), (contact, "2026-11-23 04:01:30")]:
        now += timedelta(minutes=1)
        client._put = lambda method, fields, shown=contacts: (
            phones(*(shown if fields["is_arhive"] == "0" else ()))
            if method == "devices"
            else put(method, fields)
        )
        assert sync.devices().failure is None

    assert store.setting("utc_offset") is None


def test_devices_that_are_refused_do_not_stop_the_others(sandbox, make_sync, client):
    broken = sorted(sandbox.account.devices)[:2]
    ask = client.messages
    client.messages = lambda box, which, device_id: ask(
        box, which, "no number" if device_id in broken else device_id
    )

    assert [outcome.complete for outcome in make_sync().once()] == [1, 1, 1, 1]


def test_what_is_newest_is_learnt_before_any_history_also_beside_a_device_that_is_refused(
    sandbox, make_sync, client
):
    """Drafts wait for that and for no more; the first device may well be one that is gone."""
    first = min(sandbox.account.devices)
    sync, ask, asked = make_sync(), client.messages, []
    sync.devices()

    def refuse(box, which, device_id):
        if device_id == first:
            raise Refused("no such device", code="-1")
        asked.append(type(which))
        return ask(box, which, device_id)

    client.messages = refuse
    sync.box(Box.SENT)

    assert asked[:3] == [Dates, Dates, Range]


def test_a_service_out_of_reach_is_left_alone_also_after_a_refusal(make_sync, client):
    failures = [Refused("no such device", code="-1"), Unreachable("no network")]

    def fail(*_):
        raise failures.pop(0)

    sync = make_sync()
    sync.devices()
    client.messages = fail

    assert sync.box(Box.INBOX).complete == 0
    assert failures == []


def test_devices_that_get_no_answer_do_not_stop_those_that_are_loaded(sandbox, make_sync, client):
    broken = sorted(sandbox.account.devices)[:2]
    sync, ask = make_sync(), client.messages
    sync.once()
    for device_id in broken:
        sync._store.reset_mark(Box.INBOX, device_id)

    def slow(box, which, device_id):
        if device_id in broken:
            raise Unreadable("no answer within 30 s")
        return ask(box, which, device_id)

    client.messages = slow

    assert sync.box(Box.INBOX).complete == 1


def test_the_same_row_illegible_is_counted_and_the_others_are_mirrored(sandbox, make_sync, rows):
    numbers = sorted(sandbox.account.ids("inbox"))
    sandbox.account.change("inbox", numbers[3], id=None)
    sandbox.account.change("inbox", numbers[4], id=None)
    sandbox.account.change("inbox", numbers[5], date="2015-08-9 10:30", msg="a\x00💙")
    sandbox.account.change("inbox", numbers[6], date="no date", msg="x" * 1_000_000)

    _, inbox, *_ = make_sync().once()

    assert inbox.noted.error is None
    assert inbox.noted.illegible >= 2
    assert rows("select count(*) from conflicts where message_id is null") == [(2,)]
    assert rows("select count(*) from inbox") == [(len(numbers) - 2,)]
    assert rows("select received_at, text from inbox where id = ?", numbers[5]) == [
        ("2015-08-09T10:30:00.000000Z", "a\x00💙")
    ]
    ((received_at, length, extra),) = rows(
        "select received_at, length(text), extra from inbox where id = ?", numbers[6]
    )
    assert (received_at, length, extra) == (None, 1_000_000, '{"date":"no date"}')


def test_devices_that_only_messages_know_are_asked_as_well(sandbox, make_sync, client, rows):
    number = min(sandbox.account.ids("inbox"))
    sandbox.account.change("inbox", number, id_device=777)
    make_sync(by_device=False).once()
    sandbox.requests.clear()

    outcomes = make_sync(by_device=True).once()

    assert "777" in {call.params.get("device") for call in sandbox.requests}
    assert [outcome.noted.error for outcome in outcomes] == [None] * 4


def test_a_large_history_is_loaded_in_windows_that_fit(store):
    """33,000 rows: neither a request for each row nor all in one answer."""
    sizes = []

    class Watching(Client):
        def messages(self, box, which, device_id=None):
            answer = super().messages(box, which, device_id)
            sizes.append(answer.size)
            return answer

    with (
        Sandbox(messages=60_000, devices=2) as sandbox,
        Watching(sandbox.token, base_url=sandbox.base_url) as client,
    ):
        progress = Progress(Box.SENT, 0)
        Puller(account=client, mirror=store).pull(progress)

    assert (progress.added, progress.share) == (33_000, 1.0)
    assert len(sizes) < 20
    assert sorted(sizes)[-3] <= 15_000


@pytest.mark.parametrize("keeps", ["oldest", "newest"])
@pytest.mark.parametrize("end", ["inclusive", "ignored"])
def test_how_much_is_shown_of_one_box_says_nothing_of_the_other(
    sandbox, make_sync, rows, end, keeps
):
    """Only answers of `sent` are cut, so none of them is as large as one of `inbox`."""
    sandbox.set(end_id=end, cap_keeps=keeps)
    sandbox.before_call = lambda call: sandbox.set(cap=20 if call.method == "outbox_sms" else 0)

    outcomes = make_sync(by_device=False).once()

    assert [outcome.failure for outcome in outcomes] == [None] * 4
    assert [number for (number,) in rows("select id from sent order by id")] == sorted(
        sandbox.account.ids("sent")
    )


def test_an_island_that_was_stored_before_a_kill_is_not_taken_for_proven(
    sandbox, make_sync, client, rows
):
    """A cap shows the newest of many new rows, and the program dies before it reads the rest."""
    clock = {"now": NOW}

    def sync():
        seen = dict.fromkeys(Box, 50)
        return make_sync(by_device=False, largest=seen, now=lambda: clock["now"])

    for _ in range(4):  # until the look back starts at the mark
        sync().once()
        clock["now"] += timedelta(minutes=11)
    sandbox.set(cap=10, cap_keeps="newest")
    new = {sandbox.account.receive("+79201234567", f"new {n}") for n in range(40)}
    ask, asked = client.messages, []

    def die_at_the_second_question(*question):
        asked.append(question)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return ask(*question)

    client.messages = die_at_the_second_question
    with pytest.raises(KeyboardInterrupt):
        sync().box(Box.INBOX)
    client.messages = ask

    sync().box(Box.INBOX)

    assert new <= {row[0] for row in rows("select id from inbox")}


def test_a_history_that_reaches_further_back_is_loaded_and_a_shorter_one_is_not(
    sandbox, make_sync, rows
):
    make_sync(history="none").once()
    few = rows("select count(*) from sent")[0][0]

    make_sync(history="all").once()
    everything = len(list(sandbox.account.ids("sent")))
    requests = make_sync(history="none").once()[2].noted.requests

    assert few < everything
    assert rows("select count(*) from sent") == [(everything,)]
    assert requests <= 9


def test_what_an_unproven_answer_has_shown_is_stored(store, rows):
    """A service that answers with the oldest rows whatever is asked: nothing is proven by that."""

    class Answer(list):
        more = False

    class Stubborn:
        def messages(self, *_question):
            texts = dict.fromkeys(("device_id", "phone", "text", "received_at"))
            return Answer(Received(id=n, channel="sms", **texts) for n in range(1, 100))

    loaded = Mark(last_id=500, lookback_id=500, lookback_at=utc_text(NOW), loaded_at=utc_text(NOW))
    store.save_mark(Box.INBOX, 0, loaded)

    with pytest.raises(Unbounded):
        Puller(account=Stubborn(), mirror=store, now=lambda: NOW).pull(Progress(Box.INBOX, 0))

    assert rows("select count(*) from inbox") == [(99,)]
    assert store.mark(Box.INBOX, 0).last_id == 500


def test_a_service_that_cannot_show_the_least_part_of_a_box_is_given_up(store):
    """Whatever is asked for, a minute of days long ago as well: the answer is too large."""

    class Endless:
        asked = 0

        def messages(self, *_question):
            self.asked += 1
            raise TooLarge("inbox_sms: the answer is too large", seen=[])

    account = Endless()

    with pytest.raises(TooLarge):
        Puller(account=account, mirror=store, now=lambda: NOW).pull(Progress(Box.INBOX, 0))

    assert account.asked < 100


@pytest.mark.parametrize("fault", [{"fault": "http_429"}, {"wrong_token": "http_401"}])
def test_a_pause_or_a_refused_token_is_told_for_devices_that_are_gone_too(
    sandbox, make_sync, client, fault
):
    make_sync().once()
    for number in list(sandbox.account.devices):
        sandbox.account.remove_device(number)
    make_sync().devices()
    client._token = "f" * 32 if "wrong_token" in fault else client._token
    sandbox.set(**fault)

    inbox = make_sync().box(Box.INBOX)

    assert inbox.noted.error is not None
    assert inbox.complete == 0
