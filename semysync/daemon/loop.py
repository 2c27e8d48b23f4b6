"""
The loop: APScheduler runs every job at its time, in a thread of its own, and never two of a kind.

What a pass does is in `passing`. When it has ended, the next one is put to its time, as `tempo`
decides: none is lost, however late one comes.
"""

import time
from collections.abc import Callable, Collection
from concurrent import futures
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
from semysync.daemon.gate import Gate
from semysync.daemon.jobs import LIVELY, Job, Kit, jobs
from semysync.daemon.passing import Passing
from semysync.daemon.sending import Sending
from semysync.daemon.tempo import REST_S, interval_s, jump_s
from semysync.mirror.outbox.claims import Claims
from semysync.mirror.outbox.sending import Outbox
from semysync.model import Box
from semysync.passes.outcome import Outcome
from semysync.passes.send import recover, was_away
from semysync.service.client import PATIENCE, Client
from semysync.service.pace import Pace

log = structlog.get_logger("semysync")

ANSWER_S = 20  #: how long a stop waits for the answer to a request that changes something,
END_S = 10  #: and then for the threads to end
STUCK_AFTER_S = 600  #: a pass without a sign of life, or one that is overdue


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

    The sender has a client of its own: it must not wait for the answer to a question. `met` is
    called once, as soon as the service has answered or has failed to.
    """

    def __init__(
        self,
        config: Config,
        mirror: Path,
        client: Client,
        sending: Client,
        pace: Pace,
        *,
        met: Callable[[], None] = lambda: None,
    ) -> None:
        self._config = config
        self._mirror = mirror
        self._client = client
        self._pace = pace
        self._met: Callable[[], None] | None = met
        self._sending = Sending(
            config,
            mirror,
            sending,
            ahead_s=client.ahead_s,
            hasten=lambda: self.hasten("sent"),
            taken=self._stir,
            stopped=lambda: self._gate.refusal,
        )
        self._jobs = {job.name: job for job in jobs(config, self._look_at_sent)}
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(max_workers=len(self._jobs))},
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )
        self._scheduler.add_listener(self._hear, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR)
        self._afterwards = futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix="next")
        self._stopping = Event()
        self._asked_for_devices = Event()
        self._running: dict[str, float] = {}  # since when
        self._idle = Condition()
        self._gate = Gate()
        self._mutex = Lock()  # over all that decides when the next pass comes:
        self._hurry: set[str] = set()
        self._hinted: set[str] = set()  # in such a hurry that there is no rest before
        self._ended_s: dict[str, float] = {}  # when the last pass of a kind did
        self._news_s: float | None = None
        self._clocks = time.time(), time.monotonic()
        self._passing = Passing(
            config,
            mirror,
            client,
            self._gate,
            stopping=self._stopping,
            await_devices=self._await_devices,
        )

    @property
    def loading(self) -> dict[str, int]:
        """The messages so far of each box whose history is being loaded."""
        return self._passing.loading

    def prepare(self) -> None:
        """See what an earlier run has left behind, before the start; that may raise."""
        with Outbox(self._mirror) as outbox, Claims(self._mirror) as claims:
            recover(outbox, claims, datetime.now(UTC))
            if was_away(outbox, datetime.now(UTC)):
                self._sending.look_first()

    def start(self) -> None:
        """Schedule every pass, all due at once, and begin to send."""
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

    def stop(self, longer_s: float = 0) -> set[str]:
        """
        End every pass at its next question, and the sender; return who has come to no end.

        A question that is under way is broken off; the answer to what changes something is waited
        for, for a while. A pass is given `longer_s` more to end than usual.
        """
        if not self._scheduler.running:
            return set()
        self._stopping.set()
        self._pace.stop()
        self._asked_for_devices.set()
        self._sending.stop()
        # Without a wait, in which it would hold locks that a pass needs to come to its end.
        self._scheduler.remove_all_jobs()
        self._scheduler.shutdown(wait=False)
        self._afterwards.shutdown(wait=False)
        ends = time.monotonic() + ANSWER_S
        self._client.hang_up(ANSWER_S)
        self._sending.hang_up(max(0, ends - time.monotonic()))
        with self._idle:
            self._idle.wait_for(lambda: not self._running, END_S + longer_s)
            left = set(self._running)
        return left if self._sending.join(END_S + longer_s) else left | {"send"}

    def hasten(self, name: str) -> None:
        """
        Let a pass of a kind begin at once, or as soon as the one that runs has ended.

        For any thread. A draft that waits for a look is worth that.
        """
        with self._mutex:
            if name in self._hurry:
                return
            self._hurry.add(name)
            now_s = time.monotonic()
            rested_s = now_s - self._ended_s.get(name, float("-inf"))
            self._put(name, max(self._gate.wait_s(name), REST_S - rested_s, 0))

    def hint(self, box: str, devices: Collection[int]) -> None:
        """
        Pull a box without any rest, of these devices first: the service has said that it is worth
        it.

        For any thread; whoever calls sees to it that it is not called too often.
        """
        self._passing.turns.hint(Box(box), devices)
        with self._mutex:
            self._hinted.add(box)
            self._hurry.add(box)
            self._put(box, self._gate.wait_s(box))

    def beat(self) -> None:
        """Notice a clock that was put, by which APScheduler would stand still: all are due then."""
        before, self._clocks = self._clocks, (time.time(), time.monotonic())
        if jumped := jump_s(before, self._clocks):
            log.warning("clock.jumped", seconds=round(jumped), meaning="every pass is due now")
            for name in self._jobs:
                self.hasten(name)
            self._sending.wake()

    def stuck(self) -> str | None:
        """Say what has come to a stand; None where all goes its way, or rests on purpose."""
        now_s = time.monotonic()
        longest_s = max(STUCK_AFTER_S, 2 * PATIENCE * self._config.api.timeout_s)
        with self._idle:
            running = dict(self._running)
        for kind, since_s in running.items():
            if now_s - max(since_s, self._client.sign_s()) > longest_s:
                return kind
        late = datetime.now(UTC) - timedelta(seconds=longest_s)
        for job in self._scheduler.get_jobs():
            if job.id not in running and job.next_run_time < late:
                return str(job.id)
        return "send" if self._sending.is_stuck(longest_s) else None

    def _put(self, name: str, delay_s: float) -> None:
        """Put the next pass of a kind to a time from now."""
        at = datetime.now(UTC) + timedelta(seconds=delay_s)
        with suppress(JobLookupError):  # not configured, or stopping
            self._scheduler.modify_job(name, next_run_time=at)

    def _hear(self, event: JobExecutionEvent) -> None:
        """
        Hear that a pass has ended, and leave what follows to another thread.

        Of one that ends as soon as it begins APScheduler tells while it holds its list of jobs, for
        which somebody may wait who holds our mutex.
        """
        with suppress(RuntimeError):  # it is stopping
            self._afterwards.submit(self._ended, self._jobs[event.job_id])

    def _ended(self, job: Job) -> None:
        """Put the next pass to its time: only now may it begin, since never two of a kind run."""
        with self._mutex:
            if self._stopping.is_set():
                return
            self._ended_s[job.name] = now_s = time.monotonic()
            since_s = (
                None if self._news_s is None or job.name not in LIVELY else now_s - self._news_s
            )
            rest_s = self._gate.wait_s(job.name) if job.asks else 0
            if job.name in self._hinted:
                self._put(job.name, rest_s)
            elif job.name in self._hurry:
                self._put(job.name, max(rest_s, REST_S))
            else:
                self._put(job.name, rest_s or interval_s(job.every_s, since_s))

    def _stir(self) -> None:
        """Let the next passes come sooner: there is news."""
        with self._mutex:
            self._news_s = time.monotonic()

    def _look_at_sent(self, kit: Kit) -> Outcome:
        """Pull what was sent; where a draft waits for a look, every device is asked."""
        began = time.monotonic()
        everyone = kit.sync.drafts_wait() or self._sending.wants_first_look()
        outcome = kit.sync.box(Box.SENT, everyone=everyone)
        if everyone and outcome.complete and not outcome.failure:
            self._sending.looked(began)
        return outcome

    def _tick(self, job: Job) -> None:
        with self._idle:
            self._running[job.name] = time.monotonic()
        try:
            self._try(job)
        finally:
            if job.name == "devices":  # which shows whether the token is taken
                self._asked_for_devices.set()
                self._sending.begin()
            if job.asks and (met := self._met):
                self._met = None
                met()
            with self._idle:
                del self._running[job.name]
                self._idle.notify_all()

    def _try(self, job: Job) -> None:
        """Take a pass, unless it must wait, and see what it means for those that come after it."""
        if job.asks and self._gate.enter(job):
            return
        with self._mutex:
            self._hurry.discard(job.name)
            is_hinted = job.name in self._hinted
            self._hinted.discard(job.name)
        if self._stopping.is_set():
            return
        after = self._passing.take(job, is_hinted=is_hinted)
        if after.is_lively:
            self._stir()
        for other in self._jobs.values():
            if after.service_is_back or (after.has_devices and other.needs_devices):
                self.hasten(other.name)
        if after.service_is_told_of:
            self._sending.wake()

    def _await_devices(self, job: Job) -> None:
        """Wait until the devices were asked for; what a pass was hastened for, it knows by then."""
        self._asked_for_devices.wait()
        with self._mutex:
            self._hurry.discard(job.name)
