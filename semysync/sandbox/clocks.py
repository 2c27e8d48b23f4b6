"""
The two clocks of the service, printed without an offset: its own, and the phones'.

An instant inside the stand-in is a whole number of microseconds since 1970 UTC. That a sent row's
`date` and `send_to_phone` come from the server's clock, and `send`, `delivered` and an inbox row's
`date` from the phone's, is likely; their looks are documented.
"""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, tzinfo

SECOND = 1_000_000
DAY = 86_400 * SECOND

#: Tells the time; aware, UTC.
Clock = Callable[[], datetime]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_QUARTER_S = 900  # every zone of today stands at a multiple of fifteen minutes
_TWO = [f"{number:02d}" for number in range(60)]
_CACHED_QUARTERS = 8192
_FILTER_DATE = re.compile(
    r"\s*(\d{4})-(\d{1,2})-(\d{1,2})(?:[ T]+(\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.\d*)?)?)?\s*"
)


def real_clock() -> datetime:
    """The time of this machine."""
    return datetime.now(UTC)


def instant(moment: datetime) -> int:
    """An aware datetime as microseconds since 1970 UTC."""
    if moment.tzinfo is None:
        raise ValueError(f"a time needs a zone, got {moment.isoformat()}")
    return (moment - _EPOCH) // _MICROSECOND


def moment(at: int) -> datetime:
    """The aware UTC datetime of an instant."""
    return _EPOCH + timedelta(microseconds=at)


class WallClock:
    """A clock with a zone, perhaps a wrong one, as it prints times."""

    def __init__(self, zone: tzinfo, skew_s: float = 0) -> None:
        self.zone = zone
        self._skew = int(skew_s * SECOND)
        self._quarters: dict[int, list[str]] = {}

    def seconds(self, at: int) -> str:
        """`2024-03-04 11:15:09`"""
        quarter, second = divmod((at + self._skew) // SECOND, _QUARTER_S)
        minutes = self._quarters.get(quarter) or self._minutes(quarter)
        return minutes[second // 60] + _TWO[second % 60]

    def micros(self, at: int) -> str:
        """`2024-03-04 09:15:02.418309`"""
        at += self._skew
        quarter, second = divmod(at // SECOND, _QUARTER_S)
        minutes = self._quarters.get(quarter) or self._minutes(quarter)
        return f"{minutes[second // 60]}{_TWO[second % 60]}.{at % SECOND:06d}"

    def read(self, text: str) -> int | None:
        """
        The instant that a filter's date means on this clock; None if it is no date.

        Documented is year-month-day hour:minute, unpadded; padded with seconds is likely too.
        """
        match = _FILTER_DATE.fullmatch(text)
        if match is None:
            return None
        year, month, day, hour, minute, second = (int(part or 0) for part in match.groups())
        try:
            local = datetime(year, month, day, hour, minute, second, tzinfo=self.zone)
            return instant(local) - self._skew
        except (ValueError, OverflowError):
            return None

    def day(self, at: int) -> tuple[int, int]:
        """The first instant of the day that `at` falls in, and the first one of the next."""
        today = moment(at + self._skew).astimezone(self.zone).date()
        return self._midnight(today), self._midnight(today + timedelta(days=1))

    def _midnight(self, day: date) -> int:
        return instant(datetime(day.year, day.month, day.day, tzinfo=self.zone)) - self._skew

    def _minutes(self, quarter: int) -> list[str]:
        """The fifteen minutes of a quarter as text, up to the seconds."""
        if len(self._quarters) >= _CACHED_QUARTERS:
            self._quarters.clear()
        start = (_EPOCH + timedelta(seconds=quarter * _QUARTER_S)).astimezone(self.zone)
        hour = start.strftime("%Y-%m-%d %H:")
        minutes = [f"{hour}{start.minute + step:02d}:" for step in range(15)]
        self._quarters[quarter] = minutes
        return minutes
