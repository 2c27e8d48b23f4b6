"""`verify`: compare the account with the mirror, day by day."""

import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from semysync.cli.options import config_option, configured, database_option, examples, json_option
from semysync.cli.printing import OneByOne, complain, print_json, print_table
from semysync.cli.pulling import finish, make_sync, open_store, progress_bars
from semysync.model import Box

if TYPE_CHECKING:
    from semysync.mirror.tables.audits import Day
    from semysync.passes.verify import Report

SHOWN_DAYS = 31  #: more of them are shown by month
SHOWN_DIFFERENCES = 40

MEANINGS = {
    "lacking": "in the account, not in the mirror",
    "differing": "not the same in both",
    "conflicting": "the id belongs to another message here: the newcomer is kept in conflicts",
    "vanished": "in the mirror, no longer in the account",
    "returned": "in the account again, marked as missing here",
}


@click.command(
    short_help="Compare the account with the mirror, message by message.",
    epilog=examples(
        "semysync verify",
        "semysync verify --days 30 --repair",
        "semysync verify --all --repair     # after Ctrl-C it goes on where it was",
    ),
)
@click.option(
    "--days",
    type=click.IntRange(1, 36_500),
    help="The last days, today among them.  [default: verify_days in the config]",
)
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help="All from a day on, such as 2026-11-01.",
)
@click.option("--all", "everything", is_flag=True, help="All that was mirrored.")
@click.option("--repair", is_flag=True, help="Put right what differs.")
@config_option
@database_option
@json_option
def verify(
    days: int | None,
    since: datetime | None,
    everything: bool,
    repair: bool,
    config: Path | None,
    database: Path | None,
    as_json: bool,
) -> None:
    """
    Compare the account with the mirror, message by message, and show how they differ.

    What is newer than the mark is left to the next pull. With --repair what is lacking is added,
    what differs is brought up to date, and what has vanished from the account is marked as missing,
    never deleted. It may run beside the daemon, which does this by itself once a day.

    Ends with 0 where nothing differs, or all was repaired, and with 1 where something does, or
    could not be compared; 69 where the service refuses, 75 where trying again later may help, 78
    where the configuration is at fault.
    """
    from semysync import log
    from semysync.service.connecting import client_for

    if sum([days is not None, since is not None, everything]) > 1:
        raise click.UsageError("--days, --since and --all exclude each other: give one of them.")
    settings, path = configured(config, database)
    log.silence()
    first = None if everything else first_day(days or settings.pull.verify_days, since)
    try:
        with (
            client_for(settings, settings.token()) as client,
            open_store(path, settings.locale()) as store,
            progress_bars(stay=False) as watch,
        ):
            sync = make_sync(settings, client, store, lambda _: None)
            outcome, report = sync.verify(first, repair=repair, watch=watch)
            if report:
                _show(report, first, as_json=as_json)
                left = report.audit.left()
    except KeyboardInterrupt:
        complain("stopped; the same command goes on where it was, until tomorrow")
        sys.exit(1)
    if report is None:
        finish([outcome])
    elif left or report.unproven:
        sys.exit(1)


def first_day(days: int, since: datetime | None) -> date:
    """Return the first of so many days, today the last; or the day that is named, if it has come."""
    now = datetime.now(UTC)
    if since is None:
        return now.date() - timedelta(days=days - 1)
    if since.date() > max(now.date(), now.astimezone().date()):
        raise click.UsageError(f"--since: {since:%Y-%m-%d} has not come yet")
    return min(since.date(), now.date())  # where it has come here, it may be yet to come in UTC


def _show(report: "Report", since: date | None, *, as_json: bool) -> None:
    audit = report.audit
    days = {box: audit.days(box) for box in Box}
    if as_json:
        print_json(
            {
                "since": since and str(since),
                "resumed": audit.resumed,
                "days": [{"box": str(box)} | day._asdict() for box in Box for day in days[box]],
                "differences": OneByOne(one._asdict() for one in audit.differences()),
                "unproven": report.unproven,
                "left": audit.left(),
            }
        )
        return
    kinds = [what for what in MEANINGS if audit.counts().get(what)]
    header = ("day", "box", "account", "mirror", *kinds, *(["left"] if kinds else []))
    distinct = {day.day for those in days.values() for day in those if day.day >= str(since or "")}
    width = len("2026-11-26" if len(distinct) <= SHOWN_DAYS else "2026-11")
    rows = [row for box in Box for row in _rows(box, days[box], since, width, header[4:])]
    if rows:
        print_table(header, rows, right=range(2, len(header)))
    _show_differences(report)
    for sentence in report.unproven:
        complain(f"not compared: {sentence}")


def _rows(
    box: Box, days: "list[Day]", since: date | None, width: int, kinds: Sequence[str]
) -> Iterator[tuple[str, ...]]:
    """Yield a row a day, or a month where there are many; what is zero is a blank."""

    def period(day: "Day") -> str:
        return day.day[:width] if day.day >= str(since or "") else "earlier"

    for name, those in groupby(days, key=period):
        summed = list(those)
        sums = [sum(getattr(day, of) for day in summed) for of in kinds]
        account, mirror = (sum(getattr(day, of) for day in summed) for of in ("account", "mirror"))
        yield name, str(box), f"{account:,}", f"{mirror:,}", *(f"{n:,}" if n else "" for n in sums)


def _show_differences(report: "Report") -> None:
    audit = report.audit
    counts, left = audit.counts(), audit.left()
    if not counts:
        click.echo(
            "nothing differs" if not report.unproven else "nothing differs of what was compared"
        )
        return
    click.echo("")
    for what, number in counts.items():
        click.echo(f"{number:,} {what}: {MEANINGS[what]}")
    for one in islice(audit.differences(), SHOWN_DIFFERENCES):
        done = "  repaired" if one.repaired else ""
        click.echo(f"  {one.box} {one.message_id}  {one.day}  {one.what}{done}")
    if (more := sum(counts.values()) - SHOWN_DIFFERENCES) > 0:
        click.echo(f"  … and {more:,} more: --json shows all, and so does the table verify_found")
    if left and not report.repaired:
        click.echo("`semysync verify --repair` puts right what can be")
