"""
Cancel messages at the service, and see in their rows what really was cancelled.

`cancel_wanted` is the sender's: the messages of drafts that somebody wants cancelled. `cancel_all`
is a person's: everything that waits at a device. What the service answers says nothing: only
`is_cancel` in a message's row counts.
"""

import sqlite3
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import structlog

from semysync.errors import AnswerLost, Refused, ServiceError, Throttled
from semysync.mirror.outbox import drafts
from semysync.mirror.outbox.queue import LONGEST_PAUSE
from semysync.mirror.outbox.sending import Cancelling, Outbox
from semysync.mirror.store import Store
from semysync.model import Box, Illegible
from semysync.passes.outcome import is_hopeless
from semysync.service.client import Client
from semysync.service.questions import MOST_IDS, Ids

log = structlog.get_logger("semysync")

ASKED_AGAIN = timedelta(seconds=30)


def cancel_wanted(
    outbox: Outbox, client: Client, store: Store, now: Callable[[], datetime]
) -> None:
    """Ask for what is to be cancelled, and then see in the rows what really was."""
    wanted = outbox.cancelling(now())
    if not wanted:
        return
    said, pause = _asked(client, wanted)
    # The others that wait are read as well: a cancel may have hit those.
    devices = store.waiting_messages(MOST_IDS)
    by_device: dict[int | None, list[int]] = {}
    for message_id in dict.fromkeys([*(draft.message_id for draft in wanted), *devices]):
        by_device.setdefault(devices.get(message_id), []).append(message_id)
    try:
        for device_id, ids in by_device.items():
            _read_again(client, store, device_id, ids, now)
    except ServiceError as exc:
        log.warning("cancel.not_seen", error=str(exc))
    for draft in wanted:
        outbox.put_off_cancel(draft.id, said[draft.id], now() + pause)


def _asked(client: Client, wanted: Sequence[Cancelling]) -> tuple[dict[int, str], timedelta]:
    """Ask to cancel; return what came of it, by draft, and how long not to ask again."""
    said: dict[int, str] = {}
    for draft in wanted:
        try:
            client.cancel(draft.message_id)
        except ServiceError as exc:
            said[draft.id] = f"the service has not cancelled it: {exc}"
            if is_hopeless(exc) or not isinstance(exc, Refused):
                # Each of the others would be refused as well, or waited for as long.
                of_others = dict.fromkeys((other.id for other in wanted), said[draft.id])
                return of_others | said, _pause_after(exc)
        else:
            said[draft.id] = "the service was asked to cancel it, and has not done so yet"
    return said, ASKED_AGAIN


def _pause_after(failure: ServiceError) -> timedelta:
    wanted_s = failure.retry_after_s if isinstance(failure, Throttled) else None
    return min(max(ASKED_AGAIN, timedelta(seconds=wanted_s or 0)), LONGEST_PAUSE)


class Cancelled(NamedTuple):
    """What became of a device's messages; `failure` where the service did not confirm it."""

    cancelled: list[int]
    too_late: list[tuple[int, str]]  #: with the status
    waiting: list[int]
    failure: ServiceError | None


def cancel_all(
    client: Client, store: Store, reader: sqlite3.Connection, device_id: int
) -> Cancelled:
    """
    Cancel what a device has not fetched, and read its open messages again.

    A refusal may mean that there was nothing to cancel, and a lost answer may hide a success: the
    rows are read all the same. Raises `ServiceError` where they cannot be.
    """
    ids = drafts.open_messages(reader, device_id)
    failure = None
    try:
        client.cancel_all_waiting(device_id)
    except Throttled:
        raise
    except (AnswerLost, Refused) as exc:
        failure = exc
    read = _read_again(client, store, device_id, ids, lambda: datetime.now(UTC))
    statuses = drafts.statuses(reader, read)
    return Cancelled(
        cancelled=[i for i, status in statuses if status == "cancelled"],
        too_late=[(i, status) for i, status in statuses if status not in {"cancelled", "accepted"}],
        waiting=[i for i, status in statuses if status == "accepted"],
        failure=failure,
    )


def _read_again(
    client: Client,
    store: Store,
    device_id: int | None,
    ids: list[int],
    now: Callable[[], datetime],
) -> list[int]:
    """Store the rows of messages as they are now; return the ids that were shown."""
    shown = []
    for first in range(0, len(ids), MOST_IDS):
        some = tuple(ids[first : first + MOST_IDS])
        as_of = store.newest_event()
        rows = [
            row
            for row in client.sent(Ids(some), device_id)
            if not isinstance(row, Illegible) and row.id in some
        ]
        store.save(Box.SENT, rows, now=now(), as_of=as_of)
        shown += [row.id for row in rows]
    return shown
