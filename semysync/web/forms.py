"""A message as it stands in a form: what was typed, and the sentence on what is wrong with it."""

import re
import secrets
from collections.abc import Mapping
from typing import NamedTuple

_COLUMN = re.compile(r"outbox\.(phone|text|device|send_at)\b")
_LOCAL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?")


class Answer(NamedTuple):
    """What a person has typed; `key` makes one message of a form that is sent twice."""

    phone: str = ""
    text: str = ""
    device: str = ""
    send_at: str = ""  #: UTC, as `datetime-local` has it
    key: str = ""
    error: str = ""
    field: str = ""  #: what the error is about

    @classmethod
    def new(cls, *, phone: str = "", text: str = "", device: int | None = None) -> "Answer":
        """Return an empty form, or one that is begun."""
        return cls(phone, text, "" if device is None else str(device), key=new_key())

    @classmethod
    def typed(cls, form: Mapping[str, str]) -> "Answer":
        """
        Read what a browser sends: lines end with CR and LF there, and with LF in a message.

        With a script the time comes in UTC beside what was typed; without one it is meant so.
        """
        send_at = form.get("send_at_utc") or form.get("send_at") or ""
        return cls(
            phone=form.get("phone", "").strip(),
            text=form.get("text", "").replace("\r\n", "\n").replace("\r", "\n"),
            device=form.get("device", "").strip(),
            send_at=send_at.strip().removesuffix("Z"),
            key=form.get("key", "")[:100] or new_key(),
        )

    def fields(self) -> dict[str, object]:
        """Return the columns of the draft."""
        at = f"{self.send_at}Z" if _LOCAL.fullmatch(self.send_at) else self.send_at
        return {
            "phone": self.phone,
            "text": self.text,
            "device": self.device,
            "send_at": at,
            "client_key": self.key,
        }

    def refused(self, sentence: str) -> "Answer":
        """Return the form with what the table says of it; nothing that was typed is lost."""
        match = _COLUMN.search(sentence)
        said = re.sub(r"^outbox[.:]\s*", "", sentence)
        return self._replace(
            text=self.text.replace("\0", "\ufffd"),  # a page cannot hold it, and would drop it
            error=said[:1].upper() + said[1:],
            field=match[1] if match else "",
            key=new_key(),
        )


def new_key() -> str:
    """Return a key for one message: `client_key` of its draft."""
    return f"web-{secrets.token_urlsafe(12)}"
