"""
Notice when a phone falls silent, is back, or runs out of battery: an event for each, once.

`judged` decides, without any I/O; `watch` is what the transaction calls that stores the devices.
What was told is kept in `device_states`, so that a restart repeats nothing.

How long a phone has been silent is measured by the service's clock, which has printed its last
contact: ours may have jumped. And it is told only of a phone whose last contact has stood still
while we looked for some minutes: after an outage of the service, a change of its clock or a wrong
time zone every phone seems to have been silent for hours, and is back at the next look.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from semysync.config import Devices
from semysync.mirror.tables.events import TELL
from semysync.model import Device
from semysync.times import Clock, as_printed, from_utc_text, utc_text

STANDS_STILL_S = 300  #: a contact must have stood still for so long while we looked
FARTHEST = timedelta(hours=15)  #: no zone is farther from UTC
RECOVERED = 5  #: so many per cent above the limit a battery is no longer low

KNOWN = """
select devices.id, last_active_at, utc_offset, coalesce(changed_at, mirrored_at),
       device_id is not null, silent_since, offline_since, battery_low_since
  from devices left join device_states on device_id = devices.id
 where mirrored_at is not null
"""

KEEP = """
insert or replace into device_states (device_id, silent_since, offline_since, battery_low_since)
values (?, ?, ?, ?)
"""


USUAL = Devices()


class State(NamedTuple):
    """What is known, and was told, of a phone: each time is None where the thing is not so."""

    silent_since: datetime | None = None  #: since when we have seen its last contact stand still
    offline_since: datetime | None = None
    battery_low_since: datetime | None = None


class Seen(NamedTuple):
    """What a look shows of a phone: its silence so far (None: not known), and its battery."""

    silent_s: float | None
    moved: bool  #: it was in touch since the look before
    battery: int | None


class Former(NamedTuple):
    """What the mirror knew of a phone before a look."""

    printed: datetime | None
    unchanged_since: datetime
    state: State | None


class Notice(NamedTuple):
    """An event of a device."""

    kind: str
    device_id: int
    data: dict[str, int | str | None]


def judged(
    known: State | None, seen: Seen, limits: Devices, now: datetime
) -> tuple[State, list[str]]:
    """Return the new state of a phone, and the kinds of the events to tell. None: never seen."""
    state, told = _contact(known, seen, limits, now)
    low = state.battery_low_since
    if seen.battery is None or state.offline_since:  # what it said before it fell silent is old
        return state, told
    if not low and seen.battery <= limits.battery_low:
        return state._replace(battery_low_since=now), [*told, "device.battery_low"]
    enough = max(min(limits.battery_low + RECOVERED, 100), limits.battery_low + 1)
    if low and seen.battery >= enough:
        return state._replace(battery_low_since=None), [*told, "device.battery_ok"]
    return state, told


def _contact(
    known: State | None, seen: Seen, limits: Devices, now: datetime
) -> tuple[State, list[str]]:
    state = known or State()
    if seen.silent_s is None:
        return state, []
    if seen.silent_s < limits.offline_s:
        if state.offline_since and not seen.moved:  # only the limit has changed
            return state, []
        told = ["device.online"] if state.offline_since else []
        quiet = seen.silent_s >= limits.offline_s / 2 and not seen.moved
        since = _since(state, now) if quiet else None
        return state._replace(silent_since=since, offline_since=None), told
    if state.offline_since:
        return state, []
    if known is None:  # it has been so for who knows how long: that is no event
        return state._replace(silent_since=now, offline_since=now), []
    since = now if seen.moved else _since(state, now)
    state = state._replace(silent_since=since)
    if (now - since).total_seconds() < min(STANDS_STILL_S, limits.offline_s / 2):
        return state, []
    return state._replace(offline_since=now), ["device.offline"]


def _since(state: State, now: datetime) -> datetime:
    """Return since when a silence was seen: not later than now, should our clock have gone back."""
    return min(state.silent_since or now, now)


def silence_s(
    printed: datetime,
    former: Former,
    *,
    clock: Clock,
    service_now: datetime | None,
    newest: datetime | None,
    now: datetime,
    looked_at: datetime | None,
) -> float:
    """
    Return for how long a phone has been silent at least, as far as it can be known.

    By the service's clock where its offset is known; else by the `newest` contact of any phone, by
    what holds in every zone, and by how long we have seen this one stand still. A contact that has
    moved since we last looked was made after that, whatever a wrong zone makes of it.
    """
    moved = former.printed is not None and former.printed != printed
    offset = clock.offset_at(printed)
    if offset is not None:
        at = printed.replace(tzinfo=UTC) - timedelta(minutes=offset)
        silent_s = ((service_now or now) - at).total_seconds()
    else:
        at_most = printed.replace(tzinfo=UTC) + FARTHEST
        silent_s = max(
            ((newest or printed) - printed).total_seconds(),
            ((service_now or now) - at_most).total_seconds(),
            (now - former.unchanged_since).total_seconds(),
        )
    if moved and looked_at and looked_at <= now:
        silent_s = min(silent_s, (now - looked_at).total_seconds())
    return silent_s


def known(conn: sqlite3.Connection) -> dict[int, Former]:
    """Return what the mirror knows of each phone; to be asked before they are stored."""
    return {
        row[0]: Former(
            as_printed(row[1], row[2]),
            from_utc_text(row[3]),
            State(*(from_utc_text(text) if text else None for text in row[5:])) if row[4] else None,
        )
        for row in conn.execute(KNOWN)
    }


def watch(
    conn: sqlite3.Connection,
    devices: Iterable[Device],
    formerly: Mapping[int, Former],
    *,
    limits: Devices,
    clock: Clock,
    now: datetime,
    service_now: datetime | None,
    looked_at: datetime | None,
) -> list[Notice]:
    """
    Judge the phones that a look has shown, and write the events, in its transaction; return them.

    `formerly` is what was `known` before, `looked_at` when the last complete look began. Of
    archived phones nothing is told.
    """
    shown = {device.id: device for device in devices if not device.archived}
    most = now.replace(tzinfo=None) + FARTHEST
    contacts = [d.last_active_at for d in shown.values() if d.last_active_at]
    newest = max((at for at in contacts if at < most), default=None)
    notices: list[Notice] = []
    for device in shown.values():
        former = formerly.get(device.id) or Former(None, now, None)
        seen = Seen(None, moved=False, battery=device.battery)
        if printed := device.last_active_at:
            silent_s = silence_s(
                printed,
                former,
                clock=clock,
                service_now=service_now,
                newest=newest,
                now=now,
                looked_at=looked_at,
            )
            moved = former.printed is not None and former.printed != printed
            seen = seen._replace(silent_s=silent_s, moved=moved)
        state, kinds = judged(former.state, seen, limits, now)
        if state != former.state:
            conn.execute(KEEP, (device.id, *(at and utc_text(at) for at in state)))
        notices += (_notice(kind, device, seen) for kind in kinds)
    stamp = utc_text(now)
    told = [(stamp, kind, None, None, number, json.dumps(data)) for kind, number, data in notices]
    conn.executemany(TELL, told)
    return notices


def _notice(kind: str, device: Device, seen: Seen) -> Notice:
    if "battery" in kind:
        return Notice(kind, device.id, {"battery": device.battery})
    return Notice(kind, device.id, {"silent_s": int(max(seen.silent_s or 0, 0))})
