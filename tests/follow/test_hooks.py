"""Hooks on their way through the log: in order, at least once, and each for itself."""

import base64
import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from itertools import chain, repeat
from threading import Event, Thread

import pytest
from needing import tool
from processes import wait_until
from receiving import PATIENT, QUICK
from standardwebhooks import Webhook
from structlog.testing import capture_logs

from semysync.config import Hook
from semysync.follow import hooks as hooks_module
from semysync.follow.actions import Outcome, Post, Run
from semysync.follow.hooks import Follower, Followers
from semysync.follow.retries import Patience
from semysync.mirror.file import connect, writing
from semysync.mirror.tables import followers

EVENT = {"id": "1-x", "seq": 1, "kind": "x"}
SECRET = "whsec_" + base64.b64encode(b"a key of thirty-two bytes length").decode()


def go(follower, until):
    """Let a follower work until something holds."""

    def step():
        follower.step()
        return until()

    wait_until(step)


def rest(follower):
    """Let a follower work until nothing is left to do at once."""
    while follower.step() <= 0:
        pass


class Noted:
    """An action that keeps what it is told, and fails as often as it is to."""

    def __init__(self, *failures):
        self.failures = list(failures)
        self.told = []

    def __call__(self, telling, done_parts):
        self.told.append(telling)
        why = self.failures.pop(0) if self.failures else None
        return Outcome(why, "said", done_parts)

    @property
    def texts(self):
        return [telling["message"]["text"] for telling in self.told]

    @property
    def seqs(self):
        return [telling["seq"] for telling in self.told]


# The way through the log


def test_events_come_in_order_each_with_its_message(follow, happen, deliveries):
    noted = Noted()
    follower = follow(noted)
    happen("one", "two", "three")

    rest(follower)

    assert noted.texts == ["one", "two", "three"]
    told = noted.told[0]
    assert told["kind"] == "message.received"
    assert told["box"] == "inbox"
    assert told["device_id"] == 351
    assert told["message"]["contact"] == "+79201234567"
    assert told["message"]["direction"] == "in"
    assert told["message"]["received_at"] == "2026-11-01T12:00:00.000000Z"
    assert told["device"]["id"] == 351
    assert [row[1:] for row in deliveries()] == [("done", 1, None)] * 3


def test_a_hook_that_is_added_later_begins_at_now(follow, happen):
    happen("before")
    noted = Noted()
    follower = follow(noted)
    happen("after")

    rest(follower)

    assert noted.texts == ["after"]


def test_it_goes_on_where_it_was(follow, happen):
    follower = follow(Noted())
    happen("one")
    rest(follower)
    happen("two")
    noted = Noted()

    rest(follow(noted))

    assert noted.texts == ["two"]


def test_what_is_not_for_it_is_passed_over_and_leaves_nothing(follow, happen, deliveries, ask):
    noted = Noted()
    follower = follow(noted, match={"text": "order"})
    happen(*["nothing"] * 1200, "my order", "nothing")

    rest(follower)

    assert noted.texts == ["my order"]
    assert len(deliveries()) == 1
    assert ask("select position from followers") == ask("select max(seq) from events")


def test_a_draft_is_told_with_its_message_and_key(follow, ask):
    noted = Noted()
    follower = follow(noted, on=["draft.*"], match={"contact": "+79201234567"})
    ask("insert into outbox (phone, text, client_key) values ('+7 920 123-45-67', 'Hi', 'k')")

    rest(follower)

    (told,) = noted.told
    assert told["kind"] == "draft.queued"
    assert told["draft"]["client_key"] == "k"
    assert told["draft"]["contact"] == "+79201234567"  # the daemon has not seen it yet
    assert told["message"] is None


def test_of_a_message_that_is_gone_it_is_told_all_the_same(follow, happen, ask):
    noted = Noted()
    follower = follow(noted)
    happen("one")
    ask("delete from inbox")
    ask("update events set data = '[[['")

    rest(follower)

    assert noted.told[0]["message"] is None
    assert noted.told[0]["data"] == {}


@pytest.mark.parametrize(
    "data", ['{"draft_id": 99999999999999999999}', '{"unconfirmed_id": [1]}', '{"draft_id": {}}']
)
def test_an_event_that_somebody_else_wrote_does_not_hold_up_the_next(follow, ask, data):
    noted = Noted()
    follower = follow(noted, on=["draft.*"])
    ask("insert into events (kind, data) values ('draft.queued', ?)", data)
    ask("insert into events (kind) values ('draft.held')")

    rest(follower)

    assert [telling["kind"] for telling in noted.told] == ["draft.queued", "draft.held"]


def test_after_a_restore_an_event_with_a_former_number_has_another_id(follow, happen, mirror):
    noted = Noted("fails")
    follower = follow(noted)
    copy = mirror.with_name("copy.db")
    with closing(connect(mirror)) as conn:
        conn.execute("vacuum into ?", (str(copy),))
    happen("one")
    go(follower, lambda: len(noted.told) == 2)
    follower.close()
    copy.replace(mirror)
    for left in mirror.parent.glob(f"{mirror.name}-*"):
        left.unlink()
    with closing(connect(mirror)) as conn, writing(conn):
        conn.execute(
            "insert into events (at, kind) values ('2026-11-26T09:00:00Z', 'message.received')"
        )

    rest(follower)

    first, repeated, other = noted.told
    assert first["seq"] == other["seq"]
    assert first["id"] == repeated["id"] != other["id"]
    assert other["id"] == f"{other['seq']}-20261126T090000Z"


def test_a_draft_whose_text_is_none_is_told_with_what_can_be_read(follow, ask):
    noted = Noted()
    follower = follow(noted, on=["draft.*"])
    ask("insert into outbox (phone, text) values ('+79201234567', cast(x'48ff69' as text))")

    rest(follower)

    assert noted.told[0]["draft"]["text"] == "H\ufffdi"


# Failures


def test_one_that_fails_is_tried_again_and_what_comes_behind_it_waits(follow, happen, deliveries):
    noted = Noted("it ended with 1", "it ended with 2")
    follower = follow(noted)
    happen("one", "two")

    follower.step()
    ((seq, *failing),) = deliveries()
    with capture_logs() as logged:
        go(follower, lambda: len(noted.told) == 4)

    assert failing == ["failing", 1, "it ended with 1"]
    assert noted.texts == ["one", "one", "one", "two"]
    assert noted.seqs == [seq, seq, seq, seq + 1]
    assert deliveries() == [(seq, "done", 3, None), (seq + 1, "done", 1, None)]
    assert [entry["event"] for entry in logged] == ["hook.recovered"]


def test_it_waits_between_two_attempts(follow, happen):
    noted = Noted("it ended with 1")
    follower = follow(noted, patience=Patience())
    happen("one")

    follower.step()

    assert 0 < follower.step() <= 5
    assert len(noted.told) == 1


def test_after_a_restart_it_is_tried_at_once(follow, happen):
    follower = follow(Noted("it ended with 1"), patience=Patience())
    happen("one")
    follower.step()
    noted = Noted()

    follow(noted, patience=Patience()).step()

    assert noted.texts == ["one"]


def test_one_that_is_given_up_stays_to_be_seen_and_the_next_has_its_turn(
    follow, happen, deliveries, ask
):
    noted = Noted("it ended with 1")
    follower = follow(noted, patience=QUICK)
    happen("one", "two")

    with capture_logs() as logged:
        rest(follower)

    assert noted.texts == ["one", "two"]
    assert [row[1] for row in deliveries()] == ["dead", "done"]
    assert [entry["event"] for entry in logged] == ["hook.gave_up"]
    (data,) = ask("select data from events where kind = 'hook.dead'")[0]
    assert json.loads(data) == {"hook": "tell", "seq": noted.seqs[0]}


def test_a_hook_that_hears_of_dead_ones_hears_nothing_of_itself(follow, happen):
    noted = Noted("it ended with 1")
    follower = follow(noted, patience=QUICK, on=["hook.dead", "message.received"])
    happen("one")

    rest(follower)

    assert len(noted.told) == 1


def test_a_mistake_of_ours_is_a_failure_too(follow, happen, deliveries):
    def broken(telling, done_parts):
        raise ZeroDivisionError

    follower = follow(broken)
    happen("one")

    with capture_logs() as logged:
        follower.step()

    assert deliveries("status, error") == [
        ("failing", "ZeroDivisionError, a mistake of semysync: see its log")
    ]
    assert logged[0]["event"] == "hook.broke"


def test_a_mirror_that_is_locked_repeats_no_delivery(follow, happen, mirror, monkeypatch):
    monkeypatch.setattr("semysync.mirror.file.BUSY_S", 0.05)
    monkeypatch.setattr(hooks_module, "AGAIN_S", 0.05)
    with closing(sqlite3.connect(mirror, isolation_level=None)) as other:
        tries = []

        def lock(telling, done_parts):
            tries.append(telling["seq"])
            other.execute("begin immediate")
            return Outcome(None)

        class Unlocking(Event):
            waits = 0

            def wait(self, _timeout=None):
                self.waits += 1
                if self.waits == 3:
                    other.execute("rollback")
                return super().wait(0.01)

        stopping = Unlocking()
        follower = follow(lock, stopping=stopping)
        happen("one")

        with capture_logs() as logged:
            follower.step()

        assert len(tries) == 1
        assert stopping.waits == 3
        assert [line["event"] for line in logged] == ["hook.not_noted"]
        assert follower.step() > 0  # it is noted


# Repeating


def set_back(mirror, first, name="tell"):
    with closing(connect(mirror)) as conn, writing(conn):
        return followers.set_back(conn, name, first)


def test_a_replay_repeats_from_an_event_on_with_the_same_numbers(follow, happen, mirror):
    noted = Noted()
    follower = follow(noted)
    happen("one", "two", "three")
    rest(follower)

    assert set_back(mirror, noted.seqs[1])
    rest(follower)

    assert noted.texts == ["one", "two", "three", "two", "three"]
    assert noted.seqs[1:3] == noted.seqs[3:]


def test_a_replay_of_what_is_still_to_come_changes_nothing(follow, happen, mirror, ask):
    follow(Noted())
    happen("one", "two")

    assert not set_back(mirror, 2)
    assert not set_back(mirror, 1, "nobody")
    assert ask("select position from followers") == [(0,)]


def test_a_replay_while_a_delivery_is_at_work_stands(follow, happen, mirror, deliveries):
    noted = Noted()

    def replayed(telling, done_parts):
        if len(noted.told) == 1:
            set_back(mirror, noted.seqs[0])
        return noted(telling, done_parts)

    follower = follow(replayed)
    happen("one", "two")

    rest(follower)

    assert noted.texts == ["one", "two", "one", "two"]
    assert [row[1] for row in deliveries()] == ["done", "done"]


def test_a_replay_tries_what_was_dead(follow, happen, mirror, deliveries):
    noted = Noted("no")
    follower = follow(noted, patience=QUICK)
    happen("one")
    rest(follower)

    set_back(mirror, noted.seqs[0])
    rest(follower)

    assert [row[1] for row in deliveries()] == ["done"]


def test_a_replay_does_not_wait_for_the_next_attempt(follow, happen, mirror):
    noted = Noted("no", "no")
    follower = follow(noted, patience=Patience())
    happen("one")
    follower.step()
    waits = follower.step() > 0

    set_back(mirror, noted.seqs[0])
    follower.step()

    assert waits
    assert len(noted.told) == 2


# Programs


def test_a_program_gets_the_event_on_standard_input_and_little_around_it(
    follow, happen, deliveries, monkeypatch
):
    monkeypatch.setenv("SEMYSYNC_TOKEN", "secret")
    for name in ("CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "HOME"):
        monkeypatch.setenv(name, "/x")
    monkeypatch.setenv("LANG", "C.UTF-8")
    code = "import json, os, sys; print(json.dumps([dict(os.environ), json.load(sys.stdin)]))"
    follower = follow(run=[sys.executable, "-S", "-c", code])
    happen("Привет")

    rest(follower)

    environ, event = json.loads(deliveries("output")[0][0])
    environ.pop("LC_CTYPE", None)  # Python's own
    assert environ == {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "SEMYSYNC_EVENT": "message.received",
        "SEMYSYNC_SEQ": str(event["seq"]),
    }
    assert event["message"]["text"] == "Привет"


@pytest.mark.parametrize("text", ["$(touch owned); `id` | x && y", "a\nb\0c\r\u2028'\"", "-rf /"])
def test_what_a_message_says_is_never_run(follow, happen, deliveries, text):
    code = "import json, sys; print(ascii(json.load(sys.stdin)['message']['text']))"
    follower = follow(run=[sys.executable, "-S", "-c", code])
    happen(text)

    rest(follower)

    assert deliveries("output") == [(ascii(text) + "\n",)]


@pytest.mark.parametrize(
    ("run", "why"),
    [
        (["false"], "it ended with 1"),
        (["no-such-program"], "there is no program no-such-program: give its whole path"),
    ],
)
def test_a_program_that_fails_is_tried_again(follow, happen, deliveries, run, why):
    follower = follow(run=run)
    happen("one")

    follower.step()

    assert deliveries("status, error") == [("failing", why)]


# Addresses


def test_what_is_posted_is_the_event_and_its_number_is_the_id(follow, happen, receiver):
    follower = follow(url=receiver.url)
    happen("Привет")

    rest(follower)

    ((headers, body),) = receiver.calls
    event = json.loads(body)
    assert event["message"]["text"] == "Привет"
    assert headers["webhook-id"] == event["id"]
    assert headers["Content-Type"] == "application/json"
    assert "webhook-signature" not in headers


def test_an_independent_implementation_takes_the_signature(follow, happen, receiver):
    follower = follow(url=receiver.url, secret=SECRET)
    receiver.status = 500
    happen("Привет")
    follower.step()
    receiver.status = 204
    go(follower, lambda: len(receiver.calls) == 2)

    for headers, body in receiver.calls:
        assert Webhook(SECRET).verify(body, headers)["message"]["text"] == "Привет"
    (first, body), (second, _) = receiver.calls
    assert first["webhook-id"] == second["webhook-id"]  # the same on every retry
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(SECRET).verify(body + b" ", first)
    with pytest.raises(Exception, match="No matching signature"):
        Webhook("whsec_" + base64.b64encode(b"another").decode()).verify(body, first)


def test_openssl_takes_the_signature_of_a_plain_secret(follow, happen, receiver):
    secret = "no base64, but a plain secret"
    follower = follow(url=receiver.url, secret=secret)
    happen("one")
    rest(follower)

    ((headers, body),) = receiver.calls
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = subprocess.run(
        [tool("openssl"), "dgst", "-sha256", "-hmac", secret, "-binary"],
        input=signed,
        capture_output=True,
        check=True,
    ).stdout
    assert headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60


@pytest.mark.parametrize(
    ("status", "more"),
    [(404, ""), (500, ""), (302, ": it sends us elsewhere, which is not followed")],
)
def test_an_answer_that_is_no_yes_is_a_failure(receiver, status, more):
    receiver.status, receiver.headers = status, {"Location": receiver.url}
    outcome = Post(receiver.url, None)(EVENT, "")

    assert outcome == (f"127.0.0.1 answers {status}{more}", "thanks", "", False)
    assert len(receiver.calls) == 1


def test_a_receiver_that_hangs_is_given_up_in_time(receiver):
    receiver.hang.clear()

    outcome = Post(receiver.url, None, limit_s=0.2)(EVENT, "")

    assert outcome.why == "127.0.0.1 does not answer within 0.2 s"


@pytest.mark.parametrize(
    ("answer", "drop", "limit_s", "why"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"", 0.3, "127.0.0.1 does not answer within 0.3 s"),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", 0.3, "127.0.0.1 does not answer within 0.3 s"),
        # These have answered, and are soon enough for that even where others reckon.
        (b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n", b"x", 2, None),
        (b"HTTP/1.1 503 No\r\nContent-Length: 999\r\n\r\n", b"x", 2, "127.0.0.1 answers 503"),
    ],
)
def test_a_receiver_that_drips_is_given_up_in_time(answer, drop, limit_s, why):
    def drip():
        with listening, listening.accept()[0] as connection, suppress(OSError):
            connection.recv(65_536)
            for piece in chain([answer], repeat(drop or answer)):
                connection.sendall(piece)
                time.sleep(0.05)

    listening = socket.create_server(("127.0.0.1", 0))
    thread = Thread(target=drip)
    thread.start()
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    began = time.monotonic()

    outcome = Post(url, None, limit_s=limit_s)(EVENT, "")

    assert time.monotonic() - began < 15
    assert outcome.why == why
    thread.join()


def test_an_answer_without_end_is_not_read_to_it(receiver):
    receiver.body = b"x" * 5_000_000

    outcome = Post(receiver.url, None)(EVENT, "")

    assert outcome.why is None
    assert len(outcome.output) == 2_000


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/SECRET", "https://no-such-host.invalid/SECRET"]
)
def test_nothing_secret_of_an_address_is_told(url, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    outcome = Post(url, None)(EVENT, "")

    assert outcome.why.startswith("cannot reach ")
    assert "SECRET" not in outcome.why


# Side by side


@pytest.fixture
def followers_of(mirror):
    """Start followers in their threads."""
    started = []

    def start(*hooks, **options):
        several = Followers(hooks, mirror, **options)
        started.append(several)
        several.start()
        return several

    yield start
    for several in started:
        several.stop()


def hook(name, **fields):
    return Hook(name=name, on=["message.received"], **fields)


def test_slow_failing_and_hanging_hooks_hold_up_nobody_else(
    followers_of, happen, receiver, tmp_path, deliveries
):
    followers_of(
        hook("hangs", run=["sh", "-c", f"while [ ! -e {tmp_path}/end ]; do sleep 0.05; done"]),
        hook("fails", run=["false"]),
        hook("slow", run=["sh", "-c", f"sleep 0.2; echo $SEMYSYNC_SEQ >> {tmp_path}/slow"]),
        hook("lost", run=["no-such-program"]),
        hook("well", url=receiver.url),
    )

    happen(*[f"text {n}" for n in range(5)])
    wait_until(lambda: len(receiver.calls) == 5)

    assert receiver.seqs == sorted(receiver.seqs)
    wait_until(lambda: len(deliveries(name="slow")) == 5)
    assert (tmp_path / "slow").read_text().split() == [str(seq) for seq in receiver.seqs]
    assert deliveries("status", "fails") == [("failing",)]
    assert deliveries("status", "hangs") == []
    (tmp_path / "end").touch()


def test_a_stop_does_not_wait_for_a_hook_for_ever_and_nothing_is_lost(
    followers_of, happen, receiver, monkeypatch, deliveries
):
    monkeypatch.setattr(hooks_module, "STOP_S", 1.0)
    monkeypatch.setattr("semysync.follow.programs.GRACE_S", 0.1)
    receiver.hang.clear()
    several = followers_of(hook("hangs", run=["sleep", "60"]), hook("waits", url=receiver.url))
    happen("one")
    wait_until(lambda: receiver.calls)

    began = time.monotonic()
    several.stop()

    assert time.monotonic() - began < 15
    assert deliveries(name="hangs") == []
    receiver.hang.set()
    followers_of(hook("hangs", run=["true"]))
    wait_until(lambda: deliveries("status", "hangs") == [("done",)])


def test_a_receiver_that_is_down_for_longer_than_a_restart_loses_nothing(
    followers_of, happen, receiver, deliveries
):
    receiver.status = 503
    several = followers_of(hook("tell", url=receiver.url), patience=PATIENT)
    happen("one", "two")
    wait_until(lambda: deliveries("status") == [("failing",)])
    several.stop()
    happen("three")
    several = followers_of(hook("tell", url=receiver.url), patience=PATIENT)
    wait_until(lambda: len(receiver.calls) > 5)
    receiver.status = 200
    wait_until(lambda: deliveries("status") == [("done",)] * 3)

    texts = [json.loads(body)["message"]["text"] for _, body in receiver.calls]
    assert list(dict.fromkeys(texts)) == ["one", "two", "three"]
    assert receiver.seqs == sorted(receiver.seqs)


def test_an_event_of_another_process_is_delivered(followers_of, receiver, mirror):
    followers_of(Hook(name="tell", on=["draft.queued"], url=receiver.url))
    code = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); "
        "c.execute(\"insert into outbox (phone, text) values ('+79201234567', 'x')\"); c.commit()"
    )

    subprocess.run([sys.executable, "-c", code, mirror], check=True)

    wait_until(lambda: receiver.calls)


def test_a_replay_of_another_process_is_heard(followers_of, happen, receiver, mirror):
    followers_of(hook("tell", url=receiver.url))
    happen("one", "two")
    wait_until(lambda: len(receiver.calls) == 2)

    wait_until(lambda: set_back(mirror, 1))  # as soon as both are noted

    wait_until(lambda: len(receiver.calls) == 4)
    assert receiver.seqs == [1, 2, 1, 2]


def test_kinds_that_happen_are_heard_once_each(followers_of, happen):
    heard = []
    followers_of(happened=heard.append)
    happen("one", "two")

    wait_until(lambda: heard == ["message.received"] * 2)


def test_nothing_runs_without_hooks(mirror):
    several = Followers((), mirror)

    assert several._threads == []


def test_a_program_is_given_up_at_its_limit():
    outcome = Run(["sleep", "9"], Event(), limit_s=0.1)(EVENT, "")

    assert outcome == ("it took longer than 0.1 s, and was ended", None, "", False)


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr(hooks_module, "AGAIN_S", 0.01)
    monkeypatch.setattr("semysync.mirror.file.BUSY_S", 0.01)


@pytest.mark.usefixtures("hasty")
def test_a_mirror_that_is_locked_at_the_start_delays_a_hook_and_loses_nothing(
    followers_of, happen, receiver, mirror
):
    with capture_logs() as logged:
        with closing(sqlite3.connect(mirror, isolation_level=None)) as other:
            other.execute("begin immediate")
            followers_of(hook("tell", url=receiver.url))
            wait_until(lambda: len(logged) == 2)
        wait_until(lambda: is_known(mirror, "tell"))
        happen("one")
        wait_until(lambda: receiver.calls)

    assert [line["event"] for line in logged] == ["hooks.delayed", "hook.stands_still"]


@pytest.mark.usefixtures("hasty")
def test_events_are_heard_again_once_the_mirror_can_be_read(followers_of, happen, mirror):
    heard = []
    aside = mirror.rename(mirror.with_name("aside.db"))
    with capture_logs() as logged:
        several = followers_of(happened=heard.append)
        wait_until(lambda: "events.unheard" in [line["event"] for line in logged])
        aside.rename(mirror)
        wait_until(lambda: several._heard_of is not None)  # it begins at the present
        happen("one")

        wait_until(lambda: heard == ["message.received"])


def is_known(mirror, name):
    with closing(connect(mirror)) as conn:
        return followers.position(conn, name) is not None


def test_a_hook_that_lacks_something_is_told_at_the_start(followers_of, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)

    with capture_logs() as logged:
        followers_of(hook("tell", notify=["json://localhost"]))

    assert (logged[0]["event"], logged[0]["hook"]) == ("hook.lacks", "tell")
    assert "pip install 'semysync[notify]'" in logged[0]["error"]


def test_a_replay_that_comes_while_events_are_passed_over_stands(
    follow, happen, mirror, deliveries
):
    action = Noted()
    follower = follow(action, match={"text": "two"})
    happen("two", "one")
    go(follower, lambda: deliveries("status") == [("done",)])
    look_ahead = follower._look_ahead

    def and_set_back(*args):
        ahead = look_ahead(*args)
        set_back(mirror, 1)
        follower._look_ahead = look_ahead
        return ahead

    follower._look_ahead = and_set_back
    follower.step()
    rest(follower)

    assert action.texts == ["two", "two"]


def test_a_stop_ends_the_wait_for_a_mirror_that_is_locked(follow, happen, mirror, monkeypatch):
    monkeypatch.setattr("semysync.mirror.file.BUSY_S", 0.01)
    stopping = Event()
    with closing(sqlite3.connect(mirror, isolation_level=None)) as other:

        def lock(*_):
            other.execute("begin immediate")
            stopping.set()
            return Outcome(None)

        follower = follow(lock, stopping=stopping)
        happen("one")

        assert follower.step() == 0


def test_followers_name_what_they_are(mirror):
    assert Follower(hook("tell"), Noted(), mirror).name == "tell"


def test_a_clock_that_was_ahead_gives_no_delivery_more_time(follow, happen, ask, deliveries):
    follower = follow(Noted(*["no"] * 9), patience=PATIENT)
    happen("one")
    follower.step()
    ask("update deliveries set first_at = '2099-01-01T00:00:00.000000Z'")

    go(follower, lambda: deliveries("attempts") == [(2,)])

    assert deliveries("first_at < '2099'") == [(1,)]


def test_of_what_waits_no_more_is_read_than_is_delivered(follow, happen, mirror):
    follower = follow(Noted("no"))
    happen(*map(str, range(50)))
    fetched = []
    follower.step()
    follower._connected().row_factory = lambda _, row: fetched.append(row) or row

    follower.step()

    assert len(fetched) < 20
