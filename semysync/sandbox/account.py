"""
The account: what the service's methods, and those who play with the stand-in, do to what it holds.

Two sorts of callers. The API's methods `select`, `send`, `cancel`, `delete` and read `devices`;
tests and the admin interface make messages appear, change and vanish. What it holds, and what
happens to that by itself, is in `holdings`; how messages are taken for sending in `taking`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from semysync.sandbox.clocks import DAY, SECOND, Clock, WallClock, instant, real_clock
from semysync.sandbox.devices import Device, another, canonical_device
from semysync.sandbox.filters import read_filters
from semysync.sandbox.holdings import Holdings
from semysync.sandbox.refusals import Refusal
from semysync.sandbox.rows import BOXES, Box, Row, canonical
from semysync.sandbox.selection import Selection, Wanted
from semysync.sandbox.sending import (
    Ledger,
    Made,
    Parcel,
    effect,
    is_ussd,
    stored_phone,
    stored_text,
)
from semysync.sandbox.switches import Switches
from semysync.sandbox.switching import zone_of
from semysync.sandbox.taking import Desk

_FIELDS_OF_DEVICE = {
    "is_arhive": "archived",
    "is_deliv": "reports",
    "is_work": "in_use",
    "power": "power",
}


class Account(Holdings):
    """One SemySMS account."""

    def __init__(
        self,
        *,
        messages: int = 3000,
        devices: int = 3,
        seed: int = 1,
        switches: Switches | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(
            messages=messages,
            devices=devices,
            seed=seed,
            switches=switches or Switches(),
            clock=clock or real_clock,
        )
        self._desk = Desk(self.devices, self.switches)

    @property
    def ledger(self) -> Ledger:
        """What send requests have made, and how many there were."""
        return self._desk.ledger

    # What tests do to it

    def receive(
        self,
        phone: str,
        text: str,
        device_id: int | None = None,
        *,
        at: datetime | None = None,
        hidden: bool = False,
        **raw_overrides: Any,
    ) -> int:
        """
        A message arrives at a phone; returns its id.

        `at` is when the phone got it, printed in the phone's clock; an old one is a late upload.
        """
        with self._lock:
            now = self.advance()
            device = self._device(device_id)
            return self._add(
                Row(
                    "inbox",
                    self._shelves["inbox"].new_id(),
                    device.id,
                    device.type,
                    phone,
                    text,
                    now if at is None else instant(at),
                    hidden=hidden,
                ),
                raw_overrides,
            ).id

    def sent_elsewhere(
        self,
        phone: str,
        text: str,
        device_id: int | None = None,
        *,
        is_out: int = 0,
        hidden: bool = False,
        at: datetime | None = None,
        **raw_overrides: Any,
    ) -> int:
        """Someone else sends: the panel, another client, or a person on the phone (is_out=1)."""
        with self._lock:
            now = self.advance()
            made = now if at is None else instant(at)
            row = self._new_sent(phone, text, self._device(device_id), made, hidden=hidden)
            if is_out:
                row.is_out, row.fetched, row.sent = is_out, made, made
            return self._add(row, raw_overrides).id

    def reveal(self, box: Box, id_: int) -> None:
        """Show a hidden row: its id is now lower than some that have been seen."""
        with self._lock:
            row = self._take(box, id_)
            row.hidden, row.visible_from, row.visible_after_lists = False, 0, 0

    def reveal_all(self) -> list[int]:
        """Show every sent row that is still hidden; returns their ids."""
        with self._lock:
            now = self.advance()
            hidden = [
                row.id for row in self._shelves["sent"].live() if not self._is_shown(row, now)
            ]
            for id_ in hidden:
                self.reveal("sent", id_)
            return hidden

    def effects(self) -> list[dict[str, Any]]:
        """
        Every message that a send request really made, shown or not, in the order of their making.

        Fields are those of `Made`, `shown` (by the lists), `kept` (not deleted since), and what the
        row holds: `stored_phone`, `stored_text`, `stored_device_id`.
        """
        with self._lock:
            now = self.advance()
            found = [(made, self._shelves["sent"].find(made.id)) for made in self.ledger.made]
            return [
                effect(made, row, shown=row is not None and self._is_shown(row, now))
                for made, row in found
            ]

    def change(self, box: Box, id_: int, **raw_fields: Any) -> None:
        """
        Override fields of a row as they are printed, whatever the phones do to it later.

        `id=None` leaves the id out, `MISSING` any other field; `Verbatim` text is written as it
        stands. Filters by device and phone follow the change, filters by date do not.
        """
        with self._lock:
            self._take(box, id_).override(raw_fields)

    def forget_effects(self) -> None:
        """Let `effects` and the counts of requests begin anew; the messages stay."""
        with self._lock:
            self.ledger.forget()

    def remove(self, box: Box, ids: Iterable[int]) -> list[int]:
        """Rows vanish (panel, another client, retention); returns the ids that were there."""
        with self._lock:
            removed = self._shelf(box).remove(ids)
            if box == "sent":
                for id_ in removed:
                    self._underway.discard(id_)
            return removed

    def reuse_ids(self, box: Box, ids: Iterable[int]) -> None:
        """A reset: these rows are gone, and the next new rows take their ids, in this order."""
        with self._lock:
            again = list(ids)
            self.remove(box, again)
            self._shelf(box).reuse(again)

    def rows(self, box: Box) -> Iterator[dict[str, Any]]:
        """Every row that is shown now, ascending, in canonical form: the truth of a mirror."""
        with self._lock:
            selection, clocks = self.select(box, Wanted()), self.clocks
        return (canonical(row, clocks) for row in selection)

    def row(self, box: Box, id_: int) -> dict[str, Any]:
        """One row in canonical form, shown or hidden."""
        with self._lock:
            self.advance()
            row = self._shelf(box).find(id_)
            if row is None:
                raise ValueError(f"no message {id_} in {box}")
            return canonical(row, self.clocks)

    def ids(self, box: Box) -> list[int]:
        """The ids of all rows that are shown now, ascending."""
        with self._lock:
            return [row.id for row in self.select(box, Wanted())]

    def add_device(self, **fields: Any) -> int:
        """
        A new device; returns its id.

        `fields` are those of `Device` (type, name, power ...); the id is chosen unless given.
        """
        with self._lock:
            fields.setdefault("id", max(self.devices, default=352_000) + 37)
            device = Device(**{"on_since": self._now(), **fields})
            self.devices[device.id] = device
            return device.id

    def remove_device(self, id_: int) -> None:
        """The device is gone from devices.php; its messages stay."""
        with self._lock:
            del self.devices[self._device(id_).id]
            self._reschedule()

    def archive_device(self, id_: int) -> None:
        """The device is archived in the panel: listed, but it fetches nothing more."""
        self.change_device(id_, is_arhive=1)

    def change_device(self, id_: int, **raw_fields: Any) -> None:
        """Override printed fields of a device; power, is_work, is_deliv, is_arhive take effect."""
        with self._lock:
            now = self.advance()
            device = self._device(id_)
            for name, value in raw_fields.items():
                if name in _FIELDS_OF_DEVICE and isinstance(value, int) and value in {0, 1}:
                    setattr(device, _FIELDS_OF_DEVICE[name], bool(value))
                    device.raw.pop(name, None)
                else:
                    device.raw[name] = value
            if device.power and not device.archived:
                device.on_since = device.on_since if device.seen is None else now
                device.seen = None
            else:
                device.seen = now if device.seen is None else device.seen
            self._reschedule()

    def phone_clock(self, device_id: int, zone: str, skew_s: float = 0) -> None:
        """Give one phone a clock of its own, in place of phone_zone and phone_skew_s."""
        with self._lock:
            self._phone_clocks[self._device(device_id).id] = WallClock(zone_of(zone), skew_s)
            self._switch(self.switches)

    def use(self, switches: Switches) -> None:
        """Go on under other switches."""
        with self._lock:
            now = self.advance()
            before = self.switches
            if switches.id_spaces != before.id_spaces:
                raise ValueError("id_spaces is fixed when the stand-in starts")
            self._switch(switches)
            self._desk.use(switches)
            if switches.phone_speed != before.phone_speed:
                for device in self.devices.values():
                    device.on_since = now
                self._reschedule()
            if switches.arrivals_every_s != before.arrivals_every_s:
                self._arrived = now

    def state(self) -> dict[str, Any]:
        """Counts and highest ids, for people who look."""
        with self._lock:
            self.advance()
            shown = {box: self.select(box, Wanted()) for box in BOXES}
            return {
                "messages": {box: len(rows) for box, rows in shown.items()},
                "top_ids": {box: rows[len(rows) - 1].id for box, rows in shown.items() if rows},
                "devices": len(self.devices),
                "on_their_way": len(self._underway),
            }

    # What the API's methods do

    def wanted(self, box: Box, params: Mapping[str, str]) -> Wanted:
        """The filters of a list or delete call."""
        with self._lock:
            return read_filters(
                box,
                params,
                switches=self.switches,
                clocks=self.clocks,
                devices=self.devices,
                now=self._now(),
            )

    def count_send_request(self) -> None:
        """A call of sms or sms_more has arrived, whatever becomes of it."""
        with self._lock:
            self.ledger.requests += 1

    def listed(self, box: Box, wanted: Wanted) -> Selection:
        """What a list method answers with; those of the sent box are counted."""
        with self._lock:
            selection = self.select(box, wanted)
            self._lists += box == "sent"
            return selection

    def plan_shown(self) -> dict[str, Any]:
        """The plan, as user.php prints it."""
        with self._lock:
            if self.switches.plan == "in_force":
                return dict(self._desk.plan)
            ended = self.clocks.server.seconds(self._start - DAY)
            return {**self._desk.plan, "is_pay": 0, "date_end_premium": ended}

    def device_rows(self) -> list[dict[str, Any]]:
        """The devices in canonical form, by id."""
        with self._lock:
            now = self.advance()
            return [
                canonical_device(device, now=now, start=self._start, clocks=self.clocks)
                for _, device in sorted(self.devices.items())
            ]

    def send(
        self, parcels: Sequence[Parcel | Refusal], *, method: Literal["sms", "sms_more"]
    ) -> list[Made | Refusal]:
        """
        Take messages for sending: each becomes one row of one device, or stands as its refusal.

        What a single text, or what the switches let refuse a whole batch, is raised.
        """
        with self._lock:
            now = self.advance()
            return self._desk.take(
                parcels, method, now, lambda parcel, device: self._make(parcel, device, now)
            )

    def cancel(self, *, id_: int | None = None, device_id: int | None = None) -> int:
        """Cancel what still waits, of one message or of a device; returns how many it was."""
        with self._lock:
            now = self.advance()
            waiting = [
                row
                for row in self._underway
                if row.fetched is None
                and (id_ is None or row.id == id_)
                and (device_id is None or row.device_id == device_id)
            ]
            if self.switches.cancel_comes == "too_late":
                for row in waiting:
                    row.fetched = now
                    self._fetched(row)
                self._reschedule()
                return 0
            for row in waiting:
                row.cancelled = now
                self._underway.discard(row.id)
            return len(waiting)

    def delete(self, box: Box, ids: Iterable[int]) -> None:
        """Rows are deleted by a call; what waits is then not sent, unless a switch says so."""
        with self._lock:
            waiting = {row.id: row for row in self._underway if row.fetched is None}
            removed = self.remove(box, ids)
            if box == "sent" and self.switches.deleted_waiting == "sent":
                for id_ in waiting.keys() & set(removed):
                    self._ghosts[id_] = waiting[id_]
                    device = self.devices.get(waiting[id_].device_id)
                    self._underway.add(waiting[id_], device, self.switches.phone_speed)

    def sent_though_deleted(self) -> list[int]:
        """The messages that a phone has sent after they were deleted."""
        with self._lock:
            self.advance()
            return sorted(id_ for id_, row in self._ghosts.items() if row.sent is not None)

    def _make(self, parcel: Parcel, device: Device, now: int) -> Row:
        """Make a row of a message, in the form and the place that the switches give it."""
        switches = self.switches
        phone = stored_phone(parcel.phone, switches.phone_stored)
        text = stored_text(parcel, switches)
        holder = another(device, self.devices) if switches.moved == "at_once" else device
        row = self._new_sent(phone, text, holder, now, hidden=switches.sent_visible == "never")
        row.is_ussd = is_ussd(parcel.text, switches)
        if switches.sent_visible == "after_lists":
            row.visible_after_lists = self._lists + switches.sent_visible_lists
        self._add(row, {})
        if switches.sent_visible == "after_s":
            row.visible_from = now + int(switches.visible_after_s * SECOND)
        return row
