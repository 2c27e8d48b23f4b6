"""
What becomes of a text on its way in: refused, or stored, perhaps in another form.

`Parcel` is a text as a client gives it, `Made` the record of a message that a send request really
made, `Ledger` the list of these, for tests: it knows what no list method shows. The functions are
pure; whether and how the service does what they model is unknown, so each follows a switch.
"""

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeVar

import msgspec

from semysync.sandbox.refusals import Refusal
from semysync.sandbox.rows import Row
from semysync.sandbox.switches import Switches

SENDING = ("sms", "sms_more")

_T = TypeVar("_T")

_USSD = "[ussd]"
_COMMANDS = (_USSD, "[ping]")
_TAG = re.compile(r"\[(\w+)\]")
_NOT_DIGITS = re.compile(r"\D+")
_NOT_COMPACT = re.compile(r"[\s().-]+")
_FEWEST_DIGITS = 7  # of a number that has a national form; the others are short codes or names


class Parcel(NamedTuple):
    """A message to send, with its device as the caller named it: an id, several, or `active`."""

    device: str
    phone: str
    text: str
    my_id: str | None = None
    name: str = ""
    surname: str = ""


class Made(msgspec.Struct, frozen=True):
    """A message that a send request really made, shown by the lists or not."""

    request: int  #: which of the requests that were carried out made it, from 1 on
    method: Literal["sms", "sms_more"]
    id: int
    my_id: str | None
    phone: str  #: as given; the row may hold another form, as it may of the text
    text: str
    device: str  #: as given
    device_id: int  #: as answered; the row may stand under another
    at: int  #: the instant, in microseconds since 1970 UTC


class Ledger:
    """Every message that send requests made, in the order in which they were made."""

    def __init__(self) -> None:
        self.made: list[Made] = []
        self.requests = 0  #: send requests that arrived, carried out or not
        self.carried_out = 0
        self._of_my_id: dict[str, Made] = {}

    def add(self, made: Made) -> None:
        self.made.append(made)
        if made.my_id is not None:
            self._of_my_id.setdefault(made.my_id, made)

    def first_of(self, my_id: str | None) -> Made | None:
        """The first message that was made under this reference."""
        return None if my_id is None else self._of_my_id.get(my_id)

    def forget(self) -> None:
        """Begin anew; a `my_id` that was used stays known to the service."""
        self.made.clear()
        self.requests = self.carried_out = 0


def check_parcel(parcel: Parcel, switches: Switches) -> None:
    """Refuse a text for what it is, whatever the state of the account."""
    if not parcel.phone.strip():
        raise Refusal("phone")
    if not parcel.text:
        raise Refusal("text")
    if switches.text_over == "refused" and 0 < switches.text_limit < len(parcel.text):
        raise Refusal("text_long")
    if any(_same_number(parcel.phone, number) for number in switches.refuse_phone.split(",")):
        raise Refusal("unclear")
    if switches.refuse_text and switches.refuse_text in parcel.text:
        raise Refusal("unclear")


def stored_text(parcel: Parcel, switches: Switches) -> str:
    """The text as the row will show it."""
    text = parcel.text
    if switches.text_tags == "rewritten":
        filled = {"name": parcel.name, "surname": parcel.surname}
        text = _TAG.sub(
            lambda tag: tag[0] if tag[0].lower() in _COMMANDS else filled.get(tag[1], ""), text
        )
    if switches.text_trim == "yes":
        text = text.strip()
    return text[: switches.text_limit] if switches.text_limit else text


def stored_phone(phone: str, form: str) -> str:
    """The number as the row will show it; names and short codes stay as they are."""
    digits = _NOT_DIGITS.sub("", phone)
    if form == "as_given" or len(digits) < _FEWEST_DIGITS or "*" in phone or "#" in phone:
        return phone
    match form:
        case "plus":
            return f"+{digits}"
        case "digits":
            return digits
        case "compact":
            return _NOT_COMPACT.sub("", phone)
        case _:  # national: 8 in place of +7, 00 in place of any other plus
            return f"8{digits[1:]}" if digits[0] == "7" else f"00{digits}"


def is_ussd(text: str, switches: Switches) -> bool:
    """Whether the phone dials the number as a USSD code (likely), and sends no text."""
    return switches.ussd != "plain" and _USSD in text.lower()


def in_answer_order(taken: Sequence[_T], form: str) -> list[_T]:
    """The messages of a batch as its answer names them."""
    match form:
        case "shuffled":  # the first stands first only where there is but one
            return [*taken[1::2], *reversed(taken[::2])]
        case "short":
            return list(taken[::2])
        case "empty":
            return []
        case _:
            return list(taken)


def effect(made: Made, row: Row | None, *, shown: bool) -> dict[str, object]:
    """A record as tests see it: what was made, and what has become of it."""
    return {
        **msgspec.structs.asdict(made),
        "shown": shown,
        "kept": row is not None,
        "stored_phone": None if row is None else row.phone,
        "stored_text": None if row is None else row.text,
        "stored_device_id": None if row is None else row.device_id,
    }


def _same_number(one: str, other: str) -> bool:
    digits = _NOT_DIGITS.sub("", other)
    return digits == _NOT_DIGITS.sub("", one) if digits else bool(other) and one == other.strip()
