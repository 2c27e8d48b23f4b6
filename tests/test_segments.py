"""How many SMS a text takes, against known cases and a slow reference that shares nothing with it."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from semysync.segments import segments, utf16_units

# 3GPP TS 23.038, the default alphabet row by row (bits b7-b5 across), without the escape.
ALPHABET = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ"
    " !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
EXTENSION = "\f^{}\\[~]|€"


def parts_by_hand(text):
    """Cut off the longest beginning that fits, again and again."""
    if all(c in ALPHABET or c in EXTENSION for c in text):
        units = ["esc " + c if c in EXTENSION else c for c in text]
        alone, each = 160, 153
        width = [2 if unit.startswith("esc ") else 1 for unit in units]
    else:
        units = [c.encode("utf-16-be", "surrogatepass") for c in text]
        alone, each = 70, 67
        width = [len(unit) // 2 for unit in units]
    if sum(width) <= alone:
        return 1
    parts = 0
    while units:
        take = max(n for n in range(len(units) + 1) if sum(width[:n]) <= each)
        units, width = units[take:], width[take:]
        parts += 1
    return parts


def test_the_default_alphabet_has_127_characters_beside_the_escape():
    assert len(set(ALPHABET)) == 127
    assert all(segments(c * 160) == 1 and segments(c * 161) == 2 for c in ALPHABET)


@pytest.mark.parametrize("character", EXTENSION)
def test_the_extension_takes_two_septets_that_stay_together(character):
    assert segments(character * 80) == 1
    assert segments(character * 81) == 2
    assert segments(character * 152) == 2  # 76 in each of two parts: 152 septets, one is left over
    assert segments(character * 153) == 3


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", 1),
        ("Hello", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("a" * 158 + "€", 1),
        ("a" * 159 + "€", 2),
        ("a" * 152 + "€" + "a" * 152, 3),  # the euro does not fit behind 152, nor 152 behind it
        ("a" * 152 + "€" + "a" * 151, 2),
        ("я" * 70, 1),
        ("я" * 71, 2),
        ("я" * 134, 2),
        ("я" * 135, 3),
        ("ç" * 71, 2),  # only the capital is in the alphabet
        ("a" * 70 + "`", 2),
        ("😀" * 35, 1),
        ("😀" * 36, 2),
        ("😀" * 66, 2),  # 33 in each of two parts
        ("😀" * 67, 3),
        ("я" * 66 + "😀" + "я" * 66, 3),
        ("я" * 66 + "😀" + "я" * 65, 2),
        ("a" * 1000, 7),
        ("я" * 1000, 15),
    ],
)
def test_texts_take_as_many_parts_as_is_known_of_them(text, parts):
    assert segments(text) == parts
    assert parts_by_hand(text) == parts


@given(st.text(ALPHABET + EXTENSION, max_size=500) | st.text(max_size=250))
@example("a" * 152 + "€" * 80 + "a" * 152)
def test_it_is_what_cutting_by_hand_comes_to(text):
    assert segments(text) == parts_by_hand(text)


@given(st.text())
@example("e\u0301")
@example("👩\u200d👧")
def test_units_are_those_of_utf_16(text):
    assert utf16_units(text) == len(text.encode("utf-16-le", "surrogatepass")) // 2
