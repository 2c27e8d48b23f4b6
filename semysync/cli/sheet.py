"""
A CSV file of drafts, read line by line: what a line says, or why it cannot be read.

The first line names the columns, as in `outbox`. What is wrong with all of the file is `BadSheet`;
a line that makes no sense is reported, and the others are read on.
"""

import csv
import io
import re
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import BinaryIO, NamedTuple

from semysync.mirror.outbox.drafts import COLUMNS

DELIMITERS = ",;\t"
LONGEST_CELL = 20_000  #: characters: no text has more, and a quote may be left open


class BadSheet(Exception):
    """Nothing of the file can be used; the message says why."""


class Line(NamedTuple):
    """A line of the file: its number, and what it says or the sentence on what is wrong with it."""

    number: int
    fields: dict[str, str] | None
    error: str | None = None


def lines(raw: BinaryIO) -> Iterator[Line]:
    """
    Read a file of drafts as it comes; text is UTF-8, with or without a byte order mark.

    Bytes that are no UTF-8 stay in the text as surrogates. Raises `BadSheet` at the first line.
    """
    text = io.TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape", newline="")
    passed, heading = _heading(text)
    delimiter = _delimiter(heading)
    if match := re.match(r"sep=(.)\s*$", heading):  # Excel's
        delimiter = match[1]
        skipped, heading = _heading(text)
        passed += skipped
    names = _names(heading, delimiter)
    return _read(chain([heading], text), passed - 1, delimiter, names)


def _heading(text: Iterable[str]) -> tuple[int, str]:
    """Return the first line that is not blank, and its number."""
    for number, line in enumerate(text, 1):
        if line.startswith(("\udcff\udcfe", "\udcfe\udcff")) or "\0" in line:
            raise BadSheet("it is UTF-16, not UTF-8: save it as `CSV UTF-8`")
        if line.strip():
            return number, line
    raise BadSheet("it is empty: its first line names the columns, such as phone,text")


def _delimiter(heading: str) -> str:
    """Return what separates the columns: that which makes most known names of the first line."""

    def likeliness(delimiter: str) -> tuple[int, int]:
        cells = _cells(heading, delimiter)
        return sum(name in COLUMNS for name in cells), len(cells)

    return max(DELIMITERS, key=likeliness)


def _names(heading: str, delimiter: str) -> list[str]:
    names = _cells(heading, delimiter)
    while names and not names[-1]:
        names.pop()
    unknown = [name for name in names if name not in COLUMNS]
    if unknown:
        raise BadSheet(
            f"its first line names the columns, and {_shown(unknown)} "
            f"{'is none' if len(unknown) == 1 else 'are none'}: there are {', '.join(COLUMNS)}"
        )
    if twice := {name for name in names if names.count(name) > 1}:
        raise BadSheet(f"the column {_shown(sorted(twice))} is there twice")
    if "phone" not in names:
        raise BadSheet("its first line names no column phone")
    return names


def _cells(heading: str, delimiter: str) -> list[str]:
    try:
        row = next(csv.reader([heading], delimiter=delimiter))
    except (csv.Error, ValueError):  # a cell without an end; `sep=` of what can be no delimiter
        raise BadSheet("its first line names no columns, such as phone,text") from None
    return [name.strip().lower() for name in row]


def _shown(names: list[str]) -> str:
    return ", ".join(repr(name[:40]) for name in names[:3]) + (" …" if len(names) > 3 else "")


def _read(source: Iterable[str], passed: int, delimiter: str, names: list[str]) -> Iterator[Line]:
    """
    Read the lines below the first; `passed` lines stood above that.

    Behind a quote that is never closed the reader would take all that follows for one text: then
    only the line with the quote is given up, and those after it are read again.
    """
    csv.field_size_limit(LONGEST_CELL)
    ahead = _Ahead(source)
    reader = csv.reader(ahead, delimiter=delimiter, strict=True)
    try:
        next(reader)
    except csv.Error as exc:
        raise BadSheet(f"its first line makes no sense: {_why(str(exc))}") from None
    while True:
        first = passed + ahead.given() + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as exc:
            ahead.take_back_to(first - passed)
            reader = csv.reader(ahead, delimiter=delimiter, strict=True)
            yield Line(first, None, _why(str(exc)))
            continue
        if not any(cell.strip() for cell in row):
            continue
        if any(cell.strip() for cell in row[len(names) :]):
            sentence = (
                f"it has {len(row)} cells for {len(names)} columns: put a text that holds "
                f"{delimiter!r} between quotes"
            )
            yield Line(first, None, sentence)
            continue
        cells = dict(zip(names, row, strict=False))
        yield Line(first, {k: v if k == "text" else v.strip() for k, v in cells.items()})


class _Ahead:
    """Lines that can be taken back, as far as the last count that was asked for."""

    def __init__(self, source: Iterable[str]) -> None:
        self._source = iter(source)
        self._back: deque[str] = deque()
        self._since: list[str] = []
        self._given = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._back.popleft() if self._back else next(self._source)
        self._given += 1
        self._since.append(line)
        return line

    def given(self) -> int:
        """Count the lines given so far, and forget what they were."""
        self._since.clear()
        return self._given

    def take_back_to(self, count: int) -> None:
        """Take back all lines but so many."""
        kept = len(self._since) - (self._given - count)
        self._back.extendleft(reversed(self._since[kept:]))
        self._given = count


def _why(error: str) -> str:
    """Say what the reader of CSV stumbled over."""
    if "end of data" in error or "field larger" in error:
        return "a quote is opened in it that is never closed"
    return f"its quotes make no sense ({error}); within quotes a quote is doubled"
