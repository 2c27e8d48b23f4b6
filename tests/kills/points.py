"""
A kill before and after every point at which the program commits, asks, or changes what is on a disk.

The points are not listed anywhere: a census lets the program do all that it does, and whatever it
passes is a point (`mortal`), so that a new commit is one by itself. At each, before and after it, a
process dies by SIGKILL under traffic; another brings all to rest, and everything is compared.
"""

import signal
from collections import deque
from itertools import count
from typing import NamedTuple

from living import World, cleared
from truths import wrong

PATIENCE_S = 15  #: for a process to come to the point where it is to die
LETS_PASS = ("write ", "begin ")  #: within a transaction: `random` kills there

COMMANDS = {
    "backup": ("backup",),
    "send": ("send", "+79215550000", "by hand"),
    "verify": ("verify", "--all", "--repair"),
    "purge": ("purge", "--yes"),
    "sync": ("sync",),
    "forget": ("forget", "", "--yes"),
}
SERVICE = ("at the service, before its effect", "at the service, after its effect")


class Point(NamedTuple):
    """Where a process dies: at what, before or after it, and which process that is."""

    name: str
    when: str
    args: tuple
    fresh: bool = False  #: only a mirror that is made anew comes there

    def __str__(self):
        return f"{' '.join(self.args[:1])}: {self.when} {self.name}"


def census(folder):
    """Return every point, as a life in which nothing goes wrong has passed them."""
    with World(cleared(folder / "census"), messages=300, needs_copy="no") as world:
        first = _passed(world, ("run",), loads=True)
        known = _passed(world, ("run",), loads=False)
        points = {name: Point(name, "", ("run",), fresh=name not in known) for name in first}
        points |= {name: Point(name, "", ("run",)) for name in known}
        for args in COMMANDS.values():
            for name in _passed(world, args, loads=False):
                points.setdefault(name, Point(name, "", args))
    both = [
        point._replace(when=when)
        for point in points.values()
        if not point.name.startswith(LETS_PASS)
        for when in ("before", "after")
    ]
    methods = sorted({p.name.removeprefix("request ") for p in both if ".php" in p.name})
    at_service = [
        Point(m.removesuffix(".php"), when, ("run",)) for m in methods for when in SERVICE
    ]
    return sorted([*both, *at_service], key=lambda p: (p.fresh, p.args != ("run",), p))


def _passed(world, args, *, loads):
    """Let a process do all it does; return the points that it passed."""
    world.box.points_path.unlink(missing_ok=True)
    life = world.start(*_filled(world, args))
    if args == ("run",):
        if loads:
            assert not world.quiet(life), world.unrest()
        _lose_answers(world)
        world.flow()
        life.has_ended(6)
        world.ebb()
        assert not world.quiet(life), world.unrest()
        life.send_signal(signal.SIGTERM)
    life.end()
    return world.box.points()


def _filled(world, args):
    """Name somebody of whom something is known, where that is to be forgotten."""
    if args[0] != "forget":
        return args
    return (args[0], world.somebody(), *args[2:])


def _lose_answers(world):
    world.sandbox.order_fault("drop", method="sms,sms_more", when="after", nth=2)
    world.sandbox.order_fault("drop", method="sms,sms_more", when="before", nth=4)


def kill_at_points(folder, points, said=lambda *_: None):
    """Die at each point, which is `said` one by one; return those not come to, and what is wrong."""
    unreached, found = [], []
    world = None
    try:
        waiting, numbers = deque(points), count()
        while waiting:
            point, number = waiting.popleft(), next(numbers)
            if world is None or point.fresh:
                if world:
                    world.__exit__()
                home = cleared(folder / f"world-{number}")
                world = World(home, seed=number + 1, messages=300, needs_copy="no").__enter__()
                if not point.fresh:
                    world.rest()
            died = _dies(world, point)
            if not died and not point.fresh:  # such as a purge, where all is purged: once more
                waiting.append(point._replace(fresh=True))
            elif not died:
                unreached.append(point)
            told = world.rest() or list(wrong(world))
            found += [f"{point}: {sentence}" for sentence in told]
            said("wrong" if told else "well" if died else "not reached", point)
            if told or point.fresh:
                world.__exit__()
                world = None
    finally:
        if world:
            world.__exit__()
    return unreached, found


def _dies(world, point):
    """Let a process come to the point; tell whether it died there."""
    world.box.plan()
    if point.when in SERVICE:
        return _dies_at_the_service(world, point)
    if not point.fresh:
        _lose_answers(world)
        world.flow(least=0 if point.args == ("run",) else 3)
    args = _filled(world, point.args)
    world.box.plan(point.name, point.when)
    life = world.start(*args)
    life.has_ended(PATIENCE_S)
    life.send_signal(signal.SIGTERM)
    died = life.end() == -signal.SIGKILL
    world.box.plan()
    if args != ("run",):
        world.start(*args).end()  # as a person would, whose command was killed
    return died


def _dies_at_the_service(world, point):
    """Die when a request is at the service."""
    lives = []

    def kill(call):
        if call.method == point.name and lives:
            lives[0].send_signal(signal.SIGKILL)

    hook = "before_call" if point.when == SERVICE[0] else "after_call"
    world.flow()
    life = world.start()
    lives.append(life)
    setattr(world.sandbox, hook, kill)
    life.has_ended(PATIENCE_S)
    setattr(world.sandbox, hook, None)
    life.send_signal(signal.SIGTERM)
    return life.end() == -signal.SIGKILL
