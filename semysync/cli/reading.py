"""What the commands share that show what is in the mirror, without the service."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from sqlite3 import Connection

from semysync.cli.options import reader_path
from semysync.mirror.file import explained, open_reader
from semysync.mirror.reading.health import Phone

MOST = 2**62  # what SQLite takes for a limit


@contextmanager
def reading(config: Path | None, database: Path | None) -> Iterator[Connection]:
    """Open the mirror for the time of a query, and put into words what goes wrong with it."""
    path = reader_path(config, database)
    with explained(path), closing(open_reader(path)) as conn:
        yield conn


def rough_age(seconds: int) -> str:
    """Say an age in the unit that fits."""
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length:
            count = seconds // length
            return f"{count:,} {unit}{'s' if count > 1 else ''}"
    return f"{seconds} s"


def short_time(text: str | None) -> str:
    """Show a time in the mirror to the second, without the letters."""
    return text[:19].replace("T", " ") if text else ""


def seen(phone: Phone) -> str:
    """Say when a phone was in touch last, as far as that is known."""
    if phone.seen_s is not None:
        return f"{rough_age(phone.seen_s)} ago"
    return f"~{short_time(phone.last_active_at)[:16]}" if phone.last_active_at else "never"
