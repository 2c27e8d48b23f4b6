"""A phone that falls silent, over real HTTP: told by the pass of the devices, once."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from semysync.config import Devices


@pytest.fixture
def look(make_sync, rows):
    """Let some minutes pass, look at the devices as the daemon does, return the events so far."""
    passed = timedelta()

    def look(minutes):
        nonlocal passed
        passed += timedelta(minutes=minutes)
        sync = make_sync(now=lambda: datetime.now(UTC) + passed)
        sync._limits = Devices(offline_s=3600, battery_low=15)
        assert sync.devices().failure is None
        return rows("select kind, device_id from events order by seq")

    return look


def test_a_silent_phone_is_told_once_by_the_clock_that_was_learnt(sandbox, store, look):
    phones = [phone for phone in sandbox.account.devices.values() if not phone.archived]
    for phone in phones:
        phone.raw = {"bat": "80"}
    assert look(0) == []
    silent = phones[0]
    silent.seen = int(time.time() * 1e6)
    look(1)
    assert store.setting("utc_offset") == "180"

    assert look(40) == []
    for phone in phones[1:]:
        phone.seen = int((time.time() + 80 * 60) * 1e6)
    told = look(30)

    assert told == [("device.offline", silent.id)]
    assert look(10) == told
    silent.seen = int((time.time() + 81 * 60) * 1e6)
    assert look(0) == [*told, ("device.online", silent.id)]


def test_a_low_battery_is_told_once(sandbox, look):
    phone = next(iter(sandbox.account.devices.values()))
    phone.raw = {"bat": "16"}
    look(0)
    phone.raw = {"bat": "15"}
    told = look(1)

    assert told[-1] == ("device.battery_low", phone.id)
    assert look(1) == told
