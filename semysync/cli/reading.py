"""`devices`, and what the commands share that show what is in the mirror, without the service."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
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
from semysync.mirror.reading.health import Phone, phones

MOST = 2**62  # what SQLite takes for a limit


@click.command(epilog=examples("semysync devices", "semysync devices --json"))
@config_option
@database_option
@json_option
def devices(config: Path | None, database: Path | None, as_json: bool) -> None:
    """
    Show the phones of the account, as they were when last asked, those in use first.

    A time with a ~ is as the phone printed it, since its zone is not known. JSON has the devices as
    `semysync status --json` has them.
    """
    with reading(config, database) as conn:
        found = phones(conn, datetime.now(UTC))
    if as_json:
        print_json([phone._asdict() for phone in found])
        return
    if not found:
        click.echo("No devices.")
        return
    print_table(
        ["id", "name", "channel", "battery", "service", "sends", "last seen", "note"],
        [
            (
                phone.id,
                phone.name,
                phone.channel,
                "" if phone.battery is None else f"{phone.battery} %",
                on_or_off(phone.service_on),
                on_or_off(phone.use_for_sending),
                seen(phone),
                note_on(phone),
            )
            for phone in found
        ],
        right={3},
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


def seen(phone: Phone) -> str:
    """Say when a phone was in touch last, as far as that is known."""
    if phone.seen_s is not None:
        return f"{rough_age(phone.seen_s)} ago"
    return f"~{short_time(phone.last_active_at)[:16]}" if phone.last_active_at else "never"


def on_or_off(flag: bool | None) -> str:
    """Say a flag; nothing where it is unknown."""
    return {True: "on", False: "off"}.get(flag, "") if flag is not None else ""


def note_on(phone: Phone) -> str:
    """Say what is special about a device."""
    if phone.gone:
        return "gone from the account"
    if phone.archived:
        return "archived"
    wrong = {"offline": phone.offline, "battery low": phone.battery_low}
    return ", ".join(what for what, holds in wrong.items() if holds)
