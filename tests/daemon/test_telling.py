"""What the log says of passes: one line for each that did something, and none for the others."""

import pytest
from structlog.testing import capture_logs

from semysync.daemon.telling import Telling
from semysync.mirror.tables.passes import Pass
from semysync.passes.outcome import Outcome


@pytest.mark.parametrize(
    ("came", "lines"),
    [
        ({}, []),
        ({"added": 3}, [("pass.finished", "info")]),
        ({"changed": 1}, [("pass.finished", "info")]),
        ({"illegible": 2}, [("pass.illegible_rows", "warning")]),
        ({"error": "inbox: no answer within 30 s"}, [("pass.failed", "error")]),
    ],
)
def test_a_pass_that_did_something_is_one_line(came, lines):
    outcome = Outcome(Pass(kind="inbox", started_at="2026-11-23T09:00:00.000000Z", **came))

    with capture_logs() as told:
        Telling().ended("inbox", outcome)

    assert [(line["event"], line["log_level"]) for line in told] == lines


def test_a_mistake_of_ours_is_told_once_for_each_place_until_the_pass_has_recovered():
    telling, error = Telling(), _raised(LookupError("the first"))

    with capture_logs() as told:
        telling.broke("inbox", error)
        telling.broke("inbox", error)
        telling.broke("sent", error)
        telling.ended("inbox", None)
        telling.broke("inbox", error)

    assert [(line["event"], line["kind"]) for line in told] == [
        ("pass.broke", "inbox"),
        ("pass.broke", "sent"),
        ("pass.recovered", "inbox"),
        ("pass.broke", "inbox"),
    ]


def _raised(error):
    try:
        raise error
    except LookupError as exc:
        return exc
