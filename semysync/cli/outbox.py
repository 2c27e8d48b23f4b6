"""`outbox`: look at the drafts, what each waits for, and why one failed."""

import shutil
import sys
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from sqlite3 import Row

import click

from semysync.cli.drafts import warn_without_daemon
from semysync.cli.moments import local_zone
from semysync.cli.options import config_option, database_option, examples, json_option, reader_path
from semysync.cli.printing import one_line, print_json, print_table
from semysync.cli.reading import MOST
from semysync.mirror.file import explained, open_reader
from semysync.mirror.outbox import drafts
from semysync.mirror.outbox.drafts import ENDED, WAITING, WHY
from semysync.times import from_utc_text, utc_text

FINISHED = 10  #: so many finished drafts are shown

COLOURS = {
    **dict.fromkeys(("failed", "rejected", "expired"), "red"),
    **dict.fromkeys(("held", "unknown", "cancelling"), "yellow"),
    **dict.fromkeys(("sent", "delivered"), "green"),
}

TURN = "waits for its turn"


@click.command(
    epilog=examples(
        "semysync outbox",
        "semysync outbox --status failed --status rejected --all",
        "semysync outbox --status unknown --json | jq '.[].id'",
    )
)
@config_option
@database_option
@json_option
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(min=0),
    default=FINISHED,
    show_default=True,
    help="How many of the finished ones.",
)
@click.option(
    "--status",
    "statuses",
    type=click.Choice([*WAITING, *ENDED]),
    metavar="STATUS",
    multiple=True,
    help="Only drafts of this status; may be given again.",
)
@click.option("--all", "everything", is_flag=True, help="All of the finished ones.")
def outbox(
    config: Path | None,
    database: Path | None,
    as_json: bool,
    limit: int,
    statuses: tuple[str, ...],
    everything: bool,
) -> None:
    """
    Show the drafts: all that wait, then those that were finished last.

    Those on their way come first, then the others in the order in which they go. Below a draft
    stands what it waits for, or why it failed. Times are local; JSON has them in UTC.

    STATUS is queued, held, sending, unknown, accepted, on_phone or cancelling; or, of those that
    are finished, sent, delivered, failed, cancelled, rejected or expired.
    """
    path = reader_path(config, database)
    with explained(path), closing(open_reader(path)) as conn:
        found = list(
            drafts.drafts(
                conn, statuses or (*WAITING, *ENDED), None if everything else min(limit, MOST)
            )
        )
        blocked = drafts.blocked(conn)
    if as_json:
        print_json([columns_of(row) | {"note": waits_for(row, blocked)} for row in found])
        return
    if not found:
        click.echo("No drafts.")
        return
    shown = [(row, waits_for(row, blocked)) for row in found]
    if sys.stdout.isatty():
        print_for_terminal(shown)
    else:
        print_for_pipe(shown)
    if any(row["status"] in WAITING and row["status"] != "held" for row in found):
        warn_without_daemon(path)


def columns_of(row: Row) -> dict[str, object]:
    """Return a draft as the table has it."""
    return {name: row[name] for name in row.keys() if name not in drafts.OURS}


def waits_for(row: Row, blocked: str | None) -> str:
    """Say what a draft waits for, or why it ended as it did."""
    said = _reason(row, blocked)
    if row["cancel_wanted_at"] and row["status"] in {"sending", "unknown", "accepted"}:
        said = f"to be cancelled; {said}"
    return said


def _reason(row: Row, blocked: str | None) -> str:
    status, error = row["status"], row["error"]
    if status == "queued":
        return _before_its_turn(row, blocked) or error or TURN
    if status == "held":
        return error or f"waits for `semysync release {row['id']}`"
    if status == "accepted" and not row["is_seen"]:
        return error or "waits for the account to show it"
    return error or row["stuck_because"] or WHY.get(status, "")


def _before_its_turn(row: Row, blocked: str | None) -> str | None:
    """Say why a queued draft does not go yet, where that can be seen."""
    now = utc_text(datetime.now(UTC))
    if (row["next_attempt_at"] or "") > now:
        return f"again at {time_in(row['next_attempt_at'])}: {row['error']}"
    if (row["send_at"] or "") > now:
        return f"not before {time_in(row['send_at'])[:16]}"
    if blocked:
        return f"nothing can be sent: {blocked}"
    return row["quiet_until"] and f"quiet hours, not before {time_in(row['quiet_until'])[:16]}"


def when(row: Row) -> str:
    """Return since when a draft is what it is: finished, or waiting."""
    at = row["finished_at"] or (row["updated_at"] if row["status"] == "sent" else row["created_at"])
    return time_in(at)[:16]


def time_in(text: str) -> str:
    """Show a time of the mirror by the local clock."""
    return f"{from_utc_text(text).astimezone():%Y-%m-%d %H:%M:%S}"


def headings() -> list[str]:
    """Name the columns; the zone of the times with them."""
    return ["id", "status", f"when ({local_zone(datetime.now(UTC))})", "to"]


def cells(row: Row) -> list[str]:
    """Return what is shown of a draft before its text."""
    return [str(row["id"]), row["status"], when(row), one_line(row["contact"] or row["phone"])]


def print_for_pipe(shown: Sequence[tuple[Row, str]]) -> None:
    """Print each draft in one line, as long as it is."""
    rows = [[*cells(row), note, row["text"]] for row, note in shown]
    print_table([*headings(), "note", "text"], rows)


def print_for_terminal(shown: Sequence[tuple[Row, str]]) -> None:
    """Print each draft in one line, cut where the terminal ends, and what it waits for below."""
    from rich.cells import cell_len, set_cell_size
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    console = Console(highlight=False, width=shutil.get_terminal_size().columns)
    table = [headings(), *(cells(row) for row, _ in shown)]
    widths = [min(max(map(cell_len, column)), 20) for column in zip(*table, strict=True)]

    def line(parts: Sequence[str], text: str, colour: str = "") -> Text:
        number, status, *others = (
            part.rjust(width) if place == 0 else set_cell_size(part, width)
            for place, (part, width) in enumerate(zip(parts, widths, strict=True))
        )
        return Text("  ").join([Text(number), Text(status, colour), *map(Text, others), Text(text)])

    indent = widths[0] + 2
    heading = line(table[0], "text")
    heading.stylize("bold")
    console.print(heading, no_wrap=True, overflow="ellipsis")
    waiting = shown[0][0]["status"] in WAITING
    for parts, (row, note) in zip(table[1:], shown, strict=True):
        if waiting and row["status"] in ENDED:
            waiting = False
            console.print()
        text = one_line(row["text"])
        console.print(
            line(parts, text, COLOURS.get(row["status"], "")), no_wrap=True, overflow="ellipsis"
        )
        if note and note != TURN:  # a long queue is no longer than it has to be
            console.print(Padding(Text(one_line(note), "dim"), (0, 0, 0, indent)))
