"""
The sender's thread: it sends until it is stopped, and begins anew after a failure of the mirror.

It has a client of its own: it never waits for the answer to a question of a pass.
"""

from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import structlog

from semysync.config import Config
from semysync.errors import SemysyncError
from semysync.mirror.claims import Claims
from semysync.mirror.outbox import Outbox
from semysync.mirror.store import Store
from semysync.mirror.watch import Watch
from semysync.passes.send import Sender
from semysync.service.client import Client
from semysync.service.pace import Stopped

log = structlog.get_logger("semysync")

AGAIN_S = 10  #: after something went wrong with the mirror


class Sending:
    """Sends drafts in a thread of its own. `hasten` asks for a look at what was sent, soon."""

    def __init__(
        self,
        config: Config,
        mirror: Path,
        client: Client,
        *,
        ahead_s: Callable[[], float | None],
        hasten: Callable[[], None],
    ) -> None:
        self._config = config
        self._mirror = mirror
        self._client = client
        self._ahead_s = ahead_s
        self._hasten = hasten
        self._sender: Sender | None = None
        self._watch: Watch | None = None
        self._stopping = Event()
        self._thread = Thread(target=self._until_stopped, name="sender", daemon=True)

    def start(self) -> None:
        if self._config.send.enabled:
            self._thread.start()

    def stop(self) -> None:
        """Let it end after the request that it is at; `join` waits for that."""
        self._stopping.set()
        if watch := self._watch:
            watch.wake()

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for its end; tell whether it has come."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def restored(self) -> bool:
        """Tell whether the mirror is an older copy, and nothing is sent before a complete look."""
        sender = self._sender
        return bool(sender and sender.restored)

    def looked(self, began: float) -> None:
        """Tell the sender of a complete look at all that the account has sent."""
        if sender := self._sender:
            sender.looked(began)
            if watch := self._watch:
                watch.wake()

    def _until_stopped(self) -> None:
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
            self._stopping.wait(AGAIN_S)

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
            )
            sender.start()
            self._sender, self._watch = sender, watch
            try:
                while not self._stopping.is_set():
                    if not sender.step():
                        watch.wait(sender.next_time_s())
            finally:
                self._sender = self._watch = None
