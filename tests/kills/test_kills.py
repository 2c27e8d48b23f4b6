"""Some kills of each kind; `python -m tests.kills` goes on for longer."""

import subprocess

import pytest
from at_random import kill_at_random
from disk import traced
from needing import tool
from points import Point, kill_at_points
from power import cut_the_power

POINTS = (
    Point("commit mirror.outbox.sending.record", "before", ("run",)),
    Point("request of a hook", "after", ("run",)),
    Point("commit cli.sending.insert", "after", ("send", "+79215550000", "by hand")),
)


def test_kills_at_random_moments_lose_nothing_and_send_nothing_twice(tmp_path):
    reached = kill_at_random(tmp_path, 4, seed=5)

    assert reached.wrong == []
    assert reached.kills.total() == 4


def test_kills_at_named_points_lose_nothing_and_send_nothing_twice(tmp_path):
    unreached, wrong = kill_at_points(tmp_path, POINTS)

    assert (unreached, wrong) == ([], [])


def test_a_loss_of_the_power_takes_back_nothing_that_was_requested(tmp_path):
    tool("strace")
    may_trace()

    reached, wrong = cut_the_power(tmp_path, 1, seed=1, life_s=1, moments=20)

    assert wrong == []
    assert reached["moments at a request"] > 0


def may_trace():
    """End the test where the system lets nobody trace a process, which no package can change."""
    if subprocess.run([*traced("/dev/null"), "true"], check=False).returncode:
        pytest.skip("NOT TESTED: this system lets nobody trace a process")
