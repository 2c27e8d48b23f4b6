"""An event that never was, to try a hook with. Nothing here does any I/O."""

from collections.abc import Sequence

from semysync.event_kinds import KINDS, named_by
from semysync.mirror.reading.tellings import Telling, event_id

PHONE = "+79201234567"


def sample(on: Sequence[str], at: str) -> Telling:
    """Return what a hook would be told of an event of the first kind that it names."""
    kind = next((kind for pattern in on for kind in named_by(pattern)), KINDS[0])
    family, _, status = kind.partition(".")
    text = "This is a test of a semysync hook."
    received = kind == "message.received"
    message = {
        "direction": "in" if received else "out",
        "id": 1,
        "device_id": 1,
        "phone": PHONE,
        "contact": PHONE,
        "text": text,
        "channel": "sms",
        "status": status,
        "received_at" if received else "created_at": at,
    }
    draft = {"id": 1, "phone": PHONE, "contact": PHONE, "text": text, "status": status}
    device = {"id": 1, "name": "A12", "label": "desk", "channel": "sms", "battery": 12}
    about_message, about_device = family == "message", family in {"message", "device"}
    return {
        "id": event_id(0, at),
        "seq": 0,
        "at": at,
        "kind": kind,
        "box": ("inbox" if received else "sent") if about_message else None,
        "message_id": 1 if about_message else None,
        "device_id": 1 if about_device else None,
        "data": {"test": True},
        "message": message if about_message else None,
        "draft": draft if family == "draft" else None,
        "unconfirmed": None,
        "device": device if about_device else None,
        "name": None,
    }
