from datetime import UTC, datetime

import pytest


class Clock:
    """The time of account and mirror alike; it stands still until a test moves it."""

    def __init__(self):
        self.now = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()
