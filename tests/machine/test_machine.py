"""The state machine, for as long as an ordinary run may take; `python -m tests.machine` goes on."""

from hypothesis import settings
from steps import Machine

TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=10, stateful_step_count=30)
