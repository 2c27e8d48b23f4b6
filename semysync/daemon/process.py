"""
The process: it takes the lock, starts the loop and the sender, and waits for signals.

SIGHUP reads the configuration again, and everything but the place of the mirror follows it.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

import structlog

from semysync import __version__
from semysync.config import Config
from semysync.daemon import signals
from semysync.daemon.loop import Loop
from semysync.daemon.memory import share_heaps
from semysync.daemon.standing import standing
from semysync.daemon.systemd import READY, STOPPING, Systemd
from semysync.errors import ConfigError, MirrorUnusable, SemysyncError
from semysync.follow.serving import Following
from semysync.mirror.file import BUSY_S
from semysync.mirror.lock import Lock, Right
from semysync.mirror.store import Store
from semysync.service.client import Client
from semysync.service.pace import Pace

log = structlog.get_logger("semysync")

BEAT_S = 5.0  #: how often it is looked whether the clock was put, and systemd is told of us
OPENING_S = 1.0  #: how long a file beside the mirror may be closed to us at the start
STATUS_S = 30.0  #: how often `STATUS=` is renewed once all is well; at each beat before that


class Connect(Protocol):
    """Makes a client as configured; raises `ConfigError` where there is no token."""

    def __call__(self, config: Config, pace: Pace, /, *, urgent: bool) -> Client: ...


def run(
    config: Config, mirror: Path, *, connect: Connect, reread: Callable[[], tuple[Config, Path]]
) -> None:
    """
    Keep the mirror up to date, and send drafts, until SIGTERM or SIGINT.

    `reread` returns the configuration as it is now, and the mirror that it names, and lets the log
    follow it. Raises `MirrorBusy` where another daemon works on the file, `MirrorUnusable` where it
    can't be used, `ConfigError` where there is no token.
    """
    signals.block()
    share_heaps()
    # Who starts us may ignore it, and then the kernel would not tell how a hook's program ended.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    systemd = Systemd()
    with Lock(mirror, Right.SENDER):
        systemd.status("opening the mirror")
        _patiently(lambda: Store.migrate(mirror).close())
        process = Process(config, mirror, connect, systemd)
        if signals.end_waits():  # it has come while we were starting
            return
        _patiently(process.start)
        log.info("daemon.started", mirror=str(mirror), version=__version__)
        while (number := process.wait()) not in signals.ENDING:
            process.reload(reread)
        log.info("daemon.stopping", signal=signal.Signals(number).name)
        systemd.tell(STOPPING)
        signals.let_a_second_kill()
        process.stop()
        log.info("daemon.stopped")


def _patiently(begin: Callable[[], None]) -> None:
    """
    Begin; for a while again, where the mirror can't be used.

    A program of another user, who reads it at this moment, makes a file beside it that is closed to
    us until SQLite has given it the mirror's mode. Nobody would start us again for that.
    """
    ends = time.monotonic() + OPENING_S
    while True:
        try:
            return begin()
        except MirrorUnusable:
            if time.monotonic() > ends:
                raise
        time.sleep(OPENING_S / 20)


class Parts(NamedTuple):
    """What is at work, as configured; each part has threads of its own."""

    asking: Client
    sending: Client
    loop: Loop
    following: Following

    def start(self) -> None:
        """Let all begin, or nothing where the mirror can't be used: that raises."""
        self.loop.prepare()
        self.following.start()  # before what it follows, so that it misses nothing
        self.loop.start()

    def stop(self, longer_s: float) -> set[str]:
        """End all; return what has come to no end."""
        left = self.loop.stop(longer_s)
        self.following.stop()
        if not left:
            self.asking.close()
            self.sending.close()
        return left


class Process:
    """The parts at work, which a new configuration replaces by others."""

    def __init__(self, config: Config, mirror: Path, connect: Connect, systemd: Systemd) -> None:
        self._mirror = mirror
        self._connect = connect
        self._systemd = systemd
        self._said: tuple[str, float] = "", float("-inf")
        self._stuck: str | None = None
        self._begun = False
        self._held_up = ""  # by what, as far as it was told
        self._parts = self._prepared(config)

    def _prepared(self, config: Config) -> Parts:
        """Put the parts together; nothing begins before it is started."""
        pace = Pace(config.api.requests_per_minute)
        asking, sending = (self._connect(config, pace, urgent=urgent) for urgent in (False, True))
        loop = Loop(config, self._mirror, asking, sending, pace, met=self._ready)
        following = Following(config, self._mirror, loop.hint)
        for client in (asking, sending):
            client.on_answer = following.requested
        return Parts(asking, sending, loop, following)

    def _ready(self) -> None:
        self._systemd.tell(READY)

    def start(self) -> None:
        """Let the passes begin."""
        self._systemd.status("asking the service")
        self._parts.start()
        self._begun, self._held_up = True, ""

    def wait(self) -> int:
        """Wait for a signal and return its number; meanwhile see that all goes its way."""
        watchdog_s = self._systemd.watchdog_s
        beat_s = min(BEAT_S, watchdog_s / 3) if watchdog_s else BEAT_S
        while (number := signals.wait(beat_s)) is None:
            if not self._begun:
                self._begin_anew()
            self._parts.loop.beat()
            self._feed()
            self._tell_status()
        return number

    def _feed(self) -> None:
        """Keep systemd from ending us, unless something has come to a stand."""
        stuck = self._parts.loop.stuck()
        if stuck is None:
            self._systemd.tell("WATCHDOG=1")
        elif stuck != self._stuck:
            log.error("daemon.stuck", what=stuck)
        self._stuck = stuck

    def reload(self, reread: Callable[[], tuple[Config, Path]]) -> None:
        """Go on with the configuration as it is now; with the one we have if it has mistakes."""
        self._systemd.reloading()
        try:
            config, mirror = reread()
            prepared = self._prepared(config)
            if mirror != self._mirror:
                log.error(
                    "configuration.needs_restart", mirror=str(mirror), until=str(self._mirror)
                )
        except ConfigError as exc:
            log.error("configuration.kept", mistakes=str(exc))
            self._systemd.status("the configuration has mistakes, the former one stays in force")
            self._ready()
            return
        # A pass that waits for another writer is waited for: nobody else would start us again.
        self.stop(os.EX_TEMPFAIL, BUSY_S)
        self._parts, self._begun = prepared, False
        log.info("configuration.reread")
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Let the passes begin; at the next beat, where another program holds the mirror now."""
        try:
            self.start()
        except SemysyncError as exc:
            if str(exc) != self._held_up:
                log.error("daemon.held_up", error=str(exc))
            self._held_up = str(exc)

    def stop(self, code: int = 0, longer_s: float = 0) -> None:
        """Stop; what does not come to an end is left to the end of the process."""
        left = self._parts.stop(longer_s)
        if left:
            # Waiting for a name server or a connection, which nothing can break off. The mirror
            # takes no harm by it: this is how any kill ends it.
            log.warning("daemon.abandoned", threads=sorted(left))
            sys.stderr.flush()
            os._exit(code)

    def _tell_status(self) -> None:
        """Renew what `systemctl status` shows."""
        said, at_s = self._said
        now_s = time.monotonic()
        if not self._systemd.listens or now_s - at_s < STATUS_S:
            return
        sentence, is_well = standing(self._mirror, self._parts.loop.loading)
        if sentence != said:
            self._systemd.status(sentence)
        self._said = sentence, now_s if is_well else float("-inf")
