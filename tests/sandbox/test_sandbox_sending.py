"""Sending, cancelling, deleting, and what the phones make of it."""

from itertools import pairwise

import pytest

# Sending


def test_a_message_is_sent_by_the_device_named(service, devices):
    answer = service.ask("sms", device=devices[1], phone="+79201234567", msg="Hello")

    row = service.account.row("sent", answer["id"])
    assert answer == {"code": "0", "id": row["id"], "id_device": devices[1]}
    assert (row["phone"], row["msg"], row["id_device"]) == ("+79201234567", "Hello", devices[1])
    assert row["date"] == "2026-03-10 15:00:00.250000"


@pytest.mark.parametrize("named", ["active", "352114,352151", " 352114 , 352151 , 9"])
def test_several_devices_take_turns_at_single_messages(service, devices, named):
    answers = [service.ask("sms", device=named, phone="900", msg="Hi") for _ in range(4)]

    assert [answer["id_device"] for answer in answers] == devices * 2
    assert len({answer["id"] for answer in answers}) == 4


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"device": 9}, "Device not found"),
        ({"device": "desk"}, "Device not found"),
        ({"device": ""}, "Device not found"),
        ({"phone": " "}, "Phone is empty"),
        ({"msg": ""}, "Message is empty"),
    ],
)
def test_what_cannot_be_sent_is_refused(service, params, error):
    before = service.account.ids("sent")

    answer = service.ask("sms", **{"device": "active", "phone": "900", "msg": "Hi", **params})

    assert answer == {"code": "-1", "error": error}
    assert service.account.ids("sent") == before


def test_archived_and_idle_devices_are_not_chosen(service, devices):
    service.account.archive_device(devices[0])
    service.account.change_device(devices[1], is_work=0)

    assert service.ask("sms", device=devices[0], phone="900", msg="Hi")["code"] == "-1"
    assert service.ask("sms", device="active", phone="900", msg="Hi")["error"] == (
        "No active devices"
    )
    assert service.ask("sms", device=devices[1], phone="900", msg="Hi")["code"] == "0"


def test_a_plus_is_added_only_on_request(service):
    plain, added = (
        service.ask("sms", device="active", phone="79201234567", msg="Hi", **extra)["id"]
        for extra in ({}, {"add_plus": 1})
    )

    assert service.account.row("sent", plain)["phone"] == "79201234567"
    assert service.account.row("sent", added)["phone"] == "+79201234567"


def test_ids_jump_upward(service):
    ids = [service.send() for _ in range(20)]

    assert ids == sorted(set(ids))
    assert len({after - before for before, after in pairwise(ids)}) > 3
    assert service.account.ids("sent")[-20:] == ids


def test_messages_left_count_down(service):
    service.send()

    assert service.ask("user")["messages_premium"] == 1729


def more(service, items):
    document = {"token": service.sandbox.token, "data": items}
    return service.http.post("sms_more.php", json=document).json()


def test_a_batch_is_taken_in_order(service):
    items = [
        {"device": "active", "phone": "900", "msg": str(number), "my_id": f"d{number}"}
        for number in range(3)
    ]

    answer = more(service, [*items, {"device": 352114, "phone": 900, "msg": "no reference"}])

    assert answer["code"] == "0"
    assert [item.get("my_id") for item in answer["data"]] == ["d0", "d1", "d2", None]
    texts = [service.account.row("sent", item["id"])["msg"] for item in answer["data"]]
    assert texts == ["0", "1", "2", "no reference"]


@pytest.mark.parametrize(
    ("items", "error"),
    [
        ([{"device": "active", "phone": "900", "msg": "Hi"}, {"device": 9}], "Phone is empty"),
        ([{"device": "9", "phone": "900", "msg": "Hi"}], "Device not found"),
        ("Hi", "Field data is not a list"),
        (["Hi"], "Field data is not a list"),
        (None, "Field data is not a list"),
    ],
)
def test_a_bad_batch_is_refused_whole(service, items, error):
    before = service.account.ids("sent")

    assert more(service, items) == {"code": "-1", "error": error}
    assert service.account.ids("sent") == before


# Cancelling and deleting


def test_cancel_reaches_one_message_that_waits(service):
    waiting, other = service.send("one"), service.send("two")

    assert service.ask("cancel_sms", id_sms=waiting) == {"code": "0"}

    row = service.account.row("sent", waiting)
    assert (row["is_cancel"], row["cancel"]) == (1, "2026-03-10 15:00:00.250000")
    assert service.flags(other) == (0, 0, 0, 0)


@pytest.mark.parametrize("extra", [{}, {"id_sms": 1}])
def test_cancel_reaches_all_that_wait_for_a_device(service, clock, devices, extra):
    handed_over = service.send(device=devices[0])
    clock.move(seconds=0.5)
    mine, others = service.send(device=devices[0]), service.send(device=devices[1])

    assert service.ask("cancel_sms", device=devices[0], **extra) == {"code": "0"}

    assert service.flags(handed_over) == (1, 0, 0, 0)
    assert service.flags(mine) == (0, 0, 0, 1)
    assert service.flags(others) == (0, 0, 0, 0)


def test_a_cancelled_message_stays_so(service, clock):
    id_ = service.send()
    service.ask("cancel_sms", id_sms=id_)
    clock.move(minutes=1)

    assert service.flags(id_) == (0, 0, 0, 1)


def test_cancel_comes_too_late_without_a_word(service, clock):
    id_ = service.send()
    clock.move(seconds=5)

    assert service.ask("cancel_sms", id_sms=id_) == {"code": "0"}
    assert service.flags(id_) == (1, 1, 1, 0)


def test_cancel_needs_something_to_cancel(service):
    assert service.ask("cancel_sms")["code"] == "-1"
    assert service.ask("cancel_sms", device=9)["error"] == "Device not found"
    assert service.ask("cancel_sms", id_sms=9) == {"code": "0"}


def test_deletes_answer_with_what_is_gone(service):
    ids = service.account.ids("sent")

    answer = service.ask("del_outbox_sms", list_id=f"{ids[0]},{ids[3]}")

    assert answer["count"] == 2
    assert [row["id"] for row in answer["data"]] == [ids[0], ids[3]]
    assert {"is_cancel", "cancel", "is_out", "type"}.isdisjoint(answer["data"][0])
    assert service.account.ids("sent") == ids[1:3] + ids[4:]
    assert service.listed("outbox_sms", start_id=1) == ids[1:3] + ids[4:]


def test_deleting_without_a_lifting_filter_costs_the_day(service):
    old = service.account.ids("inbox")[0]
    today = service.account.receive("900", "Hi")

    deleted = service.listed("del_inbox_sms", list_id=old)

    assert today in deleted
    assert old not in deleted
    assert today not in service.account.ids("inbox")
    assert old in service.account.ids("inbox")


def test_deletes_keep_to_a_cap(serve):
    service = serve(cap=3)
    ids = service.account.ids("sent")

    assert service.listed("del_outbox_sms", start_id=1) == ids[:3]
    assert service.account.ids("sent") == ids[3:]


def test_a_deleted_message_is_not_sent(service, clock):
    id_ = service.send()
    service.listed("del_outbox_sms", list_id=id_)
    clock.move(minutes=1)

    assert id_ not in service.account.ids("sent")
    assert service.account.state()["on_their_way"] == 0


def test_a_deleted_message_may_be_sent_all_the_same(serve, clock):
    service = serve(deleted_waiting="sent")
    id_ = service.send()
    service.listed("del_outbox_sms", list_id=id_)
    clock.move(minutes=1)

    assert id_ not in service.account.ids("sent")
    assert service.account.sent_though_deleted() == [id_]


@pytest.mark.parametrize("ignored", ["device", "list_id", "dates", "all", "list_id, dates"])
def test_a_delete_may_ignore_what_the_lists_read(serve, ignored):
    service = serve(delete_ignores=ignored)
    ids = service.account.ids("sent")
    row = service.account.row("sent", ids[1])
    today = service.send(device=row["id_device"])
    day = row["date"][:10]
    asked = {
        "device": row["id_device"],
        "list_id": ids[1],
        "date_start": f"{day} 00:00:00",
        "date_end": f"{day} 23:59:59",
    }
    rows = [service.account.row("sent", id_) for id_ in ids]
    of_day = [row["id"] for row in rows if row["date"][:10] == day]
    expected = {
        "device": [ids[1]],
        "list_id": [
            i for i in of_day if service.account.row("sent", i)["id_device"] == row["id_device"]
        ],
        "dates": [ids[1]],
        "all": service.account.ids("sent")[-1:],
        "list_id, dates": [today],
    }[ignored]

    assert service.listed("outbox_sms", **asked) == [ids[1]]
    deleted = service.listed("del_outbox_sms", **asked)

    assert set(expected) <= set(deleted)
    assert (ids[2] in deleted) == (ids[2] in expected)
    assert not set(deleted) & set(service.account.ids("sent"))


@pytest.mark.parametrize(
    ("takes", "says", "gone", "said"),
    [
        ("all", "half", [0, 1, 2], [0, 2]),
        ("all", "nothing", [0, 1, 2], []),
        ("half", "gone", [0, 2], [0, 2]),
        ("half", "asked", [0, 2], [0, 1, 2]),
        ("none", "asked", [], [0, 1, 2]),
    ],
)
def test_a_delete_may_do_other_than_it_says(serve, takes, says, gone, said):
    service = serve(delete_takes=takes, delete_says=says)
    ids = service.account.ids("inbox")

    answered = service.listed("del_inbox_sms", start_id=ids[0], end_id=ids[2])

    assert answered == [ids[i] for i in said]
    assert set(ids) - set(service.account.ids("inbox")) == {ids[i] for i in gone}


# Phones


def test_a_phone_fetches_sends_and_reports(service, clock):
    id_ = service.send()

    seen = [service.flags(id_)]
    for seconds in (0.4, 0.6, 1.0):
        clock.move(seconds=seconds)
        seen.append(service.flags(id_))

    assert seen == [(0, 0, 0, 0), (1, 0, 0, 0), (1, 1, 0, 0), (1, 1, 1, 0)]
    row = service.account.row("sent", id_)
    assert row["send_to_phone"] == "2026-03-10 15:00:00.650000"
    assert (row["send"], row["delivered"]) == ("2026-03-10 17:00:01", "2026-03-10 17:00:02")


def test_states_may_be_jumped_over_unseen(service, clock):
    id_ = service.send()
    clock.move(hours=1)

    assert service.flags(id_) == (1, 1, 1, 0)
    assert service.account.row("sent", id_)["send"] == "2026-03-10 17:00:01"


def test_phones_may_be_slow_or_off(serve, clock):
    service = serve(phone_speed=0.1)
    slow = service.send()
    clock.move(seconds=4)
    assert service.flags(slow) == (1, 0, 0, 0)

    service.sandbox.set(phone_speed=0)
    off = service.send()
    clock.move(days=1)
    assert service.flags(slow) == (1, 0, 0, 0)
    assert service.flags(off) == (0, 0, 0, 0)

    service.sandbox.set(phone_speed=1)
    clock.move(seconds=1)
    assert service.flags(off) == (1, 1, 0, 0)
    assert service.account.row("sent", off)["send_to_phone"] == "2026-03-11 15:00:04.650000"


def test_a_device_that_is_off_fetches_nothing(service, clock, devices):
    service.account.change_device(devices[0], power=0)
    id_ = service.send(device=devices[0])
    clock.move(hours=1)
    assert service.flags(id_) == (0, 0, 0, 0)

    service.account.change_device(devices[0], power=1)
    clock.move(seconds=2)
    assert service.flags(id_) == (1, 1, 1, 0)


def test_a_message_of_a_device_that_is_gone_stays_as_it_is(service, clock, devices):
    other = service.send(device=devices[1])
    id_ = service.send(device=devices[0])
    service.account.remove_device(devices[0])
    clock.move(hours=1)

    assert service.flags(id_) == (0, 0, 0, 0)
    assert service.flags(other) == (1, 1, 1, 0)


def test_from_an_account_without_devices_nothing_is_sent(service, devices):
    for device in devices:
        service.account.remove_device(device)

    with pytest.raises(ValueError, match="the account has no devices"):
        service.account.receive("+79201234567", "Hello")


def test_a_device_without_reports_ends_at_sent(service, clock, devices):
    service.account.change_device(devices[0], is_deliv=0)
    id_ = service.send(device=devices[0])
    clock.move(hours=1)

    assert service.flags(id_) == (1, 1, 0, 0)


def test_some_messages_are_answered(serve, clock):
    service = serve(answers="on", messages=0)
    for number in range(30):
        service.send(phone=f"+7920000{number:04d}")
    clock.move(seconds=10)

    replies = list(service.account.rows("inbox"))

    assert 3 < len(replies) < 20
    assert all(row["phone"].startswith("+7920000") and row["msg"] for row in replies)
    assert replies[0]["date"] == "2026-03-10 17:00:06"


def test_nothing_is_answered_by_default(service, clock):
    before = service.account.ids("inbox")
    service.send()
    clock.move(hours=1)

    assert service.account.ids("inbox") == before


def test_messages_turn_up_by_themselves(serve, clock):
    service = serve(arrivals_every_s=10, messages=0)
    clock.move(seconds=399)
    inbox, sent = (list(service.account.rows(box)) for box in ("inbox", "sent"))

    assert len(inbox) + len(sent) == 39
    assert len(inbox) > len(sent) > 0
    assert inbox[0]["date"] in ("2026-03-10 17:00:10", "2026-03-10 17:00:20")
    assert sent[0]["is_delivered"] == 1

    clock.move(days=3650)
    assert sum(service.account.state()["messages"].values()) == 1039


def test_arrivals_count_from_when_they_are_switched_on(service, clock):
    clock.move(hours=1)
    service.sandbox.set(arrivals_every_s=60)
    before = service.account.state()["messages"]
    clock.move(seconds=59)

    assert service.account.state()["messages"] == before
