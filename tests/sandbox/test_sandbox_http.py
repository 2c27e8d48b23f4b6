"""The stand-in on the wire: encodings, tokens, faults, connections."""

import json
import socket
from threading import Thread
from urllib.parse import urlsplit

import httpx
import pytest
from processes import wait_until

from semysync.sandbox import METHODS, Sandbox

MESSAGE = {"device": "active", "phone": "+79201234567", "msg": "Привет & 100% =)\n«да»"}

PARAMS = {
    "user": {},
    "sms": MESSAGE,
    "outbox_sms": {"start_id": "1", "phone": "+79201234567"},
    "inbox_sms": {"start_id": "1"},
    "devices": {"is_arhive": "0"},
    "cancel_sms": {"id_sms": "1"},
    "del_outbox_sms": {"list_id": "1, 2"},
    "del_inbox_sms": {"start_id": "99999999999", "date_start": "2026-3-9 9:00"},
}


def by_get(http, method, params):
    return http.get(f"{method}.php", params=params)


def by_form(http, method, params):
    return http.post(f"{method}.php", data=params)


def by_multipart(http, method, params):
    return http.post(f"{method}.php", files={name: (None, text) for name, text in params.items()})


def by_both(http, method, params):
    token = {"token": params["token"]}
    rest = {name: text for name, text in params.items() if name != "token"}
    return http.post(f"{method}.php", params=token, data=rest)


# Encodings


@pytest.mark.parametrize("ask", [by_get, by_form, by_multipart, by_both])
@pytest.mark.parametrize("method", sorted(PARAMS))
def test_every_method_takes_every_encoding(service, ask, method):
    answer = ask(service.http, method, {"token": service.sandbox.token, **PARAMS[method]})

    assert int(answer.json()["code"]) == 0
    assert service.sandbox.requests[-1].params == PARAMS[method]


@pytest.mark.parametrize("ask", [by_get, by_form, by_multipart])
def test_a_text_arrives_as_it_was_sent(service, ask):
    id_ = ask(service.http, "sms", {"token": service.sandbox.token, **MESSAGE}).json()["id"]

    row = service.account.row("sent", id_)
    assert row["msg"].replace("\r\n", "\n") == MESSAGE["msg"]
    assert row["phone"] == MESSAGE["phone"]


@pytest.mark.parametrize("method", sorted(PARAMS))
def test_a_json_body_is_not_seen(service, method):
    document = {"token": service.sandbox.token, **PARAMS[method]}

    answer = service.http.post(f"{method}.php", json=document)

    assert answer.json()["error"] == "Wrong token"
    assert service.sandbox.requests[-1].params == {}


def test_the_batch_is_json_whatever_its_type(service):
    document = json.dumps({"token": service.sandbox.token, "data": [MESSAGE]})

    for kind in ("application/json", "text/plain", "application/x-www-form-urlencoded"):
        answer = service.http.post("sms_more.php", content=document, headers={"Content-Type": kind})
        assert answer.json()["code"] == "0"

    form = service.http.post("sms_more.php", data={"token": service.sandbox.token})
    assert form.json()["error"] == "Wrong token"


@pytest.mark.parametrize("body", [b"[1]", b"{", b"", b"\xff"])
def test_a_batch_that_is_no_document_has_no_token(service, body):
    assert service.http.post("sms_more.php", content=body).json()["error"] == "Wrong token"


def test_the_body_wins_over_the_query(service):
    service.http.post("inbox_sms.php?start_id=1&end_id=2", data={"start_id": "7"})

    assert service.sandbox.requests[-1].params == {"start_id": "7", "end_id": "2"}


def test_a_bare_plus_is_a_blank(service):
    service.http.get("sms.php?phone=+7920")

    assert service.sandbox.requests[-1].params == {"phone": " 7920"}


def test_the_whole_inbox_needs_token_and_start_id_only(service):
    ids = service.account.ids("inbox")

    answer = service.http.get(
        "inbox_sms.php", params={"token": service.sandbox.token, "start_id": 1}
    )

    assert [row["id"] for row in answer.json()["data"]] == ids


def test_php_of_old_gets_no_chunks(serve):
    service = serve(content_length="chunked")
    url = f"/api/3/user.php?token={service.sandbox.token}"

    answer = talk(service, f"GET {url} HTTP/1.0\r\n\r\n".encode())

    assert b"chunked" not in answer
    assert answer.endswith(b'"messages_premium":1730}')


def talk(service, request):
    """All bytes that come back over a socket of our own."""
    with socket.create_connection(("127.0.0.1", httpx.URL(service.sandbox.base_url).port)) as sock:
        sock.sendall(request)
        return b"".join(iter(lambda: sock.recv(65536), b""))


def test_a_body_without_a_length_is_refused(service):
    request = b"POST /api/3/user.php HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    huge = b"POST /api/3/user.php HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n"

    assert b"411" in talk(service, request).splitlines()[0]
    assert b"413" in talk(service, huge).splitlines()[0]


@pytest.mark.parametrize("path", ["balance.php", "sms", "../../index.html", "sms.php/x"])
def test_other_paths_are_not_found(service, path):
    answer = service.http.post(path, data={"token": service.sandbox.token})

    assert answer.status_code == 404
    assert "<html>" in answer.text


# Tokens


@pytest.mark.parametrize(
    ("wrong_token", "code", "status"),
    [
        ("minus_one", "-1", 200),
        ("other_code", "-403", 200),
        ("http_401", "-1", 401),
        ("http_403", "-1", 403),
    ],
)
def test_a_wrong_token_is_refused(serve, wrong_token, code, status):
    service = serve(wrong_token=wrong_token)

    for params in ({"token": "0" * 32}, {}, {"token": "ключ"}):
        answer = service.http.post("sms.php", data={**MESSAGE, **params})
        assert answer.json() == {"code": code, "error": "Wrong token"}
        assert answer.status_code == status


@pytest.mark.parametrize("method", METHODS)
def test_every_method_wants_the_token(service, method):
    assert int(service.http.post(f"{method}.php").json()["code"]) == -1


def test_errors_may_be_in_russian(serve):
    service = serve(error_language="ru")

    assert service.ask("sms", device=9, phone="900", msg="Hi")["error"] == "Устройство не найдено"


def test_the_token_is_random_enough_and_kept_to_itself(service, capfd):
    token = service.sandbox.token
    assert len(token) == 32
    int(token, 16)

    service.http.get("user.php", params={"token": token})
    service.http.get("nothing.php", params={"token": token})
    service.ask("user")
    more = {"token": token, "data": []}
    service.http.post("sms_more.php", json=more)

    assert token not in repr(service.sandbox.requests)
    assert [call.token_in for call in service.sandbox.requests] == [
        "query",
        "query",
        "body",
        "body",
    ]
    assert capfd.readouterr() == ("", "")


def test_a_token_can_be_chosen(serve):
    assert serve(token="2d9d148edeb50768c22dc6d96f85d60b").ask("user")["code"] == 0


def test_requests_are_kept_in_order_and_can_be_forgotten(service, clock):
    service.ask("user")
    service.ask("inbox_sms", start_id=3)

    assert [call.method for call in service.sandbox.requests] == ["user", "inbox_sms"]
    assert service.sandbox.requests[1].params == {"start_id": "3"}
    assert service.sandbox.requests[1].at == clock.now
    assert service.sandbox.requests[1].verb == "POST"

    service.sandbox.requests.clear()
    assert service.sandbox.requests == []


# Faults


def test_of_very_many_requests_the_last_are_kept(service, monkeypatch):
    monkeypatch.setattr("semysync.sandbox.server._MOST_KEPT_CALLS", 10)

    for number in range(25):
        service.post("devices", number=number)

    numbers = [int(call.params["number"]) for call in service.sandbox.requests]
    assert numbers == list(range(25))[-len(numbers) :]
    assert 5 <= len(numbers) <= 10


def test_a_byte_order_mark_comes_first(serve):
    content = serve(fault="bom").post("user").content

    assert content.startswith(b'\xef\xbb\xbf{"code":0')


def test_a_warning_comes_first(serve):
    text = serve(fault="warning").post("user").text

    assert text.startswith("<br />\n<b>Warning</b>")
    assert json.loads(text[text.index("{") :])["code"] == 0


@pytest.mark.parametrize(
    ("fault", "status"),
    [("html", 200), ("http_429", 429), ("http_500", 500), ("http_404", 404)],
)
def test_a_page_comes_instead(serve, fault, status):
    service = serve(fault=fault)
    before = service.account.ids("sent")

    answer = service.post("sms", **MESSAGE)

    assert answer.status_code == status
    assert "<html>" in answer.text
    assert "Retry-After" not in answer.headers
    assert service.account.ids("sent") == before


def test_an_answer_may_be_empty(serve):
    answer = serve(fault="empty").post("user")

    assert (answer.status_code, answer.content) == (200, b"")


def test_too_many_requests_may_say_for_how_long(serve):
    assert serve(fault="http_429", retry_after=7).post("user").headers["Retry-After"] == "7"


@pytest.mark.parametrize("status", [200, 400, 500])
def test_an_api_error_has_a_status(serve, status):
    answer = serve(fault="api_error", fault_status=status).post("inbox_sms")

    assert answer.status_code == status
    assert answer.json() == {"code": "-1", "error": "Internal error"}


def test_a_redirect_shows_who_follows(serve):
    service = serve(fault="redirect", fault_times=1)

    answer = service.post("user")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/moved/user.php")

    service.http.send(answer.next_request)
    assert service.sandbox.requests[-1].method == "/moved/user.php"


def test_an_answer_may_be_cut_off_in_the_line(serve):
    service = serve(fault="cut")
    before = len(service.account.ids("sent"))

    with pytest.raises(httpx.RemoteProtocolError):
        service.post("sms", **MESSAGE)

    assert len(service.account.ids("sent")) == before + 1


def test_an_answer_may_end_halfway(serve):
    answer = serve(fault="truncated").post("user")

    assert answer.status_code == 200
    assert answer.text.startswith('{"code":0')
    with pytest.raises(ValueError, match=r"."):
        answer.json()


def test_a_connection_may_be_dropped(serve):
    service = serve(fault="drop", fault_times=1)
    before = service.account.ids("sent")

    with pytest.raises(httpx.RemoteProtocolError):
        service.post("sms", **MESSAGE)

    assert service.account.ids("sent") == before
    assert service.ask("user")["code"] == 0


def test_a_call_may_hang_until_the_client_gives_up(serve):
    service = serve(fault="hang")

    with pytest.raises(httpx.ReadTimeout):
        service.http.post("user.php", timeout=0.05)

    # The client may have given up before the server began.
    wait_until(lambda: service.sandbox.requests)


def test_a_hanging_call_ends_with_the_sandbox(serve):
    service = serve(fault="hang")
    ended = []

    def ask():
        try:
            service.post("user")
        except httpx.TransportError as exc:
            ended.append(exc)

    client = Thread(target=ask)
    client.start()
    wait_until(lambda: service.sandbox.requests)
    service.sandbox.stop()
    client.join()

    assert len(ended) == 1


def test_an_answer_may_be_huge(serve):
    service = serve(fault="huge_text")

    with service.http.stream("POST", "user.php", data={"token": service.sandbox.token}) as answer:
        size = sum(len(piece) for piece in answer.iter_raw(1 << 20))

    assert size > 40 * 1024 * 1024


def test_a_fault_may_be_for_some_methods_and_some_times(serve):
    service = serve(fault="http_500", fault_methods="inbox_sms, sms", fault_times=2)

    seen = [
        service.post(method).status_code
        for method in ("user", "inbox_sms", "outbox_sms", "inbox_sms", "inbox_sms")
    ]

    assert seen == [200, 500, 200, 500, 200]
    assert service.sandbox.switches.fault == "none"
    assert service.sandbox.switches.fault_times == 0


def test_a_fault_without_a_number_stays(serve):
    service = serve(fault="http_500")

    assert [service.post("user").status_code for _ in range(3)] == [500] * 3
    service.sandbox.set(fault="none")
    assert service.ask("user")["code"] == 0


def test_a_late_answer_belongs_to_a_call_that_is_done(serve):
    service = serve(delay_s=60)
    before = len(service.account.ids("sent"))
    form = {"token": service.sandbox.token, **MESSAGE}

    with pytest.raises(httpx.ReadTimeout):
        service.http.post("sms.php", data=form, timeout=0.1)

    # The client may have given up before the server began.
    wait_until(lambda: len(service.account.ids("sent")) > before)


# Lengths, connections, life


def test_answers_have_a_length(service):
    answer = service.post("inbox_sms", start_id=1)

    assert int(answer.headers["Content-Length"]) == len(answer.content)


def test_answers_may_come_in_chunks(serve):
    service = serve(content_length="chunked", messages=3000)

    answer = service.post("inbox_sms", start_id=1)

    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert answer.json()["data"] == list(service.account.rows("inbox"))


def test_very_long_lists_come_in_chunks_unasked(serve):
    service = serve(messages=450_000)

    with service.http.stream(
        "POST", "inbox_sms.php", data={"token": service.sandbox.token, "start_id": 1}
    ) as answer:
        next(answer.iter_raw(1000))
        made = service.account._shelves["inbox"].history.generated

    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert made < 202_500


def test_one_connection_carries_many_calls(service):
    request = f"GET /api/3/user.php?token={service.sandbox.token} HTTP/1.1\r\nHost: x\r\n"

    answer = talk(service, f"{request}\r\n{request}Connection: close\r\n\r\n".encode())

    assert answer.count(b"HTTP/1.1 200 OK") == 2


def test_the_date_header_is_the_injected_clocks(service, clock):
    assert service.post("user").headers["Date"] == "Tue, 10 Mar 2026 12:00:00 GMT"
    clock.move(days=400)
    assert service.post("user").headers["Date"] == "Wed, 14 Apr 2027 12:00:00 GMT"


def test_a_stopped_service_refuses_and_can_come_back(service):
    id_ = service.send()
    url = service.sandbox.base_url

    service.sandbox.stop()
    with pytest.raises(httpx.TransportError):
        service.ask("user")

    service.sandbox.start()
    assert service.sandbox.base_url == url
    assert service.listed("outbox_sms", list_id=id_) == [id_]


@pytest.mark.parametrize("down", ["refuse", "stop"])
def test_nobody_else_is_given_the_port_of_a_service_that_is_down(service, down):
    getattr(service.sandbox, down)()

    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", urlsplit(service.sandbox.base_url).port))


def test_the_port_is_given_back_in_the_end():
    with Sandbox(messages=0, devices=1) as sandbox:
        port = urlsplit(sandbox.base_url).port

    with socket.socket() as other:
        other.bind(("127.0.0.1", port))


def test_starting_and_stopping_twice_does_no_harm(clock):
    sandbox = Sandbox(messages=0, clock=clock)
    sandbox.stop()
    with sandbox:
        sandbox.start()
        assert sandbox.base_url.startswith("http://127.0.0.1:")
        assert sandbox.base_url.endswith("/api/3/")
    sandbox.wait()


def test_many_connections_are_served_at_once(service):
    texts = [f"text {number}" for number in range(40)]

    def send(text):
        with httpx.Client(verify=False, trust_env=False) as http:
            form = {"token": service.sandbox.token, **MESSAGE, "msg": text}
            http.post(f"{service.sandbox.base_url}sms.php", data=form)

    threads = [Thread(target=send, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(row["msg"] for row in list(service.account.rows("sent"))[-40:]) == sorted(texts)
