"""`backup`: a consistent copy of the mirror, and the proof of one."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import click

from semysync.cli.options import config_option, configured, database_option, examples, json_option
from semysync.cli.printing import complain, counted, one_line, print_json
from semysync.errors import ConfigError, SemysyncError


@click.command(
    epilog=examples(
        "semysync backup                       # where [backup] says",
        "semysync backup --to /mnt/usb/semysync",
        "semysync backup --check /mnt/usb/semysync/semysync-20261126T030000Z.db",
    )
)
@config_option
@database_option
@json_option
@click.option("--to", "folder", type=click.Path(path_type=Path), help="The folder for the copy.")
@click.option(
    "--check", "copy", type=click.Path(path_type=Path), help="Prove a copy instead of making one."
)
def backup(
    config: Path | None,
    database: Path | None,
    as_json: bool,
    folder: Path | None,
    copy: Path | None,
) -> None:
    """
    Make a copy of the mirror, while the daemon works.

    The copy is of one moment, and is checked before it gets its name. In the folder the newest
    copies are kept, as many as `keep` in [backup] says; what is older, and was noted in the mirror
    as its copy, is deleted. Each is an ordinary mirror in one file: to restore one, stop the
    daemon, move the mirror and its -wal and -shm aside, and put the copy in its place.
    """
    if copy:
        if folder:
            raise click.UsageError("--check proves a copy, --to makes one: give one of them")
        check(copy, as_json=as_json)
    from semysync.mirror.copies.backup import make, note

    settings, path = configured(config, database)
    where = folder or settings.copies()
    if where is None:
        raise ConfigError("no folder for copies: give one by --to, or set `path` in [backup]")
    with progress() as watch:
        made = make(path, where.absolute(), lambda: datetime.now(UTC), watch)
    noted, removed = True, []
    try:
        removed = note(path, made, settings.backup.keep)
    except SemysyncError as exc:
        noted = False
        complain(
            f"the copy {made.path} is good, but the mirror could not note it, so that it is never "
            f"deleted by itself and a purge does not count on it: {exc}"
        )
    if as_json:
        facts = {"file": str(made.path), "at": made.at, "bytes": made.bytes}
        facts |= {"messages": made.messages, "noted": noted, "removed": list(map(str, removed))}
        print_json(facts)
    else:
        click.echo(f"copy     {one_line(str(made.path))}")
        click.echo(f"holds    {counted(made.messages, 'message')}, {size_of(made.bytes)}, checked")
        for old in removed:
            click.echo(
                f"deleted  {one_line(old.name)}, since the newest {settings.backup.keep} are kept"
            )
    sys.exit(0 if noted else 1)


def check(copy: Path, *, as_json: bool) -> NoReturn:
    """Prove a copy, say what was found, and end with 1 where it is not good."""
    from semysync.mirror.copies.backup import check as proved

    with progress() as watch:
        proof = proved(copy, watch)
    if as_json:
        facts = {"file": str(copy), "good": not proof.faults, "faults": proof.faults}
        print_json(facts | {"newest_at": proof.newest_at, "rows": dict(proof.counts)})
    elif proof.faults:
        click.echo(f"{one_line(str(copy))} is damaged:")
        for fault in proof.faults:
            click.echo(f"  {one_line(fault)}")
    else:
        click.echo(f"{one_line(str(copy))} is good")
        received, sent = (f"{proof.counts.get(box, 0):,}" for box in ("inbox", "sent"))
        newest = f", the newest of {proof.newest_at[:16]}Z" if proof.newest_at else ""
        click.echo(f"  {received} received and {sent} sent messages{newest.replace('T', ' ')}")
    sys.exit(1 if proof.faults else 0)


def size_of(size: int) -> str:
    """Say the size of a file."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"


@contextmanager
def progress() -> Iterator[Callable[[str, float | None], None]]:
    """Show a bar on a terminal while a copy is made and checked; elsewhere nothing."""
    if not sys.stderr.isatty():
        yield lambda _what, _share: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<9}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=1.0)

        def watch(what: str, share: float | None) -> None:
            total = None if share is None else 1.0
            bars.update(task, description=what, completed=share or 0, total=total)

        yield watch
