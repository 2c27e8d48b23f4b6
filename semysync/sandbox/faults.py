"""
Faults: what can go wrong between a call and its answer.

`Planned` says what a fault does to one answer; the server carries it out. `SPOILING` faults let the
call be carried out and damage what comes back; all others take the place of the call.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from semysync.sandbox.switches import Switches

SPOILING = frozenset({"bom", "warning", "cut", "truncated", "huge_text"})
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


def meets_fault(switches: Switches, method: str) -> bool:
    """Whether a call of this method meets the fault."""
    if switches.fault == "none":
        return False
    methods = {name.strip() for name in switches.fault_methods.split(",") if name.strip()}
    return not methods or method in methods


def after_one(switches: Switches) -> dict[str, object]:
    """The switches to set after one request has met the fault."""
    if switches.fault_times == 0:
        return {}
    left = switches.fault_times - 1
    return {"fault_times": left} if left else {"fault": "none", "fault_times": 0}


def page_for(switches: Switches, method: str) -> Page | None:
    """The page that stands in place of the answer; None for faults that are no page."""
    match switches.fault:
        case "html":
            return Page(200, _page("Scheduled maintenance"))
        case "empty":
            return Page(200)
        case "http_429":
            wait = {"Retry-After": str(switches.retry_after)} if switches.retry_after else {}
            return Page(429, _page("Too Many Requests"), wait)
        case "http_500":
            return Page(500, _page("Internal Server Error"))
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


def _page(title: str) -> bytes:
    return _PAGE.format(title).encode()
