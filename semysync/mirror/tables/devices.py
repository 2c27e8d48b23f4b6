"""
Keep the tables `devices` and `device_samples` in step with the account's list of phones.

The functions are given a connection; those that write, one with an open transaction.
"""

import sqlite3
from collections.abc import Iterable
from typing import Any, NamedTuple

from semysync.mirror.tables.rows import Writing, device_row
from semysync.model import Device

FIND = """
select id, name, label, channel, manufacturer, android_version, app_version, battery, service_on,
       use_for_sending, reports_on, archived, speed, limit_phone, limit_use, limit_at,
       limit_period, last_active_at, utc_offset, extra, mirrored_at, missing_since
  from devices
"""

SAVE = """
insert into devices (id, name, label, channel, manufacturer, android_version, app_version, battery,
                     service_on, use_for_sending, reports_on, archived, speed, limit_phone,
                     limit_use, limit_at, limit_period, last_active_at, utc_offset, extra,
                     first_seen_at, mirrored_at)
values (:id, :name, :label, :channel, :manufacturer, :android_version, :app_version, :battery,
        :service_on, :use_for_sending, :reports_on, :archived, :speed, :limit_phone,
        :limit_use, :limit_at, :limit_period, :last_active_at, :utc_offset, :extra,
        :now, :now)
    on conflict (id) do update
   set name = excluded.name, label = excluded.label, channel = excluded.channel,
       manufacturer = excluded.manufacturer, android_version = excluded.android_version,
       app_version = excluded.app_version, battery = excluded.battery,
       service_on = excluded.service_on, use_for_sending = excluded.use_for_sending,
       reports_on = excluded.reports_on, archived = excluded.archived, speed = excluded.speed,
       limit_phone = excluded.limit_phone, limit_use = excluded.limit_use,
       limit_at = excluded.limit_at, limit_period = excluded.limit_period,
       last_active_at = excluded.last_active_at, utc_offset = excluded.utc_offset,
       extra = excluded.extra, mirrored_at = coalesce(mirrored_at, excluded.mirrored_at),
       changed_at = excluded.mirrored_at, missing_since = null
"""

SAMPLE = """
insert into device_samples (device_id, at, battery, service_on, last_active_at)
values (:id, :now, :battery, :service_on, :last_active_at)
"""

MISS = "update devices set missing_since = ? where id = ?"

KNOWN = """
select id, mirrored_at is not null and missing_since is null, archived, last_active_at
  from devices
 order by id
"""

MEET = "insert or ignore into devices (id, first_seen_at) values (?, ?)"

SAMPLED = ("battery", "service_on", "last_active_at")
QUIET = ("last_active_at", "utc_offset")  # they change all the time, and are no news


class KnownDevice(NamedTuple):
    """A device that was ever seen; `there` tells whether the account had it when last asked."""

    id: int
    there: bool
    archived: bool
    last_active_at: str | None


def save(
    conn: sqlite3.Connection,
    devices: Iterable[Device],
    *,
    writing: Writing,
    stamp: str,
    complete: bool,
) -> tuple[int, int]:
    """
    Bring the devices up to date; return how many were new, and how many changed in earnest.

    Those that are absent from a `complete` list are marked as missing.
    """
    cursor = conn.execute(FIND)
    names = [column[0] for column in cursor.description]
    there = {row[0]: dict(zip(names, row, strict=True)) for row in cursor}
    came = {device.id: device_row(device, writing, stamp) for device in devices}
    added = changed = 0
    for number, new in came.items():
        old = there.get(number)
        if old and old["mirrored_at"] and not old["missing_since"] and not _differs(old, new):
            continue
        conn.execute(SAVE, new)
        if old is None or any(old[name] != new[name] for name in SAMPLED):
            conn.execute(SAMPLE, new)
        added += old is None
        changed += old is not None and _differs(old, new, but=QUIET)
    gone = [
        number
        for number, old in there.items()
        if number not in came and old["mirrored_at"] and not old["missing_since"]
    ]
    if complete:
        conn.executemany(MISS, [(stamp, number) for number in gone])
        changed += len(gone)
    return added, changed


def known(conn: sqlite3.Connection) -> list[KnownDevice]:
    """Return every device ever seen, in the list of devices or in a message."""
    return [
        KnownDevice(number, bool(there), bool(archived), last_active_at)
        for number, there, archived, last_active_at in conn.execute(KNOWN)
    ]


def meet(conn: sqlite3.Connection, ids: Iterable[int], stamp: str) -> None:
    """Give a row to devices that are seen in messages only, so that they are asked for."""
    conn.executemany(MEET, [(number, stamp) for number in ids])


def _differs(old: dict[str, Any], new: dict[str, Any], but: tuple[str, ...] = ()) -> bool:
    kept = {"mirrored_at", "missing_since", *but}
    return any(new[name] != value for name, value in old.items() if name not in kept)
