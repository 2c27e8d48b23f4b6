"""`stats`: the plots of the charts in the browser, as far as a terminal can draw them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from sqlite3 import Connection, Row
from typing import TYPE_CHECKING, Any

import click

from semysync.cli.options import config_option, database_option, examples, json_option
from semysync.cli.printing import one_line, print_json
from semysync.cli.reading import reading
from semysync.mirror.reading.plots import FIGURES, PERCENTILES, PLOTS

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

STEPS = "▁▂▃▄▅▆▇█"
RECEIVED, SENT = "█", "░"  #: told apart without colours, too
COLOURS = {RECEIVED: "green", SENT: "cyan"}
NOTHING = "·"
SHOWN_DAYS = 14
WIDEST = 110  #: columns: a bar that is longer says no more

Rows = Sequence[Mapping[str, Any]]


@click.command(epilog=examples("semysync stats", "semysync stats --json | jq .days"))
@config_option
@database_option
@json_option
def stats(config: Path | None, database: Path | None, as_json: bool) -> None:
    """
    Show how the messages and the phones are doing, in plots.

    Messages a day and an hour, how long deliveries take, what each device did and how full its
    battery is, what waits, and what is left of the plan. Days and hours are those of UTC.
    """
    with reading(config, database) as conn:
        found = _asked(conn)
    if as_json:
        print_json(found)
        return
    _print(found)


def _asked(conn: Connection) -> dict[str, Any]:
    answers: dict[str, Any] = {"now": dict(conn.execute(FIGURES).fetchone())}
    for plot in PLOTS:
        rows: list[Row] = conn.execute(plot.sql).fetchall()
        answers[plot.name] = [dict(row) for row in rows]
    return answers


def _print(found: Mapping[str, Any]) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    width = min(console.width, WIDEST)
    now = found["now"]
    left = now["messages_left"]
    facts = [f"mirror {now['verdict']}", f"{now['today']:,} messages today"]
    facts.append(f"{now['waiting']:,} drafts on their way")
    if isinstance(left, int):
        facts.append(f"{left:,} left in the plan")
    console.print(", ".join(facts), soft_wrap=True)
    today = datetime.now(UTC)
    _print_days(console, found["days"], today.date(), width)
    _print_hours(console, found["hours"], today, width)
    _print_delivery(console, found["delivery"], width)
    _print_devices(console, found, width)
    _print_pairs(console, "The outbox", [(r["status"], f"{r['drafts']:,}") for r in found["queue"]])
    plan = [row["messages_left"] for row in reversed(found["plan"])]
    if len(plan) > 1:
        _head(console, "Messages left in the plan, the last 90 days")
        console.print(f"{sparkline(plan, width - 20)}  {plan[-1]:,}")


def _head(console: "Console", title: str, key: "Text | None" = None) -> None:
    from rich.text import Text

    console.print()
    line = Text(title, "bold")
    if key:
        line = Text.assemble(line, "   ", key)
    console.print(line)


def _print_days(console: "Console", rows: Rows, today: date, width: int) -> None:
    from rich.text import Text

    counts = by_direction(rows, "day")
    key = Text.assemble(
        (RECEIVED, COLOURS[RECEIVED]), " received  ", (SENT, COLOURS[SENT]), " sent"
    )
    if not counts:
        return
    _head(console, "Messages a day", key)
    days = [(today - timedelta(days=n)).isoformat() for n in range(SHOWN_DAYS - 1, -1, -1)]
    longest = max(sum(counts.get(day, (0, 0))) for day in days)
    digits = len(f"{longest:,}")
    for day in days:
        received, sent = counts.get(day, (0, 0))
        line = Text(f"{day}  {received:>{digits},}  {sent:>{digits},}  ")
        line.append_text(bar((received, sent), longest, width - len(line)))
        console.print(line, no_wrap=True)


def _print_hours(console: "Console", rows: Rows, now: datetime, width: int) -> None:
    counts = by_direction(rows, "hour")
    if not counts:
        return
    _head(console, "Messages an hour, the last two days")
    hours = [f"{now - timedelta(hours=n):%Y-%m-%dT%H}:00:00Z" for n in range(47, -1, -1)]
    for place, name in enumerate(("received", "sent")):
        values = [counts.get(hour, (0, 0))[place] for hour in hours]
        console.print(
            f"{name:<9} {sparkline(values, width - 24)}  at most {max(values):,}", no_wrap=True
        )


def _print_delivery(console: "Console", rows: Rows, width: int) -> None:
    if not rows:
        return
    _head(console, "Time to delivery, the last 14 days")
    for percentile in PERCENTILES:
        values = [row["seconds"] for row in rows if row["percentile"] == percentile]
        if values:
            shown = sparkline(values, width - 40)
            console.print(f"{percentile:<12} {shown}  {duration(values[-1])}", no_wrap=True)


def _print_devices(console: "Console", found: Mapping[str, Rows], width: int) -> None:
    from rich.cells import set_cell_size

    messages: dict[str, int] = defaultdict(int)
    failed: dict[str, int] = defaultdict(int)
    battery: dict[str, list[float]] = defaultdict(list)
    for row in found["activity"]:
        messages[row["device"]] += row["messages"]
    for row in found["failures"]:
        failed[row["device"]] += row["failed"]
    for row in reversed(found["battery"]):
        battery[row["device"]].append(row["battery"])
    names = sorted({*messages, *failed, *battery}, key=lambda name: (-messages[name], name))
    if not names:
        return
    _head(console, "Devices: messages in 14 days, failures in 30, battery in seven")
    wide = min(max(map(len, names)), 24)
    for name in names:
        facts = f"{set_cell_size(one_line(name), wide)}  {messages[name]:>7,}  {failed[name]:>5,} failed"
        levels = battery[name]
        if levels:
            shown = sparkline(levels, width - len(facts) - 12, top=100)
            facts += f"  {shown}  {levels[-1]:.0f} %"
        console.print(facts, no_wrap=True)


def _print_pairs(console: "Console", title: str, pairs: Iterable[tuple[str, str]]) -> None:
    shown = [f"{value} {name}" for name, value in pairs]
    if shown:
        _head(console, title)
        console.print(", ".join(shown), soft_wrap=True)


def by_direction(rows: Rows, along: str) -> dict[str, tuple[int, int]]:
    """Return how many were received and sent, of all channels together."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for row in rows:
        counts[row[along]][row["direction"].startswith("sent")] += row["messages"]
    return {at: (received, sent) for at, (received, sent) in counts.items()}


def bar(parts: tuple[int, int], longest: int, width: int) -> "Text":
    """Draw two numbers, one behind the other; what is more than nothing is seen."""
    from rich.text import Text

    drawn = Text()
    room = max(width, 2)
    for sign, number in zip((RECEIVED, SENT), parts, strict=True):
        cells = max(round(number * room / max(longest, 1)), number > 0)
        drawn.append(sign * int(cells), COLOURS[sign])
    drawn.truncate(room)
    return drawn


def sparkline(values: Sequence[float], width: int, top: float | None = None) -> str:
    """Draw numbers as columns in one line, the last ones where there is no room for all."""
    shown = values[-max(width, 1) :]
    highest = top or max(shown) or 1
    return "".join(
        STEPS[min(int(value / highest * len(STEPS)), len(STEPS) - 1)] if value > 0 else NOTHING
        for value in shown
    )


def duration(seconds: float) -> str:
    """Say how long something takes."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
