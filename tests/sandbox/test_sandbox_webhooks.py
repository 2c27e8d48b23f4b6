"""The stand-in's webhooks: what is called, how, and when, as the switches say."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from processes import wait_until

from semysync.follow.calls import fields_of
from semysync.sandbox import Sandbox, webhooks


class Owner:
    """Whom the service calls: keeps what it is told, and answers with `status`."""

    def __init__(self):
        self.calls, self.statuses = [], [200] * 1000
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                path, _, query = self.path.partition("?")
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                fields = fields_of(self.headers.get("Content-Type", ""), query, body)
                kind = self.headers.get("Content-Type", "").partition(";")[0]
                owner.calls.append((self.command, kind, path, fields))
                self.send_response(owner.statuses.pop(0))
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST  # noqa: N815

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def ids(self):
        return [int(fields["id"]) for *_, fields in self.calls]

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def owner():
    owner = Owner()
    yield owner
    owner.close()


@pytest.fixture
def stand_in(owner):
    with Sandbox(messages=10, devices=1) as stand_in:
        stand_in.webhooks.set(inbox=f"{owner.url}/inbox", status=f"{owner.url}/status")
        yield stand_in


@pytest.mark.parametrize(
    ("switch", "verb", "kind"),
    [
        ("webhook_encoding=multipart", "POST", "multipart/form-data"),
        ("webhook_encoding=urlencoded", "POST", "application/x-www-form-urlencoded"),
        ("webhook_encoding=json", "POST", "application/json"),
        ("webhook_verb=get", "GET", ""),
    ],
)
def test_a_message_that_comes_in_is_told_in_the_encoding_asked_for(
    stand_in, owner, switch, verb, kind
):
    stand_in.set(**dict([switch.split("=")]))

    number = stand_in.account.receive("+79201234567", "Привет & = 👋")
    wait_until(lambda: owner.calls)

    (called,) = owner.calls
    row = stand_in.account.row("inbox", number)
    assert called == (verb, kind, "/inbox", {name: str(value) for name, value in row.items()})


def test_a_status_is_told_when_it_is_sent_and_when_it_is_delivered(owner, clock):
    with Sandbox(messages=10, devices=1, clock=clock) as stand_in:
        stand_in.webhooks.set(status=f"{owner.url}/status")

        number = stand_in.account.sent_elsewhere("+79201234567", "Hello")
        for _ in range(600):  # two minutes, in steps that no two changes fall into
            clock.move(seconds=0.2)
            stand_in.account.advance()
        wait_until(lambda: len(owner.calls) == 2)

    sent, delivered = (fields for *_, fields in owner.calls)
    assert owner.ids == [number, number]
    assert (sent["is_send"], sent["is_delivered"], sent["delivered_date"]) == ("1", "", "")
    assert (delivered["is_send"], delivered["is_delivered"]) == ("1", "1")
    row = stand_in.account.row("sent", number)
    assert (delivered["send_date"], delivered["delivered_date"]) == (row["send"], row["delivered"])


def test_a_status_may_be_empty(stand_in, owner):
    stand_in.set(phone_speed=100, webhook_status="empty")

    stand_in.account.sent_elsewhere("+79201234567", "Hello")
    wait_until(lambda: owner.calls)

    fields = owner.calls[0][3]
    assert fields["msg"] == "Hello"
    assert {fields[name] for name in ("is_send", "send_date", "is_delivered")} == {""}


def test_calls_may_be_doubled_lost_late_and_in_the_wrong_order(stand_in, owner, monkeypatch):
    now = [1000.0]  # seconds, which pass by here alone
    monkeypatch.setattr(webhooks, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def receive(count, **switches):
        stand_in.set(**switches)
        return [stand_in.account.receive("+79201234567", "x") for _ in range(count)]

    receive(1, webhook_manner="lost")
    doubled = receive(1, webhook_manner="doubled")
    wait_until(lambda: len(owner.calls) == 2)
    unordered = receive(3, webhook_manner="unordered")
    now[0] += webhooks.UNORDERED_S
    wait_until(lambda: len(owner.calls) == 5)
    late = receive(1, webhook_manner="late", webhook_late_s=60)
    soon = receive(1, webhook_manner="once")
    wait_until(lambda: len(owner.calls) == 6)
    now[0] += 60
    wait_until(lambda: len(owner.calls) == 7)

    assert owner.ids == [*doubled * 2, *unordered[::-1], *soon, *late]


def test_a_message_that_no_list_shows_is_told_all_the_same(stand_in, owner):
    number = stand_in.account.receive("*100#", "Balance 12", hidden=True)
    wait_until(lambda: owner.calls)

    assert owner.ids == [number]
    assert number not in stand_in.account.ids("inbox")


def test_forged_calls_name_messages_that_are_not_there(stand_in, owner):
    stand_in.set(webhook_forged="yes")

    number = stand_in.account.receive("+79201234567", "x")
    wait_until(lambda: len(owner.calls) == 2)

    true, forged = owner.ids
    assert true == number
    assert forged not in stand_in.account.ids("inbox")
    wait_until(lambda: [made.forged for made in stand_in.webhooks.made] == [False, True])


@pytest.mark.parametrize(("repeated", "calls"), [("yes", 3), ("no", 1)])
def test_a_call_without_a_yes_may_be_repeated(stand_in, owner, repeated, calls):
    stand_in.set(webhook_repeated=repeated)
    owner.statuses[:2] = [500, 404]

    number = stand_in.account.receive("+79201234567", "x")
    wait_until(lambda: len(owner.calls) == calls)
    stand_in.set(webhook_repeated="no")
    other = stand_in.account.receive("+79201234567", "x")
    wait_until(lambda: owner.ids[-1] == other)

    assert owner.ids == [number] * calls + [other]


def test_nobody_may_be_there(stand_in, owner):
    stand_in.webhooks.set(inbox="http://127.0.0.1:1/")

    stand_in.account.receive("+79201234567", "x")
    wait_until(lambda: stand_in.webhooks.made)

    assert stand_in.webhooks.made[0].status is None
    assert owner.calls == []


def test_it_stops_and_starts_with_the_stand_in(stand_in, owner):
    stand_in.stop()
    stand_in.account.receive("+79201234567", "x")
    stand_in.start()
    wait_until(lambda: len(owner.calls) == 1)

    assert stand_in.webhooks._thread.is_alive()
