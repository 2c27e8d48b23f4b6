"""How a command ends that has begun what must not stay."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ending_tidily() -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does: what it began is stopped and cleared away."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
