"""The listener over real HTTP: hints wake, and nothing else that comes leaves a trace."""

import json
import logging
import select
import socket
import sqlite3
import time
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import uvicorn
from processes import PATIENCE_S, free_port, wait_until
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from semysync.config import Config
from semysync.config.listening import Address, Http
from semysync.follow import hints, listener
from semysync.follow.calls import hint_of
from semysync.follow.hints import Awaited, Settling
from semysync.follow.listener import LARGEST_CALL, Listener, Served
from semysync.follow.metrics import Metrics
from semysync.follow.serving import Following
from semysync.mirror.store import Store
from semysync.mirror.tables import unconfirmed
from semysync.mirror.tables.passes import Pass
from semysync.times import utc_text

EVERYTHING = Served(health=True, metrics=True)
SECRET, OTHER = "first-secret-0123456789", "second-secret-0123456789"


class Ears:
    """A listener with what it works with."""

    def __init__(self, mirror, served=EVERYTHING):
        self.mirror = mirror
        self.hastened = []
        self.now = 0.0
        self.awaited = Awaited(mirror, clock=lambda: self.now)
        self.metrics = Metrics(mirror)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.listener = Listener(
            Address("127.0.0.1", port),
            mirror,
            secrets=[SECRET, OTHER],
            served=served,
            awaited=self.awaited,
            hint=lambda box, devices: self.hastened.append((box, sorted(devices))),
            metrics=self.metrics,
        )

    def wait(self, seconds, *, looks=("inbox", "sent")):
        """Let time go by, at the end of which these boxes are looked through."""
        self.now += seconds
        for box in looks:
            self.look(box, datetime.now(UTC))
        self.now += 1

    def look(self, box, began):
        with Store.open(self.mirror) as store:
            store.save_pass(Pass(kind=box, started_at=utc_text(began)), now=began)

    def counted(self, name="semysync_webhook_calls_total"):
        families = text_string_to_metric_families(self.metrics.text().decode())
        return {
            tuple(sample.labels.values()): sample.value
            for family in families
            for sample in family.samples
            if sample.name == name
        }


@pytest.fixture
def ears(mirror):
    ears = Ears(mirror)
    ears.listener.start()
    assert ears.listener.wait_until_listening(PATIENCE_S)
    yield ears
    ears.listener.stop()


@pytest.fixture
def http(ears):
    with httpx.Client(base_url=ears.url, timeout=PATIENCE_S) as client:
        yield client


# Webhooks


@pytest.mark.parametrize("secret", [SECRET, OTHER])
@pytest.mark.parametrize(("end", "box"), [("inbox", "inbox"), ("status", "sent")])
def test_a_call_is_answered_and_wakes_its_box_and_device(ears, http, secret, end, box):
    answered = http.post(f"/webhook/{secret}/{end}", data={"id": "15", "id_device": "351"})

    assert answered.status_code == 200
    assert ears.hastened == [(box, [351])]
    assert ears.counted() == {(box, "hint"): 1}
    assert len(ears.awaited) == 1


def test_a_call_by_get_or_without_an_id_wakes_too(ears, http):
    assert http.get(f"/webhook/{SECRET}/inbox").status_code == 200

    assert ears.hastened == [("inbox", [])]
    assert len(ears.awaited) == 0


def test_many_calls_wake_at_once_and_then_once_a_second(ears, http):
    began = time.monotonic()
    for number in range(1, 20):
        http.post(f"/webhook/{SECRET}/inbox", json={"id": number, "id_device": number % 3})
    took_s = time.monotonic() - began
    wait_until(lambda: {id_ for _, devices in ears.hastened[1:] for id_ in devices} == {1, 2})

    assert ears.hastened[0] == ("inbox", [1])
    assert len(ears.hastened) <= 2 + took_s / hints.APART_S
    assert len(ears.awaited) == 19


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/webhook/wrong-secret-0123456789/inbox", 404),
        (f"/webhook/{SECRET}/outbox", 404),
        (f"/webhook/{SECRET}", 404),
        (f"/webhook/{SECRET}/inbox/", 404),
        (f"/webhook/{SECRET.upper()}/inbox", 404),
        (f"/webhook//{SECRET}/inbox", 404),
        ("/webhook/%ff%00/inbox", 404),
        ("/docs", 404),
        ("/", 404),
    ],
)
def test_who_knows_no_secret_learns_nothing(ears, http, path, status):
    answered = http.post(path, data={"id": "15"})

    assert (answered.status_code, answered.text) == (status, "Not found")
    assert ears.hastened == []
    assert ears.counted() == {("none", "unknown"): 1}


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods_are_unknown(http, method):
    assert http.request(method, f"/webhook/{SECRET}/inbox").status_code == 404


def test_what_is_too_large_is_refused_without_being_read(ears, http):
    big = http.post(f"/webhook/{SECRET}/inbox", content=b"x" * (LARGEST_CALL + 1))
    chunked = http.post(
        f"/webhook/{SECRET}/inbox", content=(b"x" * 1000 for _ in range(LARGEST_CALL // 1000 + 2))
    )

    assert big.status_code == chunked.status_code == 413
    assert ears.hastened == []
    assert ears.counted() == {("none", "too_large"): 2}


def test_a_call_that_dawdles_is_left(ears, monkeypatch):
    monkeypatch.setattr(listener, "SLOWEST_CALL_S", 0.1)
    address = ("127.0.0.1", int(ears.url.rpartition(":")[2]))
    head = f"POST /webhook/{SECRET}/inbox HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nid="
    with socket.create_connection(address) as silent, socket.create_connection(address) as slow:
        slow.sendall(head.encode())
        silent.settimeout(PATIENCE_S)
        slow.settimeout(PATIENCE_S)

        assert slow.recv(1000).startswith(b"HTTP/1.1 408")
        assert silent.recv(1000) == b""


def test_connections_that_say_nothing_take_no_more_than_their_places(ears, http, monkeypatch):
    monkeypatch.setattr(listener, "MOST_AT_ONCE", 5)
    address = ("127.0.0.1", int(ears.url.rpartition(":")[2]))
    with ExitStack() as held:
        silent = [held.enter_context(socket.create_connection(address)) for _ in range(40)]

        def gone():
            readable, _, _ = select.select(silent, [], [], 0.05)
            return len(readable)

        wait_until(lambda: gone() == 35)  # the others were closed

    assert http.get("/healthz").status_code in {200, 503}


def dump(mirror):
    with closing(sqlite3.connect(mirror)) as conn:
        return list(conn.iterdump())


def test_a_thousand_bad_calls_leave_no_trace_but_a_counter(ears, http, mirror):
    before = dump(mirror)
    address = ("127.0.0.1", int(ears.url.rpartition(":")[2]))
    logged = []
    root = logging.NullHandler()
    root.handle = logged.append
    logging.getLogger().addHandler(root)
    try:
        with capture_logs() as ours:
            for number in range(250):
                http.post(f"/webhook/guess-{number:020}/inbox", data={"id": number})
                http.get(f"/{number}")
                http.post(f"/webhook/{SECRET}/status", content=b"x" * 70_000)
                with socket.create_connection(address) as raw:
                    raw.sendall(b"\x16\x03\x01 no HTTP at all\r\n\r\n" * (number % 3 + 1))
                    raw.settimeout(PATIENCE_S)
                    raw.recv(1000)
    finally:
        logging.getLogger().removeHandler(root)

    assert dump(mirror) == before
    assert ears.hastened == []
    assert len(ears.awaited) == 0
    assert logged == []
    assert ours == []
    assert ears.counted() == {("none", "unknown"): 500, ("none", "too_large"): 250}


def test_what_we_log_hides_the_secret(ears, http):
    with capture_logs() as logged:
        http.post(f"/webhook/{SECRET}/inbox", data={"id": 1, "msg": "hush"})

    assert logged == [
        {"event": "webhook.called", "path": "/webhook/***/inbox", "log_level": "debug"}
    ]


def test_more_messages_than_can_be_remembered_do_no_harm(ears, http, monkeypatch):
    monkeypatch.setattr(hints, "MOST", 2)

    for number in range(1, 5):
        assert http.post(f"/webhook/{SECRET}/inbox", data={"id": number}).status_code == 200

    assert len(ears.awaited) == 2
    assert ears.counted() == {("inbox", "hint"): 2, ("inbox", "too_many"): 2}


# What no list shows


CALL = {"id": "77", "phone": "*100#", "msg": "Balance 12", "type": "0", "id_device": "351"}


def test_a_message_that_no_list_shows_is_kept_and_told_once(ears, http, ask):
    http.post(f"/webhook/{SECRET}/inbox", data=CALL)
    ears.wait(hints.SETTLE_S - 2)
    early = ears.awaited.settle()
    ears.now += 1
    kept = ears.awaited.settle()
    http.post(f"/webhook/{SECRET}/inbox", data=CALL)  # repeated
    ears.now *= 3
    ears.awaited.settle()

    assert (early, kept, len(ears.awaited)) == (0, 1, 0)
    row = ask("select box, message_id, device_id, phone, contact, text, channel from unconfirmed")
    assert row == [("inbox", 77, 351, "*100#", "*100#", "Balance 12", "sms")]
    (called_at, fields) = ask("select called_at, fields from unconfirmed")[0]
    called = datetime.fromisoformat(called_at)
    assert timedelta(minutes=4) < datetime.now(UTC) - called < timedelta(minutes=6)
    assert json.loads(fields) == CALL
    assert ask("select kind, box, message_id, device_id, data from events") == [
        ("webhook.unconfirmed", "inbox", 77, 351, '{"unconfirmed_id": 1}')
    ]
    assert ask("select count(*) from inbox") == [(0,)]


def test_a_message_that_comes_is_forgotten_and_one_that_comes_late_is_let_go(
    ears, http, happen, ask
):
    for number in (101, 102):
        http.post(f"/webhook/{SECRET}/inbox", data=CALL | {"id": number})
    happen("one")  # 101
    ears.wait(hints.SETTLE_S)
    ears.awaited.settle()
    late = ask("select message_id from unconfirmed")
    happen("two")  # 102
    ears.awaited.settle()

    assert late == [(102,)]
    assert ask("select * from unconfirmed") == []


@pytest.mark.parametrize("looks", [(), ("sent",)])
def test_where_its_box_cannot_be_read_no_message_is_missing_from_it(ears, http, ask, looks):
    http.post(f"/webhook/{SECRET}/inbox", data=CALL)
    ears.look("inbox", datetime.now(UTC) - timedelta(hours=2))  # before the call
    ears.wait(3600, looks=looks)
    during = ears.awaited.settle()
    ears.wait(1)
    after = ears.awaited.settle()

    assert (during, after) == (0, 1)
    assert ask("select message_id from unconfirmed") == [(77,)]


def test_half_an_emoji_in_a_call_does_not_hold_up_the_others(ears, http, ask):
    broken = b'{"id": "76", "phone": "*100#", "msg": "\\ud83d"}'
    http.post(f"/webhook/{SECRET}/inbox", content=broken)
    http.post(f"/webhook/{SECRET}/inbox", data=CALL)
    ears.wait(hints.SETTLE_S)
    ears.awaited.settle()

    assert ask("select message_id, text from unconfirmed") == [(76, "?"), (77, "Balance 12")]


def test_what_is_sent_in_bulk_does_not_crowd_out_what_comes_in(ears, monkeypatch):
    monkeypatch.setattr(hints, "MOST", 3)
    taken = [
        ears.awaited.add(unconfirmed.Hint(box, number, None, None, None, "sms", {}))
        for box in ("sent", "inbox")
        for number in range(1, 6)
    ]

    assert taken == [True, True, True, False, False] * 2


def test_only_so_many_are_kept(ears, ask, monkeypatch):
    monkeypatch.setattr(unconfirmed, "MOST", 3)
    for number in range(1, 7):
        fields = {"id": str(number)}
        hint = unconfirmed.Hint("inbox", number, None, None, None, "sms", fields)
        ears.awaited.add(hint)
    ears.wait(hints.SETTLE_S)

    ears.awaited.settle()

    assert ask("select message_id from unconfirmed") == [(4,), (5,), (6,)]


def test_a_hook_gets_what_no_list_shows(ears, http, follow, deliveries):
    follower = follow(on=["webhook.unconfirmed"], match={"contact": "[*]100#"}, run=["cat"])
    http.post(f"/webhook/{SECRET}/inbox", data=CALL)
    ears.wait(hints.SETTLE_S)
    ears.awaited.settle()

    while follower.step() <= 0:
        pass

    told = json.loads(deliveries("output")[0][0])
    assert told["message"] is None
    assert told["unconfirmed"]["text"] == "Balance 12"


# Health and metrics


def test_health_is_a_row_and_a_status(ears, http, ask):
    late = http.get("/healthz")
    for kind in ("inbox", "sent"):
        ask(
            "insert into passes (kind, started_at, finished_at, requests, added, changed, illegible)"
            " values (?, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), strftime('%Y-%m-%dT%H:%M:%fZ', 'now'),"
            " 1, 0, 0, 0)",
            kind,
        )
    well = http.get("/healthz")

    assert late.status_code == 503
    assert late.json()["verdict"] == "late"
    assert well.status_code == 200
    assert well.json()["verdict"] == "ok"
    assert {"inbox_lag_s", "sent_lag_s", "queued", "last_error"} <= well.json().keys()


def test_health_of_a_mirror_that_is_gone_is_bad(ears, http, mirror):
    mirror.unlink()

    answered = http.get("/healthz")

    assert answered.status_code == 503
    assert answered.json()["verdict"] == "failing"


def test_metrics_of_a_mirror_that_is_gone_are_those_that_are_counted(ears, http, mirror):
    http.post(f"/webhook/{SECRET}/inbox")
    mirror.unlink()

    answered = http.get("/metrics")

    assert answered.status_code == 200
    assert "semysync_webhook_calls_total" in answered.text
    assert "semysync_healthy" not in answered.text


def test_a_mistake_of_ours_is_logged_and_answered(ears, http, monkeypatch):
    def broken(_hint):
        raise ZeroDivisionError

    monkeypatch.setattr(ears.awaited, "add", broken)
    with capture_logs() as logged:
        answered = http.post(f"/webhook/{SECRET}/inbox", data={"id": 1})

    assert answered.status_code == 500
    assert [entry["event"] for entry in logged] == ["http.broke"]
    assert http.get(f"/webhook/{SECRET}/inbox").status_code == 200


def test_metrics_are_numbers_and_nothing_that_anybody_wrote(ears, http, happen, ask):
    happen("a very secret text")
    ask("insert into outbox (phone, text) values ('+79201234567', 'Hello there')")
    # All events up to 500 were forgotten, but for two.
    ask("insert into followers values ('tell', 0, 'x'), ('done', 500, 'x')")
    ask(
        "insert into deliveries (follower, seq, kind, status, attempts, first_at, last_at)"
        " values ('tell', 1, 'x', 'dead', 3, 'x', 'x')"
    )
    ask(
        "update devices set mirrored_at = 'x', last_active_at = '2026-01-01T00:00:00.000000Z', battery = 12, service_on = 1"
    )
    ears.metrics.requested("inbox_sms", "answered", 0.2)
    ears.metrics.happened("draft.accepted")
    ears.metrics.happened("draft.rejected")
    ears.metrics.delivered("tell", "done")

    answered = http.get("/metrics")

    assert answered.headers["Content-Type"].startswith("text/plain; version=")
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answered.text)
        for sample in family.samples
    }
    assert found["semysync_drafts", "queued"] == 1
    assert found["semysync_drafts_sent_total",] == 1
    assert found["semysync_drafts_failed_total",] == 1
    assert found["semysync_events_total", "draft.accepted"] == 1
    assert found["semysync_deliveries", "tell", "dead"] == 1
    assert found["semysync_hook_behind", "tell"] == 2
    assert found["semysync_hook_behind", "done"] == 0
    assert found["semysync_hook_attempts_total", "tell", "done"] == 1
    assert found["semysync_request_seconds_count", "inbox_sms", "answered"] == 1
    assert found["semysync_device_battery_percent", "351"] == 12
    assert found["semysync_healthy",] == 0
    assert ("semysync_device_silent_seconds", "351") not in found  # by what clock is not known
    assert not any(name.endswith("_created") for name, *_ in found)
    for word in ("secret", "Hello", "9201234567"):
        assert word not in answered.text


def test_beyond_loopback_only_webhooks_are_served_unless_told(mirror):
    def served(listen, **fields):
        config = Config(http=Http(listen=listen, webhook_secrets=[SECRET], **fields))
        return Following(config, mirror, print)._listener._served

    assert served("127.0.0.1:8026") == (True, True)
    assert served("[::1]:8026") == (True, True)
    assert served("0.0.0.0:8026") == (False, False)
    assert served("192.168.1.7:8026", metrics=True) == (False, True)
    assert served("localhost:8026", health=False) == (False, True)


def test_what_is_not_served_is_unknown(mirror):
    ears = Ears(mirror, Served(health=False, metrics=False))
    ears.listener.start()
    ears.listener.wait_until_listening(PATIENCE_S)
    try:
        assert httpx.get(f"{ears.url}/healthz").text == "Not found"
        assert httpx.get(f"{ears.url}/metrics").status_code == 404
    finally:
        ears.listener.stop()


# What goes wrong


def test_a_port_in_use_is_told_and_taken_when_it_is_free(mirror, monkeypatch):
    monkeypatch.setattr(listener, "AGAIN_S", 0.01)
    tries, bound = [], listener._bound
    monkeypatch.setattr(listener, "_bound", lambda address: tries.append(1) or bound(address))
    ears = Ears(mirror)
    with capture_logs() as logged:
        with socket.socket() as other:
            other.bind(("127.0.0.1", int(ears.url.rpartition(":")[2])))
            other.listen()
            ears.listener.start()
            wait_until(lambda: len(tries) > 4)
        assert ears.listener.wait_until_listening(PATIENCE_S)
        assert httpx.get(ears.url).status_code == 404
        ears.listener.stop()

    assert [entry["event"] for entry in logged] == ["http.not_listening", "http.listening"]
    assert logged[0]["error"] == "Address already in use: free it, or change `listen` in [http]"


def test_without_the_extra_it_is_told_and_all_else_goes_on(mirror, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "semysync.follow.listener", None)
    with capture_logs() as logged:
        following = Following(Config(http=Http(listen="127.0.0.1:8026")), mirror, print)
        following.start()
        following.stop()

    assert logged[0]["event"] == "http.lacks"
    assert logged[0]["error"].endswith("pip install 'semysync[http]'")


def test_secrets_that_cannot_be_read_are_told(mirror, tmp_path):
    http = Http(listen="127.0.0.1:8026", webhook_secrets_file=str(tmp_path / "no such file"))
    with capture_logs() as logged:
        Following(Config(http=http), mirror, print)

    assert logged[0]["event"] == "http.without_webhooks"
    assert "cannot read the secrets of webhooks" in logged[0]["error"]


def test_a_server_that_breaks_is_told_and_begins_anew(mirror, monkeypatch):
    monkeypatch.setattr(listener, "AGAIN_S", 0.01)
    serve, broken = uvicorn.Server.serve, []

    async def breaks_once(server, sockets):
        if not broken:
            broken.append(server)
            raise LookupError("what should never happen")
        await serve(server, sockets)

    monkeypatch.setattr(uvicorn.Server, "serve", breaks_once)
    ears = Ears(mirror)
    with capture_logs() as logged:
        ears.listener.start()
        wait_until(lambda: len(logged) == 3)
        assert httpx.get(ears.url).status_code == 404
        ears.listener.stop()

    assert [entry["event"] for entry in logged] == [
        "http.listening",
        "http.broke",
        "http.listening",
    ]


def test_a_stop_that_comes_just_as_it_begins_to_serve_is_heard(mirror, monkeypatch):
    ears = Ears(mirror)
    bound = listener._bound

    def and_stopped(address):
        ears.listener._stopping.set()
        return bound(address)

    monkeypatch.setattr(listener, "_bound", and_stopped)
    ears.listener.start()
    ears.listener.stop()

    assert not ears.listener._thread.is_alive()


def test_what_was_never_started_can_be_stopped(mirror):
    Following(Config(http=Http(listen="127.0.0.1:8026")), mirror, print).stop()


def test_a_mirror_that_is_gone_for_a_while_costs_no_hint(mirror, ask, monkeypatch):
    monkeypatch.setattr(hints, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(hints, "SETTLE_S", -1)
    awaited = Awaited(mirror)
    settling = Settling(awaited)
    aside = mirror.rename(mirror.with_name("aside.db"))
    awaited.add(hint_of("inbox", {"id": "7"}))
    with capture_logs() as logged:
        settling.start()
        wait_until(lambda: logged)
        aside.rename(mirror)
        with Store.open(mirror) as store:
            now = datetime.now(UTC) + timedelta(days=1)
            store.save_pass(Pass(kind="inbox", started_at=utc_text(now)), now=now)
        wait_until(lambda: not len(awaited))
        settling.stop()

    assert ask("select message_id from unconfirmed") == [(7,)]
    assert [entry["event"] for entry in logged][1:] == ["webhook.unconfirmed"]


def test_it_is_ended_though_a_call_is_under_way(mirror):
    ears = Ears(mirror)
    ears.listener.start()
    assert ears.listener.wait_until_listening(PATIENCE_S)
    address = ("127.0.0.1", int(ears.url.rpartition(":")[2]))
    with socket.create_connection(address) as slow:
        slow.sendall(
            f"POST /webhook/{SECRET}/inbox HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nid=".encode()
        )
        ears.listener.stop()

    assert not ears.listener._thread.is_alive()
