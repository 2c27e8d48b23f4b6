"""`init`: ask for the token, see that it is good, and write the configuration. Sends nothing."""

import json
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from semysync.cli.options import examples, json_option
from semysync.cli.printing import complain, one_line, print_json, print_table
from semysync.config import Config, checked_token, load, usual_place
from semysync.contact import is_region
from semysync.errors import ConfigError, Refused, Throttled
from semysync.mirror.access import make_folder, sync_folder

if TYPE_CHECKING:
    from semysync.model import Account, Device

TRIES = 3  #: for who types the token

WHERE = "the service's control panel shows it under /myprofile/usertoken"

TEMPLATE = """\
# semysync's configuration, made by `semysync init`. Every key that may stand here is explained, with
# its default, in config.example.toml.

[api]
# The token is in a file of its own, which only you can read.
token_file = "{token_file}"
{base_url}
[contacts]
# The country whose national numbers (8 920 123-45-67) are made international, such as "RU".
{region}
"""


class Found(NamedTuple):
    """What the service shows of the account."""

    account: "Account"
    devices: list["Device"]


@click.command(
    epilog=examples(
        "semysync init",
        "semysync init --token-file /run/secrets/semysms --region RU",
        "pass show semysms | semysync init --token-file -",
        "semysync init --systemd               # how to install the daemon",
    )
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="The file to write; else $SEMYSYNC_CONFIG, or the usual place in your home.",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Where the token is, - for standard input; else it is asked for.",
)
@click.option("--region", help="The country of national numbers, such as RU; else it is asked for.")
@click.option("--base-url", help="Where the service is, if it is not the usual one.")
@click.option("--replace", is_flag=True, help="Put another configuration aside, and ask nothing.")
@click.option(
    "--systemd", is_flag=True, help="Print the commands that install the daemon; no more."
)
@click.option("--account", help="With --systemd: one of several accounts.")
@json_option
def init(
    config: Path | None,
    token_file: Path | None,
    region: str | None,
    base_url: str | None,
    replace: bool,
    systemd: bool,
    account: str | None,
    as_json: bool,
) -> None:
    """
    Set semysync up: ask for the token, check it, show the devices, write the configuration.

    Nothing is sent, and nothing is mirrored yet. The token is never taken from the command line,
    where others could see it. What is written can be read by you alone: the configuration, and the
    token in a file beside it. A configuration that is there already is never overwritten: where you
    agree to a new one, the former is kept under another name.

    Ends with 69 where the service refuses the token, and with 75 where it does not answer; then
    nothing was written.
    """
    if systemd:
        from semysync.cli.systemd_setup import commands

        click.echo(commands(account), nl=False)
        return
    if account:
        raise click.UsageError("--account goes with --systemd")
    asks = token_file is None and sys.stdin.isatty()
    path = config or usual_place()
    may_stand(path, replace=replace, asks=asks)
    if region and not is_region(region):
        raise click.BadParameter(
            f"{region!r}: expected two capital letters, such as RU", param_hint="--region"
        )
    with prepared(path, written(path, base_url, region)) as (settings, part):
        token, found = asked(settings) if asks else given(settings, token_file)
        if not as_json:
            show(found)
        if asks and region is None:
            write_secret(part, written(path, base_url, asked_region()))
        token_path = path.with_name(token_name(path))
        kept = put_aside(path, token_path)
        write_secret(token_path, token + "\n")
        part.replace(path)
        sync_folder(path.parent)
    if as_json:
        print_json(as_facts(found, path, token_path, kept))
    else:
        click.echo()
        for former in kept:
            click.echo(f"Kept:    {former}, which was there before")
        click.echo(f"Written: {path}, and the token in {token_path}; only you can read them.")
        again = f" --config {shlex.quote(str(path))}" if config else ""
        click.echo(
            f"\nNext:\n  semysync sync{again}\n      loads the history; break it off when you like, it goes on there"
            f"\n  semysync run{again}\n      the daemon: keeps it up to date, and sends"
            "\n  semysync init --systemd\n      shows how to install the daemon for good"
        )


def may_stand(path: Path, *, replace: bool, asks: bool) -> None:
    """See that no configuration is in the way, or that the user agrees to put it aside."""
    if not os.path.lexists(path) or replace:
        return
    if path.is_dir():
        raise ConfigError(f"{path} is a folder: name a file by --config")
    if not asks:
        raise ConfigError(
            f"there is a configuration at {path}: name another by --config, or say --replace to "
            "put it aside"
        )
    question = f"There is a configuration at {path}. Put it aside and write a new one?"
    click.confirm(question, abort=True, err=True)


def asked_region() -> str:
    """Ask for the country of national numbers."""
    click.echo(
        "\nIf there are national numbers, such as 8 920 123-45-67, in which country are they?\n"
        "Without one nothing is guessed, and you can set it later.",
        err=True,
    )
    question = "Country (RU, GB, ...; empty for none)"
    while True:
        typed: str = click.prompt(question, default="", show_default=False, err=True)
        region = typed.strip().upper()
        if not region or is_region(region):
            return region
        click.echo("Expected two letters, such as RU.", err=True)


def written(path: Path, base_url: str | None, region: str | None) -> str:
    """Return what the configuration is to say."""
    return TEMPLATE.format(
        token_file=token_name(path),
        base_url=f"base_url = {json.dumps(base_url)}\n" if base_url else "",
        region=f"region = {json.dumps(region)}" if region else '# region = ""',
    )


@contextmanager
def prepared(path: Path, text: str) -> Iterator[tuple[Config, Path]]:
    """
    Write the configuration beside its place, and see that it is good before anybody types a token.

    Nothing is left of it where it does not come to its place.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        try:
            make_folder(path.parent)
        except OSError as exc:
            raise ConfigError(
                f"cannot make the folder {path.parent}: {exc.strerror}; name another by --config"
            ) from None
        write_secret(part, text)
        try:
            settings = load(part)
        except ConfigError as exc:
            raise ConfigError(str(exc).replace(str(part), "what you gave")) from None
        yield settings, part
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def write_secret(path: Path, text: str) -> None:
    """Write a file that only we can read: all of it, or it is as it was."""
    part = path.with_name(f"{path.name}.new")
    try:
        part.unlink(missing_ok=True)
        number = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(number, "w", encoding="utf-8") as file:
            os.fchmod(number, 0o600)
            file.write(text)
            file.flush()
            os.fsync(number)
        part.replace(path)
    except OSError as exc:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise ConfigError(f"cannot write {path}: {exc.strerror}; name a file by --config") from None


def token_name(path: Path) -> str:
    """Return what the file of the token is called: one folder may hold several accounts."""
    return "token" if path.name == "config.toml" else f"{path.stem}.token"


def put_aside(*files: Path) -> list[Path]:
    """Give what stands in the way another name; return what is kept."""
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    there = [file for file in files if os.path.lexists(file)]
    return [file.rename(file.with_name(f"{file.name}.before-{stamp}")) for file in there]


def asked(settings: Config) -> tuple[str, Found]:
    """Ask for the token until the service takes one."""
    click.echo(f"The token: {WHERE}.", err=True)
    for attempt in range(1, TRIES + 1):
        typed: str = click.prompt("Token (it is not shown)", hide_input=True, err=True)
        try:
            token = checked_token("".join(typed.split()), "what you typed")
            return token, look(settings, token)
        except Throttled:
            raise
        except Refused as exc:
            if attempt == TRIES:
                raise
            complain(f"{exc}; try again")
        except ConfigError as exc:
            complain(str(exc))
    raise ConfigError(f"no token was given: {WHERE}")


def given(settings: Config, token_file: Path | None) -> tuple[str, Found]:
    """Read the token from a file or from standard input, and check it."""
    file = None if str(token_file) == "-" else token_file
    name = str(file or "standard input")
    try:
        raw = file.read_bytes() if file else sys.stdin.buffer.read()
        token = checked_token(raw.decode(), name)
    except (OSError, UnicodeDecodeError) as exc:
        why = getattr(exc, "strerror", None) or "it is no text"
        raise ConfigError(f"cannot read the token from {name}: {why}") from None
    return token, look(settings, token)


def look(settings: Config, token: str) -> Found:
    """Ask the service what the account is and which devices it has."""
    from semysync import log
    from semysync.model import Device
    from semysync.service.connecting import client_for

    log.silence()
    with client_for(settings, token) as client:
        account = client.user()
        rows = client.devices(archived=False)
    return Found(account, [row for row in rows if isinstance(row, Device)])


def show(found: Found) -> None:
    """Show the plan and the devices of the account."""
    left = found.account.messages_left
    plan = [] if left is None else [f"{left:,} messages left"]
    if found.account.plan_ends_at:
        plan.append(f"until {found.account.plan_ends_at:%Y-%m-%d}")
    click.echo(f"The service takes the token{': ' if plan else ''}{', '.join(plan)}.\n")
    if not found.devices:
        click.echo("The account has no device yet: install the app on a phone and log in there.")
        return
    print_table(
        ["id", "name", "channel", "battery", "sends", "last active"],
        [
            (
                device.id,
                one_line(device.label or device.name or ""),
                device.channel,
                "" if device.battery is None else f"{device.battery} %",
                {0: "no", 1: "yes", None: ""}.get(device.use_for_sending),
                f"{device.last_active_at:%Y-%m-%d %H:%M}" if device.last_active_at else "",
            )
            for device in found.devices
        ],
    )


def as_facts(found: Found, path: Path, token_path: Path, kept: list[Path]) -> dict[str, object]:
    """Return what was found and written, for a program."""
    return {
        "config": str(path),
        "token_file": str(token_path),
        "kept": list(map(str, kept)),
        "messages_left": found.account.messages_left,
        "devices": [
            {"id": d.id, "name": d.label or d.name, "channel": d.channel} for d in found.devices
        ],
    }
