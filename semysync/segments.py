"""Count the parts that a text takes as SMS, and its length as phones count it (3GPP TS 23.038)."""

#: the default alphabet, each character one septet of 160 (of 153 where there are several parts)
GSM = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
EXTENSION = frozenset("\f^{}\\[~]|€")  #: two septets each, which stay together


def segments(text: str) -> int:
    """Return how many SMS parts a text takes: in the GSM alphabet if it has all of it, else UCS-2."""
    if GSM.issuperset(text) or all(c in GSM or c in EXTENSION for c in text):
        return _parts([2 if c in EXTENSION else 1 for c in text], alone=160, each=153)
    return _parts([2 if ord(c) > 0xFFFF else 1 for c in text], alone=70, each=67)


def utf16_units(text: str) -> int:
    """Return the length of a text in UTF-16 units, of which an emoji takes two or more."""
    return sum(2 if ord(c) > 0xFFFF else 1 for c in text)


def _parts(widths: list[int], *, alone: int, each: int) -> int:
    """Fill parts one after the other; what is two wide is not split over two of them."""
    if sum(widths) <= alone:
        return 1
    parts, used = 1, 0
    for width in widths:
        if used + width > each:
            parts, used = parts + 1, 0
        used += width
    return parts
