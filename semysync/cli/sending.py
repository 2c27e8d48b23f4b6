"""
`send`: put a message into the outbox; many from a file are seen to in `sending_many`.

It writes to the table as any program may, and needs neither the token nor the service; the daemon
does the rest.
"""

import os
import sqlite3
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from semysync.cli import completing
from semysync.cli.drafts import warn_without_daemon, writing_drafts
from semysync.cli.moments import local_text, local_zone, moment
from semysync.cli.options import config_option, database_option, examples, json_option, reader_path
from semysync.cli.outbox import columns_of, time_in, waits_for
from semysync.cli.printing import complain, one_line, print_json
from semysync.mirror.file import writing
from semysync.mirror.outbox import drafts
from semysync.mirror.outbox.drafts import Added, NotAllowed
from semysync.times import from_utc_text, utc_text

MANY_PARTS = 3  #: above so many SMS parts a person may not know what a text costs
LONGEST_INPUT = 100_000  #: bytes of a text from standard input: no message has more
LOOK_EVERY_S = 0.05
FOREVER = float("inf")

HELP = f"""\
Send a message: put a draft into the outbox; the daemon does the rest.

The draft is safe when the command ends, and neither the network nor the token is needed. TEXT `-`
reads the text from standard input, without the line ends at its end. A text that begins with a dash
goes behind `--`, after all options.

TIME is 09:00, the next one, or '2026-11-24 09:00', both by the local clock, which is that of
{local_zone(datetime.now(UTC))} here; or it names its zone: 2026-11-24T09:00Z, 2026-11-24T12:00+03:00.

--csv reads many from a file. Its first line names the columns, as in the table `outbox`: phone,
text, and as you like device, priority, send_at and expires_at (in UTC, or with an offset),
client_key, kind. They are separated by commas, semicolons or tabs, in UTF-8. The options stand for
what a line leaves empty. What is refused is reported with its line; the others go in.

Ends with 0 when it is in the outbox, or with --wait when it is sent; 1 where it failed, or lines
were refused; 2 where the draft was refused; 75 where the time to wait is over.
"""


class Seconds(click.ParamType[float]):
    """How long to wait."""

    name = "seconds"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            seconds = float(value)
        except ValueError:
            seconds = -1.0
        if not seconds >= 0:
            self.fail(
                f"{value!r} is no number of seconds; put --wait behind TEXT, or write --wait=60",
                param,
                ctx,
            )
        return seconds


@click.command(
    help=HELP,
    epilog=examples(
        "semysync send +79201234567 'Your parcel is here'",
        "semysync send +79201234567 'Good morning' --at 09:00 --key morning-17",
        "semysync send +79201234567 'Your code is 4711' --priority 10 --wait 60",
        "uptime | semysync send +79201234567 -",
        "semysync send --kind ussd '*100#' --device 351",
        "semysync send --csv customers.csv --at '2026-11-24 09:00'",
    ),
)
@click.argument("phone", required=False, shell_complete=completing.contacts)
@click.argument("text", required=False)
@click.option("--at", metavar="TIME", help="Not before this time.")
@click.option("--expires", metavar="TIME", help="Not after this time.")
@click.option(
    "--device",
    help="A device's id, ids joined by commas, or `active`.",
    shell_complete=completing.devices,
)
@click.option("--key", help="A key of yours: used twice, it is one message.")
@click.option(
    "--priority",
    type=click.IntRange(0, 1_000_000),
    metavar="NUMBER",
    help="0 to 1000000, higher goes first; above 0 at any hour.",
)
@click.option("--kind", type=click.Choice(["text", "ussd"]), help="With `ussd` PHONE is the code.")
@click.option("--hold", is_flag=True, help="Hold it until `semysync release`.")
@click.option(
    "--wait",
    type=Seconds(),
    is_flag=False,
    flag_value=FOREVER,
    metavar="[SECONDS]",
    help="Show its way until it is sent or failed.",
)
@click.option("--csv", "sheet", metavar="FILE", help="Many from a file, or from `-`.")
@config_option
@database_option
@json_option
def send(
    phone: str | None,
    text: str | None,
    at: str | None,
    expires: str | None,
    device: str | None,
    key: str | None,
    priority: int | None,
    kind: str | None,
    hold: bool,
    wait: float | None,
    sheet: str | None,
    config: Path | None,
    database: Path | None,
    as_json: bool,
) -> None:
    send_at, expires_at = times(at, expires)
    usual: dict[str, object] = {
        "device": device,
        "priority": priority,
        "send_at": send_at and utc_text(send_at),
        "expires_at": expires_at and utc_text(expires_at),
        "kind": kind,
        "status": "held" if hold else "queued",
    }
    if expires_at and expires_at <= datetime.now(UTC):
        complain(f"{local_text(expires_at)} has passed already: what is sent now expires at once")
    if sheet is not None:
        from semysync.cli.sending_many import only_a_sheet, send_sheet

        only_a_sheet({"PHONE": phone, "--key": key, "--wait": wait})
        send_sheet(sheet, usual, reader_path(config, database), as_json=as_json)
    fields = usual | {"phone": phone, "text": wording(phone, text, kind), "client_key": key}
    path = reader_path(config, database)
    with writing_drafts(path) as conn:
        seen = drafts.last_event(conn)
        added, draft = insert(conn, fields)
        if not as_json:
            click.echo(what_became(added, draft, key))
        elif wait is None or draft is None:
            print_json({"inserted": added.new, "draft": draft and columns_of(draft)})
        warn(path, draft)
        if wait is not None and draft:
            code = watch(conn, draft["id"], seen if added.new else None, wait, told=not as_json)
            if as_json:
                draft = drafts.one(conn, draft["id"])
                print_json({"inserted": added.new, "draft": draft and columns_of(draft)})
            sys.exit(code)


def times(at: str | None, expires: str | None) -> tuple[datetime | None, datetime | None]:
    """Return what is meant by --at and --expires, of which the second comes after the first."""
    now = datetime.now(UTC)
    send_at = None if at is None else meant("--at", at, now)
    return send_at, None if expires is None else meant("--expires", expires, send_at or now)


def meant(option: str, text: str, after: datetime) -> datetime:
    """Return what is meant by a time, or end with what is wrong with it."""
    try:
        return moment(text, after=after)
    except ValueError as exc:
        raise click.UsageError(f"{option}: {exc}") from None


def wording(phone: str | None, text: str | None, kind: str | None) -> str:
    """Return the text of a draft, which may stand on standard input."""
    if phone is None:
        raise click.UsageError("Missing argument 'PHONE'.")
    if text is None and kind != "ussd":
        raise click.UsageError("Missing argument 'TEXT'.")
    if text != "-":
        return text or ""
    if sys.stdin.isatty():
        click.echo("Type the text, then Ctrl-D on a line of its own:", err=True)
    given = sys.stdin.buffer.read(LONGEST_INPUT).decode("utf-8", "surrogateescape")
    return given.rstrip("\r\n")


def insert(
    conn: sqlite3.Connection, fields: Mapping[str, object]
) -> tuple[Added, sqlite3.Row | None]:
    """Insert a draft and read it before others do, or end with what is wrong with it."""
    try:
        with writing(conn):
            added = add(conn, fields)
            return added, drafts.one(conn, added.id) if added.id else None
    except NotAllowed as exc:
        complain(str(exc))
        sys.exit(2)


def add(conn: sqlite3.Connection, fields: Mapping[str, object]) -> Added:
    """Insert a draft; refuse as well what the table cannot see and the daemon would reject."""
    from semysync.mirror.outbox.queue import defect

    if why := defect(*(str(fields.get(name) or "") for name in ("phone", "text"))):
        raise NotAllowed(why)
    return drafts.add(conn, fields)


def what_became(added: Added, draft: sqlite3.Row | None, key: str | None) -> str:
    """Say what became of a draft."""
    used = f"The key {one_line(key or '')} was used before"
    if draft is None:
        return f"{used}, by a draft that is deleted: nothing is added."
    to = f"Draft {draft['id']} to {one_line(draft['phone'])}"
    if not added.new:
        return f"{used}: nothing is added.\n{to} has it, and is {draft['status']}: {one_line(draft['text'])}"
    said = f"{to} is {draft['status']}"
    for name, bound in (("send_at", "not before"), ("expires_at", "not after")):
        if draft[name]:
            said += f", {bound} {local_and_utc(draft[name])}"
    return f"{said}."


def local_and_utc(text: str) -> str:
    """Show a time of the mirror by the local clock, and as it is kept."""
    shown = local_text(from_utc_text(text))
    return shown if shown.endswith(" UTC") else f"{shown} ({text[:16].replace('T', ' ')} UTC)"


def warn(path: Path, draft: sqlite3.Row | None) -> None:
    """Say on standard error what the sender of a message may not know."""
    if draft is None or draft["status"] in drafts.ENDED:
        return
    if draft["kind"] == "text" and (parts := parts_of(draft["text"])) > MANY_PARTS:
        complain(f"the text takes {parts} SMS, and the operator may charge for each")
    warn_without_daemon(path)


def parts_of(text: str) -> int:
    """Count the SMS that a text takes."""
    from semysync.segments import segments

    return segments(text)


def watch(
    conn: sqlite3.Connection, draft_id: int, seen: int | None, seconds: float, *, told: bool
) -> int:
    """
    Show the way of a draft, a line for each status, until it is sent or failed; return the code.

    `seen` is the last event before it was inserted; None where it was there before.
    """
    ends = time.monotonic() + seconds
    draft = version = error = None
    try:
        while True:
            latest = conn.execute("pragma data_version").fetchone()[0]
            if draft is None or latest != version:
                draft, happened, seen = drafts.news(conn, draft_id, seen)
                if draft is None:
                    complain(f"draft {draft_id} is deleted")
                    return 1
                if told:
                    show(draft, happened, error)
                version, error = latest, draft["error"]
                if draft["status"] in drafts.ENDED:
                    return 0 if draft["status"] in {"sent", "delivered"} else 1
            if time.monotonic() >= ends:
                why = waits_for(draft, drafts.blocked(conn))
                complain(f"draft {draft_id} is still {draft['status']} after {seconds:g} s: {why}")
                return os.EX_TEMPFAIL
            time.sleep(max(0.0, min(LOOK_EVERY_S, ends - time.monotonic())))
    except KeyboardInterrupt:
        complain(f"stopped waiting; draft {draft_id} goes on: see `semysync outbox`")
        return os.EX_TEMPFAIL


def show(draft: sqlite3.Row, happened: Sequence[tuple[str, str]], before: str | None) -> None:
    """Print what happened to a draft, with the sentence behind its present status."""
    lines = [(at, what, "") for at, what in happened]
    if lines and lines[-1][1] == draft["status"]:
        lines[-1] = (*lines[-1][:2], arrived(draft))
    elif draft["error"] not in {None, before}:
        lines.append((draft["updated_at"], draft["status"], draft["error"]))
    for at, what, why in lines:
        click.echo(f"{time_in(at)[11:]}  {what:<10} {one_line(why)}".rstrip())


def arrived(draft: sqlite3.Row) -> str:
    """Say what there is to say of a draft that has come to a status."""
    if draft["status"] == "accepted" and draft["error"] is None:
        return f"message {draft['sent_id']}"
    return draft["error"] or ""
