"""The campaigns by their names: each prints what it reached, and returns what is wrong."""

import time

from at_random import kill_at_random
from points import census, kill_at_points
from power import cut_the_power


def at_random(folder, given):
    began = time.monotonic()
    reached = kill_at_random(folder, given.kills, given.seed, given.minutes)
    took_s = time.monotonic() - began
    print(f"{reached.kills.total():,} kills in {took_s / 60:.0f} minutes, seed {given.seed}")
    for title, counted in (
        ("how", reached.kills),
        ("when", reached.phases),
        ("in the middle of (a kill may meet several threads)", reached.doing),
        ("what there was at the end", reached.counts),
    ):
        print(f"\n{title}")
        for what, count in counted.most_common():
            print(f"  {count:>7,}  {what}")
    return reached.wrong


def power(folder, given):
    began = time.monotonic()
    cuts = max(1, given.kills // 50)
    reached, wrong = cut_the_power(folder, cuts, given.seed)
    print(f"\nloss of power, in {(time.monotonic() - began) / 60:.0f} minutes, seed {given.seed}")
    for what, count in reached.most_common():
        print(f"  {count:>7,}  {what}")
    return wrong


def points(folder, given):
    began = time.monotonic()
    all_points = [point for point in census(folder) if given.only in str(point)]
    print("\na kill at each point")
    unreached, wrong = kill_at_points(folder, all_points, _say)
    took_s = time.monotonic() - began
    print(f"{len(all_points)} points, {len(unreached)} not reached, in {took_s / 60:.0f} minutes")
    return wrong


def _say(how, point):
    print(f"  {how:<12} {point}", flush=True)


CAMPAIGNS = {"random": at_random, "points": points, "power": power}
