"""
How a mirror is: the facts of the view `health` and what explains them, in one reading.

All is given a connection; nothing is written.
"""

import sqlite3
from datetime import datetime
from typing import Any, NamedTuple

from semysync.errors import MirrorUnusable
from semysync.mirror.copies.backup import newest_copy
from semysync.mirror.file import at_one_moment
from semysync.times import from_utc_text

HEALTH = "select verdict, inbox_lag_s, sent_lag_s, queued, oldest_waiting_s, last_error from health"

SETTINGS = """
select key, value from settings where key in ('sending_blocked', 'plan_is_low') and value <> ''
"""

BOXES = """
select (select count(*) from inbox), (select count(*) from sent),
       (select count(*) from marks where box = 'inbox' and loaded_at is null),
       (select count(*) from marks where box = 'sent' and loaded_at is null)
"""

# Those that are finished are of no interest here, and may be a million.
OUTBOX = """
select status, count(*) from outbox
 where status in ('queued', 'held', 'sending', 'unknown', 'accepted', 'on_phone', 'cancelling')
 group by status
"""

DEVICES = """
select id, coalesce(nullif(label, ''), name) as name, channel, battery, service_on,
       use_for_sending, archived, last_active_at, utc_offset, missing_since, offline_since,
       battery_low_since
  from devices left join device_states on device_id = id
 where mirrored_at is not null
 order by archived, missing_since is not null, last_active_at desc, id
"""

ACCOUNT = "select messages_left, plan_ends_at from account order by id desc limit 1"

# The last pass of each kind, where it failed. Kind by kind: there may be a month of passes.
ERRORS = """
with recursive kinds (kind) as (
    select min(kind) from passes
    union all
    select (select min(kind) from passes where passes.kind > kinds.kind) from kinds
     where kind is not null
)
select kind, finished_at, error
  from passes
 where error is not null
   and id in (select (select max(id) from passes where passes.kind = kinds.kind) from kinds)
 order by id
"""

LATEST = "select (select finished_at from passes order by id desc limit 1)"

# What has not moved for weeks never will, and must not hide what is new.
STUCK = """
select count(*)
  from (select 1 from stuck
         where since > strftime('%Y-%m-%dT%H:%M:%S', 'now', '-7 days') limit 1000)
"""


class Phone(NamedTuple):
    """A device of the account; `seen_s` ago it was in touch, None where its clock is unknown."""

    id: int
    name: str | None
    channel: str | None
    battery: int | None
    service_on: bool | None
    use_for_sending: bool | None
    archived: bool
    gone: bool
    offline: bool
    battery_low: bool
    last_active_at: str | None
    seen_s: int | None

    @property
    def is_well(self) -> bool:
        return not (self.offline or self.battery_low or self.service_on is False)


class Condition(NamedTuple):
    """What `status` and `doctor` tell of a mirror, as it was at one moment."""

    verdict: str
    last_error: str | None
    boxes: dict[str, dict[str, Any]]  #: messages, lag_s, loading
    outbox: dict[str, Any]  #: counts by status, due, oldest_waiting_s, blocked
    stuck: int  #: drafts and messages of the last week
    devices: list[Phone]
    account: dict[str, Any]
    errors: list[dict[str, Any]]  #: kind, at, error
    idle_s: int | None  #: since the last pass of any kind
    backup_at: str | None
    backup_path: str | None


def condition(conn: sqlite3.Connection, now: datetime) -> Condition:
    """
    Read how a mirror is, as of one moment.

    Raises `MirrorUnusable` where a table or a view is gone.
    """
    with at_one_moment(conn):
        try:
            return _condition(conn, now)
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorname != "SQLITE_ERROR":
                raise
            raise MirrorUnusable(
                f"the mirror lacks what belongs in it ({exc}): `semysync doctor` says what to do"
            ) from None


def _condition(conn: sqlite3.Connection, now: datetime) -> Condition:
    verdict, inbox_s, sent_s, queued, waiting_s, last_error = conn.execute(HEALTH).fetchone()
    settings = dict(conn.execute(SETTINGS).fetchall())
    inbox, sent, inbox_loading, sent_loading = conn.execute(BOXES).fetchone()
    left, ends_at = conn.execute(ACCOUNT).fetchone() or (None, None)
    latest = conn.execute(LATEST).fetchone()[0]
    copy = newest_copy(conn)
    return Condition(
        verdict=verdict,
        last_error=last_error,
        boxes={
            "inbox": {"messages": inbox, "lag_s": inbox_s, "loading": bool(inbox_loading)},
            "sent": {"messages": sent, "lag_s": sent_s, "loading": bool(sent_loading)},
        },
        outbox={
            "due": queued,
            "oldest_waiting_s": waiting_s,
            "blocked": settings.get("sending_blocked"),
            "drafts": dict(conn.execute(OUTBOX).fetchall()),
        },
        stuck=conn.execute(STUCK).fetchone()[0],
        devices=phones(conn, now),
        account={
            "messages_left": left,
            "plan_ends_at": ends_at,
            "plan_is_low": settings.get("plan_is_low"),
        },
        errors=[
            {"kind": kind, "at": at, "error": error} for kind, at, error in conn.execute(ERRORS)
        ],
        idle_s=_ago_s(latest, now),
        backup_at=copy.at if copy else None,
        backup_path=str(copy.path) if copy else None,
    )


def phones(conn: sqlite3.Connection, now: datetime) -> list[Phone]:
    """Return the devices of the account, those in use and seen last first."""
    return [_phone(row, now) for row in conn.execute(DEVICES)]


def _phone(row: sqlite3.Row, now: datetime) -> Phone:
    known = row["last_active_at"] and row["utc_offset"] is not None
    seen_s = _ago_s(row["last_active_at"], now) if known else None
    return Phone(
        id=row["id"],
        name=row["name"],
        channel=row["channel"],
        battery=row["battery"],
        service_on=_flag(row["service_on"]),
        use_for_sending=_flag(row["use_for_sending"]),
        archived=bool(row["archived"]),
        gone=row["missing_since"] is not None,
        offline=row["offline_since"] is not None,
        battery_low=row["battery_low_since"] is not None,
        last_active_at=row["last_active_at"],
        seen_s=None if seen_s is None else max(seen_s, 0),
    )


def _flag(value: int | None) -> bool | None:
    return None if value is None else bool(value)


def _ago_s(text: str | None, now: datetime) -> int | None:
    return int((now - from_utc_text(text)).total_seconds()) if text else None
