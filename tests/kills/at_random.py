"""
Kills at random moments: by time, by requests, and in the middle of what the program does.

A world is used for some hundred kills, from the first load on, then it is brought to rest and all is
compared. In between each file that a kill has left is looked at.
"""

import random
import signal
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from living import World, cleared
from truths import sound, wrong

KILLS_OF_A_WORLD = 100
HASTY_KILLS = 15  #: so many of them while there is little yet
LONGEST_S = 3  #: a life that does not reach what it was to die at ends here, as well by SIGKILL

# What the programs of people are, beside the daemon: they die too.
COMMANDS = (("backup",), ("purge", "--yes"), ("verify", "--all", "--repair"), ("sync",))


# How a life may end: at a moment, at a request that reaches the service, or at what it does itself,
# the so-and-so-many-th time at most.
POINTS = {"commit": 40, "write": 250, "request": 40, "fdatasync": 8}
HOW = (
    "time",
    "requests",
    "requests",
    "commit",
    "commit",
    "write",
    "request",
    "fdatasync",
    "command",
)


class Reached(NamedTuple):
    """What a campaign came to."""

    kills: Counter  #: how each came: by whom, and at what
    doing: Counter  #: what threads were in the middle of
    phases: Counter
    counts: Counter
    wrong: list

    @classmethod
    def nothing(cls):
        return cls(Counter(), Counter(), Counter(), Counter(), [])


def kill_at_random(folder, kills, seed, minutes=float("inf")):
    """Kill so often, if that takes no longer; return what was reached, and what is wrong."""
    ends = time.monotonic() + 60 * minutes
    reached = Reached.nothing()
    number = 0
    while kills > 0 and time.monotonic() < ends:
        share = min(kills, KILLS_OF_A_WORLD)
        with World(cleared(folder / f"world-{number}"), seed=seed + number) as world:
            _kill_in(world, share, random.Random(seed + number), reached, ends)
            unrest = world.rest()
            told = unrest or list(wrong(world))
            reached.wrong.extend(f"world {number}: {sentence}" for sentence in told)
            if not unrest:
                _count(world, reached.counts)
        kills -= share
        number += 1
    return reached


def _kill_in(world, kills, chance, reached, ends):
    """Kill so often in one world, at first at once, so that some die before there are tables."""
    for done in range(kills):
        if time.monotonic() > ends:
            break
        world.flow()
        phase = _phase(world)
        if "after" in phase and not list((world.home / "copies").glob("*.db")):
            world.box.plan()
            world.start("backup").end()  # without a copy nothing is purged
        how = _kill_one(world, chance, hasty=done < HASTY_KILLS)
        reached.kills[how] += 1
        reached.phases[phase] += 1
        doing = world.box.doing()
        reached.doing.update(doing or ["between all that"])
        reached.wrong.extend(
            f"after a kill {how}, amid {doing}: {told}" for told in sound(world.mirror)
        )


def _kill_one(world, chance, *, hasty):
    """Let processes live until one was killed before it had ended by itself; return how."""
    while True:
        how = chance.choice(HOW)
        args = chance.choice(COMMANDS) if how == "command" else ("run",)
        if _is_killed(world, chance, how, args, hasty=hasty):
            return f"by time, `{' '.join(args)}`" if how == "command" else f"by {how}"


def _is_killed(world, chance, how, args, *, hasty):
    world.box.plan()
    if how in POINTS:
        nth = chance.randint(1, POINTS[how] // 8 + 1 if hasty else POINTS[how])
        delay_s = chance.choice((0, 0, 0.0001, 0.001, 0.01)) * chance.random()
        world.box.plan(how, chance.choice(("before", "after")), nth, delay_s)
    life = world.start(*args)
    ends = time.monotonic() + LONGEST_S
    if how in POINTS:
        life.has_ended(LONGEST_S)
    elif how == "requests":
        wanted = len(world.sandbox.requests) + chance.randint(0, 6 if hasty else 60)
        while len(world.sandbox.requests) < wanted and time.monotonic() < ends:
            if life.has_ended(0.001):
                break
        life.has_ended(chance.choice((0, 0.001, 0.02)) * chance.random())
    else:
        life.has_ended(chance.choice((0.05, 0.5) if hasty else (0.05, 0.5, 2)) * chance.random())
    life.send_signal(signal.SIGKILL)
    return life.end() == -signal.SIGKILL


def _phase(world):
    """How far the mirror was."""
    why = world.unrest() or "at rest"
    if "read" in why or "tables" in why:
        return "before there were tables"
    return "in the first load" if "history" in why else "after the first load"


def _count(world, counts):
    with closing(world.reader()) as conn:
        for what, query in {
            "drafts": "select count(*) from outbox",
            "drafts whose answer was lost": "select count(distinct draft_id) from attempts"
            " where outcome = 'lost'",
            "messages": "select (select count(*) from inbox) + (select count(*) from sent)",
            "messages purged": "select (select count(*) from inbox where purged_at is not null)"
            " + (select count(*) from sent where purged_at is not null)",
            "events": "select count(*) from events",
            "copies": "select count(*) from backups",
            "drafts sent again": "select count(*) from events where kind = 'draft.resent'",
            "drafts unknown": "select count(*) from events where kind = 'draft.unknown'",
        }.items():
            counts[what] += conn.execute(query).fetchone()[0]
    counts["requests"] += len(world.sandbox.requests)
    heard = Path(world.home / "heard")
    told = heard.read_text() if heard.exists() else ""
    counts["deliveries"] += len(world.receiver.calls) + len(told.splitlines())
