"""What goes out, when, in which order, and from which phone."""

import random
import sqlite3
from contextlib import closing
from datetime import datetime

import msgspec
import pytest
from rig import CHAT, DAY_S, DESK, GONE_OUT, LOST, PHONE, SHOP, after, number

from semysync.passes.due import QuietHours

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


def test_three_thousand_drafts_go_out_in_order(make):
    rig = make(batch=100, messages=10, switches={"phone_speed": 0})
    with rig.writer:
        rig.writer.execute("begin")
        rig.writer.executemany(
            "insert into outbox (phone, text) values (?, ?)",
            [(number(count), str(count)) for count in range(3_000)],
        )
        rig.writer.execute("commit")

    rig.steps()

    assert rig.made() == [str(count) for count in range(3_000)]
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
    by_noon, until = rig.made(), rig.setting("quiet_until")
    rig.run(120)

    assert (by_noon, rig.made()) == (["now"], ["now", "later"])
    assert (until, rig.setting("quiet_until")) == ("2026-11-23T13:00:00.000000Z", None)


@pytest.mark.parametrize(
    ("hours", "clock", "until"),
    [
        ("22:00-08:00 UTC", "21:59", None),
        ("22:00-08:00 UTC", "22:00", "2026-11-24T08:00"),
        ("22:00-08:00 UTC", "07:59", "2026-11-23T08:00"),
        ("22:00-08:00 Europe/Moscow", "23:30", "2026-11-24T05:00"),
        ("13:00-14:00 Asia/Tokyo", "04:30", "2026-11-23T05:00"),
        ("13:00-13:00 UTC", "13:00", None),
    ],
)
def test_quiet_hours_end_at_the_next_such_time(hours, clock, until):
    now = datetime.fromisoformat(f"2026-11-23T{clock}Z")

    found = QuietHours.read(hours).until(now)

    assert (found and f"{found:%Y-%m-%dT%H:%M}") == until


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


def test_what_cannot_be_learnt_is_not_asked_for_all_the_time(make):
    rig = make(messages=30)
    rig.ask("delete from marks")
    rig.draft()

    wanted = 0
    for _ in range(60):
        rig.look_wanted = False
        rig.steps()
        wanted += rig.look_wanted
        rig.time.passed_s += 1

    assert 2 <= wanted <= 7


def test_what_is_not_known_for_a_minute_is_said_and_taken_back(make):
    rig = make(messages=30)
    rig.end()
    with closing(sqlite3.connect(rig.mirror)) as conn, conn:
        conn.execute("delete from marks")
    rig.start(loaded=False)
    rig.looking = False  # every question of the box fails
    draft = rig.draft()

    rig.steps()
    at_first = rig.setting("sending_blocked")
    rig.run(61)
    later = rig.setting("sending_blocked")
    rig.cancel(draft)
    rig.run(20)
    without_draft = rig.setting("sending_blocked")
    again = rig.draft("Again")
    rig.looking = True
    rig.until(again, *GONE_OUT)

    assert not at_first
    assert later.startswith("nothing is sent before the newest message of every device is known")
    assert not without_draft
    assert not rig.setting("sending_blocked")


def test_where_nothing_is_sent_what_was_lost_is_still_found_and_cancelled(make):
    rig = make()
    rig.sandbox.order_fault(**LOST, when="after")
    draft_id = rig.draft()
    rig.steps()
    lost = rig.of(draft_id)
    rig.config = msgspec.structs.replace(rig.config, enabled=False)
    rig.again()
    rig.cancel(draft_id)
    rig.draft("Stays", number(1))

    rig.run(until=lambda: rig.of(draft_id) == "cancelled")

    assert lost == "unknown"
    assert rig.made() == ["Hello"]
    assert rig.statuses()[-1] == "queued"


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
@pytest.mark.parametrize("ids", [[CHAT], [CHAT, DESK]], ids=["alone", "in a list"])
def test_whatsapp_gets_one_message_at_a_time_with_pauses(make, by, ids):
    configured = CHAT if len(ids) == 1 else ids
    rig = make(devices=3, **({"device": configured} if by == "configuration" else {}))
    device = ",".join(map(str, ids)) if by == "draft" else None
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
    assert channels[3] == ("sms",)
    assert channels.count(("whatsapp",)) == 3 or (len(ids) > 1 and ("whatsapp",) in channels)


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


def test_nothing_goes_out_after_its_time_between_two_sweeps(rig):
    rig.time.passed_s = 10
    rig.steps()  # which sweeps
    draft = rig.draft(send_at=after(12), expires_at=after(14))
    rig.time.passed_s = 15

    rig.steps()
    unswept = rig.of(draft)
    rig.run(10)

    assert (unswept, rig.of(draft)) == ("queued", "expired")
    assert rig.made() == []


def test_a_clock_that_is_put_back_makes_no_pause_longer(rig):
    rig.time.jumped_s = 200.0
    rig.sandbox.set(refuse_phone=PHONE)
    draft = rig.draft()
    rig.run(30)
    rig.sandbox.set(refuse_phone="")

    rig.time.jumped_s = -86_000.0
    rig.run(60)

    assert rig.of(draft) in GONE_OUT


def test_a_clock_that_is_put_back_does_not_use_up_the_minute(make):
    rig = make(per_minute=2)
    for count in range(2):
        rig.draft(str(count), number(count))
    rig.run(5)

    rig.time.jumped_s = -7200.0
    rig.draft("after", number(2))
    rig.run(20)

    assert rig.made() == ["0", "1", "after"]
