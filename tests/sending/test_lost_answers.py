"""Where an answer is lost, or does not name what it should: what becomes of the drafts."""

import pytest
from rig import FINAL, GONE_OUT, LOOK_EVERY_S, LOST, after, number

from semysync.mirror.outbox.evidence import Evidence, Settled
from semysync.model import Accepted

# Where the answer to a batch names what


@pytest.mark.parametrize("batch_order", ["in_order", "shuffled"])
def test_a_batch_is_paired_by_its_references(make, batch_order):
    rig = make(switches={"batch_order": batch_order})
    drafts = {rig.draft(str(count), number(count)): str(count) for count in range(7)}

    rig.steps()

    assert len(rig.requests()) == 1
    for draft, text in drafts.items():
        assert rig.sandbox.account.row("sent", rig.of(draft, "sent_id"))["msg"] == text


@pytest.mark.parametrize(
    "switches", [{"batch_order": "short"}, {"batch_order": "empty"}, {"my_id": "absent"}]
)
def test_what_the_answer_does_not_name_is_found_in_the_account(make, switches):
    rig = make(switches=switches)
    drafts = {rig.draft(str(count), number(count)): str(count) for count in range(5)}

    rig.steps()
    unsure = rig.statuses().count("unknown")
    rig.until_out()

    assert unsure >= 2
    assert len(rig.requests()) == 1
    for draft, text in drafts.items():
        assert rig.sandbox.account.row("sent", rig.of(draft, "sent_id"))["msg"] == text


@pytest.mark.parametrize("list_device", ["empty", "partial"])
def test_what_the_account_shows_of_a_device_only_is_found_there(make, list_device):
    """Found by the state machine, with `scope = "account"`: then nothing shows it as a whole."""
    rig = make()
    hidden = rig.ask("select max(id) from devices")[0][0]
    rig.sandbox.set(list_device=list_device)
    rig.sandbox.order_fault(**LOST, when="after")
    draft = rig.draft("once", number(1), device=str(hidden))

    rig.until_out()

    assert rig.made() == ["once"]
    assert rig.of(draft, "sent_id") == max(rig.sandbox.account.ids("sent"))


@pytest.mark.parametrize("manner", ["none_taken", "before_taken", "absent", "error"])
def test_a_bad_item_costs_the_others_no_second_message(make, manner):
    rig = make(max_attempts=2, switches={"batch_bad_item": manner, "refuse_phone": number(2)})
    drafts = [rig.draft(str(count), number(count)) for count in range(5)]

    rig.run(until=lambda: all(rig.of(draft) in FINAL | GONE_OUT for draft in drafts))

    assert rig.of(drafts[2]) == "rejected"
    assert sorted(rig.made()) == ["0", "1", "3", "4"]


def test_a_refused_batch_is_searched_for_and_then_goes_singly(make):
    rig = make(switches={"batch_limit": 2})
    for count in range(4):
        rig.draft(str(count), number(count))

    rig.steps()
    refused = rig.statuses()
    rig.until_out()

    assert refused == ["unknown"] * 4
    assert rig.batches() == [["0", "1", "2", "3"], ["0"], ["1"], ["2"], ["3"]]
    assert rig.looks >= 3
    assert rig.events().count("resent") == 4


# Lost answers: what a person may choose, and what is learnt


def test_with_hold_a_lost_draft_waits_for_a_person(make):
    rig = make(lost_answer="hold")
    rig.sandbox.order_fault(**LOST)
    draft = rig.draft()

    rig.run(1000)
    held = rig.of(draft), rig.of(draft, "error")
    rig.set(draft, "queued")
    rig.until_out()

    assert held[0] == "unknown"
    assert "set its status to queued" in held[1]
    assert rig.made() == ["Hello"]


def test_a_person_may_give_up_what_is_held(make):
    rig = make(lost_answer="hold")
    rig.sandbox.order_fault(**LOST)
    draft = rig.draft()
    rig.run(300)

    rig.set(draft, "cancelled")
    rig.run(300)

    assert (rig.of(draft), rig.made()) == ("cancelled", [])


def test_a_message_that_shows_up_late_but_in_time_is_adopted(make):
    rig = make(switches={"sent_visible": "after_s", "visible_after_s": 50.0})
    rig.sandbox.order_fault(**LOST, when="after")
    draft = rig.draft()

    rig.until_out()

    assert rig.time.passed_s >= 50
    assert rig.made() == ["Hello"]
    assert rig.events(draft)[:3] == ["queued", "sending", "unknown"]


def test_what_a_look_that_failed_brought_counts(rig):
    """Another device fails, so that no look is complete any more; but the message is here."""
    rig.sandbox.set(sent_visible="never")
    rig.sandbox.order_fault(**LOST, when="after")
    draft = rig.draft()
    rig.run(45)
    assert rig.looks >= 3
    rig.sandbox.account.reveal_all()
    rig.looking = False
    rig.pull()

    rig.run(100)

    assert rig.made() == ["Hello"]
    assert rig.of(draft) in GONE_OUT


def test_what_a_failed_look_brings_counts_for_a_draft_that_is_queued_again(make):
    rig = make(quiet_hours="12:01-13:00 UTC")
    rig.sandbox.set(sent_visible="never")
    rig.sandbox.order_fault(**LOST, when="after")
    draft = rig.draft()
    rig.until(draft, "queued")
    rig.sandbox.account.reveal_all()
    rig.looking = False
    rig.pull()

    rig.run(3700)

    assert rig.made() == ["Hello"]


def test_lateness_that_was_seen_lengthens_the_settle_time(rig):
    rig.sandbox.set(sent_visible="after_s", visible_after_s=55.0)
    rig.draft("named")
    rig.run(5)
    rig.sandbox.order_fault("drop", method="sms", when="after")
    rig.draft("lost", number(1))
    rig.until_out()
    rig.sandbox.set(visible_after_s=100.0)
    rig.sandbox.order_fault("drop", method="sms", when="after")
    rig.draft("later", number(2))

    rig.until_out()

    assert 55 <= float(rig.setting("greatest_lateness_s")) <= 100
    assert sorted(rig.made()) == ["later", "lost", "named"]


def test_lateness_is_learnt_from_what_was_sent_twice(make):
    rig = make(settle_s=60)
    rig.sandbox.set(sent_visible="after_s", visible_after_s=90.0)
    rig.sandbox.order_fault("drop", method="sms", when="after", times=1)
    first = rig.draft("one")
    rig.run(200)
    rig.sandbox.order_fault("drop", method="sms", when="after", times=1)
    rig.draft("two", number(1))
    rig.until_out()

    assert rig.events(first).count("doubled") == 1
    assert rig.made() == ["one", "one", "two"]  # once, not each time


def test_a_second_message_is_told(make):
    rig = make(switches={"sent_visible": "never"})
    rig.sandbox.order_fault(**LOST, when="after")
    draft = rig.draft()
    rig.until_out()

    revealed = rig.sandbox.account.reveal_all()
    rig.run(60)

    assert rig.made() == ["Hello", "Hello"]
    assert rig.events(draft).count("resent") == 1
    assert rig.events(draft).count("doubled") == 1
    told = rig.ask("select message_id from events where kind = 'draft.doubled'")
    assert told == [(revealed[0],)]


def test_a_message_to_the_number_with_another_text_is_for_a_person(rig):
    rig.sandbox.set(other_client="other_text")
    rig.sandbox.order_fault(**LOST)
    draft = rig.draft()

    rig.run(2000)
    doubtful = rig.of(draft), rig.of(draft, "error")
    rig.sandbox.set(other_client="none")
    rig.set(draft, "queued")
    rig.until_out()

    assert doubtful[0] == "unknown"
    assert "the account shows a message to this number" in doubtful[1]
    assert rig.made() == ["Hello"]


def test_what_is_doubtful_stays_so_after_a_restart(rig):
    rig.sandbox.set(other_client="other_text")
    rig.sandbox.order_fault(**LOST)
    draft = rig.draft()
    rig.run(30)

    rig.again()
    rig.run(2000)

    assert (rig.of(draft), rig.made()) == ("unknown", [])


def test_what_the_service_does_to_texts_is_learnt_from_ids_that_it_named(rig):
    """It cuts at ten: what is longer than that there cannot be ours any more."""
    rig.sandbox.set(text_limit=10)
    for count in range(4):
        rig.draft(f"{count} is a longer text", number(count))
    rig.until_out()
    rig.sandbox.order_fault("drop", method="sms", when="after")
    rig.draft("one more longer text", number(9))  # somebody has to wait, or there are no looks
    rig.until_out()

    assert '"cut_at":10' in rig.setting("habits")
    assert rig.made().count("one more longer text") == 1


def test_an_answer_that_names_the_message_of_another_is_no_answer(make, monkeypatch):
    rig = make(batch=1)
    first = rig.draft("one", number(0))
    rig.until_out()
    named = Accepted(rig.of(first, "sent_id"), None)
    second = rig.draft("two", number(1))

    with monkeypatch.context() as patched:
        patched.setattr(rig.sending, "send", lambda _: named)
        rig.until(second, "unknown")
    said = rig.of(second, "error")
    rig.until_out()

    assert said == f"the service named message {named.id}, which is another's"
    assert sorted(rig.made()) == ["one", "two"]
    assert rig.of(second, "sent_id") != rig.of(first, "sent_id")


def test_habits_that_somebody_has_spoilt_are_learnt_anew(rig):
    rig.ask("insert into settings values ('habits', 'no json')")
    rig.again()
    rig.sandbox.order_fault(**LOST)
    rig.draft()

    rig.until_out()

    assert rig.made() == ["Hello"]


def test_of_messages_that_are_never_shown_only_the_last_are_remembered(make, monkeypatch):
    monkeypatch.setattr("semysync.passes.search.MOST_NAMED", 3)
    rig = make(switches={"sent_visible": "never"})
    for count in range(8):
        rig.draft(str(count), number(count))

    rig.run(300)

    assert len(rig.made()) == 8
    assert len(rig.sender._search._named) == 3


def test_a_draft_whose_time_passes_while_it_is_searched_for_does_not_go_out_again(make):
    rig = make(lifetime_s=40)
    rig.sandbox.order_fault(**LOST)
    draft = rig.draft()

    rig.run(1000)

    assert (rig.of(draft), rig.made()) == ("expired", [])
    assert rig.of(draft, "error").startswith("its time passed, and ")


def test_the_other_drafts_of_a_contact_wait_for_an_unknown_one_with_the_same_beginning(rig):
    rig.sandbox.order_fault(**LOST)
    first = rig.draft("Same text")
    rig.steps()

    same, other = rig.draft("Same text"), rig.draft("Other text")
    rig.run(10)
    meanwhile = rig.of(first), rig.of(same), rig.of(other) in GONE_OUT
    rig.until_out()

    assert meanwhile == ("unknown", "queued", True)
    assert sorted(rig.made()) == ["Other text", "Same text", "Same text"]


def test_a_draft_that_waits_for_an_unknown_one_says_so_for_as_long_as_it_does(make):
    """Found by the state machine: it stayed queued without a word for as long as nobody decided."""
    rig = make(lost_answer="hold")
    rig.sandbox.order_fault(**LOST)
    first = rig.draft("Same text")
    rig.steps()
    second = rig.draft("Same text", send_at=after(rig.time.passed_s + 600))
    rig.run(120)
    said = rig.of(second, "error")

    rig.set(first, "cancelled")
    rig.run(30)
    taken_back = rig.of(second), rig.of(second, "error")
    rig.until(second, *GONE_OUT)

    assert said.startswith(f"it waits for draft {first} to the same number")
    assert taken_back == ("queued", None)


# What a review found


def test_looks_that_came_too_early_do_not_settle_anything(rig):
    """What became visible after the last of them was not looked for."""
    rig.sandbox.set(sent_visible="after_s", visible_after_s=50.0)
    rig.sandbox.order_fault(**LOST, when="after")
    draft = rig.draft()
    rig.run(45)
    looks, rig.looking = rig.looks, False

    rig.run(100)
    waiting, rig.looking = rig.of(draft), True
    rig.until_out()

    assert looks >= 3
    assert waiting == "unknown"
    assert rig.made() == ["Hello"]


def test_the_message_of_a_deleted_draft_is_not_taken_for_anothers(rig):
    first = rig.draft()
    rig.steps()
    rig.sandbox.order_fault(**LOST, when="before")
    second = rig.draft()
    rig.run(until=lambda: rig.of(first) in {"sent", "delivered"})
    searched = rig.of(second)

    rig.writer.execute("delete from outbox where id = ?", (first,))
    rig.run(until=lambda: rig.of(second) in GONE_OUT)

    assert searched == "unknown"
    assert rig.made() == ["Hello", "Hello"]


def test_who_waits_for_a_person_is_not_looked_for_in_haste(make):
    rig = make(lost_answer="hold")
    rig.sandbox.order_fault(**LOST)
    rig.draft()
    rig.run(300)
    before = rig.looks

    rig.run(3600)

    assert rig.looks - before <= 3600 / LOOK_EVERY_S + 1


def test_a_person_who_queues_again_takes_back_the_wish_to_cancel(rig):
    rig.sandbox.order_fault(**LOST)
    draft = rig.draft()
    rig.steps()
    rig.cancel(draft)

    rig.set(draft, "queued")
    rig.until_out()
    rig.run(60)

    assert rig.of(draft) in GONE_OUT
    assert rig.made() == ["Hello"]


def test_a_wish_to_cancel_that_comes_while_the_search_ends_is_heeded(rig):
    rig.sandbox.order_fault(**LOST)
    draft = rig.draft()
    rig.steps()
    rig.cancel(draft)

    Evidence(rig.outbox).settle([Settled(draft, "queued", None)])  # as read before the wish

    assert rig.of(draft) == "unknown"
    rig.run(until=lambda: rig.of(draft) == "cancelled")
    assert rig.made() == []


def test_a_draft_that_is_to_go_out_again_says_why_while_nothing_can_be_sent(rig):
    # seed 6000 of tests.machine: the second of two waited for the plan, and its row did not say why
    rig.sandbox.order_fault("http_502", method="sms,sms_more")
    rig.draft("first", number(1))
    second = rig.draft("second", number(2))
    rig.steps()
    with rig.switched(balance=0):
        rig.until(second, "queued")

        assert "it goes out again" in rig.of(second, "error")
