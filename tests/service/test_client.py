"""The nine calls over real HTTP, and what each way of failing means."""

import socket
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from processes import free_port

from semysync.errors import (
    AnswerLost,
    Refused,
    ServiceError,
    Throttled,
    TooLarge,
    Unreachable,
    Unreadable,
)
from semysync.model import Accepted, Box, Outgoing
from semysync.service.client import Client
from semysync.service.questions import Dates, Doomed, Ids, Range

ALL = Range(1)


def outgoing(text="Ready", **fields):
    return Outgoing(device="active", phone="+79201234567", text=text, **fields)


def answering(respond, **options):
    """A client whose requests are answered by a function: for answers no stand-in would give."""
    return Client("secret" * 5, transport=httpx.MockTransport(respond), **options)


def test_both_boxes_are_listed_with_and_without_a_device(client, sandbox):
    for box in Box:
        shown = {row.id for row in client.messages(box, ALL)}
        of_devices = [
            {row.id for row in client.messages(box, ALL, device.id)}
            for archived in (False, True)
            for device in client.devices(archived=archived)
        ]

        assert shown == set(sandbox.account.ids(box)) == set().union(*of_devices)


def test_a_range_a_list_and_dates_narrow(client, sandbox):
    ids = sorted(sandbox.account.ids("sent"))
    today = datetime.now()  # noqa: DTZ005

    assert {row.id for row in client.sent(Range(ids[3], ids[5]))} == set(ids[3:6])
    assert {row.id for row in client.sent(Ids((ids[3], ids[9])))} == {ids[3], ids[9]}
    week = Dates(today - timedelta(days=5), today + timedelta(days=2))
    assert 0 < client.sent(week).size < len(ids)


def test_the_account_is_read(client):
    account = client.user()

    assert account.user_id is not None
    assert account.messages_left is not None


def test_a_message_is_sent_and_can_be_cancelled(client, sandbox):
    accepted = client.send(outgoing())
    client.cancel(accepted.id)

    (row,) = client.sent(Ids((accepted.id,)))
    assert (row.text, row.is_cancel, row.device_id) == ("Ready", 1, accepted.device_id)


def test_several_messages_are_sent_in_one_request(client):
    taken = client.send_many([outgoing("one", reference="d1"), outgoing("two", reference="d2")])

    rows = {row.id: row.text for row in client.sent(Ids(tuple(a.id for a in taken.values())))}
    assert rows == {taken["d1"].id: "one", taken["d2"].id: "two"}
    assert client.requests == 2


def test_a_batch_without_references_of_its_own_is_not_sent(client):
    for batch in ([outgoing()], [outgoing(reference="x" * 51)], [outgoing(reference="a")] * 2):
        with pytest.raises(ValueError, match="reference of its own"):
            client.send_many(batch)

    assert client.requests == 0


def test_a_device_s_queue_is_cancelled(client):
    accepted = client.send(outgoing())

    client.cancel_all_waiting(accepted.device_id)

    (row,) = client.sent(Ids((accepted.id,)))
    assert row.is_cancel == 1


def test_deletes_return_what_is_gone(client, sandbox):
    oldest = next(sandbox.account.rows("inbox"))
    day = datetime.fromisoformat(oldest["date"])
    dates = Dates(day - timedelta(days=1), day + timedelta(days=1))

    client.user()

    gone = client.delete_inbox(
        Doomed(oldest["id_device"], Range(oldest["id"], oldest["id"]), dates, datetime.now(UTC))
    )

    assert [row.id for row in gone] == [oldest["id"]]
    assert oldest["id"] not in set(sandbox.account.ids("inbox"))


def test_deletes_of_sent_messages_go_by_list(client, sandbox):
    oldest = next(sandbox.account.rows("sent"))
    day = datetime.fromisoformat(oldest["date"])
    dates = Dates(day - timedelta(days=1), day + timedelta(days=1))

    client.user()

    gone = client.delete_sent(
        Doomed(oldest["id_device"], Ids((oldest["id"],)), dates, datetime.now(UTC))
    )

    assert [row.id for row in gone] == [oldest["id"]]
    assert oldest["id"] not in set(sandbox.account.ids("sent"))


@pytest.mark.parametrize("ahead_s", [None, 301, 10**9])
def test_nothing_is_deleted_by_a_clock_that_the_service_does_not_bear_out(ahead_s):
    requests = []

    def respond(request):
        requests.append(request)
        dated = {} if ahead_s is None else {"Date": formatdate(usegmt=True)}
        return httpx.Response(200, json={"code": "0", "count": 0, "data": []}, headers=dated)

    client = answering(respond)
    client.user()
    now = datetime.now(UTC) + timedelta(seconds=ahead_s or 0)
    dates = Dates(datetime(2026, 1, 1), datetime(2026, 1, 2))

    with pytest.raises(ValueError, match="clock"):
        client.delete_sent(Doomed(1, Ids((1,)), dates, now))

    assert len(requests) == 1


def test_every_call_is_a_post_with_the_token_in_its_body():
    requests = []

    def respond(request):
        requests.append(request)
        answer = {"code": "0", "count": 0, "id": 1, "data": []}
        return httpx.Response(200, json=answer, headers={"Date": formatdate(usegmt=True)})

    client = answering(respond)
    now = datetime.now(UTC)
    dates = Dates(datetime(2026, 1, 1), datetime(2026, 1, 2))
    client.user()
    list(client.devices(archived=False))
    list(client.inbox(ALL))
    list(client.sent(ALL))
    client.send(outgoing())
    client.send_many([outgoing(reference="a")])
    client.cancel(1)
    client.delete_inbox(Doomed(1, Range(1, 1), dates, now))
    client.delete_sent(Doomed(1, Ids((1,)), dates, now))

    assert len(requests) == 9
    for request in requests:
        assert request.method == "POST"
        assert b"secret" * 5 in request.content
        assert "secret" not in str(request.url)
        assert not any("secret" in value for value in request.headers.values())
        batch = request.url.path.endswith("sms_more.php")
        kind = "application/json" if batch else "application/x-www-form-urlencoded"
        assert request.headers["Content-Type"] == kind


def test_a_plus_and_any_script_arrive_as_they_are(client):
    accepted = client.send(outgoing("1+1=2 & Ещё 💙\n%20"))

    (row,) = client.sent(Ids((accepted.id,)))
    assert (row.phone, row.text) == ("+79201234567", "1+1=2 & Ещё 💙\n%20")


FAULTS_OF_QUESTIONS = [
    ({"fault": "html"}, Unreadable, "no JSON"),
    ({"fault": "empty"}, Unreadable, "the body is empty"),
    ({"fault": "cut"}, Unreadable, "."),
    ({"fault": "truncated"}, Unreadable, "."),
    ({"fault": "drop"}, Unreadable, "the connection broke"),
    ({"fault": "http_500"}, Unreadable, "in trouble .HTTP 500"),
    ({"fault": "http_404"}, Refused, "HTTP 404.; check `base_url`"),
    ({"fault": "http_429"}, Throttled, "asks for a pause"),
    ({"fault": "redirect"}, Unreadable, "points elsewhere"),
    ({"fault": "api_error"}, Refused, "refuses"),
    ({"fault": "api_error", "fault_status": 400}, Refused, "refuses"),
    ({"fault": "api_error", "fault_status": 500}, Unreadable, "in trouble"),
]


@pytest.mark.parametrize(("switches", "error", "words"), FAULTS_OF_QUESTIONS)
def test_what_a_failed_question_means(client, sandbox, switches, error, words):
    sandbox.set(**switches)

    with pytest.raises(ServiceError, match=words) as raised:
        client.inbox(ALL)

    assert type(raised.value) is error
    assert sandbox.token not in str(raised.value)


@pytest.mark.parametrize(
    ("response", "error", "words"),
    [
        (httpx.Response(204), Unreadable, "an answer without contents .HTTP 204"),
        (httpx.Response(200, json={}), Unreadable, "the answer says nothing"),
        (httpx.Response(200, json={"code": "E7"}), Refused, "refuses .code E7"),
        (httpx.Response(400, json={"code": 0, "balance": 3}), Refused, "refuses .HTTP 400"),
    ],
)
def test_what_an_answer_means_that_says_next_to_nothing(response, error, words):
    with pytest.raises(ServiceError, match=words) as raised:
        answering(lambda _: response).user()

    assert type(raised.value) is error


@pytest.mark.parametrize(
    ("switches", "error"),
    [
        ({"fault": "html"}, AnswerLost),
        ({"fault": "empty"}, AnswerLost),
        ({"fault": "cut"}, AnswerLost),
        ({"fault": "drop"}, AnswerLost),
        ({"fault": "http_500"}, AnswerLost),
        ({"fault": "redirect"}, AnswerLost),
        ({"fault": "api_error", "fault_status": 500}, AnswerLost),
        ({"fault": "http_429"}, Throttled),
        ({"fault": "http_404"}, Refused),
        ({"fault": "api_error"}, Refused),
        ({"fault": "api_error", "fault_status": 400}, Refused),
    ],
)
def test_what_a_failed_send_means(client, sandbox, switches, error):
    sandbox.set(**switches)

    with pytest.raises(ServiceError) as raised:
        client.send(outgoing())

    assert type(raised.value) is error


@pytest.mark.parametrize(
    ("switches", "error"),
    [
        ({"fault": "http_429"}, Throttled),
        ({"fault": "http_404"}, Refused),
        ({"fault": "api_error"}, AnswerLost),
        ({"fault": "api_error", "fault_status": 400}, AnswerLost),
        ({"fault": "http_500"}, AnswerLost),
    ],
)
def test_a_batch_that_is_refused_may_have_been_taken_in_part(client, sandbox, switches, error):
    sandbox.set(**switches)

    with pytest.raises(ServiceError) as raised:
        client.send_many([outgoing(reference="d1")])

    assert type(raised.value) is error


@pytest.mark.parametrize("answer", [{"code": "0"}, {"code": "0", "id": None}, {"code": 0, "id": 0}])
def test_a_send_whose_answer_names_no_message_is_lost(answer):
    client = answering(lambda _: httpx.Response(200, json=answer))

    with pytest.raises(AnswerLost, match="names no message"):
        client.send(outgoing())


@pytest.mark.parametrize(
    ("rows", "taken"),
    [
        ([{"my_id": "b", "id": 2}, {"my_id": "a", "id": "1"}], {"a": 1, "b": 2}),
        ({"0": {"my_id": "a", "id": 1}}, {"a": 1}),
        ([{"id": 1}, {"id": 2}], {}),
        ([{"my_id": "other", "id": 1}, 7, None, {"my_id": "b", "id": "x"}], {}),
        (None, {}),
    ],
)
def test_a_batch_is_paired_by_reference_only(rows, taken):
    client = answering(lambda _: httpx.Response(200, json={"code": "0", "data": rows}))

    found = client.send_many([outgoing(reference="a"), outgoing(reference="b")])

    assert found == {key: Accepted(number, None) for key, number in taken.items()}


def test_an_address_where_nobody_listens_is_unreachable_for_questions_and_sends():
    client = Client("0" * 32, base_url=f"http://127.0.0.1:{free_port()}/api/3/")

    with pytest.raises(Unreachable, match=r"cannot connect to 127\.0\.0\.1 .*base_url"):
        client.user()
    with pytest.raises(Unreachable):
        client.send(outgoing())


def test_a_host_that_does_not_exist_is_unreachable():
    client = Client("0" * 32, base_url="https://semysms.invalid/api/3/")

    with pytest.raises(Unreachable, match=r"cannot connect to semysms\.invalid"):
        client.user()


@pytest.fixture
def refusing_proxy():
    """A proxy that opens no connection to anybody; its address."""

    class Proxy(BaseHTTPRequestHandler):
        def do_CONNECT(self):
            self.send_error(407)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_behind_a_proxy_that_refuses_the_service_is_unreachable_so_nothing_was_sent(
    refusing_proxy, monkeypatch
):
    monkeypatch.setenv("HTTPS_PROXY", refusing_proxy)

    with Client("0" * 32, base_url="https://semysms.invalid/api/3/") as client:
        with pytest.raises(Unreachable, match="407 Proxy Authentication Required"):
            client.user()
        with pytest.raises(Unreachable):
            client.send(outgoing())


def test_a_server_without_tls_is_unreachable_so_nothing_was_sent(sandbox):
    client = Client("0" * 32, base_url=sandbox.base_url.replace("http:", "https:"))

    with pytest.raises(Unreachable):
        client.send(outgoing())

    assert sandbox.requests == []


def test_a_service_that_hangs_is_given_up_after_the_time_out(sandbox):
    sandbox.set(fault="hang")

    with Client(sandbox.token, base_url=sandbox.base_url, timeout_s=0.2) as client:
        with pytest.raises(Unreadable, match=r"no answer within 0\.2 s"):
            client.user()
        with pytest.raises(AnswerLost, match=r"no answer within 0\.2 s"):
            client.send(outgoing())


def test_an_answer_that_drips_in_for_ever_is_given_up():
    """One byte in each half of the time-out would else hold a pull for ever."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip():
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
                while not stop.wait(0.01):
                    try:
                        connection.sendall(b" ")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        address = f"http://127.0.0.1:{server.getsockname()[1]}/"
        with (
            Client("0" * 32, base_url=address, timeout_s=0.05) as client,
            pytest.raises(Unreadable, match="no answer within"),
        ):
            client.user()
        stop.set()
        thread.join()


@pytest.mark.parametrize("length", ["yes", "chunked"])
def test_an_answer_that_is_too_large_is_broken_off(sandbox, length):
    sandbox.set(content_length=length)

    with Client(sandbox.token, base_url=sandbox.base_url, largest_answer=10_000) as client:
        with pytest.raises(TooLarge):
            client.sent(ALL)
        assert client.sent(Range(1, min(sandbox.account.ids("sent")))).size == 1


def test_a_pause_is_as_long_as_the_service_asks(client, sandbox):
    sandbox.set(fault="http_429", retry_after=17)

    with pytest.raises(Throttled) as raised:
        client.user()

    assert raised.value.retry_after_s == 17


@pytest.fixture
def in_tokyo(monkeypatch):
    with monkeypatch.context() as there:
        there.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


NINE = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("date", "theirs"),
    [
        ("Mon, 23 Nov 2026 09:00:00 GMT", NINE),
        ("Mon, 23 Nov 2026 09:00:00 -0000", NINE),  # in UTC, from who knows where
        ("Mon, 23 Nov 2026 12:00:00 +0300", NINE),
        ("Mon, 23 Nov 99999999999999999999 09:00:00 GMT", None),
        ("Mon, 23 Nov 2026 09:00:00 +99999999999999", None),
        ("soon", None),
    ],
)
@pytest.mark.usefixtures("in_tokyo")
def test_the_time_at_the_service_is_what_its_answer_says_or_nothing(date, theirs):
    answer = httpx.Response(200, json={"code": 0}, headers={"Date": date})
    client = answering(lambda _: answer)

    client.user()

    now = client.service_now()
    assert now is theirs or timedelta(0) <= now - theirs < timedelta(minutes=1)


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(200, text="Query failed: token=" + "secret" * 5),
        httpx.Response(200, json={"code": -1, "error": "bad token " + "secret" * 5}),
        httpx.Response(400, json={"code": -1, "error": "bad token " + "secret" * 5}),
        httpx.Response(302, headers={"Location": "https://x.example/" + "secret" * 5}),
    ],
)
def test_the_token_is_in_no_error_even_where_the_service_prints_it(response):
    client = answering(lambda _: response)

    for call in (client.user, lambda: client.inbox(ALL), lambda: client.send(outgoing())):
        with pytest.raises(ServiceError) as raised:
            call()
        assert "secret" not in str(raised.value)
        assert "secret" not in repr(raised.value)
        assert raised.value.__cause__ is None
    assert "secret" not in repr(client)


@pytest.mark.parametrize("wrong", ["minus_one", "other_code", "http_401", "http_403"])
def test_a_wrong_token_is_refused_in_every_form(sandbox, wrong):
    sandbox.set(wrong_token=wrong)

    with Client("f" * 32, base_url=sandbox.base_url) as client, pytest.raises(Refused):
        client.user()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"code": "-1", "error": "no"}, Refused),
        ({"code": 7}, Refused),
        ({"code": "-1", "error": "no", "id": 371}, AnswerLost),
        ({"code": "0", "error": "queue is full", "id": 371}, AnswerLost),
        ({"error": "no"}, AnswerLost),
        ({"code": "0.0", "error": "no"}, AnswerLost),
        ({"code": False, "error": "no"}, AnswerLost),
    ],
)
def test_only_a_code_that_is_not_zero_and_no_message_make_a_refusal_sure(answer, error):
    client = answering(lambda _: httpx.Response(200, json=answer))

    with pytest.raises(ServiceError) as raised:
        client.send(outgoing())

    assert type(raised.value) is error


def test_no_error_drags_the_request_along_which_holds_the_token(client, sandbox):
    sandbox.set(fault="drop")

    with pytest.raises(Unreadable) as raised:
        client.user()

    assert raised.value.__context__ is None


def test_an_answer_that_is_cut_shows_nothing_of_its_messages(client, sandbox):
    sandbox.set(fault="truncated")

    with pytest.raises(Unreadable) as raised:
        client.sent(ALL)

    assert "phone" not in str(raised.value)
    assert "+" not in str(raised.value)


def test_certificates_are_read_only_where_the_service_is_not_on_loopback(monkeypatch):
    read = []
    monkeypatch.setattr(
        ssl,
        "create_default_context",
        lambda **_: read.append(1) or ssl._create_unverified_context(),
    )

    with Client("secret" * 5, base_url="http://127.0.0.1:9/api/3/"):
        assert not read
    with Client("secret" * 5):
        assert read
