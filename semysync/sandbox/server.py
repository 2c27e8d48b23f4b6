"""
The stand-in as an HTTP server on loopback. Start reading at `Sandbox`.

The API stands under `/api/3/`, the way to play with it under `/admin/` (see `admin`). Every answer
comes with the `Date` of the injected clock. No request is logged; `Sandbox.requests` keeps them,
without their tokens.
"""

import hmac
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from threading import Event, Lock, Thread, Timer, current_thread
from typing import Any, Self
from urllib.parse import urlsplit

from semysync.sandbox import admin, faults
from semysync.sandbox.account import Account
from semysync.sandbox.calls import Call, read_call
from semysync.sandbox.clocks import Clock, real_clock
from semysync.sandbox.history import mixed
from semysync.sandbox.methods import Answer, answer, refused, send_elsewhere
from semysync.sandbox.refusals import RefusalError
from semysync.sandbox.sending import SENDING
from semysync.sandbox.switches import METHODS, Switches
from semysync.sandbox.switching import changed, checked
from semysync.sandbox.webhooks import Webhooks
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
        #: called, if set, with a call whose token was not yet looked at, and again after its effect
        self.before_call: Callable[[Call], object] | None = None
        self.after_call: Callable[[Call], object] | None = None
        self.account = Account(
            messages=messages,
            devices=devices,
            seed=seed,
            switches=checked(switches or Switches()),
            clock=self.clock,
        )
        self.webhooks = Webhooks(
            self
        )  #: whom to call when a message comes in or changes its status
        self.account.tell = self.webhooks.tell
        self._port = port
        self._server: _Server | None = None
        self._thread: Thread | None = None
        self._timer: Timer | None = None
        self._orders: list[faults.Order] = []
        self._lock = Lock()
        self._listening = Lock()

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
        self.stopping.clear()
        self.accept()
        self.webhooks.begin()

    def wait(self) -> None:
        """Block until somebody calls `stop`."""
        self.stopping.wait()

    def stop(self) -> None:
        """Stop listening and break off every connection."""
        self.stopping.set()
        self.webhooks.join()
        server = self._close_listener()
        if server is not None:
            server.break_connections(and_wait=True)

    def refuse(self, for_s: float = 0) -> None:
        """
        Close the listener and every connection, so that whoever comes is refused.

        Until `accept`, or for so many seconds of real time if they are not 0.
        """
        server = self._close_listener()
        if server is not None:
            server.break_connections(and_wait=False)
        if for_s:
            self._timer = Timer(for_s, self.accept)
            self._timer.daemon = True
            self._timer.start()

    def accept(self) -> None:
        """Listen again, on the same port."""
        with self._listening:
            if self._server is not None or self.stopping.is_set():
                return
            self._server = _Server(("127.0.0.1", self._port), self)
            self._port = self._server.server_address[1]
            self._thread = Thread(target=self._server.serve_forever, daemon=True)
            self._thread.start()

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Refuse every connection while the block runs."""
        self.refuse()
        try:
            yield
        finally:
            self.accept()

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

    def order_fault(self, fault: str, **fields: Any) -> None:
        """
        Let one call, or some, meet a fault: `order_fault("drop", when="after", method="sms")`.

        `when` is before (the default) or after the effect, `method` one or several by comma, `nth`
        the first call that meets it (1 is the next one), `times` how many do (0 is all);
        `retry_after`, `status`, `down_s` as the switches say. Orders go before the switches.
        A call counts for every order, but meets only the oldest that is due; the others wait.
        """
        order = faults.ordered({"fault": fault, **fields})
        with self._lock:
            self._orders.append(order)

    @property
    def orders(self) -> list[faults.Order]:
        """The orders that calls may still meet, the oldest first."""
        with self._lock:
            return list(self._orders)

    def forget_orders(self) -> None:
        """No order stands any longer; the switches stay."""
        with self._lock:
            self._orders.clear()

    def take_mishap(self, method: str) -> faults.Mishap:
        """What goes wrong with one call; a fault with a number is used up by one."""
        with self._lock:
            if met := faults.first_met(self._orders, method):
                self._orders = [order for order in self._orders if not order.is_done]
                return faults.mishap_of_order(met)
            switches = self.account.switches
            mishap = faults.mishap_of_switches(switches, method)
            if mishap is not faults.FINE and (rest := faults.after_one(switches)):
                self.account.use(changed(switches, rest))
            return mishap

    def _close_listener(self) -> "_Server | None":
        """Listen no more; the server that did, for the sake of its connections."""
        with self._listening:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            server, thread = self._server, self._thread
            self._server = self._thread = None
            if server is None or thread is None:
                return None
            server.wake()
            server.shutdown()
            thread.join()
            server.server_close()
            return server


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

    def break_connections(self, *, and_wait: bool) -> None:
        """End every connection but the one that this thread serves."""
        with self._connections_lock:
            others = {
                connection: thread
                for connection, thread in self._connections.items()
                if thread is not current_thread()
            }
        for connection in others:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in others.values() if and_wait else ():
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
        if method in SENDING:
            sandbox.account.count_send_request()
        if method is None:
            self._send_page(faults.not_found())
            return
        mishap = sandbox.take_mishap(method)
        if sandbox.before_call:
            sandbox.before_call(call)
        answered = self._answer(method, call, token) if mishap.carried_out else None
        if method in SENDING and sandbox.switches.other_client != "none":
            with suppress(RefusalError):
                send_elsewhere(sandbox.account, method, call.params)
        if sandbox.after_call:
            sandbox.after_call(call)
        if mishap.fault in faults.SILENT:
            self._say_nothing(mishap)
            return
        if answered is None or mishap.fault == "api_error":
            refusal = RefusalError("internal", status=mishap.status)
            answered = refused(sandbox.account, method, refusal)
        if sandbox.switches.delay_s:
            sandbox.stopping.wait(sandbox.switches.delay_s)
        if page := faults.page_for(mishap, method):
            self._send_page(page)
        else:
            self._send_answer(answered, mishap.fault)

    def _answer(self, method: str, call: Call, token: str) -> Answer:
        account = self.sandbox.account
        right = hmac.compare_digest(token.encode("utf-8", "replace"), self.sandbox.token.encode())
        if not right or account.switches.token_refused == "yes":
            code, status = _TOKEN_REFUSALS[account.switches.wrong_token]
            return refused(account, method, RefusalError("token", code=code, status=status))
        return answer(account, method, call.params)

    def _say_nothing(self, mishap: faults.Mishap) -> None:
        """Answer not at all, and close: when the client has had enough, at once, or rudely."""
        self.close_connection = True
        if mishap.fault == "down":
            self.sandbox.refuse(mishap.down_s)
        elif mishap.fault == "reset":
            # Without lingering, closing sends RST in place of FIN.
            lingering = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, lingering)
            os.close(self.connection.detach())
        elif mishap.fault == "hang":
            self._keep_silent()

    def _keep_silent(self) -> None:
        """Wait until the client or the stand-in has had enough."""
        self.connection.settimeout(0.1)
        while not self.sandbox.stopping.is_set():
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

    def _send_answer(self, answered: Answer, fault: str) -> None:
        pieces: Iterator[bytes] = map(encoded, answered.pieces)
        if fault == "cut":
            self._send_half(answered.status, b"".join(pieces))
            return
        if fault in faults.SPOILING:
            pieces = faults.spoiled(fault, pieces)
        streamed = (
            self.sandbox.switches.content_length == "chunked"
            or answered.rows > _MOST_ROWS_WITH_LENGTH
            or fault == "huge_text"
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
