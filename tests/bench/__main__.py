"""
Run all benchmarks one after the other, and print one table: what, figure, floor, ratio, budget, met.

    .venv/bin/python -m tests.bench [--quick] [pull send …]

What stands beside a figure was measured in the same run. The budgets are those of the contract. Each
benchmark prints more than that, and its own words go to standard error. The table is the README's.
"""

import argparse
import os
import platform
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
NUMBER = r"([\d,.]+)"


class Figure(NamedTuple):
    """A line of the table; `met` is None where the contract names no budget."""

    what: str
    figure: str
    floor: str = ""
    ratio: str = ""
    budget: str = ""
    met: bool | None = None


def number(text):
    return float(text.replace(",", ""))


def found(pattern, told):
    return re.findall(pattern, told, re.MULTILINE)


def pull(told):
    for block in re.split(r"^(?=[\d,]+ messages, )", told, flags=re.MULTILINE)[1:]:
        size = block.partition(" ")[0]
        rows = {
            name: cells for name, *cells in found(rf"^(\w+) +{' +'.join([NUMBER] * 5)}$", block)
        }
        ours, floor = rows["semysync"], rows["floor"]
        ratio = found(rf"^ratio: {NUMBER}", block)[0]
        met = float(ratio) >= 0.6
        yield Figure(f"first load of {size}, rows/s", ours[0], floor[0], ratio, "0.6", met)
        memory = number(ours[3]) < 120
        yield Figure("… its memory", f"{ours[3]} MB", f"{floor[3]} MB", "", "120 MB", memory)
        for name, title in PEERS.items():
            if name in rows:
                yield beside(title, ours[0], rows[name][0])
    for why in found(r"^(\w+: .* is not installed)$", told):
        yield Figure(f"… {why}", "")


PEERS = {"script": "requests and sqlite3, without a search index", "dlt": "dlt into DuckDB"}


def beside(peer, ours, other):
    """A line for a peer, with the ratio of two speeds, or of two times where they are told in ms."""
    ratio = number(ours.removesuffix(" ms")) / number(other.removesuffix(" ms"))
    return Figure(f"… beside {peer}", ours, other, f"{ratio:.0f}" if ratio > 10 else f"{ratio:.2g}")


def quiet(told):
    pattern = rf"^(.*): {NUMBER} ms with .*, {NUMBER} ms with {NUMBER} m?.*ratio {NUMBER}, (\d+) q"
    for scope, small, large, size, ratio, questions in found(pattern, told):
        what = f"nothing new in {size.strip(',')}: {scope}"
        yield Figure(what, f"{large} ms", f"{small} ms", ratio, "1", float(ratio) < 1.25)
        most = 6 if "devices" in scope else 2
        yield Figure(
            "… questions for both boxes", questions, "", "", str(most), int(questions) <= most
        )


def table_of(told, budget_ms=None, only=""):
    """A table of a name, milliseconds, those of the floor, and their ratio."""
    for name, took, least, ratio in found(rf"^(.*\S) +{NUMBER} +{NUMBER} +{NUMBER}$", told):
        if only in name:
            met = None if budget_ms is None else number(took) < budget_ms
            budget = "" if budget_ms is None else f"{budget_ms} ms"
            yield Figure(name, f"{took} ms", f"{least} ms", ratio, budget, met)


def read(told):
    yield from table_of(told, 20)
    for name, took in found(rf"^(.*\S) +{NUMBER} ms$", told):
        title = f"Datasette: {name}"
        yield Figure(title, f"{took} ms", "", "", "50 ms", number(took) < 50)


#: of the pages that are measured the README has these, and the slowest of the charts and queries
PAGES = {
    "conversations",
    "the busy conversation",
    "search in it: a common word",
    "search everywhere: a common word",
    "Datasette: inbox",
}


def web(told):
    rows = list(table_of(told))
    for kind in ("chart", "query"):
        slowest = max(
            (row for row in rows if row.what.startswith(f"{kind}: ")),
            key=lambda row: number(row.figure.removesuffix(" ms")),
        )
        rows.append(slowest._replace(what=f"the slowest {kind} ({slowest.what.split(': ')[1]})"))
    yield from (
        row._replace(what=f"page: {row.what}")
        for row in rows
        if row.what in PAGES or row.what.startswith("the slowest")
    )


def refresh(told):
    (small, large), ratio = (
        found(rf": +{NUMBER} ms a refresh", told),
        found(f"^ratio {NUMBER}", told),
    )
    met = float(ratio[0]) < 1.25
    yield Figure("refresh in a large history", f"{large} ms", f"{small} ms", ratio[0], "1", met)


def send(told):
    speed = found(rf"through batches +{NUMBER}", told)[0]
    floor, ratio = found(rf"bare loop +{NUMBER} .*ratio {NUMBER}", told)[0]
    met = number(speed) >= 1000
    yield Figure("drafts a second, in batches", speed, floor, ratio, "1,000", met)
    gammu = dict(found(rf"^Gammu SMSD, (\S.*\S) +(?:median)? +{NUMBER} (?:a second|ms)", told))
    if "many at once" in gammu:
        yield beside("Gammu SMSD", speed, gammu["many at once"])
    pattern = rf"commit to request, (\w+) +median +{NUMBER} ms, 99th percentile +{NUMBER} ms"
    for kind, median, most in found(pattern, told):
        what = f"commit to request, `synchronous = {kind.lower()}`"
        yield Figure(what, f"{median} ms", "", "", "10 ms", number(median) <= 10)
        yield Figure("… of a hundred, 99", f"{most} ms", "", "", "60 ms", number(most) <= 60)
    for how in ("defaults", "eager"):
        if how in gammu:
            yield beside(f"Gammu SMSD, {how}", f"{median} ms", f"{gammu[how]} ms")
    yield from (Figure(f"… {why}", "") for why in found(r"^(Gammu SMSD: .*)$", told))


def idle(told):
    pattern = rf"^ *{NUMBER} messages: {NUMBER} % of a core .*?, {NUMBER} MB.*second: {NUMBER} %"
    for size, share, memory, least in found(pattern, told):
        ratio = f"{number(share) / number(least):.1f}" if number(least) else ""
        what, met = f"at rest with {size} messages", number(share) < 0.5
        yield Figure(what, f"{share} % of a core", f"{least} %", ratio, "0.5 %", met)
        yield Figure("… its memory", f"{memory} MB", "", "", "70 MB", number(memory) < 70)


def wake(told):
    parts = re.split(r"^\d+ commits with synchronous=(\w+)", told, flags=re.MULTILINE)[1:]
    for kind, part in zip(parts[::2], parts[1::2], strict=True):
        rows = dict(found(rf"^(Watch|a bare poll of 40 ms) +{NUMBER} ", part))
        ours, bare = rows["Watch"], rows["a bare poll of 40 ms"]
        ratio = f"{number(ours) / number(bare):.2g}"
        what = f"a commit noticed, `synchronous = {kind}`; a poll of 40 ms"
        yield Figure(what, f"{ours} ms", f"{bare} ms", ratio)


def webhook(told):
    rows = found(rf"^(.*\S) +{NUMBER} +{NUMBER} +{NUMBER}$", told)
    ratio = found(rf"median with webhooks: {NUMBER}", told)
    (_, called, *_), (_, polled, *_) = rows[:2]
    yield Figure("webhook to commit; polling alone", f"{called} ms", f"{polled} ms", ratio[0])


def startup(told):
    rows = {name: took for name, took, *_ in found(rf"^(.*\S) +{' +'.join([NUMBER] * 4)}$", told)}
    floor = rows["empty Python"]
    for name in ("--help", "status", "send"):
        ratio = f"{number(rows[name]) / number(floor):.1f}"
        met = number(rows[name]) < 250
        yield Figure(f"semysync {name}", f"{rows[name]} ms", f"{floor} ms", ratio, "250 ms", met)


def purge(told):
    gone, days = found(rf"{NUMBER} gone, .* in {NUMBER} days", told)[0]
    yield Figure(f"purge of {gone} messages, by the defaults", f"{days} days")


class Run(NamedTuple):
    """How a benchmark is run, also quickly, and what is read from what it prints."""

    quickly: list[str]
    figures: Callable[[str], Iterable[Figure]]
    fully: Sequence[str] = ()


BENCHMARKS = {
    "pull": Run(["20000", "--rounds", "1"], pull),
    "quiet": Run(["--messages", "20000", "--rounds", "5"], quiet),
    "refresh": Run(["--messages", "20000", "--rounds", "5"], refresh),
    "send": Run(
        ["--drafts", "500", "--commits", "50", "--rounds", "1", "--gammu", "3"],
        send,
        ["--commits", "200"],
    ),
    "wake": Run(["--commits", "50", "--rest", "2"], wake, ["--commits", "300", "--rest", "5"]),
    "webhook": Run(["--messages", "10"], webhook, ["--messages", "40"]),
    "idle": Run(["--messages", "1000", "--rest", "5"], idle, ["--rest", "40"]),
    "startup": Run(["--rounds", "3"], startup),
    "read": Run(["--messages", "20000"], read),
    "web": Run(["--messages", "20000", "--rounds", "3"], web),
    "purge": Run(["--messages", "4000"], purge, ["--messages", "20000"]),
}


def measured(name, *, quick):
    """Run one benchmark; where it does not run, the table says so."""
    run, began = BENCHMARKS[name], time.monotonic()
    command = [sys.executable, str(HERE / f"{name}.py"), *(run.quickly if quick else run.fully)]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    print(f"{ran.stdout}[{name}: {time.monotonic() - began:.0f} s]\n", file=sys.stderr, flush=True)
    try:
        rows = list(run.figures(ran.stdout)) if ran.returncode == 0 else []
    except (IndexError, KeyError, ValueError):
        rows = []
    return rows or [Figure(f"{name}: it did not run, or printed no figures", "", met=False)]


def main():
    options = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    options.add_argument("benchmarks", nargs="*", help=f"else all: {' '.join(BENCHMARKS)}")
    options.add_argument("--quick", action="store_true", help="small sizes: whether all of it runs")
    given = options.parse_args()
    names = given.benchmarks or list(BENCHMARKS)
    if unknown := set(names) - set(BENCHMARKS):
        options.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    rows = [row for name in names for row in measured(name, quick=given.quick)]
    print("| what | figure | floor or peer | ratio | budget | met |")
    print("| --- | --- | --- | --- | --- | --- |")
    for *cells, met in rows:
        said = "" if met is None else "yes" if met else "no"
        print(f"| {' | '.join([*cells, said])} |")
    budgets = [row.met for row in rows if row.met is not None]
    print(
        f"\n{sum(budgets)} of {len(budgets)} budgets met, with Python {platform.python_version()}"
        f" and SQLite {sqlite3.sqlite_version} on {os.cpu_count()} cores."
    )


if __name__ == "__main__":
    main()
