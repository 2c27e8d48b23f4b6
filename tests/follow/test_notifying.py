"""People are notified by Apprise: here by its own JSON target, over real HTTP."""

import json
import logging
import sys
from threading import Event

import pytest

from semysync.config import Hook
from semysync.event_kinds import KINDS
from semysync.follow.actions import WITHOUT_APPRISE, Notify, action_of, lacking
from semysync.follow.sample import sample
from semysync.follow.words import in_words

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is:DeprecationWarning")  # Apprise's own

AT = "2026-11-01T12:00:00.000000Z"
TELLING = sample(["message.received"], AT)


@pytest.fixture
def target(receiver):
    return receiver.url.replace("http:", "json:")


def test_a_message_is_a_notification_with_who_wrote_and_what(receiver, target):
    outcome = action_of(Hook(name="a", notify=[target]), Event())(TELLING, "")

    assert outcome.why is None
    ((_, body),) = receiver.calls
    said = json.loads(body)
    assert said["title"] == "From +79201234567"
    assert said["message"] == "This is a test of a semysync hook."


def test_what_fails_is_told_without_the_secrets_of_the_address(receiver, target):
    receiver.status = 403
    secret = target.replace("//", "//user:verysecret@") + "/hush-hush"

    outcome = Notify([secret, "nonsense://verysecret"])(TELLING, "")

    failed, unknown = outcome.why.split("; ")
    assert failed.startswith("json: ")
    assert "403" in failed
    assert unknown == "nonsense: Apprise does not understand this address"
    assert "verysecret" not in outcome.why
    assert "hush" not in outcome.why


def test_a_plug_in_that_breaks_is_a_failure_and_what_it_says_stays_secret(monkeypatch):
    def breaks(*_):
        raise LookupError("verysecret")

    monkeypatch.setattr("apprise.Apprise.add", breaks)

    assert Notify(["tgram://verysecret/1"])(TELLING, "").why == "tgram: LookupError"


def test_nothing_of_what_apprise_says_is_logged(receiver, target, capfd):
    logged = []
    root = logging.NullHandler()
    root.handle = logged.append
    logging.getLogger().addHandler(root)
    receiver.status = 500

    try:
        Notify([target])(TELLING, "")
        logging.getLogger("apprise").error("said when nobody has asked it, as its threads may")
    finally:
        logging.getLogger().removeHandler(root)

    assert logged == []
    assert capfd.readouterr() == ("", "")


def test_a_repeat_goes_only_where_it_did_not_arrive(receiver, target):
    dead = "json://127.0.0.1:1/"
    notify = Notify([target, dead])

    first = notify(TELLING, "")
    second = notify(TELLING, first.done_parts)

    assert first.why
    assert second.why
    assert len(receiver.calls) == 1
    assert Notify([target])(TELLING, second.done_parts).why is None
    assert len(receiver.calls) == 1


def test_without_the_extra_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "apprise", None)

    assert Notify(["json://localhost"])(TELLING, "").why == WITHOUT_APPRISE
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert lacking(Hook(name="a", notify=["json://localhost"])) == WITHOUT_APPRISE
    assert lacking(Hook(name="a", run=["true"])) is None


@pytest.mark.parametrize("kind", KINDS)
def test_there_are_words_for_every_kind(kind):
    title, body = in_words(sample([kind], AT))

    assert title
    assert body


def test_words_name_the_contact_and_why_a_draft_failed():
    telling = sample(["draft.rejected"], AT)
    telling["draft"]["error"] = "sms: the service has answered code 3"
    telling["name"] = "Ann"

    assert in_words(telling) == (
        "To Ann: rejected",
        "This is a test of a semysync hook.\n\nsms: the service has answered code 3",
    )
    assert in_words(
        {"kind": "message.missing", "message": {"direction": "in", "contact": "Bob", "text": "Hi"}}
    ) == ("From Bob: missing", "Hi")
    assert in_words(sample(["device.battery_low"], AT)) == (
        "Phone desk: battery low",
        "Its battery is low. Battery: 12 %.",
    )
    assert in_words({"kind": "purge.done", "data": {"inbox": 3}}) == (
        "semysync, purge: done",
        "inbox: 3",
    )
