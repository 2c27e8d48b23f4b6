"""Say how far a draft has come, and what it waits for. Nothing here does any I/O."""

from collections.abc import Mapping
from sqlite3 import Row
from typing import Any, NamedTuple

from semysync.mirror.outbox.drafts import WHY

FAILED = {
    "failed": "failed",
    "cancelled": "cancelled",
    "rejected": "rejected",
    "expired": "expired before it went out",
}
SO_FAR = {"accepted": 1, "cancelling": 1, "on_phone": 2, "sent": 3, "delivered": 4}


class Step(NamedTuple):
    """A step on the way; `state` is done, now, next or wrong."""

    name: str
    state: str
    at: str | None = None
    in_utc: bool = True


class Reason(NamedTuple):
    """What a draft waits for, or why it ended, and a time that belongs to it."""

    text: str
    at: str | None = None


def way_of(row: Mapping[str, Any] | Row, sent: Row | None) -> list[Step]:
    """Return the steps that a draft has made, and those before it."""
    status = row["status"]
    service = bool(sent and sent["utc_offset"] is not None)
    phone = bool(sent and sent["phone_utc_offset"] is not None)
    steps = [
        ("written", row["created_at"], True),
        ("taken by the service", row["accepted_at"], True),
        ("fetched by the phone", sent and sent["handed_at"], service),
        ("sent by the phone", sent and sent["sent_at"], phone),
        ("delivered", sent and sent["delivered_at"], phone),
    ]
    reached = SO_FAR.get(status, 0)
    if status in FAILED:
        done = [s for n, s in enumerate(steps) if s[1] and n < len(steps) - 1]
        ended = Step(FAILED[status], "wrong", row["finished_at"])
        return [*(Step(name, "done", at, utc) for name, at, utc in done), ended]
    shown = [
        Step(name, "done" if n <= reached else "next", at if n <= reached else None, utc)
        for n, (name, at, utc) in enumerate(steps)
    ]
    if reached < len(steps) - 1:
        shown[reached] = shown[reached]._replace(state="now")
    return shown


def why(row: Row, blocked: str | None, now: str) -> Reason:
    """
    Say what a draft waits for, or why it ended as it did.

    `blocked` is why nothing at all can be sent, `now` a time as the mirror has them.
    """
    said = _why(row, blocked, now)
    if row["cancel_wanted_at"] and row["status"] in {"sending", "unknown", "accepted"}:
        return said._replace(text=f"to be cancelled; {said.text}")
    return said


def _why(row: Row, blocked: str | None, now: str) -> Reason:
    status, error = row["status"], row["error"]
    if status == "queued":
        if (row["next_attempt_at"] or "") > now:
            return Reason(f"{error or 'it was refused'}; again at", row["next_attempt_at"])
        if (row["send_at"] or "") > now:
            return Reason("goes out at", row["send_at"])
        if blocked:
            return Reason(f"nothing can be sent: {blocked}")
        if row["quiet_until"]:
            return Reason("quiet hours; goes out at", row["quiet_until"])
        return Reason(error or "")
    if status == "held":
        return Reason(error or "waits for you to release it")
    if status == "accepted" and not row["is_seen"]:
        return Reason(error or "waits for the account to show it")
    return Reason(error or row["stuck_because"] or WHY.get(status, ""))
