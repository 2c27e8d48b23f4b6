"""`demo`: the whole thing without an account."""

import secrets
import shlex
import shutil
import socket
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from sqlite3 import Row
from threading import Event
from typing import TYPE_CHECKING

import click

from semysync.cli.options import examples
from semysync.cli.printing import one_line, print_table
from semysync.cli.pulling import make_sync, open_store, progress_bars
from semysync.cli.reading import short_time
from semysync.config import Api, Config
from semysync.mirror.file import explained, open_reader

if TYPE_CHECKING:
    from semysync.passes.outcome import Outcome
    from semysync.passes.send import Sender
    from semysync.passes.sync import Sync
    from semysync.sandbox import Sandbox

HISTORY = 4_000  # messages
WATCH_S = 8  # how long new messages are shown
NEW_EVERY_S = 1.5
PULL_EVERY_S = 0.5

BUSIEST = """
select contact, count(*) as messages, max(at) as last
  from messages
 group by contact
 order by messages desc
 limit 5"""

NEW = """
select at, direction, contact, text
  from messages
 where (direction = 'in' and id > :inbox) or (direction = 'out' and id > :sent)
 order by at
"""

STEPS = """
select max(at) as at, substr(kind, 7) as status,
       group_concat(cast(substr(data, 13) as integer), ' and ') as drafts,
       count(*) as many, max(seq) as seq
  from events
 where seq > :seq and kind like 'draft.%'
 group by kind
 order by max(seq)
"""

INSERTS = (
    "insert into outbox (phone, text) values ('+79201234567', 'Your order 12 is ready.')",
    "insert into outbox (phone, text) values ('+79201234568', 'Does Thursday suit you?')",
)

TOPS = "select (select max(id) from inbox) as inbox, (select max(id) from sent) as sent"


@click.command(epilog=examples("semysync demo", "semysync demo --keep --messages 100000"))
@click.option("--keep", is_flag=True, help="Go on until Ctrl-C.")
@click.option(
    "--messages",
    type=click.IntRange(min=10),
    default=HISTORY,
    show_default=True,
    help="How long the history is.",
)
def demo(keep: bool, messages: int) -> None:
    """
    Show the whole thing without an account.

    Starts a stand-in for the service on this machine, mirrors it, sends two drafts, shows new
    messages arriving, and leaves the file to play with. Ends by itself.
    """
    from semysync import log
    from semysync.mirror.outbox.claims import Claims
    from semysync.mirror.outbox.sending import Outbox
    from semysync.passes.send import Sender
    from semysync.sandbox import Sandbox, Switches
    from semysync.service.connecting import client_for

    log.silence()
    path = Path(tempfile.mkdtemp(prefix="semysync-demo-"), "semysync.db")
    switches = Switches(
        arrivals_every_s=NEW_EVERY_S, answers="on", server_zone="+00:00", phone_zone="+00:00"
    )
    with Sandbox(messages=messages, switches=switches) as stand_in:
        click.echo(f"A stand-in for the service answers at {stand_in.base_url}.")
        settings = Config(api=Api(base_url=stand_in.base_url, requests_per_minute=10_000))
        with client_for(settings, stand_in.token) as client, open_store(path) as store:
            began = time.monotonic()
            with progress_bars(stay=True) as watch:
                outcomes = make_sync(settings, client, store, watch).once()
            added, took = messages_added(outcomes), time.monotonic() - began
            until = "until Ctrl-C" if keep else f"for {WATCH_S} seconds"
            click.echo(f"Mirrored {added:,} messages in {took:.1f} s. New ones arrive, {until}.")
            with (
                suppress(KeyboardInterrupt),
                followed(stand_in, path) as called,
                Outbox(path) as outbox,
                Claims(path) as claims,
            ):
                insert_drafts(path)
                sender = Sender(
                    outbox, claims, client, settings.send, store=store, ahead_s=client.ahead_s
                )
                sender.start()
                quiet_sync = make_sync(settings, client, store, lambda _: None)
                follow(quiet_sync, sender, path, called, keep=keep)
    explain(path)


def messages_added(outcomes: list["Outcome"]) -> int:
    """Count what a pass has brought, or raise what stopped it."""
    for outcome in outcomes:
        if outcome.failure:
            raise outcome.failure
    return sum(
        outcome.noted.added for outcome in outcomes if outcome.noted.kind in {"inbox", "sent"}
    )


def insert_drafts(path: Path) -> None:
    """Do what any program may do: insert rows, with nothing but SQLite."""
    click.echo("Two drafts, as any program may insert them:\n")
    with closing(sqlite3.connect(path)) as conn, conn:
        for insert in INSERTS:
            click.echo(f"  {insert}")
            conn.execute(insert)
    click.echo()


@contextmanager
def followed(stand_in: "Sandbox", path: Path) -> Iterator[Event]:
    """Let a hook write down what comes in, and webhooks tell of it; the event is set by each."""
    from semysync.config import Hook, Http
    from semysync.follow.serving import Following

    called, written = Event(), path.with_name("received.jsonl")
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{bound.getsockname()[1]}"
    secret = secrets.token_hex(16)
    hook = Hook(name="demo", on=["message.received"], run=["sh", "-c", 'cat >> "$0"', str(written)])
    config = Config(hook=(hook,), http=Http(listen=listen, webhook_secrets=[secret]))
    following = Following(config, path, lambda *_: called.set())
    following.start()
    if following.listens:
        stand_in.webhooks.set(inbox=f"http://{listen}/webhook/{secret}/inbox")
        click.echo(f"Webhooks tell of them at {listen}, so that they are pulled at once.")
    click.echo(f"A hook writes down what comes in: {written}\n")
    try:
        yield called
    finally:
        following.stop()


def follow(sync: "Sync", sender: "Sender", path: Path, called: Event, *, keep: bool) -> None:
    """Send and pull every half second, or when `called`, and print what is new."""
    with closing(open_reader(path)) as reader:
        tops, seq = dict(reader.execute(TOPS).fetchone()), 0
        ends = time.monotonic() + WATCH_S
        while keep or time.monotonic() < ends:
            sender.step()
            messages_added(sync.once())
            width = shutil.get_terminal_size().columns
            for step in reader.execute(STEPS, {"seq": seq}):
                seq = max(seq, step["seq"])
                drafts = "drafts" if step["many"] > 1 else "draft"
                click.echo(
                    f"  {short_time(step['at'])[11:]}    {drafts} {step['drafts']}: {step['status']}"
                )
            for row in reader.execute(NEW, tops):
                click.echo(shown(row, width))
            tops = dict(reader.execute(TOPS).fetchone())
            called.wait(PULL_EVERY_S)
            called.clear()


def shown(row: Row, width: int) -> str:
    """Show a message in one line of a terminal."""
    from rich.cells import cell_len, set_cell_size

    sign = "<" if row["direction"] == "in" else ">"
    contact = set_cell_size(one_line(row["contact"]), 14)
    line = f"  {short_time(row['at'])[11:]}  {sign} {contact} {one_line(row['text'])}"
    return line if cell_len(line) <= width else set_cell_size(line, width - 1) + "…"


def explain(path: Path) -> None:
    """Print where the file is, what a query brings, and what to type next."""
    click.echo(f"\nEverything is in one SQLite file: {path}")
    click.echo("Ask it whatever you like, for example for the busiest conversations:\n")
    click.echo("  " + BUSIEST.strip().replace("\n", "\n  ") + "\n")
    with explained(path), closing(open_reader(path)) as reader:
        rows = reader.execute(BUSIEST).fetchall()
    print_table(
        ["contact", "messages", "last"],
        [(row["contact"], f"{row['messages']:>8,}", short_time(row["last"])) for row in rows],
    )
    program, file = this_program(), shlex.quote(str(path))
    click.echo("\nWhat to type next:\n")
    for command in ("messages", "devices", "status"):
        click.echo(f"  {program} {command} --database {file}")
    click.echo(
        "\nFor your own account, of which it asks for the token (the service's control panel\n"
        f"shows it under /myprofile/usertoken):\n\n  {program} init"
    )


def this_program() -> str:
    """Return what to type to call this program again."""
    program = sys.argv[0]
    if Path(program).name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m semysync"
    return "semysync" if program == shutil.which("semysync") else shlex.quote(program)
