"""
Learn how far the clocks of the service and of the phones are from UTC. Nothing here does any I/O.

The service prints local times without an offset. What is sure is the order of things: what a clock
printed for an event that lies between two moments of ours fits one offset only, if the two moments
are close. Such events are a phone's contact with the service (`last_active_at` moved between two
readings of the list of devices), a message's way from the service to the network (the phone sends
it within minutes of fetching it), and a received message that one pull did not show and the next
one did. A single event may mislead, such as a message that a phone uploads hours late; several that
agree hardly do. Where a phone is offline for the same quarters of an hour again and again, they do:
but nothing arrives before it was sent, so the offset that makes things least late is the right one.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from semysync.mirror.tables.clocks import Moment
from semysync.times import only_offset

AT_ONCE = timedelta(seconds=60)  #: a phone hands a message on within so much, if not offline
LEAST_SENT = 2  #: messages that must agree
LEAST_RECEIVED = 3  #: as many of these, which mislead more easily


class Evidence(NamedTuple):
    """A clock printed this for something that happened between two moments."""

    printed: datetime
    earliest: datetime
    latest: datetime


def service_offset(
    before: Mapping[int, datetime], after: Mapping[int, datetime], earliest: datetime, now: datetime
) -> int | None:
    """
    Return the offset of the service's clock, in minutes east, or None.

    `before` and `after` are the last contacts of each device as printed in two readings, made at
    `earliest` and just now. Phones that have been in touch meanwhile must all agree.
    """
    offsets = {
        only_offset(printed, earliest, now)
        for number, printed in after.items()
        if number in before and before[number] != printed
    }
    known = offsets - {None}
    return known.pop() if len(known) == 1 else None


def phone_offset(sent: Iterable[Moment], received: Iterable[Moment]) -> int | None:
    """
    Return the offset of a phone's clock, in minutes east, or None.

    `sent` are printed times of sending, each with when the phone had fetched the message;
    `received` printed times of receipt, each with when a pull first showed the message. What was
    sent proves more, and is asked first.
    """
    on_its_way = (Evidence(printed, near, near + AT_ONCE) for printed, near in sent)
    arrived = (Evidence(printed, near - AT_ONCE, near) for printed, near in received)
    # What is late makes a clock seem fast that printed the end, and slow if it printed the
    # beginning.
    offset = min(agreed(on_its_way, LEAST_SENT), default=None)
    return max(agreed(arrived, LEAST_RECEIVED), default=None) if offset is None else offset


def agreed(events: Iterable[Evidence], least: int) -> list[int]:
    """Return the offsets that at least so many of the events prove."""
    offsets = Counter(only_offset(*event) for event in events)
    return [offset for offset, n in offsets.items() if offset is not None and n >= least]
