"""
The devices of an account, and their rows in devices.php.

Names and sample types of the fields are documented; that `is_work` means "use for sending", `power`
"the app's service is on" and `date_last_active` "last contact, on the server's clock" is likely.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from semysync.sandbox.clocks import DAY, SECOND
from semysync.sandbox.history import mixed
from semysync.sandbox.rows import MISSING, Clocks
from semysync.sandbox.samples import DEVICE_MODELS

FIRST_DEVICE_ID = 352_114

_ID_STEP = 37
_HEARTBEAT = 10 * SECOND
_BATTERY_PERCENT = 600 * SECOND  # ten minutes for one per cent


@dataclass(slots=True, kw_only=True)
class Device:
    """A phone's row: one handset can be up to three, one for each type."""

    id: int
    type: int = 0
    name: str = "Galaxy A12"
    label: str = ""
    manufacturer: str = "samsung"
    android_version: str = "11"
    archived: bool = False
    in_use: bool = True
    power: bool = True
    reports: bool = True
    on_since: int = 0  #: when the phone began, or began again, to fetch messages
    seen: int | None = None  #: the last contact of one that is off or archived
    raw: dict[str, Any] = field(default_factory=dict)

    @property
    def is_ready(self) -> bool:
        """Whether `active` may choose it."""
        return self.power and self.in_use and not self.archived

    @property
    def can_dial(self) -> bool:
        """Whether it carries out USSD codes: a phone line, on Android 8 or later (likely)."""
        version = self.android_version.partition(".")[0]
        return self.type == 0 and version.isdecimal() and int(version) >= 8


def seeded_devices(count: int, start: int) -> list[Device]:
    """The devices an account begins with: every third is WhatsApp, every fifth is archived."""
    return [_seeded_device(number, start) for number in range(count)]


def another(device: Device, devices: Mapping[int, Device]) -> Device:
    """The next device of the same type that is ready, or of any type; else the same."""
    ready = [other for _, other in sorted(devices.items()) if other.is_ready]
    others = [other for other in ready if other.id > device.id] + ready
    alike = (other for other in others if other.type == device.type and other is not device)
    any_other = (other for other in others if other is not device)
    return next(alike, next(any_other, device))


def canonical_device(device: Device, *, now: int, start: int, clocks: Clocks) -> dict[str, Any]:
    """The row of devices.php before any switch bends it, in documented key order."""
    fields = {
        "id": device.id,
        "is_arhive": int(device.archived),
        "is_deliv": int(device.reports),
        "is_work": int(device.in_use),
        "power": int(device.power),
        "device_name": device.name,
        "dop_name": device.label,
        "speed_sms": 1,
        "date_last_active": clocks.server.micros(_last_contact(device, now)),
        "version": "61",
        "limit_phone": None,
        "limit_use": None,
        "limit_date": clocks.server.micros(start - start % DAY + 2_551_200),
        "limit_period": " ",
        "manufacturer": device.manufacturer,
        "android_version": device.android_version,
        "bat": str(_battery(device, now - start)),
        "type": device.type,
    } | device.raw
    return {name: value for name, value in fields.items() if value is not MISSING}


def _seeded_device(number: int, start: int) -> Device:
    name, manufacturer, label, android_version = DEVICE_MODELS[number % len(DEVICE_MODELS)]
    archived = number % 5 == 3
    return Device(
        id=FIRST_DEVICE_ID + number * _ID_STEP,
        type=int(number % 3 == 2),
        name=name,
        label=label,
        manufacturer=manufacturer,
        android_version=android_version,
        archived=archived,
        seen=start - 3 * DAY if archived else None,
    )


def _last_contact(device: Device, now: int) -> int:
    """A phone that is on reports every ten seconds."""
    if device.seen is not None:
        return device.seen
    beat = (now - device.id * SECOND) // _HEARTBEAT
    return beat * _HEARTBEAT + device.id * SECOND - mixed(beat) % SECOND


def _battery(device: Device, elapsed: int) -> int:
    """Drains slowly to 5 per cent, then somebody plugs it in."""
    return 5 + (30 + device.id % 60 - elapsed // _BATTERY_PERCENT) % 95
