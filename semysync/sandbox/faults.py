"""
Faults: what can go wrong between a call and its answer.

A fault comes from the switches, or from an `Order` for certain calls, which goes first. Either way
it becomes a `Mishap` of one call, which the server carries out. Each kind can happen before the
effect (the call is not carried out) or after it (only the answer suffers); `SPOILING` faults
usually do the latter, all others the former.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from semysync.sandbox.switches import METHODS, Fault, Switches

SPOILING = frozenset({"bom", "warning", "cut", "truncated", "huge_text"})
SILENT = frozenset({"hang", "drop", "reset", "down"})
HUGE_BYTES = 40 * 1024 * 1024

_WARNING = (
    "<br />\n<b>Warning</b>:  Undefined variable $row in <b>/var/www/api/3/list.php</b>"
    " on line <b>12</b><br />\n"
)
_PAGE = "<!DOCTYPE html>\n<html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>\n"


@dataclass(frozen=True, slots=True)
class Page:
    """An answer that is no JSON."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "text/html; charset=UTF-8"


@dataclass(frozen=True, slots=True)
class Mishap:
    """What goes wrong with one call; `fault` may be none."""

    fault: Fault = "none"
    carried_out: bool = True
    status: int = 200  #: of api_error
    retry_after: int = 0
    down_s: float = 0


FINE = Mishap()


class Order(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A fault for the nth call of some methods, counted from when it was ordered, and those after."""

    fault: Fault
    when: Literal["before", "after"] = "before"  #: the effect of the call
    method: str = ""  #: one method, or several by comma; empty is any
    nth: Annotated[int, Meta(ge=1)] = 1
    times: Annotated[int, Meta(ge=0)] = 1  #: how many calls meet it; 0 is all from the nth on
    status: Literal[200, 400, 500] = 200
    retry_after: Annotated[int, Meta(ge=0)] = 0
    down_s: Annotated[float, Meta(ge=0)] = 1.0
    seen: int = 0  #: calls of these methods so far

    def __post_init__(self) -> None:
        for name in _names(self.method):
            if name not in METHODS:
                raise ValueError(f"method must name methods ({', '.join(METHODS)}), got {name!r}")

    def is_for(self, method: str) -> bool:
        """Whether calls of this method count."""
        return not self.method or method in _names(self.method)

    @property
    def is_due(self) -> bool:
        """Whether the next call that counts meets it."""
        return self.seen + 1 >= self.nth and not self.is_done

    @property
    def is_done(self) -> bool:
        """Whether no further call can meet it."""
        return self.times > 0 and self.seen + 1 >= self.nth + self.times


def first_met(orders: Iterable[Order], method: str) -> Order | None:
    """The order that a call meets. It counts for all, but one that it cannot meet too must wait."""
    met: Order | None = None
    for order in orders:
        if order.is_for(method) and not (met and order.is_due):
            met = order if order.is_due else met
            order.seen += 1
    return met


def ordered(fields: dict[str, Any]) -> Order:
    """An order from its fields, each checked."""
    return msgspec.convert(fields, Order)


def mishap_of_order(order: Order) -> Mishap:
    return Mishap(order.fault, order.when == "after", order.status, order.retry_after, order.down_s)


def mishap_of_switches(switches: Switches, method: str) -> Mishap:
    """What the switches let a call of this method meet."""
    methods = _names(switches.fault_methods)
    if switches.fault == "none" or (methods and method not in methods):
        return FINE
    carried_out = (
        switches.fault in SPOILING
        if switches.fault_when == "usual"
        else switches.fault_when == "after"
    )
    return Mishap(
        switches.fault, carried_out, switches.fault_status, switches.retry_after, switches.down_s
    )


def after_one(switches: Switches) -> dict[str, object]:
    """The switches to set after one request has met the fault."""
    if switches.fault_times == 0:
        return {}
    left = switches.fault_times - 1
    return {"fault_times": left} if left else {"fault": "none", "fault_times": 0}


def page_for(mishap: Mishap, method: str) -> Page | None:
    """The page that stands in place of the answer; None for faults that are no page."""
    wait = {"Retry-After": str(mishap.retry_after)} if mishap.retry_after else {}
    match mishap.fault:
        case "html":
            return Page(200, _page("Scheduled maintenance"))
        case "empty":
            return Page(200)
        case "http_429":
            return Page(429, _page("Too Many Requests"), wait)
        case "http_500":
            return Page(500, _page("Internal Server Error"))
        case "http_502":
            return Page(502, _page("Bad Gateway"))
        case "http_503":
            return Page(503, _page("Service Unavailable"), wait)
        case "http_404":
            return not_found()
        case "redirect":
            return Page(302, _page("Found"), {"Location": f"/moved/{method}.php"})
        case _:
            return None


def not_found() -> Page:
    return Page(404, _page("404 Not Found"))


def spoiled(fault: str, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The pieces of an answer with something before them, or less of them."""
    if fault == "bom":
        yield b"\xef\xbb\xbf"
    elif fault == "warning":
        yield _WARNING.encode()
    elif fault == "huge_text":
        blanks = b" " * (1024 * 1024)
        for _ in range(HUGE_BYTES // len(blanks)):
            yield blanks
    elif fault == "truncated":
        whole = b"".join(pieces)
        yield whole[: len(whole) // 2]
        return
    yield from pieces


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _page(title: str) -> bytes:
    return _PAGE.format(title).encode()
