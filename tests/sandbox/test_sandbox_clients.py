"""
The requests of public clients, in the encodings that each uses, and what each reads in the answer.

They are re-enacted in words of our own; which client pins down what is said at each test.
"""

import json
from urllib.parse import quote

import pytest

PHONE = "+79201234567"
TEXT = "Заказ 12 готов & ждёт: 100%"


def device_of(service):
    return min(service.account.devices)


def form_of(text):
    """A multipart body as curl writes it for `-F name=value`, by hand."""
    parts = [
        f'--------b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in text.items()
    ]
    return "".join([*parts, "--------b--\r\n"]).encode(), "multipart/form-data; boundary=------b"


def post(service, method, content, kind=None, query=""):
    headers = {} if kind is None else {"Content-Type": kind}
    answer = service.http.post(f"{method}.php{query}", content=content, headers=headers)
    assert answer.status_code == 200
    return answer.json()


def sent(service, number):
    row = service.account.row("sent", number)
    return row["phone"], row["msg"]


def test_the_documentation_sends_a_multipart_form_and_json(service):
    fields = {"token": service.sandbox.token, "phone": PHONE, "msg": TEXT, "device": "active"}
    content, kind = form_of(fields)

    one = post(service, "sms", content, kind)
    item = {"my_id": "1", "device": str(device_of(service)), "phone": PHONE, "msg": TEXT}
    document = {"token": service.sandbox.token, "data": [item]}
    more = post(service, "sms_more", json.dumps(document), "application/json")

    assert one["code"] == "0"
    assert sent(service, one["id"]) == (PHONE, TEXT)
    assert more["code"] == "0"
    assert more["data"][0]["my_id"] == "1"


def test_messenger_has_the_token_in_the_query_and_wants_a_code_in_text(service):
    content, kind = form_of({"phone": PHONE, "msg": TEXT, "device": str(device_of(service))})

    answer = post(service, "sms", content, kind, f"?token={service.sandbox.token}")

    assert answer["code"] == "0"
    assert sent(service, answer["id"]) == (PHONE, TEXT)


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        ("outbox_sms", {"start_id": "1", "end_id": "999999999"}),
        ("outbox_sms", {"list_id": "1,2"}),
        ("inbox_sms", {"start_id": "1", "end_id": "999999999"}),
        ("inbox_sms", {"list_id": "1,2", "phone": PHONE}),
        ("devices", {"is_arhive": "0", "list_id": "1,2"}),
        ("del_outbox_sms", {"list_id": "1,2"}),
        ("del_inbox_sms", {"start_id": "999999998", "end_id": "999999999"}),
    ],
)
def test_laravel_posts_forms_and_wants_a_code_in_every_answer(service, method, fields):
    answer = service.ask(method, **fields, device=str(device_of(service)))

    assert int(answer["code"]) == 0
    assert answer["count"] == len(answer["data"])


def test_laravel_cancels_by_id_alone_or_by_device_with_an_id_of_one(serve):
    service = serve(phone_speed=0)
    device = device_of(service)
    one = service.send(device=str(device))
    others = [service.send(device=str(device)) for _ in range(2)]

    assert int(service.ask("cancel_sms", id_sms=str(one))["code"]) == 0
    cancelled = [service.account.row("sent", number)["is_cancel"] for number in (one, *others)]
    assert cancelled == [1, 0, 0]
    assert int(service.ask("cancel_sms", device=str(device), id_sms="1")["code"]) == 0
    assert [service.account.row("sent", number)["is_cancel"] for number in others] == [1, 1]


def test_laravel_names_no_type_for_its_json_and_pairs_by_place(service):
    items = [{"device": "active", "phone": PHONE, "msg": f"text {n}"} for n in range(5)]
    document = json.dumps({"token": service.sandbox.token, "data": items})

    answer = post(service, "sms_more", document)

    texts = [sent(service, made["id"])[1] for made in answer["data"]]
    assert texts == [item["msg"] for item in items]


def test_ruby_asks_by_get_and_joins_ids_by_comma_and_blank(service):
    numbers = [service.send(), service.send()]
    ids = quote(", ".join(map(str, numbers)))
    token = service.sandbox.token

    listed = service.http.get(f"outbox_sms.php?token={token}&list_id={ids}").json()
    words = f"phone={quote(PHONE)}&msg={quote(TEXT)}&device=active"
    made = service.http.get(f"sms.php?token={token}&{words}").json()

    assert {row["id"] for row in listed["data"]} == set(numbers)
    assert sent(service, made["id"]) == (PHONE, TEXT)


def test_php_of_old_pads_ids_with_zeros_and_sends_priorities(service):
    number = service.send()
    items = [
        {"my_id": str(n), "device": "active", "phone": PHONE, "msg": f"{n}", "priority": 9 - n}
        for n in range(3)
    ]
    document = json.dumps({"token": service.sandbox.token, "data": items})

    listed = service.ask("outbox_sms", list_id=f"{number:012}")
    one = service.ask("sms", device="active", phone=PHONE, msg=TEXT, priority="1000")
    more = post(service, "sms_more", document, "application/json")

    assert [row["id"] for row in listed["data"]] == [number]
    assert one["code"] == "0"
    assert [made["my_id"] for made in more["data"]] == ["0", "1", "2"]


def test_fleetx_asks_for_what_comes_after_the_last_one(service):
    last = max(service.account.ids("inbox"))
    assert service.ask("inbox_sms", start_id=str(last + 1))["count"] == 0

    new = service.account.receive(PHONE, TEXT)

    answer = service.ask("inbox_sms", start_id=str(new))
    assert [(row["id"], row["msg"]) for row in answer["data"]] == [(new, TEXT)]


def test_dispatch_reads_the_device_that_sends_and_lists_archived_ones(service):
    device = device_of(service)
    service.account.change_device(device, is_arhive=1)

    made = service.ask("sms", device="active", phone=PHONE, msg=TEXT)
    devices = service.ask("devices")

    assert made["id_device"] in service.account.devices
    assert device in {row["id"] for row in devices["data"]}


def test_by_hand_a_list_of_ids_goes_with_a_date_or_with_active(service):
    number = service.send()

    by_date = service.ask("outbox_sms", list_id=str(number), date_start="2020-1-1 0:00")
    active = service.ask("outbox_sms", list_id=str(number), device="active")

    assert [row["id"] for row in by_date["data"]] == [number]
    assert int(active["code"]) == 0
