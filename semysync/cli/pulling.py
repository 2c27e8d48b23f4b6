"""`sync` and `run`: the commands that ask the service."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from semysync.cli.common import config_option, configured, database_option, json_option, print_json
from semysync.config import Config
from semysync.errors import MirrorBusy

if TYPE_CHECKING:
    from semysync.mirror.store import Store
    from semysync.passes.pull import Progress
    from semysync.passes.sync import Outcome, Sync
    from semysync.service.client import Client


@click.command()
@config_option
@database_option
@json_option
def sync(config: Path | None, database: Path | None, as_json: bool) -> None:
    r"""
    Bring the mirror up to date once, and end.

    The first time this loads the whole history; when it is broken off, the next call goes on where
    it was. It may run beside the daemon.

    \b
    Example:
      SEMYSYNC_TOKEN=... semysync sync --database messages.db
    """
    from semysync import log

    settings, path = configured(config, database)
    token = settings.token()
    if not sys.stderr.isatty():
        log.set_up(settings.log, token=token)
    else:
        log.silence()
    with client_for(settings, token) as client, open_store(path) as store, progress_bars() as watch:
        outcomes = make_sync(settings, client, store, watch).once()
    if as_json:
        print_json({"mirror": str(path), "passes": [summary(outcome) for outcome in outcomes]})
    else:
        for outcome in outcomes:
            click.echo(sentence(outcome))
        click.echo(f"The mirror is {path}.")
    finish(outcomes)


@click.command()
@config_option
@database_option
def run(config: Path | None, database: Path | None) -> None:
    """
    Keep the mirror up to date until stopped: the daemon.

    It asks for new messages at the intervals in [pull] and ends on SIGTERM or Ctrl-C. What it does
    is logged on standard error, a line for each pass that brought something.
    """
    from semysync import daemon, log

    settings, path = configured(config, database)
    token = settings.token()
    log.set_up(settings.log, token=token)
    with client_for(settings, token) as client:
        daemon.run(settings, path, client)


def client_for(settings: Config, token: str) -> "Client":
    """Return a client as configured."""
    from semysync.service.client import Client

    return Client(token, base_url=settings.api.base_url, timeout_s=settings.api.timeout_s)


def make_sync(
    settings: Config, client: "Client", store: "Store", watch: Callable[["Progress"], None]
) -> "Sync":
    """Put the parts of a pass together."""
    from semysync.passes.pull import Puller
    from semysync.passes.sync import Sync

    puller = Puller(
        account=client,
        mirror=store,
        history=settings.pull.history,
        lookback=timedelta(seconds=settings.pull.lookback_s),
        watch=watch,
    )
    return Sync(client, store, puller, by_device=settings.pull.scope != "account")


@contextmanager
def open_store(path: Path) -> Iterator["Store"]:
    """Open the mirror; make it or bring it up to date first, unless a daemon is at work on it."""
    from semysync.mirror.file import create
    from semysync.mirror.lock import Lock, Right
    from semysync.mirror.store import Store

    create(path)
    try:
        lock = Lock(path, Right.SENDER)
    except MirrorBusy:
        with Store.open(path) as store:
            yield store
        return
    with lock, Store.migrate(path) as store:
        yield store


@contextmanager
def progress_bars() -> Iterator[Callable[["Progress"], None]]:
    """Show a bar for each box on a terminal; elsewhere nothing."""
    if not sys.stderr.isatty():
        with nullcontext():
            yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description:<22}"),
        BarColumn(),
        TextColumn("{task.fields[messages]:>9,} messages"),
        TimeElapsedColumn(),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        tasks = {}

        def watch(progress: "Progress") -> None:
            key = progress.box, progress.device_id
            if key not in tasks:
                of = f" of device {progress.device_id}" if progress.device_id else ""
                tasks[key] = bars.add_task(f"{progress.box}{of}", total=1.0, messages=0)
            messages = progress.added + progress.changed
            bars.update(tasks[key], completed=progress.share, messages=messages)

        yield watch


def summary(outcome: "Outcome") -> dict[str, object]:
    """Return what a pass came to, for JSON."""
    noted = outcome.noted
    return {
        "kind": str(noted.kind),
        "added": noted.added,
        "changed": noted.changed,
        "illegible": noted.illegible,
        "requests": noted.requests,
        "error": noted.error,
    }


def sentence(outcome: "Outcome") -> str:
    """Return what a pass came to, for a person."""
    noted = outcome.noted
    facts = [f"{noted.added:,} new", f"{noted.changed:,} changed"]
    if noted.illegible:
        facts.append(f"{noted.illegible:,} rows that make no sense, kept in the table conflicts")
    if noted.error:
        facts.append("not complete")
    return f"{noted.kind:<8} {', '.join(facts)}"


def finish(outcomes: list["Outcome"]) -> None:
    """End with the exit code that says how far it came, after a sentence for what failed."""
    failures = [outcome for outcome in outcomes if outcome.failure]
    for outcome in failures:
        click.echo(f"semysync: {outcome.noted.error}", err=True)
    if not failures:
        return
    first = failures[0].failure
    if any(outcome.complete for outcome in outcomes if outcome.noted.kind != "devices"):
        sys.exit(1)
    sys.exit(first.exit_code if first else 1)
