"""
Cancel everything that waits at a device, and see in the rows what really was cancelled.

What the service answers says nothing: only `is_cancel` in a message's row counts.
"""

import sqlite3
from datetime import UTC, datetime
from typing import NamedTuple

from semysync.errors import AnswerLost, Refused, ServiceError, Throttled
from semysync.mirror import drafts
from semysync.mirror.store import Store
from semysync.model import Box, Illegible
from semysync.service.client import Client
from semysync.service.questions import MOST_IDS, Ids


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
    read = _read_again(client, store, device_id, ids)
    statuses = drafts.statuses(reader, read)
    return Cancelled(
        cancelled=[i for i, status in statuses if status == "cancelled"],
        too_late=[(i, status) for i, status in statuses if status not in {"cancelled", "accepted"}],
        waiting=[i for i, status in statuses if status == "accepted"],
        failure=failure,
    )


def _read_again(client: Client, store: Store, device_id: int, ids: list[int]) -> list[int]:
    """Store the rows of messages as they are now; return the ids that were shown."""
    shown = []
    for first in range(0, len(ids), MOST_IDS):
        some = tuple(ids[first : first + MOST_IDS])
        rows = [
            row
            for row in client.sent(Ids(some), device_id)
            if not isinstance(row, Illegible) and row.id in some
        ]
        store.save(Box.SENT, rows, now=datetime.now(UTC))
        shown += [row.id for row in rows]
    return shown
