"""A stand-in on real HTTP, with a clock that tests move."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from semysync.sandbox import Sandbox, Switches

NOON = datetime(2026, 3, 10, 12, 0, 0, 250_000, tzinfo=UTC)


class MovableClock:
    """Stands still until it is moved."""

    def __init__(self):
        self.now = NOON

    def __call__(self):
        return self.now

    def move(self, **by):
        self.now += timedelta(**by)


class Service:
    """A sandbox and a client for it."""

    def __init__(self, sandbox):
        self.sandbox, self.account = sandbox, sandbox.account
        self.http = httpx.Client(
            base_url=sandbox.base_url, verify=False, trust_env=False, timeout=5
        )

    def post(self, method, **params):
        return self.http.post(f"{method}.php", data={"token": self.sandbox.token, **params})

    def ask(self, method, **params):
        return self.post(method, **params).json()

    def listed(self, method, **params):
        """The ids of the rows that a list or delete call answers with."""
        return [row["id"] for row in self.ask(method, **params)["data"]]

    def flags(self, id_):
        """Whether a sent message was fetched, sent, delivered, cancelled: 0 or 1 each."""
        row = self.ask("outbox_sms", list_id=id_)["data"][0]
        names = ("is_send_to_phone", "is_send", "is_delivered", "is_cancel")
        return tuple(row[name] for name in names)

    def send(self, text="Hello", phone="+79201234567", device="active"):
        return self.ask("sms", device=device, phone=phone, msg=text)["id"]


@pytest.fixture
def clock():
    return MovableClock()


@pytest.fixture
def serve(clock):
    """Start a stand-in; keywords that name no parameter of Sandbox are switches."""
    running = []

    def start(messages=40, devices=2, seed=1, token=None, clock=clock, **switches):
        sandbox = Sandbox(
            messages=messages,
            devices=devices,
            seed=seed,
            token=token,
            clock=clock,
            switches=Switches(**switches),
        )
        sandbox.start()
        running.append(Service(sandbox))
        return running[-1]

    yield start
    for service in running:
        service.http.close()
        service.sandbox.stop()


@pytest.fixture
def service(serve):
    """Forty messages, two devices, all switches at their defaults."""
    return serve()


@pytest.fixture
def devices(service):
    """The ids of the account's devices."""
    return sorted(service.account.devices)
