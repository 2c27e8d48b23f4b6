"""What the tests of a second machine need: the account that both share, and the first of them."""

import pytest
from machines import Machine
from processes import TOKEN

from semysync.sandbox import Sandbox


@pytest.fixture
def sandbox():
    with Sandbox(messages=60, devices=2, token=TOKEN) as stand_in:
        yield stand_in


@pytest.fixture
def one(tmp_path, sandbox):
    """A machine with a mirror."""
    machine = Machine(tmp_path, "one", sandbox)
    machine.mirror_here()
    return machine
