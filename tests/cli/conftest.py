"""The program in a home of its own, and a stand-in that takes the token of the tests."""

import pytest
from processes import TOKEN, Program

from semysync.sandbox import Sandbox


@pytest.fixture
def program(tmp_path):
    return Program(tmp_path)


@pytest.fixture
def sandbox():
    with Sandbox(messages=300, devices=3, token=TOKEN) as stand_in:
        yield stand_in


@pytest.fixture
def synced(program, sandbox):
    """The program, configured for the sandbox, after a first load."""
    program.configure(sandbox.base_url)
    program.mirror_here()
    return program
