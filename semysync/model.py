"""
The values that the parts hand to each other: frozen, without I/O, in the words of the contract.

Times are naive: what one of the service's clocks has printed, without a zone, since the service
never says which. `extra` is everything that a row held beyond its columns, and every value that
could not be understood, under the service's own names.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

HIGHEST_ID = 2**63 - 1  #: of a message, a draft, a device: what SQLite can hold


class Box(StrEnum):
    """Where the account keeps a message. Their ids are two spaces (likely)."""

    INBOX = "inbox"
    SENT = "sent"


class Received(msgspec.Struct, frozen=True, gc=False):
    """A message that a phone has received, in the box `inbox`."""

    id: int
    device_id: int | None
    phone: str | None
    text: str | None
    channel: str
    received_at: datetime | None  #: by the phone's clock (likely), which may be wrong
    extra: dict[str, Any] | None = None


class Sent(msgspec.Struct, frozen=True, gc=False):
    """A message that the account has sent, from any client. Flags are 0, 1 or not shown (None)."""

    id: int
    device_id: int | None
    phone: str | None
    text: str | None
    channel: str
    is_send_to_phone: int | None
    is_send: int | None
    is_delivered: int | None
    is_cancel: int | None
    is_error: int | None
    is_error_send: int | None
    is_out: int | None
    created_at: datetime | None  #: by the service's clock (likely)
    handed_at: datetime | None  #: by the service's clock (likely)
    sent_at: datetime | None  #: by the phone's clock (likely)
    delivered_at: datetime | None  #: by the phone's clock (likely)
    cancelled_at: datetime | None  #: which clock is unknown
    #: which clock is unknown; the service has one date for both failures
    failed_at: datetime | None
    extra: dict[str, Any] | None = None


Message = Received | Sent


class Illegible(msgspec.Struct, frozen=True):
    """A row that cannot be a message or a device, most of all one without an id; kept whole."""

    reason: str
    row: str  #: the row as JSON text
    id: int | None = None  #: where it has one that belongs to another message


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A phone's row at the service. One handset can be three: SMS, WhatsApp, WhatsApp Business."""

    id: int
    name: str | None
    label: str | None
    channel: str
    manufacturer: str | None
    android_version: str | None
    app_version: str | None
    battery: int | None  #: per cent
    service_on: int | None
    use_for_sending: int | None
    reports_on: int | None
    archived: int
    speed: int | None
    limit_phone: int | None
    limit_use: int | None
    limit_at: datetime | None
    limit_period: str | None
    last_active_at: datetime | None  #: by the service's clock (likely)
    extra: dict[str, Any] | None = None


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """The plan of the account. Names and types are documented, meanings likely."""

    user_id: int | None
    paid: int | None
    plan_ends_at: datetime | None
    messages_left: int | None
    plan_type: int | None
    extra: dict[str, Any] | None = None


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """One message to be sent. `reference` comes back beside the new id where a batch is asked for."""

    device: str  #: a device id, several joined by commas, or `active`
    phone: str
    text: str
    priority: int | None = None
    reference: str | None = None


class Accepted(msgspec.Struct, frozen=True):
    """The service's word that it took a message. `device_id` is often not said."""

    id: int
    device_id: int | None


class Attempt(NamedTuple):
    """
    A request to send a draft that may have been taken, though its answer was lost.

    `resent` where the draft has another message by now, so that one of this attempt is a second
    one. `complete`: all of the box was mirrored before, so that an older message can turn up only
    where it was late.
    """

    draft_id: int
    phone: str
    text: str
    began_at: datetime  #: aware
    above_id: int  #: the newest message known before
    arrivals_from: int  #: messages mirrored later have a higher number of arrival
    complete: bool = True
    clock_right: bool = True  #: our clock agreed with the service's
    resent: bool = False


class Candidate(NamedTuple):
    """A message that no draft has claimed; `made_at` is None where its clock is not known."""

    id: int
    phone: str
    text: str
    arrival: int
    made_at: datetime | None = None  #: aware


class Phone(NamedTuple):
    """What the choice of a sending device goes by; None where the service does not say."""

    id: int
    channel: str | None
    use_for_sending: int | None
    service_on: int | None
    archived: int
    there: bool
    last_active_at: str | None


class Held(NamedTuple):
    """A message in the mirror, as the decision to purge it needs it; moments are aware."""

    id: int
    device_id: int | None
    contact: str | None
    printed: datetime | None  #: the date that the service compares, naive
    offset: int | None  #: of that date, in minutes east
    seen_at: datetime  #: when it was mirrored
    touched_at: datetime  #: when it was mirrored or changed last
    live: bool  #: it came after the first load
    newest_before: datetime | None  #: the newest date among messages with a lower id
    missing: bool
    status: str | None = None  #: None in the inbox
    forgotten: bool = False  #: it was removed here for good, and only its id is known


class Facts(NamedTuple):
    """What the decision to purge needs to know of a box, beside the message itself."""

    first_young: int | None  #: the lowest id whose date is within the limit
    dated: frozenset[int]  #: devices with a message whose date is within the limit
    devices: frozenset[int]  #: those that the account has
    drafts: frozenset[int] = frozenset()  #: messages of drafts that are on their way
    doubts: frozenset[int] = frozenset()  #: messages that may be those of lost answers
    clashes: frozenset[int] = frozenset()  #: ids under which another message came
    absent: frozenset[int] = frozenset()  #: asked for lately, and not shown
    #: the date of the first message here, naive, of each device that may have had others before it
    begins: Mapping[int, datetime] = MappingProxyType({})
