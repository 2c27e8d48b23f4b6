"""`doctor`: what is not as it should be, and what to do about it."""

import os
import sys
from pathlib import Path

import click

from semysync.cli.options import (
    config_option,
    database_option,
    examples,
    json_option,
    named_mirror,
)
from semysync.cli.printing import one_line, print_json
from semysync.cli.status import paint
from semysync.config import Config, find, load
from semysync.errors import ConfigError

PATIENCE_S = 15  #: for the answer of the service

COLOURS = {"ok": "green", "note": "yellow", "wrong": "red"}


@click.command(
    short_help="Check everything, and say how to mend what is wrong.",
    epilog=examples("semysync doctor", "semysync doctor --json | jq '.checks[]'"),
)
@config_option
@database_option
@json_option
def doctor(config: Path | None, database: Path | None, as_json: bool) -> None:
    """
    Check everything that semysync needs, and say what to do where something is wrong.

    The configuration, the token, the secrets of webhooks, the service, the clock and its zone, the
    disk, the SQLite library, the mirror and who may open it, how old it is, the daemon and its
    unit, the copies and the replica. It changes nothing, and works whether the daemon runs or not,
    and without a token or a network.

    Ends with 1 where something is wrong, with 69 where the service refuses the token.
    """
    import msgspec

    from semysync import log
    from semysync.doctor.checks import State
    from semysync.doctor.gather import examined
    from semysync.service.connecting import client_for

    log.silence()
    mistakes = ""
    try:
        settings = load(config)
    except ConfigError as exc:  # the rest is examined as far as it can be without it
        source = find(config)
        mistakes, settings = str(exc), Config(source=source and source.absolute())
    api = msgspec.structs.replace(settings.api, timeout_s=min(settings.api.timeout_s, PATIENCE_S))
    settings = msgspec.structs.replace(settings, api=api)
    mirror = named_mirror(database) or settings.mirror()
    found, refused = [], False
    for check, is_no in examined(settings, mistakes, mirror, client_for):
        found.append(check)
        refused |= is_no
        if not as_json:
            show(check.check, check.state, check.says, check.fix)
    wrong = sum(check.state is State.WRONG for check in found)
    if as_json:
        print_json({"wrong": wrong, "checks": [check._asdict() for check in found]})
    elif wrong:
        click.echo(f"\n{wrong} {'thing is' if wrong == 1 else 'things are'} wrong.")
    else:
        click.echo("\nNothing is wrong.")
    sys.exit(os.EX_UNAVAILABLE if refused else int(wrong > 0))


def show(name: str, state: str, says: str, fix: str) -> None:
    """Print what was found, and below it what to do."""
    first, *more = says.splitlines() or [""]
    click.echo(f"{paint(f'{state:<6}', COLOURS[state])} {name:<12} {one_line(first)}")
    for line in more:
        click.echo(f"{'':<20}{one_line(line)}")
    if fix:
        click.echo(f"{'':<20}→ {one_line(fix)}")
