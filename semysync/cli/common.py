"""What the commands share: the options that name the mirror, and how facts are printed."""

import json
import os
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from semysync.config import Config, load

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The configuration file; else $SEMYSYNC_CONFIG, or the usual places.",
)
database_option = click.option(
    "--database",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The mirror; else $SEMYSYNC_DATABASE, or as the configuration says.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def configured(config: Path | None, database: Path | None) -> tuple[Config, Path]:
    """
    Return the configuration and the path of the mirror.

    A mirror that is named needs no configuration: the default one will do where there is none.
    """
    settings = load(config)
    return settings, mirror_path(settings, database)


def mirror_path(settings: Config, database: Path | None) -> Path:
    """Return the mirror that is meant: by option, by environment, by configuration."""
    if database:
        return database
    if named := os.environ.get("SEMYSYNC_DATABASE"):
        return Path(named)
    return settings.mirror()


def reader_path(config: Path | None, database: Path | None) -> Path:
    """Return the mirror for a command that only reads: named, it needs no valid configuration."""
    named = database or (config is None and os.environ.get("SEMYSYNC_DATABASE"))
    return Path(named) if named else load(config).mirror()


def print_json(value: object) -> None:
    """Print a value as JSON, readable, in any language."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def one_line(text: str | None) -> str:
    """
    Make a text safe to print in a line: a message must not be able to command the terminal.

    Line ends become a return sign; control characters, and those that force the direction of
    writing on what follows, become a replacement character.
    """
    shown = (text or "").replace("\r\n", "\n").replace("\n", " ⏎ ")
    return "".join("\ufffd" if _commands(c) else c for c in shown)


def _commands(character: str) -> bool:
    if character in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069":
        return True
    return unicodedata.category(character) in {"Cc", "Cs"}


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print facts in columns: as wide as the terminal, or as wide as they are where there is none."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    width = None if sys.stdout.isatty() else 10_000
    console = Console(width=width, highlight=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for heading in headings:
        last = heading == headings[-1]
        table.add_column(heading, no_wrap=not last, overflow="fold" if last else "ellipsis")
    for row in rows:
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    console.print(table)
