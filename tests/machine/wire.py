"""
Connections to the stand-in without sockets and threads: the same bytes, three times as many lives.

All of httpx and httpcore is as ever, and so is the stand-in's own handler of HTTP; only what lies
between them is a buffer. Under this transport a request may also break, or be the last one before
a kill, at any number.
"""

from contextlib import closing
from io import BytesIO
from types import SimpleNamespace

import httpcore
import httpx
from reaching import reached

from semysync.sandbox.connections import Handler


class Dead(BaseException):
    """Ends the program at any place, as a kill does: what is not committed is not there."""


class Answering(Handler):
    """Answers one request that has come whole."""

    def __init__(self, sandbox, sent):
        self.server = SimpleNamespace(sandbox=sandbox)
        self.rfile, self.wfile = BytesIO(sent), BytesIO()
        self.connection, self.client_address = self, ("127.0.0.1", 0)
        self.close_connection = True
        self.handle_one_request()

    def setsockopt(self, *_):
        """Nothing: `detach` ends it rudely."""

    def detach(self):
        raise ConnectionResetError


class Wire(httpcore.NetworkStream):
    """One connection: what was written is answered when somebody reads."""

    def __init__(self, sandbox):
        self._sandbox = sandbox
        self._sent, self._answer = b"", b""
        self._closed = False

    def write(self, buffer, timeout=None):  # noqa: ARG002
        self._sent += buffer

    def read(self, max_bytes, timeout=None):  # noqa: ARG002
        if self._sent:
            sent, self._sent = self._sent, b""
            try:
                answering = Answering(self._sandbox, sent)
            except ConnectionResetError as exc:
                raise httpcore.ReadError(str(exc)) from exc
            self._answer += answering.wfile.getvalue()
            self._closed = answering.close_connection
        piece, self._answer = self._answer[:max_bytes], self._answer[max_bytes:]
        return piece

    def close(self):
        self._closed = True

    def get_extra_info(self, info):
        return self._closed if info == "is_readable" else None


class Wires(httpcore.NetworkBackend):
    """Opens connections to one stand-in, wherever it is."""

    def __init__(self, sandbox):
        self._sandbox = sandbox

    def connect_tcp(self, *_where, **_how):
        return Wire(self._sandbox)


class Perilous(httpx.HTTPTransport):
    """A transport whose nth request from now breaks, or is the last one before a kill."""

    def __init__(self, world):
        super().__init__(verify=False)
        self._pool = httpcore.ConnectionPool(network_backend=Wires(world.sandbox))
        self._world = world

    def handle_request(self, request):
        world = self._world
        world.asked += 1
        if world.asked == world.refused_at:
            reached["the door is shut"] += 1
            raise httpx.ConnectError("nobody is there", request=request)
        when, failure = world.perils.pop(world.asked, (None, None))
        if when == "after":
            with closing(super().handle_request(request)) as response:
                response.read()
        elif when is None:
            return super().handle_request(request)
        if failure is None:
            reached[f"killed at {_kind(request.url.path)}"] += 1
            raise Dead
        reached[f"broken {failure} {when}"] += 1
        raise getattr(httpx, failure)("it broke", request=request)


def _kind(path):
    if "/del_" in path:
        return "a deletion"
    return "a message" if "/sms" in path else "a question"
