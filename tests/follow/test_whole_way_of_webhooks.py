"""The whole way: the stand-in calls, the daemon pulls, hooks follow; with real processes."""

import json
import signal
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path

import httpx
import pytest
from processes import TOKEN, Program, end, free_port, wait_until

from semysync.sandbox import Sandbox

SECRET = "a-secret-of-the-address-0123"
SELDOM = "[pull]\ninbox_s = 3600\nsent_s = 3600\ndevices_s = 3600\n"

# The daemon, but it has little patience with messages that no list shows.
HASTY = """
from semysync.follow import hints
hints.SETTLE_S, hints.LOOK_EVERY_S = 0.5, 0.1
from semysync.cli import main
main()
"""

# The daemon, but it dies by SIGKILL at a step of a delivery.
MORTAL = """
import os, signal
from semysync.follow import actions, hooks
from semysync.mirror.tables import followers

def mortal(name, function):
    def wrapped(*args, **options):
        if os.environ.get("DIES") == f"before {name}":
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*args, **options)
        if os.environ.get("DIES") == f"after {name}":
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return wrapped

actions.Run.__call__ = mortal("action", actions.Run.__call__)
followers.keep = mortal("storing", followers.keep)
followers.move = mortal("moving", followers.move)
hooks.Follower._not_kept = mortal("noting", hooks.Follower._not_kept)
from semysync.cli import main
main()
"""


@pytest.fixture
def sandbox():
    with Sandbox(messages=30, devices=3, token=TOKEN) as stand_in:
        yield stand_in


@pytest.fixture
def program(tmp_path, sandbox):
    program = Program(tmp_path)
    program.port = free_port()
    program.url = f"http://127.0.0.1:{program.port}"
    listen = f'[http]\nlisten = "127.0.0.1:{program.port}"\nwebhook_secrets = ["{SECRET}"]\n'
    program.configure(sandbox.base_url, rest=SELDOM + listen)
    return program


def is_quiet(sandbox):
    """Tell whether the service has not been asked for half a second."""
    if not sandbox.requests:
        return False
    return (sandbox.clock() - sandbox.requests[-1].at).total_seconds() > 0.5


def call(sandbox, program):
    webhook = f"{program.url}/webhook/{SECRET}"
    sandbox.webhooks.set(inbox=f"{webhook}/inbox", status=f"{webhook}/status")


def is_up(program):
    try:
        return httpx.get(f"{program.url}/healthz").status_code == 200
    except httpx.HTTPError:
        return False


def mirrored(program, box="inbox"):
    return {row[0] for row in program.ask(f"select id from {box}")}


def test_every_encoding_and_manner_brings_the_message_at_once(program, sandbox):
    with program.running("run") as process:
        wait_until(lambda: is_up(program), process)
        call(sandbox, program)
        for switches in (
            {"webhook_encoding": "multipart"},
            {"webhook_encoding": "urlencoded"},
            {"webhook_encoding": "json"},
            {"webhook_verb": "get"},
            {"webhook_verb": "post", "webhook_manner": "doubled", "webhook_forged": "yes"},
            {"webhook_manner": "unordered"},
            {"webhook_manner": "late", "webhook_late_s": 0.2},
        ):
            sandbox.set(**switches)
            numbers = {
                sandbox.account.receive("+79201234567", "Fresh", device_id)
                for device_id in sandbox.account.devices
            }
            wait_until(lambda numbers=numbers: numbers <= mirrored(program), process)
        sandbox.set(phone_speed=20, webhook_status="empty")
        number = sandbox.account.sent_elsewhere("+79201234567", "Hello")
        wait_until(
            lambda: program.ask(f"select status from sent where id = {number}") == [("delivered",)],
            process,
        )
        told = program.ask(f"select kind from events where box = 'sent' and message_id = {number}")
        metrics = httpx.get(f"{program.url}/metrics").text
        code, logged = end(process)

    assert code == 0
    assert told[-1] == ("message.delivered",)
    assert program.ask("select count(*) from inbox where text = 'forged'") == [(0,)]
    assert program.ask("select * from unconfirmed") == []
    assert 'semysync_webhook_calls_total{box="inbox",outcome="hint"}' in metrics
    assert 'semysync_request_seconds_count{method="inbox_sms",outcome="answered"}' in metrics
    assert 'semysync_events_total{kind="message.received"}' in metrics
    assert SECRET not in logged
    assert "Fresh" not in logged


def test_forged_calls_by_the_hundred_cost_a_question_a_second(program, sandbox):
    settings = program.config.read_text()  # without probes of the scope, which ask more
    program.config.write_text(settings.replace("[pull]", '[pull]\nscope = "device"'))
    with program.running("run") as process:
        wait_until(lambda: is_up(program), process)
        wait_until(lambda: is_quiet(sandbox), process)
        before, began = len(sandbox.requests), time.monotonic()
        with httpx.Client(base_url=program.url) as http:
            for number in range(300):
                fields = {"id": 10**9 + number, "id_device": 10**6 + number, "msg": "forged"}
                http.post(f"/webhook/{SECRET}/inbox", data=fields)
        wait_until(lambda: len(sandbox.requests) > before, process)
        asked, took_s = sandbox.requests[before:], time.monotonic() - began
        end(process)

    assert {call.method for call in asked} <= {"inbox_sms", "devices", "outbox_sms", "user"}
    by_inbox = [call for call in asked if call.method == "inbox_sms"]
    assert len(by_inbox) <= 3 * (took_s + 1)  # three devices, at most once a second
    assert program.ask("select * from unconfirmed") == []
    assert program.ask("select count(*) from inbox") == [(len(sandbox.account.ids("inbox")),)]


def test_what_no_list_shows_is_kept_and_a_hook_hears_of_it(program, sandbox, tmp_path):
    hook = (
        '[[hook]]\nname = "ussd"\non = ["webhook.unconfirmed"]\n'
        f'run = ["sh", "-c", "cat > {tmp_path}/told"]\n'
    )
    program.config.write_text(program.config.read_text() + hook)
    with program.running("run", code=HASTY) as process:
        wait_until(lambda: is_up(program), process)
        call(sandbox, program)
        sandbox.account.receive("*100#", "Balance 12", hidden=True)
        done = "select status from deliveries"
        wait_until(lambda: program.ask(done) == [("done",)], process)
        end(process)

    told = json.loads((tmp_path / "told").read_text())
    assert told["unconfirmed"]["text"] == "Balance 12"
    assert program.ask("select count(*) from inbox where text = 'Balance 12'") == [(0,)]


def test_a_port_in_use_does_not_end_the_daemon(program, sandbox):
    import socket

    with socket.socket() as other:
        other.bind(("127.0.0.1", program.port))
        other.listen()
        with program.running("run") as process:
            lines = map(json.loads, iter(process.stderr.readline, ""))
            failed = next(line for line in lines if line["event"] == "http.not_listening")
            wait_until(lambda: program.mirror.exists() and mirrored(program), process)
            code, _ = end(process)

    assert code == 0
    assert "Address already in use" in failed["error"]


@pytest.mark.parametrize(
    "dies",
    [
        "before moving",
        "before action",
        "after action",
        "before noting",
        "before storing",
        "after storing",  # before it is committed
        "after noting",
    ],
)
def test_a_kill_at_any_step_loses_no_event_and_repeats_under_the_same_number(
    program, sandbox, tmp_path, dies
):
    hook = (
        '[send]\nenabled = false\n[[hook]]\nname = "log"\non = ["draft.queued"]\n'
        f'run = ["sh", "-c", "echo $SEMYSYNC_SEQ >> {tmp_path}/log"]\n'
    )
    program.config.write_text(program.config.read_text() + hook)
    program.mirror_here()
    with closing(sqlite3.connect(program.mirror, isolation_level=None)) as conn:
        conn.execute("insert into followers values ('log', 0, 'x')")
        conn.execute("insert into events (kind) values ('purge.done')")  # to be moved past
        for text in ("one", "two"):
            conn.execute("insert into outbox (phone, text) values ('+79201234567', ?)", (text,))
    with program.running("run", code=MORTAL, DIES=dies) as process:
        wait_until(lambda: process.poll() is not None)
    killed = process.returncode

    with program.running("run", code=MORTAL) as process:
        done = "select seq, status from deliveries"
        wait_until(lambda: program.ask(done) == [(2, "done"), (3, "done")], process)
        end(process)

    assert killed == -signal.SIGKILL
    told = [int(line) for line in (tmp_path / "log").read_text().split()]
    assert told == sorted(told)
    assert set(told) == {2, 3}
    assert len(told) <= 3
    assert program.ask("select position from followers") == [(3,)]


def test_a_configuration_that_is_read_again_brings_hooks_and_takes_them(program, sandbox, tmp_path):
    def insert():
        with closing(sqlite3.connect(program.mirror, isolation_level=None, timeout=30)) as conn:
            conn.execute("insert into outbox (phone, text) values ('+79201234567', 'x')")

    hook = (
        '[send]\nenabled = false\n[[hook]]\nname = "log"\non = ["draft.queued"]\n'
        f'run = ["sh", "-c", "echo $SEMYSYNC_SEQ >> {tmp_path}/log"]\n'
    )
    before = program.config.read_text() + "[send]\nenabled = false\n"
    after = program.config.read_text() + hook
    program.config.write_text(before)
    with program.running("run") as process:
        lines = map(json.loads, iter(process.stderr.readline, ""))
        wait_until(lambda: is_up(program), process)
        insert()
        program.config.write_text(after)
        process.send_signal(signal.SIGHUP)
        assert any(line["event"] == "configuration.reread" for line in lines)
        wait_until(lambda: program.ask("select 1 from followers where name = 'log'"), process)
        insert()  # after the hook has begun, which it does at the present
        wait_until((tmp_path / "log").exists, process)
        wait_until(lambda: is_up(program), process)
        program.config.write_text(before)
        process.send_signal(signal.SIGHUP)
        assert any(line["event"] == "configuration.reread" for line in lines)
        insert()
        code, _ = end(process)

    assert code == 0
    assert (tmp_path / "log").read_text() == "2\n"
    assert program.ask("select name, position from followers") == [("log", 2)]


def test_no_child_of_a_hook_outlives_a_stop(program, sandbox, tmp_path):
    hook = (
        '[[hook]]\nname = "long"\non = ["draft.queued"]\n'
        f'run = ["sh", "-c", "echo $$ > {tmp_path}/pid; sleep 60"]\n'
    )
    program.config.write_text(program.config.read_text() + hook)
    program.mirror_here()
    with program.running("run") as process:
        wait_until(lambda: program.ask("select 1 from followers"), process)
        with closing(sqlite3.connect(program.mirror, isolation_level=None)) as conn:
            conn.execute("insert into outbox (phone, text) values ('+79201234567', 'x')")
        pid = tmp_path / "pid"
        wait_until(lambda: pid.exists() and pid.read_text().endswith("\n"), process)
        group = pid.read_text().strip()
        assert group in running_groups()
        code, _ = end(process)

    assert code == 0
    wait_until(lambda: group not in running_groups())


def running_groups():
    """The groups of all processes that are more than an entry in a table."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, group = path.read_text().rpartition(")")[2].split()[:3]
            if state != "Z":
                yield group
