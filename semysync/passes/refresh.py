"""
Ask again for sent messages that may still change, until they are final.

When to ask is decided by `interval`: eagerly while a change is new, at growing distances later,
with a last look at the end; after that only `verify` sees what changes. What is asked in one pass
is `chosen`: fifty ids of a device at most in a question, those first that have waited longest in
proportion.

That an answer lacks a message proves little: a list of ids may be cut, or want the right device.
`Refresher` asks for what is absent by itself, then without a device, and again over hours; before
a message counts as missing, every device and a range of ids around it must have shown nothing.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from semysync.errors import Refused, Throttled
from semysync.mirror.store import Saved, Store
from semysync.mirror.tables.pending import Open, Pending
from semysync.model import Box, Illegible, Sent
from semysync.passes.look import FEW
from semysync.passes.outcome import is_hopeless
from semysync.service.client import Client
from semysync.service.questions import MOST_IDS, Ids, Range
from semysync.times import AGREE

SHORTEST = timedelta(seconds=5)
LONGEST, LONGEST_WHEN_OLD = timedelta(hours=1), timedelta(hours=6)
OLD = timedelta(days=3)

#: an interval is this part of the time since the last change; the last look comes so long after it
PACES = {
    None: (8, timedelta(days=2)),  # taken by the service, and not shown yet
    "accepted": (8, timedelta(days=30)),
    "on_phone": (8, timedelta(days=30)),
    "sent": (4, timedelta(days=7)),
    # Final in practice; but parts of a text report one by one, and a cancel may come too late.
    "failed": (1, timedelta(days=1)),
    "cancelled": (1, timedelta(days=1)),
}
UNWATCHED = timedelta(days=30)  #: unasked for longer, our clock was behind: that was no silence
UNREPORTED = (1, timedelta(days=1))  #: `sent`, where the device asks for no delivery reports

ABSENT_AGAIN = timedelta(minutes=5)  #: four times as long after each further absence
ABSENCES, ABSENT_FOR = 4, timedelta(hours=6)  #: so often and so long before it can count as missing

SUSPECTS = 5  #: looked into in one pass
REQUESTS = 5  #: in one pass beside others, which must not wait for long
WINDOW = 1_000  #: messages that one pass looks over
LIST_SIZE = "list_size"  #: the key in `settings` of how many ids a list may hold, where it is few


class Question(NamedTuple):
    """What to ask a device for; None where it is not known, or the account no longer has it."""

    device_id: int | None
    those: tuple[Open, ...]


def interval(one: Open, now: datetime) -> timedelta | None:
    """Return how long after the last question a message is due again; None: not at all."""
    if one.status not in PACES:
        return None
    part, last_look = PACES[one.status]
    if one.status == "sent" and not one.reports:
        part, last_look = UNREPORTED
    age = max(timedelta(0), (one.asked_at or now) - one.since)
    if one.asked_at and age >= last_look:
        return None
    longest = LONGEST if age < OLD else LONGEST_WHEN_OLD
    usual = min(max(age / part, SHORTEST), longest)
    return min(usual, max(last_look - age, SHORTEST))


def scheduled(one: Open, now: datetime) -> Open | None:
    """Return a message with the time of its next question; None where there is none."""
    if one.since > now:  # our clock went back, which must not make it young for ever
        one = one._replace(since=now)
    if one.asked_at and one.asked_at > now:
        one = one._replace(asked_at=now)
    if one.asked_at is None and one.status in PACES:
        return one._replace(due_at=now)
    wait = interval(one, now)
    if 0 < one.absences < 2 * ABSENCES and one.status in PACES:
        later = min(ABSENT_AGAIN * 4 ** (one.absences - 1), LONGEST_WHEN_OLD)
        wait = max(wait or later, later)
    if wait is None:
        return None
    return one._replace(due_at=(one.asked_at or now) + wait)


def chosen(
    those: Iterable[Open], now: datetime, *, there: Iterable[int], most: int = MOST_IDS
) -> list[Question]:
    """
    Part what is due into questions, the most urgent first; those soon due come along.

    Urgent is what has waited long in proportion to its interval. A device that is not `there`
    cannot be asked for.
    """
    devices = set(there)
    by_device: dict[int | None, list[tuple[float, Open]]] = defaultdict(list)
    for one in those:
        device_id = one.device_id if one.device_id in devices else None
        by_device[device_id].append((_urgency(one, now), one))
    questions: list[tuple[float, Question]] = []
    for device_id, urgent in by_device.items():
        urgent.sort(key=lambda pair: (-pair[0], pair[1].id))
        for first in range(0, len(urgent), most):
            some = urgent[first : first + most]
            if some[0][0] >= 1:
                questions.append((some[0][0], Question(device_id, tuple(o for _, o in some))))
    questions.sort(key=lambda pair: -pair[0])
    return [question for _, question in questions]


def _urgency(one: Open, now: datetime) -> float:
    """Return how long a message has waited, as a part of its interval: due at 1."""
    if one.asked_at is None or one.due_at is None or one.asked_at > now:
        return float("inf")  # our clock was ahead when it was asked for
    if one.due_at - one.asked_at <= timedelta(0):
        return 1 + (now - one.due_at) / SHORTEST
    return (now - one.asked_at) / (one.due_at - one.asked_at)


def after_absence(one: Open, now: datetime) -> Open:
    """Note that an answer lacked a message."""
    since = min(one.absent_since or now, now)
    return one._replace(asked_at=now, absences=one.absences + 1, absent_since=since)


def is_suspect(one: Open, now: datetime) -> bool:
    """Tell whether a message was absent so often and so long that it may be missing."""
    since = one.absent_since or now
    return one.absences >= ABSENCES and now - since >= ABSENT_FOR and one.status is not None


def proves_absent(message_id: int, ids: Sequence[int], *, more: bool) -> bool:
    """Tell whether the answer to a question for a narrow range proves that it holds no such row."""
    if message_id in ids:
        return False
    return (len(ids) < FEW and not more) or (bool(ids) and min(ids) < message_id < max(ids))


class Refresher:
    """Asks for what is due, and brings the mirror up to date with it."""

    def __init__(self, client: Client, store: Store, now: Callable[[], datetime]) -> None:
        self._client = client
        self._store = store
        self._now = now
        self._pending = Pending(store)
        self._list_size = int(store.setting(LIST_SIZE) or MOST_IDS)

    def is_due(self) -> bool:
        """Tell whether there is anything to ask for; where nothing is, this costs next to nothing."""
        if not self._pending.any_due(self._now()):
            return False
        self._decide()
        return self._pending.any_due(self._now())

    def refresh(self, note: Callable[[Saved], None], *, requests: int | None = REQUESTS) -> None:
        """
        Ask for what is due, in about so many requests at most, and `note` what each has brought.

        Can be cut off anywhere: what was asked for is stored, the rest stays due. A refusal does
        not stop the other questions. Raises `ServiceError` where the service did not answer.
        """
        self._decide()
        asked_before, began = self._client.requests, self._now()
        failure = None
        while questions := self._questions(began):
            for question in questions:
                if requests is not None and self._client.requests - asked_before >= requests:
                    break
                try:
                    self._ask(question, note)
                except Throttled:
                    raise
                except Refused as refusal:
                    failure = failure or refusal
            else:
                continue
            break
        if failure:
            raise failure

    def _decide(self) -> None:
        """Find a time for what has none yet."""
        now = self._now()
        self._pending.take_in(now)
        while undecided := [
            one for one in self._pending.find(now, now, WINDOW) if one.due_at is None
        ]:
            self._pending.keep([(one, scheduled(one, now)) for one in undecided])

    def _questions(self, began: datetime) -> list[Question]:
        """Return what is to be asked, and was not yet since the pass began."""
        now = self._now()
        # Whatever is due within a quarter of the longest interval could come along.
        soon = self._pending.find(now, now + LONGEST_WHEN_OLD / 4, WINDOW)
        self._pending.keep([(one, None) for one in soon if one.status not in PACES])
        ripe = [
            one
            for one in soon
            if one.status in PACES
            and _urgency(one, now) >= 0.75
            and (one.asked_at is None or not began <= one.asked_at <= now)
        ]
        there = [number for number, is_there in self._store.device_ids().items() if is_there]
        return chosen(ripe, now, there=there, most=self._list_size)

    def _ask(self, question: Question, note: Callable[[Saved], None]) -> None:
        """Put a question, look further for what its answer lacks, and say when to ask again."""
        ids = [one.id for one in question.those]
        try:
            shown = self._read(question.device_id, ids, note)
        except Refused as refusal:
            now = self._now()  # which proves nothing
            asked = [
                (one, self._next(one, one._replace(asked_at=now), now)) for one in question.those
            ]
            self._pending.keep(asked)
            if isinstance(refusal, Throttled) or question.device_id:
                raise
            return  # without a device a question need not be answered
        absent = [i for i in ids if i not in shown]
        if absent and question.device_id:  # it may have been moved to another device
            shown |= self._read_anyway(None, absent, note)
        self._conclude(question, shown, note)

    def _conclude(
        self, question: Question, shown: Collection[int], note: Callable[[Saved], None]
    ) -> None:
        now = self._now()
        were = {one.id: one for one in question.those}
        asked = {
            one.id: one._replace(asked_at=now, absences=0, absent_since=None)
            if one.id in shown
            else after_absence(one, now)
            for one in question.those
        }
        suspects = [one for one in asked.values() if is_suspect(one, now)]
        for one in suspects[SUSPECTS:]:
            del asked[one.id]  # it stays due
        if missing := list(self._missing(suspects[:SUSPECTS], note)):
            self._pending.miss(missing, now)
        self._pending.keep([(were[i], self._next(were[i], one, now)) for i, one in asked.items()])

    def _next(self, was: Open, one: Open, now: datetime) -> Open | None:
        """Return a message as it is asked for next; only by a clock that is right for the last time."""
        found, theirs = scheduled(one, now), self._client.service_now()
        if found is None and was.asked_at and now - was.asked_at > UNWATCHED:
            found = scheduled(one._replace(since=one.since + (now - was.asked_at)), now)
        if found or one.status not in PACES or theirs is None or abs(now - theirs) <= AGREE:
            return found
        return one._replace(due_at=now + LONGEST_WHEN_OLD)

    def _missing(self, suspects: Sequence[Open], note: Callable[[Saved], None]) -> Iterator[int]:
        """Yield those of which no device and no range of ids shows anything."""
        rest = {one.id: one for one in suspects}
        there = [number for number, is_there in self._store.device_ids().items() if is_there]
        for number in there if rest else ():
            for shown in self._read_anyway(number, list(rest), note):
                rest.pop(shown, None)
        for one in rest.values():
            devices = {one.device_id if one.device_id in there else None, None}
            lacking = [self._lacks(one.id, device, note) for device in devices]
            # Without a device a question may be refused: then what the devices show must do.
            if False not in lacking and True in lacking:
                yield one.id

    def _lacks(
        self, message_id: int, device_id: int | None, note: Callable[[Saved], None]
    ) -> bool | None:
        """Tell whether a range around a message surely does not hold it; None where refused."""
        which = Range(max(1, message_id - 1), message_id + 1)
        as_of = self._store.newest_event()
        try:
            answer = self._client.sent(which, device_id)
        except Throttled:
            raise
        except Refused:
            return None
        rows = [row for row in answer if isinstance(row, Sent)]
        self._save([row for row in rows if row.id == message_id], as_of, note)
        return proves_absent(message_id, [row.id for row in rows], more=answer.more)

    def _read_anyway(
        self, device_id: int | None, ids: Sequence[int], note: Callable[[Saved], None]
    ) -> set[int]:
        """Read messages where that may be refused; return which were shown."""
        try:
            return self._read(device_id, ids, note)
        except Throttled:
            raise
        except Refused:
            return set()

    def _read(
        self, device_id: int | None, ids: Sequence[int], note: Callable[[Saved], None]
    ) -> set[int]:
        """
        Store messages as they are now; return which were shown.

        What an answer lacks is asked for by itself for as long as that brings anything: a list may
        be cut. One that is refused, and once more when it is repeated, is made smaller.
        """
        shown: set[int] = set()
        lists = [list(ids)]
        refusals = 0  # in a row
        while lists:
            some = lists.pop()
            if len(some) > self._list_size:
                lists += [some[self._list_size :], some[: self._list_size]]
                continue
            as_of = self._store.newest_event()
            try:
                answer = self._client.sent(Ids(tuple(some)), device_id)
            except Refused as refusal:
                if len(some) == 1 or is_hopeless(refusal):
                    raise
                if refusals:  # the first one may have been a moment's, and this is for good
                    self._list_size = max(1, len(some) // 2)
                refusals += 1
                lists.append(some)
                continue
            if refusals > 1:  # a smaller list was taken
                self._store.set_setting(LIST_SIZE, str(self._list_size))
            refusals = 0
            wanted = set(some)
            found = [r for r in answer if not isinstance(r, Illegible) and r.id in wanted]
            self._save(found, as_of, note)
            shown |= {row.id for row in found}
            rest = [i for i in some if i not in shown]
            if found and rest:
                lists.append(rest)
        return shown

    def _save(self, rows: Sequence[Sent], as_of: int, note: Callable[[Saved], None]) -> None:
        if rows:
            note(self._store.save(Box.SENT, rows, now=self._now(), as_of=as_of))
