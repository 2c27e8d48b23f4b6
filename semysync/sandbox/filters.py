"""
The filters of the list and delete methods, read the way the switches say.

Names are documented; what zero, blanks, several devices and a missing device mean is not, so each
has a switch. `start_id`, `list_id` (sent) and the dates lift today-only, the others do not.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC

from semysync.sandbox.clocks import WallClock
from semysync.sandbox.devices import Device
from semysync.sandbox.refusals import Refusal
from semysync.sandbox.rows import Box, Clocks, Row, canonical
from semysync.sandbox.selection import Wanted
from semysync.sandbox.switches import Switches

FILTERS = ("device", "start_id", "end_id", "list_id", "date_start", "date_end", "phone")

_LIFTING = {"start_id", "list_id", "date_start", "date_end"}
_UTC = WallClock(UTC)


def read_filters(
    box: Box,
    params: Mapping[str, str],
    *,
    switches: Switches,
    clocks: Clocks,
    devices: Mapping[int, Device],
    now: int,
) -> Wanted:
    """What a list or delete call asks for."""
    given = _given(box, params, switches)
    ids = _ids(given["list_id"], switches) if "list_id" in given else None
    by_print = switches.date_filter_clock == "printed"
    by = clocks.phones if switches.date_filter_clock == "phone" else clocks.server
    since, until = _dates(given, by)
    printed = _printed(given, clocks) if by_print else None
    if by_print:
        since = until = None
    lifted = switches.today_only == "off" or not _LIFTING.isdisjoint(given)
    if not lifted:
        since, next_day = (clocks.server if switches.today == "server" else _UTC).day(now)
        until = next_day - 1
    return Wanted(
        low=_low(given, switches),
        high=_high(given, switches),
        ids=ids,
        since=since,
        until=until,
        printed=printed,
        devices=_devices(given, switches, devices),
        phone=given.get("phone"),
        any_of=switches.filters == "or" and lifted,
    )


def whole_number(text: str) -> int:
    """A number as PHP reads one: leading digits, blanks before them, else zero."""
    match = re.match(r"\s*([+-]?\d{1,18})", text)
    return int(match[1]) if match else 0


def id_list(text: str) -> list[int]:
    """Ids joined by commas; blanks around them do no harm (likely), nor do leading zeros."""
    return [whole_number(part) for part in text.split(",") if part.strip()]


def _given(box: Box, params: Mapping[str, str], switches: Switches) -> dict[str, str]:
    """The filters that count as given."""
    names = set(FILTERS)
    if box == "inbox" and switches.list_id_inbox == "ignored":
        names.discard("list_id")
    return {
        name: value
        for name, value in params.items()
        if name in names and (switches.zero == "value" or value.strip() not in {"", "0"})
    }


def _low(given: Mapping[str, str], switches: Switches) -> int | None:
    if "start_id" not in given:
        return None
    return whole_number(given["start_id"]) + (switches.start_id == "exclusive")


def _high(given: Mapping[str, str], switches: Switches) -> int | None:
    if "end_id" not in given or switches.end_id == "ignored":
        return None
    return whole_number(given["end_id"]) - (switches.end_id == "exclusive")


def _ids(text: str, switches: Switches) -> frozenset[int]:
    ids = id_list(text)
    limit = switches.list_id_limit
    if limit and len(ids) > limit:
        if switches.list_id_over == "error":
            raise Refusal("too_many_ids")
        ids = ids[:limit]
    return frozenset(ids)


def _dates(given: Mapping[str, str], clock: WallClock) -> tuple[int | None, int | None]:
    bounds: list[int | None] = []
    for name in ("date_start", "date_end"):
        at = None
        if name in given:
            # An empty date that is "a value" is the year nought: nothing is older.
            at = clock.read(given[name]) if given[name].strip() else 0
            if at is None:
                raise Refusal("date")
        bounds.append(at)
    return bounds[0], bounds[1]


def _printed(given: Mapping[str, str], clocks: Clocks) -> Callable[[Row], bool] | None:
    """Compare the dates with what is printed in a row, as a column of a table would be."""
    bounds = _dates(given, _UTC)
    if bounds == (None, None):
        return None
    since, until = bounds

    def shows(row: Row) -> bool:
        at = _UTC.read(str(canonical(row, clocks).get("date")))
        return at is not None and (since or 0) <= at and (until is None or at <= until)

    return shows


def _devices(
    given: Mapping[str, str], switches: Switches, devices: Mapping[int, Device]
) -> frozenset[int] | None:
    if "device" in given:
        return _named_devices(given["device"].strip(), switches, devices)
    if switches.list_device == "required":
        raise Refusal("device")
    if "list_id" in given:
        return frozenset() if switches.list_id_device == "right" else None
    if switches.list_device == "empty":
        return frozenset()
    if switches.list_device == "partial":
        return frozenset(sorted(devices)[::2])
    return None


def _named_devices(text: str, switches: Switches, devices: Mapping[int, Device]) -> frozenset[int]:
    several = text == "active" or "," in text
    if several and switches.several_devices == "refused":
        raise Refusal("device")
    if text == "active":
        return frozenset(device.id for device in devices.values() if device.is_ready)
    found = frozenset(id_list(text)) & devices.keys()
    if not found:
        raise Refusal("device")
    return found
