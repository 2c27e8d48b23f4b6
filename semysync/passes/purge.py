"""
Delete at the service what is old, finished and safely here.

`Purger.once` is the list of steps, `_take` what is done with one slice: it is listed by the very
filter that will delete it, compared with the mirror, written down, deleted, and asked for once
more. What may go at all, in which slices, and what an answer means, is decided in `expendable`;
what is still at the service is found out in `remains`. The first thing that is not as expected
ends it, until a person begins anew.
"""

import math
import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from pathlib import Path

import msgspec
import structlog

from semysync.config import Backup, Purge, Replica
from semysync.contact import TAIL, contact_of, tail
from semysync.errors import (
    AnswerLost,
    PurgeStopped,
    PurgeUnsafe,
    Refused,
    SemysyncError,
    ServiceError,
)
from semysync.mirror.copies import extent
from semysync.mirror.copies.takeover import ANOTHER_SENDS
from semysync.mirror.store import Store
from semysync.mirror.tables import purges
from semysync.mirror.tables.passes import Pass
from semysync.mirror.tables.purges import OpenPurge, Purges
from semysync.model import Box, Held, Received, Sent
from semysync.passes import expendable
from semysync.passes.expendable import WAYS, Came, Limits, Reason, Slice, Way
from semysync.passes.outcome import is_hopeless
from semysync.passes.pull import parted
from semysync.passes.remains import Remains
from semysync.passes.sync import Sync
from semysync.service.client import Answer, Client
from semysync.service.questions import Doomed, Range
from semysync.times import AGREE, utc_text

log = structlog.get_logger("semysync")

FRESH = timedelta(minutes=1)  #: a slice is not deleted longer than that after a complete pull
AT_ONCE = 1_000  #: messages that are looked for in a copy in one go
MOST_REQUESTS = 120  #: of a pass of the daemon, not to stand in others' way; the next one goes on


NO_BACKUP = Backup()
NO_REPLICA = Replica()


@dataclass(slots=True)
class Purged:
    """What a pass came to: how many messages went, and what ended it, if anything did."""

    noted: Pass
    gone: dict[Box, int] = field(default_factory=lambda: dict.fromkeys(Box, 0))
    failure: SemysyncError | None = None

    @property
    def messages(self) -> int:
        return sum(self.gone.values())


class Purger:
    """
    Purges one account. Needs the purge lock.

    `backup` and `replica` say where copies of the mirror are made; `watch` is told after each slice
    how many messages went so far.
    """

    def __init__(
        self,
        client: Client,
        store: Store,
        log_: Purges,
        sync: Sync,
        config: Purge,
        *,
        region: str | None = None,
        backup: Backup = NO_BACKUP,
        replica: Replica = NO_REPLICA,
        most_requests: int = MOST_REQUESTS,
        watch: Callable[[int], None] = lambda _: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._store = store
        self._purges = log_
        self._sync = sync
        self._config = config
        self._region = region
        self._backup = backup
        self._replica = replica
        self._most_requests = most_requests
        self._watch = watch
        self._now = now
        self._ways = {box: list(ways) for box, ways in WAYS.items()}
        self._passed_over: set[int] = set()
        self._before: dict[Box, Sequence[int]] = {}
        self._ends_at = 0
        self._pulled_at = datetime.min.replace(tzinfo=UTC)
        self._remains = Remains(client, store)

    def once(self) -> Purged:
        """Purge at most `max_per_pass` messages; what stops it is in the result, and noted."""
        with self._pass() as purged:
            if why := purges.stopped(self._purges.conn):
                raise PurgeStopped(f"{why}; `semysync purge --yes` begins anew, with one message")
            if why := self._store.setting(ANOTHER_SENDS):
                raise PurgeUnsafe(why)  # what that one's mirror lacks must stay
            self._settle_open(purged)
            self._pull()
            self._time()  # before anything else is read off a clock
            copied_until = extent.copied_until(
                self._purges.conn, self._config, self._backup, self._replica, self._now()
            )
            copy = extent.copy_needed(self._purges.conn, self._config, self._backup, self._now())
            limits = limits_of(self._config, self._region, copied_until, copy)
            began, most = self._client.requests, self._config.max_per_pass
            # Half for each box; what one does not use is the other's.
            for box, share in ((Box.INBOX, 0.5), (Box.SENT, 1), (Box.INBOX, 1)):
                self._ends_at = began + int(share * self._most_requests)
                left = min(math.ceil(share * most), most - purged.messages)
                self._box(box, left, limits[box], purged)
        return purged

    def _pull(self) -> None:
        """Bring the mirror up to date, and go on only where that was complete."""
        began = self._now()
        for outcome in self._sync.complete():
            if outcome.failure:
                raise outcome.failure
        self._pulled_at = began

    def _time(self) -> datetime:
        """Return the time, of two clocks that agree the earlier one."""
        ours, theirs = self._now(), self._client.service_now()
        if theirs is None:
            raise PurgeUnsafe(
                "the service does not say what time it is: without that nothing is deleted"
            )
        if abs(ours - theirs) > AGREE:
            raise PurgeUnsafe(
                f"this machine's clock says {ours:%Y-%m-%d %H:%M} and the service's "
                f"{theirs:%Y-%m-%d %H:%M} (UTC): set it right, nothing is deleted before that"
            )
        return min(ours, theirs)

    def _box(self, box: Box, most: int, limits: Limits, purged: Purged) -> None:
        """Purge a box, slice by slice; where they grow, the next ones are planned anew."""
        while most > 0:
            now = self._time()
            size, first = self._size(box), not purges.clean(self._purges.conn, box)
            planned = list(self._plan(box, limits, now, size=size, most=1 if first else most))
            if not planned:
                return
            for doomed in planned:
                if self._client.requests >= self._ends_at:
                    return
                if not timedelta(0) <= self._now() - self._pulled_at < FRESH:
                    self._pull()
                went = self._take(doomed, first=first)
                purged.gone[box] += went
                most -= went
                self._watch(purged.messages)
                if first or self._size(box) != size:
                    break

    def _size(self, box: Box) -> int:
        """Return how many messages a slice of a box may have by now."""
        size = expendable.size_after(purges.clean(self._purges.conn, box))
        return size if box is Box.INBOX else min(size, self._remains.list_size)

    def _plan(
        self, box: Box, limits: Limits, now: datetime, *, size: int, most: int
    ) -> Iterator[Slice]:
        judged = judge(self._purges.conn, box, limits, now, passed_over=self._passed_over)
        # Nothing goes after the first message that is too young.
        old = takewhile(lambda one: one[1] is not Reason.AMONG_YOUNG, judged)
        return expendable.slices(box, old, size=size, most=most)

    def _take(self, doomed: Slice, *, first: bool) -> int:
        """Delete a slice, if everything is as it should be; return how many messages went."""
        if first and doomed.box not in self._before:
            self._before[doomed.box] = self._remains.whole(doomed.box)
        try:
            found = self._listed(doomed)
        except Refused as refusal:
            if not self._asks_for_fewer(doomed, refusal):
                raise
            return 0
        if found is None:
            return 0
        doomed, asked = found
        before = self._before.pop(doomed.box, None)
        now = self._time()
        purge = self._purges.commit(doomed.box, doomed.device_id, doomed.ids, asked.fields(), now)
        said, changed, failure = self._delete(doomed, asked, purge)
        try:
            left = self._remains.of(purge)
            after = self._remains.whole(doomed.box) if before else before
        except ServiceError:
            if said is None or said <= set(doomed.ids):
                raise  # the next pass begins with asking again
            return self._settle(purge, Came(said, changed, frozenset()), failure)
        vanished = expendable.absent(before or (), after or ()) - frozenset(doomed.ids)
        return self._settle(purge, Came(said, changed, frozenset(left), vanished), failure)

    def _settle(self, purge: OpenPurge, came: Came, failure: ServiceError | None) -> int:
        """Write down what a deletion came to; raise where it is no good."""
        gone = expendable.gone(purge.ids, came)
        now = self._now()
        try:
            expendable.check_came(purge.ids, came)
        except PurgeStopped as why:
            self._purges.settle(purge, "surprise", gone, said=came.said, now=now, error=str(why))
            raise
        state = "lost" if failure else "part" if came.left else "done"
        error = str(failure) if failure else None
        self._purges.settle(purge, state, gone, said=came.said, now=now, error=error)
        if failure:
            raise failure
        return len(gone)

    def _delete(
        self, doomed: Slice, asked: Doomed, purge: OpenPurge
    ) -> tuple[frozenset[int] | None, frozenset[int], ServiceError | None]:
        """Make the request, and keep what comes back; return the ids, those changed, a lost answer."""
        try:
            answer: Answer[Received] | Answer[Sent] = (
                self._client.delete_inbox(asked)
                if doomed.box is Box.INBOX
                else self._client.delete_sent(asked)
            )
        except AnswerLost as lost:
            return None, frozenset(), lost
        except ServiceError as exc:  # it was surely not taken
            self._purges.settle(purge, "refused", (), said=None, now=self._now(), error=str(exc))
            raise
        messages, illegible = parted(answer)
        said = frozenset(message.id for message in messages)
        channels = self._store.channels(doomed.box, sorted(said))
        messages = [
            msgspec.structs.replace(message, channel=channels.get(message.id, message.channel))
            for message in messages
        ]
        differing = self._store.differing(doomed.box, messages)
        self._store.save(doomed.box, messages, illegible, now=self._now())
        changed = frozenset(number for number, in_earnest in differing.items() if in_earnest)
        return said, changed & frozenset(doomed.ids), None

    def _listed(self, doomed: Slice) -> tuple[Slice, Doomed] | None:
        """
        List a slice by the filter that will delete it; return what of it is shown and is as here.

        What has changed is stored, and left for another pass. None where nothing remains.
        """
        ways = self._ways[doomed.box]
        best: tuple[Slice, Way] | None = None
        for way in list(ways):
            shown = self._as_here(doomed, way)
            if shown and (best is None or len(shown) > len(best[0].messages)):
                best = doomed.only(shown), way
            if len(shown) == len(doomed.messages):
                break
        if best is None:
            return self._unshown([i for i in doomed.ids if i not in self._passed_over], doomed)
        some, way = best
        ways.sort(key=lambda one: one != way)  # it will do for the next ones too
        if len(some.messages) < len(doomed.messages):
            # Named by themselves they must be shown by themselves.
            again = self._as_here(some, way)
            if len(again) < len(some.messages):
                self._passed_over.update(set(some.ids) - set(again))
                return None
        asked = some.named(way, self._time())
        if asked is None:  # a clock went back
            self._passed_over.update(some.ids)
            return None
        return some, asked

    def _asks_for_fewer(self, doomed: Slice, refusal: Refused) -> bool:
        """Let lists of ids be shorter where one was refused, which is planned anew; tell whether."""
        if doomed.box is Box.INBOX or len(doomed.messages) < 2 or is_hopeless(refusal):
            return False
        longest = min(self._remains.list_size, len(doomed.messages))
        self._remains.list_size = max(1, longest // 2)
        return True

    def _unshown(self, ids: list[int], doomed: Slice) -> tuple[Slice, Doomed] | None:
        """Of a slice that is not shown in any way, note what is absent, and try the first of the rest."""
        if not ids:
            return None
        there = self._remains.still_shown(doomed.box, doomed.device_id, ids)
        alone = len(doomed.messages) == 1
        absent = [number for number in ids if alone or number not in there]
        if absent:
            self._purges.note_absent(
                doomed.box, doomed.device_id, absent, there=there, now=self._now()
            )
        return self._listed(doomed.only({min(there)})) if there and not alone else None

    def _as_here(self, doomed: Slice, way: Way) -> list[int]:
        """Ask for a slice in a way; return which messages are shown, and are just as in the mirror."""
        asked = doomed.named(way, self._time())
        if asked is None or (way.outside and not self._alone(asked)):
            return []
        messages, illegible = parted(
            self._client.doomed_inbox(asked)
            if doomed.box is Box.INBOX
            else self._client.doomed_sent(asked)
        )
        shown = {message.id for message in messages}
        differing = self._store.differing(doomed.box, messages)
        self._store.save(doomed.box, messages, illegible, now=self._now())
        try:
            expendable.check_shown(doomed.ids, shown, len(illegible))
        except PurgeStopped as why:
            self._purges.stop(doomed.box, doomed.device_id, str(why))
            raise
        self._passed_over.update(differing)  # stored just now, it would look the same in a moment
        return sorted(shown - self._passed_over)

    def _alone(self, asked: Doomed) -> bool:
        """Tell whether the ids just outside a range belong to no message that is here."""
        which = asked.which
        return (
            isinstance(which, Range)
            and not self._store.owners(Box.INBOX, which.start, which.start)
            and not self._store.owners(Box.INBOX, which.end or 0, which.end or 0)
        )

    def _settle_open(self, purged: Purged) -> None:
        """Find out what became of deletions that nobody has seen the end of: a kill, a lost answer."""
        for purge in self._purges.open_ones():
            gone = frozenset(purge.ids) - self._remains.of(purge)
            self._purges.settle(purge, "lost", gone, said=None, now=self._now())
            purged.gone[purge.box] += len(gone)

    @contextmanager
    def _pass(self) -> Iterator[Purged]:
        """Note a pass when it is over, however it ended, and log it where there is news."""
        purged = Purged(Pass(kind="purge", started_at=utc_text(self._now())))
        asked_before = self._client.requests
        try:
            yield purged
        except (ServiceError, PurgeStopped, PurgeUnsafe) as exc:
            purged.failure = exc
            purged.noted.error = str(exc)
        noted = purged.noted
        noted.requests = self._client.requests - asked_before
        noted.changed = purged.messages
        self._store.save_pass(noted, now=self._now())
        counts = {str(box): count for box, count in purged.gone.items()}
        if purged.failure:
            log.error("purge.failed", **counts, requests=noted.requests, error=noted.error)
        elif purged.messages:
            log.info("purge.finished", **counts, requests=noted.requests)


def judge(
    conn: sqlite3.Connection,
    box: Box,
    limits: Limits,
    now: datetime,
    passed_over: Collection[int] = (),
) -> Iterator[tuple[Held, Reason | None]]:
    """Return the messages of a box that were not purged, ascending, each with why it stays."""
    facts = purges.facts(conn, box, limits.days, now)
    facts = facts._replace(absent=facts.absent | frozenset(passed_over))
    rows = purges.rows(conn, box, now)
    judged = ((held, expendable.why_it_stays(box, held, facts, limits, now)) for held in rows)
    while some := list(islice(judged, AT_ONCE)):
        going = [held.id for held, reason in some if reason is None]
        lacking = extent.lacking(limits.copy, conn, box, going) if limits.copy else ()
        for held, reason in some:
            yield held, Reason.UNCOPIED if held.id in lacking else reason


def limits_of(
    config: Purge, region: str | None, copied_until: datetime | None, copy: Path | None
) -> dict[Box, Limits]:
    """Return what the configuration says of each box, and which copy must hold what goes."""
    named = frozenset(filter(None, (contact_of(one, region) for one in config.keep)))
    keep = named | {end for one in named if len(end := tail(one)) == TAIL}
    days = {Box.INBOX: config.inbox_days, Box.SENT: config.sent_days}
    return {box: Limits(days[box], keep, copied_until, copy) for box in Box}
