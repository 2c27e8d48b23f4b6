"""Normalise the other side's number, so that both boxes join on it."""

import re
from functools import lru_cache

_BETWEEN = re.compile(r"[\s().\-\u00a0\u2010-\u2015]+")  # what people write between digits
TAIL = 9  #: digits, by which two forms of one number are known
_INTERNATIONAL = re.compile(r"\+[0-9]{8,15}")


@lru_cache(maxsize=65536)
def contact_of(phone: str | None, region: str | None = None) -> str | None:
    """
    Return the contact of a number as the service gives it.

    `+` and 8 to 15 digits are a contact of their own; phonenumbers is asked for other numbers, as
    if they were dialled in the region (`RU`). Without a region, and of what is no number, nothing
    is guessed: digits stay digits, a name (`Beeline`) or a short code (`900`) stands as it is.
    """
    if phone is None:
        return None
    bare = _BETWEEN.sub("", phone)
    if _INTERNATIONAL.fullmatch(bare):
        return bare
    if bare.isascii() and bare.isdigit():
        return (region and _dialled_in(region, bare)) or bare
    return phone.strip() or None


def tail(phone: str) -> str:
    """Return the last nine digits, by which two forms of one number are known."""
    return re.sub(r"[^0-9]", "", phone)[-TAIL:]


def dialled(phone: str, contact: str) -> str:
    """
    Return the form in which a number is given to the service: `+` and digits, or digits.

    A national number goes out as its contact says, where the configured region made it
    international.
    """
    return contact if _INTERNATIONAL.fullmatch(contact) else _BETWEEN.sub("", phone)


def _dialled_in(region: str, digits: str) -> str | None:
    """Return the international form of a national number; None for short codes and the like."""
    import phonenumbers  # noqa: PLC0415  only where a number needs it

    try:
        number = phonenumbers.parse(digits, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def is_region(code: str) -> bool:
    """Tell whether phonenumbers knows a region by this code, such as `RU`."""
    import phonenumbers  # noqa: PLC0415  slow

    return code in phonenumbers.SUPPORTED_REGIONS
