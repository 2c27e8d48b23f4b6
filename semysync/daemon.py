"""
When passes run, and how they stop.

`run` starts a scheduler with one worker, so that one question is asked at a time, and the sender's
thread beside it, and waits for a signal; there is no handler and so no race. A pass opens the
mirror for itself, since a connection belongs to the thread that opened it. Whatever goes wrong in a
pass is logged, and the next one comes at its time.
"""

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from semysync import __version__
from semysync.config import Config
from semysync.errors import SemysyncError
from semysync.mirror.claims import Claims
from semysync.mirror.lock import Lock, Right
from semysync.mirror.outbox import Outbox
from semysync.mirror.store import Store
from semysync.mirror.watch import Watch
from semysync.model import Box
from semysync.passes.look import FEW
from semysync.passes.pull import Puller
from semysync.passes.send import Sender, recover
from semysync.passes.sync import Outcome, Sync
from semysync.passes.turns import Turns
from semysync.service.client import Client
from semysync.service.pace import Pace, Stopped

log = structlog.get_logger("semysync")

LATE_AFTER_S = 300  #: a box that was not read to its end for so long is late, or
LATE_PASSES = 5  #: for so many intervals

SENDING_AGAIN_S = 10  #: after something went wrong with the mirror

STOPPING = {signal.SIGTERM, signal.SIGINT}


class Daemon:
    """
    The passes of one account, each run by the scheduler's only worker, and its sender.

    The sender has a client of its own: it must not wait for the answer to a question.
    """

    def __init__(
        self, config: Config, mirror: Path, client: Client, sending: Client, pace: Pace
    ) -> None:
        self._config = config
        self._mirror = mirror
        self._client = client
        self._sending = sending
        self._pace = pace
        self._scheduler: BackgroundScheduler | None = None
        self._sender: Sender | None = None
        self._watch: Watch | None = None
        self._thread = Thread(target=self._send_until_stopped, name="sender")
        self._look_is_due = False
        self._stopping = Event()
        # What is learnt from pass to pass:
        self._largest = FEW
        self._turns = Turns(config.api.requests_per_minute)
        self._configured = False

    def start(self) -> BackgroundScheduler:
        """Schedule every pass, all due at once; return the running scheduler."""
        with Outbox(self._mirror) as outbox, Claims(self._mirror) as claims:
            recover(outbox, claims, datetime.now(UTC))
        scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(max_workers=1)},
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )
        pull = self._config.pull
        for name, every_s, step in (
            ("devices", pull.devices_s, Sync.devices),
            ("inbox", pull.inbox_s, lambda sync: sync.box(Box.INBOX)),
            ("sent", pull.sent_s, self._look_at_sent),
            ("account", pull.account_s, Sync.account),
        ):
            scheduler.add_job(
                self._tick,
                "interval",
                args=(name, step),
                seconds=every_s,
                id=name,
                next_run_time=datetime.now(UTC),
            )
        scheduler.start()
        self._scheduler = scheduler
        if self._config.send.enabled:
            self._thread.start()
        return scheduler

    def stop(self, scheduler: BackgroundScheduler) -> None:
        """Let the running pass come to its next question, then end."""
        self._stopping.set()
        self._pace.stop()
        if watch := self._watch:
            watch.wake()
        scheduler.shutdown(wait=True)
        if self._thread.is_alive():
            self._thread.join()

    def hasten(self) -> None:
        """Let the account be looked at soon for what it has sent: a draft waits for that."""
        if self._look_is_due or self._scheduler is None:
            return
        self._look_is_due = True
        with suppress(RuntimeError):  # the scheduler was ended meanwhile
            self._scheduler.add_job(
                self._tick, "date", args=("sent", self._look_at_sent), max_instances=1
            )

    def _look_at_sent(self, sync: Sync) -> Outcome:
        """Pull what was sent; where a draft waits for a look, every device is asked."""
        self._look_is_due = False
        began = time.monotonic()
        everyone = sync.drafts_wait() or bool(self._sender and self._sender.restored)
        outcome = sync.box(Box.SENT, everyone=everyone)
        if everyone and outcome.complete and not outcome.failure and (sender := self._sender):
            sender.looked(began)
            if watch := self._watch:
                watch.wake()
        return outcome

    def _send_until_stopped(self) -> None:
        """Send drafts; begin anew after a failure of the mirror, as after a restart."""
        said = ""
        while not self._stopping.is_set():
            try:
                self._send()
            except Stopped:
                return
            except Exception as exc:
                if str(exc) != said:  # a full disk is told once, not every ten seconds
                    said = str(exc)
                    known = isinstance(exc, SemysyncError)
                    log.error("sending.failed", error=said, exc_info=not known)  # noqa: TRY400
            self._stopping.wait(SENDING_AGAIN_S)

    def _send(self) -> None:
        with (
            Outbox(self._mirror, region=self._config.contacts.region) as outbox,
            Store.open(self._mirror, self._config.locale()) as store,
            Claims(self._mirror) as claims,
            Watch(self._mirror) as watch,
        ):
            sender = Sender(
                outbox,
                claims,
                self._sending,
                self._config.send,
                store=store,
                ahead_s=self._client.ahead_s,
                hasten=self.hasten,
            )
            sender.start()
            self._sender, self._watch = sender, watch
            try:
                while not self._stopping.is_set():
                    if not sender.step():
                        watch.wait(sender.next_time_s())
            finally:
                self._sender = self._watch = None

    def _configure(self, store: Store) -> None:
        """Bring the mirror in line with the configuration, before the first pass."""
        pull = self._config.pull
        late_after_s = max(LATE_AFTER_S, LATE_PASSES * max(pull.inbox_s, pull.sent_s))
        store.set_setting("late_after_s", str(late_after_s))
        store.apply_locale()
        self._configured = True

    def _tick(self, name: str, step: Callable[[Sync], Outcome]) -> None:
        if self._stopping.is_set():  # it was due, and waited for the pass that ran
            return
        try:
            with Store.open(self._mirror, self._config.locale()) as store:
                if not self._configured:
                    self._configure(store)
                puller = Puller(
                    account=self._client,
                    mirror=store,
                    history=self._config.pull.history,
                    lookback=timedelta(seconds=self._config.pull.lookback_s),
                    largest=self._largest,
                )
                scope = self._config.pull.scope
                limits = self._config.limits()
                sync = Sync(
                    self._client, store, puller, scope=scope, turns=self._turns, limits=limits
                )
                step(sync)
                self._largest = puller.largest
        except Stopped:
            log.info("pass.stopped", kind=name)
        except SemysyncError as exc:
            log.error("pass.failed", kind=name, error=str(exc))  # noqa: TRY400  it is a sentence
        except Exception:
            log.exception("pass.broke", kind=name)


def run(config: Config, mirror: Path, client: Client, sending: Client, pace: Pace) -> None:
    """
    Keep the mirror up to date, and send drafts, until SIGTERM or SIGINT.

    Raises `MirrorBusy` where another daemon works on the file, `MirrorUnusable` where it can't be
    used.
    """
    # Blocked before any thread starts, so that every thread leaves them to `sigwait`.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    with Lock(mirror, Right.SENDER):
        Store.migrate(mirror).close()
        daemon = Daemon(config, mirror, client, sending, pace)
        scheduler = daemon.start()
        log.info("daemon.started", mirror=str(mirror), version=__version__)
        number = signal.sigwait(STOPPING)
        log.info("daemon.stopping", signal=signal.Signals(number).name)
        _let_a_second_signal_kill()
        daemon.stop(scheduler)
        log.info("daemon.stopped")


def _let_a_second_signal_kill() -> None:
    """End at once for who will not wait for an answer: like any kill, it leaves nothing half."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
