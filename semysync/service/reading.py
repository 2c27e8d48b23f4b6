"""
Make sense of the rows that the service answers with: `each` reads them, as `received` and the like
say.

Nothing here knows HTTP. Numbers may be text, and flags booleans. A value that cannot be understood
never costs the row: it is kept in `extra` under the service's name.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Annotated, Any, TypeVar, cast

import msgspec

from semysync.model import HIGHEST_ID, Account, Device, Illegible, Received, Sent

Row = dict[str, Any]  #: a row as the service prints it; the readers below empty it

Legible = TypeVar("Legible", Received, Sent, Device)

CHANNELS = {0: "sms", 1: "whatsapp", 2: "whatsapp_business"}  # documented
FLAGS = (
    "is_send_to_phone",
    "is_send",
    "is_delivered",
    "is_cancel",
    "is_error",
    "is_error_send",
    "is_out",
)

_as_row = msgspec.json.Decoder(dict[str, Any]).decode


class Unfit(ValueError):
    """A row that cannot be stored under an id."""


def each(
    rows: Iterable[msgspec.Raw | Row], read: Callable[[Row], Legible]
) -> Iterator[Legible | Illegible]:
    """
    Read rows one by one, so that an unreadable one never stops the others.

    A row in its usual form is decoded at once; every other form is taken apart by `read`.
    """
    decode = _USUAL.get(read)
    for raw in rows:
        try:
            if decode and isinstance(raw, msgspec.Raw):
                yield decode(raw).message()
                continue
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
        try:
            yield read(_fields(raw))
        except Unfit as unfit:
            yield Illegible(str(unfit), _text_of(raw))


def received(row: Row) -> Received:
    """Read a row of inbox_sms. Raises `Unfit` without a usable id."""
    rest = _Rest(row)
    return Received(
        id=rest.id(),
        device_id=rest.integer("id_device"),
        phone=rest.text("phone"),
        text=rest.text("msg"),
        channel=rest.channel(),
        received_at=rest.time("date"),
        extra=rest.left(),
    )


def sent(row: Row) -> Sent:
    """Read a row of outbox_sms, in which most fields are optional. Raises `Unfit` without an id."""
    rest = _Rest(row)
    flags = rest.flags(FLAGS)
    return Sent(
        id=rest.id(),
        device_id=rest.integer("id_device"),
        phone=rest.text("phone"),
        text=rest.text("msg"),
        channel=rest.channel(),
        is_send_to_phone=flags["is_send_to_phone"],
        is_send=flags["is_send"],
        is_delivered=flags["is_delivered"],
        is_cancel=flags["is_cancel"],
        is_error=flags["is_error"],
        is_error_send=flags["is_error_send"],
        is_out=flags["is_out"],
        created_at=rest.time("date"),
        handed_at=rest.time("send_to_phone"),
        sent_at=rest.time("send"),
        delivered_at=rest.time("delivered"),
        cancelled_at=rest.time("cancel"),
        failed_at=rest.time("error_date"),
        extra=rest.left(),
    )


def device(row: Row) -> Device:
    """Read a row of devices. `power` is the app's service, not the battery (likely)."""
    rest = _Rest(row)
    return Device(
        id=rest.id(),
        name=rest.text("device_name"),
        label=rest.text("dop_name") or None,
        channel=rest.channel(),
        manufacturer=rest.text("manufacturer"),
        android_version=rest.text("android_version"),
        app_version=rest.text("version"),
        battery=rest.integer("bat"),
        service_on=rest.flag("power"),
        use_for_sending=rest.flag("is_work"),
        reports_on=rest.flag("is_deliv"),
        archived=rest.flag("is_arhive") or 0,
        speed=rest.integer("speed_sms"),
        limit_phone=rest.integer("limit_phone"),
        limit_use=rest.integer("limit_use"),
        limit_at=rest.time("limit_date"),
        limit_period=(rest.text("limit_period") or "").strip() or None,
        last_active_at=rest.time("date_last_active"),
        extra=rest.left(),
    )


def account(answer: Row) -> Account:
    """Read the answer of user, which is one object."""
    rest = _Rest({key: value for key, value in answer.items() if key not in {"code", "error"}})
    return Account(
        user_id=rest.integer("id_user"),
        paid=rest.flag("is_pay"),
        plan_ends_at=rest.time("date_end_premium"),
        messages_left=rest.integer("messages_premium"),
        plan_type=rest.integer("type_premium"),
        extra=rest.left(),
    )


def integer(value: Any) -> int | None:
    """A whole number, also as text; None for everything else."""
    match value:
        case bool():
            return None
        case int():
            return value
        case str() if len(value) < 20 and value.strip().removeprefix("-").isdecimal():
            return int(value)
    return None


def printed(value: str) -> datetime | None:
    """
    Read a printed time: zero to six digits of a second and unpadded numbers occur (documented).

    None for what is no time, or has a zone, which the service has never been seen to print.
    """
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return _unpadded(value)
    return None if moment.tzinfo else moment


def _unpadded(value: str) -> datetime | None:
    for form in ("%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M"):
        try:
            return datetime.strptime(value.strip(), form)  # noqa: DTZ007  it has no zone
        except ValueError:
            continue
    return None


_Id = Annotated[int, msgspec.Meta(ge=1, le=HIGHEST_ID)]
_Int = Annotated[int, msgspec.Meta(ge=-HIGHEST_ID, le=HIGHEST_ID)]
_Flag = Annotated[int, msgspec.Meta(ge=0, le=1)]
_UNSAID = cast("int", None)  #: for a flag that is absent; one that is null is not usual
_Printed = Annotated[datetime, msgspec.Meta(tz=False)]


class _ReceivedRow(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A row of inbox_sms in its usual form."""

    id: _Id
    id_device: _Int | None = None
    phone: str | None = None
    msg: str | None = None
    date: _Printed | None = None
    type: _Int | None = None

    def message(self) -> Received:
        return Received(
            self.id, self.id_device, self.phone, self.msg, _channel(self.type), self.date
        )


class _SentRow(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A row of outbox_sms in its usual form."""

    id: _Id
    id_device: _Int | None = None
    phone: str | None = None
    msg: str | None = None
    date: _Printed | None = None
    is_send_to_phone: _Flag = _UNSAID
    send_to_phone: _Printed | None = None
    is_send: _Flag = _UNSAID
    send: _Printed | None = None
    is_delivered: _Flag = _UNSAID
    delivered: _Printed | None = None
    is_cancel: _Flag = _UNSAID
    cancel: _Printed | None = None
    is_error: _Flag = _UNSAID
    is_error_send: _Flag = _UNSAID
    error_date: _Printed | None = None
    is_out: _Flag = _UNSAID
    type: _Int | None = None

    def message(self) -> Sent:
        # In the order of `Sent`: names would cost more than all else that is done for a row here.
        return Sent(
            self.id,
            self.id_device,
            self.phone,
            self.msg,
            _channel(self.type),
            self.is_send_to_phone,
            self.is_send,
            self.is_delivered,
            self.is_cancel,
            self.is_error,
            self.is_error_send,
            self.is_out,
            self.date,
            self.send_to_phone,
            self.send,
            self.delivered,
            self.cancel,
            self.error_date,
        )


_USUAL: dict[Callable[[Row], Any], Callable[[msgspec.Raw], Any]] = {
    received: msgspec.json.Decoder(_ReceivedRow).decode,
    sent: msgspec.json.Decoder(_SentRow).decode,
}


def _channel(number: int | None) -> str:
    """Before there was WhatsApp there was no `type`, so SMS is what its absence means."""
    return CHANNELS.get(number or 0) or f"type:{number}"


class _Rest:
    """A row from which each field is taken once; what is left, or not understood, is `extra`."""

    __slots__ = ("_odd", "_row")

    def __init__(self, row: Row) -> None:
        self._row = row
        self._odd: dict[str, Any] = {}

    def id(self) -> int:
        value = self._row.pop("id", None)
        number = integer(value)
        if number is None or not 1 <= number <= HIGHEST_ID:
            raise Unfit("no id" if value is None else "the id is no positive whole number")
        return number

    def integer(self, name: str) -> int | None:
        value = self._row.pop(name, None)
        number = integer(value)
        if number is not None and -HIGHEST_ID <= number <= HIGHEST_ID:
            return number
        self._keep(name, value)
        return None

    def flag(self, name: str) -> int | None:
        value = self._row.pop(name, None)
        if value is None or (type(value) is int and value in {0, 1}):
            return value
        if isinstance(value, bool):
            return int(value)
        known = {"0": 0, "1": 1, "false": 0, "true": 1}
        understood = known.get(value.strip().lower()) if isinstance(value, str) else None
        if understood is None:
            self._keep(name, value)
        return understood

    def flags(self, names: Sequence[str]) -> dict[str, int | None]:
        """Read flags that belong together: where any of them says something, an empty one is 0."""
        empty = [name for name in names if self._row.get(name, 0) in (None, "")]
        found = {name: self.flag(name) for name in names}
        if any(flag is not None for flag in found.values()):
            found |= dict.fromkeys(empty, 0)
        return found

    def text(self, name: str) -> str | None:
        value = self._row.pop(name, None)
        if isinstance(value, str):
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        self._keep(name, value)
        return None

    def time(self, name: str) -> datetime | None:
        value = self._row.pop(name, None)
        moment = printed(value) if isinstance(value, str) else None
        if moment is None:
            self._keep(name, value)
        return moment

    def channel(self) -> str:
        value = self._row.pop("type", None)
        number = integer(value)
        if number is None:
            self._keep("type", value)
        return "type:?" if "type" in self._odd else _channel(number)

    def left(self) -> dict[str, Any] | None:
        return {**self._row, **self._odd} or None

    def _keep(self, name: str, value: Any) -> None:
        """Keep a value that is not understood; null and blank mean that it was not set."""
        if value is not None and not (isinstance(value, str) and not value.strip()):
            self._odd[name] = value


def _fields(raw: msgspec.Raw | Row) -> Row:
    if not isinstance(raw, msgspec.Raw):
        fields = raw
    else:
        try:
            return _as_row(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            fields = _leniently(raw)
    if not isinstance(fields, dict):
        raise Unfit("the row is no object")
    return {key: _encodable(value) for key, value in fields.items()}


def _leniently(raw: msgspec.Raw) -> Any:
    try:
        return json.loads(bytes(raw).decode("utf-8", "replace"), parse_constant=str)
    except (ValueError, RecursionError):
        raise Unfit("the row is no JSON") from None


def _encodable(value: Any) -> Any:
    """Half of a surrogate pair is no character, and SQLite would not take it."""
    if not isinstance(value, str):
        return value
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _text_of(raw: msgspec.Raw | Row) -> str:
    if isinstance(raw, msgspec.Raw):
        return bytes(raw).decode("utf-8", "replace")
    return json.dumps(raw)
