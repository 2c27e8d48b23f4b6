"""
Decide when drafts go out, and from which phone. Nothing here does any I/O.

Times of day are aware; what measures how long ago something was is given in seconds of a clock
that cannot jump.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from typing import NamedTuple

from semysync.mirror.outbox.queue import LONGEST_PAUSE
from semysync.model import Phone
from semysync.service.pace import LEFT_ALONE_S
from semysync.times import from_utc_text, zone_named

FIRST_PAUSE_S = 5
IN_A_ROW = 3  #: drafts refused one after the other, which speak of the account and not of them
SEEN_LATELY = timedelta(hours=1)
REST_S = 5  #: between two messages of a device of WhatsApp, at least (likely)
SLOW = {"whatsapp", "whatsapp_business"}


class QuietHours(NamedTuple):
    """Hours of the day in which only drafts with a priority go out, such as 22:00-08:00."""

    begin: time
    end: time
    zone: str

    @classmethod
    def read(cls, text: str | None) -> "QuietHours | None":
        """Read the configuration's form, which was checked there: `22:00-08:00 Europe/Moscow`."""
        if not text:
            return None
        hours, _, zone = text.partition(" ")
        begin, end = (time.fromisoformat(hour) for hour in hours.split("-"))
        return cls(begin, end, zone)

    def hold(self, now: datetime) -> bool:
        """Tell whether it is quiet now. Hours that begin and end at once are none."""
        clock = now.astimezone(zone_named(self.zone)).time()
        if self.begin <= self.end:
            return self.begin <= clock < self.end
        return clock >= self.begin or clock < self.end

    def until(self, now: datetime) -> datetime | None:
        """Return when it is no longer quiet, in UTC; None where it is not quiet now."""
        if not self.hold(now):
            return None
        local = now.astimezone(zone_named(self.zone))
        day = local.date() + timedelta(days=local.time() >= self.end)
        return datetime.combine(day, self.end, local.tzinfo).astimezone(UTC)


def pause_s(attempts: int) -> float:
    """Return how long a refused draft waits: 5 s after its first attempt, doubling to 10 minutes."""
    return float(
        min(FIRST_PAUSE_S * 2 ** min(max(attempts - 1, 0), 20), LONGEST_PAUSE.total_seconds())
    )


def senders(phones: Sequence[Phone]) -> list[int]:
    """
    Return the devices that `auto` spreads drafts over, those seen last first.

    SMS devices that are in use and switched on, and of them those that were seen within an hour of
    the one seen last: what is newest tells the time of the service's clock.
    """
    fit = [
        phone
        for phone in phones
        if phone.there
        and not phone.archived
        and phone.channel in {"sms", None}
        and phone.use_for_sending != 0
        and phone.service_on != 0
    ]
    fit.sort(key=lambda phone: (phone.last_active_at or "", phone.id), reverse=True)
    if not fit or fit[0].last_active_at is None:
        return [phone.id for phone in fit[:1]]
    newest = from_utc_text(fit[0].last_active_at)
    return [
        phone.id
        for phone in fit
        if phone.last_active_at and newest - from_utc_text(phone.last_active_at) <= SEEN_LATELY
    ]


def ids_in(device: str) -> list[str]:
    """
    Return the devices that a message may go to, by what was asked for: an id, or several.

    Which `active` would be is not known: it does not count as any.
    """
    return device.split(",")


class Rests:
    """
    The pauses that devices of WhatsApp need between two messages, lest the number be barred.

    Of several that a message may go to, each counts as having got it. `now_s` is given by a clock
    that cannot jump.
    """

    def __init__(self) -> None:
        self._handed: dict[str, float] = {}

    def handed(self, device: str, now_s: float) -> None:
        """Note that a device, or one of several, was given a message."""
        self._handed |= dict.fromkeys(ids_in(device), now_s)

    def resting(self, slow: Sequence[str], now_s: float) -> list[str]:
        """Return those of the slow devices that get nothing yet."""
        return [device for device in slow if now_s < self._handed.get(device, -REST_S) + REST_S]

    def rest_s(self, now_s: float) -> float | None:
        """Return in how many seconds the next of them has rested; None where none rests."""
        rests = [at + REST_S - now_s for at in self._handed.values() if now_s < at + REST_S]
        return min(rests, default=None)


class Refusals:
    """
    What refusals mean: of a draft by itself, or of all at once.

    All at once: three drafts in a row, or when the account itself is refused. Then the sending
    stops, one draft tries again after a pause that doubles, and none of these refusals counts
    against the drafts. That one is another each time, so that drafts which are bad themselves do
    not stand before the good ones for ever. `now_s` is given by a clock that cannot jump.
    """

    def __init__(self) -> None:
        self.why: str | None = None  #: what stands against sending anything, in a sentence
        self._in_a_row: list[int] = []
        self._given_back: set[int] = set()
        self.tried: list[int] = []  #: who comes last now, having been refused in this round
        self._pauses = 0
        self.until_s = float("-inf")  #: when something may be sent again

    def may_try(self, now_s: float) -> bool:
        """Tell whether anything may be sent now."""
        return now_s >= self.until_s

    def taken(self) -> None:
        """Note that the service took a draft: nothing is wrong with the account."""
        self.why = None
        self._in_a_row.clear()
        self._given_back.clear()
        self.tried.clear()
        self._pauses = 0
        self.until_s = float("-inf")

    def refused(self, draft_id: int) -> bool:
        """Note the refusal of a draft; tell whether so many in a row speak of the account."""
        if draft_id in self.tried:  # all others that are due were tried: a new round
            self.tried.clear()
        self.tried.append(draft_id)
        if draft_id not in self._in_a_row:
            self._in_a_row.append(draft_id)
        return len(self._in_a_row) >= IN_A_ROW

    def stop(self, why: str, now_s: float, at_least_s: float = 0) -> list[int]:
        """
        Stop the sending for a while, longer each time; return who was refused before, once.

        It may be `at_least_s` long where the service wants that, within an hour.
        """
        before = [] if self.why else [i for i in self._in_a_row if i not in self._given_back]
        self._given_back.update(self._in_a_row)  # who is refused at a stop was never counted
        self.why = why
        self._pauses += 1
        self.until_s = now_s + max(pause_s(self._pauses), min(at_least_s, LEFT_ALONE_S))
        return before
