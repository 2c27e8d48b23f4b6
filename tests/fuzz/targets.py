"""
What is fuzzed, and what must hold after each mutant.

A target is made in a folder, and called with a `Mutator`. It raises where something does not hold:
nothing but our own errors may come, none may hold what was secret, and what was stored is whole.
"""

import json
import sqlite3
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import httpx

from semysync.cli import sending_many
from semysync.cli.sheet import BadSheet, lines
from semysync.config import load
from semysync.errors import ConfigError, SemysyncError
from semysync.follow.calls import fields_of, hint_of
from semysync.mirror.outbox import drafts
from semysync.mirror.store import Store
from semysync.mirror.tables import unconfirmed
from semysync.model import Box, Illegible, Outgoing
from semysync.passes.pull import Puller
from semysync.passes.sync import Sync
from semysync.service.client import Client
from semysync.service.questions import Ids, Range

TOKEN = "70ce0000face4bad5eed6f0070ce0002"
TEXT = "Your code is 4711-0815"
NOW = datetime(2026, 11, 26, tzinfo=UTC)
EXAMPLE = Path(__file__).parents[2] / "config.example.toml"


def read_text(path):
    return path.read_text(encoding="utf-8")


class Mirrored:
    """A mirror in a folder, and what must hold of it whatever was stored."""

    def __init__(self, folder):
        self.path = folder / "fuzz.db"
        self.store = Store.migrate(self.path)
        self.conn = sqlite3.connect(self.path, isolation_level=None)
        self.conn.execute("pragma synchronous = off")
        self.store._db.execute("pragma synchronous = off")

    def ask(self, query, *values):
        return self.conn.execute(query, values).fetchall()

    def end(self):
        """See that all of it is whole; then forget it."""
        assert self.ask("pragma integrity_check") == [("ok",)]
        for box in Box:
            words = f"insert into {box}_fts ({box}_fts, rank) values ('integrity-check', 1)"
            self.conn.execute(words)
            for (extra,) in self.ask(f"select extra from {box} where extra is not null"):
                json.loads(extra)
        for (table,) in self.ask("select name from sqlite_schema where type in ('table', 'view')"):
            if "fts" in table and "_fts" in table:
                continue
            rows = repr(self.conn.execute(f'select * from "{table}"').fetchall())
            assert TOKEN not in rows, f"the token is in {table}"
        self.store.close()
        self.conn.close()


class Answers:
    """Answers to the client, and their rows into the mirror."""

    def __init__(self, folder):
        self.mirror = Mirrored(folder)
        self.mutant = b""
        self.status, self.headers = 200, {}
        self.client = Client(
            TOKEN,
            base_url="http://127.0.0.1/api/3/",
            transport=httpx.MockTransport(self.answer),
            largest_answer=300_000,
            pace=Free(),
        )

    def answer(self, _request):
        return httpx.Response(self.status, headers=self.headers, content=self.mutant)

    def __call__(self, mutator):
        method = mutator.random.choice(list(self.CALLS))
        self.mutant = mutator.answer(method)
        if mutator.random.random() < 0.05:
            place = mutator.random.randrange(len(self.mutant) + 1)
            said = f"{TOKEN} {TEXT}".encode()
            self.mutant = self.mutant[:place] + said + self.mutant[place:]
        self.status = mutator.random.choice([200] * 12 + [201, 302, 400, 403, 429, 500])
        self.headers = mutator.random.choice(HEADERS)
        said = ""
        try:
            self.CALLS[method](self)
        except SemysyncError as exc:
            said = str(exc)
        assert TOKEN not in said
        assert not method.startswith("sms") or "4711-0815" not in said
        assert len(said) < 1500, "an error is no novel"

    def save(self, box, answer):
        """Store the rows of an answer: all of them are there afterwards, as messages or conflicts."""
        rows = list(answer)
        assert len(rows) == answer.size
        messages = [row for row in rows if not isinstance(row, Illegible)]
        illegible = [row for row in rows if isinstance(row, Illegible)]
        before = self.mirror.ask(f"select count(*) from {box}")[0][0]
        saved = self.mirror.store.save(box, messages, illegible, now=NOW)
        after = self.mirror.ask(f"select count(*) from {box}")[0][0]
        assert after == before + saved.added
        for message in messages:
            assert self.mirror.ask(f"select 1 from {box} where id = ?", message.id), message

    def save_devices(self):
        rows = list(self.client.devices(archived=False))
        self.mirror.store.save_devices(rows, now=NOW, complete=True, service_now=NOW)
        for row in rows:
            assert isinstance(row, Illegible) or self.mirror.ask(
                "select 1 from devices where id = ?", row.id
            )

    def send_many(self):
        two = [Outgoing(device="1", phone="+7920", text=TEXT, reference=f"d{n}") for n in range(2)]
        for reference, accepted in self.client.send_many(two).items():
            assert reference in {"d0", "d1"}
            assert accepted.id > 0

    CALLS = {  # noqa: RUF012
        "user": lambda self: self.mirror.store.save_account(self.client.user(), now=NOW),
        "devices": save_devices,
        "inbox_sms": lambda self: self.save(Box.INBOX, self.client.inbox(Range(1))),
        "outbox_sms": lambda self: self.save(Box.SENT, self.client.sent(Ids([1]))),
        "sms": lambda self: self.client.send(Outgoing(device="1", phone="+7920", text=TEXT)),
        "sms_more": send_many,
        "cancel_sms": lambda self: self.client.cancel(1),
    }

    def end(self):
        self.client.close()
        self.mirror.end()


HEADERS = (
    *[{}] * 10,
    {"Content-Type": "text/html; charset=utf-99"},
    {"Retry-After": b"\xef\xbc\x99"},
    {"Retry-After": "-1"},
    {"Date": "Wed, 99 Foo 99999 99:99:99 +9999"},
    {"Date": "Tue, 01 Jan 0001 00:00:00 -2359"},
    {"Date": "Fri, 31 Dec 9999 23:59:59 GMT"},
    {"Location": "http://[::1"},
)


class Free:
    """A pace for somebody in a hurry."""

    def take(self, *_, **__):
        pass

    def pause(self, _s):
        pass


class Passes:
    """Whole passes over a service each of whose answers is a mutant: they end, and say why."""

    MOST = 400  #: requests of a pass

    def __init__(self, folder):
        self.mirror = Mirrored(folder)
        self.mutator = None
        self.requests = 0
        transport = httpx.MockTransport(self.answer)
        self.client = Client(
            TOKEN, base_url="http://127.0.0.1/api/3/", transport=transport, pace=Free()
        )
        puller = Puller(
            account=self.client, mirror=self.mirror.store, lookback=timedelta(minutes=10)
        )
        self.sync = Sync(self.client, self.mirror.store, puller, scope="auto")

    def answer(self, request):
        self.requests += 1
        assert self.requests < self.MOST, "it asks without an end"
        method = request.url.path.rpartition("/")[2].removesuffix(".php")
        kept = self.mutator.random.choice([[], [], range(1, 9), [2**62, 2**63 - 1], [3, 3, 3]])
        return httpx.Response(200, content=self.mutator.answer(method, list(kept)))

    def __call__(self, mutator):
        self.mutator, self.requests = mutator, 0
        outcomes = [*self.sync.once(), self.sync.refresh()]
        for outcome in outcomes:
            failure = outcome.failure
            assert failure is None or isinstance(failure, SemysyncError), repr(failure)
            assert TOKEN not in str(failure)

    def end(self):
        self.client.close()
        self.mirror.end()


class Calls:
    """Calls of webhooks, read and kept as messages that no list shows."""

    FORM = (
        "id=15&date=2024-03-04+11%3A21%3A40&phone=%2B79201234567&msg=Thanks&type=0&id_device=351"
        "&is_send=1&send_date=2024-03-04+11%3A15%3A09&is_delivered=&delivered_date="
    )
    KINDS = (
        "application/x-www-form-urlencoded",
        "application/json",
        "multipart/form-data; boundary=b",
        'multipart/form-data; boundary="b',
        "multipart/form-data; boundary=b; charset=utf-99",
        "text/plain",
        "",
        "\ud800; é=\0",
    )

    def __init__(self, folder):
        self.mirror = Mirrored(folder)

    def __call__(self, mutator):
        kind, query = mutator.random.choice(self.KINDS), ""
        if "json" in kind:
            body = mutator.answer("inbox_sms")
        elif "multipart" in kind:
            parts = [pair.split("=") for pair in self.FORM.split("&")]
            text = "".join(
                f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
                for name, value in parts
            )
            body = mutator.spoil(mutator.text(f"{text}--b--\r\n"))
        else:
            body = mutator.text(self.FORM)
        if mutator.random.random() < 0.3:
            query = mutator.text(self.FORM).decode("latin-1")
        box = mutator.random.choice(["inbox", "sent"])
        hint = hint_of(box, fields_of(kind, query, body))
        if hint:
            assert 0 < hint.message_id < 10**18
            with self.mirror.conn as conn:
                conn.execute("begin")
                unconfirmed.keep(conn, hint, NOW, NOW, "RU")

    def end(self):
        self.mirror.end()


class Configurations:
    """Configuration files: each is one, or all its mistakes are told, without what is secret."""

    SECRET = "5ec2e7000ebb00c4be1145e75ec2e702"
    MORE = f"""
[[hook]]
name = "shop"
on = ["message.*"]
match = {{ contact = "+79201234567", device = 351 }}
url = "https://me:{SECRET}@shop.example/sms?{SECRET}"
secret = "{SECRET}"

[[hook]]
name = "me"
on = ["device.*"]
notify = ["tgram://{SECRET}/CHATID"]
"""

    def __init__(self, folder):
        self.path = folder / "fuzz.toml"
        example = read_text(EXAMPLE)
        keys = [line for line in example.splitlines() if line[:1] in {"[", "#"} or "=" in line]
        whole = "\n".join(k for k in keys if not k.startswith("#"))
        self.whole = whole.replace(
            "webhook_secrets = []", f'webhook_secrets = ["{self.SECRET}"]'
        ).replace("[api]", f'[api]\ntoken = "{TOKEN}"')
        self.whole += self.MORE

    def __call__(self, mutator):
        content = mutator.text(self.whole)
        if mutator.random.random() < 0.2:
            content = mutator.spoil(content)
        self.path.write_bytes(content)
        try:
            config = load(self.path, {})
            shown = repr(config)
            with suppress(ConfigError):
                config.token({})
            with suppress(ConfigError):
                config.webhook_secrets()
            config.mirror({"HOME": "/nowhere"})
            config.copies()
            config.locale()
        except ConfigError as exc:
            shown = str(exc)
            assert len(shown.splitlines()) < 400
        assert TOKEN not in shown
        assert self.SECRET not in shown

    def end(self):
        pass


class Sheets:
    """CSV files of drafts: each line becomes a draft, or a sentence with its number."""

    WHOLE = (
        "phone,text,device,priority,send_at,expires_at,client_key,kind\n"
        '+79201234567,"Hello, ""you""",351,5,2026-11-27 10:00,2026-11-28T10:00:00Z,a-1,text\n'
        "8 920 123-45-67,Привет 💥,,,,,a-2,\n"
        '*100#,,351,0,,,,ussd\n"+79201234568","two\nlines",active,1000000,,,b,text\n'
    )

    def __init__(self, folder):
        self.mirror = Mirrored(folder)
        self.conn = drafts.open_outbox(self.mirror.path)
        self.conn.execute("pragma synchronous = off")

    def __call__(self, mutator):
        whole = mutator.random.choice([self.WHOLE, self.WHOLE.replace(",", ";")])
        content = mutator.text(whole)
        if mutator.random.random() < 0.3:
            content = mutator.spoil(content)
        report = sending_many.Report()
        last = 0
        with self.conn:
            self.conn.execute("begin")
            with suppress(BadSheet):
                for line in lines(BytesIO(content)):
                    assert line.number > last, "lines go up"
                    last = line.number
                    sending_many.put(self.conn, line, {}, report)
        assert last <= content.count(b"\n") + content.count(b"\r") + 1
        for _, sentence in report.refused:
            assert sentence
            assert len(sentence) < 1000

    def end(self):
        self.conn.close()
        with closing(drafts.open_outbox(self.mirror.path)) as conn:
            for draft in drafts.drafts(conn, list(drafts.WAITING), None):
                dict(draft)
        self.mirror.end()


TARGETS = {
    "answers": Answers,
    "passes": Passes,
    "calls": Calls,
    "configurations": Configurations,
    "sheets": Sheets,
}
