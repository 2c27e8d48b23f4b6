"""What answers look like: envelopes, types and dates under the switches."""

import json
from datetime import UTC, datetime

import pytest

from semysync.sandbox import Switches, Verbatim
from semysync.sandbox.rows import MISSING, canonical
from semysync.sandbox.selection import Wanted
from semysync.sandbox.wire import bent, object_text, row_writer


@pytest.fixture
def received(service):
    """A service that has just received one text; lists of today show only this."""

    def start(**switches):
        service.sandbox.set(**switches)
        return service.account.receive("900", "Hi")

    return start


def ask_one(service, id_):
    return service.ask("inbox_sms", start_id=id_, end_id=id_)


# Envelope


@pytest.mark.parametrize(("code", "head"), [("text", '{"code":"0",'), ("int", '{"code":0,')])
def test_code_in_lists_is_text_or_number(service, received, code, head):
    id_ = received(code=code)

    assert service.post("inbox_sms", start_id=id_).text.startswith(head + '"count":1,"data":[{')


def test_code_may_be_absent(service, received):
    id_ = received(code="absent")

    assert list(ask_one(service, id_)) == ["count", "data"]
    assert service.ask("inbox_sms", device=9) == {"error": "Device not found"}
    assert service.ask("devices")["code"] == 0


@pytest.mark.parametrize(("code", "printed"), [("text", "-1"), ("int", -1)])
def test_a_refused_list_prints_its_code_the_same_way(serve, code, printed):
    assert serve(code=code).ask("del_inbox_sms", device=9)["code"] == printed


@pytest.mark.parametrize(
    ("empty", "rest"),
    [
        ("list", {"data": []}),
        ("object", {"data": {}}),
        ("null", {"data": None}),
        ("missing", {}),
    ],
)
def test_an_empty_list_takes_several_shapes(serve, empty, rest):
    service = serve(empty=empty)

    assert service.ask("inbox_sms", start_id=10**9) == {"code": "0", "count": 0, **rest}
    assert service.ask("devices", list_id=9) == {"code": 0, "count": 0, **rest}


def test_data_may_be_an_object_keyed_by_number(serve):
    service = serve(data="object", messages=2000)

    answer = service.ask("inbox_sms", start_id=1)

    assert list(answer["data"]) == [str(number) for number in range(900)]
    assert [row["id"] for row in answer["data"].values()] == service.account.ids("inbox")
    assert list(service.ask("devices")["data"]) == ["0", "1"]


def test_many_rows_join_to_one_list(serve):
    service = serve(messages=4000)

    assert service.listed("outbox_sms", start_id=1) == service.account.ids("sent")


# Types


def test_rows_are_canonical_by_default(serve):
    service = serve(messages=3000)

    for method, box in (("inbox_sms", "inbox"), ("outbox_sms", "sent")):
        assert service.ask(method, start_id=1)["data"] == list(service.account.rows(box))


def test_numbers_may_be_text(serve):
    service = serve(numbers="text", messages=0)
    id_ = service.account.receive("900", "Hi")

    answer = service.ask("inbox_sms", start_id=1)

    assert answer["count"] == "1"
    assert answer["data"][0]["id"] == str(id_)
    assert answer["data"][0]["type"] == "0"
    assert service.ask("devices")["data"][0]["speed_sms"] == "1"
    assert service.ask("user")["messages_premium"] == "1730"
    assert service.ask("sms", device="active", phone="900", msg="Hi")["id"].isdecimal()


@pytest.mark.parametrize(
    ("flags", "no", "yes"),
    [("text", "0", "1"), ("bool", False, True), ("null", None, 1), ("empty", "", 1)],
)
def test_flags_take_several_forms(serve, clock, flags, no, yes):
    service = serve(flags=flags, messages=0)
    service.send()
    clock.move(seconds=1)

    row = service.ask("outbox_sms")["data"][0]

    assert (row["is_send"], row["is_delivered"], row["is_out"]) == (yes, no, no)
    assert row["type"] == 0
    device = service.ask("devices")["data"][0]
    assert (device["power"], device["is_arhive"], device["bat"]) == (yes, no, "69")
    assert service.ask("user")["is_pay"] == yes


def test_optional_fields_may_be_missing(serve):
    service = serve(optional_fields="missing")

    sent = service.ask("outbox_sms", start_id=1)["data"][0]

    assert {"is_cancel", "cancel", "is_out", "type"}.isdisjoint(sent)
    assert "type" not in service.ask("inbox_sms", start_id=1)["data"][0]
    assert "bat" not in service.ask("devices")["data"][0]


def test_extra_fields_may_turn_up(serve):
    service = serve(extra_fields="yes")

    assert service.ask("inbox_sms", start_id=1)["data"][0]["parts"]["total"] == 2
    assert service.ask("devices")["data"][0]["sim_slot"] == 1


@pytest.mark.parametrize(
    "switches",
    [
        Switches(),
        Switches(phone_skew_s=-90, server_zone="Europe/Berlin", phone_zone="Asia/Kathmandu"),
    ],
)
def test_the_template_writes_what_the_long_way_writes(serve, switches):
    account = serve(messages=2000).account
    account.use(switches)
    write = row_writer(switches, account.clocks)

    for box in ("inbox", "sent"):
        for row in account.select(box, Wanted()):
            assert write(row) == object_text(bent(canonical(row, account.clocks), switches))


# Dates


def a_sent_row(serve, clock, **switches):
    """A row made at 9:15:02.418309 on the server's clock of +03:00, all its dates set or not."""
    clock.now = datetime(2024, 3, 4, 6, 15, 2, 418_309, tzinfo=UTC)
    service = serve(messages=0, **switches)
    service.send()
    clock.move(seconds=1)
    return service.ask("outbox_sms")["data"][0]


def test_dates_have_six_digits_or_none_by_clock(serve, clock):
    row = a_sent_row(serve, clock)

    assert row["date"] == "2024-03-04 09:15:02.418309"
    assert row["send_to_phone"] == "2024-03-04 09:15:02.818309"
    assert row["send"] == "2024-03-04 11:15:03"
    assert row["delivered"] is None


@pytest.mark.parametrize(
    ("micros", "fraction", "printed"),
    [
        (418_309, "0", ""),
        (418_309, "short", ".4183"),
        (904_120, "short", ".9"),
        (904_124, "short", ".90412"),
        (500_001, "short", ".5"),
        (42, "short", ".0"),
        (0, "6", ".000000"),
    ],
)
def test_fractions_may_be_short_or_none(serve, clock, micros, fraction, printed):
    clock.now = datetime(2026, 3, 10, 6, 15, 2, micros, tzinfo=UTC)
    service = serve(messages=0, fraction=fraction)
    service.send()

    assert service.ask("outbox_sms")["data"][0]["date"] == f"2026-03-10 09:15:02{printed}"


def test_a_date_that_is_not_set_may_be_empty(serve, clock):
    row = a_sent_row(serve, clock, unset_dates="empty")

    assert (row["delivered"], row["cancel"], row["error_date"]) == ("", "", "")


def test_the_servers_zone_may_have_daylight_saving(serve, clock):
    service = serve(messages=0, server_zone="Europe/Berlin")
    printed = []
    for hour in (0, 1):
        clock.now = datetime(2026, 3, 29, hour, 30, tzinfo=UTC)
        service.send()
        printed.append(service.ask("outbox_sms")["data"][-1]["date"])

    assert printed == ["2026-03-29 01:30:00.000000", "2026-03-29 03:30:00.000000"]


def test_the_phones_clock_has_a_zone_and_may_be_wrong(serve, clock):
    row = a_sent_row(serve, clock, phone_zone="-03:30", phone_skew_s=3600)

    assert row["send"] == "2024-03-04 03:45:03"
    assert row["date"] == "2024-03-04 09:15:02.418309"


def test_one_phone_may_have_a_clock_of_its_own(service):
    first, second = sorted(service.account.devices)
    service.account.phone_clock(first, "+00:00", skew_s=1)
    for device in (first, second):
        service.account.receive("900", "Hi", device)

    dates = [row["date"][11:] for row in service.ask("inbox_sms")["data"][-2:]]

    assert dates == ["12:00:01", "17:00:00"]


# Odd rows


def test_texts_of_all_kinds_come_through(service):
    texts = [
        "Привет",
        "مرحبا",
        "👍🏽",
        'quote " back \\ slash /',
        "tab\tnul\x00 line\r\nend",
        "\ud83d",
    ]
    first, *_ = [service.account.receive("900", text) for text in texts]

    shown = json.loads(service.post("inbox_sms", start_id=first).content)

    assert [row["msg"] for row in shown["data"]] == texts


def test_a_row_may_lack_its_id_or_another_field(service):
    id_ = service.account.receive("900", "Hi", id=None, type=9, msg=MISSING)

    row = ask_one(service, id_)["data"][0]

    assert row == {"phone": "900", "date": "2026-03-10 17:00:00", "id_device": 352114, "type": 9}


def test_a_value_may_be_no_json(service):
    id_ = service.account.receive("900", "Hi")
    service.account.change("inbox", id_, type=Verbatim("08"))

    assert '"type":08}' in service.post("inbox_sms", start_id=id_).text
