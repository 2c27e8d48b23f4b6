"""`demo`: the whole thing without an account."""

import shlex
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from semysync.cli.common import one_line, print_table
from semysync.cli.pulling import client_for, make_sync, open_store, progress_bars
from semysync.cli.reading import short_time
from semysync.config import Api, Config
from semysync.mirror.file import explained, open_reader

if TYPE_CHECKING:
    from semysync.passes.sync import Sync

HISTORY = 4_000  # messages
WATCH_S = 10  # how long new messages are shown
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

TOPS = "select (select max(id) from inbox) as inbox, (select max(id) from sent) as sent"


@click.command()
@click.option("--keep", is_flag=True, help="Go on until Ctrl-C.")
@click.option("--messages", type=click.IntRange(min=10), default=HISTORY, show_default=True)
def demo(keep: bool, messages: int) -> None:
    """
    Show the whole thing without an account.

    Starts a stand-in for the service on this machine, mirrors it, shows new messages arriving, and
    leaves the file to play with. Ends by itself.
    """
    from semysync import log
    from semysync.sandbox import Sandbox, Switches

    log.silence()
    path = Path(tempfile.mkdtemp(prefix="semysync-demo-"), "semysync.db")
    switches = Switches(arrivals_every_s=NEW_EVERY_S, answers="on")
    with Sandbox(messages=messages, switches=switches) as stand_in:
        click.echo(f"A stand-in for the service answers at {stand_in.base_url}.")
        settings = Config(api=Api(base_url=stand_in.base_url))
        with client_for(settings, stand_in.token) as client, open_store(path) as store:
            began = time.monotonic()
            with progress_bars() as watch:
                outcomes = make_sync(settings, client, store, watch).once()
            added = sum(o.noted.added for o in outcomes if o.noted.kind != "devices")
            took = time.monotonic() - began
            click.echo(f"Mirrored {added:,} messages in {took:.1f} s. Now new ones arrive:\n")
            with suppress(KeyboardInterrupt):
                follow(make_sync(settings, client, store, lambda _: None), path, keep=keep)
    explain(path)


def follow(sync: "Sync", path: Path, *, keep: bool) -> None:
    """Pull every half second and print what is new."""
    reader = open_reader(path)
    tops = dict(reader.execute(TOPS).fetchone())
    ends = time.monotonic() + WATCH_S
    while keep or time.monotonic() < ends:
        time.sleep(PULL_EVERY_S)
        sync.once()
        for row in reader.execute(NEW, tops):
            sign = "<" if row["direction"] == "in" else ">"
            line = f"  {short_time(row['at'])[11:]}  {sign} {row['contact']:<14} "
            click.echo(line + one_line(row["text"])[:60])
        tops = dict(reader.execute(TOPS).fetchone())
    reader.close()


def explain(path: Path) -> None:
    """Print where the file is, what a query brings, and what to type next."""
    click.echo(f"\nEverything is in one SQLite file: {path}")
    click.echo("Ask it whatever you like, for example for the busiest conversations:")
    click.echo("  " + BUSIEST.strip().replace("\n", "\n  ") + "\n")
    with explained(path):
        reader = open_reader(path)
        rows = reader.execute(BUSIEST).fetchall()
        reader.close()
    print_table(
        ["contact", "messages", "last"],
        [(one_line(row["contact"]), row["messages"], short_time(row["last"])) for row in rows],
    )
    program, file = shlex.quote(sys.argv[0]), shlex.quote(str(path))
    click.echo("\nWhat to type next:")
    click.echo(f"  {program} messages --database {file}")
    click.echo(f"  {program} devices --database {file}")
    click.echo(f"  SEMYSYNC_TOKEN=<your token> {program} sync")
