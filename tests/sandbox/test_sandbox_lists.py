"""What the list methods show: filters, caps, order, visibility, devices, today-only."""

from datetime import UTC, datetime, timedelta

import pytest


@pytest.fixture
def ids(service):
    return service.account.ids("sent")


@pytest.fixture
def devices(service):
    return sorted(service.account.devices)


def between(ids, first, last):
    return {"start_id": ids[first], "end_id": ids[last]}


# Ranges


def test_both_ends_of_a_range_are_listed(service, ids):
    assert service.listed("outbox_sms", **between(ids, 3, 6)) == ids[3:7]


@pytest.mark.parametrize(
    ("switch", "value", "shown"),
    [
        ("start_id", "exclusive", slice(4, 7)),
        ("end_id", "exclusive", slice(3, 6)),
        ("end_id", "ignored", slice(3, None)),
    ],
)
def test_ends_of_a_range_may_be_left_out(service, ids, switch, value, shown):
    service.sandbox.set(**{switch: value})

    assert service.listed("outbox_sms", **between(ids, 3, 6)) == ids[shown]


def test_ends_switches_hold_for_live_rows_too(serve):
    service = serve(messages=0, start_id="exclusive", end_id="exclusive")
    first, second, third = (service.account.receive("900", "Hi") for _ in range(3))

    assert service.listed("inbox_sms", start_id=first, end_id=third) == [second]


def test_filters_narrow_each_other(service, ids, devices):
    shown = service.ask("outbox_sms", start_id=ids[10], device=devices[0])["data"]

    assert {row["id_device"] for row in shown} == {devices[0]}
    assert min(row["id"] for row in shown) >= ids[10]


def test_filters_may_be_joined_by_or(serve):
    service = serve(filters="or")
    ids = service.account.ids("sent")
    device = min(service.account.devices)

    shown = service.ask("outbox_sms", start_id=ids[10], device=device)["data"]

    assert {row["id"] for row in shown} > set(ids[10:])
    assert all(row["id"] >= ids[10] or row["id_device"] == device for row in shown)


def test_the_phone_filter_is_exact(service):
    id_ = service.account.receive("+447700900123", "Hi")
    service.account.receive("447700900123", "Hi")

    assert service.listed("inbox_sms", start_id=1, phone="+447700900123") == [id_]


def test_the_phone_filter_finds_seeded_rows(service):
    phone = next(service.account.rows("sent"))["phone"]
    known = [row["id"] for row in service.account.rows("sent") if row["phone"] == phone]

    assert service.listed("outbox_sms", start_id=1, phone=phone) == known


def test_zero_and_empty_are_as_if_absent(service, ids):
    assert service.listed("outbox_sms", start_id=1, end_id=0, phone="", list_id="") == ids


def test_zero_and_empty_may_be_values(serve):
    service = serve(zero="value")

    assert service.listed("outbox_sms", start_id=0) == service.account.ids("sent")
    assert service.listed("outbox_sms", start_id=1, end_id=0) == []
    assert service.listed("outbox_sms", start_id=1, phone="") == []
    assert service.listed("outbox_sms", list_id="") == []
    assert service.listed("outbox_sms", date_start="") == service.account.ids("sent")
    assert service.listed("outbox_sms", date_end="") == []


def test_unknown_parameters_are_ignored(service, ids):
    assert service.listed("outbox_sms", start_id=1, data_end="2020-01-01") == ids


def test_unknown_parameters_may_be_refused(serve):
    service = serve(unknown_parameters="error")

    refused = service.ask("outbox_sms", start_id=1, data_end="2020-01-01")

    assert refused == {"code": "-1", "error": "Unknown parameter"}
    assert service.ask("inbox_sms", list_id=1)["error"] == "Unknown parameter"
    assert service.ask("outbox_sms", list_id=1)["count"] == 0


# Caps, order, visibility


@pytest.mark.parametrize(("keeps", "shown"), [("oldest", slice(0, 5)), ("newest", slice(-5, None))])
def test_a_cap_keeps_one_end(serve, keeps, shown):
    service = serve(cap=5, cap_keeps=keeps)
    ids = service.account.ids("sent")

    answer = service.ask("outbox_sms", start_id=1)

    assert [row["id"] for row in answer["data"]] == ids[shown]
    assert answer["count"] == 5


def test_rows_may_come_newest_first(serve):
    service = serve(order="desc", cap=4)

    assert service.listed("outbox_sms", start_id=1) == service.account.ids("sent")[:4][::-1]


@pytest.mark.parametrize("count", [2, 3, 7, 40])
def test_rows_may_come_in_no_order(serve, count):
    service = serve(order="mixed", cap=count, messages=200)
    ids = service.account.ids("sent")[:count]

    shown = service.listed("outbox_sms", start_id=1)

    assert sorted(shown) == ids
    assert shown != ids
    assert count == 2 or shown != ids[::-1]


def test_every_second_row_may_show_late(serve, clock):
    service = serve(messages=0, visibility="out_of_order", visible_after_s=30)
    first, second, third = (service.account.receive("900", "Hi") for _ in range(3))

    assert service.listed("inbox_sms", start_id=1) == [second]
    assert service.account.ids("inbox") == [second]

    clock.move(seconds=29)
    assert service.listed("inbox_sms", start_id=1) == [second]

    clock.move(seconds=1)

    assert service.listed("inbox_sms", start_id=1) == [first, second, third]


# Devices


def test_a_list_needs_no_device(service, ids):
    assert service.listed("outbox_sms", start_id=1) == ids


@pytest.mark.parametrize(
    "params", [{"start_id": 1}, {"list_id": 5}, {"date_start": "2020-1-1 0:00"}]
)
def test_a_list_may_need_a_device(serve, params):
    service = serve(list_device="required")

    assert service.ask("outbox_sms", **params)["error"] == "Device not found"
    assert service.ask("outbox_sms", **params, device=min(service.account.devices))["code"] == "0"


def test_an_account_wide_list_may_be_empty(serve):
    service = serve(list_device="empty")
    device = min(service.account.devices)

    assert service.ask("outbox_sms", start_id=1) == {"code": "0", "count": 0, "data": []}
    assert service.ask("outbox_sms", start_id=1, device=device)["count"] > 0


def test_an_account_wide_list_may_be_partial(serve):
    service = serve(list_device="partial", devices=4)
    devices = sorted(service.account.devices)

    shown = service.ask("outbox_sms", start_id=1)["data"]

    assert {row["id_device"] for row in shown} == {devices[0], devices[2]}


def test_an_unknown_device_is_refused(service, devices):
    assert service.ask("inbox_sms", start_id=1, device=9) == {
        "code": "-1",
        "error": "Device not found",
    }
    service.account.remove_device(devices[1])
    assert service.ask("inbox_sms", start_id=1, device=devices[1])["code"] == "-1"
    assert service.ask("inbox_sms", start_id=1)["count"] == 18


def test_several_devices_are_taken(service, ids, devices):
    service.account.change_device(devices[1], power=0)

    both = service.listed("outbox_sms", start_id=1, device=f"{devices[0]}, {devices[1]}")
    active = service.ask("outbox_sms", start_id=1, device="active")["data"]

    assert both == ids
    assert {row["id_device"] for row in active} == {devices[0]}


def test_several_devices_may_be_refused(serve):
    service = serve(several_devices="refused")

    for device in ("active", "352114,352151"):
        assert service.ask("outbox_sms", start_id=1, device=device)["error"] == "Device not found"


def test_a_few_of_many_devices_are_listed_together(serve):
    service = serve(messages=100, devices=5)
    some = sorted(service.account.devices)[1:3]

    shown = service.ask("outbox_sms", start_id=1, device=",".join(map(str, some)))["data"]

    assert {row["id_device"] for row in shown} == set(some)
    assert [row["id"] for row in shown] == [
        row["id"] for row in service.account.rows("sent") if row["id_device"] in some
    ]


# list_id


def test_list_id_takes_blanks_zeros_and_unknown_ids(service, ids):
    assert service.listed("outbox_sms", list_id=f"0{ids[4]}, {ids[2]},,5") == [ids[2], ids[4]]


def test_list_id_beyond_a_limit_is_cut(serve):
    service = serve(list_id_limit=2)
    ids = service.account.ids("sent")

    assert service.listed("outbox_sms", list_id=f"{ids[0]},{ids[1]},{ids[2]}") == ids[:2]


def test_list_id_beyond_a_limit_may_be_refused(serve):
    service = serve(list_id_limit=2, list_id_over="error")

    assert service.ask("outbox_sms", list_id="1,2,3")["error"] == "Too many ids in list_id"
    assert service.ask("outbox_sms", list_id="1,2")["count"] == 0


def test_list_id_needs_no_device(service, ids, devices):
    row = service.account.row("sent", ids[0])
    wrong = next(device for device in devices if device != row["id_device"])

    assert service.listed("outbox_sms", list_id=ids[0]) == [ids[0]]
    assert service.listed("outbox_sms", list_id=ids[0], device=wrong) == []
    assert service.listed("outbox_sms", list_id=ids[0], device="active") == [ids[0]]


def test_list_id_may_need_the_right_device(serve):
    service = serve(list_id_device="right")
    row = next(service.account.rows("sent"))

    assert service.listed("outbox_sms", list_id=row["id"]) == []
    assert service.listed("outbox_sms", list_id=row["id"], device=row["id_device"]) == [row["id"]]


def test_list_id_is_nothing_to_the_inbox_where_it_leaves_the_day(service):
    old = service.account.ids("inbox")[0]
    today = service.account.receive("900", "Hi")

    assert old not in service.listed("inbox_sms", list_id=old)
    assert today in service.listed("inbox_sms", list_id=old)


def test_list_id_may_count_on_the_inbox(serve):
    service = serve(list_id_inbox="honoured")
    old = service.account.ids("inbox")[0]

    assert service.listed("inbox_sms", list_id=old) == [old]


# Dates and days


def in_march(day, hour):
    return datetime(2026, 3, day, hour, tzinfo=UTC)


@pytest.fixture
def dated(serve):
    """An account with one inbox row each day at 10:00 UTC, which its clocks print as 13 and 15."""

    def start(**switches):
        service = serve(messages=0, **switches)
        ids = [service.account.receive("900", "Hi", at=in_march(day, 10)) for day in range(1, 10)]
        return service, ids

    return start


@pytest.mark.parametrize("form", ["2026-3-4 13:00", "2026-03-04 13:00", "2026-03-04 13:00:00"])
def test_dates_are_read_padded_or_not(dated, form):
    service, ids = dated()

    assert service.listed("inbox_sms", date_start=form) == ids[3:]
    assert service.listed("inbox_sms", date_end=form) == ids[:4]


def test_dates_are_compared_with_the_servers_clock(dated):
    service, ids = dated()

    assert service.listed("inbox_sms", date_start="2026-03-04 13:00:01") == ids[4:]


def test_dates_may_be_compared_with_the_phones_clock(dated):
    service, ids = dated(date_filter_clock="phone", phone_skew_s=60)

    assert service.listed("inbox_sms", date_start="2026-03-04 15:01:00") == ids[3:]
    assert service.listed("inbox_sms", date_start="2026-03-04 15:01:01") == ids[4:]


@pytest.mark.parametrize("form", ["yesterday", "2026-02-30 10:00", "0000-01-01 0:00"])
def test_what_is_no_date_is_refused(service, form):
    assert service.ask("inbox_sms", date_start=form)["error"] == "Wrong date"


def test_date_filters_find_seeded_rows(service):
    rows = list(service.account.rows("sent"))

    first, last = rows[5]["date"][:19], rows[9]["date"][:19]
    shown = service.listed("outbox_sms", date_start=first, date_end=last)

    assert shown == [row["id"] for row in rows[5:9]]


@pytest.mark.parametrize("params", [{}, {"end_id": 10**9}, {"phone": "900"}])
def test_without_a_lifting_filter_the_list_covers_today(service, params):
    today = service.account.receive("900", "Hi")
    service.account.receive("900", "Late", at=in_march(1, 10))

    shown = service.listed("inbox_sms", **params)

    assert today in shown
    assert all(row["date"] >= "2026-03-10" for row in service.ask("inbox_sms", **params)["data"])


def test_a_device_does_not_lift_today_only(service, devices):
    shown = service.ask("outbox_sms", device=devices[0])["data"]

    assert {row["date"][:10] for row in shown} == {"2026-03-10"}


def test_today_only_may_be_off(serve):
    service = serve(today_only="off")

    assert service.listed("outbox_sms") == service.account.ids("sent")


@pytest.mark.parametrize(("today", "shown"), [("server", 1), ("utc", 0)])
def test_today_is_the_servers_day_or_utc(serve, clock, today, shown):
    service = serve(messages=0, today=today)
    clock.now = datetime(2026, 3, 10, 22, 30, tzinfo=UTC)  # the 11th on the server's clock
    service.account.receive("900", "Hi")
    clock.now = datetime(2026, 3, 11, 1, 0, tzinfo=UTC)

    assert service.ask("inbox_sms")["count"] == shown


# What exists


def test_old_rows_may_vanish(serve, clock):
    service = serve(messages=1000, retention_days=2)
    limit = clock.now - timedelta(days=2) + timedelta(hours=3)
    rows = list(service.account.rows("sent"))

    assert 0 < len(rows) < 550
    assert min(row["date"] for row in rows) >= limit.strftime("%Y-%m-%d %H:%M:%S")
    assert service.listed("outbox_sms", start_id=1) == [row["id"] for row in rows]

    live = service.account.receive("900", "Hi")
    clock.move(days=3)

    assert live not in service.account.ids("inbox")
    assert service.account.ids("sent") == []


def test_no_id_is_in_both_boxes(service):
    assert set(service.account.ids("inbox")).isdisjoint(service.account.ids("sent"))


def test_ids_may_overlap(serve):
    service = serve(messages=2000, id_spaces="overlapping")

    assert not set(service.account.ids("inbox")).isdisjoint(service.account.ids("sent"))


def test_dates_may_be_compared_with_what_is_printed(serve, devices):
    service = serve(messages=6, date_filter_clock="printed")
    account = service.account
    device = min(account.devices)
    account.phone_clock(device, "+00:00", -5 * 366 * 86400)
    late = account.receive("900", "By a clock that is years behind", device)
    year = account.row("inbox", late)["date"][:4]

    shown = service.listed(
        "inbox_sms", date_start=f"{year}-01-01 00:00:00", date_end=f"{year}-12-31 23:59:59"
    )

    assert late in shown
    assert late not in service.listed("inbox_sms", date_start="2026-01-01 00:00:00")
    assert len(service.listed("outbox_sms", date_start="2026-01-01 00:00:00")) > 0
