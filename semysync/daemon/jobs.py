"""
What the daemon does again and again: the passes, how often each, and the step that each takes.

A new pass is a line in `jobs`. All of them are due at once at start. Each kind has a thread of its
own, so that a long one never delays the others; the client they share asks one question at a time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import structlog

from semysync.config import Config
from semysync.errors import MirrorBusy
from semysync.mirror.lock import Lock, Right
from semysync.mirror.store import Store
from semysync.mirror.tables.purges import Purges
from semysync.model import Box
from semysync.passes.outcome import Outcome
from semysync.passes.purge import Purger
from semysync.passes.sync import Sync
from semysync.service.client import Client
from semysync.times import AGREE

log = structlog.get_logger("semysync")

HOUSEKEEPING_S = 3600
LIVELY = {"inbox", "sent"}  #: passes that come sooner after news, which they bring
VERIFY_S = 900  #: … and when it is time to verify
REFRESH_S = 5  #: what is due is decided by the pass itself


@dataclass(frozen=True, slots=True)
class Kit:
    """What a step works with, for one pass: a connection to the mirror belongs to its thread."""

    config: Config
    client: Client
    store: Store
    sync: Sync


Step = Callable[[Kit], Outcome | None]


class Job(NamedTuple):
    """
    A kind of pass: its name in the table `passes`, its interval in seconds, and its step.

    One that `needs_devices` waits until they were asked for since the start, and does nothing as
    long as they never were. One that does not `ask` the service anything comes whether that answers
    or not. A step that comes to nothing has found nothing to ask. Those in `LIVELY` come sooner
    after news.
    """

    name: str
    every_s: int
    step: Step
    needs_devices: bool = False
    asks: bool = True


def jobs(config: Config, look_at_sent: Step) -> list[Job]:
    """List every pass. What was sent is looked at with regard to the drafts that wait for it."""
    pull = config.pull
    boxes = pull.scope != "account"  # as a whole they can be asked for without the devices
    return [
        Job("devices", pull.devices_s, lambda kit: kit.sync.devices()),
        Job("inbox", pull.inbox_s, lambda kit: kit.sync.box(Box.INBOX), needs_devices=boxes),
        Job("sent", pull.sent_s, look_at_sent, needs_devices=boxes),
        Job("account", pull.account_s, lambda kit: kit.sync.account()),
        Job("refresh", REFRESH_S, refresh, needs_devices=True),
        Job("verify", VERIFY_S, verify, needs_devices=True),
        # A step that must not run makes no line: `if` it is enabled.
        *([Job("purge", config.purge.every_s, purge, needs_devices=True)] * config.purge.enabled),
        Job("housekeeping", HOUSEKEEPING_S, housekeeping, asks=False),
    ]


def refresh(kit: Kit) -> Outcome | None:
    """Ask again for sent messages that may have changed, where that is due."""
    return kit.sync.refresh() if kit.sync.refresh_is_due() else None


def verify(kit: Kit) -> Outcome | None:
    """Compare the last days with the account once a day, and put right what differs."""
    if not kit.sync.verify_is_due():
        return None
    since = datetime.now(UTC).date() - timedelta(days=kit.config.pull.verify_days - 1)
    outcome, report = kit.sync.verify(since, repair=True)
    if report and (found := report.audit.counts()):
        log.warning("verify.found", **found, left=report.audit.left())
    for sentence in report.unproven if report else ():
        log.warning("verify.unproven", of=sentence)
    return outcome


def purge(kit: Kit) -> None:
    """Delete at the service what may go, unless a person does that at this moment."""
    config, mirror = kit.config, kit.store.path
    try:
        right = Lock(mirror, Right.PURGE)
    except MirrorBusy:
        return
    with right, Purges(mirror) as purges:
        purger = Purger(
            kit.client,
            kit.store,
            purges,
            kit.sync,
            config.purge,
            region=config.contacts.region,
            backup=config.backup,
            replica=config.replica,
        )
        purger.once()


def housekeeping(kit: Kit) -> None:
    """Forget old events, and give the room of the log back; asks the service nothing."""
    ahead_s = kit.client.ahead_s()
    # A wrong clock must not cost the events.
    if ahead_s is not None and abs(ahead_s) <= AGREE.total_seconds():
        kept = timedelta(days=kit.config.database.events_days)
        named = [hook.name for hook in kit.config.hook if hook.name]
        if forgotten := kit.store.forget_events(datetime.now(UTC), kept, named):
            log.info("events.forgotten", events=forgotten)
    kit.store.give_room_back()
