"""
What the account holds, and what happens to it as time goes on.

Time is the injected clock's; nothing happens until somebody looks: `advance` lets the phones catch
up, replies come in, and messages turn up by themselves. What is done to it is in `account`.
"""

import heapq
from collections.abc import Callable, Mapping
from threading import RLock
from typing import Any

from semysync.sandbox.clocks import DAY, SECOND, Clock, WallClock, instant
from semysync.sandbox.devices import Device, another, seeded_devices
from semysync.sandbox.history import Station, mixed
from semysync.sandbox.phones import Arrival, Reply, arrivals, reply_to, ussd_reply
from semysync.sandbox.rows import BOXES, Box, Clocks, Row
from semysync.sandbox.selection import Selection, Wanted
from semysync.sandbox.shelf import Shelf, seeded_shelves
from semysync.sandbox.switches import Switches
from semysync.sandbox.switching import zone_of
from semysync.sandbox.underway import Underway


class Holdings:
    """Devices, both boxes, and what is on its way. Its methods are safe to call from any thread."""

    def __init__(
        self, *, messages: int, devices: int, seed: int, switches: Switches, clock: Clock
    ) -> None:
        if devices < 1:
            raise ValueError(f"devices must be at least 1, got {devices}")
        if messages < 0:
            raise ValueError(f"messages must be at least 0, got {messages}")
        self._lock = RLock()
        self._clock = clock
        self._start = self._now()
        self.devices = {device.id: device for device in seeded_devices(devices, self._start)}
        self._shelves = seeded_shelves(
            messages,
            seed=seed,
            start=self._start,
            stations=[Station(device.id, device.type) for device in self.devices.values()],
            overlapping=switches.id_spaces == "overlapping",
        )
        self._phone_clocks: dict[int, WallClock] = {}
        self._underway = Underway()
        self._ghosts: dict[int, Row] = {}  # deleted while they waited, and sent all the same
        self._replies: list[Reply] = []
        self._arrived = self._start
        self._shown_late = 0
        self._lists = 0
        #: hears, if set, of each message that comes in, and of each that was sent or delivered
        self.tell: Callable[[Row, Clocks], None] | None = None
        self._switch(switches)

    def advance(self) -> int:
        """Let everything happen that is due; returns the present instant."""
        with self._lock:
            now = self._now()
            every_s = self.switches.arrivals_every_s
            for arrival in arrivals(self._arrived, now, every_s):
                self._arrived = arrival.at
                self._arrive(arrival)
            speed = self.switches.phone_speed
            settled = self._underway.settle(
                self.devices, speed, now, fetched=self._fetched, reported=self._tell
            )
            for row in settled:
                self._expect_reply(row, speed)
            while self._replies and self._replies[0].at <= now:
                self._take_reply(heapq.heappop(self._replies))
            return now

    def select(self, box: Box, wanted: Wanted) -> Selection:
        """The rows that pass and are shown now."""
        with self._lock:
            now = self.advance()
            days = self.switches.retention_days
            return self._shelf(box).select(
                wanted,
                now=now,
                kept_from=now - days * DAY if days else None,
                lists=self._lists,
            )

    # What happens by itself

    def _arrive(self, arrival: Arrival) -> None:
        """A message turns up by itself: the words and the contact of some seeded one, made new."""
        ready = [device for device in self.devices.values() if device.is_ready]
        if not ready:
            return
        device = ready[arrival.choice % len(ready)]
        box: Box = "inbox" if arrival.received else "sent"
        model = self._shelves[box].history.model(mixed(arrival.choice))
        if arrival.received:
            self._add_received(device, model.phone, model.text, arrival.at)
        else:
            self._add(self._new_sent(model.phone, model.text, device, arrival.at, hidden=False), {})

    def _fetched(self, row: Row) -> None:
        """A phone has fetched the message: under some switch, it was another one than asked for."""
        device = self.devices.get(row.device_id)
        if self.switches.moved == "on_fetch" and device is not None and not row.is_out:
            other = another(device, self.devices)
            row.device_id, row.type = other.id, other.type

    def _expect_reply(self, row: Row, speed: float) -> None:
        if row.is_ussd:
            named = self.switches.ussd == "named"
            reply = ussd_reply(row, speed, named=named)
            if reply and self.switches.ussd != "silent":
                heapq.heappush(self._replies, reply)
        elif self.switches.answers == "on" and (reply := reply_to(row, speed)):
            heapq.heappush(self._replies, reply)

    def _take_reply(self, reply: Reply) -> None:
        device = self.devices.get(reply.device_id)
        if device is not None:
            self._add_received(device, reply.phone, reply.text, reply.at)

    def _tell(self, row: Row) -> None:
        if self.tell:
            self.tell(row, self.clocks)

    # What is done on behalf of others

    def _new_sent(self, phone: str, text: str, device: Device, made: int, *, hidden: bool) -> Row:
        id_ = self._shelves["sent"].new_id()
        return Row("sent", id_, device.id, device.type, phone, text, made, hidden=hidden)

    def _add_received(self, device: Device, phone: str, text: str, at: int) -> None:
        id_ = self._shelves["inbox"].new_id()
        self._add(Row("inbox", id_, device.id, device.type, phone, text, at), {})

    def _add(self, row: Row, raw: Mapping[str, Any]) -> Row:
        """Put a new row on its shelf, under the rule of visibility, and its phone to work."""
        if self.switches.visibility == "out_of_order":
            self._shown_late += 1
            if self._shown_late % 2:
                row.visible_from = self._now() + int(self.switches.visible_after_s * SECOND)
        row.override(raw)
        self._shelves[row.box].add(row)
        if row.box == "inbox":
            self._tell(row)
        if row.box == "sent":
            device = self.devices.get(row.device_id)
            self._underway.add(row, device, self.switches.phone_speed)
        return row

    def _is_shown(self, row: Row, now: int) -> bool:
        return not row.hidden and row.visible_from <= now and row.visible_after_lists <= self._lists

    def _shelf(self, box: Box) -> Shelf:
        if box not in BOXES:
            raise ValueError(f"box must be inbox or sent, got {box!r}")
        return self._shelves[box]

    def _take(self, box: Box, id_: int) -> Row:
        """The row with this id, to be changed."""
        self.advance()
        row = self._shelf(box).take(id_)
        if row is None:
            raise ValueError(f"no message {id_} in {box}")
        return row

    def _device(self, id_: int | None) -> Device:
        """The device named, or the first that is ready, or the first."""
        if id_ is not None:
            if id_ not in self.devices:
                raise ValueError(f"no device {id_} in the account")
            return self.devices[id_]
        if not self.devices:
            raise ValueError("the account has no devices")
        everyone = self.devices.values()
        return next((device for device in everyone if device.is_ready), next(iter(everyone)))

    def _switch(self, switches: Switches) -> None:
        self.switches = switches
        self.clocks = Clocks(
            WallClock(zone_of(switches.server_zone)),
            WallClock(zone_of(switches.phone_zone), switches.phone_skew_s),
            dict(self._phone_clocks),
        )

    def _reschedule(self) -> None:
        self._underway.reschedule(self.devices, self.switches.phone_speed)

    def _now(self) -> int:
        return instant(self._clock())
