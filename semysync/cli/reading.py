"""`devices`, and what the commands share that show what is in the mirror, without the service."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from sqlite3 import Connection

import click

from semysync.cli.common import (
    config_option,
    database_option,
    examples,
    json_option,
    print_json,
    print_table,
    reader_path,
)
from semysync.mirror.file import explained, open_reader

MOST = 2**62  # what SQLite takes for a limit

DEVICES = """
select id, name, label, channel, battery, service_on, use_for_sending, archived, last_active_at,
       missing_since
  from devices
 order by archived, last_active_at desc, id
"""


@click.command(epilog=examples("semysync devices", "semysync devices --json"))
@config_option
@database_option
@json_option
def devices(config: Path | None, database: Path | None, as_json: bool) -> None:
    """Show the phones of the account, as they were when last asked."""
    with reading(config, database) as conn:
        rows = conn.execute(DEVICES).fetchall()
    if as_json:
        print_json([dict(row) for row in rows])
        return
    if not rows:
        click.echo("No devices.")
        return
    print_table(
        ["id", "name", "channel", "battery", "service", "sends", "last active", "note"],
        [
            (
                row["id"],
                row["label"] or row["name"],
                row["channel"],
                "" if row["battery"] is None else f"{row['battery']} %",
                on_or_off(row["service_on"]),
                on_or_off(row["use_for_sending"]),
                short_time(row["last_active_at"]),
                note_on(row["archived"], row["missing_since"]),
            )
            for row in rows
        ],
    )


@contextmanager
def reading(config: Path | None, database: Path | None) -> Iterator[Connection]:
    """Open the mirror for the time of a query, and put into words what goes wrong with it."""
    path = reader_path(config, database)
    with explained(path), closing(open_reader(path)) as conn:
        yield conn


def rough_age(seconds: int) -> str:
    """Say an age in the unit that fits."""
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length:
            count = seconds // length
            return f"{count:,} {unit}{'s' if count > 1 else ''}"
    return f"{seconds} s"


def short_time(text: str | None) -> str:
    """Show a time in the mirror to the second, without the letters."""
    return text[:19].replace("T", " ") if text else ""


def on_or_off(flag: int | None) -> str:
    """Say a flag; nothing where it is unknown."""
    return {0: "off", 1: "on"}.get(flag, "") if flag is not None else ""


def note_on(archived: int, missing_since: str | None) -> str:
    """Say what is special about a device."""
    if missing_since:
        return f"gone since {short_time(missing_since)}"
    return "archived" if archived else ""
