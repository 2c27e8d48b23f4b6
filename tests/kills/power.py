"""
The power goes at any moment of a life under traffic: what is on the disk then keeps the promises.

All that writes to the mirror is traced (`disk`). At each request that sends or deletes, and at many
other moments, the files are built as they may be found, opened by SQLite, and asked: is the file
whole, and what belongs together together; is every draft that was requested so far there as such,
and every deletion; is every draft there whose insert had returned. At last the power really goes:
all processes are killed, the mirror is replaced by what may be left of it, and the daemon goes on.
"""

import random
import re
import shutil
import signal
import sqlite3
from bisect import bisect_right
from collections import Counter
from contextlib import closing

from disk import Disk, read, traced
from living import World, cleared
from processes import wait_until
from truths import drafts_wrong, messages_wrong, sound

from semysync.mirror.outbox.claims import Claims

TOLD = re.compile(rb'\{"id": "([^"]+)"')
MOMENTS = 150  #: of a life, beside those of the requests
DELETES = {"del_inbox_sms", "del_outbox_sms"}
SENDS = {"sms", "sms_more"}


def cut_the_power(folder, cuts, seed, *, life_s=6.0, moments=MOMENTS, mutation=""):
    """Let so many lives end by the loss of the power; return what was reached and what is wrong."""
    reached, wrong = Counter(), []
    for number in range(cuts):
        chance = random.Random(seed + number)
        home = cleared(folder / f"world-{number}")
        with World(
            home, seed=seed + number, tracing=traced, mutation=mutation, needs_copy="no"
        ) as world:
            _live(world, life_s * (0.5 + chance.random()))
            calls = read(world.traces())
            found = list(_looked_at(world, calls, chance, reached, moments))
            found += _goes_on(world, calls, chance)
            wrong += [f"seed {seed + number}: {told}" for told in found]
            reached["cuts of the power, after which the daemon went on"] += 1
    return reached, wrong


def _live(world, seconds):
    """Let the daemon live under traffic for so long, from the first load on, and end all at once."""
    life = world.start()
    first = ("load", "tables", "read")
    wait_until(lambda: not any(word in (world.unrest() or "") for word in first))
    world.flow()
    life.has_ended(seconds)
    wait_until(lambda: sum(call.method in SENDS for call in list(world.sandbox.requests)) >= 2)
    life.send_signal(signal.SIGKILL)
    life.end()
    world.ebb()
    world.end_writers()


def _looked_at(world, calls, chance, reached, most):
    """Yield what is wrong with the disk at the moments of a life."""
    requests = _requests(world, calls)
    inserted = _inserted(world)
    told = _told(calls)
    times = sorted(chance.sample([call.began for call in calls], min(most, len(calls))))
    moments = sorted([(at, None) for at in times] + [(at, call) for at, call in requests],
                     key=lambda one: one[0])  # fmt: skip
    disk, played = Disk(world.mirror), 0
    by_end = sorted(calls, key=lambda call: call.ended)
    ends = [call.ended for call in by_end]
    place = cleared(world.home / "found")
    for at, call in moments:
        until = bisect_right(ends, at)
        for one in by_end[played:until]:
            disk.play(one)
        played = max(played, until)
        reached["moments at a request" if call else "moments at random"] += 1
        reached["writes that were not yet safe then"] += disk.unsafe()
        before = [made for moment, made in requests if moment <= at]
        there = {text for moment, text in inserted if moment <= at}
        heard = {event for moment, event in told if moment <= at}
        for how in ("none", "all", "any", "any"):
            cleared(place)
            disk.build(place, how, chance)
            reached["states of the disk"] += 1
            for broken in _broken(place / world.mirror.name, before, there):
                yield f"{at - calls[0].began:.3f} s, {how} of what was not synced is left, {broken}"
            if how == "none" and _takes_back(place / world.mirror.name, heard):
                reached["moments at which an event that a hook has heard of is lost again"] += 1


def _broken(mirror, requests, inserted):
    """What is not as promised in a mirror that was found after a loss of the power."""
    if not mirror.exists():
        if requests or inserted:
            yield "there is no mirror"
        return
    try:
        yield from sound(mirror)
        yield from _forgotten(mirror, requests, inserted)
    except sqlite3.DatabaseError as exc:
        yield f"SQLite: {exc}"


def _forgotten(mirror, requests, inserted):
    with closing(sqlite3.connect(mirror)) as conn:
        if not conn.execute("select 1 from sqlite_master where name = 'purges'").fetchone():
            if requests or inserted:
                yield "there are no tables"
            return
        drafts = {
            text: (status, attempts)
            for text, status, attempts in conn.execute("select text, status, attempts from outbox")
        }
        if lost := inserted - drafts.keys():
            yield f"{len(lost)} drafts are gone whose insert had returned"
        asked = [call for call in requests if call.method in SENDS]
        texts = [text for call in asked for text in _texts(call)]
        open_ = [t for t in texts if t not in drafts or drafts[t][0] in {"queued", "held"}]
        if open_:
            yield f"{len(open_)} drafts were requested and would be again: {open_[:2]}"
        noted = {
            int(number)
            for (ids,) in conn.execute("select ids from purges")
            for number in ids.strip("[]").split(",")
            if number.strip()
        }
        doomed = {
            int(number)
            for call in requests
            if call.method in DELETES
            for number in str(call.params.get("list_id") or call.params["start_id"]).split(",")
        }
        if doomed and not noted:
            yield "something was deleted, and no purge is noted"
        claimed = dict(conn.execute("select * from settings where key like 'claims%'"))
    if asked:
        with Claims(mirror) as claims:
            last, before = claimed["claims"], claimed.get("claims_before")
            if not claims.agree_with(int(last), before and int(before)):
                yield "the mirror takes itself for a copy"


def _texts(call):
    if call.method == "sms":
        return [call.params["msg"]]
    return [one["msg"] for one in call.params["data"]]


def _is_whole(call):
    """Who dies between head and body of a request has asked for nothing."""
    return bool({"msg", "data", "list_id", "start_id"} & call.params.keys())


def _requests(world, calls):
    """Return when each request that changes something left, and what it was."""
    found = []
    for methods in (SENDS, DELETES):
        left = [
            call.began
            for call in calls
            if call.name == "sendto"
            and call.content.startswith(tuple(f"POST /api/3/{m}.php".encode() for m in methods))
        ]
        came = [call for call in list(world.sandbox.requests) if call.method in methods]
        found += [pair for pair in zip(left, came, strict=False) if _is_whole(pair[1])]
    return sorted(found, key=lambda one: one[0])


def _inserted(world):
    """Return when the insert of each draft had returned, as the writers have said."""
    found = []
    for log in world.traces():
        if log.stem.startswith("writer-"):
            name, said = log.stem.removeprefix("writer-"), 0
            for call in read([log]):
                if call.name == "write" and call.content.strip().isdigit():
                    count = int(call.content)
                    found += [(call.began, f"{name} {n}") for n in range(said, count)]
                    said = max(said, count)
    return found


def _told(calls):
    """Return when hooks were told of each event."""
    bodies = ((call.began, call.content) for call in calls if call.name == "sendto")
    return [(at, found[1].decode()) for at, body in bodies if (found := TOLD.match(body))]


def _takes_back(mirror, heard):
    """Whether an event is gone of which a hook has heard: it will come again under another id."""
    if not heard:
        return False
    with closing(sqlite3.connect(mirror)) as conn:
        seqs = {int(event.partition("-")[0]) for event in heard}
        return max(seqs) > (conn.execute("select max(seq) from events").fetchone()[0] or 0)


def _goes_on(world, calls, chance):
    """Replace the mirror by what is left of it, and let the daemon go on to the end."""
    disk = Disk(world.mirror)
    for call in sorted(calls, key=lambda call: call.ended):
        disk.play(call)
    folder = world.mirror.parent
    for path in folder.glob(f"{world.mirror.name}*"):
        path.unlink()
    disk.build(folder, chance.choice(("none", "any")), chance)
    for path in folder.glob(f"{world.mirror.name}*"):
        path.chmod(0o600)
    yield from world.rest()
    yield from sound(world.mirror)
    with closing(world.reader()) as conn:
        yield from messages_wrong(world, conn)
        yield from drafts_wrong(world, conn)
    shutil.rmtree(world.home / "found", ignore_errors=True)
