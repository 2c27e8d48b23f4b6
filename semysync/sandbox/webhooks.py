"""
The calls that the service makes by itself: a message came in, or a sent one changed its status.

That it calls by POST and multipart, and with which fields, is likely; the rest are switches. Times
are those of the phone. Nobody signs a call, so anybody could make one: `webhook_forged` does.
"""

import json
import time
from collections import deque
from collections.abc import Mapping
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import httpx

from semysync.sandbox.history import mixed
from semysync.sandbox.rows import Clocks, Row, canonical

if TYPE_CHECKING:
    from semysync.sandbox.server import Sandbox
    from semysync.sandbox.switches import Switches

Which = Literal["inbox", "status"]

LOOK_EVERY_S = 0.02
TIMEOUT_S = 5.0
UNORDERED_S = 0.3  #: what comes within so long is sent in the wrong order
AGAIN_S = 0.3  #: after an answer that is no yes, where calls are repeated
MOST_REPEATS = 10
MOST_KEPT = 10_000


class Made(NamedTuple):
    """A call that was made: `status` is None where nobody has answered."""

    which: Which
    fields: dict[str, str]
    status: int | None
    forged: bool = False


class Due(NamedTuple):
    """A call that is to be made, at a time of a clock that cannot jump."""

    at: float
    which: Which
    fields: dict[str, str]
    forged: bool = False
    repeats: int = 0


class Webhooks:
    """Makes calls, from a thread of its own, to whom the account's owner has named."""

    def __init__(self, sandbox: "Sandbox") -> None:
        self._sandbox = sandbox
        self._lock = Lock()
        self._due: list[Due] = []
        self._thread: Thread | None = None
        self.urls: dict[Which, str] = {}
        self.made: deque[Made] = deque(maxlen=MOST_KEPT)

    def set(self, *, inbox: str | None = None, status: str | None = None) -> None:
        """Name the addresses that are called; None for none."""
        urls: dict[Which, str | None] = {"inbox": inbox, "status": status}
        self.urls = {which: url for which, url in urls.items() if url}
        self.begin()

    def begin(self) -> None:
        """Begin to call, where somebody is to be called."""
        if self.urls and self._thread is None and not self._sandbox.stopping.is_set():
            self._thread = Thread(target=self._run, name="webhooks", daemon=True)
            self._thread.start()

    def tell(self, row: Row, clocks: Clocks) -> None:
        """Hear of a row that is new in the inbox, or of a sent one with another status."""
        which: Which = "inbox" if row.box == "inbox" else "status"
        if which not in self.urls:
            return
        switches = self._sandbox.switches
        fields = fields_of(row, clocks, empty=switches.webhook_status == "empty")
        now = time.monotonic()
        at = now + {"late": switches.webhook_late_s, "unordered": UNORDERED_S}.get(
            switches.webhook_manner, 0.0
        )
        calls = [Due(at, which, fields)]
        if switches.webhook_manner == "lost":
            calls = []
        elif switches.webhook_manner == "doubled":
            calls *= 2
        if switches.webhook_forged == "yes":
            forged = fields | {"id": str(mixed(row.id) % 10**9 + 1), "msg": "forged"}
            calls.append(Due(at, which, forged, forged=True))
        with self._lock:
            self._due += calls

    def join(self) -> None:
        """Wait until the thread has ended, which it does when the stand-in stops."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(timeout=TIMEOUT_S + 1)

    def _run(self) -> None:
        with httpx.Client(timeout=TIMEOUT_S, trust_env=False) as http:
            while not self._sandbox.stopping.wait(LOOK_EVERY_S):
                self._sandbox.account.advance()
                for call in self._ready():
                    self._make(http, call)

    def _ready(self) -> list[Due]:
        """Take what is due; where the order is to be wrong, all that waits, the last first."""
        now = time.monotonic()
        with self._lock:
            ready = [call for call in self._due if call.at <= now]
            if ready and self._sandbox.switches.webhook_manner == "unordered":
                ready = self._due[::-1]
            self._due = [call for call in self._due if call not in ready]
        return ready

    def _make(self, http: httpx.Client, call: Due) -> None:
        url = self.urls.get(call.which)
        if url is None:
            return
        try:
            status = http.send(request(http, url, call.fields, self._sandbox.switches)).status_code
        except (httpx.HTTPError, OSError):
            status = None
        self.made.append(Made(call.which, call.fields, status, call.forged))
        repeated = self._sandbox.switches.webhook_repeated == "yes"
        if status != httpx.codes.OK and repeated and call.repeats < MOST_REPEATS:
            again = call._replace(at=time.monotonic() + AGAIN_S, repeats=call.repeats + 1)
            with self._lock:
                self._due.append(again)


def fields_of(row: Row, clocks: Clocks, *, empty: bool = False) -> dict[str, str]:
    """Return the fields of a call about a row; `empty`: without anything about its status."""
    shown: Mapping[str, Any] = canonical(row, clocks)
    if row.box == "inbox":
        names = ("id", "date", "phone", "msg", "type", "id_device")
        return {name: _text(shown.get(name)) for name in names}
    flags = {
        "is_send": shown.get("is_send") or "",
        "send_date": shown.get("send"),
        "is_delivered": shown.get("is_delivered") or "",
        "delivered_date": shown.get("delivered"),
    }
    about = {name: _text(shown.get(name)) for name in ("id", "id_device", "phone", "msg")}
    return about | {name: "" if empty else _text(value) for name, value in flags.items()}


def request(
    http: httpx.Client, url: str, fields: Mapping[str, str], switches: "Switches"
) -> httpx.Request:
    """Return a call in the encoding that the switches ask for."""
    if switches.webhook_verb == "get":
        return http.build_request("GET", url, params=dict(fields))
    match switches.webhook_encoding:
        case "multipart":
            parts = [(name, (None, value)) for name, value in fields.items()]
            return http.build_request("POST", url, files=parts)
        case "urlencoded":
            return http.build_request("POST", url, data=dict(fields))
    body = json.dumps(fields).encode()
    return http.build_request(
        "POST", url, content=body, headers={"Content-Type": "application/json"}
    )


def _text(value: Any) -> str:
    return "" if value is None else str(value)
