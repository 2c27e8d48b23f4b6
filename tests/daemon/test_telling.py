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
