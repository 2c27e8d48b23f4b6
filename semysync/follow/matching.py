"""
Decide whether an event is one for a hook. Nothing here does any I/O.

`on` names kinds of events, each as it is or as a shell pattern. `match` narrows them by what they
are about: every one of its patterns must fit. An event that is about no message fits no pattern
for a contact, a channel or a text.
"""

import unicodedata
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

from semysync.config.hooks import WILD, WORD
from semysync.contact import contact_of


class Facts(NamedTuple):
    """What of an event can be matched; a device goes by its id, its label and its name."""

    contact: str | None = None
    device: tuple[str, ...] = ()
    channel: str | None = None
    text: str | None = None


def is_for(on: Iterable[str], kind: str) -> bool:
    """Tell whether a kind of event is among those that a hook names."""
    return any(fnmatchcase(kind, pattern) for pattern in on)


def fits(match: Mapping[str, str | int], facts: Facts, region: str | None = None) -> bool:
    """Tell whether an event is about what a hook wants; without any pattern everything is."""
    return all(_fits(key, str(pattern), facts, region) for key, pattern in match.items())


def _fits(key: str, pattern: str, facts: Facts, region: str | None) -> bool:
    match key:
        case "contact":
            wanted = pattern if WILD.search(pattern) else contact_of(pattern, region) or pattern
            return facts.contact is not None and fnmatchcase(facts.contact, wanted)
        case "device":
            return any(fnmatchcase(name, pattern) for name in facts.device)
        case "channel":
            return facts.channel is not None and fnmatchcase(facts.channel, pattern)
        case _:
            return facts.text is not None and fits_text(pattern, facts.text)


def fits_text(pattern: str, text: str) -> bool:
    """
    Tell whether a text holds all words of a pattern, or is what a shell pattern describes.

    Capitals and small letters are the same; a shell pattern is about the whole text.
    """
    wanted, found = _plain(pattern), _plain(text)
    if WILD.search(wanted):
        return fnmatchcase(found, wanted)
    return set(WORD.findall(wanted)) <= set(WORD.findall(found))


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
