"""
The stand-in as a service on loopback. Start reading at `Sandbox`.

What is asked of it over HTTP is seen to in `connections`.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Lock, Thread, Timer
from typing import Any, Self
from weakref import finalize

from semysync.sandbox import faults
from semysync.sandbox.account import Account
from semysync.sandbox.calls import Call
from semysync.sandbox.clocks import Clock, real_clock
from semysync.sandbox.connections import API_PATH, Server, reserved
from semysync.sandbox.history import mixed
from semysync.sandbox.switches import Switches
from semysync.sandbox.switching import changed, checked
from semysync.sandbox.webhooks import Webhooks

_MOST_KEPT_CALLS = 100_000


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
        #: whom to call when a message comes in or changes its status
        self.webhooks = Webhooks(self)
        self.account.tell = self.webhooks.tell
        self._port = port
        self._leave: finalize[[int], Sandbox] | None = None  # gives the port back
        self._server: Server | None = None
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
        if self._leave is not None:
            self._leave()

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
            if self._leave is None or not self._leave.alive:
                place, self._port = reserved(self._port)
                self._leave = finalize(self, os.close, place)
            self._server = Server(("127.0.0.1", self._port), self)
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

    def _close_listener(self) -> "Server | None":
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
