"""Drafts that somebody wants cancelled."""

import pytest
from rig import LOST, number
from structlog.testing import capture_logs


@pytest.fixture
def waiting(make):
    """Phones that are off: what is taken stays."""
    return make(switches={"phone_speed": 0})


def test_a_queued_or_held_draft_is_cancelled_at_once(waiting):
    queued, held = waiting.draft(), waiting.draft(status="held")

    waiting.cancel(queued)
    waiting.cancel(held)
    waiting.run(30)

    assert waiting.statuses() == ["cancelled", "cancelled"]
    assert waiting.made() == []


def test_a_draft_that_waits_at_the_service_is_cancelled_there(waiting):
    draft = waiting.draft()
    waiting.until(draft, "accepted")

    waiting.cancel(draft)
    waiting.until(draft, "cancelled")

    assert waiting.sandbox.account.row("sent", waiting.of(draft, "sent_id"))["is_cancel"] == 1
    (asked,) = waiting.requests("cancel_sms")
    assert "device" not in asked.params


def test_a_wish_that_comes_while_the_answer_is_awaited_is_kept(waiting):
    draft = waiting.draft()
    waiting.sandbox.before_call = lambda call: call.method == "sms" and wish()

    def wish():
        conn = waiting.connect()
        conn.execute("update outbox set status = 'cancelling' where id = ?", (draft,))
        conn.close()

    waiting.until(draft, "cancelled")

    assert len(waiting.made()) == 1
    assert waiting.sandbox.account.row("sent", waiting.of(draft, "sent_id"))["is_cancel"] == 1


@pytest.mark.parametrize(("when", "made"), [("before", []), ("after", ["Hello"])])
def test_a_wish_that_comes_while_nothing_is_known_is_kept(waiting, when, made):
    waiting.sandbox.order_fault(**LOST, when=when)
    draft = waiting.draft()
    waiting.steps()

    waiting.cancel(draft)
    kept = waiting.of(draft)
    waiting.until(draft, "cancelled")

    assert kept == "unknown"
    assert waiting.made() == made
    for message in waiting.sandbox.account.effects():
        assert waiting.sandbox.account.row("sent", message["id"])["is_cancel"] == 1


def test_a_wish_for_what_is_refused_cancels_it(waiting):
    waiting.sandbox.set(refuse_text="Hello")
    draft = waiting.draft()

    def wish(call):
        if call.method == "sms":
            conn = waiting.connect()
            conn.execute("update outbox set status = 'cancelling' where id = ?", (draft,))
            conn.close()

    waiting.sandbox.before_call = wish
    waiting.steps()

    assert waiting.of(draft) == "cancelled"


@pytest.mark.parametrize("late", ["silent", "error"])
def test_a_cancel_that_comes_too_late_shows_what_the_message_is(make, late):
    rig = make(switches={"phone_speed": 0, "cancel_comes": "too_late", "cancel_late": late})
    draft = rig.draft()
    rig.until(draft, "accepted")

    rig.cancel(draft)
    rig.until(draft, "on_phone")
    rig.sandbox.set(phone_speed=10)
    rig.until(draft, "delivered")

    assert rig.events(draft)[-4:] == ["cancelling", "on_phone", "sent", "delivered"] or rig.events(
        draft
    )[-3:] == ["cancelling", "on_phone", "delivered"]


def test_a_cancel_that_is_refused_is_asked_for_again(waiting):
    waiting.sandbox.set(cancel_id="needs_device")
    draft = waiting.draft()
    waiting.until(draft, "accepted")
    waiting.cancel(draft)
    waiting.run(100)
    meanwhile = waiting.of(draft), waiting.of(draft, "error")
    waiting.sandbox.set(cancel_id="alone")

    waiting.until(draft, "cancelled")

    assert meanwhile[0] == "cancelling"
    assert "has not cancelled it" in meanwhile[1]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_cancel_whose_answer_is_lost_is_looked_after(waiting, when):
    draft = waiting.draft()
    waiting.until(draft, "accepted")
    waiting.sandbox.order_fault("drop", method="cancel_sms", when=when)

    waiting.cancel(draft)
    waiting.until(draft, "cancelled")

    assert len(waiting.made()) == 1


def test_a_cancel_is_seen_later_where_its_message_cannot_be_read_at_once(waiting):
    draft = waiting.draft()
    waiting.until(draft, "accepted")
    waiting.sandbox.order_fault("http_500", method="outbox_sms")

    waiting.cancel(draft)
    with capture_logs() as logged:
        waiting.sender.step()
    meanwhile = waiting.of(draft), waiting.of(draft, "error")
    waiting.until(draft, "cancelled")

    assert "cancel.not_seen" in [line["event"] for line in logged]
    assert meanwhile[0] == "cancelling"
    assert "was asked to cancel it" in meanwhile[1]


def test_a_cancel_without_an_answer_does_not_hold_up_others_once_for_each(rig):
    drafts = [rig.draft(str(count), number(count)) for count in range(5)]
    rig.steps()
    for draft in drafts:
        rig.cancel(draft)
        rig.sandbox.order_fault("drop", method="cancel_sms")

    rig.sender.step()

    assert len(rig.requests("cancel_sms")) == 1
    assert all("has not cancelled it" in rig.of(draft, "error") for draft in drafts)


def test_a_service_that_wants_a_pause_is_left_alone_with_other_cancels_too(waiting):
    drafts = [waiting.draft(str(count), number(count)) for count in range(5)]
    waiting.steps()
    for draft in drafts:
        waiting.cancel(draft)
    waiting.sandbox.order_fault("http_429", method="cancel_sms", retry_after=90)

    waiting.run(80)
    early = len(waiting.requests("cancel_sms"))
    waiting.run(until=lambda: set(waiting.statuses()) == {"cancelled"})

    assert early == 1
