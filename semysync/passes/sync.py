"""
One pass: bring the mirror and the account into agreement.

`Sync.once` is the list of steps; each is a pass of its own, noted in the table `passes`. What fails
for one device never stops the others, and what was stored by then stays. For what a box is asked,
device by device or as a whole, is decided in `scope`; which of the devices in a pass, in `turns`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import msgspec
import structlog

from semysync.config import Devices
from semysync.errors import (
    Refused,
    ServiceError,
    Throttled,
    TooLarge,
    Unbounded,
    Unreachable,
    Unreadable,
)
from semysync.mirror.store import HIGHEST_ID, Saved, Store
from semysync.mirror.tables.alarms import USUAL
from semysync.mirror.tables.audits import last_finished
from semysync.mirror.tables.devices import KnownDevice
from semysync.mirror.tables.marks import WHOLE_ACCOUNT
from semysync.mirror.tables.passes import Pass
from semysync.mirror.tables.pending import AWAY, Pending
from semysync.model import Box
from semysync.passes import scope as scopes
from semysync.passes import verify
from semysync.passes.clocks import phone_offset, service_offset
from semysync.passes.plan import low
from semysync.passes.pull import MOST_LOOKED_BACK, Progress, Puller
from semysync.passes.refresh import REQUESTS, Refresher
from semysync.passes.scope import Scope, Standing
from semysync.passes.send import AGREE_S
from semysync.passes.turns import Turns
from semysync.passes.verify import Report, Unit, Verifier
from semysync.service.client import Client
from semysync.times import from_utc_text, utc_text

log = structlog.get_logger("semysync")

MOST_UNREAD = 2  #: devices in a row without an answer that can be read; then the service is sick


@dataclass(slots=True)
class Outcome:
    """What a pass came to: its record, how many looks were complete, and the first failure."""

    noted: Pass
    complete: int = 0
    failure: ServiceError | None = None

    def add(self, saved: Saved) -> None:
        self.noted.added += saved.added
        self.noted.changed += saved.changed
        self.noted.illegible += saved.illegible

    def fail(self, where: str, failure: ServiceError) -> None:
        self.failure = self.failure or failure
        self.noted.error = self.noted.error or f"{where}{failure}"


class Sync:
    """
    The passes over one account and its mirror, for one thread.

    They share a client, so that one question is asked at a time. `turns` remembers from pass to
    pass which devices can wait; without it every device is asked each time. `limits` say when a
    phone is worth an event.
    """

    def __init__(
        self,
        client: Client,
        store: Store,
        puller: Puller,
        *,
        scope: Scope = "auto",
        turns: Turns | None = None,
        limits: Devices = USUAL,
    ) -> None:
        self._client = client
        self._store = store
        self._puller = puller
        self._scope = scope
        self._turns = turns
        self._limits = limits

    def once(self) -> list[Outcome]:
        """Take every step once. Without devices there is nothing to ask the boxes for."""
        steps = [self.devices()]
        if self._store.device_ids() and not _hopeless(steps[0].failure):
            steps += [self.box(Box.INBOX), self.box(Box.SENT), self.account()]
            if self.refresh_is_due():
                steps.insert(3, self.refresh(requests=None))
        return steps

    def complete(self) -> Iterator[Outcome]:
        """Bring all messages up to date, of every device, step by step."""
        yield self.devices()
        for box in Box:
            yield self.box(box, everyone=True)

    def devices(self) -> Outcome:
        """Mirror the phones, live and archived: both lists together are what the account has."""
        # The last contact of one that was gone meanwhile is of any time, and proves nothing.
        there = {number for number, is_there in self._store.device_ids().items() if is_there}
        contacts = self._store.last_contacts().items()
        before = {number: contact for number, contact in contacts if number in there}
        asked_at = self._store.last_complete("devices")
        with self._pass("devices") as outcome:
            try:
                lists = [self._client.devices(archived=archived) for archived in (False, True)]
            except ServiceError as exc:
                outcome.fail("", exc)
            else:
                now = self._puller.now()
                rows = [row for devices in lists for row in devices]
                # One that is absent may be among those that the service did not show.
                all_shown = not any(devices.more for devices in lists)
                ahead_s = self._client.ahead_s()
                saved = self._store.save_devices(
                    rows,
                    now=now,
                    complete=all_shown,
                    service_now=None if ahead_s is None else now - timedelta(seconds=ahead_s),
                    limits=self._limits,
                )
                outcome.add(saved)
                outcome.complete += 1
                self._rouse(before, now)
                self._learn_clocks(before, asked_at, now)
        return outcome

    def _rouse(self, before: Mapping[int, datetime], now: datetime) -> None:
        """Let what waits at a phone be asked for at once that is back after a silence."""
        after = self._store.last_contacts()
        back = [i for i, contact in before.items() if after.get(i, contact) - contact > AWAY]
        if back:
            Pending(self._store).rouse(back, now)

    def refresh_is_due(self) -> bool:
        """Tell whether there is a sent message to ask for again."""
        return self._refresher().is_due()

    def refresh(self, *, requests: int | None = REQUESTS) -> Outcome:
        """Ask again for sent messages that may have changed, in about so many requests."""
        with self._pass("refresh") as outcome:
            try:
                self._refresher().refresh(outcome.add, requests=requests)
            except ServiceError as exc:
                outcome.fail("", exc)
            else:
                outcome.complete += 1
        return outcome

    def verify_is_due(self) -> bool:
        """Tell whether a day has gone by since the last time, or since all was loaded."""
        marks = [self._store.mark(box, u.device_id) for box in Box for u in self._units(box)]
        loaded = [from_utc_text(mark.loaded_at) for mark in marks if mark.loaded_at]
        return verify.is_due(last_finished(self._store), loaded, self._puller.now())

    def verify(
        self,
        since: date | None,
        *,
        repair: bool,
        watch: Callable[[Progress], None] = lambda _: None,
    ) -> tuple[Outcome, Report | None]:
        """
        Compare the account with the mirror, of all days or from one on, and put right what differs.

        The report is None where the service did not answer; the next call then goes on.
        """
        report = None
        with self._pass("verify") as outcome:
            verifier = Verifier(
                self._client,
                self._store,
                self._units,
                now=self._puller.now,
                lookback=self._puller.lookback,
                largest=self._puller.largest,
                watch=watch,
            )
            try:
                report = verifier.run(since, outcome.add, repair=repair)
            except ServiceError as exc:
                outcome.fail("", exc)
            else:
                outcome.complete += 1
            self._puller.largest = verifier.largest
        return outcome, report

    def _units(self, box: Box) -> list[Unit]:
        """Return whom to ask so that all of a box is shown."""
        if self._scope == "account":
            return [Unit(WHOLE_ACCOUNT)]
        shown = frozenset(self._standing(box).shown)
        whole = [Unit(WHOLE_ACCOUNT, shown)] if shown else []
        return whole + [
            Unit(device.id, frozenset({device.id}), device.there)
            for device in self._store.known_devices()
            if device.id not in shown
        ]

    def _refresher(self) -> Refresher:
        return Refresher(self._client, self._store, self._puller.now)

    def account(self) -> Outcome:
        """Keep the history of the account's plan: what is left, and until when."""
        with self._pass("account") as outcome:
            try:
                account = self._client.user()
            except ServiceError as exc:
                outcome.fail("", exc)
            else:
                changed = self._store.save_account(account, now=self._puller.now())
                outcome.add(Saved(changed=int(changed)))
                outcome.complete += 1
                why = low(account, self._store.waiting_drafts(), self._puller.now())
                self._store.set_setting("plan_is_low", why)
                if why and changed:
                    log.warning("account.low", why=why)
        return outcome

    def drafts_wait(self) -> bool:
        """Tell whether a draft waits for a look at all that the account has sent."""
        return self._store.drafts_wait()

    def box(self, box: Box, *, everyone: bool = False) -> Outcome:
        """Pull a box: of each device whose turn it is, or of `everyone`; or of the whole account."""
        with self._pass(box) as outcome:
            self._pull_or_probe(box, outcome, None if everyone else self._turns)
            self._index(box, outcome)
            self._begin_news(box)
        return outcome

    def _pull_or_probe(self, box: Box, outcome: Outcome, turns: Turns | None) -> None:
        if self._scope == "account":
            self._pull(box, {WHOLE_ACCOUNT: True}, outcome)
            return
        devices = self._store.known_devices()
        standing = self._standing(box)
        if self._scope == "auto" and self._probe_is_due(box, standing, devices):
            self._pull_and_probe(box, standing, devices, outcome)
        elif standing.shown:
            self._pull_as_a_whole(box, standing, devices, outcome, turns)
        else:
            self._pull(box, self._whose_turn(box, devices, turns), outcome)

    def _begin_news(self, box: Box) -> None:
        """
        Note where news begins, as soon as a box is loaded of every device that there is.

        What comes later is news, also the first message of a new device. Until then a device that
        is loaded last may well hold newer history than those before it.
        """
        if self._store.history_to(box) < HIGHEST_ID or not self._store.last_complete("devices"):
            return
        there = [device.id for device in self._store.known_devices() if device.there]
        asked = [WHOLE_ACCOUNT] if self._scope == "account" else there
        if asked and all(self._store.mark(box, number).loaded_at for number in asked):
            self._store.begin_news(box)

    def _index(self, box: Box, outcome: Outcome) -> None:
        """Make the indexes that a first load does without, once one has come through."""
        if outcome.failure is None:
            self._store.make_indexes(box)

    def _learn_clocks(
        self, before: Mapping[int, datetime], asked_at: datetime | None, now: datetime
    ) -> None:
        """See what this reading of the devices, and the newest messages, show of the clocks."""
        service_now = self._client.service_now()
        if service_now and abs(now - service_now) > timedelta(seconds=AGREE_S):
            return  # by a clock that is wrong every other one would be wrong
        after = self._store.last_contacts()
        offset = service_offset(before, after, asked_at, now) if asked_at else None
        phones = {number: phone_offset(*self._store.times_of_phone(number)) for number in after}
        known = {number: found for number, found in phones.items() if found is not None}
        self._store.learn_offsets(offset, known)

    def _pull(
        self, box: Box, asked: dict[int, bool], outcome: Outcome, *, far: bool = False
    ) -> list[Progress]:
        """
        Pull a box of each device, by whether the account has it; return those that came through.

        A device that fails does not stop the others, unless there is no hope for them.
        """
        came_through = []
        unread, hopeless = {False: 0, True: 0}, False
        if box is Box.SENT:
            self._learn_newest(box, asked)
        # Those whose history is still being loaded first: a pass that is cut off again and again
        # must come to them. Nor must those that have it wait for them.
        loaded = {number: self._is_loaded(box, number) for number in asked}
        for device_id in sorted(asked, key=lambda number: loaded[number]):
            if unread[loaded[device_id]] == MOST_UNREAD:
                continue
            is_there = asked[device_id]
            progress = Progress(box, device_id)
            try:
                self._puller.pull(progress, far=far)
            except ServiceError as exc:
                if not isinstance(exc, Refused) or is_there or _hopeless(exc):
                    where = f"{box} of device {device_id}: " if device_id else f"{box}: "
                    outcome.fail(where, exc)
                # else: a device that is gone may be asked for, but need not answer
                # A service that has answered, if by a no, is well enough to be asked for others.
                sick = isinstance(exc, Unreadable) and not isinstance(exc, TooLarge | Unbounded)
                unread[loaded[device_id]] += sick
                hopeless = _hopeless(exc)
            else:
                came_through.append(progress)
                outcome.complete += 1
                unread[loaded[device_id]] = 0
            outcome.add(Saved(progress.added, progress.changed, progress.illegible))
            if self._turns:
                news = bool(progress.added or progress.changed)
                self._turns.asked(box, device_id, self._puller.now(), news=news)
            if hopeless:
                break
        return came_through

    def _learn_newest(self, box: Box, asked: Iterable[int]) -> None:
        """Learn the newest id of each that is not loaded yet: drafts wait for that, not for more."""
        for device_id in asked:
            try:
                self._puller.prepare(box, device_id)
            except ServiceError:
                return  # the pull itself will meet it, and tell

    def _is_loaded(self, box: Box, device_id: int) -> bool:
        if device_id == WHOLE_ACCOUNT:
            return False
        return self._store.mark(box, device_id).loaded_at is not None

    def _pull_as_a_whole(
        self,
        box: Box,
        standing: Standing,
        devices: Sequence[KnownDevice],
        outcome: Outcome,
        turns: Turns | None,
    ) -> None:
        """Ask for the whole account, and beside it for devices for which that does not stand."""
        beside = [
            device
            for device in devices
            if device.id not in standing.shown or not self._store.mark(box, device.id).loaded_at
        ]
        asked = {WHOLE_ACCOUNT: True} | self._whose_turn(box, beside, turns)
        came_through = {
            progress.device_id: progress for progress in self._pull(box, asked, outcome)
        }
        whole = came_through.get(WHOLE_ACCOUNT)
        failed = isinstance(outcome.failure, Refused | Unbounded) and not _hopeless(outcome.failure)
        if whole.shown == 0 if whole else failed:
            log.warning("scope.doubted", box=box, asked="by device, until a probe shows better")
            self._keep(box, scopes.doubted(self._puller.now()))

    def _pull_and_probe(
        self, box: Box, standing: Standing, devices: Sequence[KnownDevice], outcome: Outcome
    ) -> None:
        """Ask for every device, and then whether asking for the whole account gives the same."""
        now = self._puller.now()
        self._keep(box, scopes.begun(standing, now))
        there = {device.id for device in devices if device.there}
        marks = [self._store.mark(box, number) for number in sorted(there)]
        newest = self._store.newest(box, WHOLE_ACCOUNT)
        thousandth = self._store.newest(box, WHOLE_ACCOUNT, skip=MOST_LOOKED_BACK)
        asked = {device.id: device.there for device in devices}
        came_through = self._pull(box, asked, outcome, far=True)
        if not there <= {progress.device_id for progress in came_through}:
            return
        try:
            found = scopes.probe(self._puller.account, self._store, box, there)
        except ServiceError as exc:
            log.info("scope.unproven", box=box, cause=str(exc))
            return
        filled = sum(self._store.newest(box, number) > 0 for number in there)
        concluded = scopes.settled(found, devices, filled, now)
        if concluded.shown and not standing.shown:
            mark = scopes.joined(marks, newest, thousandth, now, history=self._puller.history)
            self._store.save_mark(box, WHOLE_ACCOUNT, mark)
        self._keep(box, concluded)
        if bool(concluded.shown) != bool(standing.shown):
            log.info(
                "scope.changed", box=box, asked="as a whole" if concluded.shown else "by device"
            )

    def _probe_is_due(self, box: Box, standing: Standing, devices: Iterable[KnownDevice]) -> bool:
        """Tell whether to make a probe in this pass: once all are loaded, and one has messages."""
        there = [device for device in devices if device.there]
        return (
            scopes.due(standing, scopes.roster(there), self._puller.now())
            and all(self._store.mark(box, device.id).loaded_at for device in there)
            and any(self._store.newest(box, device.id) for device in there)
        )

    def _whose_turn(
        self, box: Box, devices: Sequence[KnownDevice], turns: Turns | None
    ) -> dict[int, bool]:
        """Return the devices to ask now, each with whether the account has it."""
        there = {device.id: device.there for device in devices}
        if turns is None:
            return there
        return {number: there[number] for number in turns.next(box, devices, self._puller.now())}

    def _standing(self, box: Box) -> Standing:
        """Return what the last probe of a box came to; where that makes no sense, nothing."""
        if self._scope != "auto":
            return Standing()
        try:
            return msgspec.json.decode(self._store.setting(f"scope_{box}") or "{}", type=Standing)
        except msgspec.DecodeError:
            return Standing()

    def _keep(self, box: Box, standing: Standing) -> None:
        self._store.set_setting(f"scope_{box}", msgspec.json.encode(standing).decode())

    @contextmanager
    def _pass(self, kind: str) -> Iterator[Outcome]:
        """Note a pass when it is over."""
        outcome = Outcome(Pass(kind=kind, started_at=utc_text(self._puller.now())))
        asked_before = self._client.requests
        yield outcome
        noted = outcome.noted
        noted.requests = self._client.requests - asked_before
        self._store.save_pass(noted, now=self._puller.now())


def _hopeless(failure: ServiceError | None) -> bool:
    """Tell whether there is no point in asking anything else in this pass."""
    return isinstance(failure, Unreachable | Throttled) or (
        isinstance(failure, Refused) and failure.code in {"401", "403", "404"}
    )
