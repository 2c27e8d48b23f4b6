"""What tests do to an account, and its devices."""

from datetime import timedelta
from threading import Thread

import pytest

from semysync.sandbox import Account, Switches

# What tests do to it


def test_a_text_received_is_dated_by_the_phone(service, clock):
    at = clock.now - timedelta(days=2)
    late = service.account.receive("Beeline", "Late", at=at)

    row = service.ask("inbox_sms", start_id=late)["data"][0]

    assert (row["date"], row["phone"], row["msg"]) == ("2026-03-08 17:00:00", "Beeline", "Late")
    assert late == max(service.account.ids("inbox"))


def test_others_send_too(service, clock, devices):
    panel = service.account.sent_elsewhere("900", "panel", devices[1])
    typed = service.account.sent_elsewhere("900", "typed", is_out=1)
    clock.move(seconds=5)

    assert service.account.row("sent", panel)["id_device"] == devices[1]
    assert service.flags(panel) == (1, 1, 1, 0)
    row = service.account.row("sent", typed)
    assert (row["is_out"], row["send"]) == (1, "2026-03-10 17:00:00")


def test_a_hidden_row_shows_below_others_once_revealed(service):
    hidden = service.account.receive("900", "first", hidden=True)
    shown = service.account.receive("900", "second")
    assert service.listed("inbox_sms", start_id=hidden) == [shown]

    service.account.reveal("inbox", hidden)

    assert service.listed("inbox_sms", start_id=hidden) == [hidden, shown]


def test_rows_vanish_for_good(service):
    ids = service.account.ids("inbox")
    live = service.account.receive("900", "Hi")

    assert service.account.remove("inbox", [ids[2], live, 5]) == [ids[2], live]
    assert service.account.remove("inbox", [ids[2], live]) == []
    assert service.listed("inbox_sms", start_id=1) == ids[:2] + ids[3:]
    with pytest.raises(ValueError, match=f"no message {live} in inbox"):
        service.account.row("inbox", live)


def test_seeded_and_live_rows_can_be_changed(service, devices):
    seeded, live = service.account.ids("sent")[3], service.send()
    for id_ in (seeded, live):
        service.account.change("sent", id_, msg="Other", is_error_send=1)
        service.account.change("sent", id_, type=9)

    rows = service.ask("outbox_sms", list_id=f"{seeded},{live}")["data"]

    assert [row["id"] for row in rows] == [seeded, live]
    for row in rows:
        assert (row["msg"], row["is_error_send"], row["type"]) == ("Other", 1, 9)


def test_filters_follow_a_changed_device(service, devices):
    id_ = service.account.ids("sent")[0]
    other = next(d for d in devices if d != service.account.row("sent", id_)["id_device"])

    service.account.change("sent", id_, id_device=other)

    assert id_ in service.listed("outbox_sms", start_id=1, device=other)


def test_an_id_is_taken_away_not_changed(service):
    with pytest.raises(ValueError, match="id=None"):
        service.account.change("sent", service.account.ids("sent")[0], id=7)


def test_ids_come_back_after_a_reset(service):
    ids = service.account.ids("inbox")
    service.account.reuse_ids("inbox", [ids[4], ids[1]])
    assert service.listed("inbox_sms", start_id=1) == [
        id_ for id_ in ids if id_ not in (ids[4], ids[1])
    ]

    again = [service.account.receive("900", "new") for _ in range(3)]

    assert again[:2] == [ids[4], ids[1]]
    assert again[2] > ids[-1]
    assert service.listed("inbox_sms", start_id=1) == [*ids, again[2]]
    assert service.account.row("inbox", ids[1])["msg"] == "new"


@pytest.mark.parametrize("act", ["reveal", "change"])
def test_acting_on_nothing_is_told(service, act):
    with pytest.raises(ValueError, match="no message 5 in sent"):
        getattr(service.account, act)("sent", 5)


def test_a_box_is_inbox_or_sent(service):
    with pytest.raises(ValueError, match="box must be inbox or sent, got 'outbox'"):
        service.account.ids("outbox")


def test_an_account_needs_a_device_and_counts_from_zero():
    with pytest.raises(ValueError, match="devices must be at least 1, got 0"):
        Account(devices=0)
    with pytest.raises(ValueError, match="messages must be at least 0, got -1"):
        Account(messages=-1)


# Devices


def test_devices_are_listed_live_archived_or_both(serve):
    service = serve(devices=5)
    ids = sorted(service.account.devices)

    assert service.listed("devices") == ids
    assert service.listed("devices", is_arhive=1) == [ids[3]]
    assert service.listed("devices", is_arhive=0) == ids[:3] + ids[4:]
    assert service.listed("devices", list_id=f"{ids[4]}, {ids[0]}") == [ids[0], ids[4]]


def test_devices_come_and_go(service, devices):
    added = service.account.add_device(type=1, label="new")
    service.account.archive_device(devices[0])
    service.account.remove_device(devices[1])

    rows = {row["id"]: row for row in service.ask("devices")["data"]}

    assert list(rows) == [devices[0], added]
    assert rows[devices[0]]["is_arhive"] == 1
    assert (rows[added]["type"], rows[added]["dop_name"]) == (1, "new")
    with pytest.raises(ValueError, match=f"no device {devices[1]}"):
        service.account.change_device(devices[1], power=0)


def test_the_fields_of_a_device_can_be_changed(service, devices):
    service.account.change_device(devices[0], bat=None, limit_phone=30, power=0)

    row = service.ask("devices")["data"][0]

    assert (row["bat"], row["limit_phone"], row["power"]) == (None, 30, 0)


def test_a_device_in_touch_moves_on_and_drains(service, clock, devices):
    before = service.ask("devices")["data"][0]
    clock.move(hours=1)
    service.account.change_device(devices[1], power=0)
    clock.move(hours=1)
    after, off = service.ask("devices")["data"]

    assert before["date_last_active"] < "2026-03-10 15:00:01"
    assert "2026-03-10 16:59:45" < after["date_last_active"] < "2026-03-10 17:00:01"
    assert off["date_last_active"] == "2026-03-10 16:00:00.250000"
    assert int(before["bat"]) - int(after["bat"]) == 12


def test_an_account_can_be_shared_by_threads(service):
    ids = []
    threads = [
        Thread(target=lambda: ids.extend(service.account.receive("900", "x") for _ in range(50)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(ids)) == 200
    assert service.account.ids("inbox")[-200:] == sorted(ids)


def test_the_account_needs_no_server(clock):
    account = Account(messages=10, clock=clock, switches=Switches(today_only="off"))

    assert len(list(account.rows("inbox"))) == 4
