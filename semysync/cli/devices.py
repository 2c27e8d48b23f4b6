"""`devices`: the phones of the account, as they were when last asked."""

from datetime import UTC, datetime
from pathlib import Path

import click

from semysync.cli.options import config_option, database_option, examples, json_option
from semysync.cli.printing import print_json, print_table
from semysync.cli.reading import reading, seen
from semysync.mirror.reading.health import Phone, phones


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


def note_on(phone: Phone) -> str:
    """Say what is special about a device."""
    if phone.gone:
        return "gone from the account"
    if phone.archived:
        return "archived"
    wrong = {"offline": phone.offline, "battery low": phone.battery_low}
    return ", ".join(what for what, holds in wrong.items() if holds)


def on_or_off(flag: bool | None) -> str:
    """Say a flag; nothing where it is unknown."""
    return {True: "on", False: "off", None: ""}[flag]
