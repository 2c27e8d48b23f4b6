"""
The stand-in over HTTP: its connections, and what is asked on each of them.

The API stands under `/api/3/`, the way to play with it under `/admin/` (see `admin`). Every answer
comes with the `Date` of the injected clock. No request is logged; `Sandbox.requests` keeps them,
without their tokens.
"""

import hmac
import os
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from threading import Lock, Thread, current_thread
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from semysync.sandbox import admin, faults
from semysync.sandbox.calls import Call, read_call
from semysync.sandbox.methods import Answer, answer, refused, send_elsewhere
from semysync.sandbox.refusals import Refusal
from semysync.sandbox.sending import SENDING
from semysync.sandbox.switches import METHODS
from semysync.sandbox.wire import encoded

if TYPE_CHECKING:
    from semysync.sandbox.server import Sandbox

API_PATH = "/api/3/"

_MOST_ROWS_WITH_LENGTH = 20_000
_MOST_BODY_BYTES = 64 * 1024 * 1024
_TOKEN_REFUSALS = {
    "minus_one": (-1, 200),
    "other_code": (-403, 200),
    "http_401": (-1, 401),
    "http_403": (-1, 403),
}


def reserved(port: int) -> tuple[int, int]:
    """
    Reserve a port of loopback, any where it is 0; return an open file that holds it, and its number.

    Nobody listens there yet: a `Server` can, and whoever connects until then is refused. Without it
    the system would give the port of a stand-in that is down to whoever asks for any.
    """
    with socket.socket() as place:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind(("127.0.0.1", port))
        number: int = place.getsockname()[1]
        return place.detach(), number


class Server(ThreadingHTTPServer):
    """Knows its connections, so that it can end them."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], sandbox: "Sandbox") -> None:
        self.sandbox = sandbox
        self._connections: dict[socket.socket, Thread] = {}
        self._connections_lock = Lock()
        super().__init__(address, Handler)

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


class Handler(BaseHTTPRequestHandler):
    """One connection, kept alive from request to request."""

    server: Server
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
            with suppress(Refusal):
                send_elsewhere(sandbox.account, method, call.params)
        if sandbox.after_call:
            sandbox.after_call(call)
        if mishap.fault in faults.SILENT:
            self._say_nothing(mishap)
            return
        if answered is None or mishap.fault == "api_error":
            refusal = Refusal("internal", status=mishap.status)
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
            return refused(account, method, Refusal("token", code=code, status=status))
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
