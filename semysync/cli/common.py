"""What the commands share: the options that name the mirror, and how facts are printed."""

import json
import os
import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from semysync.config import Config, load

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="The configuration file; else $SEMYSYNC_CONFIG, or the usual places.",
)
database_option = click.option(
    "--database",
    type=click.Path(path_type=Path),
    help="The mirror; else $SEMYSYNC_DATABASE, or as the configuration says.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def examples(*lines: str) -> str:
    """Return the end of a help text: what a person may type, as it stands."""
    return "\n".join(
        ["\b", "Examples:" if len(lines) > 1 else "Example:", *map("  {}".format, lines)]
    )


def configured(config: Path | None, database: Path | None) -> tuple[Config, Path]:
    """
    Return the configuration and the path of the mirror.

    A mirror that is named needs no configuration: the default one will do where there is none.
    """
    settings = load(config)
    return settings, _named(database) or settings.mirror()


def reader_path(config: Path | None, database: Path | None) -> Path:
    """Return the mirror for a command that only reads: named, it needs no valid configuration."""
    return _named(database) or load(config).mirror()


def _named(database: Path | None) -> Path | None:
    named = os.environ.get("SEMYSYNC_DATABASE")
    return database or (Path(named) if named else None)


def complain(sentence: str) -> None:
    """Say on standard error what went wrong; the service may have had a say in the wording."""
    lines = [one_line(line) for line in sentence.splitlines()]
    click.echo("semysync: " + "\n".join(lines), err=True)


def print_json(value: object) -> None:
    """Print a value as JSON, readable, in any language, with nothing that commands a terminal."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    click.echo(re.sub(r"[\x7f-\x9f\u202a-\u202e\u2066-\u2069]", _escaped, text))


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


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """
    Print facts in columns, the last of them folded where the terminal ends.

    Where there is no terminal, each row is one line, as long as it is.
    """
    shown = [["" if cell is None else one_line(str(cell)) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _print_for_terminal(headings, shown)
    else:
        _print_for_pipe([list(headings), *shown])


def _print_for_terminal(headings: Sequence[str], rows: list[list[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for heading in headings[:-1]:
        table.add_column(heading, no_wrap=True, overflow="ellipsis")
    table.add_column(headings[-1], overflow="fold", min_width=20)
    for row in rows:
        table.add_row(*map(Text, row))
    Console(highlight=False).print(table)


def _print_for_pipe(rows: list[list[str]]) -> None:
    from rich.cells import cell_len, set_cell_size

    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (set_cell_size(cell, width) for cell, width in zip(row, widths, strict=True))
        click.echo("   ".join(cells).rstrip())
