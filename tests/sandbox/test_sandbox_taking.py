"""The switches of sending: batches, refusals, plans, and what a text looks like once taken."""

import pytest

PHONE = "+79201234567"
DESK, SHOP = 352114, 352151  # the first two devices, both for SMS


def items(*texts, **fields):
    return [
        {"device": "active", "phone": PHONE, "msg": text, "my_id": f"d-{text}", **fields}
        for text in texts
    ]


def more(service, data):
    document = {"token": service.sandbox.token, "data": data}
    return service.http.post("sms_more.php", json=document).json()


def made(service):
    """The texts of all messages that were really made."""
    return [effect["text"] for effect in service.account.effects()]


def row(service, id_):
    return service.account.row("sent", id_)


# What the answer to a batch names


@pytest.mark.parametrize(
    ("batch_order", "named"),
    [
        ("in_order", ["d-0", "d-1", "d-2", "d-3"]),
        ("shuffled", ["d-1", "d-3", "d-2", "d-0"]),
        ("short", ["d-0", "d-2"]),
        ("empty", []),
    ],
)
def test_a_batch_is_taken_whatever_its_answer_names(serve, batch_order, named):
    service = serve(batch_order=batch_order)

    answer = more(service, items(*"0123"))

    assert [item["my_id"] for item in answer["data"]] == named
    assert made(service) == [*"0123"]
    for item in answer["data"]:
        assert f"d-{row(service, item['id'])['msg']}" == item["my_id"]


def test_references_may_stay_away(serve):
    service = serve(my_id="absent", batch_order="in_order")

    answer = more(service, items("0", "1"))

    assert [list(item) for item in answer["data"]] == [["id"], ["id"]]


@pytest.mark.parametrize(
    ("answer_device", "in_sms", "in_batch"),
    [("sms", True, False), ("both", True, True), ("none", False, False)],
)
def test_answers_may_name_the_device(serve, answer_device, in_sms, in_batch):
    service = serve(answer_device=answer_device)

    single = service.ask("sms", device=DESK, phone=PHONE, msg="Hi")
    batch = more(service, items("0", device=SHOP))["data"][0]

    assert single.get("id_device") == (DESK if in_sms else None)
    assert batch.get("id_device") == (SHOP if in_batch else None)


# Bad items


BAD = [*items("good"), *items("bad", device="9"), *items("also good")]


@pytest.mark.parametrize("bad", [{"device": "9"}, {"phone": ""}, {"device": ""}, {"phone": "0666"}])
@pytest.mark.parametrize(
    ("batch_bad_item", "taken"), [("none_taken", []), ("before_taken", ["good"])]
)
def test_a_bad_item_refuses_the_batch(serve, batch_bad_item, taken, bad):
    service = serve(batch_bad_item=batch_bad_item, refuse_phone="0666")

    answer = more(service, [*items("good"), *items("bad", **bad), *items("also good")])

    assert answer["code"] == "-1"
    assert "data" not in answer
    assert made(service) == taken


def test_a_bad_item_may_be_absent(serve):
    service = serve(batch_bad_item="absent")

    answer = more(service, BAD)

    assert answer["code"] == "0"
    assert [item["my_id"] for item in answer["data"]] == ["d-good", "d-also good"]
    assert made(service) == ["good", "also good"]


def test_a_bad_item_may_come_with_its_error(serve):
    service = serve(batch_bad_item="error", batch_order="shuffled")

    answer = more(service, BAD)

    assert {"my_id": "d-bad", "error": "Device not found"} in answer["data"]
    assert len([item for item in answer["data"] if "id" in item]) == 2
    assert made(service) == ["good", "also good"]


@pytest.mark.parametrize(("batch_over", "taken"), [("refused", []), ("cut", ["0", "1"])])
def test_a_batch_has_a_largest_size(serve, batch_over, taken):
    service = serve(batch_limit=2, batch_over=batch_over)

    answer = more(service, items(*"012"))

    assert answer["code"] == ("0" if taken else "-1")
    assert made(service) == taken
    assert more(service, items("3", "4"))["code"] == "0"


# References that come twice


def test_a_repeated_reference_is_another_message(service):
    ids = [more(service, items("0"))["data"][0]["id"] for _ in range(2)]

    assert len(set(ids)) == 2
    assert made(service) == ["0", "0"]


def test_a_repeated_reference_may_be_refused(serve):
    service = serve(my_id_repeated="refused", batch_bad_item="absent")
    more(service, items("0"))
    service.account.forget_effects()

    answer = more(service, items("0", "1", "1", "2"))

    assert [item["my_id"] for item in answer["data"]] == ["d-1", "d-2"]
    assert made(service) == ["1", "2"]


def test_a_repeated_reference_may_give_the_first_id(serve):
    service = serve(my_id_repeated="first_id")
    first = more(service, items("0"))["data"]

    again = more(service, items("0", "1", "1"))["data"]

    assert again[0] == first[0]
    assert again[1] == again[2]
    assert made(service) == ["0", "1"]


# Devices


@pytest.mark.parametrize("named", ["active", f"{DESK},{SHOP}"])
def test_several_devices_may_be_refused(serve, named):
    service = serve(send_several="refused")

    assert service.ask("sms", device=named, phone=PHONE, msg="Hi")["error"] == "Device not found"
    assert service.ask("sms", device=DESK, phone=PHONE, msg="Hi")["code"] == "0"


def test_devices_that_are_off_may_refuse(serve):
    service = serve(device_off="refused")
    service.account.change_device(DESK, power=0)

    assert service.ask("sms", device=DESK, phone=PHONE, msg="Hi")["code"] == "-1"
    both = service.ask("sms", device=f"{DESK},{SHOP}", phone=PHONE, msg="Hi")
    assert both["id_device"] == SHOP


def test_archived_devices_may_let_wait(serve, clock):
    service = serve(device_archived="waits")
    service.account.archive_device(DESK)

    id_ = service.send(device=DESK)

    clock.move(hours=1)
    assert row(service, id_)["is_send_to_phone"] == 0


def test_a_message_may_be_moved_at_once(serve, clock):
    service = serve(moved="at_once")

    answer = service.ask("sms", device=DESK, phone=PHONE, msg="Hi")

    assert answer["id_device"] == DESK
    assert service.listed("outbox_sms", device=SHOP, list_id=answer["id"]) == [answer["id"]]
    assert service.listed("outbox_sms", device=DESK, list_id=answer["id"]) == []
    clock.move(seconds=5)
    assert row(service, answer["id"])["is_delivered"] == 1


def test_a_message_may_be_moved_when_it_is_fetched(serve, clock):
    service = serve(moved="on_fetch", devices=3)
    id_ = service.send(device=SHOP)
    assert row(service, id_)["id_device"] == SHOP

    clock.move(seconds=0.5)

    assert row(service, id_)["id_device"] == DESK
    clock.move(seconds=5)
    assert (row(service, id_)["id_device"], row(service, id_)["is_delivered"]) == (DESK, 1)


def test_a_message_without_another_device_stays(serve):
    service = serve(moved="at_once", devices=1)

    assert row(service, service.send())["id_device"] == DESK


# Refusals


@pytest.mark.parametrize("phone", [PHONE, "+7 920 123-45-67", "79201234567"])
def test_a_number_may_be_refused_with_nothing_named(serve, phone):
    service = serve(refuse_phone="+79201234567, Beeline")

    answer = service.ask("sms", device=DESK, phone=phone, msg="Hi")

    assert answer == {"code": "-1", "error": "Error"}
    assert service.ask("sms", device=DESK, phone="Beeline", msg="Hi")["code"] == "-1"
    assert service.ask("sms", device=DESK, phone="+79201234568", msg="Hi")["code"] == "0"


def test_a_text_may_be_refused_with_nothing_named(serve):
    service = serve(refuse_text="casino")

    assert service.ask("sms", device=DESK, phone=PHONE, msg="A casino!")["error"] == "Error"
    assert service.ask("sms", device=DESK, phone=PHONE, msg="A house!")["code"] == "0"


@pytest.mark.parametrize("refusal_status", [200, 400, 403, 422, 500, 503])
@pytest.mark.parametrize("method", ["sms", "sms_more", "cancel_sms"])
def test_refusals_have_a_status_and_a_code(serve, method, refusal_status):
    service = serve(refusal_status=refusal_status, refusal_code=17)

    if method == "sms_more":
        document = {"token": service.sandbox.token, "data": items("0", device="9")}
        answer = service.http.post("sms_more.php", json=document)
    else:
        answer = service.post(method, device=9, phone=PHONE, msg="Hi")

    assert answer.status_code == refusal_status
    assert answer.json() == {"code": "17", "error": "Device not found"}


def test_success_is_no_refusal(service):
    with pytest.raises(ValueError, match="refusal_code must not be 0"):
        service.sandbox.set(refusal_code=0)


# Plan, balance, token


def test_a_plan_may_end(serve):
    service = serve(plan="ended")

    answers = [service.ask("sms", device=DESK, phone=PHONE, msg="Hi"), more(service, items("0"))]

    assert answers == [{"code": "-1", "error": "Your plan has ended"}] * 2
    user = service.ask("user")
    assert (user["is_pay"], user["date_end_premium"]) == (0, "2026-03-09 15:00:00")
    assert made(service) == []

    service.sandbox.set(plan="in_force")
    assert service.ask("user")["is_pay"] == 1
    assert service.ask("sms", device=DESK, phone=PHONE, msg="Hi")["code"] == "0"


def test_a_balance_is_used_up(serve):
    service = serve(balance=3, batch_bad_item="before_taken")
    service.send("a")
    assert service.ask("user")["messages_premium"] == 2

    assert more(service, items("b", "c", "d"))["error"] == "No messages left"

    assert made(service) == ["a", "b", "c"]
    assert service.ask("user")["messages_premium"] == 0
    assert service.ask("sms", device=DESK, phone=PHONE, msg="e")["error"] == "No messages left"
    service.sandbox.set(balance=5)
    assert service.ask("sms", device=DESK, phone=PHONE, msg="f")["code"] == "0"


def test_a_batch_above_the_balance_takes_nothing(serve):
    service = serve(balance=2)

    assert more(service, items(*"abc"))["code"] == "-1"
    assert service.ask("user")["messages_premium"] == 2


def test_a_good_token_may_be_refused_for_a_while(serve):
    service = serve(token_refused="yes", wrong_token="http_403")

    assert service.post("user").status_code == 403
    assert service.post("sms", device=DESK, phone=PHONE, msg="Hi").json()["code"] == "-1"
    assert made(service) == []
    service.sandbox.set(token_refused="no")
    assert service.ask("user")["code"] == 0


# What is stored


@pytest.mark.parametrize(
    ("switches", "text", "stored"),
    [
        ({}, "  [name] one\n", "  [name] one\n"),
        ({"text_trim": "yes"}, "  [name] one\n", "[name] one"),
        ({"text_limit": 5}, "  [name] one\n", "  [na"),
        ({"text_trim": "yes", "text_limit": 5}, "  one two\n", "one t"),
        ({"text_tags": "rewritten"}, "[name], [city] [PING] [no tag]", "Ann,  [PING] [no tag]"),
    ],
)
def test_texts_are_stored_in_some_form(serve, switches, text, stored):
    service = serve(**switches)

    answer = service.ask("sms", device=DESK, phone=PHONE, msg=text, name="Ann")

    assert row(service, answer["id"])["msg"] == stored
    effect = service.account.effects()[0]
    assert (effect["text"], effect["stored_text"]) == (text, stored)


def test_texts_above_the_limit_may_be_refused(serve):
    service = serve(text_limit=5, text_over="refused")

    assert service.ask("sms", device=DESK, phone=PHONE, msg="123456")["code"] == "-1"
    assert service.ask("sms", device=DESK, phone=PHONE, msg="12345")["code"] == "0"


@pytest.mark.parametrize(
    ("phone_stored", "stored"),
    [
        ("as_given", ["+7 (920) 123-45-67", "79201234567", "+447712345678", "900", "Beeline"]),
        ("plus", ["+79201234567", "+79201234567", "+447712345678", "900", "Beeline"]),
        ("digits", ["79201234567", "79201234567", "447712345678", "900", "Beeline"]),
        ("national", ["89201234567", "89201234567", "00447712345678", "900", "Beeline"]),
        ("compact", ["+79201234567", "79201234567", "+447712345678", "900", "Beeline"]),
    ],
)
def test_numbers_are_stored_in_some_form(serve, phone_stored, stored):
    service = serve(phone_stored=phone_stored)
    given = ["+7 (920) 123-45-67", "79201234567", "+447712345678", "900", "Beeline"]

    for phone in given:
        service.send(phone=phone)

    effects = service.account.effects()
    assert [effect["phone"] for effect in effects] == given
    assert [effect["stored_phone"] for effect in effects] == stored


# When it shows


def test_a_message_may_show_after_seconds(serve, clock):
    service = serve(sent_visible="after_s", visible_after_s=60)
    id_ = service.send()
    clock.move(seconds=59)
    assert service.listed("outbox_sms", list_id=id_) == []

    clock.move(seconds=1)

    assert service.listed("outbox_sms", list_id=id_) == [id_]


def test_a_message_may_show_after_some_lists(serve):
    service = serve(sent_visible="after_lists", sent_visible_lists=2)
    id_ = service.send()
    service.ask("inbox_sms", start_id=1)

    seen = [service.listed("outbox_sms", start_id=id_) for _ in range(4)]

    assert seen == [[], [], [id_], [id_]]


def test_a_message_may_show_only_when_it_is_revealed(serve, clock):
    service = serve(sent_visible="never")
    first, second = service.send(), service.send()
    clock.move(days=300)
    assert service.listed("outbox_sms", start_id=first) == []
    assert [effect["shown"] for effect in service.account.effects()] == [False, False]

    service.account.reveal("sent", second)
    assert service.listed("outbox_sms", start_id=first) == [second]
    assert service.account.reveal_all() == [first]
    assert service.listed("outbox_sms", start_id=first) == [first, second]
    assert row(service, first)["is_delivered"] == 1


@pytest.mark.parametrize("sent_visible", ["after_s", "after_lists", "never"])
def test_whatever_is_hidden_can_be_revealed(serve, sent_visible):
    service = serve(sent_visible=sent_visible, sent_visible_lists=99)
    id_ = service.send()

    answer = service.http.post(f"{service.sandbox.admin_url}reveal/all").json()

    assert answer == {"revealed": [id_]}
    assert service.listed("outbox_sms", list_id=id_) == [id_]


# What was really made, and who else sends


def test_the_log_of_effects_tells_what_was_really_made(serve):
    service = serve(sent_visible="never", moved="at_once")
    service.sandbox.order_fault("drop", when="before")
    with pytest.raises(Exception, match="disconnected"):
        service.send()
    service.ask("sms", device=9, phone=PHONE, msg="refused")
    more(service, items("one", "two", device="active"))
    id_ = service.send("three", device=DESK)
    service.account.remove("sent", [id_])

    log = service.http.get(f"{service.sandbox.admin_url}effects").json()

    assert (log["requests"], log["carried_out"]) == (4, 3)
    assert [(e["request"], e["method"], e["my_id"], e["text"]) for e in log["messages"]] == [
        (2, "sms_more", "d-one", "one"),
        (2, "sms_more", "d-two", "two"),
        (3, "sms", None, "three"),
    ]
    first, _, last = log["messages"]
    assert (first["device"], first["phone"]) == ("active", PHONE)
    assert (first["shown"], first["kept"], last["kept"]) == (False, True, False)
    assert {first["device_id"], first["stored_device_id"]} == {DESK, SHOP}

    service.http.delete(f"{service.sandbox.admin_url}effects")
    assert service.account.effects() == []
    assert service.account.ledger.requests == 0


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("other_client", "text"),
    [("same_text", "Hi"), ("other_text", "Sent by another client")],
)
def test_another_client_may_send_to_the_same_number(serve, other_client, text, when):
    service = serve(other_client=other_client, phone_stored="national", text_trim="yes")
    before = service.account.ids("sent")
    service.sandbox.order_fault("html", when=when)

    service.post("sms", device=DESK, phone=PHONE, msg=" Hi ")

    new = [row(service, id_) for id_ in service.account.ids("sent")[len(before) :]]
    mine = ["Hi"] if when == "after" else []
    assert [one["msg"] for one in new] == [*mine, text]
    assert {one["phone"] for one in new} == {"89201234567"}
    assert made(service) == [" Hi "] * len(mine)


def test_another_client_sends_beside_every_item(serve):
    service = serve(other_client="same_text")
    before = len(service.account.ids("sent"))

    more(service, items("0", "1"))
    more(service, "no list")

    new = [row(service, id_)["msg"] for id_ in service.account.ids("sent")[before:]]
    assert new == ["0", "1", "0", "1"]


# Cancelling


@pytest.fixture
def waiting(serve):
    """A stand-in under some switches, and two messages that wait for its first device."""

    def start(**switches):
        service = serve(**switches)
        return service, service.send("a", device=DESK), service.send("b", device=DESK)

    return start


def cancelled(service, *ids):
    return [row(service, id_)["is_cancel"] for id_ in ids]


def test_cancelling_too_late_may_be_an_error(waiting, clock):
    service, one, two = waiting(cancel_late="error")
    assert service.ask("cancel_sms", id_sms=one) == {"code": "0"}
    clock.move(seconds=5)

    for id_ in (one, two, 9):
        answer = service.ask("cancel_sms", id_sms=id_)
        assert answer == {"code": "-1", "error": "Message is already sent"}
    assert service.ask("cancel_sms", device=DESK)["code"] == "0"
    assert cancelled(service, one, two) == [1, 0]


@pytest.mark.parametrize(("cancel_late", "code"), [("silent", "0"), ("error", "-1")])
def test_a_phone_may_be_quicker_than_a_cancel(waiting, cancel_late, code):
    service, one, two = waiting(cancel_comes="too_late", cancel_late=cancel_late, phone_speed=0)

    assert service.ask("cancel_sms", id_sms=one)["code"] == code

    assert cancelled(service, one, two) == [0, 0]
    fetched = [row(service, id_)["is_send_to_phone"] for id_ in (one, two)]
    assert fetched == [1, 0]


def test_cancelling_may_need_the_device(waiting):
    service, one, two = waiting(cancel_id="needs_device")

    assert service.ask("cancel_sms", id_sms=one)["code"] == "-1"
    assert cancelled(service, one, two) == [0, 0]
    assert service.ask("cancel_sms", id_sms=one, device=DESK)["code"] == "0"
    assert cancelled(service, one, two) == [1, 0]


def test_cancelling_may_not_read_the_id_at_all(waiting):
    service, one, two = waiting(cancel_id="ignored")

    assert service.ask("cancel_sms", id_sms=one)["code"] == "-1"
    assert cancelled(service, one, two) == [0, 0]
    assert service.ask("cancel_sms", id_sms=one, device=DESK)["code"] == "0"
    assert cancelled(service, one, two) == [1, 1]


# USSD


@pytest.mark.parametrize(
    ("ussd", "senders"),
    [("answered", ["*100#"]), ("named", ["Balance"]), ("silent", []), ("plain", [])],
)
def test_a_code_is_dialled_and_answered(serve, clock, ussd, senders):
    service = serve(ussd=ussd, messages=0, phone_stored="plus", text_tags="rewritten")
    id_ = service.send("[ussd]", phone="*100#", device=DESK)
    clock.move(seconds=10)

    sent = row(service, id_)
    assert (sent["phone"], sent["msg"], sent["is_send"]) == ("*100#", "[ussd]", 1)
    assert sent["is_delivered"] == (ussd == "plain")
    received = list(service.account.rows("inbox"))
    assert [one["phone"] for one in received] == senders
    assert all(one["id_device"] == DESK and "roubles" in one["msg"] for one in received)


@pytest.mark.parametrize("fields", [{"android_version": "7.1"}, {"type": 1}])
def test_not_every_device_dials(service, clock, fields):
    device = service.account.add_device(**fields)
    id_ = service.send("[ussd]", phone="*100#", device=device)
    before = service.account.ids("inbox")
    clock.move(seconds=10)

    assert (row(service, id_)["is_error_send"], row(service, id_)["is_send"]) == (1, 0)
    assert service.account.ids("inbox") == before
