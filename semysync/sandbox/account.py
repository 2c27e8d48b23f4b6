"""
The account: what the service holds, and what may happen to it while nobody calls.

Two sorts of callers. The API's methods `select`, `send`, `cancel`, `delete` and read `devices`;
tests and the admin interface make messages appear, change and vanish. All of it is safe to call
from any thread. Time is the injected clock's; the phones catch up with it at each call.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from threading import RLock
from typing import Any, Literal

from semysync.sandbox.clocks import DAY, SECOND, Clock, WallClock, instant, real_clock
from semysync.sandbox.devices import Device, canonical_device, seeded_devices
from semysync.sandbox.filters import id_list, read_filters
from semysync.sandbox.history import Station, mixed
from semysync.sandbox.phones import Arrival, Reply, arrivals, reply_to, ussd_reply
from semysync.sandbox.refusals import RefusalError
from semysync.sandbox.rows import BOXES, Box, Clocks, Row, canonical
from semysync.sandbox.selection import Selection, Wanted
from semysync.sandbox.sending import (
    Ledger,
    Made,
    Parcel,
    check_parcel,
    effect,
    is_ussd,
    stored_phone,
    stored_text,
)
from semysync.sandbox.shelf import Shelf, seeded_shelves
from semysync.sandbox.switches import Switches
from semysync.sandbox.switching import zone_of
from semysync.sandbox.underway import Underway

_FIELDS_OF_DEVICE = {
    "is_arhive": "archived",
    "is_deliv": "reports",
    "is_work": "in_use",
    "power": "power",
}


class Account:
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
        if devices < 1:
            raise ValueError(f"devices must be at least 1, got {devices}")
        if messages < 0:
            raise ValueError(f"messages must be at least 0, got {messages}")
        self._lock = RLock()
        self._clock = clock or real_clock
        self._start = self._now()
        self.devices = {device.id: device for device in seeded_devices(devices, self._start)}
        self._shelves = seeded_shelves(
            messages,
            seed=seed,
            start=self._start,
            stations=[Station(device.id, device.type) for device in self.devices.values()],
            overlapping=switches is not None and switches.id_spaces == "overlapping",
        )
        self._phone_clocks: dict[int, WallClock] = {}
        self._underway = Underway()
        self._ghosts: dict[int, Row] = {}  # deleted while they waited, and sent all the same
        self._replies: list[Reply] = []
        self._arrived = self._start
        self._turn = 0
        self._shown_late = 0
        self._lists = 0
        self.ledger = Ledger()
        #: hears, if set, of each message that comes in, and of each that was sent or delivered
        self.tell: Callable[[Row, Clocks], None] | None = None
        self.plan: dict[str, Any] = {
            "id_user": 24,
            "is_pay": 1,
            "type_premium": 1,
            "date_end_premium": None,
            "messages_premium": 1730,
        }
        self._switch(switches or Switches())
        self._fill_balance()

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
            if switches.balance != before.balance:
                self._fill_balance()
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
                return dict(self.plan)
            ended = self.clocks.server.seconds(self._start - DAY)
            return {**self.plan, "is_pay": 0, "date_end_premium": ended}

    def device_rows(self) -> list[dict[str, Any]]:
        """The devices in canonical form, by id."""
        with self._lock:
            now = self.advance()
            return [
                canonical_device(device, now=now, start=self._start, clocks=self.clocks)
                for _, device in sorted(self.devices.items())
            ]

    def send(
        self, parcels: Sequence[Parcel | RefusalError], *, method: Literal["sms", "sms_more"]
    ) -> list[Made | RefusalError]:
        """
        Take messages for sending: each becomes one row of one device, or stands as its refusal.

        What a single text, or what the switches let refuse a whole batch, is raised.
        """
        with self._lock:
            now = self.advance()
            self.ledger.carried_out += 1
            if self.switches.plan == "ended":
                raise RefusalError("plan")
            looked_at = self._looked_at(parcels)
            manner = self.switches.batch_bad_item if method == "sms_more" else "none_taken"
            refusals = [one for one in looked_at if isinstance(one, RefusalError)]
            if refusals and manner == "none_taken":
                raise refusals[0]
            outcome: list[Made | RefusalError] = []
            for one in looked_at:
                if not isinstance(one, RefusalError):
                    outcome.append(self._make(*one, method, now))
                elif manner == "before_taken":
                    raise one
                else:
                    outcome.append(one)
            return outcome

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

    # How it does it

    def _now(self) -> int:
        return instant(self._clock())

    def _switch(self, switches: Switches) -> None:
        self.switches = switches
        self.clocks = Clocks(
            WallClock(zone_of(switches.server_zone)),
            WallClock(zone_of(switches.phone_zone), switches.phone_skew_s),
            dict(self._phone_clocks),
        )

    def _reschedule(self) -> None:
        self._underway.reschedule(self.devices, self.switches.phone_speed)

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

    def _looked_at(
        self, parcels: Sequence[Parcel | RefusalError]
    ) -> list[tuple[Parcel, Device] | RefusalError]:
        """Each text with its device, or with what speaks against it; nothing is made yet."""
        looked_at: list[tuple[Parcel, Device] | RefusalError] = []
        my_ids: set[str] = set()
        good = 0
        for parcel in parcels:
            try:
                if isinstance(parcel, RefusalError):
                    raise parcel
                self._check_state(parcel, my_ids, good)
                looked_at.append((parcel, self._pick(parcel.device)))
                good += 1
                if parcel.my_id is not None:
                    my_ids.add(parcel.my_id)
            except RefusalError as refusal:
                looked_at.append(refusal)
        return looked_at

    def _check_state(self, parcel: Parcel, my_ids: AbstractSet[str], good: int) -> None:
        """Refuse a text, after `good` others of the same request with `my_ids`."""
        check_parcel(parcel, self.switches)
        if (
            self.switches.my_id_repeated == "refused"
            and parcel.my_id is not None
            and (parcel.my_id in my_ids or self.ledger.first_of(parcel.my_id))
        ):
            raise RefusalError("my_id")
        if self.switches.balance >= 0 and self.plan["messages_premium"] <= good:
            raise RefusalError("balance")

    def _make(
        self, parcel: Parcel, device: Device, method: Literal["sms", "sms_more"], now: int
    ) -> Made:
        """Take one message, in the form and the place that the switches give it."""
        switches = self.switches
        first = self.ledger.first_of(parcel.my_id)
        if first is not None and switches.my_id_repeated == "first_id":
            return first
        if isinstance(self.plan["messages_premium"], int):
            self.plan["messages_premium"] -= 1
        phone = stored_phone(parcel.phone, switches.phone_stored)
        text = stored_text(parcel, switches)
        holder = self._other_device(device) if switches.moved == "at_once" else device
        row = self._new_sent(phone, text, holder, now, hidden=switches.sent_visible == "never")
        row.is_ussd = is_ussd(parcel.text, switches)
        if switches.sent_visible == "after_lists":
            row.visible_after_lists = self._lists + switches.sent_visible_lists
        self._add(row, {})
        if switches.sent_visible == "after_s":
            row.visible_from = now + int(switches.visible_after_s * SECOND)
        made = Made(
            self.ledger.carried_out,
            method,
            row.id,
            parcel.my_id,
            parcel.phone,
            parcel.text,
            parcel.device,
            device.id,
            now,
        )
        self.ledger.add(made)
        return made

    def _pick(self, text: str) -> Device:
        """The device for a text to send: ids joined by commas, or `active`, each in turn."""
        switches, text = self.switches, text.strip()
        if switches.send_several == "refused" and (text == "active" or "," in text):
            raise RefusalError("device")
        if text == "active":
            ready = [device for device in self.devices.values() if device.is_ready]
            if not ready:
                raise RefusalError("no_active_device")
        else:
            named = (self.devices.get(id_) for id_ in id_list(text))
            ready = [
                device
                for device in named
                if device is not None
                and (switches.device_archived == "waits" or not device.archived)
            ]
            if not ready:
                raise RefusalError("device")
            if switches.device_off == "refused":
                ready = [device for device in ready if device.power]
            if not ready:
                raise RefusalError("offline")
        self._turn += 1
        return ready[(self._turn - 1) % len(ready)]

    def _other_device(self, device: Device) -> Device:
        """The next device of the same type that is ready, or of any type; else the same."""
        ready = [other for _, other in sorted(self.devices.items()) if other.is_ready]
        others = [other for other in ready if other.id > device.id] + ready
        alike = (other for other in others if other.type == device.type and other is not device)
        any_other = (other for other in others if other is not device)
        return next(alike, next(any_other, device))

    def _fetched(self, row: Row) -> None:
        """A phone has fetched the message: under some switch, it was another one than asked for."""
        device = self.devices.get(row.device_id)
        if self.switches.moved == "on_fetch" and device is not None and not row.is_out:
            other = self._other_device(device)
            row.device_id, row.type = other.id, other.type

    def _tell(self, row: Row) -> None:
        if self.tell:
            self.tell(row, self.clocks)

    def _fill_balance(self) -> None:
        if self.switches.balance >= 0:
            self.plan["messages_premium"] = self.switches.balance

    def _is_shown(self, row: Row, now: int) -> bool:
        return not row.hidden and row.visible_from <= now and row.visible_after_lists <= self._lists

    def _new_sent(self, phone: str, text: str, device: Device, made: int, *, hidden: bool) -> Row:
        id_ = self._shelves["sent"].new_id()
        return Row("sent", id_, device.id, device.type, phone, text, made, hidden=hidden)

    def _add(self, row: Row, raw: Mapping[str, Any]) -> Row:
        """Put a new row on its shelf, under the rule of visibility, and its phone to work."""
        if self.switches.visibility == "out_of_order":
            self._shown_late += 1
            if self._shown_late % 2:
                row.visible_from = self._now() + int(self.switches.visible_after_s * 1_000_000)
        row.override(raw)
        self._shelves[row.box].add(row)
        if row.box == "inbox":
            self._tell(row)
        if row.box == "sent":
            device = self.devices.get(row.device_id)
            self._underway.add(row, device, self.switches.phone_speed)
        return row

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

    def _add_received(self, device: Device, phone: str, text: str, at: int) -> None:
        id_ = self._shelves["inbox"].new_id()
        self._add(Row("inbox", id_, device.id, device.type, phone, text, at), {})

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
