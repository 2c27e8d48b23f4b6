"""
Bring one box of the mirror up to the account, for one device or for the account as a whole.

`pull` is the loop: ask what the look says, store what comes, move the mark with it. What to ask and
when it is enough is decided in `look`; where a look starts, in `start_of`; where a history starts,
by questions by date.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from operator import attrgetter
from typing import Literal, Protocol

import msgspec

from semysync.errors import TooLarge, Unbounded, Unreadable
from semysync.mirror.store import Saved
from semysync.mirror.tables.marks import Mark
from semysync.model import Box, Illegible, Message
from semysync.passes.look import FEW, FIRST_WIDTH, Look, Shown
from semysync.service.questions import Dates, Range
from semysync.times import from_utc_text, utc_text

#: rows a transaction, which takes less than a tenth of a second: an answer of usual size is one
SLICE = 10_500
MOST_LOOKED_BACK = 1_000  #: rows, in all pulls but one in each `lookback_s`
SMALLER_TRIES = 3  #: how often in a row a window is made smaller before the pass gives up
ZONES = timedelta(days=2)  #: a printed time and ours differ by less, whatever the zone

EARLIEST, LATEST = date(1980, 1, 1), date(2100, 1, 1)  #: between them a history can begin

History = Literal["all", "none"] | date

#: the date that the service's filters by date compare (likely)
DATE = {Box.INBOX: attrgetter("received_at"), Box.SENT: attrgetter("created_at")}


class Answer(Protocol):
    """The rows of an answer; `more` where the service speaks of further ones."""

    more: bool

    def __iter__(self) -> Iterator[Message | Illegible]: ...


class Account(Protocol):
    """The side that is read: the client, in real life."""

    def messages(self, box: Box, which: Range | Dates, device_id: int | None) -> Answer: ...


class Mirror(Protocol):
    """The side that is written: the store, in real life."""

    def mark(self, box: Box, device_id: int) -> Mark: ...
    def save_mark(self, box: Box, device_id: int, mark: Mark) -> None: ...
    def reset_mark(self, box: Box, device_id: int) -> None: ...
    def newest(self, box: Box, device_id: int, skip: int = 0) -> int: ...
    def oldest(self, box: Box, device_id: int, above: int) -> int: ...
    def history_to(self, box: Box) -> int: ...
    def lookback(self, box: Box) -> timedelta: ...
    def newest_event(self) -> int: ...
    def save(
        self,
        box: Box,
        messages: Sequence[Message],
        illegible: Sequence[Illegible] = (),
        *,
        now: datetime,
        mark: tuple[int, Mark] | None = None,
        history_to: int = 0,
        as_of: int | None = None,
    ) -> Saved: ...


@dataclass(slots=True)
class Progress:
    """
    How far the pull of a box has come, for a device or for the whole account (0).

    `shown` counts the messages that the answers held, also those that were known. `share` is how
    much of a first load is done, from 0 to 1, as far as ids can tell.
    """

    box: Box
    device_id: int
    added: int = 0
    changed: int = 0
    illegible: int = 0
    shown: int = 0
    share: float = 0.0

    def add(self, saved: Saved) -> None:
        self.added += saved.added
        self.changed += saved.changed
        self.illegible += saved.illegible


def none_seen() -> dict[Box, int]:
    """
    Return how large the largest answer of each box was before there was any, in rows.

    What is seen of one box says nothing of the other: each has a method of its own at the service,
    and where that cuts its answers may differ.
    """
    return dict.fromkeys(Box, FEW)


@dataclass(slots=True, kw_only=True)
class Puller:
    """
    Pulls boxes from an account into a mirror.

    `largest` remembers how large the answers of each box were, which tells a cut answer from a
    whole one; give the same to all who read the boxes, for as long as the account is asked. `now`
    is the clock, `watch` is called after every answer.
    """

    account: Account
    mirror: Mirror
    history: History = "all"
    lookback: timedelta = timedelta(seconds=600)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    watch: Callable[[Progress], None] = lambda _: None
    largest: dict[Box, int] = field(default_factory=none_seen)

    def pull(self, progress: Progress, *, far: bool = False) -> None:
        """
        Mirror every message of a box that the mirror has not, and keep count in `progress`.

        `far`: look back over all that was new a `lookback` ago, however many messages that are.
        Can be cut off anywhere: what was stored stays, and the next pull goes on at the mark.
        Raises `ServiceError` where the service does not answer, `Unbounded` where its answers
        cannot be trusted to be all.
        """
        box, device_id = progress.box, progress.device_id
        mark = self.prepare(box, device_id)
        thousandth = 0 if far else self.mirror.newest(box, device_id, skip=MOST_LOOKED_BACK)
        lookback = max(self.lookback, self.mirror.lookback(box))
        start, looks_back_far = start_of(mark, thousandth, now=self.now(), lookback=lookback)
        look = Look(
            start,
            newest_known=max(self.mirror.newest(box, device_id), mark.top_id or 0),
            oldest_known=self._oldest_known(box, device_id, start, mark),
            width=mark.width or (None if mark.loaded_at else FIRST_WIDTH),
            largest=self.largest[box],
        )
        while not look.done:
            mark = self._step(look, mark, progress)
        if mark.loaded_at is None:
            thousandth = self.mirror.newest(box, device_id, skip=MOST_LOOKED_BACK)
            mark = first_loaded(mark, thousandth, self.now())
        mark = looked(mark, self.now(), looks_back_far=looks_back_far)
        self.mirror.save_mark(box, device_id, mark)
        progress.share = 1.0
        self.watch(progress)

    def prepare(self, box: Box, device_id: int) -> Mark:
        """
        Learn where a history begins and ends that is not loaded yet; return the mark.

        Where `history` reaches further back than before, it is loaded anew.
        """
        mark = self.mirror.mark(box, device_id)
        if reaches_further_back(self.history, mark):
            mark = Mark()
            self.mirror.reset_mark(box, device_id)
        return mark if mark.loaded_at else self._prepared(box, device_id, mark)

    def _step(self, look: Look, mark: Mark, progress: Progress) -> Mark:
        """Ask one question and store its answer, in a smaller window where it is too much."""
        as_of = self.mirror.newest_event()
        question, answer = self._asked(look, mark, progress)
        ids: list[int] = []
        size, undated, unproven = 0, False, None
        history_to = 0 if mark.loaded_at else self.mirror.history_to(progress.box)
        for messages, illegible, last in slices(answer):
            size += len(messages) + len(illegible)
            ids += [message.id for message in messages]
            undated = undated or not all(map(DATE[progress.box], messages))
            if last:
                try:
                    look.learn(question, Shown(sorted(ids), size, answer.more, undated))
                except Unbounded as exc:
                    unproven = exc
                mark = msgspec.structs.replace(mark, last_id=max(mark.last_id, look.mark))
            if messages or illegible:
                moved = (progress.device_id, mark) if last else None
                saved = self.mirror.save(
                    progress.box,
                    messages,
                    illegible,
                    now=self.now(),
                    mark=moved,
                    history_to=history_to,
                    as_of=as_of,
                )
                progress.add(saved)
            del messages  # or they would be in memory beside those of the next slice
        self.largest[progress.box] = look.largest
        progress.shown += len(ids)
        if unproven:
            raise unproven  # after what came was stored
        progress.share = share_of(mark, look)
        self.watch(progress)
        return mark

    def _oldest_known(self, box: Box, device_id: int, start: int, mark: Mark) -> int:
        """Return the first row above the start, if it is among those that are proven complete."""
        oldest = self.mirror.oldest(box, device_id, above=start) if mark.loaded_at else 0
        return oldest if oldest <= mark.last_id else 0

    def _asked(self, look: Look, mark: Mark, progress: Progress) -> tuple[Range, Answer]:
        """
        Ask until an answer comes.

        A pull of what is new gives up at once, and leaves a note for the next one to ask for less;
        only a history that is being loaded is worth several tries.
        """

        def leave_note() -> None:
            narrower = msgspec.structs.replace(mark, width=look.width)
            self.mirror.save_mark(progress.box, progress.device_id, narrower)

        return ask_until_answered(
            self.account,
            look,
            progress.box,
            progress.device_id,
            tries=SMALLER_TRIES if mark.loaded_at is None else 0,
            gives_up=leave_note,
        )

    def _prepared(self, box: Box, device_id: int, mark: Mark) -> Mark:
        """Learn the newest id and where the history starts, once, before anything else."""
        if mark.top_id is None:

            def ids_in(which: Range | Dates) -> Sequence[int]:
                try:
                    rows = self.account.messages(box, which, device_id or None)
                except TooLarge as exc:
                    if not exc.seen:
                        raise
                    return exc.seen  # any of them will do
                return [row.id for row in rows if not isinstance(row, Illegible)]

            top = top_id(ids_in, self.now(), history=self.history)
            floor = floor_id(ids_in, self.history, top or 0)
            mark = msgspec.structs.replace(
                mark, top_id=top, floor_id=floor, last_id=floor, history=str(self.history)
            )
            self.mirror.save_mark(box, device_id, mark)
        return mark


def ask_until_answered(
    account: Account,
    look: Look,
    box: Box,
    device_id: int,
    *,
    tries: int,
    gives_up: Callable[[], object] = lambda: None,
) -> tuple[Range, Answer]:
    """
    Put a look's question until an answer comes, for less each time; return both.

    An answer that is too large is asked for in smaller windows for as long as there are such. One
    that cannot be read is worth so many `tries` more; then `gives_up` is called, with a look that
    would ask for less, and the failure raised.
    """
    while True:
        question = look.ask()
        try:
            return question, account.messages(box, question, device_id or None)
        except Unreadable as exc:
            too_large = isinstance(exc, TooLarge)
            seen = exc.seen if isinstance(exc, TooLarge) else ()
            if not look.ask_for_less(question, seen):
                raise
            if tries == 0 and not too_large:
                gives_up()
                raise
            tries -= not too_large


def reaches_further_back(history: History, mark: Mark) -> bool:
    """Tell whether the configuration now asks for more than a box was loaded with."""
    if mark.history is None or mark.history == "all" or history == "none":
        return False
    return history == "all" or mark.history == "none" or str(history) < mark.history


def start_of(
    mark: Mark, thousandth: int, *, now: datetime, lookback: timedelta
) -> tuple[int, bool]:
    """
    Return where a look starts, and whether it is the one in each `lookback` that looks back far.

    `thousandth` is the id of the thousandth newest row. A clock that went back counts as a
    `lookback` gone by, so that it can at no time stand still.
    """
    if mark.loaded_at is None:
        return mark.last_id, False
    age = now - from_utc_text(mark.lookback_at) if mark.lookback_at else lookback
    far = not timedelta(0) <= age < lookback
    start = mark.lookback_id if far else max(mark.lookback_id, thousandth)
    return min(start, mark.last_id), far


def looked(mark: Mark, now: datetime, *, looks_back_far: bool) -> Mark:
    """
    Note a look that proved complete.

    After one that looked back far, the next ones start at what was the mark then: at least one
    `lookback` lies between that and now whenever it is used.
    """
    if looks_back_far:
        mark = msgspec.structs.replace(
            mark,
            lookback_id=max(mark.lookback_id, mark.lookback_next_id),
            lookback_next_id=mark.last_id,
            lookback_at=utc_text(now),
        )
    return msgspec.structs.replace(mark, looked_at=utc_text(now), width=None)


def first_loaded(mark: Mark, thousandth: int, now: datetime) -> Mark:
    """Note the end of a first load: all but its newest rows count as known for long."""
    return msgspec.structs.replace(
        mark,
        lookback_id=max(mark.floor_id, min(thousandth, mark.last_id)),
        lookback_next_id=mark.last_id,
        lookback_at=utc_text(now),
        loaded_at=utc_text(now),
    )


def top_id(
    ids_in: Callable[[Range | Dates], Sequence[int]], now: datetime, *, history: History
) -> int | None:
    """
    Learn the newest id, by a question by date: 0 where there is none, None if it can't be learnt.

    Only with `history = "none"` is it looked for further back than two days: there it is where the
    mirror begins, while else it merely tells how long a first load will take.
    """
    today = now.astimezone(UTC).replace(tzinfo=None)
    for days in (2, 16, 128, 1024, 16_000) if history == "none" else (2,):
        window = Dates(today - timedelta(days=days), today + ZONES)
        try:
            ids = ids_in(window)
        except Unreadable:
            if history == "none":
                raise
            return None
        if ids:
            return max(ids)
    return 0


def floor_id(ids_in: Callable[[Range | Dates], Sequence[int]], history: History, top: int) -> int:
    """
    Return an id below which no message belongs to the history that is wanted.

    For a date: below the lowest id of the days before it, and then lower still for as long as
    there are messages of a later date further down. Rather some days too many than one too few.
    """
    if history == "all":
        return 0
    if history == "none":
        return top
    if history < EARLIEST:
        return 0
    since = datetime.combine(min(history, LATEST), time.min)
    lowest = 0
    for days in (3, 9, 81, 729, 16_000):
        if ids := ids_in(Dates(since - timedelta(days=days), since - timedelta(days=1))):
            lowest = min(ids)
            break
    later = Dates(since - timedelta(days=1), since + timedelta(days=36_500))
    while lowest > 1:
        below = [i for i in ids_in(Range(1, lowest, later)) if i < lowest]
        if not below:
            break
        lowest = min(below)
    return max(0, lowest - 1)


def slices(answer: Answer) -> Iterator[tuple[list[Message], list[Illegible], bool]]:
    """Cut an answer into slices, each with whether it is the last; at least one."""
    rest = iter(answer)
    rows = list(islice(rest, SLICE))
    for row in rest:
        yield *parted(rows), False
        rows = [row]  # which lets go of the last slice before the next is read
        rows += islice(rest, SLICE - 1)
    yield *parted(rows), True


def parted(rows: Iterable[Message | Illegible]) -> tuple[list[Message], list[Illegible]]:
    """Part messages from rows that are none, once for all who handle them."""
    messages: list[Message] = []
    illegible: list[Illegible] = []
    for row in rows:
        if isinstance(row, Illegible):
            illegible.append(row)
        else:
            messages.append(row)
    return messages, illegible


def share_of(mark: Mark, look: Look) -> float:
    """Return how much of a first load is done, as far as ids can tell."""
    top = max(look.newest_known, mark.top_id or 0)
    whole = top - mark.floor_id
    return min(1.0, max(0.0, (look.mark - mark.floor_id) / whole)) if whole > 0 else 0.0
