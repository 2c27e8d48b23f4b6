"""
Let every reader of what comes from outside meet mutants, 100,000 of each kind.

    .venv/bin/python -m tests.fuzz [--count 100000] [--seed 0] [answers calls sheets …]
"""

import argparse
import logging
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE)]

SLICE = 2_000  #: mutants for one mirror


def main():
    import structlog
    from fuzzing import fuzz
    from targets import TARGETS

    options = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    options.add_argument("targets", nargs="*", help="else all")
    options.add_argument("--count", type=int, default=100_000)
    options.add_argument("--seed", type=int, default=0, help="of the first mutant")
    options.add_argument("--most", type=int, default=10, help="failures shown of a slice")
    given = options.parse_args()
    logging.disable()  # the parser of forms complains of each
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    failed = 0
    for name in given.targets or TARGETS:
        began, done, wrong = time.monotonic(), 0, []
        while done < given.count:
            count = min(SLICE, given.count - done)
            with tempfile.TemporaryDirectory() as folder:
                wrong += fuzz(name, Path(folder), count, given.seed + done, given.most)
            done += count
        for seed, told in wrong[:20]:
            print(f"{name} --seed {seed} --count 1\n{told}", file=sys.stderr)
        failed += len(wrong)
        took = time.monotonic() - began
        print(f"{name}: {done:,} mutants in {took:.0f} s, {len(wrong)} failed", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
