"""
What hooks do: run a program, post to an address, notify people by Apprise.

Each is given what there is to tell of an event, and returns what came of it. Nothing is raised: a
failure is a sentence, in which no address or secret stands.
"""

import importlib.util
import json
import logging
import os
import re
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from hashlib import sha256
from typing import Any, NamedTuple, Protocol
from urllib.parse import unquote, urlsplit

from semysync import __version__
from semysync.config import Hook
from semysync.config.listening import is_loopback
from semysync.follow import programs, signing
from semysync.follow.words import in_words
from semysync.mirror.reading.tellings import Telling
from semysync.service.line import Line

RUN_LIMIT_S = 60.0
POST_LIMIT_S = 30.0
PATH = "/usr/local/bin:/usr/bin:/bin"  #: where the daemon has none
ANSWER_KEPT = 2_000  #: bytes of what a receiver answers
WITHOUT_APPRISE = "`notify` needs Apprise: pip install 'semysync[notify]'"


class Outcome(NamedTuple):
    """What came of an attempt: `why` it failed, None where it did not."""

    why: str | None
    output: str | None = None
    done_parts: str = ""  #: of several addresses, those that are served
    stopped: bool = False  #: it was broken off since the daemon ends


class Action(Protocol):
    """What a hook does with an event; `done_parts` are those that earlier attempts have served."""

    def __call__(self, telling: Telling, done_parts: str, /) -> Outcome: ...


def action_of(hook: Hook, stopping: threading.Event) -> Action:
    """Return what a hook does."""
    if hook.run:
        return Run(hook.run, stopping)
    if hook.url:
        return Post(hook.url, hook.secret)
    return Notify(hook.notify)


def lacking(hook: Hook) -> str | None:
    """Say what must be installed for a hook; None where nothing is missing."""
    if hook.notify and importlib.util.find_spec("apprise") is None:
        return WITHOUT_APPRISE
    return None


def as_json(telling: Telling) -> bytes:
    """Return the event as programs and receivers get it."""
    return json.dumps(telling, ensure_ascii=False).encode("utf-8", "replace")


class Run:
    """Run a program with the event on its standard input."""

    def __init__(
        self, argv: Sequence[str], stopping: threading.Event, limit_s: float = RUN_LIMIT_S
    ) -> None:
        self._argv = argv
        self._stopping = stopping
        self._limit_s = limit_s

    def __call__(self, telling: Telling, done_parts: str, /) -> Outcome:
        ended = programs.run(
            self._argv,
            as_json(telling) + b"\n",
            environment(telling),
            limit_s=self._limit_s,
            stopping=self._stopping,
        )
        return Outcome(ended.why, ended.output or None, done_parts, stopped=ended.stopped)


def environment(telling: Telling) -> dict[str, str]:
    """Return all that stands in the environment of a hook's program."""
    return {
        "PATH": os.environ.get("PATH") or PATH,
        "LANG": os.environ.get("LANG") or "C.UTF-8",
        "SEMYSYNC_EVENT": str(telling["kind"]),
        "SEMYSYNC_SEQ": str(telling["seq"]),
    }


class Post:
    """Post the event to an address, signed where there is a secret."""

    def __init__(self, url: str, secret: str | None, limit_s: float = POST_LIMIT_S) -> None:
        self._url = url
        self._secret = secret
        self._limit_s = limit_s
        self._http: Any = None

    def __call__(self, telling: Telling, _done_parts: str, /) -> Outcome:
        import httpx  # noqa: PLC0415  slow to import

        body = as_json(telling)
        headers = {
            "Content-Type": "application/json",
            "Connection": "close",  # the next event may be hours away
            "User-Agent": f"semysync/{__version__}",
            **signing.headers(telling["id"], int(time.time()), body, self._secret),
        }
        line = Line()
        # Time limits of httpx are for each piece that comes, and there may be pieces without end.
        limit = threading.Timer(self._limit_s, line.hang_up)
        limit.daemon = True
        limit.start()
        try:
            status, answer = self._posted(body, headers, line)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, ImportError) as exc:
            if line.is_hung_up or isinstance(exc, httpx.TimeoutException):
                return Outcome(f"{self._shown} does not answer within {self._limit_s:g} s")
            # The others: a proxy or a file of certificates, named by the environment, is no good.
            words = str(exc).replace(self._url, "***") or type(exc).__name__
            return Outcome(f"cannot reach {self._shown}: {words}")
        finally:
            limit.cancel()
        if 200 <= status < 300:
            return Outcome(None, answer or None)
        if 300 <= status < 400:
            why = f"{self._shown} answers {status}: it sends us elsewhere, which is not followed"
            return Outcome(why, answer or None)
        return Outcome(f"{self._shown} answers {status}", answer or None)

    @property
    def _shown(self) -> str:
        return urlsplit(self._url).hostname or "the address"

    def _posted(self, body: bytes, headers: Mapping[str, str], line: Line) -> tuple[int, str]:
        import httpx  # noqa: PLC0415  slow

        kept = bytearray()
        with self._client().stream(
            "POST", self._url, content=body, headers=headers, extensions={"trace": line.trace}
        ) as response:
            with suppress(httpx.HTTPError):  # it has said yes or no; what comes behind is words
                for piece in response.iter_raw():
                    kept += piece[: ANSWER_KEPT - len(kept)]
                    if len(kept) >= ANSWER_KEPT:
                        break
            status: int = response.status_code
            return status, kept.decode("utf-8", "replace").replace("\0", "\ufffd")

    def _client(self) -> Any:
        """Return the client: to make one reads all the certificates of this machine."""
        import httpx  # noqa: PLC0415  slow

        if self._http is None:
            own = is_loopback(self._shown)  # no proxy for it
            self._http = httpx.Client(timeout=self._limit_s / 2, trust_env=not own)
        self._http.cookies.clear()
        return self._http


class Notify:
    """Notify people by Apprise; an address that has had the event is left out of repeats."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses

    def __call__(self, telling: Telling, done_parts: str, /) -> Outcome:
        try:
            import apprise  # noqa: PLC0415  slow to import, and an extra
        except ImportError:
            return Outcome(WITHOUT_APPRISE)
        title, body = in_words(telling)
        done = set(done_parts.split())
        failed = []
        for address in self._addresses:
            mark = sha256(address.encode()).hexdigest()[:8]
            if mark in done:
                continue
            if why := _notified(apprise, address, title, body):
                failed.append(why)
            else:
                done.add(mark)
        return Outcome("; ".join(failed) or None, None, " ".join(sorted(done)))


def _notified(apprise: Any, address: str, title: str, body: str) -> str | None:
    """Send a notification; say why it did not go."""
    scheme = address.partition(":")[0]
    said: list[str] = []
    listening = _said.set(said)
    try:
        _EAR.listen()
        notifier = apprise.Apprise()
        if not notifier.add(address):
            return f"{scheme}: Apprise does not understand this address"
        if notifier.notify(body=body, title=title, body_format=apprise.NotifyFormat.TEXT):
            return None
    except Exception as exc:  # noqa: BLE001  it has a hundred plug-ins
        return f"{scheme}: {type(exc).__name__}"
    finally:
        _said.reset(listening)
    return f"{scheme}: {_without_secrets(said[-1], address) if said else 'it was not taken'}"


def _without_secrets(said: str, address: str) -> str:
    for part in re.split(r"[:/@?&=]+", address)[1:]:
        for secret in {part, unquote(part)}:
            if len(secret) > 3:
                said = said.replace(secret, "***")
    return said[:200]


_said: ContextVar[list[str] | None] = ContextVar("said", default=None)


class _Ear(logging.Handler):
    """Hears what Apprise says, for whoever has asked it: it works in threads of its own."""

    def listen(self) -> None:
        logger = logging.getLogger("apprise")
        logger.propagate = False  # what it says may hold the address
        logger.addHandler(self)  # once: the second time changes nothing

    def emit(self, record: logging.LogRecord) -> None:
        if (said := _said.get()) is not None:
            said.append(record.getMessage())


_EAR = _Ear(logging.WARNING)
