"""
The kinds of events: all that can stand in the column `kind`, and so in a hook's `on`.

A hook that names none of them would wait for ever: that is why they are listed. A test holds the
list to the code that writes events.
"""

from fnmatch import fnmatchcase

MESSAGE = (
    "received",
    "accepted",
    "on_phone",
    "sent",
    "delivered",
    "failed",
    "cancelled",
    "missing",
    "returned",
)
DRAFT = (
    "queued",
    "held",
    "sending",
    "unknown",
    "accepted",
    "on_phone",
    "sent",
    "delivered",
    "failed",
    "cancelling",
    "cancelled",
    "rejected",
    "expired",
    "resent",
    "doubled",
)
DEVICE = ("offline", "online", "battery_low", "battery_ok")

KINDS = (
    *(f"message.{status}" for status in MESSAGE),
    *(f"draft.{status}" for status in DRAFT),
    *(f"device.{state}" for state in DEVICE),
    "purge.done",
    "purge.stopped",
    "pull.failing",
    "pull.recovered",
    "verify.found",
    "contact.forgotten",
    "sending.fenced",
    "webhook.unconfirmed",
    "hook.dead",
)


def named_by(pattern: str) -> list[str]:
    """Return the kinds that a hook's `on` means: one, or those of a shell pattern (`message.*`)."""
    return [kind for kind in KINDS if fnmatchcase(kind, pattern)]
