"""
One pass: bring the mirror and the account into agreement.

`Sync.once` is the list of steps; each is a pass of its own, noted in the table `passes`. What was
stored when one fails stays. How a box is pulled, device by device or as a whole, is in `boxes`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime, timedelta

import structlog

from semysync.config import Devices
from semysync.errors import ServiceError
from semysync.mirror.store import Saved, Store
from semysync.mirror.tables.alarms import USUAL
from semysync.mirror.tables.audits import last_finished
from semysync.mirror.tables.marks import WHOLE_ACCOUNT
from semysync.mirror.tables.passes import Pass
from semysync.mirror.tables.pending import AWAY, Pending
from semysync.model import Box
from semysync.passes import verify
from semysync.passes.boxes import Boxes
from semysync.passes.clocks import phone_offset, service_offset
from semysync.passes.outcome import Outcome, is_hopeless
from semysync.passes.plan import low
from semysync.passes.pull import Progress, Puller
from semysync.passes.refresh import REQUESTS, Refresher
from semysync.passes.scope import Scope
from semysync.passes.turns import Turns
from semysync.passes.verify import Report, Unit, Verifier
from semysync.service.client import Client
from semysync.times import AGREE, from_utc_text, utc_text

log = structlog.get_logger("semysync")


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
        self._limits = limits
        self._boxes = Boxes(store, puller, scope=scope, turns=turns)

    def once(self) -> list[Outcome]:
        """Take every step once. Without devices there is nothing to ask the boxes for."""
        steps = [self.devices()]
        if self._store.device_ids() and not is_hopeless(steps[0].failure):
            steps += [self.box(Box.INBOX), self.box(Box.SENT)]
            if self.refresh_is_due():
                steps.append(self.refresh(requests=None))
            steps.append(self.account())
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
        return outcome, report

    def _units(self, box: Box) -> list[Unit]:
        """Return whom to ask so that all of a box is shown."""
        if self._scope == "account":
            return [Unit(WHOLE_ACCOUNT)]
        shown = frozenset(self._boxes.standing(box).shown)
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
            self._boxes.pull(box, outcome, everyone=everyone)
            self._boxes.index(box, outcome)
            self._boxes.begin_news(box)
        return outcome

    def _learn_clocks(
        self, before: Mapping[int, datetime], asked_at: datetime | None, now: datetime
    ) -> None:
        """See what this reading of the devices, and the newest messages, show of the clocks."""
        service_now = self._client.service_now()
        if service_now and abs(now - service_now) > AGREE:
            return  # by a clock that is wrong every other one would be wrong
        after = self._store.last_contacts()
        offset = service_offset(before, after, asked_at, now) if asked_at else None
        phones = {number: phone_offset(*self._store.times_of_phone(number)) for number in after}
        known = {number: found for number, found in phones.items() if found is not None}
        self._store.learn_offsets(offset, known)

    @contextmanager
    def _pass(self, kind: str) -> Iterator[Outcome]:
        """Note a pass when it is over."""
        outcome = Outcome(Pass(kind=kind, started_at=utc_text(self._puller.now())))
        asked_before = self._client.requests
        yield outcome
        noted = outcome.noted
        noted.requests = self._client.requests - asked_before
        self._store.save_pass(noted, now=self._puller.now())
