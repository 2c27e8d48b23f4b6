"""
Decide what to ask of a box, and when the answers are all there is. Nothing here does any I/O.

A *look* reads every row above its start, up to the newest. How the service cuts its answers is
unknown: whether the ends of a range belong to it, in which order the rows come, whether there is a
cap and which end it keeps, even whether `end_id` is honoured. So a look counts as read only what
answers prove, and takes for granted no more than this:

* between the lowest and the highest id of one answer no row is missing: a cap keeps the oldest
  rows of what was asked, or the newest, but none at random;
* a cap is not below `FEW` rows.

Each question starts just below a row that is in hand, so that this row comes back whether or not
the start belongs to the range. An answer that holds such a row *joins*: what is in hand now reaches
to the answer's highest id. One that does not join is an *island*, and the gap below it is asked for
next. An answer without any row of the gap proves that the gap is empty, since the few rows around
it that may come along cannot fill a cap. At the top, the answer to a question without an end is
known to be all when it shows nothing new above; or when it reaches the newest row that was known
before and is smaller than the largest answer seen, so that no cap can have cut it.

Where rows from above `end_id` come back, it is ignored. A gap that can't be closed by ids then is
closed by windows of dates, halved until each answer is smaller than the largest one seen; one in
which hardly a row can be is asked for first, to see that dates are honoured.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from semysync.errors import Unbounded
from semysync.service.questions import Dates, Range

FEW = 5  #: rows; a smaller cap on answers is not to be expected
TARGET = 10_000  #: rows that an answer should have while a history is loaded
FIRST_WIDTH = 2**24  #: ids; live counters stand above 10**8 (observed), shared by all customers
WIDEST = 2**40  #: ids; beyond an empty window of these the question has no end at all
STEP = 8  #: a window grows and shrinks by this factor at most

ALL_DATES = Dates(datetime(1900, 1, 1), datetime(2200, 1, 1))  # noqa: DTZ001  the service has none
NO_DATES = Dates(datetime(1985, 6, 1), datetime(1985, 6, 2))  # noqa: DTZ001  hardly a row is so old
OVERLAP = timedelta(minutes=1)  #: halves of a window share this much: the ends may not belong to it

UNPROVEN = (
    "the service ignores the bounds of questions, and its answers do not show whether they are all "
    "there is; what it has shown is kept, and it will be asked again"
)


class Shown(NamedTuple):
    """What an answer has shown of itself."""

    ids: Sequence[int]  #: ascending
    rows: int  #: with those that have no id
    more: bool = False  #: the service speaks of further rows
    undated: bool = False  #: a row had no date


@dataclass(slots=True)
class Look:
    """
    One reading of a box: put `ask()` to the service, hand what it shows to `learn()`, until it is
    `done`.

    `start` is an id up to which everything counts as in hand. `newest_known` is the highest id in
    the mirror, or known to be in the account; `oldest_known` the lowest above the start, if it was
    once proven that none is below it. `width` is how many ids to ask for at a time, None for all of
    them at once; `largest` the size of the largest answer of this box that was ever seen.
    """

    start: int
    newest_known: int = 0
    oldest_known: int = 0
    width: int | None = None
    largest: int = FEW
    done: bool = False
    #: the highest row that is surely in hand together with all below it: the mark
    mark: int = field(init=False)
    #: up to here nothing more was to be seen: the next window goes on from here
    reach: int = field(init=False)
    #: up to here all is in hand; not beyond the newest row there was, since others are yet to come
    _proven: int = field(init=False)
    _island: tuple[int, int] | None = None
    _windows: list[Dates] = field(default_factory=list)
    _target: int = TARGET
    _fitted: bool = False  # the width follows from how dense the rows are
    _width_then: int | None = None  # the width from the first row on, where that is far off
    _end_ignored: bool = False
    _highest: int = 0
    _undated: bool = False

    def __post_init__(self) -> None:
        self.mark = self.reach = self._proven = self.start

    def ask(self) -> Range:
        """Return the next question."""
        start = max(1, self.mark - 1)
        if self._windows:
            return Range(start, dates=self._windows[-1])
        if self._island:
            # One id more: where the end does not belong to a range, the island is shown all the
            # same.
            return Range(start, self._island[0] + 1)
        if self.width is None or self._end_ignored:
            return Range(start)
        return Range(start, self.reach + self.width)

    def learn(self, asked: Range, answer: Shown) -> None:
        """
        Take in an answer.

        Raises `Unbounded` where the service's answers can never prove anything.
        """
        ids = answer.ids
        could_be_cut = answer.more or answer.rows >= self.largest
        self.largest = max(self.largest, answer.rows)
        self._undated |= answer.undated
        if ids:
            self._highest = max(self._highest, ids[-1])
            self._end_ignored |= asked.end is not None and ids[-1] > asked.end
        if asked.dates:
            self._learn_window(asked.dates, could_be_cut=could_be_cut)
            return
        above = ids[bisect_right(ids, self._proven) :]
        self._fit_width(above)
        if not above:
            self._learn_nothing(asked, ids, could_be_cut=could_be_cut)
        elif ids[0] <= self._proven or (ids[0] <= self.oldest_known and not could_be_cut):
            self._join(above[-1])
            reached = self._island is None and self.mark >= self.newest_known
            self.done = asked.end is None and reached and not could_be_cut
        else:
            self._set_apart(asked, above)

    def ask_for_less(self, asked: Range, seen: Sequence[int] = ()) -> bool:
        """
        Make the next question smaller than `asked`, which got no answer; False if it can't be.

        `seen` are ids of rows that had come before the answer was broken off.
        """
        if self._fitted:
            self._target = max(100, self._target // 2)
        if asked.dates:
            return self._halve(asked.dates)
        if asked.end is None and self._end_ignored:
            self._ask_by_dates()
            return True
        span = asked.end - self.reach if asked.end else FIRST_WIDTH * STEP
        self._island, self.width, self._fitted = None, span // STEP, False
        if len(seen) > 1:
            self._aim(span, seen)
        if self.width:
            return True
        # However few ids are asked for, it is too much: then the end is ignored.
        self._end_ignored = True
        self._ask_by_dates()
        return True

    def _aim(self, span: int, seen: Sequence[int]) -> None:
        """
        Ask for as many ids as should hold the rows aimed at, from where the rows begin.

        Far below the lowest row seen there is probably nothing: the next question is for all that.
        """
        lowest = min(seen)
        width = max(1, int((max(seen) - lowest) / (len(seen) - 1) * self._target))
        if STEP * width < lowest - self.reach <= span // 2:
            self.width, self._width_then = lowest - self.reach, width
        elif width < (self.width or span):
            self.width, self._fitted = width, True

    def _learn_nothing(self, asked: Range, ids: Sequence[int], *, could_be_cut: bool) -> None:
        """Nothing new: the gap, the window or all that was left to ask for is empty."""
        start_ignored = bool(ids) and ids[0] < asked.start
        if start_ignored and could_be_cut and ids[-1] < max(self.mark, self.newest_known):
            raise Unbounded(UNPROVEN)  # older rows than asked for may have filled a cap
        if asked.end is None:
            self.done = True
        elif self._island:
            self._join(self._island[1])
        else:
            newest = max(self.newest_known, self._highest)
            self.reach = asked.end - 1
            self._proven = max(self._proven, min(self.reach, newest))
            wider = (self.width or 1) * STEP
            past_all = self.reach >= newest > 0
            self.width = None if past_all or wider > WIDEST else wider
            self._fitted = False

    def _join(self, highest: int) -> None:
        """All up to `highest` is in hand, and the island as well if that touches it."""
        if self._island and highest >= self._island[0]:
            highest = max(highest, self._island[1])
            self._island = None
        self.mark = self.reach = self._proven = highest
        if self._width_then:
            self.width, self._width_then, self._fitted = self._width_then, None, True

    def _set_apart(self, asked: Range, above: Sequence[int]) -> None:
        """Keep an answer that does not join, unless it shows that nothing is left to join over."""
        low, high = above[0], above[-1]
        self.reach = min(self.reach, low - 1)
        if self._island is None:
            self._island = low, high
        elif low < self._island[0]:
            touches = high >= self._island[0]
            self._island = low, max(high, self._island[1]) if touches else high
            if self.width is not None and low - self.reach > 2 * self.width:
                self._island = None  # a long way down: better from below, where the mark moves
        elif asked.end is not None and high > asked.end:
            self._ask_by_dates()
            return
        else:
            self._join(self._island[1])
        if self._island and self._island[0] == self._proven + 1:
            self._join(self._island[1])

    def _fit_width(self, ids: Sequence[int]) -> None:
        """Ask for as many ids next time as should hold the rows aimed at."""
        if self.width is None or len(ids) < 2:
            return
        ids_per_row = (ids[-1] - ids[0]) / (len(ids) - 1)
        self.width = max(1, min(int(ids_per_row * self._target), self.width * STEP, WIDEST))
        self._fitted = True

    def _ask_by_dates(self) -> None:
        """Go by windows of dates; the first one shows whether they are honoured at all."""
        self._windows = [ALL_DATES, NO_DATES]

    def _learn_window(self, dates: Dates, *, could_be_cut: bool) -> None:
        if not could_be_cut:
            self._windows.pop()
        elif dates == NO_DATES or not self._halve(dates):
            raise Unbounded(UNPROVEN)
        if self._undated:
            raise Unbounded(UNPROVEN)  # a row without a date is in no window
        if not self._windows:
            highest = self._island[1] if self._island else self._highest
            self._island = None
            if highest > self.reach:
                self._join(highest)

    def _halve(self, dates: Dates) -> bool:
        """Put two halves, the earlier first, in the place of a window that is too wide."""
        half = (dates.end - dates.start) / 2
        if half <= 2 * OVERLAP:
            return False
        middle = dates.start + half
        self._windows[-1:] = [
            Dates(middle - OVERLAP, dates.end),
            Dates(dates.start, middle + OVERLAP),
        ]
        return True
