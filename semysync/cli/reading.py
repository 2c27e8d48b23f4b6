"""`devices` and `status`: what is in the mirror, without asking the service."""

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from sqlite3 import Connection
from typing import Any

import click

from semysync.cli.common import (
    config_option,
    database_option,
    examples,
    json_option,
    one_line,
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

HEALTH = """
select verdict, inbox_lag_s, sent_lag_s, (select count(*) from inbox) as inbox_messages,
       (select count(*) from sent) as sent_messages, queued, oldest_waiting_s,
       (select value from settings where key = 'sending_blocked' and value <> '') as blocked,
       (select count(*) from outbox where status = 'unknown') as unknown,
       (select messages_left from account order by id desc limit 1) as messages_left,
       (select plan_ends_at from account order by id desc limit 1) as plan_ends_at,
       (select value from settings where key = 'plan_is_low') as plan_is_low
  from health
"""

ERRORS = """
select error
  from passes
 where error is not null and id in (select max(id) from passes group by kind)
 order by id
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


@click.command(
    epilog=examples("semysync status", "semysync status --json || echo 'look after semysync'")
)
@config_option
@database_option
@json_option
def status(config: Path | None, database: Path | None, as_json: bool) -> None:
    """
    Show how the mirror is: how much it holds and how old it is.

    The verdict is `ok`; `late` where a box was not read to its end for five minutes, or five of the
    daemon's intervals; or `failing` after a pass that failed. It is that of the view `health`. Ends
    with 1 where it is not `ok`, for scripts that watch it.
    """
    with reading(config, database) as conn:
        health = conn.execute(HEALTH).fetchone()
        phones = conn.execute("select count(*) from devices where not archived").fetchone()[0]
        errors = [row["error"] for row in conn.execute(ERRORS)]
        path = conn.execute("select file from pragma_database_list").fetchone()[0]
    verdict = health["verdict"]
    boxes = [
        {"box": box, "messages": health[f"{box}_messages"], "lag_s": health[f"{box}_lag_s"]}
        for box in ("inbox", "sent")
    ]
    outbox = {key: health[key] for key in ("queued", "oldest_waiting_s", "unknown", "blocked")}
    account = {key: health[key] for key in ("messages_left", "plan_ends_at", "plan_is_low")}
    if as_json:
        facts = {"verdict": verdict, "mirror": path, "boxes": boxes, "devices": phones}
        print_json(facts | {"outbox": outbox, "account": account, "errors": errors})
    else:
        click.echo(f"verdict  {verdict}")
        for box in boxes:
            click.echo(f"{box['box']:<8} {box['messages']:,} messages, {age_of(box)}")
        click.echo(f"outbox   {queue_of(outbox)}")
        click.echo(f"devices  {phones:,}")
        if left := plan_of(account):
            click.echo(f"account  {one_line(left)}")
        if outbox["blocked"]:
            click.echo(f"sending  stopped: {one_line(outbox['blocked'])}")
        for error in errors:
            click.echo(f"error    {one_line(error)}")
        click.echo(f"mirror   {one_line(path)}")
    sys.exit(0 if verdict == "ok" else 1)


@contextmanager
def reading(config: Path | None, database: Path | None) -> Iterator[Connection]:
    """Open the mirror for the time of a query, and put into words what goes wrong with it."""
    path = reader_path(config, database)
    with explained(path), closing(open_reader(path)) as conn:
        yield conn


def age_of(box: dict[str, Any]) -> str:
    """Say how old a box is, for a person."""
    if box["lag_s"] is None:
        return "the first load is not complete"
    return f"complete as of {rough_age(box['lag_s'])} ago"


def queue_of(outbox: dict[str, Any]) -> str:
    """Say what waits to be sent, for a person."""
    facts = [f"{outbox['queued']:,} due"] if outbox["queued"] else ["nothing due"]
    if outbox["queued"] and outbox["oldest_waiting_s"] is not None:
        facts.append(f"the oldest for {rough_age(outbox['oldest_waiting_s'])}")
    if outbox["unknown"]:
        facts.append(f"{outbox['unknown']:,} whose answer was lost")
    return ", ".join(facts)


def plan_of(account: dict[str, Any]) -> str:
    """Say what is left of the account's plan, as far as the service shows it."""
    if account["plan_is_low"]:
        return str(account["plan_is_low"])
    facts = []
    if account["messages_left"] is not None:
        facts.append(f"{account['messages_left']:,} messages left")
    if account["plan_ends_at"]:
        facts.append(f"until {short_time(account['plan_ends_at'])}")
    return ", ".join(facts)


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
