"""Calls of webhooks, in every encoding that the service may use: read leniently, or left alone."""

import json
from itertools import pairwise
from urllib.parse import urlencode

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semysync.follow.calls import MOST_FIELDS, fields_of, hint_of
from semysync.follow.hints import Doorbell

FIELDS = {
    "id": "15",
    "date": "2024-03-04 11:21:40",
    "phone": "+79201234567",
    "msg": 'Спасибо & = ; "x"\r\nзавтра 👋',
    "type": "2",
    "id_device": "351",
}


def encoded(how, fields):
    """Return what a client of the library that we do not read with would send."""
    match how:
        case "multipart":
            request = httpx.Request("POST", "http://x", files=[(k, (None, v)) for k, v in fields])
        case "urlencoded":
            request = httpx.Request("POST", "http://x", content=urlencode(fields))
            request.headers["Content-Type"] = "application/x-www-form-urlencoded"
        case "json":
            request = httpx.Request("POST", "http://x", json=dict(fields))
        case "query":
            request = httpx.Request("GET", "http://x", params=fields)
    return request.headers.get("Content-Type", ""), request.url.query.decode(), request.read()


ENCODINGS = ("multipart", "urlencoded", "json", "query")


@pytest.mark.parametrize("how", ENCODINGS)
def test_every_encoding_is_read(how):
    hint = hint_of("inbox", fields_of(*encoded(how, list(FIELDS.items()))))

    assert hint.message_id == 15
    assert hint.device_id == 351
    assert hint.phone == "+79201234567"
    assert hint.text == FIELDS["msg"]
    assert hint.channel == "whatsapp_business"
    assert dict(hint.fields) == FIELDS


@pytest.mark.parametrize("how", ENCODINGS)
def test_empty_fields_are_as_good_as_none(how):
    hint = hint_of("sent", fields_of(*encoded(how, [("id", "7"), ("id_device", ""), ("msg", "")])))

    assert (hint.message_id, hint.device_id, hint.phone, hint.text) == (7, None, None, None)


@pytest.mark.parametrize("how", ["multipart", "urlencoded", "query"])
def test_of_a_doubled_field_the_first_counts_that_is_not_empty(how):
    fields = [("id", ""), ("msg", "a"), ("id", "7"), ("id", "8")]

    assert fields_of(*encoded(how, fields)) == {"id": "7", "msg": "a"}


def test_what_the_body_lacks_may_stand_in_the_query():
    assert fields_of("application/x-www-form-urlencoded", "id=1&id_device=3", b"id=2") == {
        "id": "2",
        "id_device": "3",
    }


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("text/plain", b'{"id": 7}', {"id": "7"}),
        ("", b"id=7", {"id": "7"}),
        (
            "application/json",
            b'\xef\xbb\xbf[{"id": 7, "is_send": true, "x": null}]',
            {"id": "7", "is_send": "1"},
        ),
        ("application/json", b"{", {}),
        ("application/json", b"[" * 60_000, {}),
        ("application/json", b'"id"', {}),
        ("multipart/form-data", b"--b\r\n", {}),
        ("multipart/form-data; boundary=b", b"no boundary at all", {}),
        ("multipart/form-data; boundary=" + "b" * 5000, b"--b", {}),
        ("application/x-www-form-urlencoded", b"&".join([b"a=1"] * 5000), {}),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' * MOST_FIELDS
            + b'--b\r\nContent-Disposition: form-data; name="id"\r\n\r\n7\r\n--b--',
            {"a": "1"},
        ),
        ("application/x-www-form-urlencoded", b"id=%ff%fe", {"id": "\ufffd\ufffd"}),
    ],
)
def test_what_lies_or_is_broken_is_read_as_far_as_it_goes(content_type, body, expected):
    assert fields_of(content_type, "", body) == expected


def test_a_multipart_body_that_was_cut_gives_what_came_whole():
    content_type, _, body = encoded("multipart", list(FIELDS.items()))

    assert fields_of(content_type, "", body[: body.index(b'name="msg"')])["id"] == "15"


@pytest.mark.parametrize("number", ["", "0", "-1", "1.5", "x", "٣", "1" * 19, "1e3", " "])
def test_without_an_id_that_can_be_one_it_is_no_hint_of_a_message(number):
    assert hint_of("inbox", {"id": number}) is None


@settings(max_examples=50)
@given(st.text(max_size=60), st.text(max_size=60), st.binary(max_size=300))
def test_whatever_comes_is_read(content_type, query, body):
    hint_of("inbox", fields_of(content_type, query, body))


@given(st.sampled_from(["multipart/form-data; boundary=b", "application/json"]), st.binary())
def test_whatever_comes_as_a_form_or_json_is_read(content_type, body):
    fields_of(content_type, "", b"--b\r\n" + body)
    fields_of(content_type, "", b"{" + body)


def test_a_status_is_read_as_documented():
    body = (
        b"id=371&id_device=351&phone=%2B79201234567&msg=Order+12+is+ready&is_send=1"
        b"&send_date=2024-03-04+11%3A15%3A09&is_delivered=&delivered_date="
    )
    fields = fields_of("application/x-www-form-urlencoded", "", body)

    assert hint_of("sent", fields).message_id == 371
    assert json.loads(json.dumps(fields))["is_delivered"] == ""


class Time:
    """Simulated time: calls what was put off when it is due."""

    def __init__(self):
        self.now = 0.0
        self.put_off = []

    def later(self, seconds, call):
        self.put_off.append((self.now + seconds, call))

    def to(self, now):
        for at, call in [due for due in self.put_off if due[0] <= now]:
            self.now = at
            self.put_off.remove((at, call))
            call()
        self.now = now


def test_the_bell_rings_at_once_and_then_once_a_second_for_all_that_came():
    time, rung = Time(), []
    bell = Doorbell(lambda box: rung.append((box, time.now)), time.later, clock=lambda: time.now)

    for at in (0, 0.1, 0.2, 0.9, 1.5, 1.6, 5):
        time.to(at)
        bell.press("inbox")
    bell.press("sent")
    time.to(10)

    assert rung == [
        ("inbox", 0),
        ("inbox", 1.0),  # for those that came meanwhile
        ("inbox", 2.0),
        ("inbox", 5),
        ("sent", 5),
    ]


@given(st.lists(st.floats(0, 3), max_size=50))
def test_whatever_comes_the_bell_rings_seldom_and_after_the_last_call(pauses):
    time, rung, pressed = Time(), [], []
    bell = Doorbell(lambda _: rung.append(time.now), time.later, clock=lambda: time.now)

    for pause in pauses:
        time.to(time.now + pause)
        pressed.append(time.now)
        bell.press("inbox")
    time.to(time.now + 2)

    assert all(later - sooner > 0.999 for sooner, later in pairwise(rung))
    assert not pressed or rung[-1] >= pressed[-1]


def test_half_an_emoji_is_no_text_and_is_read_all_the_same():
    body = b'{"id": "5", "msg": "Hi \\ud83d", "\\udc4b": "\\ud83d\\udc4b"}'

    assert fields_of("application/json", "", body) == {"id": "5", "msg": "Hi ?", "?": "👋"}
