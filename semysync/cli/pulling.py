"""`sync` and `run`: the commands that ask the service."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from semysync.cli.options import config_option, configured, database_option, examples, json_option
from semysync.cli.printing import complain, one_line, print_json
from semysync.config import Config
from semysync.errors import (
    MirrorBusy,
    MirrorUnusable,
    Refused,
    ReplicaUnseen,
    Throttled,
    Unreadable,
)
from semysync.times import ANYWHERE, Locale

if TYPE_CHECKING:
    from semysync.mirror.store import Store
    from semysync.passes.outcome import Outcome
    from semysync.passes.pull import Progress
    from semysync.passes.sync import Sync
    from semysync.service.client import Client
    from semysync.service.pace import Pace


@click.command(
    short_help="Bring the mirror up to date once, and send what is due.",
    epilog=examples("semysync sync", "semysync sync --database messages.db --json"),
)
@config_option
@database_option
@json_option
def sync(config: Path | None, database: Path | None, as_json: bool) -> None:
    """
    Bring the mirror up to date once, send the drafts that are due, and end.

    The first time this loads the whole history; when it is broken off, the next call goes on where
    it was. It may run beside the daemon, which then does the sending.

    Ends with 1 where it came through only in part, 69 where the service refuses, 75 where trying
    again later may help, 78 where the configuration is at fault.
    """
    from semysync import log
    from semysync.service.connecting import client_for

    settings, path = configured(config, database)
    log.silence()
    try:
        with (
            client_for(settings, settings.token()) as client,
            open_store(path, settings.locale()) as store,
            progress_bars(stay=False) as watch,
        ):
            began = time.monotonic()
            outcomes = make_sync(settings, client, store, watch).once()
            sent = send_due(settings, client, store, outcomes, began)
    except KeyboardInterrupt:
        complain("stopped; what came so far is kept, and the next `semysync sync` goes on there")
        sys.exit(1)
    if as_json:
        passes = [summary(outcome) for outcome in outcomes]
        print_json({"mirror": str(path), "passes": passes, "sent": sent})
    else:
        for outcome in outcomes:
            click.echo(sentence(outcome))
        if sent:
            click.echo(f"outbox   {sent:,} handed over")
        click.echo(f"mirror   {path}")
    finish(outcomes)


@click.command(
    epilog=examples("semysync run", "semysync run --config /etc/semysync/shop.toml 2>> shop.log")
)
@config_option
@database_option
def run(config: Path | None, database: Path | None) -> None:
    """
    Keep the mirror up to date until stopped: the daemon.

    It asks for new messages at the intervals in [pull] and ends on SIGTERM or Ctrl-C; only for the
    answer to a message that is being sent it waits a while, and a second signal ends it at once.
    SIGHUP lets it read the configuration again. What it does is logged on standard error, a line
    for each pass that brought something.

    One daemon works on a mirror: another one for the same file ends with 75.
    """
    from semysync.daemon import signals

    signals.block()
    with without("pygments", "rich"):  # for help and tracebacks that a daemon never shows
        from semysync import log
        from semysync.daemon import process

    def read() -> tuple[Config, Path]:
        settings, path = configured(config, database)
        log.set_up(settings.log, token=settings.token())
        return settings, path

    def connect(settings: Config, pace: "Pace", *, urgent: bool) -> "Client":
        from semysync.service.connecting import client_for

        return client_for(settings, settings.token(), pace, urgent=urgent)

    settings, path = read()
    ready(path)
    process.run(settings, path, connect=connect, reread=read)


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Import as if these libraries were not installed: others import them where they find them."""
    held_back: dict[str, Any] = {name: None for name in names if name not in sys.modules}
    sys.modules.update(held_back)
    try:
        yield
    finally:
        for name in held_back:
            del sys.modules[name]


def send_due(
    settings: Config,
    client: "Client",
    store: "Store",
    outcomes: Sequence["Outcome"],
    began: float,
) -> int:
    """
    Send the drafts that are due, unless a daemon runs, which does that; return how many were taken.

    What was lost earlier is found if the account shows it; what it does not show stays unknown,
    since only a daemon looks for long enough.
    """
    from semysync.mirror.copies.replica import place_of
    from semysync.mirror.copies.takeover import UNSEEN, taken_over
    from semysync.mirror.lock import Lock, Right
    from semysync.mirror.outbox.claims import Claims
    from semysync.mirror.outbox.sending import Outbox
    from semysync.passes.send import Sender

    box = next((outcome for outcome in outcomes if outcome.noted.kind == "sent"), None)
    if not settings.send.enabled or box is None or box.failure:
        return 0
    try:
        why = taken_over(store.path, place_of(settings.replica))
    except ReplicaUnseen as exc:
        why = f"{UNSEEN}: {exc}"
    try:
        right = Lock(store.path, Right.SENDER)
    except MirrorBusy:
        return 0
    with (
        right,
        Outbox(store.path, region=settings.contacts.region) as outbox,
        Claims(store.path) as claims,
    ):
        sender = Sender(
            outbox,
            claims,
            client,
            settings.send,
            store=store,
            ahead_s=client.ahead_s,
            stopped=lambda: why,
        )
        sender.start()
        sender.looked(began)
        while sender.step():
            pass
        return sender.taken


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
    return Sync(client, store, puller, scope=settings.pull.scope, limits=settings.devices)


def ready(path: Path) -> None:
    """Make an empty file where there is none, and raise where one cannot become a mirror."""
    from semysync.mirror.file import check_version, connect, create, explained

    create(path)
    with explained(path), closing(connect(path)) as conn:
        check_version(conn, path, to_migrate=True)


@contextmanager
def open_store(path: Path, locale: Locale = ANYWHERE) -> Iterator["Store"]:
    """
    Open the mirror; make it or bring it up to date first, unless a daemon is at work on it.

    The lock is held for that only: pulls need none. But none is begun before it is seen what an
    earlier run has left behind: what it brings may be the messages of drafts that are open here.
    """
    from semysync.mirror.lock import Lock, Right
    from semysync.mirror.outbox.claims import Claims
    from semysync.mirror.outbox.sending import Outbox
    from semysync.mirror.store import Store
    from semysync.passes.send import recover

    ready(path)
    try:
        right = Lock(path, Right.SENDER)
    except MirrorBusy as held:
        try:
            store = Store.open(path, locale)
        except MirrorUnusable:
            ready(path)  # raises where it is newer, or not ours; else its holder has yet to make it
            raise held from None
    else:
        with right:
            Store.migrate(path).close()
            with Outbox(path) as outbox, Claims(path) as claims:
                recover(outbox, claims, datetime.now(UTC))
        store = Store.open(path, locale)
    with store:
        store.apply_locale()
        yield store


@contextmanager
def progress_bars(*, stay: bool) -> Iterator[Callable[["Progress"], None]]:
    """Show a bar for each box on a terminal, which may stay there; elsewhere nothing."""
    with bars(stay=stay) as show:
        yield of_boxes(show)


Show = Callable[[str, float, int], None]  #: a bar: its name, how much is done, and messages


@contextmanager
def bars(*, stay: bool) -> Iterator[Show]:
    """Show bars on a terminal, which may stay there; elsewhere nothing."""
    if not sys.stderr.isatty():
        yield lambda _name, _share, _messages: None
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
    with Bars(*columns, console=Console(stderr=True), transient=not stay) as shown:
        tasks = {}

        def show(name: str, share: float, messages: int) -> None:
            if name not in tasks:
                tasks[name] = shown.add_task(name, total=1.0, messages=0)
            shown.update(tasks[name], completed=share, messages=messages)

        yield show


def of_boxes(show: Show) -> Callable[["Progress"], None]:
    """Return what shows the progress of a pull as a bar for each box."""

    def watch(progress: "Progress") -> None:
        of = f" of device {progress.device_id}" if progress.device_id else ""
        show(f"{progress.box}{of}", progress.share, progress.added + progress.changed)

    return watch


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
    """End with the exit code that says how far it came, after a sentence on what failed."""
    failed = [outcome for outcome in outcomes if outcome.failure]
    if not failed:
        return
    first, *others = failed
    also = f" ({' and '.join(o.noted.kind for o in others)} failed as well)" if others else ""
    complain(f"{one_line(first.noted.error or '')}{also}{advice(first.failure)}")
    if any(outcome.complete for outcome in outcomes if outcome.noted.kind in {"inbox", "sent"}):
        sys.exit(1)
    sys.exit(first.failure.exit_code if first.failure else 1)


def advice(failure: Exception | None) -> str:
    """Say what to do about a failure whose own words do not."""
    match failure:
        case Throttled(retry_after_s=pause):
            return f"; try again in {f'{pause:g} s' if pause else 'a few minutes'}"
        case Refused(code=code) if code != "404":
            return "; check the token, and the account in the service's control panel"
        case Unreadable(exit_code=75):
            return "; try again later: what came so far is kept"
    return ""
