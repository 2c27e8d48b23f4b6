"""The state machine, for as long as an ordinary run may take; `python -m tests.machine` goes on."""

import msgspec
from hypothesis import Phase, settings
from steps import Machine
from switching import BLINDING, FORMS, LEFT_OUT, NOT_TRIED, SICK, changes, of_deletes

from semysync.sandbox.switches import Switches
from semysync.sandbox.switching import described

TestMachine = Machine.TestCase
# The same lives each time, and none is made smaller, which takes minutes: other ones are lived by
# the command, which also makes a failure small.
TestMachine.settings = settings(
    max_examples=3, stateful_step_count=25, derandomize=True, phases=[Phase.generate]
)


def test_every_switch_changes_while_the_program_runs_or_is_left_out_for_a_reason():
    tried = {*FORMS, *SICK, *BLINDING}
    deletes = {name for name in Switches.__struct_fields__ if of_deletes(name)}

    assert tried.isdisjoint(LEFT_OUT)
    assert tried | set(LEFT_OUT) | deletes == set(Switches.__struct_fields__)


def test_every_value_of_a_switch_is_tried_or_left_out():
    usual = msgspec.structs.asdict(Switches())
    some = [*changes(FORMS, SICK, BLINDING), *({name: value} for name, value in usual.items())]
    tried = {(name, str(value)) for change in some for name, value in change.items()}
    named = {
        (one.name, value)
        for one in described()
        for value in one.values.split(" | ")
        if " | " in one.values and one.name not in LEFT_OUT and not of_deletes(one.name)
    }

    assert named - tried - NOT_TRIED == set()
