"""A look against services of every kind: it must never claim more than the answers prove."""

from bisect import bisect_left
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semysync.errors import Unbounded
from semysync.passes.look import FEW, FIRST_WIDTH, WIDEST, Look, Shown
from semysync.service.questions import Range

EPOCH = datetime(2020, 1, 1)


def date_of(number):
    """Rows are a minute apart, as far as these tests go."""
    return EPOCH + timedelta(seconds=number % 100_000_000)


@dataclass
class Service:
    """Answers as the protocol allows: any cap, either end of it, ends that belong or don't."""

    ids: list[int]
    cap: int = 0
    keeps: str = "oldest"
    start_belongs: bool = True
    end: str = "inclusive"
    refuses_over: int = 0
    asked: int = 0

    def shown(self, question):
        self.asked += 1
        low = question.start if self.start_belongs else question.start + 1
        found = self.ids[bisect_left(self.ids, low) :]
        if question.end is not None and self.end != "ignored":
            high = question.end if self.end == "inclusive" else question.end - 1
            found = [i for i in found if i <= high]
        if question.dates:
            found = [i for i in found if question.dates.start <= date_of(i) <= question.dates.end]
        if self.refuses_over and len(found) > self.refuses_over:
            return None
        if self.cap:
            found = found[: self.cap] if self.keeps == "oldest" else found[-self.cap :]
        return found


def read(look, service, *, most=3000):
    """Drive a look to its end; return the ids that it was shown."""
    seen = set()
    while not look.done:
        question = look.ask()
        answer = service.shown(question)
        assert service.asked < most, "the look does not come to an end"
        if answer is None:
            assert look.ask_for_less(question)
            continue
        look.learn(question, Shown(answer, len(answer)))
        seen |= set(answer)
        missing = [i for i in service.ids if look.start < i <= look.mark and i not in seen]
        assert not missing, f"the mark {look.mark} passes over {missing[:3]}"
        assert look.mark == look.start or look.mark in seen
    return seen


# The id 1 is out of reach where the start does not belong to a range; live counters are far above it.
ids = st.lists(st.integers(2, 400) | st.integers(2, 10**9), max_size=150, unique=True).map(sorted)
services = st.builds(
    Service,
    ids=ids,
    cap=st.just(0) | st.integers(FEW, 40),
    keeps=st.sampled_from(["oldest", "newest"]),
    start_belongs=st.booleans(),
    end=st.sampled_from(["inclusive", "exclusive", "ignored"]),
    refuses_over=st.just(0) | st.integers(20, 60),
)


@settings(max_examples=400)
@given(services, st.sampled_from([None, 1, 1000, FIRST_WIDTH]))
def test_a_first_load_is_shown_every_row_or_says_that_it_cannot_know(service, width):
    look = Look(0, width=width)

    try:
        seen = read(look, service)
    except Unbounded:
        assert service.end == "ignored"
        return

    assert seen >= set(service.ids)
    assert look.mark == (service.ids[-1] if service.ids else 0)


@settings(max_examples=400)
@given(services, st.data())
def test_a_later_look_is_shown_every_row_above_its_start(service, data):
    start = data.draw(st.sampled_from(service.ids)) if service.ids else 7
    newest_known = data.draw(st.sampled_from([i for i in service.ids if i >= start] or [start]))
    vanished = data.draw(st.sets(st.sampled_from(service.ids))) if service.ids else set()
    service.ids = [i for i in service.ids if i not in vanished]
    look = Look(start, newest_known=newest_known)

    try:
        seen = read(look, service)
    except Unbounded:
        assert service.end == "ignored"
        return

    assert seen >= {i for i in service.ids if i > start}


@pytest.mark.parametrize("keeps", ["oldest", "newest"])
@pytest.mark.parametrize("cap", [0, 100])
def test_a_quiet_box_is_read_by_one_question_whatever_its_size(cap, keeps):
    service = Service(list(range(1, 5001)), cap=cap, keeps=keeps)

    read(Look(5000, newest_known=5000), service)

    assert service.asked == 1


def test_a_quiet_box_is_read_by_one_question_once_a_larger_answer_was_seen():
    service = Service(list(range(1, 5001)))

    read(Look(4980, newest_known=5000, largest=50), service)

    assert service.asked == 1


def test_an_answer_as_large_as_the_largest_one_may_be_cut_and_is_followed_up():
    service = Service(list(range(1, 141)), cap=30)

    seen = read(Look(100, newest_known=130, largest=30), service)

    assert 140 in seen


def test_a_gap_below_a_capped_answer_is_read_without_an_end_that_is_honoured():
    service = Service(list(range(1000, 401_000, 1000)), cap=20, keeps="newest", end="ignored")

    seen = read(Look(0, width=FIRST_WIDTH), service)

    assert seen >= set(service.ids)


def test_rows_from_below_the_start_that_fill_a_cap_are_no_proof():
    look = Look(500, newest_known=600)

    with pytest.raises(Unbounded, match="ignores the bounds"):
        look.learn(look.ask(), Shown(list(range(1, 100)), 99))


def test_answers_that_never_change_are_given_up():
    look = Look(0)

    def drive():
        while not look.done:
            look.learn(look.ask(), Shown(list(range(10, 100)), 90))

    with pytest.raises(Unbounded):
        drive()


def test_the_first_window_of_a_dense_history_shrinks_to_what_the_service_can_give():
    service = Service(list(range(70_000_000, 70_200_000)), refuses_over=20_000)

    seen = read(Look(0, width=FIRST_WIDTH), service)

    assert len(seen) == 200_000
    assert service.asked < 60


def test_a_question_never_starts_below_one():
    assert Look(0).ask() == Range(1)


def test_an_answer_that_is_too_large_shows_where_the_rows_begin_and_how_dense_they_are():
    """Seventy million ids without a row, then a row at every fifth: little is asked in vain."""
    service = Service(list(range(70_000_000, 72_500_000, 5)))
    look, broken_off, seen = Look(0, width=FIRST_WIDTH), 0, set()

    while not look.done:
        question = look.ask()
        answer = service.shown(question)
        if len(answer) > 100_000:
            broken_off += 1
            assert look.ask_for_less(question, answer[:100_000])
        else:
            look.learn(question, Shown(answer, len(answer)))
            seen |= set(answer)

    assert len(seen) == 500_000
    assert broken_off == 1
    assert service.asked < 70


def test_ids_that_are_far_apart_make_no_window_that_the_mirror_cannot_note():
    """Found by `python -m tests.fuzz passes`: an id of nonsense, and then an answer cut short."""
    look = Look(0, width=FIRST_WIDTH)

    for _ in range(15):
        look.learn(look.ask(), Shown([look.mark, look.mark + 2**56, look.mark + 2**57], 3))

    assert look.width == WIDEST


@settings(max_examples=300)
@given(
    services,
    st.sampled_from([None, 1, 50, FIRST_WIDTH]),
    st.lists(st.lists(st.integers(1, 60), max_size=3), max_size=25),
    st.booleans(),
)
def test_rows_that_come_while_a_look_goes_on_are_never_passed_over(
    service, width, arrivals, knows_newest
):
    """New rows have higher ids than all before them; the mark must wait for them."""
    newest = service.ids[-1] if service.ids and knows_newest else 0
    look, seen, coming = Look(0, width=width, newest_known=newest), set(), iter(arrivals)

    while not look.done and service.asked < 3000:
        question = look.ask()
        answer = service.shown(question)
        try:
            if answer is None:
                look.ask_for_less(question)
            else:
                look.learn(question, Shown(answer, len(answer)))
        except Unbounded:
            assert service.end == "ignored"
            return
        seen |= set(answer or ())
        for gap in next(coming, ()):
            service.ids.append((service.ids[-1] if service.ids else 1) + gap)
        assert all(i in seen for i in service.ids if i <= look.mark)

    assert look.done, "the look does not come to an end"


@pytest.mark.parametrize("end", ["inclusive", "exclusive"])
@pytest.mark.parametrize("keeps", ["oldest", "newest"])
@pytest.mark.parametrize(("rows", "cap"), [(1000, 6), (10_000, 100)])
def test_the_number_of_questions_follows_the_number_of_pages(rows, cap, keeps, end):
    service = Service(list(range(1000, 1000 + rows)), cap=cap, keeps=keeps, end=end)

    read(Look(0, width=FIRST_WIDTH), service, most=20_000)

    assert service.asked < 2 * rows / (cap - 2) + 30


@pytest.mark.parametrize("start", [0, 99, 100])
def test_two_newest_rows_side_by_side_do_not_hold_a_load_for_ever(start):
    service = Service([99, 100])

    read(Look(start, newest_known=100, width=FIRST_WIDTH), service, most=30)


def test_two_rows_that_come_while_an_empty_box_is_read_do_not_hold_it_for_ever():
    service = Service([])
    look = Look(0, width=FIRST_WIDTH)
    look.learn(look.ask(), Shown([], 0))
    service.ids = [500, 501]

    assert read(look, service, most=40) >= {500, 501}


@pytest.mark.parametrize("undated", [True, False])
def test_windows_of_dates_prove_nothing_where_rows_have_no_date(undated):
    service = Service(list(range(1000, 401_000, 1000)), cap=20, keeps="newest", end="ignored")
    look = Look(0)

    def drive():
        while not look.done:
            question = look.ask()
            answer = service.shown(question)
            look.learn(question, Shown(answer, len(answer), undated=undated))

    if undated:
        with pytest.raises(Unbounded):
            drive()
    else:
        drive()


def test_rows_without_an_id_count_for_whether_an_answer_may_be_cut():
    look = Look(100, newest_known=130, largest=30)

    look.learn(look.ask(), Shown(list(range(100, 129)), rows=30))

    assert not look.done
