"""
Kill the real daemon again and again, and see that it has lost nothing and sent nothing twice.

    .venv/bin/python -m tests.kills [--kills 1000] [--seed 1] [random] [points] [power]

`random` kills it that often at random moments under traffic, `points` at every named point before
and after which anything is written, asked or synced, and `power` cuts the power. What was reached is
printed; the exit code is 1 where a promise was not kept.
"""

import argparse
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "follow")]


def main():
    from campaigns import CAMPAIGNS

    options = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    options.add_argument("campaigns", nargs="*", help="else all", metavar="campaign")
    options.add_argument("--kills", type=int, default=1000)
    options.add_argument("--minutes", type=float, default=float("inf"), help="for `random` at most")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--only", default="", help="`points` whose names hold this")
    given = options.parse_args()
    wrong = []
    for name in given.campaigns or CAMPAIGNS:
        with tempfile.TemporaryDirectory(prefix="semysync-kills-") as folder:
            wrong += CAMPAIGNS[name](Path(folder), given)
    for sentence in wrong:
        print(f"WRONG: {sentence}")
    print("every promise was kept" if not wrong else f"{len(wrong)} things are wrong")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
