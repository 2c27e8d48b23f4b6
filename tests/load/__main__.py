"""
A daemon under load, for ten minutes: what comes in, what goes out, who reads, and that nothing is lost.

A stand-in with a million messages, at which a hundred more arrive each second; a real daemon; two
programs that insert fifty drafts a second between them; Datasette, whose pages and SQL are asked for
all the time. Each is a process of its own. At the end the mirror must equal the account, each draft
must have been made once, and nobody may have met a lock.

    .venv/bin/python -m tests.load [--messages 1000000] [--minutes 10] [--in-rate 100] [--out-rate 50]
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]


def times(title, seconds):
    """A line of a list of times: how many, median, 99th percentile, longest, in milliseconds."""
    if not seconds:
        return f"{title:<34} none"
    ranked = sorted(1000 * one for one in seconds)
    median, most = statistics.median(ranked), ranked[int(len(ranked) * 0.99)]
    return f"{title:<34} {len(ranked):>7,} {median:>9,.1f} {most:>9,.1f} {ranked[-1]:>9,.1f}"


def course(title, weighings, what):
    """A line of how something went over time: its first and last fifth (medians), and the most."""
    values = [getattr(one, what) for one in weighings]
    fifth = max(1, len(values) // 5)
    first, last = statistics.median(values[:fifth]), statistics.median(values[-fifth:])
    return f"{title:<34} {first:>6.0f} at first, {last:>6.0f} at last, {max(values):>6.0f} at most"


def told(seen):
    yield f"the history was loaded in {seen.loaded_s:.0f} s; the load lasted {seen.took_s:.0f} s"
    yield ""
    yield f"{'milliseconds':<34} {'times':>7} {'median':>9} {'99 of 100':>9} {'longest':>9}"
    yield times("received, until the mirror shows it", seen.lags)
    yield times("committed, until it is requested", seen.delays)
    yield times("an insert", seen.inserts)
    for title, took in seen.pages.items():
        yield times(title, took)
    yield times("the stand-in, behind its clock", seen.late)
    yield ""
    yield course("memory of the daemon, MB", seen.weighings, "memory_mb")
    yield course("the write-ahead log, MB", seen.weighings, "wal_mb")
    shares = ", ".join(f"{who} {share:.0%}" for who, share in seen.cpu.items())
    yield f"of a core: {shares}"
    rate = 60 / seen.took_s
    yield "requests a minute: " + ", ".join(
        f"{method} {count * rate:,.0f}" for method, count in seen.calls.most_common()
    )
    settled = "not" if seen.settled_s is None else f"{seen.settled_s:.0f} s after the end"
    yield f"all that was on its way had arrived: {settled}"
    for box, (differ, total) in seen.compared.items():
        yield f"{box}: {total:,} rows in the account, {differ} of them otherwise in the mirror"
    yield f"drafts: {seen.drafts:,}, {len(seen.lost)} lost, {len(seen.twice)} sent twice"
    yield f"errors met by anybody, of locks or else: {len(seen.errors)}"
    yield from (f"  {fault}" for fault in seen.faults())


def main():
    from loading import BUSY, Load

    options = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    options.add_argument("--messages", type=int, default=1_000_000)
    options.add_argument("--minutes", type=float, default=10)
    options.add_argument("--in-rate", type=float, default=100, help="received in a second")
    options.add_argument("--out-rate", type=float, default=50, help="drafts in a second")
    options.add_argument("--read-rate", type=float, default=10, help="pages in a second")
    options.add_argument("--defaults", action="store_true", help="with no key of [pull] set")
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="semysync-load-") as home:
        seen = Load(
            Path(home),
            given.messages,
            given.minutes,
            given.in_rate,
            given.out_rate,
            given.read_rate,
            configuration={} if given.defaults else BUSY,
        ).run()
    print("\n".join(told(seen)))
    sys.exit(1 if seen.faults() else 0)


if __name__ == "__main__":
    main()
