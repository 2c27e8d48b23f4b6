"""Whose a message is, and what becomes of a draft without one: each rule by itself."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from semysync.model import Attempt, Candidate
from semysync.passes.lost import UNTAUGHT, Found, Habits, fate, search

BEGAN = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
PHONE = "+79201234567"
LONG = "Your order is ready: https://example.org/orders/2026/11/23/000000000012?desk=6&ask=Ann&until=18"
KEPT = Habits(texts_kept=3, longest_kept=20, numbers_kept=3)
NOTHING = Found({}, {}, {})


def attempt(draft_id=1, text="Hello", **known):
    known = {"phone": PHONE, "began_at": BEGAN, "above_id": 100, "arrivals_from": 10} | known
    return Attempt(draft_id=draft_id, text=text, **known)


def message(number=101, text="Hello", **known):
    return Candidate(**{"id": number, "phone": PHONE, "text": text, "arrival": 11} | known)


def adopts(a, c, habits=UNTAUGHT):
    """Tell what one message is to one attempt: its own, a doubt, or nothing."""
    found = search([a], [c], habits)
    if found.adopted:
        assert found == Found({a.draft_id: c.id}, {}, {})
        return "its own"
    assert not found.doubled
    return "doubt" if found.doubtful == {a.draft_id: [c.id]} else "nothing"


def test_of_ten_thousand_numbers_each_gets_its_own_in_a_moment():
    """As after a restore: to compare each attempt with each message would take minutes."""
    numbers = [f"+7920{n:07}" for n in range(10_000)]
    attempts = [attempt(n, phone=phone) for n, phone in enumerate(numbers)]
    messages = [message(1000 + n, phone=phone) for n, phone in enumerate(numbers)]

    assert search(attempts, messages) == Found({n: 1000 + n for n in range(10_000)}, {}, {})


# Which messages can be of an attempt at all.


def test_only_what_was_mirrored_after_the_attempt_can_be_its():
    assert adopts(attempt(arrivals_from=10), message(arrival=11)) == "its own"
    assert adopts(attempt(arrivals_from=10), message(arrival=10)) == "nothing"


def test_another_number_is_nothing_to_an_attempt():
    assert adopts(attempt(), message(phone="+79201234568")) == "nothing"
    assert adopts(attempt(), message(phone="")) == "nothing"


@pytest.mark.parametrize(
    ("ours", "shown"),
    [
        ("+79201234567", "89201234567"),
        ("+79201234567", "79201234567"),
        ("+4915112345678", "015112345678"),
        ("89201234567", "+7 (920) 123-45-67"),
        ("900", "900"),
        ("*100#", "100"),
    ],
)
def test_forms_of_one_number_are_known_by_their_last_nine_digits(ours, shown):
    assert adopts(attempt(phone=ours), message(phone=shown)) == "its own"


@pytest.mark.parametrize(("ours", "shown"), [("900", "1900"), ("900", "+79201230900")])
def test_a_short_code_is_no_end_of_another_number(ours, shown):
    assert adopts(attempt(phone=ours), message(phone=shown)) == "nothing"


@pytest.mark.parametrize("complete", [True, False])
def test_a_lower_id_goes_by_its_clock_where_that_is_known(complete):
    a = attempt(complete=complete)

    assert adopts(a, message(99, made_at=BEGAN)) == "its own"
    assert adopts(a, message(99, made_at=BEGAN - 5 * MINUTE)) == "its own"
    assert adopts(a, message(99, made_at=BEGAN - 6 * MINUTE)) == "nothing"


def test_a_lower_id_without_a_clock_can_be_of_an_attempt_only_after_the_first_load():
    wrong = {"clock_right": False, "complete": False}

    assert adopts(attempt(complete=True), message(99)) == "its own"
    assert adopts(attempt(complete=False), message(99)) == "nothing"
    assert adopts(attempt(complete=False), message(101)) == "its own"
    assert adopts(attempt(**wrong), message(99, made_at=BEGAN)) == "nothing"
    assert adopts(attempt(clock_right=False), message(99, made_at=BEGAN - 60 * MINUTE)) == "its own"


def test_the_newest_known_id_itself_is_no_higher_one():
    assert adopts(attempt(above_id=101, complete=False), message(101)) == "nothing"


@pytest.mark.parametrize(
    ("minutes", "said"),
    [
        (-60, "doubt"),
        (-6, "doubt"),
        (-5, "its own"),
        (0, "its own"),
        (15, "its own"),
        (16, "doubt"),
    ],
)
def test_a_message_made_in_other_minutes_is_left_to_a_person(minutes, said):
    made_at = BEGAN + minutes * MINUTE

    assert adopts(attempt(), message(made_at=made_at)) == said
    assert adopts(attempt(clock_right=False), message(made_at=made_at)) == "its own"


# Which texts.


@pytest.mark.parametrize(
    ("ours", "shown"),
    [
        (" Hello\n", "Hello"),
        ("Hello", "\tHello  "),
        ("Hello\r\nAnn", "Hello\nAnn"),
        ("Hello\nAnn", "Hello\r\nAnn\r\n"),
    ],
)
def test_blanks_around_a_text_and_the_kind_of_its_line_ends_do_not_matter(ours, shown):
    assert adopts(attempt(text=ours), message(text=shown)) == "its own"


@pytest.mark.parametrize("shown", ["hello", "Good day", "Hello!", "Hel", "Hell o", ""])
def test_another_text_to_the_number_is_left_to_a_person(shown):
    assert adopts(attempt(), message(text=shown)) == "doubt"


@pytest.mark.parametrize("ours", ["", "\t\r\n", "\u00a0"])
def test_texts_that_nothing_is_left_of_are_never_taken_for_each_other(ours):
    assert adopts(attempt(text=ours), message(text="")) == "doubt"
    assert adopts(attempt(text=ours), message(text="Hello")) == "doubt"


def test_a_text_that_was_cut_is_known_from_sixty_characters_on():
    assert adopts(attempt(text=LONG), message(text=LONG[:60])) == "its own"
    assert adopts(attempt(text=LONG), message(text=LONG[:59])) == "doubt"


def test_a_text_that_was_cut_and_made_in_other_minutes_is_left_to_a_person():
    cut = message(text=LONG[:70], made_at=BEGAN + 60 * MINUTE)

    assert adopts(attempt(text=LONG), cut) == "doubt"


def test_a_cut_text_needs_to_fit_one_of_the_attempts_of_its_draft():
    second = attempt(text=LONG, began_at=BEGAN + 60 * MINUTE)

    found = search([attempt(text=LONG), second], [message(101, LONG[:70], made_at=BEGAN)])

    assert found.adopted == {1: 101}


def test_a_text_that_goes_on_after_ours_is_left_to_a_person():
    assert adopts(attempt(text=LONG[:70]), message(text=LONG)) == "doubt"


# What is known of the service.


def test_messages_whose_ids_were_named_teach_how_the_service_stores():
    learnt = UNTAUGHT
    for shown_phone, sent, shown in [
        (PHONE, " Hello\r\nAnn ", "Hello\nAnn"),
        (PHONE, "Hi", "Hi"),
        ("89201234567", LONG, LONG[:70]),
        (PHONE, LONG, LONG[:65]),
        (PHONE, "Hello", "Hello, sent by Ann"),
        (PHONE, "Hello", "HELLO"),
        (PHONE, "Hello", ""),
    ]:
        learnt = learnt.after(PHONE, sent, shown_phone, shown)

    assert learnt == Habits(
        texts_kept=2,
        longest_kept=9,
        cut_at=70,
        texts_lengthened=1,
        texts_rewritten=2,
        numbers_kept=6,
        numbers_changed=1,
    )


@pytest.mark.parametrize(
    ("sent", "shown", "cut_at"),
    [("Good day, Ann", "Good day, ", 10), ("  Good day", "  Good", 6), ("  Good day", "Good ", 5)],
)
def test_blanks_that_are_shown_at_a_cut_count(sent, shown, cut_at):
    assert UNTAUGHT.after(PHONE, sent, PHONE, shown).cut_at == cut_at


def test_where_numbers_are_kept_another_form_is_left_to_a_person():
    other_form = message(phone="89201234567")

    assert adopts(attempt(), other_form, Habits(numbers_kept=2)) == "its own"
    assert adopts(attempt(), other_form, Habits(numbers_kept=3)) == "doubt"
    assert adopts(attempt(), other_form, Habits(numbers_kept=9, numbers_changed=1)) == "its own"
    assert adopts(attempt(), message(), Habits(numbers_kept=3)) == "its own"


def test_where_texts_so_long_are_kept_a_beginning_is_left_to_a_person():
    cut = message(text=LONG[:70])

    assert adopts(attempt(text=LONG), cut, Habits(longest_kept=len(LONG) - 1)) == "its own"
    assert adopts(attempt(text=LONG), cut, Habits(longest_kept=len(LONG))) == "doubt"


def test_where_texts_are_cut_only_just_what_is_left_of_ours_is_ours():
    text = "  " + LONG

    assert adopts(attempt(text=text), message(text=LONG[:70]), Habits(cut_at=70)) == "its own"
    assert adopts(attempt(text=text), message(text=LONG[:68]), Habits(cut_at=70)) == "its own"
    assert adopts(attempt(text=text), message(text=LONG[:69]), Habits(cut_at=70)) == "doubt"
    assert adopts(attempt(text=text), message(text=LONG[:75]), Habits(cut_at=70)) == "doubt"
    assert adopts(attempt(text=text), message(text=LONG[:20]), Habits(cut_at=20)) == "its own"
    assert adopts(attempt(text=text), message(text=LONG[:19]), Habits(cut_at=20)) == "doubt"
    assert adopts(attempt(text=text), message(text=LONG), Habits(cut_at=70)) == "its own"


# Several drafts, several messages.


def test_of_equal_messages_a_draft_gets_the_oldest():
    found = search([attempt()], [message(103), message(102)])

    assert found == Found({1: 102}, {}, {})


def test_drafts_of_one_text_get_its_messages_in_their_order():
    found = search([attempt(2), attempt(1)], [message(104), message(103), message(102)])

    assert found == Found({1: 102, 2: 103}, {}, {})


def test_fewer_messages_than_drafts_are_left_to_a_person():
    found = search([attempt(1), attempt(2), attempt(3)], [message(103), message(102)])

    assert found == Found({}, {1: [102, 103], 2: [102, 103], 3: [102, 103]}, {})


def test_a_number_of_its_own_is_not_held_up_by_another():
    other = attempt(3, phone="+79207654321")

    found = search([attempt(1), attempt(2), other], [message(102), message(103, phone=other.phone)])

    assert found == Found({3: 103}, {1: [102], 2: [102]}, {})


def test_its_very_text_goes_before_one_that_was_cut():
    found = search([attempt(text=LONG)], [message(101, LONG[:70]), message(102, LONG)])

    assert found == Found({1: 102}, {}, {})


def test_two_texts_that_were_cut_to_the_same_need_two_messages():
    drafts = [attempt(1, LONG), attempt(2, LONG[:80] + "!")]
    first, second = message(101, LONG[:70]), message(102, LONG[:70])

    assert search(drafts, [first]) == Found({}, {1: [101], 2: [101]}, {})
    assert search(drafts, [first, second]) == Found({1: 101, 2: 102}, {}, {})


@pytest.mark.parametrize("cut_to", [5, 70])
def test_a_message_with_the_text_of_one_draft_may_be_what_was_left_of_another(cut_to):
    short, long = attempt(1, LONG[:cut_to]), attempt(2, LONG)

    assert search([short, long], [message(101, short.text)]) == Found({}, {1: [101], 2: [101]}, {})
    assert search([short, long], [message(101, short.text), message(102, LONG)]) == Found(
        {1: 101, 2: 102}, {}, {}
    )
    assert search([short, long], [message(101, LONG), message(102, short.text)]) == Found(
        {1: 102, 2: 101}, {}, {}
    )


def test_where_texts_are_known_to_be_kept_a_short_one_is_not_held_up_by_a_longer_one():
    habits = Habits(texts_kept=3, longest_kept=len(LONG))

    found = search([attempt(1, "Your"), attempt(2, LONG)], [message(101, "Your")], habits)

    assert found == Found({1: 101}, {}, {})


def test_a_message_that_another_draft_gets_is_no_doubt():
    found = search([attempt(1, "Hello"), attempt(2, "Good day")], [message(101, "Hello")])

    assert found == Found({1: 101}, {}, {})


def test_both_attempts_of_a_draft_may_have_been_taken():
    first, second = attempt(), attempt(above_id=101, arrivals_from=12, began_at=BEGAN + 9 * MINUTE)

    found = search([first, second], [message(101), message(102, arrival=13)])

    assert found == Found({1: 101}, {}, {})
    assert adopts(attempt(arrivals_from=12), message(arrival=12)) == "nothing"
    assert search([attempt(arrivals_from=12), first], [message(arrival=12)]).adopted == {1: 101}


# Drafts that were sent again.


def test_a_message_of_a_draft_that_was_sent_again_is_a_second_one():
    found = search([attempt(resent=True)], [message(101), message(102)])

    assert found == Found({}, {}, {1: [101, 102]})


def test_a_cut_text_is_told_as_a_second_one_and_another_text_is_not():
    ghost = attempt(text=LONG, resent=True)

    assert search([ghost], [message(101, LONG[:70])]).doubled == {1: [101]}
    assert search([ghost], [message(101, LONG[:20])]) == NOTHING
    assert search([ghost], [message(101, "Good day")]) == NOTHING


def test_a_second_message_is_told_of_the_draft_whose_very_text_it_has():
    ghosts = [attempt(1, LONG, resent=True), attempt(2, LONG[:70], resent=True)]

    assert search(ghosts, [message(101, LONG[:70])]).doubled == {2: [101]}
    assert search([ghosts[0], attempt(3, LONG, resent=True)], [message(101, LONG)]).doubled == {
        1: [101]
    }


def test_a_draft_that_waits_gets_a_new_message_before_one_that_was_sent_again():
    ghost, waiting = attempt(1, resent=True), attempt(2, above_id=103)

    assert search([ghost, waiting], [message(104)]) == Found({2: 104}, {}, {})


def test_an_older_message_may_be_of_either_and_is_left_to_a_person():
    ghost, waiting = attempt(1, resent=True), attempt(2, above_id=103)

    assert search([ghost, waiting], [message(102)]) == Found({}, {2: [102]}, {})
    assert search([ghost, waiting], [message(102), message(104)]) == Found({2: 104}, {}, {})
    assert search([ghost], [message(102)]) == Found({}, {}, {1: [102]})


def test_what_was_left_of_a_text_that_was_sent_again_is_no_other_drafts():
    ghost, waiting = attempt(1, LONG, resent=True), attempt(2, LONG[:70], above_id=100)

    assert search([ghost, waiting], [message(102, LONG[:70])]) == Found({}, {2: [102]}, {})


def test_a_second_message_with_the_very_text_is_not_what_was_left_of_another_draft():
    ghost, waiting = attempt(1, LONG[:70], resent=True), attempt(2, LONG, above_id=100)

    assert search([ghost, waiting], [message(102, LONG[:70])]) == Found({}, {2: [102]}, {})


def test_a_second_message_is_no_doubt_for_a_draft_with_another_text():
    ghost, waiting = attempt(1, resent=True), attempt(2, "Good day")

    assert search([ghost, waiting], [message(102)]) == Found({}, {}, {1: [102]})


# What becomes of a draft without a message.


def decide(**known):
    return fate(**{"looks": 3, "waited_s": 300.0, "settle_s": 300, "lost_answer": "resend"} | known)


@pytest.mark.parametrize(
    ("known", "decided"),
    [
        ({}, "queue"),
        ({"looks": 2}, "wait"),
        ({"waited_s": 299.0}, "wait"),
        ({"lost_answer": "hold"}, "hold"),
        ({"kind": "ussd"}, "hold"),
        ({"expired": True}, "expire"),
        ({"expired": True, "lost_answer": "hold"}, "hold"),
        ({"cancel_wanted": True}, "cancel"),
        ({"cancel_wanted": True, "lost_answer": "hold"}, "cancel"),
        ({"cancel_wanted": True, "kind": "ussd", "expired": True}, "cancel"),
        ({"doubtful": True}, "wait"),
        ({"doubtful": True, "cancel_wanted": True}, "wait"),
        ({"doubtful": True, "expired": True}, "wait"),
        ({"cancel_wanted": True, "looks": 2}, "wait"),
        ({"expired": True, "waited_s": 1.0}, "wait"),
    ],
)
def test_a_draft_is_sent_again_only_after_the_search_and_if_nobody_objects(known, decided):
    assert decide(**known) == decided


# Whatever there is.

TEXTS = ["Hello", "Hello, Ann", " Hello", LONG, LONG[:70], LONG[:65], "", "Good day"]
PHONES = [PHONE, "89201234567", "+79207654321", "900"]
times = st.integers(-30, 30).map(lambda minutes: BEGAN + minutes * MINUTE)

attempts_of_drafts = st.lists(
    st.builds(
        attempt,
        st.integers(1, 4),
        phone=st.sampled_from(PHONES),
        began_at=times,
        above_id=st.integers(98, 106),
        arrivals_from=st.integers(0, 6),
        complete=st.booleans(),
        clock_right=st.booleans(),
    ),
    max_size=6,
)


@st.composite
def attempts(draw):
    """Attempts as the mirror gives them: a draft has one text and one number, and is sent or not."""
    drawn = draw(attempts_of_drafts)
    texts = draw(st.lists(st.sampled_from(TEXTS), min_size=5, max_size=5))
    resent = draw(st.sets(st.integers(1, 4)))
    phones = {a.draft_id: a.phone for a in drawn}
    return [
        a._replace(text=texts[a.draft_id], phone=phones[a.draft_id], resent=a.draft_id in resent)
        for a in drawn
    ]


candidates = st.lists(
    st.builds(
        Candidate,
        id=st.integers(97, 110),
        phone=st.sampled_from(PHONES),
        text=st.sampled_from(TEXTS),
        arrival=st.integers(1, 8),
        made_at=st.none() | times,
    ),
    max_size=6,
    unique_by=lambda candidate: candidate.id,
)
habits = st.builds(
    Habits,
    longest_kept=st.sampled_from([0, 20, 80, 200]),
    cut_at=st.sampled_from([None, 20, 65, 70]),
    numbers_kept=st.sampled_from([0, 3]),
    numbers_changed=st.sampled_from([0, 1]),
)


def with_doubts(found, a):
    """Tell whether a draft is safe from being sent again by itself."""
    return a.resent or a.draft_id in found.adopted or a.draft_id in found.doubtful


@given(attempts(), candidates, habits)
def test_a_message_is_given_to_one_draft_at_most(drafts, messages, known):
    found = search(drafts, messages, known)

    given_away = [*found.adopted.values(), *(i for ids in found.doubled.values() for i in ids)]
    assert len(given_away) == len(set(given_away))
    assert not set(given_away) & {i for ids in found.doubtful.values() for i in ids}
    assert not found.adopted.keys() & found.doubtful.keys()
    open_ones = {a.draft_id for a in drafts if not a.resent}
    assert found.adopted.keys() | found.doubtful.keys() <= open_ones
    assert found.doubled.keys() <= {a.draft_id for a in drafts} - open_ones


@given(attempts(), candidates, habits, st.randoms())
def test_the_order_in_which_the_mirror_gives_them_does_not_matter(drafts, messages, known, random):
    shuffled = random.sample(drafts, len(drafts)), random.sample(messages, len(messages))

    assert search(*shuffled, known) == search(drafts, messages, known)


@given(attempts(), candidates, candidates, habits)
def test_one_more_message_never_leads_to_a_resend(drafts, messages, more, known):
    """Unless it explains those that were seen: then they are others'."""
    ids = {c.id for c in messages}
    before = search(drafts, messages, known)
    after = search(drafts, [*messages, *(c for c in more if c.id not in ids)], known)

    given_away = {*after.adopted.values(), *(i for i_s in after.doubled.values() for i in i_s)}
    for a in drafts:
        seen = {before.adopted.get(a.draft_id), *before.doubtful.get(a.draft_id, ())} - {None}
        if seen - given_away:
            assert with_doubts(after, a)


@given(attempts(), candidates, habits)
@example([attempt(text=LONG)], [message(text=LONG[:70])], Habits(cut_at=20))
def test_what_is_known_of_the_service_never_leads_to_a_resend(drafts, messages, known):
    """It turns what would be adopted into a doubt, or a doubt into what another draft explains."""
    untaught, taught = search(drafts, messages), search(drafts, messages, known)

    given_away = {*taught.adopted.values(), *(i for ids in taught.doubled.values() for i in ids)}
    for a in drafts:
        seen = {untaught.adopted.get(a.draft_id), *untaught.doubtful.get(a.draft_id, ())} - {None}
        if seen - given_away:
            assert with_doubts(taught, a)


@given(attempts().filter(len), candidates, habits)
def test_what_is_known_of_the_service_makes_the_search_for_one_draft_stricter(
    drafts, messages, known
):
    one = [a._replace(resent=False) for a in drafts if a.draft_id == drafts[0].draft_id]

    untaught, taught = search(one, messages), search(one, messages, known)

    if known.cut_at is None:
        assert taught.adopted.keys() <= untaught.adopted.keys()
    if untaught.adopted or untaught.doubtful:
        assert taught.adopted or taught.doubtful


@given(attempts(), candidates, habits)
def test_what_is_adopted_is_to_the_number_and_has_the_text_or_its_beginning(
    drafts, messages, known
):
    found = search(drafts, messages, known)

    shown = {c.id: c for c in messages}
    for draft_id, message_id in found.adopted.items():
        c = shown[message_id]
        (text, phone) = next((a.text, a.phone) for a in drafts if a.draft_id == draft_id)
        assert phone[-9:] == c.phone[-9:]
        assert text.strip().startswith(c.text.strip())
        if c.text.strip() != text.strip():
            assert len(c.text.strip()) >= 60 or len(c.text) == known.cut_at


@given(attempts(), candidates, habits)
def test_a_draft_with_a_possible_message_to_its_number_is_never_free_to_go(drafts, messages, known):
    found = search(drafts, messages, known)

    given_away = {*found.adopted.values(), *(i for ids in found.doubled.values() for i in ids)}
    for a in drafts:
        news = [
            c
            for c in messages
            if c.id > a.above_id
            and c.arrival > a.arrivals_from
            and c.phone[-9:] == a.phone[-9:]
            and c.id not in given_away
        ]
        if news:
            assert with_doubts(found, a)
