"""Sent messages that a phone may still change, each looked at only when something is due to it."""

import heapq
from collections.abc import Callable, Iterator, Mapping

from semysync.sandbox.devices import Device
from semysync.sandbox.phones import next_due, progress
from semysync.sandbox.rows import Row


class Underway:
    """The rows on their way, by when their next arrow is due. Not locked: the account sees to it."""

    def __init__(self) -> None:
        self._rows: dict[int, Row] = {}
        self._due: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        """The rows, the oldest first."""
        return iter(self._rows.values())

    def add(self, row: Row, device: Device | None, speed: float) -> None:
        self._rows[row.id] = row
        self._await(row, device, speed)

    def discard(self, id_: int) -> None:
        self._rows.pop(id_, None)

    def reschedule(self, devices: Mapping[int, Device], speed: float) -> None:
        """Look at every row again: devices, or the speed of all phones, have changed."""
        self._due.clear()
        for row in self._rows.values():
            self._await(row, devices.get(row.device_id), speed)

    def settle(
        self,
        devices: Mapping[int, Device],
        speed: float,
        now: int,
        *,
        fetched: Callable[[Row], None],
        reported: Callable[[Row], None],
    ) -> Iterator[Row]:
        """
        Move the rows along up to `now`; yields those that have come to rest, and lets them go.

        `fetched` is called with each that a phone has just fetched, `reported` with each that was
        just sent or delivered.
        """
        while self._due and self._due[0][0] <= now:
            row = self._rows.get(heapq.heappop(self._due)[1])
            if row is None:
                continue
            waited = row.fetched is None
            said = row.sent, row.delivered
            at_rest = progress(row, devices.get(row.device_id), speed=speed, now=now)
            if waited and row.fetched is not None:
                fetched(row)
            if (row.sent, row.delivered) != said:
                reported(row)
            if at_rest:
                del self._rows[row.id]
                yield row
            else:
                self._await(row, devices.get(row.device_id), speed)

    def _await(self, row: Row, device: Device | None, speed: float) -> None:
        at = next_due(row, device, speed=speed)
        if at is not None:
            heapq.heappush(self._due, (at, row.id))
