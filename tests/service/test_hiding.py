"""Taking out of the service's words what it was given."""

import json
from html import escape
from urllib.parse import quote, quote_plus

import pytest

from semysync.service.hiding import HIDDEN, MOST_SAID, hiding

TEXT = "Your code is 4711/12 & <no> 'other'"


@pytest.mark.parametrize(
    "repeated",
    [TEXT, TEXT[:15], TEXT[7:], quote(TEXT), quote_plus(TEXT).lower(), escape(TEXT), TEXT.upper()],
)
def test_what_is_repeated_is_taken_out_and_the_rest_stays(repeated):
    hide = hiding(["a-token", TEXT])

    assert hide(f"No phone for: {repeated}. Try again") == f"No phone for: {HIDDEN}. Try again"


@pytest.mark.parametrize(
    "text", ["Ваш код 4711", 'He said "4711"', "two\nlines, 4711", "a/b 4711 c"]
)
def test_json_and_lines_are_known(text):
    hide = hiding([text])

    for repeated in (
        json.dumps(text),
        json.dumps(text).replace("/", "\\/"),
        " ".join(text.split()),
    ):
        assert "4711" not in hide(f"wrong: {repeated}")


def test_a_short_text_is_taken_out_whole_and_the_shortest_is_no_secret():
    assert hiding(["4711"])("wrong: 4711!") == f"wrong: {HIDDEN}!"
    assert hiding(["no"])("no phone") == "no phone"


def test_what_is_long_is_cut():
    assert len(hiding([])("x" * 1_000_000)) == MOST_SAID + 1


def test_what_is_left_can_be_stored():
    assert hiding([])("half \ud83d and \0 none") == "half ? and \ufffd none"
