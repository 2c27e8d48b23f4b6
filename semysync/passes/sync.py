"""
One pass: bring the mirror and the account into agreement.

`Sync.once` is the list of steps; each is a pass of its own, noted in the table `passes`. What fails
for one device never stops the others, and what was stored by then stays.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from semysync.errors import Refused, ServiceError, Throttled, Unreachable
from semysync.mirror.store import WHOLE_ACCOUNT, Pass, Saved, Store
from semysync.mirror.times import utc_text
from semysync.model import Box
from semysync.passes.pull import Progress, Puller
from semysync.service.client import Client

log = structlog.get_logger("semysync")


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

    They share a client, so that one question is asked at a time.
    """

    def __init__(self, client: Client, store: Store, puller: Puller, *, by_device: bool) -> None:
        self._client = client
        self._store = store
        self._puller = puller
        self._by_device = by_device

    def once(self) -> list[Outcome]:
        """Take every step once. Without devices there is nothing to ask the boxes for."""
        steps = [self.devices()]
        if self._store.device_ids() and not _hopeless(steps[0].failure):
            steps += [self.box(Box.INBOX), self.box(Box.SENT)]
        return steps

    def devices(self) -> Outcome:
        """Mirror the phones, live and archived: both lists together are what the account has."""
        with self._pass("devices") as outcome:
            try:
                rows = [*self._client.devices(archived=False), *self._client.devices(archived=True)]
            except ServiceError as exc:
                outcome.fail("", exc)
            else:
                now = self._puller.now()
                outcome.add(self._store.save_devices(rows, now=now, complete=True))
                outcome.complete += 1
        return outcome

    def box(self, box: Box) -> Outcome:
        """Pull a box: of each device, or of the whole account."""
        with self._pass(box) as outcome:
            failed_in_a_row = 0
            scopes = self._store.device_ids() if self._by_device else {WHOLE_ACCOUNT: True}
            for device_id, is_there in scopes.items():
                progress = Progress(box, device_id)
                try:
                    self._puller.pull(progress)
                except ServiceError as exc:
                    if isinstance(exc, Refused) and not is_there:
                        continue  # a device that is gone may be asked for, but need not answer
                    where = f"{box} of device {device_id}: " if device_id else f"{box}: "
                    outcome.fail(where, exc)
                    failed_in_a_row += 1
                else:
                    outcome.complete += 1
                    failed_in_a_row = 0
                outcome.add(Saved(progress.added, progress.changed, progress.illegible))
                if failed_in_a_row == 2 or _hopeless(outcome.failure):
                    break
        return outcome

    @contextmanager
    def _pass(self, kind: str) -> Iterator[Outcome]:
        """Note a pass when it is over, and log it where there is something to tell."""
        outcome = Outcome(Pass(kind=kind, started_at=utc_text(self._puller.now())))
        asked_before = self._client.requests
        yield outcome
        noted = outcome.noted
        noted.requests = self._client.requests - asked_before
        self._store.save_pass(noted, now=self._puller.now())
        counts = {"added": noted.added, "changed": noted.changed, "requests": noted.requests}
        if noted.illegible:
            log.warning("pass.illegible_rows", kind=kind, rows=noted.illegible, kept_in="conflicts")
        if noted.error:
            log.error("pass.failed", kind=kind, **counts, error=noted.error)
        elif noted.added or noted.changed:
            log.info("pass.finished", kind=kind, **counts)


def _hopeless(failure: ServiceError | None) -> bool:
    """Tell whether there is no point in asking anything else in this pass."""
    return isinstance(failure, Unreachable | Throttled) or (
        isinstance(failure, Refused) and failure.code in {"401", "403", "404"}
    )
