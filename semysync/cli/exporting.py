"""`export`: messages, or any table or view, as files for other programs."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import groupby
from pathlib import Path
from sqlite3 import Connection
from typing import Any

import click

from semysync.cli import completing, formats, pages
from semysync.cli.messages import as_here, narrowed, narrowing
from semysync.cli.options import config_option, database_option, examples
from semysync.cli.printing import complain, counted
from semysync.cli.reading import reading
from semysync.mirror.reading import export as exports
from semysync.mirror.reading import person as persons
from semysync.mirror.reading.export import Selection
from semysync.mirror.reading.history import Narrowed

FORMATS = ("csv", "jsonl", "parquet", "html")
SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}


@click.command(
    epilog=examples(
        "semysync export > messages.csv",
        "semysync export --contact +79201234567 --since 30d --out anna.jsonl",
        "semysync export sent --format parquet --by-month --out archive/",
        "semysync export --format html --out pages/",
        "semysync export device_samples --out samples.csv",
        "semysync export --person +79201234567 --out anna.jsonl",
    )
)
@click.argument("what", required=False, default="messages", metavar="[TABLE]")
@click.option(
    "--format", "form", type=click.Choice(FORMATS), help="Else by the ending of --out, or csv."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="A file, or a folder for --by-month and html; else standard output.",
)
@click.option("--by-month", is_flag=True, help="A file for each month, in the folder --out.")
@click.option(
    "--person",
    help="Everything about this number or name, from every table.",
    shell_complete=completing.contacts,
)
@click.option("--force", is_flag=True, help="Replace files that are there already.")
@narrowing
@config_option
@database_option
def export(
    what: str,
    form: str | None,
    out: Path | None,
    by_month: bool,
    person: str | None,
    force: bool,
    config: Path | None,
    database: Path | None,
    **options: Any,
) -> None:
    """
    Write messages, or any table or view, into a file.

    TABLE is messages if none is named; `semysync export nothing` lists them. CSV and JSON lines go
    to standard output or a file, Parquet to a file (it needs `pip install 'semysync[parquet]'`),
    and html makes a page for each conversation. Times are as the mirror has them.

    --person is for someone who asks what is kept of them: JSON lines, each a table and a row of it.

    All is of one moment, and the order is always the same. A file has its name only once it is
    complete. TIME is as in `semysync messages`.
    """
    if person is not None:
        as_lines = form in {None, "jsonl"}
        others = {"TABLE": what != "messages", "--format": not as_lines, "--by-month": by_month}
        only_a_person(others | {f"--{name}": bool(value) for name, value in options.items()})
        one_person(person, out, config, database, force=force)
        return
    form = form or (SUFFIXES.get(out.suffix.lower(), "csv") if out and not by_month else "csv")
    if out is None and (by_month or form in {"parquet", "html"}):
        raise click.UsageError(f"{'--by-month' if by_month else form} needs --out")
    if form == "html" and (by_month or what != "messages"):
        raise click.UsageError("html is for messages: it makes a page for each conversation")
    wanted = narrowed(**options)
    with reading(config, database) as conn:
        conn.execute("begin")  # one moment for all that is read
        wanted = as_here(conn, wanted)
        if form == "html" and out:
            written = pages.write(conn, wanted, out, force=force)
            click.echo(f"{counted(written, 'conversation')}: {out / 'index.html'}")
            return
        selected = chosen(conn, what, wanted)
        if by_month and out:
            files = each_month(conn, selected, out, form, force=force)
            click.echo(f"{counted(len(files), 'file')} in {out}")
        else:
            one_file(conn, selected, out, form, force=force)


def only_a_person(others: Mapping[str, bool]) -> None:
    """Refuse what would say that not everything about a person is wanted, or not as JSON lines."""
    for name, is_given in others.items():
        if is_given:
            raise click.UsageError(f"{name} and --person do not go together")


def one_person(
    named: str, out: Path | None, config: Path | None, database: Path | None, *, force: bool
) -> None:
    """Write everything about a person, as JSON lines."""
    with reading(config, database) as conn, ExitStack() as complete:
        conn.execute("begin")
        contact = persons.contact_here(conn, named) or named
        lines = ({"table": table, "row": dict(row)} for table, row in persons.data(conn, contact))
        file = complete.enter_context(formats.new_file(out, force=force)) if out else None
        count = formats.write_lines(file or sys.stdout.buffer, lines)
    if out:
        click.echo(f"{counted(count, 'row')}: {out}")
    if not count:
        complain(f"nothing is known of {named}")
        sys.exit(1)


def chosen(conn: Connection, what: str, wanted: Narrowed) -> Selection:
    """Return what to export, or end with what is wrong with it."""
    try:
        return exports.selection(conn, what, wanted)
    except ValueError as exc:
        raise click.UsageError(str(exc)) from None


def one_file(
    conn: Connection, selected: Selection, out: Path | None, form: str, *, force: bool
) -> None:
    """Write everything into a file, or to standard output."""
    with watched(conn, selected, quiet=out is None) as rows:
        if out is None:
            formats.write(form, sys.stdout.buffer, selected.columns, rows)
            return
        with formats.new_file(out, force=force) as file:
            count = formats.write(form, file, selected.columns, rows)
    click.echo(f"{counted(count, 'row')}: {out}")


def each_month(
    conn: Connection, selected: Selection, out: Path, form: str, *, force: bool
) -> list[Path]:
    """Write a file for each month; the rows come in the order of time."""
    if selected.time is None:
        raise click.UsageError(f"--by-month does not go with {selected.name}: it has no time")
    place = [column.name for column in selected.columns].index(selected.time)
    in_time = selected.by_time()
    files = []
    with watched(conn, in_time, quiet=False) as rows, ExitStack() as complete:
        for month, of_month in groupby(rows, lambda row: exports.month_of(row[place])):
            path = out / f"{selected.name}-{month}.{form}"
            file = complete.enter_context(formats.new_file(path, force=force))
            formats.write(form, file, selected.columns, of_month)
            files.append(path)
    return files


@contextmanager
def watched(
    conn: Connection, selected: Selection, *, quiet: bool
) -> Iterator[Iterator[tuple[object, ...]]]:
    """Yield the rows, with a bar on a terminal that shows how many have gone by."""
    rows = selected.rows(conn)
    if quiet or not sys.stderr.isatty():
        yield rows
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(selected.name, total=selected.count(conn))
        yield ticking(rows, lambda: bars.advance(task, 1_000))


def ticking(
    rows: Iterator[tuple[object, ...]], tick: Callable[[], None]
) -> Iterator[tuple[object, ...]]:
    """Yield rows, and tick after every thousand."""
    for number, row in enumerate(rows, 1):
        yield row
        if not number % 1_000:
            tick()
