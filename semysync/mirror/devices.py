"""
Keep the tables `devices` and `device_samples` in step with the account's list of phones.

`save` is given a connection with an open transaction; `NEWS` are the columns of which a change is
worth a line in the log.
"""

import sqlite3
from collections.abc import Iterable
from typing import Any

from semysync.mirror.rows import Writing, device_row
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

SAMPLED = ("battery", "service_on", "last_active_at")
QUIET = ("last_active_at", "utc_offset")  # they change all the time, and are no news


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


def _differs(old: dict[str, Any], new: dict[str, Any], but: tuple[str, ...] = ()) -> bool:
    kept = {"mirrored_at", "missing_since", *but}
    return any(new[name] != value for name, value in old.items() if name not in kept)
