"""How facts are printed: safe for a terminal, as tables, or as JSON."""

import json
import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Literal, NamedTuple

import click

AT_ONCE = 10_000  #: pieces of a JSON value that are printed together
NARROWEST = 12  #: columns that the last of a table has, if it is not narrower by itself

_UNSAFE = re.compile(r"[\x7f-\x9f\u2028-\u202e\u2066-\u2069]")  # would command a terminal


def complain(sentence: str) -> None:
    """Say on standard error what went wrong; the service may have had a say in the wording."""
    lines = [one_line(line) for line in sentence.splitlines()]
    click.echo("semysync: " + "\n".join(lines), err=True)


def print_json(value: object) -> None:
    """
    Print a value as JSON, readable, in any language, with nothing that commands a terminal.

    What is `OneByOne` in it is printed as it comes, and never held as a whole.
    """
    pieces = json.JSONEncoder(ensure_ascii=False, indent=2).iterencode(value)
    for some in iter(lambda: "".join(islice(pieces, AT_ONCE)), ""):
        click.echo(_UNSAFE.sub(_escaped, some), nl=False)
    click.echo()


class OneByOne(list[object]):
    """A list for `print_json` that is never there as a whole; it can be gone through once."""

    def __init__(self, values: Iterable[object]) -> None:
        super().__init__()
        rest = iter(values)
        self._first = list(islice(rest, 1))
        self._rest = rest

    def __bool__(self) -> bool:
        return bool(self._first)

    def __iter__(self) -> Iterator[object]:
        return chain(self._first, self._rest)


def print_json_line(value: object) -> None:
    """Print a value as JSON in one line."""
    click.echo(_UNSAFE.sub(_escaped, json.dumps(value, ensure_ascii=False)))


def _escaped(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def one_line(text: str) -> str:
    """
    Make a text safe to print in a line: a message must not be able to command the terminal.

    Line ends become a return sign; control characters, and those that force the direction of
    writing on what follows, become a replacement character.
    """
    shown = re.sub(r"\r\n?|\n|\u2028|\u2029", " ⏎ ", text).replace("\t", " ")
    return "".join("\ufffd" if _commands(c) else c for c in shown)


def _commands(character: str) -> bool:
    if character in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069":
        return True
    return unicodedata.category(character) in {"Cc", "Cs"}


def counted(count: int, what: str) -> str:
    """Say a number of things."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


class Piece(NamedTuple):
    """A part of a cell, with how it looks on a terminal."""

    text: str
    style: str = ""


Cell = str | int | Sequence[Piece] | None


def print_table(
    headings: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    *,
    right: Collection[int] = (),
    latest_last: bool = False,
) -> None:
    """
    Print facts in columns, the last of them folded where the terminal ends, `right` ones aligned
    so.

    Where there is no terminal, each row is one line, as long as it is. On one, what does not fit
    its height goes to the pager, which begins at the end where the latest comes last.
    """
    shown = [[_pieces(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        page(_for_terminal(headings, shown, right), at_end=latest_last)
    else:
        plain = [["".join(piece.text for piece in cell) for cell in row] for row in shown]
        _print_for_pipe([list(headings), *plain], right)


def _pieces(cell: Cell) -> list[Piece]:
    if cell is None:
        return []
    if isinstance(cell, str | int):
        return [Piece(one_line(str(cell)))]
    return [Piece(one_line(piece.text), piece.style) for piece in cell]


def _for_terminal(
    headings: Sequence[str], rows: list[list[list[Piece]]], right: Collection[int]
) -> str:
    from rich import box
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
        header_style="bold",
    )
    widths = [
        max(cell_len(heading), *(sum(cell_len(piece.text) for piece in row[place]) for row in rows))
        for place, heading in enumerate(headings)
    ]
    for place, heading in enumerate(headings[:-1]):
        justify: Literal["left", "right"] = "right" if place in right else "left"
        least = None if place else widths[0]  # an id that is cut off cannot be typed
        table.add_column(
            heading, no_wrap=True, overflow="ellipsis", justify=justify, min_width=least
        )
    table.add_column(headings[-1], overflow="fold", min_width=min(widths[-1], NARROWEST))
    for row in rows:
        table.add_row(*(Text.assemble(*cell) for cell in row))
    console = Console(highlight=False)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def page(text: str, *, at_end: bool = False) -> None:
    """Print a text; where it is longer than the terminal is high, through the pager."""
    if text.count("\n") < shutil.get_terminal_size().lines or not sys.stdin.isatty():
        click.echo(text, nl=False, color=True)
        return
    os.environ.setdefault("LESS", "-FRX +G" if at_end else "-FRX")
    click.echo_via_pager(text, color=True)


def _print_for_pipe(rows: list[list[str]], right: Collection[int]) -> None:
    from rich.cells import cell_len, set_cell_size

    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            " " * (width - cell_len(cell)) + cell if place in right else set_cell_size(cell, width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        click.echo("  ".join(cells).rstrip())
