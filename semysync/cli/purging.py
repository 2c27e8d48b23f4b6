"""`purge`: show what would be deleted at the service, and delete it."""

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from semysync.cli.options import config_option, configured, database_option, examples, json_option
from semysync.cli.printing import complain, print_json, print_table
from semysync.cli.pulling import advice, bars, make_sync, of_boxes
from semysync.config import Config
from semysync.errors import PurgeUnsafe
from semysync.model import Box

if TYPE_CHECKING:
    import sqlite3

    from semysync.passes.expendable import Limits
    from semysync.passes.purge import Purged

MOST_DAYS = 20  #: shown, without --all


@click.command(
    epilog=examples(
        "semysync purge                 # what would go, and why the rest stays",
        "semysync purge --yes           # delete it",
        "semysync purge --json | jq .stays",
    )
)
@click.option("--yes", is_flag=True, help="Delete it at the service.")
@click.option("--all", "all_days", is_flag=True, help="Show every day.")
@config_option
@database_option
@json_option
def purge(
    config: Path | None, database: Path | None, yes: bool, all_days: bool, as_json: bool
) -> None:
    """
    Delete old messages at the service; here nothing is ever deleted.

    Without --yes nothing is asked and nothing goes: it shows what would go by what the mirror
    knows, by day and box, why the rest stays, and how the service would be asked.

    With --yes at most `max_per_pass` messages go, also where [purge] is not enabled, which is about
    the daemon. Before that the mirror is brought up to date. Where purging was stopped by a
    surprise, it begins anew, with a single message.

    Ends with 1 where something was not as expected, or only a part went; 69 where the service
    refuses, 75 where trying again later may help.
    """
    settings, path = configured(config, database)
    if yes:
        _do(settings, path, as_json=as_json)
    else:
        _show(settings, path, all_days=all_days, as_json=as_json)


def _do(settings: Config, path: Path, *, as_json: bool) -> None:
    from semysync import log
    from semysync.mirror.lock import Lock, Right
    from semysync.mirror.store import Store
    from semysync.mirror.tables.purges import Purges, stopped
    from semysync.passes.purge import Purger
    from semysync.service.connecting import client_for

    log.silence()
    token, most = settings.token(), settings.purge.max_per_pass
    try:
        with (
            Store.open(path, settings.locale()) as store,
            Lock(path, Right.PURGE),
            Purges(path) as purges,
            client_for(settings, token) as client,
            bars(stay=False) as show,
        ):
            if stopped(purges.conn):
                purges.begin_anew()
            purged = Purger(
                client,
                store,
                purges,
                make_sync(settings, client, store, of_boxes(show)),
                settings.purge,
                region=settings.contacts.region,
                backup=settings.backup,
                replica=settings.replica,
                most_requests=sys.maxsize,
                watch=lambda gone: show("deleted", gone / most, gone),
            ).once()
    except KeyboardInterrupt:
        complain("stopped; what was asked for last is looked into by the next purge")
        sys.exit(1)
    gone = {str(box): count for box, count in purged.gone.items()}
    if as_json:
        error = str(purged.failure) if purged.failure else None
        print_json({"mirror": str(path), "gone": gone, "error": error})
    else:
        for box, count in gone.items():
            click.echo(f"{box:<8} {count:,} deleted at the service")
        if purged.messages >= most:
            click.echo("as many as may go at a time: there may be more")
    _finish(purged)


def _finish(purged: "Purged") -> None:
    """End with the exit code that says how far it came, after a sentence on what failed."""
    if purged.failure is None:
        return
    complain(f"{purged.failure}{advice(purged.failure)}")
    sys.exit(1 if purged.messages else purged.failure.exit_code)


def _show(settings: Config, path: Path, *, all_days: bool, as_json: bool) -> None:
    from semysync.mirror.file import explained, open_reader
    from semysync.mirror.tables import purges

    now = datetime.now(UTC)
    with explained(path, reading=True), closing(open_reader(path)) as conn:
        facts = _facts(conn, settings, now)
        stopped = purges.stopped(conn)
    if as_json:
        print_json({"mirror": str(path), "enabled": settings.purge.enabled, **facts})
    else:
        _print(facts, settings, all_days=all_days)
    if stopped and not as_json:
        click.echo(f"\nPurging was stopped: {stopped}.")


def _facts(conn: "sqlite3.Connection", settings: Config, now: datetime) -> dict[str, Any]:
    """Return what would go by day and box, why the rest stays, and how it would be asked for."""
    from semysync.mirror.copies import extent
    from semysync.mirror.tables import purges
    from semysync.passes.purge import limits_of

    unsafe, copied_until = None, None
    try:
        copied_until = extent.copied_until(
            conn, settings.purge, settings.backup, settings.replica, now
        )
    except PurgeUnsafe as exc:
        unsafe = str(exc)
    copy = extent.copy_needed(conn, settings.purge, settings.backup, now)
    limits = limits_of(settings.purge, settings.contacts.region, copied_until, copy)
    days: dict[str, Counter[Box]] = {}
    stays: list[dict[str, Any]] = []
    asked = []
    for box in Box:
        counts, first = _judged(conn, box, limits[box], now, days)
        stays += [
            {"box": str(box), "reason": str(reason), "why": why, "messages": count}
            for reason, why, count in counts
        ]
        asked += [{"box": str(box), **first}] if first else []
    return {
        "stopped": purges.stopped(conn),
        "unsafe": unsafe,
        "max_per_pass": settings.purge.max_per_pass,
        "goes": [{"day": day, **{str(box): days[day][box] for box in Box}} for day in sorted(days)],
        "stays": stays,
        "asked": asked,
    }


def _judged(
    conn: "sqlite3.Connection",
    box: Box,
    limits: "Limits",
    now: datetime,
    days: dict[str, Counter[Box]],
) -> tuple[list[tuple[str, str, int]], Mapping[str, str]]:
    """Count what goes into `days`; return why the rest stays, and how the next slice is named."""
    from semysync.mirror.tables import purges
    from semysync.passes import expendable
    from semysync.passes.purge import judge

    reasons: Counter[expendable.Reason] = Counter()
    size = expendable.size_after(purges.clean(conn, box))

    def counted() -> Iterator[Any]:
        for held, reason in judge(conn, box, limits, now):
            if reason:
                reasons[reason] += 1
            elif held.printed:
                days.setdefault(f"{held.printed:%Y-%m-%d}", Counter())[box] += 1
            yield held, reason

    slices = expendable.slices(box, counted(), size=size, most=sys.maxsize)
    first = min(slices, key=lambda one: one.ids[0], default=None)
    doomed = first.named(expendable.WAYS[box][0], now) if first else None
    sentences = expendable.SENTENCES
    counts = [
        (str(reason), sentences[reason].format(days=limits.days), count)
        for reason, count in reasons.most_common()
    ]
    return counts, doomed.fields() if doomed else {}


def _print(facts: Mapping[str, Any], settings: Config, *, all_days: bool) -> None:
    goes: Sequence[Mapping[str, Any]] = facts["goes"]
    if goes:
        shown = goes if all_days else goes[:MOST_DAYS]
        rows: list[list[str]] = [[day["day"], *(f"{day[box]:,}" for box in Box)] for day in shown]
        if rest := goes[len(shown) :]:
            sums = (f"{sum(day[box] for day in rest):,}" for box in Box)
            rows.append([f"{len(rest):,} more days", *sums])
        rows.append(["all", *(f"{sum(day[box] for day in goes):,}" for box in Box)])
        print_table(["would go", *Box], rows, right={1, 2})
    else:
        click.echo("Nothing would go.")
    if facts["stays"]:
        click.echo()
        stays = [[one["box"], f"{one['messages']:,}", one["why"]] for one in facts["stays"]]
        print_table(["stays", "messages", "why"], stays, right={1})
    if facts["asked"]:
        click.echo("\nThe service would be asked first for:")
        for one in facts["asked"]:
            named = " ".join(f'{name}="{value}"' for name, value in one.items() if name != "box")
            click.echo(f"  {one['box']:<6} {named}")
    if facts["unsafe"]:
        click.echo(f"\nNothing goes as things are: {facts['unsafe']}.")
    elif goes:
        click.echo(
            f"\nNothing was asked, and nothing deleted. `semysync purge --yes` deletes "
            f"{settings.purge.max_per_pass:,} messages at most at a time, of each box the oldest one "
            "first, alone; what was deleted stays in the mirror."
        )
