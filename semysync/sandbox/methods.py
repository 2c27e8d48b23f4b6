"""
The nine methods: parameters in, an answer out.

`answer` is the way in. Shapes, key order and the type of `code` follow the documented samples
(section 3.10); where those are silent the switches decide. HTTP is none of this module's business.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from semysync.sandbox import wire
from semysync.sandbox.account import Account
from semysync.sandbox.filters import FILTERS, id_list, whole_number
from semysync.sandbox.refusals import Refusal
from semysync.sandbox.rows import Box
from semysync.sandbox.sending import Made, Parcel, in_answer_order, stored_phone, stored_text
from semysync.sandbox.switches import IGNORABLE, Switches

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
    except Refusal as refusal:
        code, status = account.switches.refusal_code, account.switches.refusal_status
        return refused(account, method, Refusal(refusal.reason, code=code, status=status))


def refused(account: Account, method: str, refusal: Refusal) -> Answer:
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
        raise Refusal("parameter")


def _user(account: Account, _params: Mapping[str, Any]) -> Answer:
    fields = {"code": 0, **wire.bent(account.plan_shown(), account.switches)}
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
    made = account.send([_parcel(params)], method="sms")[0]
    if isinstance(made, Refusal):
        raise made
    fields = {"code": "0", **_answered(made, account, with_device=("sms", "both"))}
    return Answer(iter([wire.object_text(fields)]))


def _sms_more(account: Account, params: Mapping[str, Any]) -> Answer:
    """Items are taken in order; what one bad item does to the others is a switch."""
    items, switches = _items(params), account.switches
    if switches.batch_limit and len(items) > switches.batch_limit:
        if switches.batch_over == "refused":
            raise Refusal("batch_size")
        items = items[: switches.batch_limit]
    outcome = account.send([_parcel_or_refusal(item) for item in items], method="sms_more")
    answers = [
        _reference(item, switches.my_id)
        | (
            {"error": one.text(switches.error_language)}
            if isinstance(one, Refusal)
            else _answered(one, account, with_device=("both",))
        )
        for item, one in zip(items, outcome, strict=True)
        if switches.batch_bad_item == "error" or not isinstance(one, Refusal)
    ]
    named = in_answer_order(answers, switches.batch_order)
    return Answer(iter([wire.object_text({"code": "0", "data": named})]), len(named))


def _items(params: Mapping[str, Any]) -> list[dict[str, Any]]:
    items = params.get("data")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise Refusal("batch")
    return items


def _reference(item: Mapping[str, Any], form: str) -> dict[str, Any]:
    return {"my_id": item["my_id"]} if form == "echoed" and "my_id" in item else {}


def _answered(made: Made, account: Account, *, with_device: Collection[str]) -> dict[str, Any]:
    """What a send method says of a message that it took."""
    switches = account.switches
    fields = {"id": wire.number_of(made.id, switches)}
    if switches.answer_device in with_device:
        fields["id_device"] = wire.number_of(made.device_id, switches)
    return fields


def send_elsewhere(account: Account, method: str, params: Mapping[str, Any]) -> None:
    """Let another client send to each number of a send request, as `other_client` says."""
    switches = account.switches
    for item in [params] if method == "sms" else _items(params):
        with suppress(Refusal):
            parcel = _parcel(item)
            text = stored_text(parcel, switches) if parcel.text else ""
            account.sent_elsewhere(
                stored_phone(parcel.phone, switches.phone_stored),
                text if switches.other_client == "same_text" else "Sent by another client",
            )


def _parcel(params: Mapping[str, Any]) -> Parcel:
    """One message to send; whether it can be is for the account to say, but a device it needs."""
    device, phone, text = (_text(params.get(name)) for name in ("device", "phone", "msg"))
    if not device.strip():
        raise Refusal("device")
    if _text(params.get("add_plus")).strip() == "1" and phone.strip() and phone[0] != "+":
        phone = f"+{phone}"
    my_id = params.get("my_id")
    return Parcel(
        device,
        phone,
        text,
        None if my_id is None else str(my_id),
        _text(params.get("name")),
        _text(params.get("surname")),
    )


def _parcel_or_refusal(params: Mapping[str, Any]) -> Parcel | Refusal:
    try:
        return _parcel(params)
    except Refusal as refusal:
        return refusal


def _listing(box: Box) -> Callable[[Account, Mapping[str, Any]], Answer]:
    method = "inbox_sms" if box == "inbox" else "outbox_sms"

    def listed(account: Account, params: Mapping[str, Any]) -> Answer:
        switches = account.switches
        rows = wire.Ordered(account.listed(box, account.wanted(box, params)), switches)
        texts = map(wire.row_writer(switches, account.clocks), rows)
        head = code_field(account, method, 0)
        return Answer(wire.envelope(head, len(rows), texts, switches), len(rows))

    return listed


def _deleting(box: Box) -> Callable[[Account, Mapping[str, Any]], Answer]:
    """Deletes the rows it answers with, so a cap covers both, unless a switch parts the two."""
    method = "del_inbox_sms" if box == "inbox" else "del_outbox_sms"

    def deleted(account: Account, params: Mapping[str, Any]) -> Answer:
        switches = account.switches
        wanted = account.wanted(box, _read_by_deletes(params, switches))
        asked = list(wire.Ordered(account.select(box, wanted), switches))
        gone = {"all": asked, "half": asked[::2], "none": []}[switches.delete_takes]
        account.delete(box, [row.id for row in gone])
        rows = {"gone": gone, "asked": asked, "half": gone[::2], "nothing": []}[
            switches.delete_says
        ]
        texts = map(wire.row_writer(switches, account.clocks, wire.NOT_IN_DELETES), rows)
        head = code_field(account, method, 0)
        return Answer(wire.envelope(head, len(rows), texts, switches), len(rows))

    return deleted


def _read_by_deletes(params: Mapping[str, str], switches: Switches) -> dict[str, str]:
    """The parameters without those that only the lists read."""
    names = [name.strip() for name in switches.delete_ignores.split(",") if name.strip()]
    unread = set().union(*(IGNORABLE[name] for name in names))
    return {name: value for name, value in params.items() if name not in unread}


def _cancel(account: Account, params: Mapping[str, Any]) -> Answer:
    """
    Cancel what still waits of the message or the device named.

    One client sends device with id_sms=1 to mean all of the device, so an id_sms of 1 beside a
    device does not narrow. Which of these the service does is unknown.
    """
    switches = account.switches
    device, message = (_text(params.get(name)).strip() for name in ("device", "id_sms"))
    if switches.cancel_id == "ignored":
        message = ""
    if not device and (not message or switches.cancel_id == "needs_device"):
        raise Refusal("nothing_named")
    device_id = whole_number(device) if device else None
    if device_id is not None and device_id not in account.devices:
        raise Refusal("device")
    id_ = whole_number(message) if message and not (device and message == "1") else None
    cancelled = account.cancel(id_=id_, device_id=device_id)
    if id_ is not None and not cancelled and switches.cancel_late == "error":
        raise Refusal("too_late")
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
