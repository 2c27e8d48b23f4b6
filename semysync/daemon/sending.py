"""
The sender's thread: it sends until it is stopped, and begins anew after a failure of the mirror.

It has a client of its own: it never waits for the answer to a question of a pass.
"""

import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import structlog

from semysync.config import Config
from semysync.daemon.fence import Fence
from semysync.log import Trouble
from semysync.mirror.copies.replica import LOOK_S
from semysync.mirror.outbox.claims import Claims
from semysync.mirror.outbox.sending import Outbox
from semysync.mirror.store import Store
from semysync.mirror.watch import Watch
from semysync.passes.send import Sender
from semysync.service.client import Client
from semysync.service.pace import Stopped

log = structlog.get_logger("semysync")

FIRST_S, AGAIN_S = 0.5, 10  #: the first and the longest pause where the mirror fails
HEAD_START_S = 2  #: for the first answer to a question: a refused token is not tried on a message


class Sending:
    """
    Sends drafts in a thread of its own.

    `hasten` asks for a look at what was sent, soon; `taken` is called when the service has taken
    drafts; `stopped` says what stands against sending anything, if something does.
    """

    def __init__(
        self,
        config: Config,
        mirror: Path,
        client: Client,
        *,
        ahead_s: Callable[[], float | None],
        hasten: Callable[[], None],
        taken: Callable[[], None],
        stopped: Callable[[], str | None],
    ) -> None:
        self._fence = Fence(config, mirror)
        self._config = config
        self._mirror = mirror
        self._client = client
        self._ahead_s = ahead_s
        self._hasten = hasten
        self._taken = taken
        self._stopped = lambda: self._fence.why() or stopped()
        self._stepping_s: float | None = None  # since when it is at a step
        self._sender: Sender | None = None
        self._looks_first = False
        self._watch: Watch | None = None
        self._trouble = Trouble("sending.failed")
        self._failures = 0  # in a row
        self._may_begin = Event()
        self._stopping = Event()
        self._thread = Thread(target=self._until_stopped, name="sender", daemon=True)

    def look_first(self) -> None:
        """Let it send nothing before a look at the account: this machine was away."""
        self._looks_first = True

    def start(self) -> None:
        """Start, also where nothing is sent: what was lost is searched for, and cancelled."""
        self._fence.start()
        self._thread.start()

    def begin(self) -> None:
        """Let it send: the devices were asked for, or the service has failed to answer."""
        self._may_begin.set()

    def stop(self) -> None:
        """Let it end after the request that it is at; `join` waits for that."""
        self._stopping.set()
        self._fence.stop()
        self._may_begin.set()
        self.wake()

    def wake(self) -> None:
        """Let it see at once what there is to do."""
        if watch := self._watch:
            watch.wake()

    def hang_up(self, patience_s: float) -> None:
        """Let it wait no longer than this for an answer; what it loses by that is searched for."""
        self._client.hang_up(patience_s)

    def is_stuck(self, longest_s: float) -> bool:
        """Tell whether it has been at one step for so long without a sign of life."""
        since_s = self._stepping_s
        if since_s is None:
            return False
        return time.monotonic() - max(since_s, self._client.sign_s()) > longest_s

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for its end; tell whether it has come."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def wants_first_look(self) -> bool:
        """Tell whether nothing is sent before a complete look: restored, or away for a while."""
        sender = self._sender
        return bool(sender and sender.wants_first_look())

    def looked(self, began: float) -> None:
        """Tell the sender of a complete look at all that the account has sent."""
        if sender := self._sender:
            sender.looked(began)
            self._looks_first = False
            self.wake()

    def _until_stopped(self) -> None:
        self._may_begin.wait(HEAD_START_S)
        self._fence.wait(LOOK_S)
        while not self._stopping.is_set():
            try:
                self._send()
            except Stopped:
                return
            except Exception as exc:  # noqa: BLE001  nothing ends this thread
                self._trouble.met(exc)
            self._failures += 1
            self._stopping.wait(min(FIRST_S * 2 ** min(self._failures - 1, 10), AGAIN_S))

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
                self._client,
                self._config.send,
                store=store,
                ahead_s=self._ahead_s,
                hasten=self._hasten,
                stopped=self._stopped,
                looks_first=self._looks_first,
            )
            sender.start()
            self._sender, self._watch = sender, watch
            try:
                while not self._stopping.is_set():
                    if not self._step(sender):
                        watch.wait(sender.next_time_s())
            finally:
                self._sender = self._watch = None

    def _step(self, sender: Sender) -> bool:
        before, self._stepping_s = sender.taken, time.monotonic()
        try:
            more = sender.step()
        finally:
            self._stepping_s = None
        if sender.taken > before:
            self._taken()
        self._failures = 0
        if self._trouble.over():
            log.info("sending.works_again")
        return more
