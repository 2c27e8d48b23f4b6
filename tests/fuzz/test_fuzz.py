"""The first mutants of each kind; `python -m tests.fuzz` goes on for longer."""

import pytest
from fuzzing import fuzz
from targets import TARGETS

COUNTS = {"answers": 400, "passes": 15, "calls": 400, "configurations": 150, "sheets": 150}


@pytest.mark.parametrize("name", TARGETS)
def test_no_mutant_breaks_what_it_is_given_to(name, tmp_path):
    wrong = fuzz(name, tmp_path, COUNTS[name])

    assert not wrong, f"seed {wrong[0][0]}\n{wrong[0][1]}"
