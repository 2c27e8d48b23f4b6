"""
Compare the account with the mirror, message by message, and put right what differs.

A part is a box of one device, or of the account as a whole, from a start up to the mark. It is read
by a `Look`, which proves that nothing was left out between two ids; only what lies in a proven
range is counted, and only there a message that was not shown has vanished. Where the service has
shown nothing at all, that proves nothing either. What was compared is noted together with how far:
a run that is cut off goes on there.

Where a run over some days starts is chosen by the dates in the mirror, since questions by date
compare who knows whose clock: from the last message before the first of those days, and over the
newest thousand messages at least.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

import structlog

from semysync.errors import Refused, ServiceError, Throttled, TooLarge, Unbounded
from semysync.mirror.store import Saved, Store
from semysync.mirror.tables import comparing
from semysync.mirror.tables.audits import AT_ONCE, Audit, Part
from semysync.mirror.tables.comparing import CONFLICTING, LACKING, Seen
from semysync.mirror.tables.lateness import raise_to
from semysync.mirror.tables.marks import WHOLE_ACCOUNT
from semysync.model import Box, Message
from semysync.passes.look import FIRST_WIDTH, TARGET, Look, Shown
from semysync.passes.pull import (
    DATE,
    MOST_LOOKED_BACK,
    SMALLER_TRIES,
    Account,
    Progress,
    ask_until_answered,
    slices,
)
from semysync.times import utc_text

log = structlog.get_logger("semysync")

EVERY = timedelta(days=1)  #: how often the daemon verifies by itself
RECENT = timedelta(days=3)  #: what is lacking of so late can have been shown late
AHEAD = timedelta(days=2)  #: a date later than that is a phone's mistake

Days = date | None  #: from which day on; None: all that was mirrored


class Unit(NamedTuple):
    """Whom to ask for a part of a box, and whose messages that is: None stands for all."""

    device_id: int
    devices: frozenset[int] | None = None
    there: bool = True  #: what is gone from the account need not answer

    def covers(self, device_id: int) -> bool:
        return self.devices is None or device_id in self.devices


@dataclass(slots=True)
class Report:
    """What a run came to, and what could not be compared, in sentences."""

    audit: Audit
    repaired: bool
    unproven: list[str] = field(default_factory=list)


class Verifier:
    """Verifies the boxes of an account, for one thread."""

    def __init__(
        self,
        account: Account,
        store: Store,
        units: Callable[[Box], Sequence[Unit]],
        *,
        now: Callable[[], datetime],
        lookback: timedelta,
        largest: dict[Box, int],
        watch: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self._account = account
        self._store = store
        self._units = units
        self._now = now
        self._lookback = lookback
        self._watch = watch
        self._largest = largest

    def run(self, since: Days, note: Callable[[Saved], None], *, repair: bool) -> Report:
        """
        Compare what is of these days, or go on where a like run was cut off.

        What the service refuses to show, or cannot show in full, does not stop the rest. Raises
        `ServiceError` where it does not answer: what was compared by then is kept.
        """
        what = "all" if since is None else f"since {since}"
        audit = Audit(self._store, what, repair=repair, now=self._now())
        units = {(box, unit.device_id): unit for box in Box for unit in self._units(box)}
        if any((part.box, part.device_id) not in units for part in audit.parts() if not part.done):
            # Others are asked by now, so that what is left of this run can't be compared any more.
            audit = Audit(self._store, what, repair=repair, now=self._now(), anew=True)
        report = Report(audit, repair)
        if not audit.parts():  # new, or cut off before any were noted
            planned = [self._planned(box, unit, since, report) for (box, _), unit in units.items()]
            parts = [part for part in planned if part]
            # To the newest mark of a box: a message may have been moved to a device that is behind,
            # and what had vanished when a device was first asked for lies above its mark.
            newest = {box: self._newest_mark(box) for box in Box}
            audit.add_parts(part._replace(end_id=newest[part.box]) for part in parts)
        failed: list[tuple[_Comparison, ServiceError]] = []
        parts = audit.parts()
        for part in parts:
            if part.done:
                continue
            those = _Comparison(part, units[part.box, part.device_id], audit, repair=repair)
            try:
                self._compare(those, report, note)
            except Throttled:
                raise
            except (Refused, TooLarge, Unbounded) as exc:
                failed.append((those, exc))
        if failed and len(failed) == len(parts):  # it is not a matter of the parts
            raise failed[0][1]
        for those, failure in failed:
            if those.unit.there or not isinstance(failure, Refused):
                report.unproven.append(f"{_named(those.part)}: {failure}")
            audit.reach(those.part, {}, {}, those.part.reached_id, done=True)
        audit.finish(self._now())
        self._look_farther_back(audit)
        return report

    def _planned(self, box: Box, unit: Unit, since: Days, report: Report) -> Part | None:
        device_id = unit.device_id
        mark = self._store.mark(box, device_id)
        if mark.loaded_at is None:
            if unit.there:
                named = _named(Part(box, device_id, 0, 0, 0))
                report.unproven.append(f"{named}: it is not loaded yet: run `semysync sync`")
            return None
        start = mark.floor_id
        if since is not None:
            first = self._first(box, since)
            start = max(start, comparing.last_before(self._store, box, device_id, first))
        start = min(start, mark.last_id)
        return Part(box, device_id, start, mark.last_id, start)

    def _newest_mark(self, box: Box) -> int:
        """Return up to where a box was ever pulled: by device, or for the account as a whole."""
        devices = {WHOLE_ACCOUNT, *self._store.device_ids()}
        return max(self._store.mark(box, device_id).last_id for device_id in devices)

    def _first(self, box: Box, since: date) -> int:
        """Return the first message to compare: of these days, or of the newest thousand."""
        begins = datetime.combine(since, time.min, UTC)
        dated = comparing.first_since(self._store, box, begins, self._now() + AHEAD)
        thousandth = self._store.newest(box, WHOLE_ACCOUNT, skip=MOST_LOOKED_BACK)
        return min(thousandth, thousandth if dated is None else dated)

    def _compare(self, those: "_Comparison", report: Report, note: Callable[[Saved], None]) -> None:
        """Read a part from where it was left, and compare it with the mirror."""
        part, box = those.part, those.part.box
        mark = self._store.mark(box, part.device_id).last_id
        many = self._store.newest(box, part.device_id, skip=TARGET) > part.reached_id
        look = Look(
            part.reached_id,
            newest_known=self._store.newest(box, part.device_id),
            width=FIRST_WIDTH if many else None,
            largest=self._largest[box],
        )
        while not those.is_done(look):
            as_of = self._store.newest_event()
            question, answer = ask_until_answered(
                self._account, look, box, part.device_id, tries=SMALLER_TRIES
            )
            ids: list[int] = []
            size, undated = 0, False
            for messages, illegible, last in slices(answer):
                size += len(messages) + len(illegible)
                ids += [message.id for message in messages]
                undated = undated or not all(map(DATE[box], messages))
                found = self._store.compared(box, those.fresh(messages), self._now())
                different = those.take(found, mark)
                if those.repair:
                    self._repair(those, [m for m in messages if m.id in different], as_of, note)
                if last:
                    look.learn(question, Shown(sorted(ids), size, answer.more, undated))
            self._largest[box] = look.largest
            self._advance(those, look, report)
        if not those.part.done:  # there was nothing to ask
            self._advance(those, look, report)

    def _repair(
        self,
        those: "_Comparison",
        messages: Sequence[Message],
        as_of: int,
        note: Callable[[Saved], None],
    ) -> None:
        if not messages:
            return
        box, now = those.part.box, self._now()
        note(self._store.save(box, messages, now=now, as_of=as_of))
        mended = [m.id for m in messages if those.seen[m.id].what != CONFLICTING]
        those.audit.repaired(box, mended, now)

    def _advance(self, those: "_Comparison", look: Look, report: Report) -> None:
        """Note what is proven now."""
        part = those.part
        done = those.is_done(look)
        to = part.end_id if done else min(look.mark, part.end_id)
        if to <= part.reached_id and not done:
            return
        proves, lost = those.shown or not done, False
        while those.part.reached_id < to or (done and not those.part.done):
            held = comparing.held(
                self._store,
                part.box,
                part.device_id,
                above=those.part.reached_id,
                up_to=to,
                most=AT_ONCE,
            )
            upto = to if len(held) < AT_ONCE else held[-1][0]
            vanished = {
                number: day or "no date"
                for number, device_id, day in held
                if number not in those.seen and those.unit.covers(device_id or 0)
            }
            lost = lost or bool(vanished)
            those.reach(upto, vanished if proves else {}, done=done and upto == to)
            self._watch(those.progress)
        if lost and not proves:
            report.unproven.append(
                f"{_named(part)}: the service shows nothing at all, which proves nothing"
            )

    def _look_farther_back(self, audit: Audit) -> None:
        """Let pulls look farther back where they have overlooked what was shown late."""
        recent = utc_text(self._now() - RECENT)
        late = [d for d in audit.differences() if d.what == LACKING and d.day >= recent[:10]]
        for box in sorted({Box(one.box) for one in late}):
            wanted = 2 * max(self._lookback, self._store.lookback(box))
            with self._store.transaction() as conn:
                raise_to(conn, box, wanted)
            log.warning("lookback.raised", box=box, seconds=round(wanted.total_seconds()))


class _Comparison:
    """A part under way: what was shown of it, as far as that is not noted yet."""

    def __init__(self, part: Part, unit: Unit, audit: Audit, *, repair: bool) -> None:
        self.part = part
        self.unit = unit
        self.audit = audit
        self.repair = repair
        self.seen: dict[int, Seen] = {}
        self.shown = False  #: anything at all
        self.progress = Progress(part.box, part.device_id)

    def fresh(self, messages: Sequence[Message]) -> list[Message]:
        """Return those of an answer that are to be compared, and were not yet."""
        self.shown = self.shown or bool(messages)
        low, high = self.part.reached_id, self.part.end_id
        return [m for m in messages if low < m.id <= high and m.id not in self.seen]

    def take(self, found: dict[int, Seen], mark: int) -> set[int]:
        """
        Note differences at once, before anything is done about them; return which differ.

        What is new above the mark is left to the next pull.
        """
        known = {i: one for i, one in found.items() if i <= mark or one.what != LACKING}
        self.seen |= known
        self.audit.note(self.part.box, known)
        return {i for i, one in known.items() if one.what}

    def reach(self, to: int, vanished: dict[int, str], *, done: bool) -> None:
        """Note what was shown up to an id, and what has vanished there."""
        proven = {number: one for number, one in self.seen.items() if number <= to}
        self.audit.reach(self.part, proven, vanished, to, done=done)
        self.part = self.part._replace(reached_id=to, done=done)
        self.progress.added += len(proven)
        self.progress.share = share_of(self.part)
        self.seen = {number: one for number, one in self.seen.items() if number > to}

    def is_done(self, look: Look) -> bool:
        """Tell whether all up to the end is proven."""
        return self.part.done or look.done or max(look.mark, look.reach) >= self.part.end_id


def share_of(part: Part) -> float:
    """Return how much of a part is done, as far as ids can tell."""
    span = part.end_id - part.start_id
    return 1.0 if part.done or not span else (part.reached_id - part.start_id) / span


def is_due(last: datetime | None, loaded: Sequence[datetime], now: datetime) -> bool:
    """Tell whether to verify: once a day, first a day after all was loaded."""
    latest = max([*loaded, *([last] if last else [])], default=None)
    return latest is not None and not timedelta(0) <= now - latest < EVERY


def _named(part: Part) -> str:
    return f"{part.box} of device {part.device_id}" if part.device_id else str(part.box)
