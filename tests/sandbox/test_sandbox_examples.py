"""The documented samples: same keys, same order, same types."""

import json
import re

import pytest

USER = """{"code":0,"id_user":24,"is_pay":1,"type_premium":1,"date_end_premium":null,
 "messages_premium":1730}"""
DEVICES = """{"code":0,"count":1,"data":[{"id":351,"is_arhive":0,"is_deliv":1,"is_work":1,"power":1,
 "device_name":"A12","dop_name":"desk","speed_sms":1,"date_last_active":"2024-03-04 09:20:11.307120",
 "version":"61","limit_phone":null,"limit_use":null,"limit_date":"2024-03-01 00:00:02.551200",
 "limit_period":" ","manufacturer":"ACME","android_version":"11","bat":"77","type":0}]}"""
SENT = """{"code":"0","count":1,"data":[{"id":371,"phone":"+79201230000",
 "date":"2024-03-04 09:15:02.418309","msg":"Order 12 is ready","id_device":351,
 "send_to_phone":"2024-03-04 09:15:06.904120","is_send_to_phone":1,"is_send":1,
 "send":"2024-03-04 11:15:09","is_delivered":1,"delivered":"2024-03-04 11:15:12","is_cancel":0,
 "cancel":null,"is_error":0,"is_error_send":0,"error_date":null,"is_out":0,"type":0}]}"""
INBOX = """{"count":1,"data":[{"id":15,"phone":"+79201230000","date":"2024-03-04 11:21:40",
 "msg":"Thanks","id_device":351,"type":0}]}"""
DELETED_INBOX = """{"count":1,"data":[{"id":15,"phone":"+79201230000","date":"2024-03-04 11:21:40",
 "msg":"Thanks","id_device":351}]}"""
DELETED_SENT = """{"count":1,"data":[{"id":371,"phone":"+79201230000",
 "date":"2024-03-04 09:15:02.418309","msg":"Order 12 is ready","id_device":351,
 "send_to_phone":"2024-03-04 09:15:06.904120","is_send_to_phone":1,"is_send":1,
 "send":"2024-03-04 11:15:09","is_delivered":1,"delivered":"2024-03-04 11:15:12","is_error":0,
 "is_error_send":0,"error_date":null}]}"""


def shape(value):
    """Keys in order, types, and the look of dates; values only where they are codes."""
    if isinstance(value, dict):
        return [(key, value[key] if key == "code" else shape(value[key])) for key in value]
    if isinstance(value, list):
        return [shape(member) for member in value]
    if isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\d ", value):
        return re.sub(r"\d", "9", value)
    return type(value).__name__


@pytest.fixture
def story(serve, clock):
    """One device, a text that was sent and delivered, and one that came back."""
    service = serve(messages=0, devices=1)
    service.device = min(service.account.devices)
    service.sent = service.send("Order 12 is ready", device=service.device)
    clock.move(minutes=5)
    service.received = service.account.receive("+79201234567", "Thanks")
    return service


def test_the_account_looks_as_it_was_recorded(story):
    assert shape(story.ask("user")) == shape(json.loads(USER))


def test_devices_look_as_they_were_recorded(story):
    assert shape(story.ask("devices", is_arhive=0)) == shape(json.loads(DEVICES))


def test_a_message_that_is_taken_is_answered_as_recorded(story):
    answer = story.ask("sms", device=story.device, phone="+79201234567", msg="Order 12 is ready")

    assert shape(answer) == [("code", "0"), ("id", "int"), ("id_device", "int")]


def test_a_message_that_is_refused_is_answered_as_recorded(story):
    text = story.post("sms", device=9, phone="+79201234567", msg="Order 12 is ready").text

    assert text == '{"code":"-1","error":"Device not found"}'


def test_a_batch_is_answered_as_recorded(story):
    items = [
        {"my_id": "d7", "device": str(story.device), "phone": "+79201234567", "msg": "Ready"},
        {"my_id": "d8", "device": str(story.device), "phone": "+79201234567", "msg": "Shut at six"},
    ]

    answer = story.http.post("sms_more.php", json={"token": story.sandbox.token, "data": items})

    assert shape(answer.json()) == [
        ("code", "0"),
        ("data", [[("my_id", "str"), ("id", "int")]] * 2),
    ]


def test_sent_messages_look_as_they_were_recorded(story):
    answer = story.ask("outbox_sms", device=story.device, list_id=story.sent)

    assert shape(answer) == shape(json.loads(SENT))


def test_received_messages_look_as_they_were_recorded_without_a_code(story):
    story.sandbox.set(code="absent")

    answer = story.ask("inbox_sms", device=story.device, start_id=story.received)

    assert shape(answer) == shape(json.loads(INBOX))


def test_a_cancellation_is_answered_as_recorded(story):
    assert story.post("cancel_sms", id_sms=story.send()).text == '{"code":"0"}'


def test_received_messages_that_are_deleted_look_as_they_were_recorded(story):
    story.sandbox.set(code="absent")

    answer = story.ask(
        "del_inbox_sms",
        device=story.device,
        start_id=story.received,
        end_id=story.received,
        date_start="2026-03-02 00:00:00",
        date_end="2026-03-12 23:59:59",
    )

    assert shape(answer) == shape(json.loads(DELETED_INBOX))


def test_sent_messages_that_are_deleted_look_as_they_were_recorded(story):
    story.sandbox.set(code="absent")

    answer = story.ask("del_outbox_sms", device=story.device, list_id=story.sent)

    assert shape(answer) == shape(json.loads(DELETED_SENT))
