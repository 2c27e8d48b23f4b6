"""
The stand-in as an HTTP server on loopback. Start reading at `Sandbox`.

The API stands under `/api/3/`, the way to play with it under `/admin/` (see `admin`). Every answer
comes with the `Date` of the injected clock. No request is logged; `Sandbox.requests` keeps them,
without their tokens.
"""

import hmac
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from threading import Event, Lock, Thread
from typing import Any, Self
from urllib.parse import urlsplit

from msgspec.structs import replace

from semysync.sandbox import admin, faults
from semysync.sandbox.account import Account
from semysync.sandbox.calls import Call, read_call
from semysync.sandbox.clocks import Clock, real_clock
from semysync.sandbox.history import mixed
from semysync.sandbox.methods import Answer, answer, refused
from semysync.sandbox.refusals import RefusalError
from semysync.sandbox.switches import METHODS, Switches, changed, checked
from semysync.sandbox.wire import encoded

API_PATH = "/api/3/"

_MOST_KEPT_CALLS = 100_000
_MOST_ROWS_WITH_LENGTH = 20_000
_MOST_BODY_BYTES = 64 * 1024 * 1024
_TOKEN_REFUSALS = {
    "minus_one": (-1, 200),
    "other_code": (-403, 200),
    "http_401": (-1, 401),
    "http_403": (-1, 403),
}


class Sandbox:
    """
    A SemySMS service that answers on loopback.

    `with Sandbox(messages=3000) as sandbox:` serves until the block ends; `start`, `wait` and
    `stop` are for those who need longer. A stopped one can be started again: it keeps its port and
    all that it holds, which is how a service that is down for a while looks.
    """

    def __init__(
        self,
        *,
        messages: int = 3000,
        devices: int = 3,
        seed: int = 1,
        token: str | None = None,
        port: int = 0,
        switches: Switches | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.clock = clock or real_clock
        self.token = token or f"{mixed(seed):016x}{mixed(seed + 1):016x}"
        self.requests: list[Call] = []  #: all calls of the API so far, the oldest first
        self.stopping = Event()
        self.account = Account(
            messages=messages,
            devices=devices,
            seed=seed,
            switches=checked(switches or Switches()),
            clock=self.clock,
        )
        self._port = port
        self._server: _Server | None = None
        self._thread: Thread | None = None
        self._lock = Lock()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def base_url(self) -> str:
        """Where the methods are; known once it has been started."""
        return f"http://127.0.0.1:{self._port}{API_PATH}"

    @property
    def admin_url(self) -> str:
        """Where the admin interface is."""
        return f"http://127.0.0.1:{self._port}/admin/"

    @property
    def switches(self) -> Switches:
        """The switches as they stand; a fault that has run its times is none again."""
        return self.account.switches

    def start(self) -> None:
        """Listen and serve, in threads of its own."""
        if self._server is not None:
            return
        self.stopping.clear()
        self._server = _Server(("127.0.0.1", self._port), self)
        self._port = self._server.server_address[1]
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Block until somebody calls `stop`."""
        self.stopping.wait()

    def stop(self) -> None:
        """Stop listening and break off every connection."""
        self.stopping.set()
        if self._server is None or self._thread is None:
            return
        self._server.wake()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server.break_connections()
        self._server = self._thread = None

    def set(self, **values: Any) -> None:
        """Change switches; a ValueError says which name or value is wrong, and changes nothing."""
        with self._lock:
            self.account.use(changed(self.account.switches, values))

    def record(self, call: Call) -> None:
        """Keep a call for `requests`; the oldest go when there are very many."""
        with self._lock:
            self.requests.append(call)
            if len(self.requests) > _MOST_KEPT_CALLS:
                del self.requests[: _MOST_KEPT_CALLS // 2]

    def take_fault(self, method: str) -> Switches:
        """The switches for one call, `fault` among them; a fault with a number is used up by one."""
        with self._lock:
            switches = self.account.switches
            if not faults.meets_fault(switches, method):
                return replace(switches, fault="none")
            if rest := faults.after_one(switches):
                self.account.use(changed(switches, rest))
            return switches


class _Server(ThreadingHTTPServer):
    """Knows its connections, so that it can end them."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self._connections: dict[socket.socket, Thread] = {}
        self._connections_lock = Lock()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # HTTPServer's own asks the name service for this host's name, which can take seconds.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = Thread(
            target=self.process_request_thread, args=(request, client_address), daemon=True
        )
        with self._connections_lock:
            self._connections[request] = thread
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        with self._connections_lock:
            self._connections.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that goes away is nothing to report; anything else is a bug of ours.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def wake(self) -> None:
        """Let the loop see at once that it is to end, not after its half second."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def break_connections(self) -> None:
        with self._connections_lock:
            connections = dict(self._connections)
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in connections.values():
            thread.join(timeout=5)


class _Handler(BaseHTTPRequestHandler):
    """One connection, kept alive from request to request."""

    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 64 * 1024

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def _serve(self) -> None:
        self.sandbox = self.server.sandbox
        body = self._read_body()
        if body is None:
            return
        url = urlsplit(self.path)
        if url.path == "/admin" or url.path.startswith("/admin/"):
            status, text = admin.respond(self.sandbox, self.command, url.path, body)
            self._send(status, iter([text]))
        else:
            self._call(url.path, url.query, body)

    def _read_body(self) -> bytes | None:
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdecimal():
            self.close_connection = True
            self._send_page(faults.Page(411))
            return None
        if int(length) > _MOST_BODY_BYTES:
            self.close_connection = True
            self._send_page(faults.Page(413))
            return None
        return self.rfile.read(int(length))

    def _call(self, path: str, query: str, body: bytes) -> None:
        """One call of the API, with whatever goes wrong with it."""
        sandbox = self.sandbox
        method = _method_of(path)
        call, token = read_call(
            method or path,
            verb=self.command,
            query=query,
            content_type=self.headers.get("Content-Type", ""),
            body=body,
            at=sandbox.clock(),
        )
        sandbox.record(call)
        if method is None:
            self._send_page(faults.not_found())
            return
        switches = sandbox.take_fault(method)
        if switches.fault in {"hang", "drop"}:
            self._keep_silent(until_the_end=switches.fault == "hang")
            return
        page = faults.page_for(switches, method)
        answered = None if page else self._answer(method, call, token, switches)
        if switches.delay_s:
            sandbox.stopping.wait(switches.delay_s)
        if page:
            self._send_page(page)
        elif answered:
            self._send_answer(answered, switches)

    def _answer(self, method: str, call: Call, token: str, switches: Switches) -> Answer:
        account = self.sandbox.account
        if switches.fault == "api_error":
            return refused(account, method, RefusalError("internal", status=switches.fault_status))
        if not hmac.compare_digest(token.encode("utf-8", "replace"), self.sandbox.token.encode()):
            code, status = _TOKEN_REFUSALS[switches.wrong_token]
            return refused(account, method, RefusalError("token", code=code, status=status))
        return answer(account, method, call.params)

    def _keep_silent(self, *, until_the_end: bool) -> None:
        """Say nothing, and close: at once, or when the client or the stand-in has had enough."""
        self.close_connection = True
        self.connection.settimeout(0.1)
        while until_the_end and not self.sandbox.stopping.is_set():
            try:
                if not self.connection.recv(1, socket.MSG_PEEK):
                    return
                self.sandbox.stopping.wait(0.1)
            except TimeoutError:
                continue

    def _send_page(self, page: faults.Page) -> None:
        self.send_response(page.status)
        for name, value in page.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", page.content_type)
        self.send_header("Content-Length", str(len(page.body)))
        self.end_headers()
        self.wfile.write(page.body)

    def _send_answer(self, answered: Answer, switches: Switches) -> None:
        pieces: Iterator[bytes] = map(encoded, answered.pieces)
        if switches.fault == "cut":
            self._send_half(answered.status, b"".join(pieces))
            return
        if switches.fault in faults.SPOILING:
            pieces = faults.spoiled(switches.fault, pieces)
        streamed = (
            switches.content_length == "chunked"
            or answered.rows > _MOST_ROWS_WITH_LENGTH
            or switches.fault == "huge_text"
        )
        self._send(answered.status, pieces, streamed=streamed)

    def _send(self, status: int, pieces: Iterator[bytes], *, streamed: bool = False) -> None:
        """A JSON answer, whole with its length or in chunks; HTTP/1.0 knows no chunks."""
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        if not streamed or self.request_version == "HTTP/1.0":
            body = b"".join(pieces)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in filter(None, pieces):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def _send_half(self, status: int, body: bytes) -> None:
        """Announce the whole body, send half of it, and close."""
        self.close_connection = True
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2])

    def version_string(self) -> str:
        return "semysync-sandbox"

    def date_time_string(self, timestamp: float | None = None) -> str:
        return formatdate(timestamp or self.server.sandbox.clock().timestamp(), usegmt=True)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Nothing: a request line may carry a token."""


def _method_of(path: str) -> str | None:
    name = path.removeprefix(API_PATH).removesuffix(".php")
    return name if name in METHODS and path == f"{API_PATH}{name}.php" else None
