"""Let `python -m semysync` do what `semysync` does."""

from semysync.cli import main

main()
