"""What counts as news, and what as the history that a first load brings."""

from datetime import UTC, datetime, timedelta

import pytest

from semysync.mirror.store import Store
from semysync.model import HIGHEST_ID, Box
from semysync.passes.pull import Puller
from semysync.passes.sync import Sync
from semysync.service.questions import Range

PHONE = "+79201234567"
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


@pytest.fixture
def told(rows):
    """Ask for the ids that events of received messages name."""
    return lambda: [
        row[0]
        for row in rows(
            "select message_id from events where kind = 'message.received' order by seq"
        )
    ]


@pytest.mark.parametrize("scope", ["device", "account", "auto"])
def test_a_first_load_is_silent_and_what_comes_after_it_is_told(make_sync, sandbox, told, scope):
    sync = make_sync(scope=scope)
    sync.once()
    before = told()

    new = sandbox.account.receive(PHONE, "new")
    sync.once()

    assert (before, told()) == ([], [new])


class Overtaken:
    """An account whose answer is on its way while somebody else asks later and stores sooner."""

    def __init__(self, client, overtake):
        self._client, self._overtake = client, overtake

    def messages(self, *question):
        answer = self._client.messages(*question)
        self._overtake()
        return answer


def test_an_answer_that_another_pass_has_overtaken_takes_no_status_back(
    make_sync, sandbox, client, store, rows
):
    """Found by killing the daemon at random: passes of two kinds ask and store side by side."""
    sync = make_sync(by_device=False)
    sync.once()
    message = sandbox.account.sent_elsewhere(PHONE, "new")
    sandbox.account.change(Box.SENT, message, is_send=1, is_delivered=0)
    sync.box(Box.SENT)
    sandbox.account.change(Box.SENT, message, is_out=1)

    def overtake():
        sandbox.account.change(Box.SENT, message, is_delivered=1)
        with Store.open(store.path) as another:
            puller = Puller(account=client, mirror=another)
            Sync(client, another, puller, scope="account").box(Box.SENT)

    puller = Puller(account=Overtaken(client, overtake), mirror=store)
    Sync(client, store, puller, scope="account").box(Box.SENT)
    sync.box(Box.SENT)

    assert rows("select status from sent where id = ?", message) == [("delivered",)]
    told = rows("select kind from events where message_id = ? order by seq", message)
    assert told == [("message.sent",), ("message.delivered",)]


def test_what_was_told_of_a_draft_since_a_question_stands_as_well(
    make_sync, sandbox, client, store, rows
):
    """Found by a kill at a named point: messages that a first load brings are not told themselves."""
    message = sandbox.account.sent_elsewhere(PHONE, "a draft's")
    sandbox.account.change(Box.SENT, message, is_send=1, is_delivered=0)
    make_sync().once()
    (older,) = client.sent(Range(message, message))
    sandbox.account.change(Box.SENT, message, is_delivered=1)
    as_of = store.newest_event()
    make_sync().box(Box.SENT)
    with store.transaction() as conn:
        conn.execute("delete from events")
        conn.execute(
            "insert into events (seq, at, kind, message_id) values (?, '', 'draft.delivered', ?)",
            (as_of + 1, message),
        )

    store.save(Box.SENT, [older], now=NOW, as_of=as_of)

    assert rows("select status from sent where id = ?", message) == [("delivered",)]


def test_the_first_message_of_a_device_that_is_added_later_is_news(make_sync, sandbox, told):
    sync = make_sync()
    sync.once()

    device_id = sandbox.account.add_device(name="new")
    new = sandbox.account.receive(PHONE, "first", device_id)
    sync.once()

    assert told() == [new]


def test_old_messages_of_a_device_that_shows_up_later_are_history(make_sync, sandbox, told, rows):
    device_id = sandbox.account.add_device(name="comes and goes")
    old = sandbox.account.receive(PHONE, "old", device_id)
    sandbox.account.receive(PHONE, "newest", min(sandbox.account.devices))
    device = sandbox.account.devices.pop(device_id)
    sync = make_sync()
    sync.once()

    sandbox.account.devices[device_id] = device
    sync.once()

    assert rows("select text from inbox where id = ?", old) == [("old",)]
    assert told() == []


def test_history_of_a_device_that_is_loaded_later_than_others_is_silent(
    make_sync, sandbox, told, store
):
    first, second, _ = sorted(sandbox.account.devices)
    sandbox.account.receive(PHONE, "newest of all", second)
    sandbox.set(fault="http_500", fault_methods="inbox_sms")
    sync = make_sync()
    sync.once()
    sandbox.set(fault="none")
    sync._boxes.pull_each(Box.INBOX, {first: True}, sync.box(Box.SENT))
    assert store.history_to(Box.INBOX) == HIGHEST_ID

    sync.once()

    assert told() == []
    assert store.history_to(Box.INBOX) == max(sandbox.account.ids("inbox"))


def test_a_message_that_shows_up_late_is_news_whatever_its_date(make_sync, sandbox, told):
    late = sandbox.account.receive(
        PHONE, "late", hidden=True, at=datetime.now(UTC) - timedelta(days=400)
    )
    sync = make_sync()
    sync.once()

    sandbox.account.reveal("inbox", late)
    sync.once()

    assert told() == [late]
