"""
Let everything happen in any order, with other steps each time, and tell what was reached.

    .venv/bin/python -m tests.machine --profile long
    .venv/bin/python -m tests.machine --seed 17 --lives 10      again what failed
    .venv/bin/python -m tests.machine --mutants                 each must be caught

Each batch of ten lives has a seed, which is printed where a promise did not hold.
"""

import argparse
import logging
import sys
import time
import traceback
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

PROFILES = {"small": 0.15, "long": 25.0}  #: minutes


def main():
    import structlog

    given = _given()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    if given.mutants:
        from breakages import all_caught

        sys.exit(0 if all_caught(given.minutes or 2.0, given.only) else 1)
    sys.exit(_campaign(given))


def _given():
    options = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    options.add_argument("--profile", choices=PROFILES, default="long")
    options.add_argument("--minutes", type=float, help="instead of the profile's")
    options.add_argument("--steps", type=int, default=60)
    options.add_argument("--seed", type=int, help="the first batch's; the next ones count up")
    options.add_argument("--lives", type=int, help="end after so many")
    options.add_argument("--go-on", action="store_true", help="also when a promise did not hold")
    options.add_argument(
        "--shrink", action="store_true", help="make a failure small: takes minutes"
    )
    options.add_argument("--mutants", action="store_true", help="break the program on purpose")
    options.add_argument("--only", default="", help="mutants whose names hold this")
    return options.parse_args()


def _campaign(given):
    from lives import live
    from reaching import table

    first = int(time.time()) if given.seed is None else given.seed
    ends = time.monotonic() + (given.minutes or PROFILES[given.profile]) * 60
    batches, failed = 0, []
    while time.monotonic() < ends and (given.lives is None or batches * 10 < given.lives):
        try:
            live(first + batches, lives=10, steps=given.steps, shrink=given.shrink)
        except Exception:  # noqa: BLE001  whatever it was, its seed is worth a line
            failed.append(first + batches)
            traceback.print_exc()
            print(f"A promise did not hold, or a step broke: --seed {first + batches} --lives 10")
            if not given.go_on:
                break
        batches += 1
        sys.stdout.flush()
    held = f"FAILED with the seeds {failed}" if failed else "each promise held"
    print(f"{batches * 10} lives of {given.steps} steps at most, {held}. Reached:")
    print("\n".join(table()))
    return 1 if failed else 0


if __name__ == "__main__":
    main()
