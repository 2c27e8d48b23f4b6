"""
Run the state machine for so many minutes, with other steps each time, and tell what was reached.

    .venv/bin/python -m tests.machine --minutes 15
"""

import argparse
import logging
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]


def main():
    import structlog
    from hypothesis import HealthCheck, Phase, settings
    from hypothesis.stateful import run_state_machine_as_test
    from steps import Machine
    from world import reached

    options = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    options.add_argument("--minutes", type=float, default=15)
    options.add_argument("--steps", type=int, default=60)
    options.add_argument(
        "--shrink", action="store_true", help="make a failure small: takes minutes"
    )
    given = options.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    ends, lives = time.monotonic() + given.minutes * 60, 0
    profile = settings(
        max_examples=10,
        stateful_step_count=given.steps,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink] if given.shrink else [Phase.generate],
        print_blob=True,
    )
    while time.monotonic() < ends:
        run_state_machine_as_test(Machine, settings=profile)
        lives += 10
    print(f"{lives} lives of {given.steps} steps at most, and each promise held. Reached:")
    for what, times in sorted(reached.items()):
        print(f"{times:9,}  {what}")


if __name__ == "__main__":
    main()
