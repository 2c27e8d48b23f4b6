"""
Take out of the service's words what it was given: the token, and the texts of messages.

A service in trouble may repeat what it was asked, whole or cut off, as it came or encoded anew. Its
words stand in errors, and errors in logs.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cache
from html import escape
from itertools import groupby
from string import ascii_lowercase, ascii_uppercase
from urllib.parse import quote, quote_plus

RUN = 8  #: so many letters in a row that are the same are no chance
SHORTEST = 4  #: what is shorter can't be told from other words
MOST_HEARD = 2_000  #: letters of an answer that are looked at
MOST_SAID = 500  #: letters of it that are shown
HIDDEN = "***"

Hide = Callable[[str], str]

_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)  # str.lower changes lengths


def hiding(secrets: Iterable[str]) -> Hide:
    """
    Return a function that takes secrets, and parts of them, out of what was said.

    What it leaves is short, and can be stored: half a surrogate pair and NUL are taken out too.
    That function does the work, the first time that it is needed: most answers are no errors.
    """
    known = tuple(secrets)

    @cache
    def pieces_by_length() -> dict[int, set[str]]:
        forms = {form.translate(_LOWER) for secret in known for form in forms_of(secret)}
        pieces: defaultdict[int, set[str]] = defaultdict(set)
        for form in forms:
            if SHORTEST <= len(form) < RUN:
                pieces[len(form)].add(form)
            starts = range(len(form) - RUN + 1)
            pieces[RUN].update(form[place : place + RUN] for place in starts)
        return pieces

    def hide(said: str) -> str:
        heard = said[:MOST_HEARD].encode("utf-8", "replace").decode().replace("\0", "\ufffd")
        lower, secret = heard.translate(_LOWER), bytearray(len(heard))
        for length, pieces in pieces_by_length().items():
            for place in range(len(lower) - length + 1):
                if lower[place : place + length] in pieces:
                    secret[place : place + length] = b"\1" * length
        parts = groupby(zip(heard, secret, strict=True), key=lambda letter: letter[1])
        shown = "".join(
            HIDDEN if is_secret else "".join(letter for letter, _ in letters)
            for is_secret, letters in parts
        )
        return shown if len(shown) <= MOST_SAID else f"{shown[:MOST_SAID]}…"

    return hide


def forms_of(secret: str) -> set[str]:
    """Return a secret as forms, JSON, HTML and Python may print it."""
    whole = secret.encode("utf-8", "replace")
    forms = {
        secret,
        " ".join(secret.split()),
        quote(whole, safe="/"),
        quote(whole, safe=""),
        quote_plus(whole),
        escape(secret),
        repr(whole)[2:-1],
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
    }
    return {form for known in forms for form in (known, known.replace("/", "\\/")) if form}
