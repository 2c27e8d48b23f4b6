"""A mirror with a small history, and Datasette over it as different people see it."""

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from blank import lay_blank
from datasette.app import Datasette
from itsdangerous import URLSafeSerializer
from jinja2 import BytecodeCache

from semysync.mirror.store import Store
from semysync.model import Box, Device, Received, Sent
from semysync.times import Locale

ANNA, BORIS, BEELINE = "+79201234567", "+79207654321", "Beeline"
NASTY = "<script>document.title = 'owned'</script> \"quoted\" 'single' & \0 end"
LONG = "ten thousand " * 769 + "end"
START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC).replace(tzinfo=None)


def received(number, contact=ANNA, text="Hello", at=None, **fields):
    usual = {"device_id": 351, "channel": "sms"}
    at = at or START + timedelta(minutes=number)
    return Received(id=number, phone=contact, text=text, received_at=at, **usual | fields)


def sent(number, contact=ANNA, text="Ready", at=None, **fields):
    values = dict.fromkeys(Sent.__struct_fields__) | {"device_id": 351, "channel": "sms"}
    values |= {"id": number, "phone": contact, "text": text}
    values |= {"created_at": at or START + timedelta(minutes=number)}
    return Sent(**values | {"is_send": 1} | fields)


def device(number, **fields):
    usual = dict.fromkeys(Device.__struct_fields__[1:])
    return Device(id=number, **usual | {"channel": "sms", "archived": 0, "name": "A12"} | fields)


@pytest.fixture
def mirror(tmp_path):
    """Make a mirror of messages and devices, called as you like."""

    def make(*messages, name="semysync.db", **more):
        mirror_at(tmp_path / name, *messages, **more)
        return tmp_path / name

    return make


def mirror_at(path, *messages, devices=(), locale=None):
    """Make a mirror whose clocks are known to show UTC, unless told otherwise."""
    utc = Locale(timezone="+00:00", phone_timezone="+00:00")
    if not path.exists():
        lay_blank(path)
    with Store.migrate(path, locale or utc) as store:
        for box, kind in ((Box.INBOX, Received), (Box.SENT, Sent)):
            some = sorted((m for m in messages if isinstance(m, kind)), key=lambda m: m.id)
            if some:
                store.save(box, some, now=datetime.now(UTC))
            store.make_indexes(box)
        if devices:
            store.save_devices(devices, now=datetime.now(UTC), complete=True)


class Compiled(BytecodeCache):
    """The templates as another Datasette of this process compiled them: that takes half the time."""

    def __init__(self):
        self._compiled = {}

    def load_bytecode(self, bucket):
        if bucket.key in self._compiled:
            bucket.bytecode_from_string(self._compiled[bucket.key])

    def dump_bytecode(self, bucket):
        self._compiled[bucket.key] = bucket.bytecode_to_string()


COMPILED = Compiled()


class Served:
    """Datasette in this process, asked by `root`, by somebody else, or by nobody."""

    def __init__(self, *paths, metadata=None, **settings):
        self.datasette = Datasette([str(p) for p in paths], metadata=metadata, **settings)
        self.datasette.jinja_env.bytecode_cache = COMPILED
        asyncio.run(self.datasette.invoke_startup())

    def get(self, path, actor=None, **kwargs):
        return asyncio.run(self.datasette.client.get(path, cookies=self.cookies(actor), **kwargs))

    def post(self, path, form, actor=None, *, token=True, headers=None):
        """Send a form of ours, with the token that the page has."""
        cookies = self.cookies(actor)
        if token:
            cookies["ds_csrftoken"] = self.token()
            form = form | {"csrftoken": self.token()}
        asked = self.datasette.client.post(path, data=form, cookies=cookies, headers=headers)
        return asyncio.run(asked)

    def post_raw(self, path, body, kind, **headers):
        """Send what is no form of ours, as `root`; `{token}` in it is the one that a page has."""
        body = body.replace(b"{token}", self.token().encode())
        cookies = self.cookies("root") | {"ds_csrftoken": self.token()}
        asked = self.datasette.client.post(
            path, content=body, cookies=cookies, headers={"content-type": kind} | headers
        )
        return asyncio.run(asked)

    def over_asgi(self, path, messages):
        """Let a form of `root` come in as these messages; return what was answered."""
        cookies = self.cookies("root") | {"ds_csrftoken": self.token()}
        headers = {
            "host": "localhost",
            "content-type": "application/x-www-form-urlencoded",
            "cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()),
        }
        scope = {"type": "http", "http_version": "1.1", "method": "POST", "scheme": "http"}
        scope |= {"path": path, "raw_path": path.encode(), "query_string": b""}
        scope["headers"] = [(n.encode(), v.encode()) for n, v in headers.items()]
        coming, answered = iter(messages), []

        async def receive():
            return next(coming)

        async def send(message):
            answered.append(message)

        asyncio.run(self.datasette.app()(scope, receive, send))
        return answered

    def token(self):
        return URLSafeSerializer(self.datasette._secret).dumps("any", "csrftoken")

    def cookies(self, actor):
        return {"ds_actor": self.datasette.sign({"a": {"id": actor}}, "actor")} if actor else {}

    def close(self):
        for database in self.datasette.databases.values():
            database.close()
        if self.datasette.executor:
            self.datasette.executor.shutdown()


@pytest.fixture
def serve():
    """Serve mirrors; `root` may write to them."""
    all_of_them = []

    def make(*paths, metadata=None, **settings):
        if metadata is None:
            metadata = {"plugins": {"semysync": {"allow_send": {"id": "root"}}}}
        all_of_them.append(Served(*paths, metadata=metadata, **settings))
        return all_of_them[-1]

    yield make
    for served in all_of_them:
        served.close()


def ask(path, query, *parameters):
    with closing(sqlite3.connect(path, timeout=30)) as conn, conn:
        return conn.execute(query, parameters).fetchall()
