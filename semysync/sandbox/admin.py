"""
The admin interface: play with a running stand-in over HTTP, without a token.

    GET    /admin/                  this list, as JSON
    GET    /admin/state             counts and highest ids
    GET    /admin/switches          all switches and their values
    POST   /admin/switches          {"cap": 100, "order": "desc"}
    GET    /admin/requests          the calls received, without their tokens
    DELETE /admin/requests          forget them
    GET    /admin/faults            the faults ordered for coming calls
    POST   /admin/faults            {"fault", "when"?, "method"?, "nth"?, "times"?, ...}
    DELETE /admin/faults            forget them
    POST   /admin/refuse            {"for_s"}: no connection is taken for so many seconds
    POST   /admin/receive           {"phone", "text", "device_id"?, "at"?, "hidden"?, "fields"?}
    POST   /admin/sent              the same, and "is_out"?
    POST   /admin/reveal            {"box", "id"}
    POST   /admin/reveal/all        every sent message that is hidden
    GET    /admin/effects           what send requests really made, shown or not; and their number
    DELETE /admin/effects           forget it
    POST   /admin/remove            {"box", "ids"}
    POST   /admin/change            {"box", "id", "fields"}
    POST   /admin/reuse             {"box", "ids"}
    GET    /admin/devices           the devices as they are printed
    POST   /admin/devices/add       {"type"?, "name"?, "label"?, "power"?, ...}
    POST   /admin/devices/change    {"id", "fields"}
    POST   /admin/devices/archive   {"id"}
    POST   /admin/devices/remove    {"id"}
    GET    /admin/webhooks          the calls of webhooks that were made, and what was answered
    POST   /admin/webhooks          {"inbox"?, "status"?}: the addresses that are called from now on

Bodies and answers are JSON, times ISO 8601 with an offset. A mistake is answered with status 400
and {"error": a sentence}.
"""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from semysync.sandbox.rows import Box

if TYPE_CHECKING:
    from semysync.sandbox.server import Sandbox


class _Text(msgspec.Struct, forbid_unknown_fields=True):
    phone: str
    text: str
    device_id: int | None = None
    at: datetime | None = None
    hidden: bool = False
    fields: dict[str, Any] = {}


class _SentText(_Text, forbid_unknown_fields=True):
    is_out: int = 0


class _One(msgspec.Struct, forbid_unknown_fields=True):
    box: Box
    id: int


class _Many(msgspec.Struct, forbid_unknown_fields=True):
    box: Box
    ids: list[int]


class _Change(msgspec.Struct, forbid_unknown_fields=True):
    box: Box
    id: int
    fields: dict[str, Any]


class _DeviceFields(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    id: int | None = None
    type: int | None = None
    name: str | None = None
    label: str | None = None
    manufacturer: str | None = None
    android_version: str | None = None
    archived: bool | None = None
    in_use: bool | None = None
    power: bool | None = None
    reports: bool | None = None


class _DeviceChange(msgspec.Struct, forbid_unknown_fields=True):
    id: int
    fields: dict[str, Any]


class _Refuse(msgspec.Struct, forbid_unknown_fields=True):
    for_s: Annotated[float, msgspec.Meta(gt=0)]


class _Webhooks(msgspec.Struct, forbid_unknown_fields=True):
    inbox: str | None = None
    status: str | None = None


class _OneDevice(msgspec.Struct, forbid_unknown_fields=True):
    id: int


def respond(sandbox: "Sandbox", verb: str, path: str, body: bytes) -> tuple[int, bytes]:
    """The status and the JSON text of one admin request."""
    action = _ACTIONS.get((verb, path.removeprefix("/admin").strip("/")))
    if action is None:
        return 404, _json({"error": f"there is no {verb} {path}; GET /admin/ lists what there is"})
    try:
        return 200, _json(action(sandbox, body))
    except (ValueError, TypeError) as exc:
        return 400, _json({"error": str(exc)})


def _help(_sandbox: "Sandbox", _body: bytes) -> Any:
    lines = (line.strip() for line in (__doc__ or "").splitlines())
    return {"requests": [line for line in lines if "/admin/" in line]}


def _switches(sandbox: "Sandbox", _body: bytes) -> Any:
    return msgspec.structs.asdict(sandbox.switches)


def _set_switches(sandbox: "Sandbox", body: bytes) -> Any:
    sandbox.set(**msgspec.json.decode(body, type=dict[str, Any]))
    return _switches(sandbox, body)


def _requests(sandbox: "Sandbox", _body: bytes) -> Any:
    return [
        {"method": call.method, "params": call.params, "at": call.at, "verb": call.verb}
        for call in list(sandbox.requests)
    ]


def _forget_requests(sandbox: "Sandbox", _body: bytes) -> Any:
    sandbox.requests.clear()
    return {}


def _faults(sandbox: "Sandbox", _body: bytes) -> Any:
    return sandbox.orders


def _order_fault(sandbox: "Sandbox", body: bytes) -> Any:
    fields = msgspec.json.decode(body, type=dict[str, Any])
    sandbox.order_fault(fields.pop("fault", None), **fields)
    return _faults(sandbox, body)


def _forget_faults(sandbox: "Sandbox", _body: bytes) -> Any:
    sandbox.forget_orders()
    return {}


def _refuse(sandbox: "Sandbox", body: bytes) -> Any:
    sandbox.refuse(msgspec.json.decode(body, type=_Refuse).for_s)
    return {}


def _receive(sandbox: "Sandbox", body: bytes) -> Any:
    text = msgspec.json.decode(body, type=_Text)
    id_ = sandbox.account.receive(
        text.phone, text.text, text.device_id, at=text.at, hidden=text.hidden, **text.fields
    )
    return {"id": id_}


def _sent(sandbox: "Sandbox", body: bytes) -> Any:
    text = msgspec.json.decode(body, type=_SentText)
    id_ = sandbox.account.sent_elsewhere(
        text.phone,
        text.text,
        text.device_id,
        is_out=text.is_out,
        hidden=text.hidden,
        at=text.at,
        **text.fields,
    )
    return {"id": id_}


def _reveal(sandbox: "Sandbox", body: bytes) -> Any:
    one = msgspec.json.decode(body, type=_One)
    sandbox.account.reveal(one.box, one.id)
    return {}


def _reveal_all(sandbox: "Sandbox", _body: bytes) -> Any:
    return {"revealed": sandbox.account.reveal_all()}


def _effects(sandbox: "Sandbox", _body: bytes) -> Any:
    ledger = sandbox.account.ledger
    return {
        "requests": ledger.requests,
        "carried_out": ledger.carried_out,
        "messages": sandbox.account.effects(),
    }


def _forget_effects(sandbox: "Sandbox", _body: bytes) -> Any:
    sandbox.account.forget_effects()
    return {}


def _remove(sandbox: "Sandbox", body: bytes) -> Any:
    many = msgspec.json.decode(body, type=_Many)
    return {"removed": sandbox.account.remove(many.box, many.ids)}


def _reuse(sandbox: "Sandbox", body: bytes) -> Any:
    many = msgspec.json.decode(body, type=_Many)
    sandbox.account.reuse_ids(many.box, many.ids)
    return {}


def _change(sandbox: "Sandbox", body: bytes) -> Any:
    change = msgspec.json.decode(body, type=_Change)
    sandbox.account.change(change.box, change.id, **change.fields)
    return {}


def _devices(sandbox: "Sandbox", _body: bytes) -> Any:
    return sandbox.account.device_rows()


def _add_device(sandbox: "Sandbox", body: bytes) -> Any:
    fields = msgspec.to_builtins(msgspec.json.decode(body, type=_DeviceFields))
    return {"id": sandbox.account.add_device(**fields)}


def _change_device(sandbox: "Sandbox", body: bytes) -> Any:
    change = msgspec.json.decode(body, type=_DeviceChange)
    sandbox.account.change_device(change.id, **change.fields)
    return {}


def _archive_device(sandbox: "Sandbox", body: bytes) -> Any:
    sandbox.account.archive_device(msgspec.json.decode(body, type=_OneDevice).id)
    return {}


def _remove_device(sandbox: "Sandbox", body: bytes) -> Any:
    sandbox.account.remove_device(msgspec.json.decode(body, type=_OneDevice).id)
    return {}


def _webhooks(sandbox: "Sandbox", _body: bytes) -> Any:
    return {"urls": sandbox.webhooks.urls, "made": list(sandbox.webhooks.made)}


def _set_webhooks(sandbox: "Sandbox", body: bytes) -> Any:
    named = msgspec.json.decode(body, type=_Webhooks)
    sandbox.webhooks.set(inbox=named.inbox, status=named.status)
    return sandbox.webhooks.urls


def _state(sandbox: "Sandbox", _body: bytes) -> Any:
    return sandbox.account.state()


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value)


_ACTIONS: dict[tuple[str, str], Callable[["Sandbox", bytes], Any]] = {
    ("GET", ""): _help,
    ("GET", "state"): _state,
    ("GET", "switches"): _switches,
    ("POST", "switches"): _set_switches,
    ("GET", "requests"): _requests,
    ("DELETE", "requests"): _forget_requests,
    ("GET", "faults"): _faults,
    ("POST", "faults"): _order_fault,
    ("DELETE", "faults"): _forget_faults,
    ("POST", "refuse"): _refuse,
    ("POST", "receive"): _receive,
    ("POST", "sent"): _sent,
    ("POST", "reveal"): _reveal,
    ("POST", "reveal/all"): _reveal_all,
    ("GET", "effects"): _effects,
    ("DELETE", "effects"): _forget_effects,
    ("POST", "remove"): _remove,
    ("POST", "reuse"): _reuse,
    ("POST", "change"): _change,
    ("GET", "devices"): _devices,
    ("POST", "devices/add"): _add_device,
    ("POST", "devices/change"): _change_device,
    ("POST", "devices/archive"): _archive_device,
    ("POST", "devices/remove"): _remove_device,
    ("GET", "webhooks"): _webhooks,
    ("POST", "webhooks"): _set_webhooks,
}
