"""
Times as the mirror keeps them: UTC text of one width, so that text order is time order.

The service prints local times without an offset, from two clocks: its own, and the phone's. A
`Clock` is what is known of one of them, and turns what was printed into UTC together with the
offset that was assumed, in minutes east. Where nothing is known the offset is None and the time
stays what was printed, so that a row can be put right later.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec

AGREE = timedelta(minutes=5)  #: by so much two clocks that agree may differ
WEST_MOST = timedelta(hours=12)  #: a printed time is behind UTC by no more
QUARTER = 15  # minutes: every zone in use today stands at a multiple of it


def utc_text(moment: datetime) -> str:
    """Write an aware moment: `2026-11-23T09:41:13.657724Z`."""
    naive = moment.astimezone(UTC).replace(tzinfo=None)
    return naive.isoformat(timespec="microseconds") + "Z"


def from_utc_text(text: str) -> datetime:
    """Read what `utc_text` wrote. Raises `ValueError` for anything else."""
    return datetime.fromisoformat(text)


class Locale(msgspec.Struct, frozen=True, kw_only=True):
    """What the configuration says of places: zones as `auto`, an IANA name or `+03:00`."""

    region: str | None = None
    timezone: str = "auto"
    phone_timezone: str = "auto"


ANYWHERE = Locale()


class Clock(NamedTuple):
    """A clock of which the zone is known, or else its offset in minutes, or neither."""

    zone: tzinfo | None = None
    offset: int | None = None

    def offset_at(self, printed: datetime | None) -> int | None:
        """Return the offset of the clock when it printed this, in minutes east; None if unknown."""
        if self.zone is None or printed is None:
            return self.offset if printed is not None else None
        # An hour that daylight saving repeats is taken for its first occurrence.
        east = printed.replace(tzinfo=self.zone).utcoffset() or timedelta(0)
        return int(east.total_seconds()) // 60

    def keeping(self, offset: int | None) -> "Clock":
        """Return the clock for a row that was written with an offset: a zone knows better."""
        return self if self.zone or offset is None else Clock(offset=offset)


class Clocks(NamedTuple):
    """The clocks of an account: the service's, and a phone's by its device."""

    service: Clock = Clock()
    phones: Mapping[int, Clock] = {}
    any_phone: Clock = Clock()

    def phone(self, device_id: int | None) -> Clock:
        """Return the clock of a device, as far as it is known."""
        return self.phones.get(device_id or 0, self.any_phone)


def in_utc(printed: datetime | None, offset: int | None) -> str | None:
    """Write a printed time in UTC, or as it stands where the offset is unknown."""
    if printed is None:
        return None
    if offset:
        try:  # noqa: SIM105  quicker than `suppress`
            printed -= _minutes(offset)
        except OverflowError:  # a day at the very end of the calendar
            pass
    # Five times as quick as `isoformat`, and this is done millions of times.
    text: str = msgspec.to_builtins(printed)
    return text + "Z" if len(text) == 26 else text + ".000000Z"


@lru_cache
def _minutes(count: int) -> timedelta:
    return timedelta(minutes=count)


def as_printed(text: str | None, offset: int | None) -> datetime | None:
    """Return what was printed for a time in the mirror that was written with this offset."""
    if text is None:
        return None
    stored = datetime.fromisoformat(text).replace(tzinfo=None)
    try:
        return stored + timedelta(minutes=offset or 0)
    except OverflowError:
        return stored


def zone_named(name: str) -> tzinfo:
    """
    Return the zone for an offset such as `+03:00`, or for an IANA name.

    Raises `ValueError` for what is neither.
    """
    if match := re.fullmatch(r"([+-])([01]\d):([0-5]\d)", name):
        minutes = int(match[2]) * 60 + int(match[3])
        return timezone(timedelta(minutes=-minutes if match[1] == "-" else minutes))
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise ValueError(f"{name!r} is no time zone") from None


def only_offset(printed: datetime, earliest: datetime, latest: datetime) -> int | None:
    """
    Return the only offset under which a clock printed this between two moments, in minutes east.

    None where more than one would do, or none would. A clock may be wrong by two minutes.
    """
    slack = timedelta(minutes=2)
    low = printed - latest.astimezone(UTC).replace(tzinfo=None) - slack
    high = printed - earliest.astimezone(UTC).replace(tzinfo=None) + slack
    quarter = timedelta(minutes=QUARTER)
    first = -(-low // quarter)  # the first quarter at or after `low`
    if first * quarter > high or (first + 1) * quarter <= high:
        return None
    offset = first * QUARTER
    return offset if -12 * 60 <= offset <= 14 * 60 else None
