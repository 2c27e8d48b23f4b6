"""A hook's program that writes down what it can see of others, and repeats what it was told."""

import os
import sys
from pathlib import Path

told = sys.stdin.read()
seen = [
    Path(f"/proc/{number}/{name}").read_text().replace("\0", "\n")
    for number in ("self", os.getppid())
    for name in ("environ", "cmdline")
]
with Path(sys.argv[1]).open("a") as notes:
    notes.write("\n".join([*seen, ""]))
sys.exit(int(sys.argv[2]))
