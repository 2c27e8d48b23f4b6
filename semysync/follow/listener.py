"""
The listener: it takes the service's webhooks, and tells of health and metrics.

A call of a webhook is a hint and nothing else. It is answered at once, wakes the pull of its box,
and is compared with the mirror later. Who does not know a secret learns nothing, and leaves no
trace but a counter: no line is logged for a call, neither by us nor by uvicorn.

The server has a thread of its own. Where the port is taken, or something is not installed, that is
said in a sentence and tried again; the daemon goes on.
"""

import asyncio
import hmac
import logging
import socket
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import closing, suppress
from hashlib import sha256
from pathlib import Path
from threading import Event, Thread
from typing import Any, NamedTuple

import structlog
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from semysync.config.listening import Address
from semysync.errors import SemysyncError
from semysync.follow.calls import fields_of, hint_of
from semysync.follow.hints import Awaited, Doorbell
from semysync.follow.metrics import Metrics
from semysync.mirror.file import explained, open_reader

log = structlog.get_logger("semysync")

BOXES = {"inbox": "inbox", "status": "sent"}  #: the end of a webhook's address, and its box
LARGEST_CALL = 64 * 1024  #: bytes
SLOWEST_CALL_S = 10.0
MOST_AT_ONCE = 100  #: connections
AGAIN_S = 30.0  #: after the port could not be had
STOP_S = 5.0
QUIET = ("uvicorn", "uvicorn.error", "python_multipart")  #: they log calls that make no sense

CLOSE = {"Connection": "close"}  #: one call a connection: none is kept for nothing
HEALTH = "select * from health"

Handler = Callable[[Request], Awaitable[Response]]


class Served(NamedTuple):
    """What is served beside webhooks."""

    health: bool
    metrics: bool


class Listener:
    """
    Listens for as long as the daemon runs; `hint` is called with a box, and the devices to ask first.

    `secrets` are those that may stand in the addresses of webhooks.
    """

    def __init__(
        self,
        address: Address,
        mirror: Path,
        *,
        secrets: Sequence[str],
        served: Served,
        awaited: Awaited,
        hint: Callable[[str, Collection[int]], object],
        metrics: Metrics,
    ) -> None:
        self._address = address
        self._mirror = mirror
        self._secrets = [sha256(secret.encode()).digest() for secret in secrets]
        self._served = served
        self._awaited = awaited
        self._hint = hint
        self._metrics = metrics
        self._devices: dict[str, set[int]] = {}
        self._stopping = Event()
        self._listening = Event()
        self._doorbell: Doorbell  # of the loop that serves
        self._end: Callable[[], object] | None = None
        self._thread = Thread(target=self._until_stopped, name="listener", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End; a call that is being answered has a moment left."""
        self._stopping.set()
        if end := self._end:
            with suppress(RuntimeError):  # it has ended
                end()
        if self._thread.ident is not None:
            self._thread.join(STOP_S)

    def wait_until_listening(self, timeout_s: float) -> bool:
        """Wait until calls are taken; tell whether they are."""
        return self._listening.wait(timeout_s)

    # The thread

    def _until_stopped(self) -> None:
        for name in QUIET:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        said = ""
        while not self._stopping.is_set():
            try:
                with _bound(self._address) as bound:
                    said = ""
                    asyncio.run(self._serve(bound))
            except OSError as exc:
                if str(exc) != said:
                    said = str(exc)
                    log.error(
                        "http.not_listening",
                        address=_shown(self._address),
                        error=f"{exc.strerror or exc}: free it, or change `listen` in [http]",
                    )
            except Exception:
                log.exception("http.broke")
            self._listening.clear()
            self._stopping.wait(AGAIN_S)

    async def _serve(self, bound: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._doorbell = Doorbell(self._ring, loop.call_later)
        server = uvicorn.Server(
            uvicorn.Config(
                self.app(),
                log_config=None,
                access_log=False,
                lifespan="off",
                ws="none",
                http=_Hasty,
                loop="none",
                server_header=False,
                proxy_headers=False,
                limit_concurrency=MOST_AT_ONCE,
                backlog=MOST_AT_ONCE,  # that many are taken in one go
                timeout_graceful_shutdown=2,
            )
        )

        def leave() -> None:
            server.should_exit = True

        self._end = lambda: loop.call_soon_threadsafe(leave)
        if self._stopping.is_set():
            return
        log.info("http.listening", address=_shown(self._address))
        self._listening.set()
        await server.serve([bound])

    # What is served

    def app(self) -> Starlette:
        """Return the application: webhooks always, the rest as configured."""
        routes = [
            Route("/webhook/{secret}/{end}", self._webhook, methods=["GET", "POST"]),
            *([Route("/healthz", self._healthz)] if self._served.health else []),
            *([Route("/metrics", self._tell_metrics)] if self._served.metrics else []),
        ]
        handlers = {404: self._unknown, 405: self._unknown, Exception: self._broke}
        app = Starlette(routes=routes, exception_handlers=handlers)
        app.router.redirect_slashes = False
        return app

    async def _webhook(self, request: Request) -> Response:
        box = BOXES.get(request.path_params["end"])
        if not self._is_known(request.path_params["secret"]) or box is None:
            return self._refused("unknown", 404)
        try:
            async with asyncio.timeout(SLOWEST_CALL_S):
                body = await _body(request)
        except (TimeoutError, ClientDisconnect):
            return self._refused("slow", 408)
        if body is None:
            return self._refused("too_large", 413)
        query = request.scope["query_string"].decode("latin-1")
        fields = fields_of(request.headers.get("Content-Type", ""), query, body)
        hint = hint_of(box, fields)
        outcome = "hint" if hint else "without_id"
        if hint:
            if hint.device_id:
                self._devices.setdefault(box, set()).add(hint.device_id)
            if not self._awaited.add(hint):
                outcome = "too_many"
        self._metrics.called(box, outcome)
        log.debug("webhook.called", path=f"/webhook/***/{request.path_params['end']}")
        self._doorbell.press(box)
        return _answer("ok")

    def _is_known(self, secret: str) -> bool:
        """Compare a secret with every one of ours, in a time that tells nothing of either."""
        given = sha256(secret.encode("utf-8", "replace")).digest()
        found = [hmac.compare_digest(given, ours) for ours in self._secrets]  # all: no short cut
        return any(found)

    def _ring(self, box: str) -> None:
        self._hint(box, self._devices.pop(box, set()))

    async def _healthz(self, _request: Request) -> Response:
        health = await run_in_threadpool(self._health)
        status = 200 if health.get("verdict") == "ok" else 503
        return JSONResponse(health, status, headers=CLOSE)

    def _health(self) -> dict[str, Any]:
        try:
            with explained(self._mirror, reading=True), closing(open_reader(self._mirror)) as conn:
                return dict(conn.execute(HEALTH).fetchone())
        except SemysyncError as exc:
            return {"verdict": "failing", "last_error": str(exc)}

    async def _tell_metrics(self, _request: Request) -> Response:
        text = await run_in_threadpool(self._metrics.text)
        return Response(text, media_type=CONTENT_TYPE_LATEST, headers=CLOSE)

    async def _unknown(self, _request: Request, _exc: Exception) -> Response:
        return self._refused("unknown", 404)

    async def _broke(self, _request: Request, exc: Exception) -> Response:
        log.error("http.broke", exc_info=exc)  # uvicorn would say it with the address
        return self._refused("broken", 500)

    def _refused(self, why: str, status: int) -> Response:
        self._metrics.called("none", why)
        return _answer("Not found" if status == 404 else "refused", status)


class _Hasty(H11Protocol):
    """
    A connection that is closed where no request comes for some time: it holds a place.

    uvicorn counts them only when a request has come; files that are open would run out before.
    """

    def connection_made(
        self,
        transport: asyncio.Transport,  # type: ignore[override]  # as uvicorn has it
    ) -> None:
        super().connection_made(transport)
        if len(self.connections) > MOST_AT_ONCE:
            transport.abort()
            return
        self.loop.call_later(SLOWEST_CALL_S, self._close_if_silent)

    def _close_if_silent(self) -> None:
        if self.cycle is None and not self.transport.is_closing():
            self.transport.close()


def _answer(text: str, status: int = 200) -> Response:
    return PlainTextResponse(text, status, headers=CLOSE)


async def _body(request: Request) -> bytes | None:
    """Return the body of a call; None where it is too large."""
    announced = request.headers.get("Content-Length", "0")
    if not announced.isdecimal() or len(announced) > 9 or int(announced) > LARGEST_CALL:
        return None
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > LARGEST_CALL:
            return None
    return bytes(body)


def _bound(address: Address) -> socket.socket:
    """Return a socket at an address. Raises `OSError` where it can't be had."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    host = "127.0.0.1" if address.host == "localhost" else address.host
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, address.port))
        bound.listen(128)
    except BaseException:
        bound.close()
        raise
    return bound


def _shown(address: Address) -> str:
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{host}:{address.port}"
