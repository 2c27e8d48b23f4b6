"""
The phones, as arithmetic on time: no threads, nothing happens until somebody looks.

The arrows are those of section 4 (likely): fetched, then sent, then reported where the device asks
for reports. Every time is a function of when the row was made, so the same calls on the same clock
give the same rows.
"""

from collections.abc import Iterator
from typing import NamedTuple

from semysync.sandbox.clocks import SECOND
from semysync.sandbox.devices import Device
from semysync.sandbox.history import mixed
from semysync.sandbox.rows import Row
from semysync.sandbox.samples import INBOX_TEXTS, SERVICE_TEXTS

_FETCH, _SEND, _REPORT, _REPLY = 0.4, 1.0, 2.0, 5.0  # seconds after the row was made
_MOST_ARRIVALS = 1000  # of one advance: a clock that jumps a year must not fill the memory


class Reply(NamedTuple):
    """A message that a contact will send."""

    at: int
    device_id: int
    phone: str
    text: str


class Arrival(NamedTuple):
    """A message that turns up by itself: a text received, or one sent from the panel."""

    at: int
    received: bool
    choice: int  #: picks the contact, the device and the words


def progress(row: Row, device: Device | None, *, speed: float, now: int) -> bool:
    """Move a sent row along its arrows up to `now`; returns whether it has come to rest."""
    if not row.is_open or device is None:
        return True
    if not device.power or device.archived:
        return False
    begun = max(row.at, device.on_since)
    if row.fetched is None:
        row.fetched = _due(begun, _FETCH, speed, now)
    if row.is_ussd and not device.can_dial:
        row.send_failed = _due(begun, _SEND, speed, now)
        return row.send_failed is not None
    if row.fetched is not None and row.sent is None:
        row.sent = _due(begun, _SEND, speed, now)
    if row.sent is None:
        return False
    if not device.reports or row.is_ussd:
        return True
    row.delivered = _due(begun, _REPORT, speed, now)
    return row.delivered is not None


def next_due(row: Row, device: Device | None, *, speed: float) -> int | None:
    """When `progress` has more to do; None while that hangs on the device, or on the speed."""
    if speed <= 0:
        return None
    if not row.is_open or device is None:
        return row.at
    if not device.power or device.archived:
        return None
    after_s = _FETCH if row.fetched is None else _SEND if row.sent is None else _REPORT
    if row.sent is not None and (not device.reports or row.is_ussd):
        return row.at
    return max(row.at, device.on_since) + int(after_s / speed * SECOND)


def reply_to(row: Row, speed: float) -> Reply | None:
    """What the contact answers to a text that was sent; every third gets a reply."""
    bits = mixed(row.id)
    if bits % 3 or row.is_out or row.sent is None or speed <= 0:
        return None
    words = INBOX_TEXTS[(bits >> 8) % len(INBOX_TEXTS)]
    text = words.head if words.tail is None else f"{words.head}{bits % 90 + 10}{words.tail}"
    return Reply(row.sent + int(_REPLY / speed * SECOND), row.device_id, row.phone, text)


def ussd_reply(row: Row, speed: float, *, named: bool) -> Reply | None:
    """What the network answers to a code: a message from the code itself, or from a name."""
    if row.sent is None or speed <= 0:
        return None
    bits = mixed(row.id)
    at = row.sent + int(_REPLY / speed * SECOND)
    sender = "Balance" if named else row.phone
    return Reply(at, row.device_id, sender, f"{SERVICE_TEXTS[0].head}{bits % 900 + 10} roubles")


def arrivals(since: int, until: int, every_s: float) -> Iterator[Arrival]:
    """The messages that turn up by themselves after `since`, up to `until`; three in four come in."""
    interval = int(every_s * SECOND)
    if interval <= 0:
        return
    count = (until - since) // interval
    for number in range(max(count - _MOST_ARRIVALS, 0) + 1, count + 1):
        at = since + number * interval
        choice = mixed(at)
        yield Arrival(at, received=choice % 4 != 3, choice=choice >> 2)


def _due(begun: int, after_s: float, speed: float, now: int) -> int | None:
    if speed <= 0:
        return None
    at = begun + int(after_s / speed * SECOND)
    return at if at <= now else None
