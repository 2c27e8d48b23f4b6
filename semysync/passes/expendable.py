"""
Decide which messages the service may forget, in which slices, and what its answers mean.

Nothing here does any I/O. `why_it_stays` is the heart: a message goes only where no reason is left
for it to stay. Two things are doubted throughout. Dates: the service prints them without a zone,
by clocks that may be wrong, so a date is read as the latest moment that it can mean, and where it
could be a lie only what this machine has seen for itself counts. Filters: any one of them may be
ignored by a delete, so what a slice names is narrow in each of them.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from semysync.contact import tail
from semysync.errors import PurgeStopped
from semysync.model import Box, Facts, Held
from semysync.service.questions import MOST_IDS, Dates, Doomed, Ids, Range, latest_end
from semysync.times import WEST_MOST

UNCHANGED_FOR = timedelta(days=7)  #: what is `sent` counts as final after that
ORDERLY = timedelta(days=2)  #: messages arrive in the order of their dates but for so much
CLOSE, WIDE = timedelta(minutes=1), timedelta(days=2)  #: margins of a window of dates
FINISHED = frozenset({"delivered", "failed", "cancelled"})

#: messages in a slice, by how many slices were clean; at last a day's
SIZES = (1, 10, 100, 1000)


class Limits(NamedTuple):
    """
    What the configuration says: `keep` are contacts, and the ends of their numbers.

    `copied_until` is None where no copy is needed, `copy` where none can be read.
    """

    days: int
    keep: frozenset[str] = frozenset()
    copied_until: datetime | None = None
    copy: Path | None = None

    def keeps(self, contact: str | None) -> bool:
        """Tell whether a contact is to be kept, in whatever form its number stands."""
        if not self.keep or not contact:
            return False
        return contact in self.keep or bool({tail(contact)} & self.keep)


class Reason(StrEnum):
    """Why a message stays."""

    FORGOTTEN = "forgotten"
    MISSING = "missing"
    ABSENT = "absent"
    CLASH = "clash"
    DRAFT = "draft"
    DOUBT = "doubt"
    MOVING = "moving"
    UNSETTLED = "unsettled"
    KEPT = "kept"
    DEVICE = "device"
    EDGE = "edge"
    UNDATED = "undated"
    YOUNG = "young"
    AMONG_YOUNG = "among_young"
    UNPROVEN = "unproven"
    UNCOPIED = "uncopied"


SENTENCES = {
    Reason.FORGOTTEN: "it was forgotten here; the service may still have it",
    Reason.MISSING: "the service does not show it any more",
    Reason.ABSENT: "the service did not show it under its id and date; asked again in a week",
    Reason.CLASH: "another message came under its id: see the table conflicts",
    Reason.DRAFT: "it belongs to a draft that is on its way",
    Reason.DOUBT: "it may be the message of a draft whose answer was lost",
    Reason.MOVING: "no phone has sent it yet",
    Reason.UNSETTLED: "it was sent, and has changed within a week: a report may come",
    Reason.KEPT: "its contact is kept, as `keep` in [purge] says",
    Reason.DEVICE: "its device is not in the account",
    Reason.EDGE: "it is close to older messages that are not here, as `history` in [pull] wants it",
    Reason.UNDATED: "it has no date",
    Reason.YOUNG: "it is not {days} days old, by the latest that its date can mean",
    Reason.AMONG_YOUNG: "it came after a message that is younger than {days} days",
    Reason.UNPROVEN: "its date may be wrong, and it was not here {days} days ago",
    Reason.UNCOPIED: "no copy holds it yet",
}


def why_it_stays(
    box: Box, held: Held, facts: Facts, limits: Limits, now: datetime
) -> Reason | None:
    """Return the first reason for a message to stay at the service, None where it may go."""
    if held.forgotten:
        return Reason.FORGOTTEN
    if held.missing:
        return Reason.MISSING
    known = (
        (Reason.ABSENT, facts.absent),
        (Reason.CLASH, facts.clashes),
        (Reason.DRAFT, facts.drafts),
        (Reason.DOUBT, facts.doubts),
    )
    for reason, ids in known:
        if held.id in ids:
            return reason
    if box is Box.SENT and held.status not in FINISHED:
        if held.status != "sent":
            return Reason.MOVING
        if held.touched_at > now - UNCHANGED_FOR:
            return Reason.UNSETTLED
    if limits.keeps(held.contact):
        return Reason.KEPT
    if held.device_id not in facts.devices:
        return Reason.DEVICE
    return _why_too_young(box, held, facts, limits, now)


def _why_too_young(
    box: Box, held: Held, facts: Facts, limits: Limits, now: datetime
) -> Reason | None:
    limit = now - timedelta(days=limits.days)
    if held.printed is None:
        return Reason.UNDATED
    begins = facts.begins.get(held.device_id or 0)
    if begins and held.printed < begins + WIDE + ORDERLY:
        return Reason.EDGE
    dated = latest(held.printed, held.offset)
    if dated > limit or window([held.printed], now) is None:
        return Reason.YOUNG
    if facts.first_young is not None and held.id >= facts.first_young:
        return Reason.AMONG_YOUNG
    if held.seen_at > limit and _may_lie(box, held, dated, facts):
        return Reason.UNPROVEN
    if limits.copied_until is not None and held.touched_at >= limits.copied_until:
        return Reason.UNCOPIED
    return None


def _may_lie(box: Box, held: Held, dated: datetime, facts: Facts) -> bool:
    """
    Tell whether the date of a message that was mirrored within the limit may be a lie.

    What comes while the mirror is kept should be new. Of the history, a date that lies before that
    of an earlier message is doubtful; so are all of a phone that never shows a date of these days.
    """
    if held.live:
        return True
    if held.newest_before and dated < held.newest_before - ORDERLY:
        return True
    return box is Box.INBOX and held.device_id not in facts.dated


def latest(printed: datetime, offset: int | None) -> datetime:
    """Return the latest moment that a printed time can mean."""
    early = WEST_MOST if offset is None else timedelta(minutes=-offset)
    try:
        return (printed + early).replace(tzinfo=UTC)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)  # the last day of the calendar


class Way(NamedTuple):
    """
    How the messages of a slice are named, beside their device.

    `margin`: by how much the window of dates is wider than what is printed, since it may be
    compared by another clock. `outside`: a range begins one id below and ends one above.
    """

    margin: timedelta
    outside: bool = False


#: in the order in which they are tried
WAYS = {
    Box.INBOX: (Way(CLOSE), Way(WIDE), Way(WIDE, outside=True)),
    Box.SENT: (Way(CLOSE), Way(WIDE)),
}


class Slice(NamedTuple):
    """Messages of one device and one day that go by one request: ascending."""

    box: Box
    device_id: int
    messages: tuple[Held, ...]

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(held.id for held in self.messages)

    def only(self, ids: Collection[int]) -> "Slice":
        """
        Return the slice with some of its messages.

        In the inbox, where it is a range, with the most of them that no other one lies between.
        """
        runs: list[list[Held]] = [[]]
        for held in self.messages:
            if held.id in ids:
                runs[-1].append(held)
            elif self.box is Box.INBOX:
                runs.append([])
        longest: list[Held] = max(runs, key=len)
        return self._replace(messages=tuple(longest))

    def named(self, way: Way, now: datetime) -> Doomed | None:
        """Name the messages to the service; None where a window of dates cannot hold them."""
        printed = [held.printed for held in self.messages if held.printed]
        dates = window(printed, now, way.margin)
        if dates is None or len(printed) < len(self.messages):
            return None
        return Doomed(self.device_id, self._which(way), dates, now)

    def _which(self, way: Way) -> Ids | Range:
        if self.box is Box.SENT:
            return Ids(self.ids)
        first, last = self.ids[0], self.ids[-1]
        return Range(max(1, first - 1), last + 1) if way.outside else Range(first, last)


def window(printed: Sequence[datetime], now: datetime, margin: timedelta = CLOSE) -> Dates | None:
    """Return the dates around what is printed; None where that reaches to yesterday."""
    end = latest_end(now)
    if not printed or max(printed) + CLOSE > end or min(printed).year < 1900:
        return None
    start = (min(printed) - margin).replace(microsecond=0)
    return Dates(start, min((max(printed) + margin).replace(microsecond=0), end))


def slices(
    box: Box, rows: Iterable[tuple[Held, Reason | None]], *, size: int, most: int
) -> Iterator[Slice]:
    """
    Cut what may go into slices: of one device, of one day, of at most `size` messages.

    `rows` are all that the mirror has of the box, ascending, each with why it stays. In the inbox
    a slice is a range, and no message that stays lies in it, of whatever device. `most` is how many
    messages may go altogether.
    """
    size = min(size, MOST_IDS) if box is Box.SENT else size
    open_ones: dict[int, list[Held]] = {}
    left = most
    for held, reason in rows:
        device_id = held.device_id or 0
        if reason is not None:
            if box is Box.INBOX:
                yield from _closed(box, open_ones)
            continue
        group = open_ones.get(device_id)
        if group and (len(group) == size or _day(group[0]) != _day(held)):
            yield Slice(box, device_id, tuple(open_ones.pop(device_id)))
        open_ones.setdefault(device_id, []).append(held)
        left -= 1
        if left == 0:
            break
    yield from _closed(box, open_ones)


def _closed(box: Box, open_ones: dict[int, list[Held]]) -> Iterator[Slice]:
    groups = sorted(open_ones.items(), key=lambda group: group[1][0].id)
    open_ones.clear()
    for device_id, held in groups:
        yield Slice(box, device_id, tuple(held))


def _day(held: Held) -> date | None:
    return held.printed.date() if held.printed else None


def size_after(clean: int) -> int:
    """Return how many messages a slice may have after so many that were clean."""
    return SIZES[min(clean, len(SIZES) - 1)]


class Came(NamedTuple):
    """What a delete has come to: `said` is what it answered with, None where the answer was lost."""

    said: frozenset[int] | None
    changed: frozenset[int]  #: of those it answered with, different from what is here
    left: frozenset[int]  #: of those that were to go, still shown
    vanished: frozenset[int] = frozenset()  #: other messages of the box that are not shown any more


def absent(before: Sequence[int], after: Sequence[int]) -> frozenset[int]:
    """Return what is in the first of two ascending lists, which may be long, and not in the other."""
    found, place = [], 0
    for number in before:
        while place < len(after) and after[place] < number:
            place += 1
        if place == len(after) or after[place] != number:
            found.append(number)
    return frozenset(found)


def gone(doomed: Collection[int], came: Came) -> frozenset[int]:
    """Return the messages that are at the service no more, as far as that was seen or said."""
    return (
        (frozenset(doomed) - came.left) | came.vanished | ((came.said or frozenset()) - came.left)
    )


def check_shown(doomed: Collection[int], shown: Collection[int], illegible: int) -> None:
    """Raise `PurgeStopped` where a question that names messages shows anything else as well."""
    if illegible:
        raise PurgeStopped(
            f"asked for {_messages(len(doomed))}, the service shows a row that makes no sense: "
            "see the table conflicts"
        )
    if others := set(shown) - set(doomed):
        raise PurgeStopped(
            f"asked for {_messages(len(doomed))}, the service shows {len(others):,} others as well, "
            f"such as {min(others)}: a delete that is named alike could take them too"
        )


def check_came(doomed: Collection[int], came: Came) -> None:
    """Raise `PurgeStopped` where a delete did anything but what it was asked to do and says."""
    asked = frozenset(doomed)
    went = asked - came.left
    if came.vanished:
        raise PurgeStopped(
            f"{_messages(len(asked))} had to go, and {len(came.vanished):,} others are gone as well, "
            f"such as {min(came.vanished)}"
        )
    if came.said is None:
        return
    if others := came.said - asked:
        raise PurgeStopped(
            f"{_messages(len(asked))} had to go, and the service says that {len(others):,} others "
            f"went as well, such as {min(others)}"
        )
    if came.said != went:
        raise PurgeStopped(
            f"the service says that {_messages(len(came.said))} went, and {len(went):,} are gone"
        )
    if not went:
        raise PurgeStopped(f"{_messages(len(asked))} had to go, and the service deletes none")
    if came.changed:
        raise PurgeStopped(
            f"{_messages(len(came.changed))} came back from the delete as another than it was "
            f"shown before, such as {min(came.changed)}"
        )


def _messages(count: int) -> str:
    return f"{count:,} message{'' if count == 1 else 's'}"
