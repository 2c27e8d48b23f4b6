"""What the tests of a second machine need: the account that both machines share."""

import pytest
from processes import TOKEN

from semysync.sandbox import Sandbox


@pytest.fixture
def sandbox():
    with Sandbox(messages=60, devices=2, token=TOKEN) as stand_in:
        yield stand_in
