"""
The loop: APScheduler runs every job at its time, in a thread of its own, and never two of a kind.

Read `Loop._try` first: it is one pass, and all that may come of it. A pass opens the mirror for
itself, since a connection belongs to the thread that opened it. When it has ended, the next one is
put to its time, as `tempo` decides: none is lost, however late one comes.
"""

import time
from collections.abc import Callable, Collection
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
from semysync.daemon.gate import Gate, cause_of
from semysync.daemon.jobs import LIVELY, Job, Kit, jobs
from semysync.daemon.sending import Sending
from semysync.daemon.telling import Telling
from semysync.daemon.tempo import REST_S, SERVICE, interval_s, jump_s
from semysync.errors import SemysyncError, ServiceError
from semysync.mirror.outbox.claims import Claims
from semysync.mirror.outbox.sending import Outbox
from semysync.mirror.store import Store
from semysync.mirror.tables.passes import Pass
from semysync.model import Box
from semysync.passes.look import FEW
from semysync.passes.outcome import Outcome
from semysync.passes.pull import Progress, Puller
from semysync.passes.send import recover, was_away
from semysync.passes.sync import Sync
from semysync.passes.turns import Turns
from semysync.service.client import PATIENCE, Client
from semysync.service.pace import Pace, Stopped
from semysync.times import utc_text

log = structlog.get_logger("semysync")

LATE_AFTER_S = 300  #: a box that was not read to its end for so long is late, or
LATE_PASSES = 5  #: for so many intervals

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
        self._scheduler.add_listener(self._ended, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR)
        self._stopping = Event()
        self._asked_for_devices = Event()
        self._running: dict[str, float] = {}  # since when
        self._idle = Condition()
        self._telling = Telling()
        self._gate = Gate()
        self._mutex = Lock()  # over all that decides when the next pass comes:
        self._hurry: set[str] = set()
        self._hinted: set[str] = set()  # in such a hurry that there is no rest before
        self._ended_s: dict[str, float] = {}  # when the last pass of a kind did
        self._news_s: float | None = None
        self._clocks = time.time(), time.monotonic()
        # What is learnt from pass to pass:
        self._largest = FEW
        self._turns = Turns(config.api.requests_per_minute)
        self._configuring = Lock()
        self._configured = False
        self.loading: dict[str, int] = {}  #: messages of a box whose history is being loaded

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
        self._turns.hint(Box(box), devices)
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

    def _ended(self, event: JobExecutionEvent) -> None:
        """Put the next pass to its time: only now may it begin, since never two of a kind run."""
        job = self._jobs[event.job_id]
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

    # One pass.

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
        """Take a pass, whatever comes of it."""
        began_s = time.monotonic()
        if job.asks and self._gate.enter(job):
            return
        with self._mutex:
            self._hurry.discard(job.name)
            is_hinted = job.name in self._hinted
            self._hinted.discard(job.name)
        if self._stopping.is_set():
            return
        try:
            with (
                self._client.first(is_hinted),
                Store.open(self._mirror, self._config.locale()) as store,
            ):
                store.between = self._go_on
                self._configure(store)
                if not job.needs_devices or self._knows_devices(job, store):
                    self._judge(job, store, self._step(job, store))
        except Stopped:
            log.info("pass.stopped", kind=job.name)
        except SemysyncError as exc:  # the mirror: another program holds it, the disk is full
            self._gate.broke(job)
            self._telling.mirror_failed(job.name, exc, began_s)
        except Exception as exc:  # noqa: BLE001  nothing ends the loop
            self._gate.broke(job)
            self._telling.broke(job.name, exc)
            self._note_broken(job, exc)

    def _go_on(self) -> None:
        """Let a pass go on, unless the program is to end."""
        if self._stopping.is_set():
            raise Stopped

    def _knows_devices(self, job: Job, store: Store) -> bool:
        """Tell whether there are devices to ask for; before the first answer wait for that."""
        if store.last_complete("devices") is None:
            self._asked_for_devices.wait()
            with self._mutex:
                self._hurry.discard(job.name)  # what it was hastened for, it now knows
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
            turns=self._turns,
            limits=self._config.devices,
        )
        began = utc_text(datetime.now(UTC))
        try:
            return job.step(Kit(self._config, self._client, store, sync))
        except ServiceError as exc:
            return Outcome(Pass(kind=job.name, started_at=began, error=str(exc)), failure=exc)
        finally:
            self._largest = puller.largest
            self.loading.pop(job.name, None)

    def _judge(self, job: Job, store: Store, outcome: Outcome | None) -> None:
        """See what a pass shows of the service, and tell what is news of that."""
        if job.asks and outcome is None:  # there was nothing to ask, which shows nothing
            self._gate.asked_nothing()
            return
        failure = outcome.failure if outcome and not outcome.complete else None
        news = self._gate.came(job, failure)
        self._telling.ended(job.name, outcome, quiet=news.was_open)
        for what in news.fails:
            log.error("pull.failing", of=what, error=str(failure))
            store.tell_failing(what, _box(what), cause_of(failure), now=datetime.now(UTC))
        if job.asks and not failure:
            self._tell_recovered(job, news.over, store)
        if news.closed:
            self._telling.closed()
            for name in self._jobs:
                self.hasten(name)
        if news.fails or news.over:
            self._sending.wake()
        if outcome:
            self._take_news(outcome)

    def _take_news(self, outcome: Outcome) -> None:
        """Let what a pass has found make others come sooner."""
        noted = outcome.noted
        if noted.kind in LIVELY and (noted.added or noted.changed):
            self._stir()
        if noted.kind == "devices" and noted.added:
            for other in self._jobs.values():  # there is something more to ask for
                if other.needs_devices:
                    self.hasten(other.name)

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

    def _watch(self, progress: Progress) -> None:
        if progress.share < 1:
            self.loading[progress.box] = progress.added

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


def _box(what: str) -> Box | None:
    return Box(what) if what in set(Box) else None
