"""
The nine methods: parameters in, an answer out.

`answer` is the way in. Shapes, key order and the type of `code` follow the documented samples
(section 3.10); where those are silent the switches decide. HTTP is none of this module's business.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from semysync.sandbox import wire
from semysync.sandbox.account import Account, Parcel
from semysync.sandbox.filters import FILTERS, id_list, whole_number
from semysync.sandbox.refusals import RefusalError
from semysync.sandbox.rows import Box

_ZERO_IS_INT = ("user", "devices")
_ZERO_IS_SWITCHED = ("outbox_sms", "inbox_sms", "del_outbox_sms", "del_inbox_sms")
_KNOWN: dict[str, set[str]] = {
    "user": set(),
    "sms": {"device", "phone", "msg", "priority", "name", "surname", "add_plus", "my_id"},
    "sms_more": {"data"},
    "outbox_sms": set(FILTERS),
    "inbox_sms": set(FILTERS),
    "devices": {"is_arhive", "list_id"},
    "cancel_sms": {"device", "id_sms"},
    "del_outbox_sms": set(FILTERS),
    "del_inbox_sms": set(FILTERS),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and a body, in pieces of JSON text; `rows` is how many rows will come."""

    pieces: Iterator[str]
    rows: int = 0
    status: int = 200


def answer(account: Account, method: str, params: Mapping[str, Any]) -> Answer:
    """Carry out a call whose token was right."""
    try:
        _check_parameters(account, method, params)
        return _METHODS[method](account, params)
    except RefusalError as refusal:
        return refused(account, method, refusal)


def refused(account: Account, method: str, refusal: RefusalError) -> Answer:
    """An error as the method prints it: a non-zero `code` (or none), and a text."""
    switches = account.switches
    fields = code_field(account, method, refusal.code)
    fields["error"] = refusal.text(switches.error_language)
    return Answer(iter([wire.object_text(fields)]), status=refusal.status)


def code_field(account: Account, method: str, code: int) -> dict[str, Any]:
    """`code` as a number or as text; lists follow the switch, the others the samples."""
    form = account.switches.code if method in _ZERO_IS_SWITCHED else "text"
    if method in _ZERO_IS_INT or form == "int":
        return {"code": code}
    return {} if form == "absent" else {"code": str(code)}


def _check_parameters(account: Account, method: str, params: Mapping[str, Any]) -> None:
    if account.switches.unknown_parameters == "ignored":
        return
    known = {"token", *_KNOWN[method]}
    if "inbox" in method and account.switches.list_id_inbox == "ignored":
        known.discard("list_id")
    if not known.issuperset(params):
        raise RefusalError("parameter")


def _user(account: Account, _params: Mapping[str, Any]) -> Answer:
    fields = {"code": 0, **wire.bent(account.plan, account.switches)}
    return Answer(iter([wire.object_text(fields)]))


def _devices(account: Account, params: Mapping[str, Any]) -> Answer:
    rows = account.device_rows()
    if params.get("is_arhive", "").strip() in {"0", "1"}:
        archived = params["is_arhive"].strip() == "1"
        rows = [row for row in rows if bool(row.get("is_arhive")) == archived]
    if params.get("list_id", "").strip():
        ids = set(id_list(params["list_id"]))
        rows = [row for row in rows if row.get("id") in ids]
    switches = account.switches
    texts = (wire.object_text(wire.bent(row, switches)) for row in rows)
    head = code_field(account, "devices", 0)
    return Answer(wire.envelope(head, len(rows), texts, switches), len(rows))


def _sms(account: Account, params: Mapping[str, Any]) -> Answer:
    row = account.send([_parcel(params)])[0]
    switches = account.switches
    fields = {
        "code": "0",
        "id": wire.number_of(row.id, switches),
        "id_device": wire.number_of(row.device_id, switches),
    }
    return Answer(iter([wire.object_text(fields)]))


def _sms_more(account: Account, params: Mapping[str, Any]) -> Answer:
    """Every item is taken, in order, or none: one bad item refuses the batch."""
    items = params.get("data")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise RefusalError("batch")
    rows = account.send([_parcel(item) for item in items])
    taken = [
        {name: item[name] for name in ("my_id",) if name in item}
        | {"id": wire.number_of(row.id, account.switches)}
        for item, row in zip(items, rows, strict=True)
    ]
    return Answer(iter([wire.object_text({"code": "0", "data": taken})]), len(taken))


def _parcel(params: Mapping[str, Any]) -> Parcel:
    """One message to send, looked at in the order in which a form would be."""
    device, phone, text = (_text(params.get(name)) for name in ("device", "phone", "msg"))
    if not device.strip():
        raise RefusalError("device")
    if not phone.strip():
        raise RefusalError("phone")
    if not text:
        raise RefusalError("text")
    if _text(params.get("add_plus")).strip() == "1" and not phone.startswith("+"):
        phone = f"+{phone}"
    return Parcel(device, phone, text)


def _listing(box: Box) -> Callable[[Account, Mapping[str, Any]], Answer]:
    method = "inbox_sms" if box == "inbox" else "outbox_sms"

    def listed(account: Account, params: Mapping[str, Any]) -> Answer:
        switches = account.switches
        rows = wire.Ordered(account.select(box, account.wanted(box, params)), switches)
        texts = map(wire.row_writer(switches, account.clocks), rows)
        head = code_field(account, method, 0)
        return Answer(wire.envelope(head, len(rows), texts, switches), len(rows))

    return listed


def _deleting(box: Box) -> Callable[[Account, Mapping[str, Any]], Answer]:
    """Deletes exactly the rows it answers with, so a cap covers both."""
    method = "del_inbox_sms" if box == "inbox" else "del_outbox_sms"

    def deleted(account: Account, params: Mapping[str, Any]) -> Answer:
        switches = account.switches
        rows = list(wire.Ordered(account.select(box, account.wanted(box, params)), switches))
        account.remove(box, [row.id for row in rows])
        texts = map(wire.row_writer(switches, account.clocks, wire.NOT_IN_DELETES), rows)
        head = code_field(account, method, 0)
        return Answer(wire.envelope(head, len(rows), texts, switches), len(rows))

    return deleted


def _cancel(account: Account, params: Mapping[str, Any]) -> Answer:
    """
    Cancel what still waits of the message or the device named; too late is a silent success.

    One client sends device with id_sms=1 to mean all of the device, so an id_sms of 1 beside a
    device does not narrow. Which of these the service does is unknown.
    """
    device, message = (_text(params.get(name)).strip() for name in ("device", "id_sms"))
    if not device and not message:
        raise RefusalError("nothing_named")
    device_id = whole_number(device) if device else None
    if device_id is not None and device_id not in account.devices:
        raise RefusalError("device")
    id_ = whole_number(message) if message and not (device and message == "1") else None
    account.cancel(id_=id_, device_id=device_id)
    return Answer(iter([wire.object_text({"code": "0"})]))


def _text(value: Any) -> str:
    """A parameter as text: in JSON it may be a number."""
    return "" if value is None else str(value)


_METHODS: dict[str, Callable[[Account, Mapping[str, Any]], Answer]] = {
    "user": _user,
    "sms": _sms,
    "sms_more": _sms_more,
    "outbox_sms": _listing("sent"),
    "inbox_sms": _listing("inbox"),
    "devices": _devices,
    "cancel_sms": _cancel,
    "del_outbox_sms": _deleting("sent"),
    "del_inbox_sms": _deleting("inbox"),
}
