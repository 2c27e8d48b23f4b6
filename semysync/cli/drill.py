"""`drill`: whether the replica can be restored, tried."""

import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import click

from semysync.cli.backup import progress
from semysync.cli.ending import ending_tidily
from semysync.cli.options import config_option, configured, database_option, examples, json_option
from semysync.cli.printing import complain, counted, one_line, print_json
from semysync.errors import ConfigError, SemysyncError


@click.command(
    short_help="Try to restore the replica, and compare it.",
    epilog=examples("semysync drill", "semysync drill --to /mnt/scratch --json"),
)
@config_option
@database_option
@json_option
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path),
    help="Where the scratch file goes; else beside the mirror.",
)
def drill(config: Path | None, database: Path | None, as_json: bool, folder: Path | None) -> None:
    """
    Restore the replica to a scratch file, prove it and compare it with the mirror.

    Litestream is first told to bring in all that there is (`socket` in [replica]). What is restored
    passes SQLite's integrity_check, has as many messages and drafts as the mirror, and the same
    newest ones; then it is removed. The view `health` and `doctor` show what came of it.

    Ends with 1 where the replica is not as it should be, with 75 where it cannot be reached.
    """
    from semysync.mirror.access import real
    from semysync.mirror.copies import drill as drills
    from semysync.mirror.copies.replica import litestream_of, place_of
    from semysync.mirror.file import explained, open_reader
    from semysync.times import utc_text

    settings, path = configured(config, database)
    replica = place_of(settings.replica)
    if replica is None:
        raise ConfigError("there is no replica to try: set `url` in [replica]")
    with explained(path, reading=True), closing(open_reader(path)):
        pass  # what is no mirror is told at once: it could not note what came of a drill
    where = folder or real(path).parent
    try:
        with ending_tidily(), progress() as watch:
            found = drills.drill(
                path,
                replica,
                litestream_of(settings.replica),
                where,
                clock=time.monotonic,
                watch=watch,
            )
    except SemysyncError as exc:
        noted(path, str(exc))
        raise
    said = "; ".join(found.faults[:3])
    noted(path, said or None)
    at = found.newest_at
    if as_json:
        facts = {"good": not found.faults, "faults": found.faults, "messages": found.messages}
        print_json(facts | {"newest_at": at and utc_text(at), "took_s": round(found.took_s, 2)})
    elif said:
        complain(f"the replica at {replica.shown} is not as it should be: {said}")
    else:
        click.echo(f"replica  {one_line(replica.shown)} is good")
        newest = f", the last change of {at:%Y-%m-%d %H:%M:%S} UTC" if at else ""
        click.echo(f"holds    {counted(found.messages, 'message')}{newest}")
        click.echo(f"took     {found.took_s:,.1f} s")
    sys.exit(1 if found.faults else 0)


def noted(path: Path, error: str | None) -> None:
    """Let `health` tell what came of the drill, if the mirror can be written to."""
    from semysync.mirror.copies.drill import note

    try:
        note(path, datetime.now(UTC), error)
    except SemysyncError as exc:
        complain(f"the mirror could not note what came of it: {exc}")
