"""
Nothing is lost or sent twice, whatever answer is lost and wherever the process is killed.

This is the small profile of what `campaign.py` does for long.
"""

import pytest
from daemon_kills import kill_the_daemon
from harness import (
    AT_THE_SERVICE,
    STEPS,
    WORLDS,
    WORLDS_FOR_A_PERSON,
    requests_of_a_run,
    with_a_fault,
    with_a_kill,
    with_a_restore,
)

SENDING = 5  #: so many of the first requests of a run are those that send


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("nth", range(1, SENDING + 1))
def test_a_dropped_answer_costs_no_message_and_makes_no_second_one(tmp_path, nth, when):
    assert with_a_fault(tmp_path, "drop", when, nth) == 0


@pytest.mark.parametrize("when", ["before", "after"])
def test_with_hold_a_person_decides_what_the_account_does_not_show(tmp_path, when):
    decided = with_a_fault(tmp_path, "drop", when, 1, lost_answer="hold")

    assert (decided > 0) == (when == "before")


@pytest.mark.parametrize("switches", WORLDS, ids=str)
def test_a_lost_answer_is_found_in_every_world(tmp_path, switches):
    with_a_fault(tmp_path, "reset", "after", 1, person=False, switches=switches)


@pytest.mark.parametrize("switches", WORLDS_FOR_A_PERSON, ids=str)
def test_where_nobody_can_tell_a_person_is_asked(tmp_path, switches):
    assert with_a_fault(tmp_path, "reset", "before", 1, switches=switches) > 0


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_kill_at_a_step_costs_no_message_and_makes_no_second_one(tmp_path, step, when):
    assert with_a_kill(tmp_path, step, when)


@pytest.mark.parametrize("lost_answer", ["resend", "hold"])
@pytest.mark.parametrize("step", AT_THE_SERVICE)
def test_so_does_a_kill_while_the_request_is_at_the_service(tmp_path, step, lost_answer):
    assert with_a_kill(tmp_path, step, lost=False, lost_answer=lost_answer)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("nth", [1, 2, 4])
def test_a_copy_that_is_put_back_sends_nothing_again(tmp_path, nth, when):
    with_a_restore(tmp_path, when, nth)


def test_a_run_has_the_requests_that_are_spoken_of(tmp_path):
    assert requests_of_a_run(tmp_path) > SENDING


def test_the_real_daemon_is_killed_at_random_while_two_programs_insert(tmp_path):
    kill_the_daemon(tmp_path, 6, drafts=60)
