"""Live some lives of the state machine, by a seed that makes them the same each time."""

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from steps import Machine


def live(number, *, lives, steps, shrink=False):
    """Live; raises what a promise that does not hold has raised."""
    profile = settings(
        max_examples=lives,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
        print_blob=False,
    )
    run_state_machine_as_test(seed(number)(Machine), settings=profile)
