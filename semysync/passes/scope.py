"""
Decide whether a box may be asked for the account as a whole, and where that would go on.

Whether a question without a device is answered in full is unknown: it may be refused, be answered
by nothing, or by the messages of some devices only. So boxes are read device by device until a
*probe* has shown better: what answers without a device hold is compared with what is surely there.
It is made in a pass that reads every device by itself first, begun at a moment `t`. Then

* a device counts as *shown* if an answer without a device held a message of it;
* it counts as *hidden* if such an answer lacked a message, between its lowest and its highest id
  or anywhere if it was too small to be cut, that the same question with the device shows;
* the probe *passes* if no device of the account is hidden, and two are shown, or the only one that
  has messages. That an answer is empty proves nothing in favour.

After that, one question without a device stands for all that are shown. The others (those without
any message, and such as are new since) are asked beside it, each by itself. The probe is repeated
after some hours, whenever the devices of the account change, and after an answer without any row.

Why nothing is lost by going over to the whole account: `joined` sets its mark to the newest message
`x` in the mirror at `t`. After `t` every device was read by itself, completely, and as far back as
what was new a `lookback` before. So of each device every message with an id up to `x` that the
account showed at `t` is in the mirror. What shows up later with a lower id is younger than a
`lookback`, hence above the highest id that was known then, and the highest `lookback_id` of all
devices is not above that: there the account's looks back begin. Neither depends on how long a
device has been silent, so that no history is read again. Devices that are gone are not waited for:
if they don't answer, nothing but a whole reading of the account could tell what they still hold.

Why nothing is lost by going back: the devices' marks have stood still since the last probe, as only
questions for the device itself move them. What answers without a device may have lacked meanwhile
is above them, and comes with the next question for the device; the same in each repeated probe.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal, NamedTuple, Protocol

import msgspec

from semysync.errors import Refused, Throttled
from semysync.mirror.tables.devices import KnownDevice
from semysync.mirror.tables.marks import WHOLE_ACCOUNT, Mark
from semysync.model import HIGHEST_ID, Box, Illegible
from semysync.passes.look import FEW
from semysync.passes.pull import Account, History
from semysync.service.questions import Range
from semysync.times import from_utc_text, utc_text

Scope = Literal["auto", "account", "device"]

AFTER_PASSED = timedelta(hours=6)  #: until a probe is repeated
AFTER_FAILED = timedelta(days=1)
AFTER_NOTHING = timedelta(minutes=5)  #: … if it came to nothing, for lack of answers
SAMPLE = 50  #: messages, the newest of a box; other devices are then asked about one by one


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What the last probe of a box came to, as it is kept in `settings`."""

    shown: list[int] = []  #: devices that answers for the whole account stand for; empty: by device
    devices: str = ""  #: those of the account at that time, as `roster` writes them
    probed_at: str | None = None
    tried_at: str | None = None  #: when one was last begun, finished or not


class Findings(NamedTuple):
    """What a probe has seen of the devices."""

    shown: frozenset[int] = frozenset()
    hidden: frozenset[int] = frozenset()


class Known(Protocol):
    """What a probe needs of the mirror: the store, in real life."""

    def newest(self, box: Box, device_id: int, skip: int = 0) -> int: ...
    def oldest(self, box: Box, device_id: int, above: int) -> int: ...
    def owners(self, box: Box, low: int, high: int) -> dict[int, int]: ...


def roster(devices: Iterable[KnownDevice]) -> str:
    """Write down which devices the account has, and which of them are archived."""
    return " ".join(f"{d.id}{'a' * d.archived}" for d in devices if d.there)


def due(standing: Standing, devices: str, now: datetime) -> bool:
    """Tell whether a probe should be made in this pass."""
    if not _past(standing.tried_at, AFTER_NOTHING, now):
        return False
    interval = AFTER_PASSED if standing.shown else AFTER_FAILED
    return standing.devices != devices or _past(standing.probed_at, interval, now)


def begun(standing: Standing, now: datetime) -> Standing:
    """Note that a probe is being made, so that one which comes to nothing is not made at once again."""
    return msgspec.structs.replace(standing, tried_at=utc_text(now))


def doubted(now: datetime) -> Standing:
    """Return what is left of a standing when the account gave no rows: by device, till a probe."""
    return Standing(tried_at=utc_text(now))


def settled(
    found: Findings, devices: Sequence[KnownDevice], filled: int, now: datetime
) -> Standing:
    """Draw the conclusion of a probe; `filled` devices of the account have messages in the box."""
    there = {device.id for device in devices if device.there}
    enough = min(2, filled)
    passed = enough > 0 and len(found.shown & there) >= enough and not found.hidden & there
    return Standing(
        shown=sorted(found.shown - found.hidden) if passed else [],
        devices=roster(devices),
        probed_at=utc_text(now),
        tried_at=utc_text(now),
    )


def joined(
    marks: Collection[Mark], newest: int, thousandth: int, now: datetime, *, history: History
) -> Mark:
    """
    Return the mark for the whole account, from where its devices stood when they were read at
    `now`.

    `newest` and `thousandth` are the ids of the newest and of the thousandth newest message in the
    mirror at that moment.
    """
    lookback_id = max(mark.lookback_id for mark in marks)
    return Mark(
        last_id=newest,
        floor_id=min(mark.floor_id for mark in marks),
        history=str(history),
        top_id=newest,
        lookback_id=min(lookback_id, thousandth or newest),
        lookback_next_id=newest,
        lookback_at=utc_text(now),
        loaded_at=utc_text(now),
    )


def probe(account: Account, mirror: Known, box: Box, there: Collection[int]) -> Findings:
    """
    Compare answers with and without a device; all devices must just have been read one by one.

    Raises `ServiceError` where it gets no answer that proves anything. A refusal does.
    """
    newest = {number: mirror.newest(box, number) for number in there}
    shown: set[int] = set()
    hidden: set[int] = set()
    try:
        for asked in _questions(mirror, box, newest, shown):
            owners = mirror.owners(box, asked.start, asked.end or HIGHEST_ID)
            ids = _ids(account, box, asked, WHOLE_ACCOUNT)
            shown |= {owners[number] for number in ids if number in owners}
            for device_id, missed in lacking(asked, ids, owners).items():
                if _still_there(account, box, asked, device_id, missed):
                    hidden.add(device_id)
            if hidden or (asked.end and ids and ids[-1] > asked.end):
                break  # it is decided; or `end_id` is ignored, and every answer would be as large
    except Throttled:
        raise
    except Refused:
        return Findings()
    return Findings(frozenset(shown), frozenset(hidden))


def lacking(
    asked: Range, ids: Sequence[int], owners: Mapping[int, int]
) -> dict[int, frozenset[int]]:
    """
    Return the messages, by device, that an answer should have held and did not.

    `ids` are the answer's, ascending; `owners` are the messages known to be in the range.
    """
    if len(ids) < FEW:  # too small to be cut; whether the ends belong to the range is unknown
        low, high = asked.start + 1, asked.end - 1 if asked.end else HIGHEST_ID
    else:
        low, high = ids[0], ids[-1]
    missed: dict[int, set[int]] = {}
    for number in owners.keys() - set(ids):
        if low <= number <= high:
            missed.setdefault(owners[number], set()).add(number)
    return {device_id: frozenset(numbers) for device_id, numbers in missed.items()}


def _questions(
    mirror: Known, box: Box, newest: Mapping[int, int], shown: Collection[int]
) -> Iterable[Range]:
    """Yield a question about the newest messages, then one for each device not seen till then."""
    start = mirror.newest(box, WHOLE_ACCOUNT, skip=SAMPLE - 1)
    start = start or mirror.oldest(box, WHOLE_ACCOUNT, above=0)
    if start:
        yield Range(max(1, start - 1))
    for device_id, number in sorted(newest.items()):
        if number and device_id not in shown:
            yield Range(max(1, number - 1), number + 1)


def _ids(account: Account, box: Box, asked: Range, device_id: int) -> list[int]:
    rows = account.messages(box, asked, device_id or None)
    return sorted(row.id for row in rows if not isinstance(row, Illegible))


def _still_there(
    account: Account, box: Box, asked: Range, device_id: int, missed: frozenset[int]
) -> bool:
    """Tell whether the device itself shows a message that it is missed by: it may have been deleted."""
    try:
        return not missed.isdisjoint(_ids(account, box, asked, device_id))
    except Throttled:
        raise
    except Refused:  # a device that is gone need not answer
        return False


def _past(moment: str | None, interval: timedelta, now: datetime) -> bool:
    """Tell whether an interval has gone by; a clock that went back counts as if it had."""
    return moment is None or not timedelta(0) <= now - from_utc_text(moment) < interval
