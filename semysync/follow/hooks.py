"""
The followers: each hook goes through the log of events by itself, in order.

`Followers` has one thread that hears of new events, and one for each hook, which delivers them: so
a hook that is slow, hangs or fails holds up nobody but itself. A hook stands at an event until that
is delivered or given up; what was delivered and could not be noted is delivered again after a kill,
with the same number. Only a stop that comes meanwhile, or a kill, makes that happen: a mirror that
cannot be written to for a while does not.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from sqlite3 import Connection
from threading import Event, Thread
from typing import NamedTuple

import msgspec
import structlog

from semysync.config import Hook
from semysync.errors import SemysyncError
from semysync.follow.actions import Action, Outcome, action_of, lacking
from semysync.follow.matching import Facts, fits, is_for
from semysync.follow.retries import Patience
from semysync.log import Trouble
from semysync.mirror.file import at_one_moment, connect, explained, writing
from semysync.mirror.reading.tellings import Telling, told
from semysync.mirror.tables import followers
from semysync.mirror.tables.followers import Delivery
from semysync.mirror.watch import Watch
from semysync.times import from_utc_text, utc_text

log = structlog.get_logger("semysync")

AT_ONCE = 500  #: events that are looked through in one go
LONGEST_WAIT_S = 3600.0
AGAIN_S = 10.0  #: after something went wrong with the mirror
STOP_S = 6.0  #: what is at work at a stop has so long; then it is left, and repeated another time


def facts_of(telling: Telling) -> Facts:
    """Return what of an event can be matched."""
    about = telling["message"] or telling["draft"] or telling["unconfirmed"] or {}
    device = telling["device"] or {}
    ids = (telling["device_id"], about.get("device_id"), about.get("device"))
    names = (*ids, device.get("label"), device.get("name"))
    return Facts(
        contact=about.get("contact"),
        device=tuple(str(name) for name in names if name),
        channel=about.get("channel") or device.get("channel"),
        text=about.get("text"),
    )


class Ahead(NamedTuple):
    """What lies before a hook: the next event for it and its delivery, behind those it passes."""

    passed: int  #: the last event that is not for it
    found: tuple[Telling, Delivery] | None
    is_cut: bool = False  #: nothing is for it, as far as was looked


def judged(
    delivery: Delivery, outcome: Outcome, patience: Patience, *, began: datetime, now: datetime
) -> Delivery:
    """Return what a delivery is after an attempt."""
    attempts = delivery.attempts + 1
    # A clock that was ahead then must not make it wait until that time comes.
    first_at = min(delivery.first_at or utc_text(began), utc_text(began))
    next_at = None
    if outcome.why is None:
        status = "done"
    elif patience.is_over(attempts, from_utc_text(first_at), now):
        status = "dead"
    else:
        status = "failing"
        next_at = utc_text(now + timedelta(seconds=patience.distance_s(attempts)))
    return msgspec.structs.replace(
        delivery,
        status=status,
        attempts=attempts,
        first_at=first_at,
        last_at=utc_text(now),
        next_at=next_at,
        error=outcome.why,
        output=outcome.output,
        done_parts=outcome.done_parts,
    )


class Follower:
    """One hook on its way through the log; to be used by one thread."""

    def __init__(
        self,
        hook: Hook,
        action: Action,
        mirror: Path,
        *,
        region: str | None = None,
        patience: Patience | None = None,
        stopping: Event | None = None,
        done: Callable[[str, str], object] | None = None,
    ) -> None:
        self.name = hook.name or ""
        self._hook = hook
        self._action = action
        self._mirror = mirror
        self._region = region
        self._patience = patience or Patience()
        self._stopping = stopping or Event()
        self._done = done
        self._conn: Connection | None = None
        self._awaited: tuple[int, int] | None = None  # a delivery and how often it was tried,
        self._due = 0.0  # and when it is due again
        self._failing = False

    def close(self) -> None:
        """Give the connection back."""
        if self._conn:
            self._conn.close()
            self._conn = None

    def step(self) -> float:
        """
        Go on to the next event that is for this hook, and deliver it; return when to come again.

        That is in so many seconds, or as soon as there are new events. Raises `SemysyncError` where
        the mirror can't be used.
        """
        with self._reading() as conn:
            was = followers.position(conn, self.name)
            ahead = None if was is None else self._look_ahead(conn, was)
        if was is None or ahead is None:
            self._begin()
            return 0
        if ahead.passed != was:
            with self._writing() as conn:
                if not followers.move(conn, self.name, was, ahead.passed):
                    return 0  # somebody has set it back
        if ahead.found is None:
            return 0 if ahead.is_cut else LONGEST_WAIT_S
        telling, delivery = ahead.found
        if (rest_s := self._rest_s(delivery)) > 0:
            return rest_s
        self._deliver(telling, delivery, ahead.passed)
        return 0

    def _begin(self) -> None:
        with self._writing() as conn:
            followers.add(conn, [self.name], datetime.now(UTC))

    def _look_ahead(self, conn: Connection, position: int) -> Ahead:
        """Look for the next event that is for this hook, among those that come first."""
        seen, passed = 0, position
        for event in followers.events(conn, position, AT_ONCE):
            if (telling := self._told(conn, event)) is not None:
                new = Delivery(follower=self.name, seq=event.seq, kind=event.kind)
                known = followers.find(conn, self.name, event.seq)
                return Ahead(passed, (telling, known or new))
            seen, passed = seen + 1, event.seq
        return Ahead(passed, None, is_cut=seen == AT_ONCE)

    def _told(self, conn: Connection, event: followers.Event) -> Telling | None:
        """Return what there is to tell of an event; None where it is not for this hook."""
        if not is_for(self._hook.on, event.kind):
            return None
        telling = told(conn, event, self._region)
        if event.kind == "hook.dead" and telling["data"].get("hook") == self.name:
            return None  # it would only add to what it cannot deliver
        return telling if fits(self._hook.match, facts_of(telling), self._region) else None

    def _rest_s(self, delivery: Delivery) -> float:
        """Return how long a delivery that failed must wait; at our start it is tried at once."""
        if self._awaited != (delivery.seq, delivery.attempts):
            return 0
        return self._due - time.monotonic()

    def _deliver(self, telling: Telling, delivery: Delivery, was: int) -> None:
        began = datetime.now(UTC)
        try:
            outcome = self._action(telling, delivery.done_parts)
        except Exception as exc:
            log.exception("hook.broke", hook=self.name, seq=delivery.seq)
            outcome = Outcome(f"{type(exc).__name__}, a mistake of semysync: see its log")
        if outcome.stopped:
            return
        now = datetime.now(UTC)
        result = judged(delivery, outcome, self._patience, began=began, now=now)
        if result.status == "failing":
            self._awaited = result.seq, result.attempts
            self._due = time.monotonic() + self._patience.distance_s(result.attempts)
        self._tell(result)
        said = ""
        # To deliver it again for a mirror that can't be written to would be worse than to wait.
        while (why := self._not_kept(result, was)) is not None:
            if why != said:
                said = why
                log.warning("hook.not_noted", hook=self.name, seq=result.seq, error=why)
            if self._stopping.wait(AGAIN_S):
                break
        if self._done:
            self._done(self.name, result.status)

    def _tell(self, result: Delivery) -> None:
        """Log what a person should know of: once when it begins to fail, and once when it ends."""
        facts = {"hook": self.name, "seq": result.seq}
        if result.status == "dead":
            log.error("hook.gave_up", **facts, error=result.error)
        elif result.status == "failing" and not self._failing:
            log.warning("hook.failing", **facts, error=result.error)
        elif result.status == "done" and self._failing:
            log.info("hook.recovered", **facts)
        self._failing = result.status == "failing"

    def _not_kept(self, result: Delivery, was: int) -> str | None:
        """Note what came of an attempt; say why the mirror can't be written to, if it can't."""
        try:
            with self._writing() as conn:
                followers.keep(conn, result, was)
        except SemysyncError as exc:
            self.close()
            return str(exc)
        return None

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """Hold one view of the mirror, so that an event and what it is about agree."""
        with explained(self._mirror):
            conn = self._connected()
            with at_one_moment(conn):
                yield conn

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with explained(self._mirror):
            conn = self._connected()
            with writing(conn):
                yield conn

    def _connected(self) -> Connection:
        if self._conn is None:
            self._conn = connect(self._mirror)
            # A draft may hold bytes that are no text; it must not stop what comes behind it.
            self._conn.text_factory = lambda value: value.decode("utf-8", "replace")
        return self._conn


class Followers:
    """All hooks of the daemon, each in its thread, and one thread that hears of new events."""

    def __init__(
        self,
        hooks: Sequence[Hook],
        mirror: Path,
        *,
        region: str | None = None,
        patience: Patience | None = None,
        happened: Callable[[str], object] | None = None,
        delivered: Callable[[str, str], object] | None = None,
    ) -> None:
        """`happened` hears the kind of each new event, `delivered` of each attempt of a hook."""
        self._hooks = hooks
        self._mirror = mirror
        self._stopping = Event()
        self._heard_of: int | None = None
        self._happened = happened
        self._watch: Watch | None = None
        self._bells: dict[str, Event] = {}
        self._threads: list[Thread] = []
        for hook in hooks:
            follower = Follower(
                hook,
                action_of(hook, self._stopping),
                mirror,
                region=region,
                patience=patience,
                stopping=self._stopping,
                done=delivered,
            )
            bell = self._bells[follower.name] = Event()
            self._threads.append(
                Thread(
                    target=self._follow,
                    args=(follower, bell),
                    name=f"hook {follower.name}",
                    daemon=True,  # one that hangs must not hold up the end of the program
                )
            )
        if hooks or happened:
            self._threads.append(Thread(target=self._listen, name="events", daemon=True))

    def start(self) -> None:
        """Let new hooks begin at now, before anything is pulled, and all of them go on."""
        for hook in self._hooks:
            if why := lacking(hook):
                log.error("hook.lacks", hook=hook.name, error=why)
        if self._threads:
            try:
                with explained(self._mirror), closing(connect(self._mirror)) as conn:
                    self._heard_of = followers.newest(conn)
                    with writing(conn):
                        followers.add(conn, self._bells, datetime.now(UTC))
            except SemysyncError as exc:  # each will begin as soon as it can
                log.error("hooks.delayed", error=str(exc))
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End all; a delivery that takes longer than some seconds is left, and repeated later."""
        self._stopping.set()
        if watch := self._watch:
            watch.wake()
        for bell in self._bells.values():
            bell.set()
        ends = time.monotonic() + STOP_S
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, ends - time.monotonic()))

    def _follow(self, follower: Follower, bell: Event) -> None:
        """Deliver until the end, whatever goes wrong."""
        trouble = Trouble("hook.stands_still", hook=follower.name)
        while not self._stopping.is_set():
            bell.clear()
            try:
                wait_s = follower.step()
                trouble.over()
            except Exception as exc:  # noqa: BLE001  nothing ends this thread
                wait_s = AGAIN_S
                trouble.met(exc)
                follower.close()
            if wait_s > 0:
                bell.wait(wait_s)
        follower.close()

    def _listen(self) -> None:
        """Ring for the hooks that have something before them, at each commit of anybody."""
        trouble = Trouble("events.unheard")
        while not self._stopping.is_set():
            try:
                with Watch(self._mirror) as watch, closing(connect(self._mirror)) as conn:
                    self._watch = watch
                    while not self._stopping.is_set():
                        self._ring(conn)
                        trouble.over()
                        watch.wait(LONGEST_WAIT_S)
            except Exception as exc:  # noqa: BLE001  nothing ends this thread
                trouble.met(exc)
                self._stopping.wait(AGAIN_S)
            finally:
                self._watch = None

    def _ring(self, conn: Connection) -> None:
        with explained(self._mirror):
            newest = followers.newest(conn)
            positions = followers.positions(conn)
            heard_of = newest if self._heard_of is None else self._heard_of
            while self._happened and (events := list(followers.events(conn, heard_of, AT_ONCE))):
                for event in events:
                    self._happened(event.kind)
                heard_of = events[-1].seq
            self._heard_of = heard_of
        for name, bell in self._bells.items():
            if positions.get(name, newest) < newest:
                bell.set()
