"""Times as the mirror keeps them: UTC text of one width, so that text order is time order."""

from datetime import UTC, datetime


def utc_text(moment: datetime) -> str:
    """Write an aware moment: `2026-11-23T09:41:13.657724Z`."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[:26] + "Z"


def from_utc_text(text: str) -> datetime:
    """Read what `utc_text` wrote. Raises `ValueError` for anything else."""
    return datetime.fromisoformat(text)


def as_printed(printed: datetime | None) -> str | None:
    """Write a time of which the zone is not known yet: what was printed, in the same form."""
    return None if printed is None else printed.isoformat(timespec="microseconds") + "Z"
