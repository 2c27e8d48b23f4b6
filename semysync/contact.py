"""Normalise the other side's number, so that both boxes join on it."""

import re
from functools import lru_cache

_BETWEEN = re.compile(r"[\s().\-\u00a0\u2010-\u2015]+")  # what people write between digits
_INTERNATIONAL = re.compile(r"\+[0-9]{8,15}")


@lru_cache(maxsize=65536)
def contact_of(phone: str | None) -> str | None:
    """
    Return the contact of a number as the service gives it.

    `+` and 8 to 15 digits are a contact of their own; of anything else nothing is guessed: digits
    stay digits, and a name (`Beeline`) or a short code (`900`) stands as it is.
    """
    if phone is None:
        return None
    bare = _BETWEEN.sub("", phone)
    if _INTERNATIONAL.fullmatch(bare) or (bare.isascii() and bare.isdigit()):
        return bare
    return phone.strip() or None
