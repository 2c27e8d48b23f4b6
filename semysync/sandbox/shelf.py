"""One box of the account: the seeded history, the rows that came later, and what is gone."""

from array import array
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence

from semysync.sandbox.history import (
    INBOX_BASE,
    SENT_BASE,
    WIDEST_GAP,
    History,
    Station,
    mixed,
    pool_of,
    span_of,
)
from semysync.sandbox.rows import BOXES, Box, Row
from semysync.sandbox.selection import Selection, Wanted, seeded_matches

_INBOX_SHARE = 0.45


class Shelf:
    """The rows of one box. Not locked: the account sees to that."""

    def __init__(self, history: History) -> None:
        self.history = history
        self._live: dict[int, Row] = {}
        self._live_ids: list[int] = []
        self._holes = array("q")  # seeded messages that are gone, or live on as changed rows
        self._next_id = history.end_id
        self._reused: list[int] = []

    def new_id(self) -> int:
        """An id above all others, with a gap; or the next one that a reset gave free."""
        if self._reused:
            return self._reused.pop(0)
        self._next_id += mixed(self._next_id) % WIDEST_GAP + 1
        return self._next_id

    def reuse(self, ids: Iterable[int]) -> None:
        """Forget these rows and give their ids to the next new ones, in this order."""
        again = list(ids)
        self.remove(again)
        self._reused += again

    def add(self, row: Row) -> None:
        if row.id not in self._live:
            insort(self._live_ids, row.id)
        self._live[row.id] = row

    def find(self, id_: int) -> Row | None:
        """The row with this id, shown or hidden; a seeded one comes as a copy."""
        if id_ in self._live:
            return self._live[id_]
        n = self.history.n_of(id_)
        return None if n is None or self._is_hole(n) else self.history.row(n)

    def take(self, id_: int) -> Row | None:
        """The row with this id, to be changed: a seeded one becomes a live one."""
        row = self.find(id_)
        if row is not None and id_ not in self._live:
            self.remove([id_])
            self.add(row)
        return row

    def remove(self, ids: Iterable[int]) -> list[int]:
        """Forget rows; returns the ids that were there."""
        removed, holes = [], []
        for id_ in dict.fromkeys(ids):
            if id_ in self._live:
                del self._live[id_]
                del self._live_ids[bisect_left(self._live_ids, id_)]
                removed.append(id_)
            elif (n := self.history.n_of(id_)) is not None and not self._is_hole(n):
                holes.append(n)
                removed.append(id_)
        if holes:
            self._holes = array("q", sorted([*self._holes, *sorted(holes)]))
        return removed

    def live(self) -> Iterator[Row]:
        """The rows that were made or changed since the start."""
        return iter(self._live.values())

    def select(
        self, wanted: Wanted, *, now: int, kept_from: int | None, lists: int = 0
    ) -> Selection:
        """The rows that pass, are shown now and to this list, and are not older than `kept_from`."""
        history = self.history
        first = 0 if kept_from is None else history.first_from(kept_from)
        seeded = seeded_matches(history, wanted, self._holes, first)
        live = [
            row
            for row in self._live_candidates(wanted)
            if not row.hidden
            and row.visible_from <= now
            and row.visible_after_lists <= lists
            and (kept_from is None or row.at >= kept_from)
            and wanted.takes(row)
        ]
        return Selection(history, seeded, live)

    def _live_candidates(self, wanted: Wanted) -> Iterator[Row]:
        """The live rows of the id range asked for, ascending."""
        first, end = 0, len(self._live_ids)
        if not wanted.any_of:
            if wanted.low is not None:
                first = bisect_left(self._live_ids, wanted.low)
            if wanted.high is not None:
                end = bisect_left(self._live_ids, wanted.high + 1)
        for id_ in self._live_ids[first:end]:
            yield self._live[id_]

    def _is_hole(self, n: int) -> bool:
        place = bisect_left(self._holes, n)
        return place < len(self._holes) and self._holes[place] == n


def seeded_shelves(
    messages: int, *, seed: int, start: int, stations: Sequence[Station], overlapping: bool
) -> dict[Box, Shelf]:
    """Both boxes with so many seeded messages between them; ids are apart or overlap."""
    inbox = round(messages * _INBOX_SHARE)
    counts: dict[Box, int] = {"inbox": inbox, "sent": messages - inbox}
    apart = max(SENT_BASE, INBOX_BASE + messages * WIDEST_GAP)
    bases: dict[Box, int] = {"inbox": INBOX_BASE, "sent": INBOX_BASE if overlapping else apart}
    return {
        box: Shelf(
            History(
                box,
                counts[box],
                base=bases[box],
                seed=seed,
                span=span_of(messages),
                start=start,
                pool=pool_of(messages),
                stations=stations,
            )
        )
        for box in BOXES
    }
