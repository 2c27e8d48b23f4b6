"""
Run all benchmarks one after the other, and print one table: what, figure, floor, ratio, budget, met.

    .venv/bin/python -m tests.bench [--quick] [pull send …]

What stands beside a figure was measured in the same run. The budgets are those of the contract. Each
benchmark prints more than that, and its own words go to standard error.
"""

import argparse
import re
import subprocess
import sys
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
        what = f"first load of {size}, rows a second"
        yield Figure(what, ours[0], floor[0], ratio, "0.6", float(ratio) >= 0.6)
        memory = number(ours[3]) < 120
        yield Figure("  memory", f"{ours[3]} MB", f"{floor[3]} MB", "", "120 MB", memory)


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
        yield Figure(name, f"{took} ms", budget="50 ms", met=number(took) < 50)


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
    pattern = rf"commit to request, (\w+) +median +{NUMBER} ms, 99th percentile +{NUMBER} ms"
    for kind, median, most in found(pattern, told):
        what = f"commit to request, {kind.lower()}"
        yield Figure(what, f"{median} ms", "20.0 ms", "", "10 ms", number(median) <= 10)
        yield Figure("  99th percentile", f"{most} ms", "39.6 ms", "", "60 ms", number(most) <= 60)


def idle(told):
    pattern = rf"^ +{NUMBER} messages: {NUMBER} % of a core .*?, {NUMBER} MB"
    for size, share, memory in found(pattern, told):
        what, share_met = f"at rest with {size} messages", number(share) < 0.5
        yield Figure(what, f"{share} %", "", "", "0.5 %", share_met)
        yield Figure("  memory", f"{memory} MB", "", "", "70 MB", number(memory) < 70)


def wake(told):
    pattern = rf"^(Watch|a bare poll of 40 ms) +{NUMBER} +{NUMBER} +{NUMBER}"
    rows = found(pattern, told)
    for (_, median, *_), (_, bare, *_) in zip(
        [row for row in rows if row[0] == "Watch"],
        [row for row in rows if row[0] != "Watch"],
        strict=False,
    ):
        ratio = f"{number(median) / number(bare):.3f}"
        yield Figure("a commit noticed", f"{median} ms", f"{bare} ms", ratio)


def webhook(told):
    rows = found(rf"^(.*\S) +{NUMBER} +{NUMBER} +{NUMBER}$", told)
    ratio = found(rf"median with webhooks: {NUMBER}", told)
    (_, called, *_), (_, polled, *_) = rows[:2]
    yield Figure("webhook to commit", f"{called} ms", f"{polled} ms", ratio[0])


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


#: each benchmark: how it is run quickly, and what is read from what it prints
BENCHMARKS = {
    "startup": (["--rounds", "3"], startup),
    "pull": (["20000", "--rounds", "1"], pull),
    "read": (["--messages", "20000"], read),
    "refresh": (["--messages", "20000", "--rounds", "5"], refresh),
    "send": (["--drafts", "500", "--commits", "50", "--rest", "2", "--rounds", "1"], send),
    "idle": (["--messages", "1000", "--rest", "5"], idle),
    "wake": (["--commits", "50", "--rest", "2"], wake),
    "webhook": (["--messages", "10"], webhook),
    "web": (["--messages", "20000", "--rounds", "3"], table_of),
    "purge": (["--messages", "1000"], purge),
}


def measured(name, *, quick):
    """Run one benchmark; where it does not run, the table says so."""
    options, figures = BENCHMARKS[name]
    command = [sys.executable, str(HERE / f"{name}.py"), *(options if quick else [])]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    print(ran.stdout, file=sys.stderr, flush=True)
    try:
        rows = list(figures(ran.stdout)) if ran.returncode == 0 else []
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
    print(f"\n{sum(row.met is False for row in rows)} of {len(rows)} not met")


if __name__ == "__main__":
    main()
