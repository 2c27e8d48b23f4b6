"""
What the state machine has reached, and what it should reach: a weak campaign shows.

`reached` counts, for all worlds of this process; `table` prints it by subject, and `missing` names
what nothing has reached yet.
"""

from collections import Counter

from switching import BLINDING, FORMS, MISLED, SICK, changes

from semysync.event_kinds import KINDS

reached = Counter()

BEFORE = ("queued", "held", "sending", "unknown")  #: it has no message yet
ALONG = ("accepted", "on_phone", "sent", "delivered", "failed", "cancelled", "cancelling")
STATUSES = (*BEFORE, *ALONG, "rejected", "expired")

#: what may become of a draft that has no message yet; one that has follows it
EDGES = {
    "queued": {"held", "sending", "cancelled", "expired", "rejected", "unknown"},
    "held": {"queued", "cancelled", "rejected", "unknown"},
    "sending": {"accepted", "queued", "rejected", "unknown", "cancelling", "cancelled"},
    "unknown": {"accepted", "queued", "expired", "cancelled", "cancelling", "held"},
}
#: by chance alone too rare to be asked for: a message is seldom mirrored before it is adopted
STRAIGHT = {"on_phone", "sent", "delivered", "failed", "cancelled"}
FAULTS = (
    "bom",
    "warning",
    "html",
    "empty",
    "cut",
    "truncated",
    "api_error",
    "http_404",
    "http_429",
    "http_500",
    "http_502",
    "http_503",
    "redirect",
    "drop",
    "reset",
)
SURE = {"http_404", "http_429", "api_error"}  #: by the contract: refused so, surely not taken
BROKEN = ("ReadTimeout", "WriteTimeout", "RemoteProtocolError", "ConnectTimeout", "ConnectError")
NEVER_LEFT = {"ConnectTimeout", "ConnectError"}
PASSES = ("devices", "inbox", "sent", "account", "refresh", "verify")
PURGES = ("done", "part", "lost", "refused", "surprise", "absent")
AGES = ("newest", "older", "oldest")

WANTED = (
    *(f"a draft is {status}" for status in STATUSES),
    *(f"draft {was} -> {now}" for was, after in EDGES.items() for now in sorted(after)),
    *(f"draft unknown -> {now}" for now in ("sent", "delivered")),
    *(f"draft accepted -> {now}" for now in ("on_phone", "sent", "delivered", "cancelling")),
    *(f"draft cancelling -> {now}" for now in ("cancelled", "on_phone")),
    # `semysync forget` is no part of these lives: what it leaves of a history is its own test's.
    *(f"event {kind}" for kind in KINDS if kind != "contact.forgotten"),
    *(f"pass {kind} {how}" for kind in PASSES for how in ("complete", "failed")),
    *(f"purge came to {state}" for state in PURGES),
    *(f"mark {what}" for what in ("new", "loading", "loaded", "of a device", "of the account")),
    *(f"mark {what}" for what in ("with a floor", "looking back")),
    *(
        f"fault {kind} {when}"
        for kind in FAULTS
        for when in ("before", "after")
        if kind not in SURE
    ),
    *(f"fault {kind} before" for kind in SURE),
    *(f"broken {kind} before" for kind in BROKEN),
    *(f"broken {kind} after" for kind in BROKEN if kind not in NEVER_LEFT),
    *(f"killed at {kind}" for kind in ("a question", "a message", "a deletion", "a hook")),
    *(f"restored the {age} copy" for age in AGES),
    "restored without the claims",
    "restored once more",
    *(
        f"switch {name}={value}"
        for c in changes(FORMS, SICK, BLINDING)
        for name, value in c.items()
    ),
    *(f"misled {how}" for how in MISLED),
    *(f"hook {what}" for what in ("delivered", "failed", "repeated after a kill", "gave up")),
    *(f"webhook of {what}" for what in ("inbox", "status", "nothing", "a hidden message")),
    "a message is late",
    "a message is kept in conflicts",
    "a draft was resent",
    "a message of a draft was adopted",
)


def missing():
    """Return what should be reached, and was not."""
    return [what for what in WANTED if not reached[what]]


def table():
    """Return a line for each thing that was reached, and then what was not."""
    lines = [f"{times:9,}  {what}" for what, times in sorted(reached.items())]
    return [*lines, *(f"{'never':>9}  {what}" for what in missing())]
