"""
A run of everything with marked secrets, and then a search: they are nowhere they don't belong.

The service, the receivers of hooks and their programs repeat what they are given, wherever there is
room for words. The secrets belong into the configuration, and into the requests that carry them;
texts and numbers into the mirror, its copies, and what readers print.
"""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from subprocess import Popen

import httpx
import pytest
from echoing import MANNERS, Echo
from processes import Program, end, free_port, wait_until

from semysync.cli import main
from semysync.sandbox import Sandbox

TOKEN = "70ce0000face4bad5eed6f0070ce0001"
WEBHOOK = "5ec2e7000ebb00c4be1145e75ec2e701"
SIGNING = "whsec_c2lnbmluZyBrZXkgbm9ib2R5IHNlZXM="
URL_KEY, URL_PASSWORD, NOTIFY_KEY = "urlkey77aa41", "urlpass88bb52", "notifykey99cc63"
IN = "Ваш код 481-516, «никому» не говорите"
OUT = "Order 77-4812 waits & <costs> 100%"
NUMBER, OTHER = "+79261837465", "+79268264817"

SECRETS = (TOKEN, WEBHOOK, SIGNING, SIGNING[6:], URL_KEY, URL_PASSWORD, NOTIFY_KEY)
TEXTS = ("481-516", "никому", "77-4812", "costs")
NUMBERS = (NUMBER[1:], OTHER[1:])

SETTINGS = (
    ("console", "debug", "masked"),
    ("console", "info", "masked"),  # in the journal
    ("json", "error", "full"),
)

# The program, but its pauses are short, and its standard error is the journal's where it is told.
HASTY = """
import os
import semysync.daemon.loop as loop, semysync.daemon.process as process
import semysync.daemon.sending as sending, semysync.daemon.tempo as tempo
from semysync.follow import hints, retries
from semysync.passes import due
loop.ANSWER_S, loop.END_S, loop.REST_S, process.BEAT_S, sending.AGAIN_S = 1, 1, 0.1, 0.1, 0.2
tempo.FIRST_S, tempo.FIRST_OPEN_S, tempo.LONGEST_S, tempo.SHORTEST_S = 0.1, 0.1, 0.2, 0.1
due.FIRST_PAUSE_S = 0.05
hints.SETTLE_S, hints.LOOK_EVERY_S = 0.5, 0.1
retries.Patience.__new__.__defaults__ = (0.1, 0.2, retries.timedelta(0))
if os.environ.get("JOURNAL"):
    stream = os.fstat(2)
    os.environ["JOURNAL_STREAM"] = f"{stream.st_dev}:{stream.st_ino}"
from semysync.cli import main
main()
"""


class Everything:
    """The program in its home, and all that was seen of it."""

    def __init__(self, home, sandbox, echo):
        self.program, self.sandbox, self.echo = Program(home), sandbox, echo
        self.logs, self.printed, self.complaints = {}, {}, {}
        self.shown, self.seen = [], set()
        self.notes = home / "notes"
        self.drafts = 0

    def configure(self, form, level, numbers, receiver):
        home = self.program.home
        (home / "token").write_text(TOKEN)
        (home / "token").chmod(0o600)
        spy = Path(__file__).with_name("spy.py")
        self.port = free_port()
        self.program.config.parent.mkdir(parents=True, exist_ok=True)
        self.program.config.write_text(f"""
[api]
base_url = "{self.echo.base_url}"
token_file = "{home}/token"
timeout_s = 2
requests_per_minute = 100000
[pull]
inbox_s = 1
sent_s = 1
devices_s = 1
account_s = 1
[send]
batch = 1
settle_s = 1
[purge]
enabled = true
inbox_days = 3
sent_days = 3
[backup]
path = "{home}/copies"
[http]
listen = "127.0.0.1:{self.port}"
webhook_secrets = ["{WEBHOOK}"]
[[hook]]
name = "spy"
on = ["message.*", "draft.*"]
run = ["{sys.executable}", "-IS", "{spy}", "{self.notes}", "0"]
[[hook]]
name = "failing"
on = ["message.*"]
run = ["{sys.executable}", "-IS", "{spy}", "{self.notes}", "3"]
[[hook]]
name = "post"
on = ["message.*", "draft.*"]
url = "http://me:{URL_PASSWORD}@127.0.0.1:{receiver}/{URL_KEY}?key={URL_KEY}"
secret = "{SIGNING}"
[[hook]]
name = "nowhere"
on = ["message.*", "draft.*"]
url = "http://me:{URL_PASSWORD}@127.0.0.1:1/{URL_KEY}"
secret = "{SIGNING}"
[[hook]]
name = "people"
on = ["message.received"]
notify = ["json://me:{URL_PASSWORD}@127.0.0.1:{receiver}/{NOTIFY_KEY}", "tgram://{NOTIFY_KEY}"]
[log]
format = "{form}"
level = "{level}"
numbers = "{numbers}"
""")

    def run(self, setting, manners):
        """The daemon under faults of some manners, with webhooks, drafts and hooks."""
        journal = {"JOURNAL": "1"} if setting[1] == "info" else {}
        with self.program.running("run", code=HASTY, start=Popen, **journal) as process:
            wait_until(self.listens, process)
            self.call_webhooks()
            self.receive()
            for manner in manners:
                self.send_into(manner, process)
            for manner in manners:
                self.ask_into(manner, process)
            self.echo.manner = None
            wait_until(self.mirrors_all, process)
            self.look_at(process.pid)
            self.shown += [self.get("/metrics"), self.get("/healthz")]
            code, logged = end(process)
        assert code == 0, logged
        assert "Traceback" not in logged, logged
        self.logs[setting] = logged

    def receive(self):
        self.sandbox.account.receive(NUMBER, IN)

    def call_webhooks(self):
        """As the service calls, and as people call who know no secret, or write nonsense."""
        fields = {"id": "999999999", "phone": NUMBER, "msg": IN, "id_device": "1"}
        url = f"http://127.0.0.1:{self.port}/webhook/{WEBHOOK}"
        assert httpx.post(f"{url}/inbox", data=fields).status_code == 200
        for path, content in (
            (f"{url}/inbox", b"\xff{[\0"),
            (f"{url}/nothing", b""),
            (f"{url}x/inbox", IN.encode()),
            (f"{url}/inbox/", IN.encode()),
            (f"{url}/inbox?{'x' * 60_000}={NUMBER}", b""),
            (f"{url}/inbox", b"x" * 70_000),
        ):
            try:
                self.shown.append(httpx.post(path, content=content).text)
            except httpx.HTTPError as exc:
                assert "disconnected" in str(exc) or "reset" in str(exc), exc  # noqa: PT017

    def send_into(self, manner, process):
        """Insert a draft, and let the request meet a service that repeats it."""
        self.echo.manner, self.echo.methods, met = manner, ("sms", "sms_more"), self.echo.met
        self.drafts += 1
        phone = f"{OTHER[:-2]}{self.drafts:02}"
        with closing(sqlite3.connect(self.program.mirror, timeout=30)) as conn, conn:
            conn.execute("insert into outbox (phone, text) values (?, ?)", (phone, OUT))
        wait_until(lambda: self.echo.met > met, process)
        self.look_at(process.pid)

    def ask_into(self, manner, process):
        """Let questions meet a service that repeats them."""
        self.echo.methods = ("devices", "inbox_sms", "outbox_sms", "user")
        self.echo.manner, met = manner, self.echo.met
        wait_until(lambda: self.echo.met > met + 2, process)

    def mirrors_all(self):
        here = {row[0] for row in self.program.ask("select id from inbox")}
        return {row["id"] for row in self.sandbox.account.rows("inbox")} <= here

    def look_at(self, pid):
        """See what everybody can see of the daemon, and of what it has started."""
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for number in (pid, *children):
            for name in ("cmdline", "environ"):
                try:
                    self.seen.add(Path(f"/proc/{number}/{name}").read_text().replace("\0", "\n"))
                except OSError:
                    continue  # it has ended

    def listens(self):
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/healthz").status_code in {200, 503}
        except httpx.HTTPError:
            return False

    def get(self, path):
        return httpx.get(f"http://127.0.0.1:{self.port}{path}").text

    def use_commands(self, commands, given=""):
        """Run commands, and keep what they print."""
        for args in commands:
            ended = self.program.run(*args, given=given)
            self.printed[args] = self.printed.get(args, "") + ended.stdout
            self.complaints[args] = self.complaints.get(args, "") + ended.stderr


#: what people write may stand in what these print
READERS = {"send", "outbox", "messages", "conversations", "search", "export", "hooks", "retry"}
#: they have a service of their own, with a token of their own, or are tried elsewhere
APART = {"demo", "sandbox", "web", "run"}
CALM = (
    ("sync",),
    ("send", NUMBER, OUT, "--hold"),
    ("send", "--csv", "-"),
    ("outbox", "--all"),
    ("hold", "1"),
    ("release", "1", "999"),
    ("cancel", "1", "--json"),
    ("retry", "1", "2", "--yes"),
    ("messages", "--json"),
    ("search", "order"),
    ("conversations",),
    ("stats",),
    ("export", "settings", "--format", "jsonl"),
    ("export", "passes"),
    ("export", "deliveries"),
    ("status", "--json"),
    ("doctor",),
    ("devices",),
    ("hooks",),
    ("hooks", "test", "post"),
    ("hooks", "test", "people"),
    ("hooks", "replay", "spy", "--from", "1"),
    ("backup", "--json"),
    ("verify",),
    ("purge",),
    ("help", "sync"),
    ("init", "--token-file", "token"),
)
TROUBLED = (
    ("sync", "--json"),
    ("doctor", "--json"),
    ("verify", "--all", "--repair"),
    ("purge", "--yes"),
    ("cancel", "--device", "352114", "--yes"),
    ("init", "--replace", "--token-file", "token"),
)
LAST = (("drill",), ("takeover",), ("forget", OTHER, "--yes"), ("status",))


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    home = tmp_path_factory.mktemp("everything")
    with (
        Sandbox(messages=60, devices=2, token=TOKEN) as sandbox,
        Echo(sandbox.base_url) as echo,
        Echo(sandbox.base_url) as receiver,
    ):
        receiver.manner = "page of trouble"
        everything = Everything(home, sandbox, echo)
        port = int(receiver.base_url.split(":")[2].partition("/")[0])
        for number, setting in enumerate(SETTINGS):
            everything.configure(*setting, port)
            everything.run(setting, list(MANNERS)[number :: len(SETTINGS)])
        csv = f'phone,text\n{NUMBER},{OUT}\nnonsense,{IN}\n{NUMBER},"{OUT}\n'
        everything.use_commands(CALM, given=csv)
        echo.methods = ()
        for echo.manner in ("error", "page"):
            everything.use_commands(TROUBLED)
        echo.manner = None
        everything.use_commands(LAST)
        yield everything


def found(marks, text):
    return [mark for mark in marks if mark in text]


def test_every_command_was_run(everything):
    assert {args[0] for args in everything.printed} == set(main.commands) - APART


def test_the_log_holds_no_secret_no_text_and_no_number(everything):
    for (form, level, numbers), logged in everything.logs.items():
        told = f"{form}, {level}"
        assert not found((*SECRETS, *TEXTS), logged), told
        assert numbers == "full" or not found(NUMBERS, logged), told
        assert "error" in logged or "<3>" in logged, "it has met no trouble"


def test_no_command_prints_a_secret_and_few_print_texts(everything):
    for args, printed in everything.printed.items():
        assert not found(SECRETS, printed), args
        if args[0] not in READERS:
            assert not found((*TEXTS, *NUMBERS), printed), args
    for args, complained in everything.complaints.items():
        assert not found((*SECRETS, *TEXTS), complained), args


def test_no_process_shows_a_secret_or_a_text(everything):
    notes = everything.notes.read_text()
    for seen in (*everything.seen, notes):
        assert not found((*SECRETS, *TEXTS, *NUMBERS), seen)
    names = {line.partition("=")[0] for line in notes.splitlines() if "=" in line}
    assert {"SEMYSYNC_EVENT", "SEMYSYNC_SEQ"} <= names


def test_no_address_that_was_asked_for_holds_anything(everything):
    assert len(everything.echo.paths) > 100
    assert {path for path in everything.echo.paths if "?" in path} == set()
    assert not found((*SECRETS, *TEXTS, *NUMBERS), "\n".join(everything.echo.paths))


def test_metrics_health_and_refusals_show_nothing(everything):
    assert len(everything.shown) > 8
    for shown in everything.shown:
        assert not found((*SECRETS, *TEXTS, *NUMBERS), shown)


def test_no_file_but_the_configuration_holds_a_secret(everything):
    kept = {everything.program.config, everything.program.home / "token"}
    files = [
        path
        for path in everything.program.home.rglob("*")
        if path.is_file() and path not in kept and path.parent != everything.program.config.parent
    ]
    assert {path.suffix for path in files} >= {".db"}
    for path in files:
        content = path.read_bytes()
        for secret in SECRETS:
            assert secret.encode() not in content, (path, secret)


def test_events_and_passes_hold_neither_texts_nor_numbers(everything):
    with closing(sqlite3.connect(everything.program.mirror)) as conn:
        told = repr(conn.execute("select * from events").fetchall())
        passes = repr(conn.execute("select * from passes").fetchall())
    assert not found((*TEXTS, *NUMBERS), told)
    assert not found(TEXTS, passes)
    assert "error" in passes or "cannot do this" in passes
