"""
A row of a box, and its canonical form: what the service means before any switch bends the answer.

Field names, and which of them a box has, are documented; which clock prints which date is likely,
for `cancel` and `error_date` unknown (here: the server's and the phone's).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from semysync.sandbox.clocks import WallClock

Box = Literal["inbox", "sent"]
BOXES: tuple[Box, ...] = ("inbox", "sent")

#: The value that makes a field be left out of a row. For `id`, None does the same.
MISSING: Any = type("Missing", (), {"__repr__": lambda _self: "MISSING"})()


class Verbatim(str):
    """Text that stands in an answer as it is, JSON or not."""

    __slots__ = ()


@dataclass(slots=True)
class Row:
    """A message as the account holds it. Times are instants; what has not happened is None."""

    box: Box
    id: int
    device_id: int
    type: int
    phone: str
    text: str
    at: int  #: made (sent), or arrived at the phone (inbox)
    is_out: int = 0
    fetched: int | None = None
    sent: int | None = None
    delivered: int | None = None
    cancelled: int | None = None
    send_failed: int | None = None
    delivery_failed: int | None = None
    hidden: bool = False
    visible_from: int = 0
    visible_after_lists: int = 0  #: of the account's whole life
    is_ussd: bool = False
    raw: dict[str, Any] | None = None  #: fields that tests have overridden

    @property
    def is_open(self) -> bool:
        """Whether a phone may still change this row."""
        return (
            self.delivered is None
            and self.cancelled is None
            and self.send_failed is None
            and self.delivery_failed is None
        )

    def override(self, fields: Mapping[str, Any]) -> None:
        """Print these fields whatever happens; filters by device and phone follow."""
        if fields.get("id") is not None:
            raise ValueError("an id can be taken away with id=None, not changed")
        if fields:
            self.raw = {**(self.raw or {}), **fields}
        if isinstance(fields.get("id_device"), int):
            self.device_id = fields["id_device"]
        if isinstance(fields.get("phone"), str):
            self.phone = fields["phone"]


@dataclass(frozen=True, slots=True)
class Clocks:
    """The server's clock, the phones', and those of single phones that differ."""

    server: WallClock
    phones: WallClock
    by_device: Mapping[int, WallClock]

    def phone(self, device_id: int) -> WallClock:
        return self.by_device.get(device_id, self.phones)


def canonical(row: Row, clocks: Clocks) -> dict[str, Any]:
    """The row with whole numbers, 0/1 flags and six-digit server dates, in documented key order."""
    fields = _inbox_fields(row, clocks) if row.box == "inbox" else _sent_fields(row, clocks)
    if row.raw:
        fields |= row.raw
        fields = {
            name: value
            for name, value in fields.items()
            if value is not MISSING and not (name == "id" and value is None)
        }
    return fields


def _inbox_fields(row: Row, clocks: Clocks) -> dict[str, Any]:
    return {
        "id": row.id,
        "phone": row.phone,
        "date": clocks.phone(row.device_id).seconds(row.at),
        "msg": row.text,
        "id_device": row.device_id,
        "type": row.type,
    }


def _sent_fields(row: Row, clocks: Clocks) -> dict[str, Any]:
    server, phone = clocks.server.micros, clocks.phone(row.device_id).seconds
    failed = row.send_failed if row.send_failed is not None else row.delivery_failed
    return {
        "id": row.id,
        "phone": row.phone,
        "date": server(row.at),
        "msg": row.text,
        "id_device": row.device_id,
        "send_to_phone": None if row.fetched is None else server(row.fetched),
        "is_send_to_phone": int(row.fetched is not None),
        "is_send": int(row.sent is not None),
        "send": None if row.sent is None else phone(row.sent),
        "is_delivered": int(row.delivered is not None),
        "delivered": None if row.delivered is None else phone(row.delivered),
        "is_cancel": int(row.cancelled is not None),
        "cancel": None if row.cancelled is None else server(row.cancelled),
        "is_error": int(row.delivery_failed is not None),
        "is_error_send": int(row.send_failed is not None),
        "error_date": None if failed is None else phone(failed),
        "is_out": row.is_out,
        "type": row.type,
    }
