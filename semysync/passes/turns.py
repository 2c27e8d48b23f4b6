"""
Decide whose turn it is where devices are asked one by one. Nothing here does any I/O.

Twenty devices with two boxes each cannot all be asked every ten seconds within sixty requests a
minute. So each pass of a box has an allowance, its share of what may be asked since the pass
before, and spends it on those who need it most:

* whoever the service has hinted at, or was never asked since the start, without regard to the
  allowance;
* then whoever has waited for a minute (if archived or gone: for an hour), the longest wait first;
* then devices in use, those with news in the last ten minutes first. In use is one that brought
  something in the last hour, or that was in touch with the service in the last ten minutes.

Others wait for their minute. So however busy the others are, a device is asked after a minute and
the passes that it takes to ask every device once; and as long as the allowance is enough for all,
everyone in use is asked in each pass.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from semysync.mirror.tables.devices import KnownDevice
from semysync.model import Box

LONGEST_WAIT = timedelta(minutes=1)  #: between two questions for the same device and box
RETIRED_WAIT = timedelta(hours=1)  #: … if it is archived or gone
FRESH = timedelta(minutes=10)  #: news that young, or signs of life, make a device worth asking
RECENT = timedelta(hours=1)  #: news that young mean that it is in use
SHARE = 0.4  #: of all requests, for each of the two boxes; the rest is for whatever else is asked


class Habits(NamedTuple):
    """What is known of a device: when it was last asked for a box, had news, gave signs of life."""

    retired: bool = False
    asked_at: datetime | None = None
    news_at: datetime | None = None
    alive_at: datetime | None = None
    hinted: bool = False


def due(habits: Habits, now: datetime) -> bool:
    """Tell whether to ask a device at all in this pass, should the allowance be enough."""
    if habits.hinted or _waited(habits, now):
        return True
    in_use = _within(habits.news_at, RECENT, now) or _within(habits.alive_at, FRESH, now)
    return in_use and not habits.retired


def chosen(devices: Mapping[int, Habits], now: datetime, allowance: int | None) -> list[int]:
    """Return the devices to ask in this pass, the most pressing first; `allowance` None: all due."""

    def pressing(number: int) -> tuple[int, bool, float]:
        habits = devices[number]
        if habits.hinted or habits.asked_at is None or habits.asked_at > now:
            return 0, False, 0.0
        age = (now - habits.asked_at).total_seconds()
        if _waited(habits, now):
            return 1, False, -age
        return 2, not _within(habits.news_at, FRESH, now), -age

    waiting = sorted((number for number in devices if due(devices[number], now)), key=pressing)
    at_once = sum(pressing(number)[0] == 0 for number in waiting)
    return waiting if allowance is None else waiting[: max(allowance, at_once)]


def allowance(per_minute: int | None, since_last: timedelta | None) -> int | None:
    """Return how many questions a pass of a box may ask; at least one, None for no limit."""
    if per_minute is None or since_last is None:
        return None
    return max(1, round(per_minute * SHARE * since_last.total_seconds() / 60))


@dataclass(slots=True)
class Turns:
    """Remembers, from pass to pass, when each device was asked and what came of it."""

    requests_per_minute: int | None = None
    _passed_at: dict[Box, datetime] = field(default_factory=dict)
    _asked_at: dict[tuple[Box, int], datetime] = field(default_factory=dict)
    _news_at: dict[tuple[Box, int], datetime] = field(default_factory=dict)
    _alive: dict[int, tuple[str | None, datetime]] = field(default_factory=dict)
    _hinted: dict[Box, frozenset[int]] = field(default_factory=dict)

    def hint(self, box: Box, devices: Iterable[int]) -> None:
        """Let the next pass of a box ask these devices, whatever their turn. For any thread."""
        self._hinted[box] = self._hinted.get(box, frozenset()).union(devices)

    def next(self, box: Box, devices: Iterable[KnownDevice], now: datetime) -> list[int]:
        """Return whom of these devices to ask in a pass that begins now."""
        last = self._passed_at.get(box)
        self._passed_at[box] = now
        hinted = self._hinted.pop(box, frozenset())
        habits = {
            device.id: self._habits(box, device, now)._replace(hinted=device.id in hinted)
            for device in devices
        }
        return chosen(
            habits, now, allowance(self.requests_per_minute, now - last if last else None)
        )

    def asked(self, box: Box, device_id: int, now: datetime, *, news: bool) -> None:
        """Note that a device was asked, answer or not: one that fails must not hold up others."""
        self._asked_at[box, device_id] = now
        if news:
            self._news_at[box, device_id] = now

    def _habits(self, box: Box, device: KnownDevice, now: datetime) -> Habits:
        # Only that its last contact has moved counts: by which clock it is printed is unknown.
        contact, _ = self._alive.get(device.id, (None, now))
        if device.id not in self._alive or contact != device.last_active_at:
            self._alive[device.id] = device.last_active_at, now
        return Habits(
            retired=device.archived or not device.there,
            asked_at=self._asked_at.get((box, device.id)),
            news_at=self._news_at.get((box, device.id)),
            alive_at=self._alive[device.id][1],
        )


def _waited(habits: Habits, now: datetime) -> bool:
    """Tell whether a device has waited for as long as it should at most."""
    wait = RETIRED_WAIT if habits.retired else LONGEST_WAIT
    return not _within(habits.asked_at, wait, now)


def _within(moment: datetime | None, span: timedelta, now: datetime) -> bool:
    """Tell whether a moment lies less than `span` back; a clock that went back makes it long ago."""
    return moment is not None and timedelta(0) <= now - moment < span
