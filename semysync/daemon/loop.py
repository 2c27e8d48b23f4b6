"""
The loop: APScheduler runs every job at its time, in a thread of its own, and never two of a kind.

A pass opens the mirror for itself, since a connection belongs to the thread that opened it. When it
has ended, the next one is put to its time, so that none is lost however late one comes. Whatever
goes wrong in a pass is logged, and the next one comes.
"""

import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Condition, Event, Lock

import structlog
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED, JobExecutionEvent
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from semysync.config import Config
from semysync.daemon.jobs import Job, Kit, jobs
from semysync.daemon.sending import Sending
from semysync.errors import SemysyncError
from semysync.mirror.claims import Claims
from semysync.mirror.outbox import Outbox
from semysync.mirror.store import Store
from semysync.model import Box
from semysync.passes.look import FEW
from semysync.passes.pull import Puller
from semysync.passes.send import recover
from semysync.passes.sync import Outcome, Sync
from semysync.passes.turns import Turns
from semysync.service.client import Client
from semysync.service.pace import Pace, Stopped

log = structlog.get_logger("semysync")

LATE_AFTER_S = 300  #: a box that was not read to its end for so long is late, or
LATE_PASSES = 5  #: for so many intervals


class FromNow(BaseTrigger):  # type: ignore[misc]  # the library has no types
    """
    Fires again so many seconds from now.

    APScheduler's own counts every time that was missed, one by one: a clock that is put right by
    some years would take all memory.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def get_next_fire_time(self, _previous: datetime | None, now: datetime) -> datetime:
        return now + timedelta(seconds=self._seconds)


class Loop:
    """
    The passes of one account and its sender.

    The sender has a client of its own: it must not wait for the answer to a question.
    """

    def __init__(
        self, config: Config, mirror: Path, client: Client, sending: Client, pace: Pace
    ) -> None:
        self._config = config
        self._mirror = mirror
        self._client = client
        self._pace = pace
        self._sending = Sending(
            config,
            mirror,
            sending,
            ahead_s=client.ahead_s,
            hasten=lambda: self.hasten("sent"),
        )
        self._jobs = {job.name: job for job in jobs(config, self._look_at_sent)}
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(max_workers=len(self._jobs))},
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )
        self._scheduler.add_listener(self._ended, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR)
        self._stopping = Event()
        self._hurry: set[str] = set()
        self._mutex = Lock()  # over when the next pass of a kind comes
        self._running: set[str] = set()
        self._idle = Condition()
        self._asked_for_devices = Event()
        # What is learnt from pass to pass:
        self._largest = FEW
        self._turns = Turns(config.api.requests_per_minute)
        self._configuring = Lock()
        self._configured = False

    def start(self) -> None:
        """Schedule every pass, all due at once, and begin to send."""
        with Outbox(self._mirror) as outbox, Claims(self._mirror) as claims:
            recover(outbox, claims, datetime.now(UTC))
        for job in self._jobs.values():
            self._scheduler.add_job(
                self._tick,
                FromNow(job.every_s),
                args=(job,),
                id=job.name,
                next_run_time=datetime.now(UTC),
            )
        self._scheduler.start()
        self._sending.start()

    def stop(self) -> None:
        """Let each running pass come to its next question, then end."""
        self._stopping.set()
        self._pace.stop()
        self._asked_for_devices.set()
        self._sending.stop()
        # Without a wait, in which it would hold locks that a pass needs to come to its end.
        self._scheduler.remove_all_jobs()
        self._scheduler.shutdown(wait=False)
        with self._idle:
            self._idle.wait_for(lambda: not self._running)
        self._sending.join()

    def hasten(self, name: str) -> None:
        """
        Let a pass of a kind begin at once, or as soon as the one that runs has ended.

        For any thread. A hint of the service, or a draft that waits for a look, is worth that.
        """
        with self._mutex:
            self._hurry.add(name)
            self._put(name, 0)

    def _put(self, name: str, delay_s: float) -> None:
        """Put the next pass of a kind to a time from now."""
        at = datetime.now(UTC) + timedelta(seconds=delay_s)
        with suppress(JobLookupError):  # not configured
            self._scheduler.modify_job(name, next_run_time=at)

    def _ended(self, event: JobExecutionEvent) -> None:
        """Put the next pass to its time: only now may it begin, since never two of a kind run."""
        delay_s = self._jobs[event.job_id].every_s
        with self._mutex:
            if not self._stopping.is_set():
                self._put(event.job_id, 0 if event.job_id in self._hurry else delay_s)

    def _look_at_sent(self, kit: Kit) -> Outcome:
        """Pull what was sent; where a draft waits for a look, every device is asked."""
        began = time.monotonic()
        everyone = kit.sync.drafts_wait() or self._sending.restored()
        outcome = kit.sync.box(Box.SENT, everyone=everyone)
        if everyone and outcome.complete and not outcome.failure:
            self._sending.looked(began)
        return outcome

    def _tick(self, job: Job) -> None:
        with self._idle:
            self._running.add(job.name)
        try:
            self._try(job)
        finally:
            if job.name == "devices":
                self._asked_for_devices.set()
            with self._idle:
                self._running.discard(job.name)
                self._idle.notify_all()

    def _try(self, job: Job) -> None:
        """Take a pass, whatever comes of it."""
        if job.needs_devices:
            self._asked_for_devices.wait()
        with self._mutex:
            self._hurry.discard(job.name)
        if self._stopping.is_set():
            return
        try:
            with Store.open(self._mirror, self._config.locale()) as store:
                self._configure(store)
                if job.needs_devices and store.last_complete("devices") is None:
                    return
                self._take(job, store)
        except Stopped:
            log.info("pass.stopped", kind=job.name)
        except SemysyncError as exc:
            log.error("pass.failed", kind=job.name, error=str(exc))  # noqa: TRY400  it is a sentence
        except Exception:
            log.exception("pass.broke", kind=job.name)

    def _take(self, job: Job, store: Store) -> None:
        """Take one step."""
        puller = Puller(
            account=self._client,
            mirror=store,
            history=self._config.pull.history,
            lookback=timedelta(seconds=self._config.pull.lookback_s),
            largest=self._largest,
        )
        sync = Sync(
            self._client,
            store,
            puller,
            scope=self._config.pull.scope,
            turns=self._turns,
            limits=self._config.limits(),
        )
        outcome = job.step(Kit(self._config, self._client, store, sync))
        self._largest = puller.largest
        if outcome and job.name == "devices" and outcome.noted.added:
            for other in self._jobs.values():  # there is something more to ask for
                if other.needs_devices:
                    self.hasten(other.name)

    def _configure(self, store: Store) -> None:
        """Bring the mirror in line with the configuration, before the first pass."""
        with self._configuring:
            if self._configured:
                return
            pull = self._config.pull
            late_after_s = max(LATE_AFTER_S, LATE_PASSES * max(pull.inbox_s, pull.sent_s))
            store.set_setting("late_after_s", str(late_after_s))
            store.apply_locale()
            self._configured = True
