"""
What may be asked of a box: always a range of ids, a list of ids or a window of dates.

Without one of these the service answers for the current day only (documented), and deletes the
current day. So that nobody can ask that by mistake, a question is one of three types, none of
which can be made empty, and only they can be put to `Client`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

MOST_IDS = 50  #: ids in one list; deployed clients use as many (observed), the limit is unknown


@dataclass(frozen=True, slots=True)
class Dates:
    """
    A window on the date that the service compares: whose clock that is, is unknown.

    `start` and `end` are naive, since the service knows no zones; a caller widens them as it needs.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo or self.end.tzinfo:
            raise ValueError("a window of dates has no zone: the service's own is unknown")
        if self.start > self.end:
            raise ValueError(f"a window of dates must not end before it starts: {self}")

    def fields(self) -> dict[str, str]:
        """Name the window as the service does: padded and with seconds (likely)."""
        return {"date_start": _printed(self.start), "date_end": _printed(self.end)}


@dataclass(frozen=True, slots=True)
class Range:
    """
    Ids from `start` to `end` (None: to the newest), perhaps within a window of dates.

    Whether the ends belong to it is likely, not sure: a caller must be right either way.
    """

    start: int
    end: int | None = None
    dates: Dates | None = None

    def __post_init__(self) -> None:
        if self.start < 1:
            raise ValueError(f"a range starts at 1 or higher, not at {self.start}")
        if self.end is not None and self.end < self.start:
            raise ValueError(f"a range must not end before it starts: {self}")

    def fields(self) -> dict[str, str]:
        named = {"start_id": str(self.start)}
        if self.end is not None:
            named["end_id"] = str(self.end)
        return named | (self.dates.fields() if self.dates else {})


@dataclass(frozen=True, slots=True)
class Ids:
    """One to fifty ids of the box `sent`; on the inbox the service may ignore them (likely)."""

    ids: tuple[int, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.ids) <= MOST_IDS:
            raise ValueError(f"a list holds 1 to {MOST_IDS} ids, not {len(self.ids)}")
        if min(self.ids) < 1:
            raise ValueError(f"an id is 1 or higher, not {min(self.ids)}")

    def fields(self) -> dict[str, str]:
        return {"list_id": ",".join(map(str, self.ids))}


@dataclass(frozen=True, slots=True)
class Doomed:
    """
    What a delete may name: a device, ids, and dates that end before yesterday, all three.

    A filter that the service ignores then still leaves the others, and today and yesterday out of
    reach, whichever clock reads the dates. `now` is what the caller takes for the time, aware.
    """

    device_id: int
    which: Ids | Range
    dates: Dates
    now: datetime

    def __post_init__(self) -> None:
        if self.device_id < 1:
            raise ValueError(f"a delete names a device, not {self.device_id}")
        if isinstance(self.which, Range):
            if self.which.end is None:
                raise ValueError("a range to delete has an end")
            if self.which.dates is not None:
                raise ValueError("a delete has one window of dates, beside its range")
        if self.dates.end > latest_end(self.now):
            raise ValueError(
                f"a delete may reach to {latest_end(self.now)}, not to {self.dates.end}"
            )

    def fields(self) -> Mapping[str, str]:
        return {"device": str(self.device_id)} | self.which.fields() | self.dates.fields()


def latest_end(now: datetime) -> datetime:
    """
    Return the latest end of a window of dates that lies before yesterday, whoever reads it.

    The service may read it by its own clock or by a phone's, and call a day yesterday by another
    one: the end may be meant as late as twelve hours west of Greenwich, and a yesterday begins up
    to 49 hours ago (a day on which the clocks change has 25).
    """
    return (now.astimezone(UTC) - timedelta(hours=49 + 12)).replace(tzinfo=None, microsecond=0)


def _printed(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S")
