"""
Times as a person types them: without a zone they are meant in the local one.

The mirror keeps UTC. What was typed is therefore always shown again as it was understood.
"""

import re
from datetime import UTC, datetime, timedelta

_TIME = re.compile(r"([0-9]{1,2})(:[0-9]{2}(?::[0-9]{2})?)")
_DATE_AND_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]\s*([0-9]{1,2})(:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?)"
    r"\s*([Zz]|[+-][0-9]{2}:[0-9]{2})?"
)

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_AGO = re.compile(r"([0-9]{1,4})\s*([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def moment(text: str, *, after: datetime) -> datetime:
    """
    Return what a person means by a time, in UTC; `09:00` is the next one from `after` on.

    Raises `ValueError` with a sentence for what is no time.
    """
    bare = text.strip()
    try:
        if match := _TIME.fullmatch(bare):
            read = _next(f"{match[1]:0>2}{match[2]}", after)
        elif match := _DATE_AND_TIME.fullmatch(bare):
            date, hour, rest, zone = match.groups()
            read = datetime.fromisoformat(f"{date}T{hour:0>2}{rest}{(zone or '').upper()}")
        else:
            raise ValueError  # noqa: TRY301  one sentence for all that is no time
        local = read.astimezone()  # without a zone: of an hour that comes twice, the first
        found = local.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is no time such as 09:00, '2026-11-24 09:00' or 2026-11-24T09:00Z"
        ) from None
    if read.tzinfo is None and local.replace(tzinfo=None) != read:
        raise ValueError(
            f"{read:%Y-%m-%d %H:%M} does not exist in the local zone: "
            "the clocks are put forward over it"
        )
    return found


def _next(time: str, after: datetime) -> datetime:
    """Return the next time of this name by the local clock, naive."""
    local = after.astimezone().replace(tzinfo=None)
    today = datetime.fromisoformat(f"{local:%Y-%m-%d}T{time}")
    return today if today >= local else today + timedelta(days=1)


def past(text: str, *, before: datetime) -> datetime:
    """
    Return what a person means by the beginning or the end of a time that is over, in UTC.

    A date is its midnight by the local clock, `09:00` the last one up to `before`, `7d`, `12h` and
    `30m` are so long before it, `today` and `yesterday` their midnights. Raises `ValueError` with a
    sentence for what is none of these.
    """
    bare = text.strip().lower()
    local = before.astimezone()
    try:
        if match := _AGO.fullmatch(bare):
            return before.astimezone(UTC) - timedelta(**{_UNITS[match[2]]: int(match[1])})
        if bare in {"today", "yesterday"}:
            bare = f"{local.date() - timedelta(days=bare == 'yesterday')}"
        if _DATE.fullmatch(bare):
            return moment(f"{bare} 00:00", after=before)
        found = moment(text, after=before)
        if _TIME.fullmatch(bare) and found > before:
            yesterday = (found.astimezone() - timedelta(days=1)).replace(tzinfo=None)
            return yesterday.astimezone().astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is no time such as 2026-11-24, '2026-11-24 09:00', yesterday, 09:00 or 7d"
        ) from None
    return found


def local_zone(at: datetime) -> str:
    """Return what the local zone is called at that moment: `MSK`, or `UTC-03:00`."""
    local = at.astimezone()
    name = local.tzname() or ""
    return name if name.isalpha() else f"UTC{local.isoformat()[-6:]}"


def local_text(at: datetime) -> str:
    """Show a moment by the local clock, with the zone: `2026-11-24 09:00 MSK`."""
    local = at.astimezone()
    shape = "%Y-%m-%d %H:%M:%S" if local.second else "%Y-%m-%d %H:%M"
    return f"{local:{shape}} {local_zone(at)}"
