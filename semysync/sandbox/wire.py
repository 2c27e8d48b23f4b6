"""
Answers as bytes: envelopes, rows and values, bent by the switches.

Rows without overrides are written by a template when the switches that matter stand at their
defaults; everything else goes through `bent`, field by field. Both give the same text, which a test
holds them to. Answers are yielded in pieces, so that a million rows are never in memory at once.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from semysync.sandbox.rows import Clocks, Row, Verbatim, canonical
from semysync.sandbox.switches import Switches

ROWS_IN_A_PIECE = 500

FLAGS = frozenset(
    {
        "is_send_to_phone",
        "is_send",
        "is_delivered",
        "is_cancel",
        "is_error",
        "is_error_send",
        "is_out",
        "is_arhive",
        "is_deliv",
        "is_work",
        "power",
        "is_pay",
    }
)
#: null when nothing has happened
DATES = frozenset(
    {"send_to_phone", "send", "delivered", "cancel", "error_date", "date_end_premium"}
)
#: came late to the API, or were only seen by some clients
OPTIONAL = frozenset(
    {"is_cancel", "cancel", "is_out", "type", "bat", "limit_phone", "limit_use", "limit_period"}
)
#: the delete methods' samples lack them
NOT_IN_DELETES = frozenset({"is_cancel", "cancel", "is_out", "type"})
EXTRA = {"sim_slot": 1, "parts": {"total": 2, "reported": [1]}, "note": None}

_SERVER_DATE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}")
_PERMUTING_STEP = 7919

_quoted = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Ordered:
    """The part of a selection that the cap leaves, in the order that the switches ask for."""

    def __init__(self, selection: Sequence[Row], switches: Switches) -> None:
        self._selection = selection
        self._places = _capped(len(selection), switches)
        self._order = switches.order

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[Row]:
        places: Iterable[int] = self._places
        if self._order == "desc":
            places = reversed(self._places)
        elif self._order == "mixed":
            places = _shuffled(self._places)
        return (self._selection[place] for place in places)


def envelope(
    head: Mapping[str, Any], count: int, rows: Iterable[str], switches: Switches
) -> Iterator[str]:
    """A list answer: `code`, `count`, `data`; the rows come as JSON texts."""
    members = [f"{_quoted(name)}:{json_text(value)}" for name, value in head.items()]
    members.append(f'"count":{json_text(number_of(count, switches))}')
    if not count:
        if switches.empty != "missing":
            members.append(
                '"data":' + {"list": "[]", "object": "{}", "null": "null"}[switches.empty]
            )
        yield "{" + ",".join(members) + "}"
        return
    brackets = "{}" if switches.data == "object" else "[]"
    if switches.data == "object":
        rows = (f'"{number}":{row}' for number, row in enumerate(rows))
    yield "{" + ",".join(members) + f',"data":{brackets[0]}'
    waiting, comma = iter(rows), ""
    while piece := list(islice(waiting, ROWS_IN_A_PIECE)):
        yield comma + ",".join(piece)
        comma = ","
    yield f"{brackets[1]}}}"


def row_writer(
    switches: Switches, clocks: Clocks, lacking: Collection[str] = ()
) -> Callable[[Row], str]:
    """A function from a row to its JSON text."""

    def slow(row: Row) -> str:
        return object_text(bent(canonical(row, clocks), switches, lacking))

    if lacking or not _is_plain(switches):
        return slow
    templates = {"inbox": _inbox_text, "sent": _sent_text}
    return lambda row: templates[row.box](row, clocks) if row.raw is None else slow(row)


def bent(
    fields: Mapping[str, Any], switches: Switches, lacking: Collection[str] = ()
) -> dict[str, Any]:
    """A canonical row as the switches print it."""
    gone = {*lacking, *(OPTIONAL if switches.optional_fields == "missing" else ())}
    row = {
        name: _bent_value(name, value, switches)
        for name, value in fields.items()
        if name not in gone
    }
    return row | EXTRA if switches.extra_fields == "yes" else row


def object_text(fields: Mapping[str, Any]) -> str:
    """A JSON object, in the order of its fields."""
    return "{" + ",".join(f"{_quoted(name)}:{json_text(v)}" for name, v in fields.items()) + "}"


def json_text(value: Any) -> str:
    """JSON; `Verbatim` text stands as it is."""
    return str(value) if isinstance(value, Verbatim) else _quoted(value)


def encoded(text: str) -> bytes:
    """UTF-8; half a surrogate pair, which has none, becomes JSON's escape for it."""
    return text.encode("utf-8", "backslashreplace")


def number_of(value: int, switches: Switches) -> int | str:
    """A number as the switches print it."""
    return str(value) if switches.numbers == "text" else value


def _bent_value(name: str, value: Any, switches: Switches) -> Any:
    if isinstance(value, Verbatim):
        return value
    if name in FLAGS and type(value) is int and value in {0, 1}:
        return _flag(value, switches)
    if name in DATES and value is None:
        return "" if switches.unset_dates == "empty" else None
    if isinstance(value, str):
        return _shortened(value, switches) if _SERVER_DATE.fullmatch(value) else value
    return number_of(value, switches) if type(value) is int else value


def _flag(value: int, switches: Switches) -> Any:
    match switches.flags:
        case "text":
            return str(value)
        case "bool":
            return bool(value)
        case "null":
            return value or None
        case "empty":
            return value or ""
        case _:
            return value


def _shortened(date: str, switches: Switches) -> str:
    """The date with another number of digits behind the second."""
    if switches.fraction == "0":
        return date[:19]
    if switches.fraction == "short":
        digits = 1 + int(date[20:]) % 5
        return f"{date[:21]}{date[21 : 20 + digits].rstrip('0')}"
    return date


def _is_plain(switches: Switches) -> bool:
    return (
        switches.numbers == "int"
        and switches.flags == "int"
        and switches.optional_fields == "present"
        and switches.extra_fields == "no"
        and switches.fraction == "6"
        and switches.unset_dates == "null"
    )


def _inbox_text(row: Row, clocks: Clocks) -> str:
    date = clocks.phone(row.device_id).seconds(row.at)
    return (
        f'{{"id":{row.id},"phone":{_quoted(row.phone)},"date":"{date}",'
        f'"msg":{_quoted(row.text)},"id_device":{row.device_id},"type":{row.type}}}'
    )


def _sent_text(row: Row, clocks: Clocks) -> str:
    server, phone = clocks.server.micros, clocks.phone(row.device_id).seconds
    fetched, sent, delivered, cancelled = row.fetched, row.sent, row.delivered, row.cancelled
    failed = row.send_failed if row.send_failed is not None else row.delivery_failed
    head = (
        f'{{"id":{row.id},"phone":{_quoted(row.phone)},"date":"{server(row.at)}",'
        f'"msg":{_quoted(row.text)},"id_device":{row.device_id},"send_to_phone":'
    )
    head += (
        'null,"is_send_to_phone":0,'
        if fetched is None
        else f'"{server(fetched)}","is_send_to_phone":1,'
    )
    head += '"is_send":0,"send":null,' if sent is None else f'"is_send":1,"send":"{phone(sent)}",'
    head += (
        '"is_delivered":0,"delivered":null,'
        if delivered is None
        else f'"is_delivered":1,"delivered":"{phone(delivered)}",'
    )
    head += (
        '"is_cancel":0,"cancel":null,'
        if cancelled is None
        else f'"is_cancel":1,"cancel":"{server(cancelled)}",'
    )
    if failed is None:
        head += '"is_error":0,"is_error_send":0,"error_date":null'
    else:
        head += (
            f'"is_error":{int(row.delivery_failed is not None)},'
            f'"is_error_send":{int(row.send_failed is not None)},"error_date":"{phone(failed)}"'
        )
    return f'{head},"is_out":{row.is_out},"type":{row.type}}}'


def _capped(count: int, switches: Switches) -> range:
    if not switches.cap or count <= switches.cap:
        return range(count)
    if switches.cap_keeps == "oldest":
        return range(switches.cap)
    return range(count - switches.cap, count)


def _shuffled(places: range) -> Iterator[int]:
    """Each place once, in an order that is neither up nor down from two places on."""
    count = len(places)
    step = _PERMUTING_STEP if count % _PERMUTING_STEP else _PERMUTING_STEP + 8
    return (places[(number * step + count // 2) % count] for number in range(count))
