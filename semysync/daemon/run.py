"""
The process: it takes the lock, starts the loop and the sender, and waits for a signal.

There is no handler and so no race: signals are blocked and waited for.
"""

import signal
from pathlib import Path

import structlog

from semysync import __version__
from semysync.config import Config
from semysync.daemon.loop import Loop
from semysync.follow.hooks import Followers
from semysync.mirror.lock import Lock, Right
from semysync.mirror.store import Store
from semysync.service.client import Client
from semysync.service.pace import Pace

log = structlog.get_logger("semysync")

STOPPING = {signal.SIGTERM, signal.SIGINT}


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
        loop = Loop(config, mirror, client, sending, pace)
        followers = Followers(config.hook, mirror, region=config.contacts.region)
        followers.start()
        loop.start()
        log.info("daemon.started", mirror=str(mirror), version=__version__)
        number = signal.sigwait(STOPPING)
        log.info("daemon.stopping", signal=signal.Signals(number).name)
        _let_a_second_signal_kill()
        loop.stop()
        followers.stop()
        log.info("daemon.stopped")


def _let_a_second_signal_kill() -> None:
    """End at once for who will not wait for an answer: like any kill, it leaves nothing half."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
