"""`messages`, `conversations` and `search`: what was written, without asking the service."""

import os
import select
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from sqlite3 import Connection, Row
from typing import Any

import click

from semysync.cli import completing
from semysync.cli.moments import local_zone, past
from semysync.cli.options import (
    Id,
    config_option,
    database_option,
    examples,
    json_option,
    reader_path,
)
from semysync.cli.printing import Piece, one_line, print_json, print_json_line, print_table
from semysync.cli.reading import MOST, reading
from semysync.contact import contact_of
from semysync.errors import MirrorUnusable
from semysync.mirror.access import identity
from semysync.mirror.reading import history
from semysync.mirror.reading.history import Narrowed
from semysync.mirror.reading.search import Query
from semysync.mirror.tables import settings
from semysync.times import from_utc_text, utc_text

LOOK_S = 0.25  #: how often a follower looks whether anything was written
REPLACED_S = 30  #: how long a mirror may take to be put in its place

STATUSES = (
    *("received", "queued", "held", "sending", "unknown", "accepted", "on_phone"),
    *("sent", "delivered", "failed", "cancelling", "cancelled"),
)
COLOURS = {
    "failed": "red",
    **dict.fromkeys(("held", "unknown", "cancelling"), "yellow"),
    **dict.fromkeys(("sent", "delivered"), "green"),
}


def narrowing(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say which messages are wanted."""
    for option in (
        click.option("--status", type=click.Choice(STATUSES), metavar="STATUS", help="Of this status: received, delivered, failed …"),
        click.option("--until", metavar="TIME", help="Before this time."),
        click.option("--since", metavar="TIME", help="From this time on: 2026-11-24, 09:00, 7d …"),
        click.option("--channel", help="By this channel: sms, whatsapp, whatsapp_business."),
        click.option("--direction", type=click.Choice(["in", "out"]), help="Received, or sent."),
        click.option(
            "--device",
            type=Id(),
            help="By this device's id.",
            shell_complete=completing.devices,
        ),
        click.option(
            "--contact",
            help="From and to this number or name.",
            shell_complete=completing.contacts,
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def narrowed(
    contact: str | None,
    device: int | None,
    direction: str | None,
    channel: str | None,
    since: str | None,
    until: str | None,
    status: str | None,
) -> Narrowed:
    """Return what the options say; the contact as it was typed, for `as_here`."""
    now = datetime.now(UTC)
    if contact is not None and contact_of(contact) is None:
        raise click.UsageError("--contact: expected a number or a name")
    return Narrowed(
        contact=contact,
        device=device,
        direction=direction,
        channel=channel,
        since=None if since is None else utc_text(meant("--since", since, now)),
        until=None if until is None else utc_text(meant("--until", until, now)),
        status=status,
    )


def as_here(conn: Connection, wanted: Narrowed) -> Narrowed:
    """Return what is wanted with its contact as this mirror writes it, by the region it goes by."""
    return wanted._replace(contact=contact_of(wanted.contact, settings.find(conn, "region")))


def meant(option: str, text: str, now: datetime) -> datetime:
    """Return what is meant by a time, or end with what is wrong with it."""
    try:
        return past(text, before=now)
    except ValueError as exc:
        raise click.UsageError(f"{option}: {exc}") from None


limit_option = click.option(
    "-n", "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many."
)


@click.command(
    epilog=examples(
        "semysync messages -n 50 --contact +79201234567",
        "semysync messages --since yesterday --direction in",
        "semysync messages --status failed --since 7d",
        "semysync messages --json --direction in | jq -r '.[].text'",
    )
)
@limit_option
@narrowing
@click.option("--follow", is_flag=True, help="Go on, and show new ones as they come.")
@click.option("--text", help="That hold this, wherever it stands; see also `semysync search`.")
@config_option
@database_option
@json_option
def messages(
    limit: int,
    text: str | None,
    follow: bool,
    config: Path | None,
    database: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """
    Show the newest messages, both directions, the latest last.

    Drafts that wait are among them. TIME is a date, a date with a time, 09:00, yesterday, or how
    long ago: 30m, 12h, 7d. Times are local; one with a ~ is as a phone or the service printed it,
    since its zone is not known. JSON has them as the mirror has.

    With --follow, JSON is one message a line; Ctrl-C ends it.
    """
    wanted = narrowed(**options)._replace(text=text or None)
    with reading(config, database) as conn:
        wanted = as_here(conn, wanted)
        seen = history.last_event(conn)
        rows = history.newest(conn, wanted, min(limit, MOST))[::-1]
    if follow:
        follow_news(config, database, wanted, rows, seen, as_json=as_json)
        return
    if as_json:
        print_json([shown(row) for row in rows])
    elif not rows:
        click.echo("No messages.")
    else:
        print_messages(rows, latest_last=True)


@click.command(
    # No short options here, so that -word is what is typed most: a word that must not occur.
    context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]},
    epilog=examples(
        "semysync search order",
        "semysync search 'order ready' --since 7d --direction out",
        "semysync search '\"your order\" pars* -cancelled'",
        "semysync search --newest --limit 50 Спасибо",
    ),
)
@click.argument("words", nargs=-1, required=True, metavar="WORDS...")
@click.option("--newest", is_flag=True, help="The newest first, instead of the best.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many."
)
@narrowing
@config_option
@database_option
@json_option
def search(
    words: tuple[str, ...],
    newest: bool,
    limit: int,
    config: Path | None,
    database: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """
    Search the messages: all words must occur, in any order, whatever their case.

    "Several words" in quotes must stand together; beg* finds the beginnings of words; -word must
    not occur. The best are shown first, and of two alike the newer.

    Ends with 1 where nothing was found.
    """
    try:
        query = Query.read(" ".join(words))
    except ValueError as exc:
        raise click.UsageError(str(exc)) from None
    wanted = narrowed(**options)
    with reading(config, database) as conn:
        wanted = as_here(conn, wanted)
        rows = history.hits(conn, query, wanted, min(limit, MOST), newest_first=newest)
    if as_json:
        print_json([shown(row) for row in rows])
    elif rows:
        print_messages(rows)
    else:
        click.echo("Nothing found.")
    sys.exit(0 if rows else 1)


@click.command(
    short_help="Show the conversations, the latest first.",
    epilog=examples(
        "semysync conversations",
        "semysync conversations --unanswered -n 100",
        "semysync conversations --json | jq -r '.[] | select(.unread > 0) | .contact'",
    ),
)
@limit_option
@click.option("--unread", is_flag=True, help="Only those with unread messages.")
@click.option("--unanswered", is_flag=True, help="Only those whose last message was received.")
@config_option
@database_option
@json_option
def conversations(
    limit: int,
    unread: bool,
    unanswered: bool,
    config: Path | None,
    database: Path | None,
    as_json: bool,
) -> None:
    """
    Show the conversations by their last message, the latest first.

    A message counts as unread if it came after `read_until` of its contact, which you or a program
    of yours may set in the table contacts, as well as its `name`.
    """
    with reading(config, database) as conn:
        rows = history.conversations(
            conn, unread=unread, unanswered=unanswered, limit=min(limit, MOST)
        )
    if as_json:
        print_json([shown(row) for row in rows])
        return
    if not rows:
        click.echo("No conversations.")
        return
    print_table(
        [f"last ({local_zone(datetime.now(UTC))})", "contact", "messages", "unread", "", "text"],
        [
            (
                local_minute(row["last_at"], in_utc=row["in_utc"]),
                row["name"] or row["contact"],
                f"{row['messages']:,}",
                f"{row['unread']:,}" if row["unread"] else "",
                "<" if row["last_direction"] == "in" else ">",
                row["last_text"],
            )
            for row in rows
        ],
        right={0, 2, 3},
    )


def follow_news(
    config: Path | None,
    database: Path | None,
    wanted: Narrowed,
    rows: Sequence[Row],
    seen: int,
    *,
    as_json: bool,
) -> None:
    """
    Show messages, and then each new one in a line of its own, until Ctrl-C or nobody reads it.

    Where another file is put in the mirror's place it goes on there.
    """
    path = reader_path(config, database)
    try:
        while True:
            opened = identity(path)
            with reopened(config, database) as conn:
                seen = min(seen, history.last_event(conn))
                while identity(path) in {opened, None}:  # None while it is being replaced
                    for row in rows:
                        if as_json:
                            print_json_line(shown(row))
                        else:
                            click.echo(
                                line_of(row), color=False if os.environ.get("NO_COLOR") else None
                            )
                    sys.stdout.flush()
                    before = data_version(conn)
                    rows, seen = history.news(conn, wanted, after=seen)
                    if not rows and data_version(conn) == before:
                        time.sleep(LOOK_S)
                    if nobody_reads():
                        return
    except KeyboardInterrupt:
        return


@contextmanager
def reopened(config: Path | None, database: Path | None) -> Iterator[Connection]:
    """Open the mirror; one that is just being put in its place is waited for."""
    with ExitStack() as stack:
        deadline = time.monotonic() + REPLACED_S
        while True:
            try:
                conn = stack.enter_context(reading(config, database))
                break
            except MirrorUnusable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(LOOK_S)
        yield conn


def nobody_reads() -> bool:
    """Tell whether standard output is a pipe whose reader has gone."""
    poll = select.poll()
    poll.register(sys.stdout, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def line_of(row: Row) -> str:
    """Show a message in a line."""
    status = "" if row["direction"] == "in" else row["status"]
    arrow = "<" if row["direction"] == "in" else ">"
    at = local_minute(row["at"], in_utc=row["in_utc"])
    who = click.style(one_line(row["name"] or row["contact"] or ""), bold=True)
    return f"{at:>17} {arrow} {who}  {one_line(row['text'] or '')}{status and f'  ({status})'}"


def data_version(conn: Connection) -> int:
    """Return a number that changes with each commit of another program."""
    return int(conn.execute("pragma data_version").fetchone()[0])


def print_messages(rows: Sequence[Row], *, latest_last: bool = False) -> None:
    """Print messages, a row each."""
    print_table(
        [f"when ({local_zone(datetime.now(UTC))})", "", "contact", "status", "text"],
        [
            (
                local_minute(row["at"], in_utc=row["in_utc"]),
                "<" if row["direction"] == "in" else ">",
                row["name"] or row["contact"],
                "" if row["direction"] == "in" else [Piece(row["status"], COLOURS.get(row["status"], ""))],
                marked(row["marked"]) if "marked" in row.keys() else row["text"],
            )
            for row in rows
        ],
        right={0},  # a ~ stands before the column
        latest_last=latest_last,
    )  # fmt: skip


def marked(text: str | None) -> list[Piece]:
    """Return a text with what was found in it set off."""
    pieces = []
    for number, part in enumerate((text or "").split("\2")):
        found, _, rest = part.partition("\3") if number else ("", "", part)
        pieces += [Piece(found, "bold reverse"), Piece(rest)]
    return [piece for piece in pieces if piece.text]


def shown(row: Row) -> dict[str, object]:
    """Return a message, or a conversation, for JSON."""
    ours = {"in_utc", "score", "marked"}
    return {key: row[key] for key in row.keys() if key not in ours}


def local_minute(text: str | None, *, in_utc: bool) -> str:
    """Show a time of the mirror by the local clock; one of an unknown zone as it is, with a ~."""
    if not text:
        return ""
    if not in_utc:
        return f"~{text[:16].replace('T', ' ')}"
    return f"{from_utc_text(text).astimezone():%Y-%m-%d %H:%M}"
