"""
One pass as the daemon takes it, and all that may come of it. Read `Passing.take` first.

A pass opens the mirror for itself, since a connection belongs to the thread that opened it. What it
means for those that come after it is returned: when they come is for the loop to decide.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Lock
from typing import NamedTuple

import structlog

from semysync.config import Config
from semysync.daemon.gate import Gate, cause_of
from semysync.daemon.jobs import LIVELY, Job, Kit
from semysync.daemon.telling import Telling
from semysync.daemon.tempo import SERVICE
from semysync.errors import SemysyncError, ServiceError
from semysync.mirror.store import Store
from semysync.mirror.tables.passes import Pass
from semysync.model import Box
from semysync.passes.outcome import Outcome
from semysync.passes.pull import Progress, Puller, none_seen
from semysync.passes.sync import Sync
from semysync.passes.turns import Turns
from semysync.service.client import Client
from semysync.service.pace import Stopped
from semysync.times import utc_text

log = structlog.get_logger("semysync")

LATE_AFTER_S = 300  #: a box that was not read to its end for so long is late, or
LATE_PASSES = 5  #: for so many intervals


class After(NamedTuple):
    """What a pass means for those that come after it, and for the sender."""

    is_lively: bool = False  #: messages have come, gone out or changed
    has_devices: bool = False  #: there are devices that were not there before
    service_is_back: bool = False  #: it answers again, after it had failed as a whole
    service_is_told_of: bool = False  #: it fails, or does so no more, and that was news


class Passing:
    """
    Takes the passes of one account, for any thread.

    It stops them once `stopping` is set. `await_devices` waits until the devices were asked for.
    """

    def __init__(
        self,
        config: Config,
        mirror: Path,
        client: Client,
        gate: Gate,
        *,
        stopping: Event,
        await_devices: Callable[[Job], None],
    ) -> None:
        self._config = config
        self._mirror = mirror
        self._client = client
        self._gate = gate
        self._stopping = stopping
        self._await_devices = await_devices
        self._telling = Telling()
        self._configuring = Lock()
        self._configured = False
        # What is learnt from pass to pass:
        self._largest = none_seen()
        self.turns = Turns(config.api.requests_per_minute)
        self.loading: dict[str, int] = {}  #: messages of a box whose history is being loaded

    def take(self, job: Job, *, is_hinted: bool) -> After:
        """Take a pass, whatever comes of it; one that a webhook has asked for comes first."""
        began_s = time.monotonic()
        try:
            with (
                self._client.first(is_first=is_hinted),
                Store.open(self._mirror, self._config.locale()) as store,
            ):
                store.between = self._go_on
                self._configure(store)
                if not job.needs_devices or self._knows_devices(job, store):
                    return self._judge(job, store, self._step(job, store))
        except Stopped:
            log.info("pass.stopped", kind=job.name)
        except SemysyncError as exc:  # the mirror: another program holds it, the disk is full
            self._gate.broke(job)
            self._telling.mirror_failed(job.name, exc, began_s)
        except Exception as exc:  # noqa: BLE001  nothing ends the loop
            self._gate.broke(job)
            self._telling.broke(job.name, exc)
            self._note_broken(job, exc)
        return After()

    def _go_on(self) -> None:
        """Let a pass go on, unless the program is to end."""
        if self._stopping.is_set():
            raise Stopped

    def _configure(self, store: Store) -> None:
        """Bring the mirror in line with the configuration, before the first pass."""
        with self._configuring:
            self._go_on()
            if self._configured:
                return
            pull = self._config.pull
            late_after_s = max(LATE_AFTER_S, LATE_PASSES * max(pull.inbox_s, pull.sent_s))
            store.set_setting("late_after_s", str(late_after_s))
            store.apply_locale()
            self._configured = True

    def _knows_devices(self, job: Job, store: Store) -> bool:
        """Tell whether there are devices to ask for; before the first answer wait for that."""
        if store.last_complete("devices") is None:
            self._await_devices(job)
        return store.last_complete("devices") is not None

    def _step(self, job: Job, store: Store) -> Outcome | None:
        """Take the step of a pass; what the service had against it is in the outcome."""
        puller = Puller(
            account=self._client,
            mirror=store,
            history=self._config.pull.history,
            lookback=timedelta(seconds=self._config.pull.lookback_s),
            largest=self._largest,
            watch=self._watch,
        )
        sync = Sync(
            self._client,
            store,
            puller,
            scope=self._config.pull.scope,
            turns=self.turns,
            limits=self._config.devices,
        )
        began = utc_text(datetime.now(UTC))
        try:
            return job.step(Kit(self._config, self._client, store, sync))
        except ServiceError as exc:
            return Outcome(Pass(kind=job.name, started_at=began, error=str(exc)), failure=exc)
        finally:
            self.loading.pop(job.name, None)

    def _watch(self, progress: Progress) -> None:
        if progress.share < 1:
            self.loading[progress.box] = progress.added

    def _judge(self, job: Job, store: Store, outcome: Outcome | None) -> After:
        """See what a pass shows of the service, and tell what is news of that."""
        if job.asks and outcome is None:  # there was nothing to ask, which shows nothing
            self._gate.asked_nothing()
            return After()
        failure = outcome.failure if outcome and not outcome.complete else None
        news = self._gate.came(job, failure)
        self._telling.ended(job.name, outcome, quiet=news.was_open)
        for what in news.fails:
            self._tell_failing(what, failure, store)
        if job.asks and not failure:
            self._tell_recovered(job, news.over, store)
        if news.closed:
            self._telling.closed()
        return After(
            is_lively=_is_lively(outcome),
            has_devices=_has_devices(outcome),
            service_is_back=news.closed,
            service_is_told_of=bool(news.fails or news.over),
        )

    def _tell_failing(self, what: str, failure: ServiceError | None, store: Store) -> None:
        """Tell what fails; where the mirror does not take it, the next failure is news again."""
        try:
            store.tell_failing(what, _box(what), cause_of(failure), now=datetime.now(UTC))
        except SemysyncError:
            self._gate.not_told(what)
            raise
        log.error("pull.failing", of=what, error=str(failure))

    def _tell_recovered(self, job: Job, over: set[str], store: Store) -> None:
        """Tell what is over, also where an earlier run had told the failure."""
        for what in (SERVICE, job.name):
            if store.tell_recovered(what, _box(what), now=datetime.now(UTC)) or what in over:
                log.info("pull.recovered", of=what)

    def _note_broken(self, job: Job, error: Exception) -> None:
        """Count a pass that broke where people look; if the mirror allows that."""
        now = datetime.now(UTC)
        sentence = f"the pass broke off ({type(error).__name__}); its log says where"
        with suppress(SemysyncError), Store.open(self._mirror) as store:
            noted = Pass(kind=job.name, started_at=utc_text(now), error=sentence)
            store.save_pass(noted, now=now)


def _is_lively(outcome: Outcome | None) -> bool:
    if outcome is None:
        return False
    noted = outcome.noted
    return noted.kind in LIVELY and bool(noted.added or noted.changed)


def _has_devices(outcome: Outcome | None) -> bool:
    return outcome is not None and outcome.noted.kind == "devices" and bool(outcome.noted.added)


def _box(what: str) -> Box | None:
    return Box(what) if what in set(Box) else None
