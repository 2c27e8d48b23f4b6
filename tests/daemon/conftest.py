"""What the tests of the daemon need: a stand-in, and the program in a home of its own."""

import pytest
from processes import QUICK, TOKEN, Program

from semysync.sandbox import Sandbox


@pytest.fixture
def sandbox():
    with Sandbox(messages=300, devices=3, token=TOKEN) as stand_in:
        yield stand_in


@pytest.fixture
def program(tmp_path, sandbox):
    program = Program(tmp_path)
    program.configure(sandbox.base_url, rest=QUICK)
    return program
