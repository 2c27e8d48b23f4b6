"""The sender against the stand-in: what goes out when, and what becomes of it."""

import random
import sqlite3
from datetime import timedelta
from itertools import pairwise

import pytest
from rig import CHAT, DESK, FINAL, GONE_OUT, NOON, PHONE, SHOP

from semysync.mirror.claims import Claims
from semysync.mirror.times import utc_text

DAY_S = 86_400
LOST = {"fault": "drop", "method": "sms,sms_more"}


def number(count):
    return f"+7920555{count:04d}"


def after(seconds):
    return utc_text(NOON + timedelta(seconds=seconds))


# What goes out, and in which order


def test_drafts_go_out_by_priority_then_by_number(make):
    rig = make(batch=2)
    for count, priority in enumerate([0, 5, 0, 9, 5]):
        rig.draft(f"{count}", number(count), priority=priority)

    rig.steps()

    assert rig.batches() == [["3", "1"], ["4", "0"], ["2"]]


def test_a_request_never_holds_two_of_one_contact(rig):
    for text in ("one", "two", "three"):
        rig.draft(text)
        rig.draft(text, "+7 (920) 555-00-00")

    rig.steps()

    assert rig.batches() == [["one", "one"], ["two", "two"], ["three", "three"]]


def test_ten_thousand_drafts_go_out_in_order(make):
    rig = make(batch=100, messages=10, switches={"phone_speed": 0})
    with rig.writer:
        rig.writer.execute("begin")
        rig.writer.executemany(
            "insert into outbox (phone, text) values (?, ?)",
            [(number(count), str(count)) for count in range(10_000)],
        )
        rig.writer.execute("commit")

    rig.steps()

    assert rig.made() == [str(count) for count in range(10_000)]
    assert set(rig.statuses()) == {"accepted"}


def test_two_equal_texts_to_one_number_are_two_messages(rig):
    first, second = rig.draft("Same"), rig.draft("Same")

    rig.until_out()

    assert rig.made() == ["Same", "Same"]
    assert rig.of(first, "sent_id") != rig.of(second, "sent_id")


def test_send_at_is_waited_for(rig):
    draft = rig.draft(send_at=after(100))

    rig.run(99)
    before = rig.made()
    rig.run(2)

    assert (before, rig.made()) == ([], ["Hello"])
    assert rig.of(draft) in GONE_OUT


@pytest.mark.parametrize("jump_s", [400, -400, 3 * DAY_S])
def test_a_wrong_clock_expires_nothing(rig, jump_s):
    held = rig.draft(status="held")
    rig.time.passed_s += 100
    rig.time.jumped_s = jump_s
    rig.set(held, "queued")
    rig.writer.execute("update outbox set status = 'held' where id = ?", (held,))
    rig.run(30)
    rig.set(held, "queued")

    rig.until_out()

    assert rig.made() == ["Hello"]


def test_a_clock_that_is_wrong_sends_nothing_that_is_for_later(rig):
    draft = rig.draft(send_at=after(DAY_S))
    rig.time.jumped_s = 2 * DAY_S

    rig.run(30)

    assert (rig.of(draft), rig.made()) == ("queued", [])


def test_the_life_of_a_draft_counts_from_send_at_and_from_its_release(make):
    rig = make(lifetime_s=100)
    rig.sandbox.set(refuse_text="Hello")
    rig.draft("Never")
    later, released = rig.draft("A", send_at=after(150)), rig.draft("B", status="held")
    rig.run(140)
    rig.set(released, "queued")

    rig.until_out()

    assert sorted(rig.made()) == ["A", "B", "Never"]
    assert {rig.of(later), rig.of(released)} <= GONE_OUT


def test_quiet_hours_hold_all_but_what_has_a_priority(make):
    rig = make(quiet_hours="11:00-13:00 UTC")
    rig.draft("later")
    rig.draft("now", number(1), priority=1)

    rig.run(3500)
    by_noon = rig.made()
    rig.run(120)

    assert (by_noon, rig.made()) == (["now"], ["now", "later"])


def test_no_more_than_so_many_a_minute(make):
    rig = make(per_minute=3, batch=25)
    for count in range(8):
        rig.draft(str(count), number(count))

    sizes = []
    for seconds in (59, 12, 48, 12):
        rig.run(seconds)
        sizes.append(len(rig.made()))

    assert sizes == [3, 6, 6, 8]


def test_drafts_are_not_sent_before_the_newest_message_is_known(make):
    rig = make(messages=30)
    rig.end()
    with sqlite3.connect(rig.mirror) as conn:
        conn.execute("delete from marks")
    conn.close()
    rig.start(loaded=False)
    rig.draft()

    rig.steps()
    before, wanted = rig.made(), rig.look_wanted
    rig.until_out()

    assert (before, wanted, rig.made()) == ([], True, ["Hello"])


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


# Refusals


def test_a_refused_draft_is_tried_again_with_pauses_each_after_a_look(make):
    rig = make(max_attempts=4, switches={"refuse_phone": number(0)})
    draft = rig.draft("bad", number(0))
    times = []

    def moved():
        if len(rig.requests()) > len(times):
            times.append((rig.time.passed_s, rig.looks))
        return rig.of(draft) in FINAL

    rig.run(until=moved)

    assert rig.of(draft) == "rejected"
    assert "the service refuses" in rig.of(draft, "error")
    assert rig.of(draft, "attempts") == 4
    gaps = [later[0] - sooner[0] for sooner, later in pairwise(times)]
    assert [gap >= least for gap, least in zip(gaps, (5, 10, 20), strict=True)] == [True] * 3
    assert all(later[1] > sooner[1] for sooner, later in pairwise(times))


def test_no_look_no_second_request(make):
    rig = make(switches={"refuse_phone": number(0)})
    rig.looking = False
    draft = rig.draft("bad", number(0))

    rig.run(2000)

    assert len(rig.requests()) == 1
    assert (rig.of(draft), rig.of(draft, "attempts")) == ("queued", 1)


def test_three_refusals_in_a_row_stop_the_sending_and_count_for_nobody(make):
    rig = make(batch=1, max_attempts=3, switches={"refuse_text": "Hello"})
    drafts = [rig.draft(phone=number(count)) for count in range(5)]

    rig.run(900)
    stopped = rig.setting("sending_blocked")
    attempts = [rig.of(draft, "attempts") for draft in drafts]
    rig.sandbox.set(refuse_text="")
    rig.until_out()

    assert "refuses every draft" in stopped
    assert attempts == [0] * 5
    assert rig.setting("sending_blocked") is None
    assert len(rig.made()) == 5


@pytest.mark.parametrize("batch", [1, 25])
def test_bad_drafts_do_not_stand_before_a_good_one(make, batch):
    rig = make(batch=batch, switches={"refuse_text": "bad"})
    for count in range(7):
        rig.draft(f"bad {count}", number(count), priority=1)
    good = rig.draft("good", number(9))

    rig.until(good, *GONE_OUT, most_s=900)

    assert rig.made() == ["good"]


@pytest.mark.parametrize(
    ("switches", "said"),
    [
        ({"plan": "ended"}, "the plan of the account is over"),
        ({"balance": 0}, "no messages are left"),
        ({"token_refused": "yes"}, "check the token"),
        ({"token_refused": "yes", "wrong_token": "http_401"}, "check the token"),
        ({"token_refused": "yes", "wrong_token": "http_403"}, "check the token"),
    ],
)
def test_what_stands_against_all_stops_the_sending_burns_nothing_and_ends(make, switches, said):
    rig = make(max_attempts=2)
    before = {name: getattr(rig.sandbox.switches, name) for name in switches}
    draft, other = rig.draft(), rig.draft("Other", number(1), send_at=after(1))
    rig.sandbox.set(**switches)

    rig.run(1900)
    stopped, attempts = rig.setting("sending_blocked"), rig.of(draft, "attempts")
    tried = len(rig.requests())
    rig.sandbox.set(**before)
    rig.until_out()

    assert said in stopped
    assert attempts == 0
    assert tried <= 12  # after 5, 10, 20 ... 600 seconds
    assert rig.setting("sending_blocked") is None
    assert sorted(rig.made()) == ["Hello", "Other"]
    assert rig.of(other, "attempts") == 1


def test_a_service_that_wants_a_pause_gets_it(rig):
    rig.sandbox.order_fault("http_429", method="sms", retry_after=90)
    draft = rig.draft()
    rig.steps()

    rig.run(80)
    early = len(rig.requests())
    rig.until_out()

    assert early == 1
    assert rig.of(draft, "attempts") == 1


def test_a_door_that_is_closed_costs_no_attempt(rig):
    draft = rig.draft()
    with rig.sandbox.refusing():
        rig.run(30)
        waiting = rig.of(draft), rig.of(draft, "attempts")
        blocked = rig.setting("sending_blocked")

    rig.until_out()

    assert waiting == ("queued", 0)
    assert "cannot connect" in blocked
    assert (rig.made(), rig.of(draft, "attempts")) == (["Hello"], 1)


# Devices


def test_auto_spreads_over_the_phones_that_were_seen(make):
    rig = make(devices=3)
    for count in range(6):
        rig.draft(phone=number(count))

    rig.steps()

    used = {effect["device"] for effect in rig.sandbox.account.effects()}
    assert used == {str(DESK), str(SHOP)}


@pytest.mark.parametrize(
    ("configured", "wanted", "asked_for"),
    [
        (SHOP, None, str(SHOP)),
        ([DESK, SHOP], None, f"{DESK},{SHOP}"),
        ("active", None, "active"),
        ("auto", str(SHOP), str(SHOP)),
        ("auto", f"{SHOP}, {DESK}", f"{SHOP},{DESK}"),
        (DESK, "active", "active"),
    ],
)
def test_the_device_is_the_draft_s_or_the_configured_one(make, configured, wanted, asked_for):
    rig = make(device=configured)
    rig.draft(device=wanted)

    rig.steps()

    assert [effect["device"] for effect in rig.sandbox.account.effects()] == [asked_for]


def test_without_a_phone_drafts_wait_that_name_none(make):
    rig = make(devices=1)
    rig.sandbox.account.change_device(DESK, is_work=0)
    rig.load()
    rig.draft("waits")
    rig.draft("goes", number(1), device=str(DESK))

    rig.run(60)
    with_none = rig.made()
    rig.sandbox.account.change_device(DESK, is_work=1)
    rig.load()
    rig.until_out()

    assert (with_none, rig.made()) == (["goes"], ["goes", "waits"])


@pytest.mark.parametrize("by", ["draft", "configuration"])
def test_whatsapp_gets_one_message_at_a_time_with_pauses(make, by):
    rig = make(devices=3, **({"device": CHAT} if by == "configuration" else {}))
    device = str(CHAT) if by == "draft" else None
    for count in range(3):
        rig.draft(str(count), number(count), device=device)
    sms = rig.draft("by SMS", number(3), device=str(DESK))

    times = []
    rig.run(
        until=lambda: times.append((rig.time.passed_s, len(rig.made()))) or len(rig.made()) == 4
    )

    assert rig.batches() == [["0"], ["by SMS"], ["1"], ["2"]]
    assert [min(at for at, made in times if made >= count) for count in (1, 2)] == [0, 0]
    assert 5 <= min(at for at, made in times if made == 3) < 6
    assert 10 <= min(at for at, made in times if made == 4) < 12
    rig.run(60)
    assert rig.of(sms) == "delivered"
    channels = rig.ask(
        "select sent.channel from outbox join sent on sent.id = sent_id order by outbox.id"
    )
    assert channels == [("whatsapp",)] * 3 + [("sms",)]


# USSD


def test_a_code_goes_alone_with_its_command(rig):
    rig.draft("Hello", number(1))
    code = rig.draft("", "*100#", kind="ussd")

    rig.steps()

    assert rig.batches() == [["Hello"], ["[ussd]"]]
    assert rig.requests()[-1].params["phone"] == "*100#"
    assert rig.of(code) in GONE_OUT


def test_a_code_whose_answer_was_lost_is_never_sent_again_by_itself(rig):
    rig.sandbox.order_fault(**LOST)
    code = rig.draft("", "*100#", kind="ussd")

    rig.run(1000)

    assert (rig.of(code), len(rig.requests())) == ("unknown", 1)
    assert "set its status to queued" in rig.of(code, "error")


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


# Cancelling


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


# Texts and bytes


def test_bytes_that_are_not_utf_8_hold_up_nobody(rig):
    bad = rig.writer.execute(
        "insert into outbox (phone, text) values (?, cast(? as text))",
        (number(0), "Привет".encode("cp1251")),
    ).lastrowid
    good = rig.draft("Привет", number(1))

    rig.run(5)

    assert rig.made() == ["Привет"]
    assert (rig.of(bad), rig.of(good) in GONE_OUT) == ("rejected", True)
    assert "not UTF-8" in rig.of(bad, "error")


def test_a_thousand_emoji_are_too_long_for_a_phone(rig):
    bad, good = rig.draft("😀" * 1000, number(0)), rig.draft("😀" * 500, number(1))

    rig.run(5)

    assert rig.made() == ["😀" * 500]
    assert rig.of(bad) == "rejected"
    assert "2,000 UTF-16 units" in rig.of(bad, "error")
    assert rig.of(good, "segments") == 16  # 33 in each: none is cut in two


# A mirror that was restored or moved


def sent_after_a_copy(rig):
    """A copy in which a draft waits that has gone out since."""
    rig.draft("before", number(9))
    rig.until_out()
    rig.run(30)
    held = rig.draft("held", number(1), status="held")
    draft = rig.draft("Hello", send_at=after(rig.time.passed_s + 10))
    copy = rig.copy()
    rig.until(draft, "delivered")
    return copy, draft, held


@pytest.mark.parametrize("way", ["older", "no claims", "other host", "empty claims"])
def test_a_restored_mirror_finds_what_it_had_sent(rig, way):
    copy, draft, held = sent_after_a_copy(rig)
    rig.put_back(copy, claims=way != "no claims")
    claims = rig.mirror.with_name(f"{rig.mirror.name}-claims")
    if way == "other host":
        rig.host = "there"
    if way == "empty claims":
        claims.write_bytes(b"")

    rig.start(loaded=False)
    rig.steps()
    doubted, before = rig.statuses(), rig.made()
    rig.until(draft, *GONE_OUT)
    rig.run(300)

    assert doubted[1:] == ["unknown", "unknown"]
    assert before == rig.made() == ["before", "Hello"]
    assert rig.of(held) == "held"


def test_an_old_message_of_the_same_text_is_not_taken_for_a_restored_draft(rig):
    rig.sandbox.account.sent_elsewhere(PHONE, "Hello")
    rig.run(30)
    rig.draft("before", number(9))
    rig.until_out()
    draft = rig.draft("Hello", send_at=after(rig.time.passed_s + 10))
    copy = rig.copy()
    rig.cancel(draft)
    rig.draft("another", number(8))
    rig.until(3, *GONE_OUT)
    rig.put_back(copy)

    rig.start()
    rig.until_out()

    assert rig.made() == ["before", "another", "Hello"]


def test_a_restored_mirror_sends_what_had_not_gone_out(rig):
    rig.draft("before", number(9))
    rig.until_out()
    draft = rig.draft("Hello", send_at=after(rig.time.passed_s + 10))
    copy = rig.copy()
    rig.cancel(draft)
    other = rig.draft("another", number(8))
    rig.until(other, *GONE_OUT)
    rig.put_back(copy)

    rig.start()
    rig.until_out()

    assert rig.made() == ["before", "another", "Hello"]
    assert rig.events(draft).count("unknown") == 1


def _killed(_):
    raise ZeroDivisionError


# What it remembers


# Events


def test_the_events_of_drafts_have_no_gap(make):
    rig = make(batch=3, max_attempts=2, switches={"refuse_phone": number(4)})
    chance = random.Random(4)
    for count in range(12):
        rig.draft(str(count), number(count), status=chance.choice(["queued", "held"]))
        if chance.random() < 0.4:
            rig.sandbox.order_fault(**LOST, when=chance.choice(["before", "after"]))
        rig.run(chance.randint(1, 30))
    for (draft,) in rig.ask("select id from outbox where status = 'held'"):
        rig.set(draft, chance.choice(["queued", "cancelling"]))
    rig.run(1500)

    for (draft,) in rig.ask("select id from outbox"):
        moves = rig.ask(
            """
            select substr(kind, 7), json_extract(data, '$.was') from events
             where json_extract(data, '$.draft_id') = ?
               and kind not in ('draft.resent', 'draft.doubled')
             order by seq
            """,
            draft,
        )
        assert moves[0][1] is None
        assert [was for _, was in moves[1:]] == [kind for kind, _ in moves[:-1]]
        assert moves[-1][0] == rig.of(draft)
    seqs = [row[0] for row in rig.ask("select seq from events order by seq")]
    assert seqs == list(range(1, len(seqs) + 1))


def test_a_claims_file_that_says_nonsense_is_a_restore(tmp_path):
    mirror = tmp_path / "m.db"
    mirror.with_name("m.db-claims").write_bytes(b"\xff\xfe nonsense\n")

    with Claims(mirror, host="here") as claims:
        assert not claims.agree_with(0)
