"""`hooks`: who follows the events, what they could not deliver; try one, or let one repeat."""

import sys
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from semysync.cli.options import (
    Id,
    config_option,
    configured,
    database_option,
    examples,
    json_option,
)
from semysync.cli.outbox import time_in
from semysync.cli.printing import complain, one_line, print_json, print_table
from semysync.config import Config, Hook
from semysync.mirror.file import explained, open_reader, open_writer, writing
from semysync.mirror.lock import Right, is_held
from semysync.mirror.tables import followers

SHOWN = 20  #: of the deliveries that fail or are dead


@click.group(
    short_help="Show what follows on events, and what could not be delivered.",
    invoke_without_command=True,
    epilog=examples(
        "semysync hooks", "semysync hooks test tell", "semysync hooks --json | jq .deliveries"
    ),
)
@config_option
@database_option
@json_option
@click.pass_context
def hooks(
    context: click.Context, config: Path | None, database: Path | None, as_json: bool
) -> None:
    """
    Show the hooks: how far each has come, and what it could not deliver.

    Ends with 1 where a delivery of one that is configured fails, or was given up after two days;
    what was skipped by `hooks skip` is shown, and no reason for that.
    """
    if context.invoked_subcommand:  # it has these options, too: they may stand before its name
        here = {"config": config, "database": database, "as_json": as_json}
        context.default_map = dict.fromkeys(("test", "replay", "skip"), here)
        return
    settings, path = configured(config, database)
    with explained(path, reading=True), closing(open_reader(path)) as conn:
        standing = {row["name"]: row for row in followers.overview(conn)}
        unfinished = followers.unfinished(conn)
    configured_ones = {hook.name for hook in settings.hook}
    rows = [described(hook, standing.pop(hook.name or "", {})) for hook in settings.hook]
    rows += [described(None, row) for row in standing.values()]
    if as_json:
        print_json({"hooks": rows, "deliveries": unfinished})
    else:
        show(rows, unfinished)
    if any(row["follower"] in configured_ones and not was_skipped(row) for row in unfinished):
        sys.exit(1)


def was_skipped(delivery: Mapping[str, Any]) -> bool:
    """Tell whether a person has given a delivery up: nobody needs to hear of it any more."""
    return bool(delivery["status"] == "dead" and delivery["error"].startswith(followers.BY_HAND))


def described(hook: Hook | None, standing: Mapping[str, Any]) -> dict[str, Any]:
    """Return what there is to say of a hook, of the configuration and of the mirror."""
    return {
        "name": hook.name if hook else standing["name"],
        "on": hook.on if hook else [],
        "does": hook.action if hook else None,
        "position": standing.get("position"),
        "behind": standing.get("behind"),
        "dead": standing.get("dead", 0),
    }


def show(rows: list[dict[str, Any]], unfinished: list[Mapping[str, Any]]) -> None:
    """Print the hooks, and below them what fails."""
    if not rows:
        click.echo("There are no hooks: the README shows how to make one, in its section Hooks.")
        return
    failing = {row["follower"]: row for row in unfinished if row["status"] == "failing"}
    print_table(
        ["hook", "at event", "to come", "dead", "state", "on", "does"],
        [
            (
                row["name"],
                row["position"],
                row["behind"],
                row["dead"] or "",
                state(row, failing.get(row["name"])),
                ", ".join(row["on"]),
                row["does"],
            )
            for row in rows
        ],
    )
    if not unfinished:
        return
    click.echo()
    print_table(
        ["event", "hook", "state", "tried", "last", "kind", "why"],
        [
            (
                row["seq"],
                row["follower"],
                row["status"],
                row["attempts"],
                time_in(row["last_at"]),
                row["kind"],
                row["error"],
            )
            for row in unfinished[-SHOWN:]
        ],
    )
    if len(unfinished) > SHOWN:
        click.echo(f"and {len(unfinished) - SHOWN} before them: see --json")


def state(row: Mapping[str, Any], failing: Mapping[str, Any] | None) -> str:
    """Say in a word or two how a hook is."""
    if row["does"] is None:
        return "not configured"
    if row["position"] is None:
        return "begins with the daemon"
    if failing:
        return f"again {time_in(failing['next_at'])[11:]}" if failing["next_at"] else "failing"
    return "ok"


@hooks.command(epilog=examples("semysync hooks test tell"))
@config_option
@json_option
@click.argument("name")
def test(config: Path | None, name: str, as_json: bool) -> None:
    """
    Let a hook do what it does, here and now, with a message that never was.

    Neither the daemon nor the mirror is needed. Ends with 1 where it fails.
    """
    from threading import Event

    from semysync import log
    from semysync.follow.actions import action_of
    from semysync.follow.sample import sample
    from semysync.times import utc_text

    settings, _ = configured(config, None)
    hook = named(settings, name)
    log.silence()
    outcome = action_of(hook, Event())(sample(hook.on, utc_text(datetime.now(UTC))), "")
    if as_json:
        facts = {"hook": name, "done": not outcome.why}
        print_json(facts | {"error": outcome.why or None, "output": outcome.output or None})
    elif outcome.output:
        for line in outcome.output.splitlines():
            click.echo(one_line(line))
    if outcome.why:
        complain(f"{name}: {outcome.why}")
        sys.exit(1)
    if not as_json:
        click.echo(f"{name}: done")


@hooks.command(epilog=examples("semysync hooks replay tell --from 1200"))
@config_option
@database_option
@click.option(
    "--from",
    "first",
    metavar="SEQ",
    type=Id(),
    required=True,
    help="The first event to repeat: `seq` in the table events.",
)
@json_option
@click.argument("name")
def replay(
    config: Path | None, database: Path | None, first: int, name: str, as_json: bool
) -> None:
    """
    Let a hook go through the events again, from one on.

    The daemon does it; what was dead among them is tried anew. Each event has the number that it
    had before, so that a receiver can tell repeats.
    """
    settings, path = configured(config, database)
    named(settings, name)
    with explained(path), closing(open_writer(path)) as conn, writing(conn):
        at = followers.position(conn, name)
        oldest = followers.oldest(conn)
        begins = max(first, oldest)
        moved = at is not None and followers.set_back(conn, name, begins)
    if at is None:
        raise click.UsageError(f"{name} has not begun yet: it does when the daemon starts")
    if not moved:
        raise click.UsageError(f"{name} is at event {at}, and comes to {first} by itself")
    if begins > first:
        complain(f"the events before {begins} are gone, since they are older than `events_days`")
    if as_json:
        print_json({"hook": name, "from": begins})
    elif begins > at:
        click.echo(f"{name} tries event {begins} again, without a wait")
    else:
        click.echo(f"{name} goes on with event {begins}, and repeats what is up to {at}")
    tell_if_nobody_runs(path)


@hooks.command(epilog=examples("semysync hooks skip tell", "semysync hooks skip tell --all"))
@config_option
@database_option
@click.option("--all", "everything", is_flag=True, help="Skip all events that are still to come.")
@json_option
@click.argument("name")
def skip(
    config: Path | None, database: Path | None, everything: bool, name: str, as_json: bool
) -> None:
    """
    Let a hook go on behind the event that it cannot deliver.

    That is kept as dead, with the reason, and can be repeated by `replay`.
    """
    settings, path = configured(config, database)
    named(settings, name)
    with explained(path), closing(open_writer(path)) as conn, writing(conn):
        at = followers.position(conn, name)
        to = followers.skip(conn, name, everything=everything)
    if at is None:
        raise click.UsageError(f"{name} has not begun yet: it does when the daemon starts")
    if to is None:
        why = "has seen every event" if everything else "stands at no event that fails"
        raise click.UsageError(f"{name} {why}: there is nothing to skip")
    if as_json:
        print_json({"hook": name, "position": to})
    else:
        click.echo(f"{name} goes on behind event {to}")
    tell_if_nobody_runs(path)


def tell_if_nobody_runs(path: Path) -> None:
    """Say that nothing happens before a daemon is started, where none runs."""
    if is_held(path, Right.SENDER) is False:
        complain("no daemon runs: it goes on when `semysync run` is started")


def named(settings: Config, name: str) -> Hook:
    """Return the hook of a name."""
    for hook in settings.hook:
        if hook.name == name:
            return hook
    known = ", ".join(hook.name or "" for hook in settings.hook) or "none"
    raise click.UsageError(f"there is no hook {name} in the configuration; known: {known}")
