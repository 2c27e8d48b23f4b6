"""`takeover`: a second machine becomes the one that sends."""

from datetime import UTC, datetime
from pathlib import Path

import click

from semysync.cli.backup import progress
from semysync.cli.ending import ending_tidily
from semysync.cli.options import config_option, configured, database_option, examples, json_option
from semysync.cli.printing import counted, one_line, print_json
from semysync.errors import ConfigError
from semysync.times import utc_text


@click.command(
    short_help="Let this machine send in place of another.",
    epilog=examples(
        "semysync takeover --from sftp://backup@store.example/replicas/one",
        "semysync takeover                     # with the mirror that is here",
    ),
)
@config_option
@database_option
@json_option
@click.option("--from", "url", help="The replica of the other machine, as `url` in its [replica].")
def takeover(config: Path | None, database: Path | None, as_json: bool, url: str | None) -> None:
    """
    Let this machine send in place of another one, which is dead or stopped for good.

    With `--from` the mirror is made from the replica that Litestream keeps of the other machine's,
    and a mark is left there: by it the other machine, should it come back, sees that it must not
    send any more. `options` and `program` in [replica] hold for it as well. Without `--from` this
    machine goes on with the mirror that it has, also where it had stopped since another one sends.

    Start the daemon then. It looks into the account for every open draft before it sends anything.
    """
    import msgspec

    from semysync.mirror.copies.replica import place_of
    from semysync.mirror.copies.takeover import send_again, take_over

    settings, path = configured(config, database)
    if url is None:
        taken = send_again(path, place_of(settings.replica))
    else:
        replica = place_of(msgspec.structs.replace(settings.replica, url=url))
        ours = place_of(settings.replica)
        if replica is None:
            raise click.UsageError("--from needs the place of a replica")
        if ours and ours.shown.rstrip("/") == replica.shown.rstrip("/"):
            raise ConfigError(
                "--from is the replica of the other machine, and `url` in [replica] of this one: they "
                "must be two places, else each would overwrite what the other replicates"
            )
        with ending_tidily(), progress() as watch:
            taken = take_over(path, replica, lambda: datetime.now(UTC), watch)
    behind_s = None
    if taken.last_change_at:
        behind_s = max(0, round((datetime.now(UTC) - taken.last_change_at).total_seconds()))
    if as_json:
        print_json({"mirror": str(path), "replica_behind_s": behind_s} | _facts(taken._asdict()))
        return
    click.echo(f"mirror   {one_line(str(path))}, takeover {taken.number}")
    messages, drafts = counted(taken.messages, "message"), counted(taken.open_drafts, "open draft")
    click.echo(f"holds    {messages}, {drafts}")
    if taken.last_change_at:
        click.echo(
            f"replica  its last change is of {taken.last_change_at:%Y-%m-%d %H:%M:%S} UTC, {behind_s:,} s "
            "ago: drafts that were\n         written on the other machine after that are not here"
        )
    if taken.other:
        click.echo(
            f"other    {one_line(taken.other)} has taken over from here before, and cannot see that it "
            "must not send\n         any more: stop it for good first"
        )
    click.echo("next     start the daemon: it looks for the open drafts in the account first")


def _facts(taken: dict[str, object]) -> dict[str, object]:
    return {k: utc_text(v) if isinstance(v, datetime) else v for k, v in taken.items()}
