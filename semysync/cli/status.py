"""`status`: how semysync is, on one screen, without asking the service."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from semysync.cli.options import config_option, database_option, examples, json_option
from semysync.cli.printing import counted, one_line, print_json
from semysync.cli.reading import reading, rough_age, seen, short_time
from semysync.mirror.lock import Right, is_held
from semysync.mirror.reading.health import Condition, Phone, condition

SHOWN = 12  #: devices

COLOURS = {"ok": "green", "late": "yellow", "failing": "red"}


@click.command(
    short_help="Show how all is, on one screen.",
    epilog=examples("semysync status", "semysync status --json || echo 'look after semysync'"),
)
@config_option
@database_option
@json_option
def status(config: Path | None, database: Path | None, as_json: bool) -> None:
    """
    Show how all is: boxes, drafts, phones, the account, and what went wrong last.

    The verdict is that of the view `health`: `ok`; `late` where a box was not read to its end for
    five minutes, or five of the daemon's intervals; or `failing` where sending is stopped or passes
    fail. Ends with 1 where it is not `ok`, for scripts that watch it.
    """
    with reading(config, database) as conn:
        found = condition(conn, datetime.now(UTC))
        path = Path(conn.execute("select file from pragma_database_list").fetchone()[0])
    running = is_held(path, Right.SENDER)
    if as_json:
        print_json(as_facts(found, path, running=running))
    else:
        for line in screen(found, path, running=running):
            click.echo(line)
    sys.exit(0 if found.verdict == "ok" else 1)


def as_facts(found: Condition, path: Path, *, running: bool | None) -> dict[str, Any]:
    """Return the facts for a program; the shape is documented in the README."""
    facts = found._asdict()
    facts["boxes"] = [{"box": box} | of_box for box, of_box in found.boxes.items()]
    facts["devices"] = [phone._asdict() for phone in found.devices]
    return {"verdict": facts.pop("verdict"), "daemon": running, "mirror": str(path)} | facts


def screen(found: Condition, path: Path, *, running: bool | None) -> Iterator[str]:
    """Say how all is, a line for each thing; what a person needs first comes first."""
    verdict = paint(found.verdict, COLOURS.get(found.verdict, "red"), bold=True)
    why = reason(found, running=running)
    yield f"verdict  {verdict}{f': {why}' if why else ''}"
    for box, facts in found.boxes.items():
        yield f"{box:<8} {counted(facts['messages'], 'message')}, {age_of(facts)}"
    yield f"outbox   {queue_of(found.outbox)}"
    if found.outbox["blocked"]:
        yield f"sending  {paint('stopped', 'red')}: {one_line(found.outbox['blocked'])}"
    if found.stuck:
        count = f"{found.stuck:,}" if found.stuck < 1000 else "1,000 or more"
        yield f"stuck    {paint(count, 'yellow')} of the last week, for over an hour (the view stuck says why)"
    if plan := plan_of(found.account):
        low = found.account["plan_is_low"]
        yield f"account  {paint(one_line(plan), 'yellow') if low else one_line(plan)}"
    yield from phones(found.devices)
    if found.backup_at:
        age_s = int((datetime.now(UTC) - datetime.fromisoformat(found.backup_at)).total_seconds())
        yield f"backup   {rough_age(max(age_s, 0))} ago, {one_line(found.backup_path or '')}"
    for error in found.errors:
        text = one_line(error["error"])
        kind = "" if text.startswith(f"{error['kind']}:") else f"{error['kind']}: "
        yield f"error    {paint(kind + text, 'red')}"
    yield f"daemon   {daemon_of(found, running=running)}"
    yield f"mirror   {one_line(str(path))}"


def reason(found: Condition, *, running: bool | None) -> str:
    """Say why the verdict is not `ok`, as far as it can be seen; nothing where it is."""
    if found.verdict == "ok":
        return ""
    if found.verdict == "failing":
        return "sending is stopped" if found.outbox["blocked"] else "what was asked last went wrong"
    if running is False:
        return "no daemon runs; start it, or type `semysync sync`"
    lags = {box: facts["lag_s"] for box, facts in found.boxes.items()}
    if any(facts["loading"] and facts["lag_s"] is None for facts in found.boxes.values()):
        return "the first load goes on" if running else "the first load is not complete"
    if found.idle_s is None:
        return "nothing was read yet"
    never = [box for box, lag_s in lags.items() if lag_s is None]
    if never:
        return (
            f"{' and '.join(never)} {'was' if len(never) == 1 else 'were'} not read to the end yet"
        )
    oldest = max(lags, key=lambda box: lags[box] or 0)
    return f"{oldest} was read to its end {rough_age(lags[oldest] or 0)} ago"


def age_of(box: dict[str, Any]) -> str:
    """Say how old a box is, for a person."""
    if box["lag_s"] is None:
        return "the first load is not complete" if box["loading"] else "not yet read to the end"
    return f"complete as of {rough_age(box['lag_s'])} ago"


def queue_of(outbox: dict[str, Any]) -> str:
    """Say what waits to be sent, and what is on its way, for a person."""
    drafts = dict(outbox["drafts"])
    later = drafts.pop("queued", 0) - outbox["due"]
    facts = [f"{outbox['due']:,} due" if outbox["due"] else "nothing due"]
    if outbox["due"] and outbox["oldest_waiting_s"] is not None:
        facts.append(f"the oldest for {rough_age(outbox['oldest_waiting_s'])}")
    if later > 0:
        facts.append(f"{later:,} for later")
    words = {"unknown": "whose answer was lost", "on_phone": "on a phone"}
    for name in ("unknown", "held", "sending", "accepted", "on_phone", "cancelling"):
        if count := drafts.get(name):
            said = f"{count:,} {words.get(name, name)}"
            facts.append(paint(said, "yellow") if name == "unknown" else said)
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


def daemon_of(found: Condition, *, running: bool | None) -> str:
    """Say whether a daemon runs, and when anything was read last."""
    said = {True: "running", False: "not running", None: "may run; that cannot be seen here"}
    ago = "" if found.idle_s is None else f"; last pass {rough_age(max(found.idle_s, 0))} ago"
    return said[running] + ago


def phones(devices: Sequence[Phone]) -> Iterator[str]:
    """Show the phones in use, those that need somebody first; the others are counted."""
    there = [phone for phone in devices if not (phone.archived or phone.gone)]
    ordered = sorted(there, key=lambda phone: phone.is_well)
    rows = [
        (str(phone.id), one_line(phone.name or ""), phone.channel or "", battery_of(phone))
        for phone in ordered[:SHOWN]
    ]
    heading = "devices"
    for phone, cells in zip(ordered, aligned(rows), strict=False):
        yield f"{heading:<8} {cells}  {state_of(phone)}"
        heading = ""
    others = [f"{len(there) - SHOWN:,} more in use"] if len(there) > SHOWN else []
    archived, gone = (sum(getattr(p, what) for p in devices) for what in ("archived", "gone"))
    others += [f"{archived:,} archived"] if archived else []
    others += [f"{gone:,} gone from the account"] if gone else []
    if others or not there:
        yield f"{heading:<8} {', '.join(others) or 'none yet'}"


def battery_of(phone: Phone) -> str:
    """Say how full a battery is."""
    return "" if phone.battery is None else f"{phone.battery:>3} %"


def state_of(phone: Phone) -> str:
    """Say when a phone was in touch last, and what is wrong with it."""
    at = seen(phone)
    wrong = []
    if phone.offline:
        wrong.append(paint("offline", "red"))
    if phone.battery_low:
        wrong.append(paint("battery low", "yellow"))
    if phone.service_on is False:
        wrong.append(paint("switched off in the app", "yellow"))
    if phone.use_for_sending is False:
        wrong.append("not used for sending")
    return ", ".join(["never seen" if at == "never" else f"seen {at}", *wrong])


def aligned(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Put cells into columns."""
    from rich.cells import cell_len, set_cell_size

    rows = list(rows)
    widths = [min(max(map(cell_len, column)), 30) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(map(set_cell_size, row, widths))


def paint(text: str, colour: str, *, bold: bool = False) -> str:
    """Colour a text, where standard output is a terminal whose user has nothing against it."""
    if os.environ.get("NO_COLOR") or not sys.stdout.isatty():
        return text
    return click.style(text, fg=colour, bold=bold)
