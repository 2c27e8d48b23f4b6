"""
The seeded history: any number of messages, made on the fly.

Message n of a box is a pure function of the seed and n, so a million of them cost nothing until
they are asked for. Ids grow with n, with gaps, as the live counters are shared by all customers;
the n of an id is found by arithmetic, and so are the messages of one device and those of a time.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from semysync.sandbox.clocks import DAY, SECOND
from semysync.sandbox.rows import Box, Row
from semysync.sandbox.samples import (
    INBOX_TEXTS,
    SENT_TEXTS,
    SERVICE_SENDERS,
    SERVICE_TEXTS,
    Text,
)

INBOX_BASE = 60_000_000
SENT_BASE = 70_000_000

_STEP = 7
WIDEST_GAP = 2 * _STEP - 1  #: ids advance by 1 to 13
_MASK = (1 << 64) - 1
_SPACING = 1200 * SECOND
_SHORTEST, _LONGEST = 7 * DAY, 730 * DAY
_QUIET_BEFORE_START = 120 * SECOND  # every seeded row has come to rest when the stand-in starts
_MOST_JITTER = 45 * SECOND


@dataclass(frozen=True, slots=True)
class Station:
    """A device as history needs it."""

    id: int
    type: int


class History:
    """The seeded messages of one box, oldest first."""

    def __init__(
        self,
        box: Box,
        count: int,
        *,
        base: int,
        seed: int,
        span: int,
        start: int,
        pool: int,
        stations: Sequence[Station],
    ) -> None:
        self.box = box
        self.count = count
        self.stations = stations
        self.generated = 0  #: rows made so far, for tests of laziness
        self._base = base
        self._salt = mixed(seed * 2 + (box == "sent"))
        self._spacing = span // max(count, 1)
        self._most_jitter = min(self._spacing, _MOST_JITTER)
        self._last_at = start - _QUIET_BEFORE_START
        self._contacts = _contacts(seed, pool)
        self._make = self._inbox_row if box == "inbox" else self._sent_row

    @property
    def end_id(self) -> int:
        """The lowest id above every seeded one."""
        return self._base + self.count * _STEP

    def id_of(self, n: int) -> int:
        """The id of message n."""
        return self._base + n * _STEP + self._bits(n) % _STEP

    def at_of(self, n: int) -> int:
        """When message n was made, or arrived."""
        return self._at(n, self._bits(n))

    def n_of(self, id_: int) -> int | None:
        """Which message has this id, if any."""
        n = (id_ - self._base) // _STEP
        return n if 0 <= n < self.count and self.id_of(n) == id_ else None

    def first_from_id(self, id_: int) -> int:
        """The first message whose id is not below `id_`; `count` if there is none."""
        n = min(max((id_ - self._base) // _STEP, 0), self.count)
        return n + (n < self.count and self.id_of(n) < id_)

    def first_from(self, at: int) -> int:
        """The first message that is not older than `at`; `count` if there is none."""
        n = min(max(self.count - 1 - (self._last_at - at) // self._spacing, 0), self.count)
        low, high = max(n - 2, 0), min(n + 2, self.count)
        return bisect_left(range(self.count), at, low, high, key=self.at_of)

    def station_of(self, n: int) -> Station:
        """The device of message n: they take turns, so one device's messages are a stride."""
        return self.stations[n % len(self.stations)]

    def row(self, n: int) -> Row:
        """Message n."""
        self.generated += 1
        return self._make(n, self._bits(n))

    def model(self, choice: int) -> Row:
        """Some row that could be in this box: its contact and text are good for a new one."""
        return self._make(choice % 100_000, self._bits(choice % 100_000))

    def _bits(self, n: int) -> int:
        return mixed(n ^ self._salt)

    def _at(self, n: int, bits: int) -> int:
        jitter = (bits >> 3) % self._most_jitter
        return self._last_at - (self.count - 1 - n) * self._spacing - jitter

    def _inbox_row(self, n: int, bits: int) -> Row:
        station = self.stations[n % len(self.stations)]
        if (bits >> 56) < 24:
            phone = SERVICE_SENDERS[(bits >> 24) % len(SERVICE_SENDERS)]
            text = SERVICE_TEXTS[(bits >> 40) % len(SERVICE_TEXTS)]
        else:
            phone = self._contact(bits)
            text = INBOX_TEXTS[(bits >> 40) % len(INBOX_TEXTS)]
        return Row(
            "inbox",
            self._base + n * _STEP + bits % _STEP,
            station.id,
            station.type,
            phone,
            _filled(text, bits),
            self._at(n, bits),
        )

    def _sent_row(self, n: int, bits: int) -> Row:
        station = self.stations[n % len(self.stations)]
        row = Row(
            "sent",
            self._base + n * _STEP + bits % _STEP,
            station.id,
            station.type,
            as_typed(self._contact(bits), (bits >> 56) & 63),
            _filled(SENT_TEXTS[(bits >> 40) % len(SENT_TEXTS)], bits),
            self._at(n, bits),
        )
        _settle(row, (bits >> 46) % 1000, bits)
        return row

    def _contact(self, bits: int) -> str:
        """A few contacts are busy, most are not: the square favours the front of the pool."""
        share = (bits >> 24) & 0xFFFF
        return self._contacts[share * share * len(self._contacts) >> 32]


def span_of(messages: int) -> int:
    """How long a history of so many messages reaches back: between a week and two years."""
    return min(max(messages * _SPACING, _SHORTEST), _LONGEST)


def pool_of(messages: int) -> int:
    """How many contacts share a history of so many messages."""
    return min(max(messages // 20, 10), 2000)


def mixed(number: int) -> int:
    """64 well-stirred bits of a number (splitmix64), the same on every machine."""
    bits = (number * 0x9E3779B97F4A7C15 + 0x632BE59BD9B4E019) & _MASK
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & _MASK
    return bits ^ (bits >> 31)


def as_typed(phone: str, chance: int) -> str:
    """A number as somebody typed it: mostly in full, now and then without plus or with an 8."""
    if chance == 1:
        return phone.removeprefix("+")
    if chance == 2 and phone.startswith("+7"):
        return "8" + phone[2:]
    return phone


def _contacts(seed: int, pool: int) -> list[str]:
    return [_contact_number(mixed(mixed(seed) ^ number)) for number in range(pool)]


def _contact_number(bits: int) -> str:
    kind, digits = bits % 10, bits >> 8
    if kind < 6:
        return f"+7920{digits % 10**7:07d}"
    if kind < 9:
        return f"+4477{digits % 10**8:08d}"
    return f"+9665{digits % 10**8:08d}"


def _filled(text: Text, bits: int) -> str:
    if text.tail is None:
        return text.head
    return f"{text.head}{(bits >> 8) % 9000 + 10}{text.tail}"


def _settle(row: Row, fate: int, bits: int) -> None:
    """Give a seeded row its final state, with dates a few seconds apart (section 4's arrows)."""
    if 950 <= fate < 965:
        row.cancelled = row.at + 9 * SECOND
        return
    row.fetched = row.at + SECOND + bits % (4 * SECOND)
    if fate >= 980:
        row.is_out = 1
    elif fate >= 965:
        return  # the phone took it and was never heard of again
    if 920 <= fate < 940:
        row.send_failed = row.fetched + 15 * SECOND
        return
    row.sent = row.fetched + SECOND + (bits >> 20) % (3 * SECOND)
    if 940 <= fate < 950:
        row.delivery_failed = row.sent + 40 * SECOND
    elif not 870 <= fate < 920:
        row.delivered = row.sent + SECOND + (bits >> 30) % (30 * SECOND)
