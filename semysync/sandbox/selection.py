"""
What a call asks for, and the rows that answer it, found without making any other row.

`Wanted` holds the filters of section 3.4 once they have been read. A `Selection` is a lazy sequence
in ascending order of ids; it merges the seeded history with the rows that came to life later.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from semysync.sandbox.history import History
from semysync.sandbox.rows import Row

_FAR = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The filters of one call; None is a filter that was not given. Bounds are inclusive."""

    low: int | None = None
    high: int | None = None
    ids: frozenset[int] | None = None
    since: int | None = None
    until: int | None = None
    printed: Callable[[Row], bool] | None = None  #: by the date that a row shows
    devices: frozenset[int] | None = None
    phone: str | None = None
    any_of: bool = False  #: a row must pass one filter, not all

    def takes(self, row: Row) -> bool:
        """Whether the row passes."""
        verdicts = list(self._verdicts(row))
        if not verdicts:
            return True
        return any(verdicts) if self.any_of else all(verdicts)

    def _verdicts(self, row: Row) -> Iterator[bool]:
        if self.low is not None or self.high is not None:
            yield (self.low or -_FAR) <= row.id <= (_FAR if self.high is None else self.high)
        if self.ids is not None:
            yield row.id in self.ids
        if self.since is not None or self.until is not None:
            since = -_FAR if self.since is None else self.since
            yield since <= row.at <= (_FAR if self.until is None else self.until)
        if self.printed is not None:
            yield self.printed(row)
        if self.devices is not None:
            yield row.device_id in self.devices
        if self.phone is not None:
            yield row.phone == self.phone


class Selection(Sequence[Row]):
    """Seeded and live rows merged by id, each made when it is asked for."""

    def __init__(self, history: History, seeded: Sequence[int], live: Sequence[Row]) -> None:
        self._history = history
        self._seeded = seeded
        self._live = live
        #: the position of each live row in the merged sequence
        self._live_at = [self._seeded_below(row.id) + n for n, row in enumerate(live)]

    def _seeded_below(self, id_: int) -> int:
        if id_ >= self._history.end_id:  # nearly always: new rows have new ids
            return len(self._seeded)
        return bisect_left(self._seeded, id_, key=self._history.id_of)

    def __len__(self) -> int:
        return len(self._seeded) + len(self._live)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        before = bisect_right(self._live_at, index)
        if before and self._live_at[before - 1] == index:
            return self._live[before - 1]
        return self._history.row(self._seeded[index - before])


class Without(Sequence[int]):
    """An ascending sequence without some of its members, none of them copied."""

    def __init__(self, whole: Sequence[int], holes: Sequence[int]) -> None:
        self._whole = whole
        self._shifts = [place - number for number, place in enumerate(_places(whole, holes))]

    def __len__(self) -> int:
        return len(self._whole) - len(self._shifts)

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[int]: ...
    def __getitem__(self, index: int | slice) -> int | Sequence[int]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._whole[index + bisect_right(self._shifts, index)]


def seeded_matches(
    history: History, wanted: Wanted, holes: Sequence[int], kept_from: int
) -> Sequence[int]:
    """
    The seeded messages that pass, ascending: a lazy sequence wherever arithmetic can find them.

    `holes` are messages that are gone or live on as changed rows; none below `kept_from` is left.
    """
    if wanted.any_of:
        matches: Sequence[int] = array(
            "q", (n for n in range(kept_from, history.count) if wanted.takes(history.row(n)))
        )
    else:
        first, end = _bounds(history, wanted, kept_from)
        matches = _of_devices(history, wanted, range(first, max(first, end)))
        if wanted.phone is not None:
            phone = wanted.phone
            matches = array("q", (n for n in matches if history.row(n).phone == phone))
        if wanted.printed is not None:
            shows = wanted.printed
            matches = array("q", (n for n in matches if shows(history.row(n))))
    if not matches or not holes:
        return matches
    inside = holes[bisect_left(holes, matches[0]) : bisect_right(holes, matches[-1])]
    return Without(matches, inside) if inside else matches


def _bounds(history: History, wanted: Wanted, kept_from: int) -> tuple[int, int]:
    first, end = kept_from, history.count
    if wanted.low is not None:
        first = max(first, history.first_from_id(wanted.low))
    if wanted.high is not None:
        end = min(end, history.first_from_id(wanted.high + 1))
    if wanted.since is not None:
        first = max(first, history.first_from(wanted.since))
    if wanted.until is not None:
        end = min(end, history.first_from(wanted.until + 1))
    return first, end


def _of_devices(history: History, wanted: Wanted, span: range) -> Sequence[int]:
    """The messages of a span that have the ids and the devices asked for."""
    stations = history.stations
    if wanted.ids is not None:
        found = sorted(n for id_ in wanted.ids if (n := history.n_of(id_)) is not None)
        return [
            n
            for n in found
            if n in span and (wanted.devices is None or history.station_of(n).id in wanted.devices)
        ]
    if wanted.devices is None:
        return span
    turns = [turn for turn, station in enumerate(stations) if station.id in wanted.devices]
    if len(turns) == len(stations):
        return span
    if len(turns) == 1:
        first = span.start + (turns[0] - span.start) % len(stations)
        return range(first, span.stop, len(stations))
    mine = set(turns)
    return array("q", (n for n in span if n % len(stations) in mine))


def _places(whole: Sequence[int], holes: Sequence[int]) -> Iterator[int]:
    """Where in the sequence the holes stand; those that are no member are passed over."""
    for hole in holes:
        place = bisect_left(whole, hole)
        if place < len(whole) and whole[place] == hole:
            yield place
