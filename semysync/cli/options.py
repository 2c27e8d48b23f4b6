"""What commands are told: the options that several have, and what they name; a yes or no."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from semysync.config import Config, load
from semysync.model import HIGHEST_ID

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
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class Id(click.ParamType[int]):
    """The id of a draft, a device or an event: what SQLite can have as one."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            number = int(value)
        except ValueError:
            number = 0
        if not 1 <= number <= HIGHEST_ID:
            self.fail(f"{value!r} is no id: expected a whole number from 1 on", param, ctx)
        return number


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
    return settings, named_mirror(database) or settings.mirror()


def reader_path(config: Path | None, database: Path | None) -> Path:
    """Return the mirror for a command that only reads: named, it needs no valid configuration."""
    return named_mirror(database) or load(config).mirror()


def named_mirror(database: Path | None) -> Path | None:
    """Return the mirror that is named otherwise than by a configuration; None where none is."""
    named = os.environ.get("SEMYSYNC_DATABASE")
    return database or (Path(named) if named else None)


def agreed(question: str, *, yes: bool) -> bool:
    """Ask, unless --yes is given; where nobody can be asked that is needed."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise click.UsageError(
            f"{question.partition('?')[0]}: nobody can be asked here, so say --yes"
        )
    return click.confirm(question, err=True)
