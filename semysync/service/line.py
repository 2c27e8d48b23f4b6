"""
The connections of a client, so that another thread can break off what is under way on them.

A thread that waits for an answer cannot be woken but by the end of its connection. httpx hands out
no connections, but tells of each that is opened.
"""

import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Condition
from typing import Any
from weakref import WeakSet

import httpx

OPENED = "connection.connect_tcp.complete", "connection.start_tls.complete"


class TooLate(httpx.ConnectError):
    """A request was to be made when the line was hung up; it was not."""


class Line:
    """What is under way at a client: questions, and requests that change something."""

    def __init__(self) -> None:
        self.is_hung_up = False
        self.sign_s = time.monotonic()  #: when a request began or ended last
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._requests = 0
        self._changed = Condition()

    @contextmanager
    def question(self) -> Iterator[None]:
        """Be at a question, which may be broken off at any time."""
        self.sign_s = time.monotonic()
        try:
            if self.is_hung_up:
                raise httpx.ConnectError("the program is ending")
            yield
        finally:
            self.sign_s = time.monotonic()

    @contextmanager
    def request(self) -> Iterator[None]:
        """Be at a request that changes something. Raises `TooLate` where it must not be made."""
        with self._changed:
            if self.is_hung_up:
                raise TooLate("the program is ending")
            self._requests += 1
        try:
            with self.question():
                yield
        finally:
            with self._changed:
                self._requests -= 1
                self._changed.notify_all()

    def hang_up(self, patience_s: float = 0) -> None:
        """Break off what is under way, requests not before they had so long."""
        with self._changed:
            self._changed.wait_for(lambda: not self._requests, patience_s)
            self.is_hung_up = True
            sockets = list(self._sockets)
        for connection in sockets:
            _break_off(connection)

    def trace(self, event: str, told: Mapping[str, Any]) -> None:
        """Take note of a connection that was opened: httpx's extension `trace`."""
        if event not in OPENED:
            return
        connection = told["return_value"].get_extra_info("socket")
        if not isinstance(connection, socket.socket):
            return
        with self._changed:
            self._sockets.add(connection)
            too_late = self.is_hung_up
        if too_late:
            _break_off(connection)


def _break_off(connection: socket.socket) -> None:
    with suppress(OSError):  # it is closed already
        # Not the method of a TLS socket: that would forget its keys, which the other thread uses.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
