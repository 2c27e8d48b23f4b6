"""What is refused: to one draft, or to all at once."""

from itertools import pairwise

import pytest
from rig import FINAL, GONE_OUT, after, number


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


def test_a_draft_whose_attempts_somebody_has_deleted_goes_on(make):
    rig = make(switches={"refuse_phone": number(0)})
    draft = rig.draft("good after all", number(0))
    rig.run(until=lambda: rig.of(draft, "attempts") == 1 and rig.of(draft) == "queued")

    rig.ask("delete from attempts")
    rig.sandbox.set(refuse_phone="")
    rig.until_out()

    assert rig.made() == ["good after all"]


def test_no_look_no_second_request(make):
    rig = make(switches={"refuse_phone": number(0)})
    rig.looking = False
    draft = rig.draft("bad", number(0))

    rig.run(2000)

    assert len(rig.requests()) == 1
    assert (rig.of(draft), rig.of(draft, "attempts")) == ("queued", 1)


def test_what_is_claimed_when_the_program_is_to_end_goes_back_and_nothing_is_refused(make):
    rig = make()
    drafts = [rig.draft("one", number(0)), rig.draft("two", number(1))]
    rig.sending.hang_up()

    rig.sender.step()

    assert rig.requests() == []
    for draft in drafts:
        columns = ("status", "attempts", "next_attempt_at")
        assert [rig.of(draft, column) for column in columns] == ["queued", 0, None]
        assert "the program was ended" in rig.of(draft, "error")
    assert rig.setting("sending_blocked") is None

    rig.again()
    rig.run(10)

    assert sorted(rig.made()) == ["one", "two"]


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


def test_what_was_stopped_is_stopped_no_more_when_nothing_is_left_to_send(make):
    rig = make(batch=1, switches={"refuse_text": "Hello"})
    drafts = [rig.draft(phone=number(count)) for count in range(5)]
    rig.run(900)
    stopped = rig.setting("sending_blocked")

    for draft in drafts:
        rig.cancel(draft)
    rig.run(900)

    assert "refuses every draft" in stopped
    assert not rig.setting("sending_blocked")


@pytest.mark.parametrize(
    "fault", [{"fault": "http_500"}, {"fault": "http_429", "retry_after": 900}]
)
def test_a_refusal_counts_for_its_draft_where_the_account_says_nothing_of_its_plan(make, fault):
    rig = make(max_attempts=1, switches={"refuse_phone": number(0)})
    rig.sandbox.order_fault(**fault, method="user", times=0)
    draft = rig.draft("bad", number(0))

    rig.run(until=lambda: rig.of(draft) in FINAL)

    assert rig.requests("user")
    assert rig.of(draft) == "rejected"


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
