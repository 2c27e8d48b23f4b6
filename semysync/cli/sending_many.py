"""`send --csv`: a draft for each line of a file, and a report of what became of them."""

import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NoReturn

import click

from semysync.cli.drafts import warn_without_daemon, writing_drafts
from semysync.cli.printing import complain, counted, print_json
from semysync.cli.sending import MANY_PARTS, add, parts_of
from semysync.cli.sheet import BadSheet, Line, lines
from semysync.mirror.file import writing
from semysync.mirror.outbox.drafts import NotAllowed

GROUP = 300  #: lines of a file in one transaction
BREATH_S = 0.02  #: at least, between two of them: SQLite does not queue other writers, they try


@dataclass(kw_only=True)
class Report:
    """What became of the lines of a file, as far as they are committed."""

    drafts: list[tuple[int, int]] = field(default_factory=list)  #: line, id
    known: list[tuple[int, int | None]] = field(default_factory=list)  #: their key was used before
    refused: list[tuple[int, str]] = field(default_factory=list)  #: line, sentence
    long: int = 0  #: texts of many parts
    last: int = 0  #: the last line that was seen to


def only_a_sheet(others: Mapping[str, object]) -> None:
    """Refuse what makes no sense beside a file."""
    for name, value in others.items():
        if value is not None:
            raise click.UsageError(f"{name} and --csv do not go together")


def send_sheet(sheet: str, usual: Mapping[str, object], path: Path, *, as_json: bool) -> NoReturn:
    """Insert a draft for each line of a file, and report what came of it."""
    report = Report()
    with opened(sheet) as raw, writing_drafts(path) as conn:
        try:
            with progress(raw) as draw:
                for group in grouped(lines(raw)):
                    done = Report(last=group[-1].number)
                    began = time.monotonic()
                    with writing(conn):
                        for line in group:
                            put(conn, line, usual, done)
                    took_s = time.monotonic() - began
                    merge(report, done)
                    draw(report)
                    time.sleep(max(BREATH_S, took_s))
        except BadSheet as exc:
            raise click.UsageError(f"{sheet}: {exc}") from None
        except (KeyboardInterrupt, sqlite3.Error) as exc:
            print_report(report, sheet, as_json=as_json)
            complain(f"broken off behind line {report.last} of {sheet}: what follows is not added")
            if isinstance(exc, KeyboardInterrupt):
                sys.exit(1)
            raise
    print_report(report, sheet, as_json=as_json)
    if report.long:
        complain(
            f"{counted(report.long, 'text')} of more than {MANY_PARTS} SMS, each may be charged for"
        )
    if report.drafts:
        warn_without_daemon(path)
    sys.exit(1 if report.refused else 0)


@contextmanager
def opened(sheet: str) -> Iterator[BinaryIO]:
    """Open a file, or take standard input."""
    if sheet == "-":
        yield sys.stdin.buffer
        return
    try:
        raw = Path(sheet).open("rb")  # noqa: SIM115  errors of what is done with it are not ours
    except OSError as exc:
        raise click.UsageError(f"cannot read {sheet}: {exc.strerror}") from None
    with raw:
        yield raw


def grouped(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """Read lines by the group, so that no transaction waits for who writes them."""
    source = iter(lines)
    while group := list(islice(source, GROUP)):
        yield group


def put(conn: sqlite3.Connection, line: Line, usual: Mapping[str, object], report: Report) -> None:
    """Insert the draft of a line, and note what became of it."""
    if line.fields is None:
        report.refused.append((line.number, line.error or ""))
        return
    fields = {**usual, **{name: cell for name, cell in line.fields.items() if cell}}
    try:
        added = add(conn, fields)
    except NotAllowed as exc:
        report.refused.append((line.number, str(exc)))
        return
    if not added.new:
        report.known.append((line.number, added.id))
    elif added.id is not None:
        report.drafts.append((line.number, added.id))
        if fields.get("kind") != "ussd":
            report.long += parts_of(str(fields.get("text", ""))) > MANY_PARTS


def merge(report: Report, done: Report) -> None:
    """Add what became of a group to the report."""
    report.drafts += done.drafts
    report.known += done.known
    report.refused += done.refused
    report.long += done.long
    report.last = done.last


@contextmanager
def progress(raw: BinaryIO) -> Iterator[Callable[[Report], None]]:
    """Show a bar on a terminal; elsewhere nothing."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    size = None
    if raw.seekable():
        size = raw.seek(0, 2) or None
        raw.seek(0)
    columns = (
        BarColumn(),
        TextColumn("{task.fields[added]:>9,} drafts"),
        TextColumn("{task.fields[refused]:,} refused"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=size, added=0, refused=0)

        def draw(report: Report) -> None:
            bars.update(
                task,
                completed=raw.tell() if size else 0,
                added=len(report.drafts),
                refused=len(report.refused),
            )

        yield draw


def print_report(report: Report, sheet: str, *, as_json: bool) -> None:
    """Print what became of a file."""
    for number, sentence in report.refused:
        complain(f"{sheet}, line {number}: {sentence}")
    if as_json:
        print_json(
            {
                "inserted": len(report.drafts),
                "known": len(report.known),
                "drafts": [{"line": n, "id": i} for n, i in report.drafts],
                "used_before": [{"line": n, "id": i} for n, i in report.known],
                "refused": [{"line": n, "error": s} for n, s in report.refused],
            }
        )
        return
    said = f"Added {counted(len(report.drafts), 'draft')}"
    if report.drafts:
        first, last = report.drafts[0][1], report.drafts[-1][1]
        said += f", id {first}" if first == last else f", ids from {first} to {last}"
    if report.known:
        said += f"; {counted(len(report.known), 'line')} with a key that was used before"
    if report.refused:
        said += f"; refused {counted(len(report.refused), 'line')}"
    click.echo(f"{said}.")
