"""
What a person types into a search box, made into a question that SQLite's full-text search takes.

`Query.read` takes any text: words, `"a phrase"`, `begin*` for the beginning of a word, and `-word`
for what must not be there. All that is not excluded must occur. Nothing here does any I/O.
"""

import re
import unicodedata
from collections.abc import Iterator
from itertools import islice, product
from typing import NamedTuple

_TERM = re.compile(r'(?P<no>-)?(?:"(?P<phrase>[^"]*)"?|(?P<word>[^\s"]+))')

MOST_SPELLINGS = 64  #: of one term


class Term(NamedTuple):
    """A word or a phrase; `begins` where it is the beginning of a word only."""

    text: str
    begins: bool = False

    @property
    def has_words(self) -> bool:
        """Tell whether the index knows of it: it holds letters and digits, not emoji and dashes."""
        return any(unicodedata.category(c)[0] in "LN" for c in self.text)

    def matched(self) -> str:
        """Return it as the index takes it: quoted, so that nothing in it is a command."""
        end = '"*' if self.begins else '"'
        quoted = [
            '"' + text.replace('"', '""') + end
            for text in islice(spellings(self.text), MOST_SPELLINGS)
        ]
        return quoted[0] if len(quoted) == 1 else f"({' OR '.join(quoted)})"


class Query(NamedTuple):
    """What is searched for: terms that must all occur, and terms that must not."""

    wanted: tuple[Term, ...]
    excluded: tuple[Term, ...] = ()

    @classmethod
    def read(cls, text: str) -> "Query":
        """Read what was typed. Raises `ValueError` where nothing is searched for."""
        wanted: list[Term] = []
        excluded: list[Term] = []
        plain = unicodedata.normalize("NFC", text.replace("\0", " "))
        for match in _TERM.finditer(plain):
            phrase, word = match["phrase"], match["word"]
            begins = word is not None and word.endswith("*") and word.strip("*") != ""
            term = Term((word.rstrip("*") if begins else word or phrase or "").strip(), begins)
            if term.text:
                (excluded if match["no"] and term.text != "-" else wanted).append(term)
        if not wanted:
            raise ValueError(
                "name what to look for, beside what is excluded"
                if excluded
                else "name what to look for"
            )
        return cls(tuple(wanted), tuple(excluded))

    @property
    def match(self) -> str | None:
        """The question to the index, None where it cannot help."""
        wanted = [term.matched() for term in self.wanted if term.has_words]
        excluded = [term.matched() for term in self.excluded if term.has_words]
        if not wanted:
            return None
        return " AND ".join(wanted) + "".join(f" NOT {term}" for term in excluded)

    def holds(self, text: str | None) -> bool:
        """Tell whether a text has what the index knows nothing of, emoji for example."""
        text = (text or "").casefold()
        by_words = self.match is not None
        return all(t.text.casefold() in text for t in self.wanted if not t.has_words) and not any(
            t.text.casefold() in text for t in self.excluded if not (t.has_words and by_words)
        )

    @property
    def is_indexed(self) -> bool:
        """Tell whether the index alone can answer."""
        return all(term.has_words for term in (*self.wanted, *self.excluded))


def spellings(text: str) -> Iterator[str]:
    """
    Yield a text as people may have written it, as it stands first: `ещё` is mostly written `еще`.

    The index folds capitals and accents of Latin letters, but knows nothing of ё and ß.
    """
    for words in product(*map(_spellings_of_word, text.split())):
        yield " ".join(words)


def _spellings_of_word(word: str) -> list[str]:
    """Return a word, without any ё and ß, and with one in each place where one may be."""
    plain = word.replace("ё", "е").replace("Ё", "Е").replace("ß", "ss")
    found = [word, plain]
    for usual, other in (("е", "ё"), ("Е", "Ё"), ("ss", "ß")):
        found += [
            plain[: match.start()] + other + plain[match.end() :]
            for match in re.finditer(usual, plain)
        ]
    return list(dict.fromkeys(found))
