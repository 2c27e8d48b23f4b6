"""
What must hold after any deaths, once all has come to rest.

`sound` holds at every moment, also of a file that was left by a kill; `wrong` needs a world at rest.
Both return sentences about what is not so.
"""

import json
import re
import sqlite3
from collections import Counter, defaultdict
from contextlib import closing

from living import TOLD

# What a draft may go through several times, where the answer to its request was lost.
AGAIN = {"queued", "sending", "unknown", "resent"}

# Of an index with external content this compares every word with the table.
COMPARE = "insert into {0}_fts ({0}_fts, rank) values ('integrity-check', 1)"

CONTACTS = """
with counted as (
    select contact, sum(box = 'inbox') as received, sum(box = 'sent') as sent
      from (select contact, 'inbox' as box from inbox union all select contact, 'sent' from sent)
     where contact is not null
     group by contact)
select count(*) from (
    select contact, received, sent from counted
    except
    select contact, received, sent from contacts)
"""

# A mark stands for rows that are here.
MARKS = """
select count(*) from marks
 where last_id > floor_id
   and last_id not in (select id from inbox union all select id from sent)
"""


def sound(mirror):
    """What SQLite finds in the file, and what of its own tables does not fit together."""
    if not mirror.exists():
        return
    with closing(sqlite3.connect(mirror, isolation_level=None, timeout=30)) as conn:
        found = conn.execute("pragma integrity_check").fetchall()
        if found != [("ok",)]:
            yield f"integrity_check: {found[:3]}"
            return
        if not conn.execute("select 1 from sqlite_master where name = 'followers'").fetchone():
            return  # before the tables were made
        for box in ("inbox", "sent"):
            try:
                conn.execute("begin immediate")
                conn.execute(COMPARE.format(box))
            except sqlite3.DatabaseError as exc:
                loading = "select count(*) from marks where box = ? and loaded_at is null"
                if not conn.execute(loading, (box,)).fetchone()[0]:
                    yield f"the search index of {box}: {exc}"
            finally:
                conn.execute("rollback")
        for what, query in (("contacts", CONTACTS), ("marks", MARKS)):
            if count := conn.execute(query).fetchone()[0]:
                yield f"{count} {what} do not agree with the messages"


def wrong(world):
    """Everything that was promised and is not so."""
    yield from sound(world.mirror)
    if world.complaints:
        yield f"the writers were told: {world.complaints[-300:]}"
    with closing(world.reader()) as conn:
        yield from messages_wrong(world, conn)
        yield from drafts_wrong(world, conn)
        yield from _events(conn)
        yield from _hooks(world, conn)
    yield from _log(world)


def messages_wrong(world, conn):
    for box in ("inbox", "sent"):
        there = world.there(box)
        here = dict(conn.execute(f"select id, text from {box}"))
        ever = world.ever(box)
        if here != ever:
            yield f"{box}: {len(ever.keys() - here.keys())} lost, {len(here.keys() - ever.keys())} more"
        gone = {i for (i,) in conn.execute(f"select id from {box} where purged_at is not null")}
        if gone != ever.keys() - there.keys():
            yield f"{box}: {len(gone)} are marked as purged, {len(ever) - len(there)} are gone"
        if box == "sent":
            flags = ("is_send_to_phone", "is_send", "is_delivered", "is_cancel", "is_error_send")
            rows = conn.execute(f"select id, {', '.join(flags)} from sent where purged_at is null")
            other = [
                i for i, *set_ in rows if set_ != [int(there[i].get(flag) or 0) for flag in flags]
            ]
            if other:
                yield f"the flags of {len(other)} sent messages are not the account's"
    if count := conn.execute("select count(*) from conflicts").fetchone()[0]:
        yield f"{count} conflicts"
    if stopped := conn.execute("select data from events where kind = 'purge.stopped'").fetchall():
        yield f"the purge was stopped: {stopped[:2]}"


def drafts_wrong(world, conn):
    wanted = Counter(f"{name} {n}" for name, count in world.drafts.items() for n in range(count))
    inserted = Counter(text for (text,) in conn.execute("select text from outbox"))
    if wanted - inserted:
        yield f"{(wanted - inserted).total()} drafts are not in the outbox"
    made = Counter(effect["text"] for effect in world.sandbox.account.effects())
    if twice := made - inserted:
        yield f"sent twice: {list(twice)[:5]}"
    made["by hand"] = inserted["by hand"] = 0  # `send` may have died before it had inserted it
    if lost := inserted - made:
        yield f"never sent: {list(lost)[:5]}"
    ids = {effect["id"]: effect["text"] for effect in world.sandbox.account.effects()}
    for draft, text, sent_id in conn.execute("select id, text, sent_id from outbox"):
        if ids.get(sent_id) != text:
            yield f"draft {draft} is taken for message {sent_id}, which is another's"
            break


def _events(conn):
    """Each thing that happened was told once."""
    repeated = conn.execute(
        "select kind, count(*) from events where kind like 'message.%'"
        " group by kind, box, message_id having count(*) > 1"
    ).fetchall()
    if repeated:
        yield f"events of messages came twice: {Counter(kind for kind, _ in repeated)}"
    # What came after the history was loaded is told, and only that.
    loaded = conn.execute("select max(loaded_at) from marks").fetchone()[0]
    untold = conn.execute(
        "select count(*) from inbox where mirrored_at > ? and not exists (select 1 from events"
        " where kind = 'message.received' and message_id = inbox.id)",
        (loaded,),
    ).fetchone()[0]
    if untold:
        yield f"{untold} received messages were not told"
    told = defaultdict(Counter)
    for kind, data in conn.execute("select kind, data from events where kind like 'draft.%'"):
        told[json.loads(data)["draft_id"]][kind.removeprefix("draft.")] += 1
    for draft, status in conn.execute("select id, status from outbox"):
        once = {kind: times for kind, times in told[draft].items() if kind not in AGAIN}
        if once.get(status) != 1 or set(once.values()) != {1} or not told[draft]["queued"]:
            yield f"draft {draft} ({status}) was told as {dict(told[draft])}"
            break


def _hooks(world, conn):
    """Each hook heard each event, in order; some twice, but by the same id."""
    events = {
        f"{seq}-{at}": seq
        for seq, at in conn.execute(
            "select seq, replace(replace(replace(at, '-', ''), ':', ''), '.', '') from events"
            " where kind in (?, ?) and at > (select max(since) from followers)",
            TOLD,
        )
    }
    heard_path = world.home / "heard"
    heard = {
        "program": heard_path.read_text() if heard_path.exists() else "",
        "post": "".join(body.decode() for _, body in world.receiver.calls),
    }
    for name, text in heard.items():
        # Of a program that was killed while it wrote there is but a part, before another's words.
        ids = list(dict.fromkeys(re.findall(r'\{"id": "([^"]+)"', text)))
        strangers = [i for i in ids if i not in events]
        if strangers:
            yield f"hook {name} heard of {len(strangers)} events that there are not: {strangers[:3]}"
        if missed := events.keys() - ids:
            yield f"hook {name} was not told {len(missed)} events: {sorted(missed)[:3]}"
        seqs = [events[i] for i in ids if i in events]
        if seqs != sorted(seqs):
            yield f"hook {name} was told out of order"


# What kills explain, at these levels.
EXPLAINED = {
    "drafts.unknown", "sending.stopped", "webhook.unconfirmed", "verify.found", "verify.unproven",
    "pass.failed", "pull.failing", "hook.failing", "account.low", "draft.resent",
    "messages.late", "clock.jumped", "purge.failed", "draft.refused",
}  # fmt: skip


def _log(world):
    odd = Counter()
    lines = world.log.read_text().splitlines() if world.log.exists() else []
    for line in lines:
        try:
            said = json.loads(line)
        except ValueError:
            odd[f"no JSON: {line[:200]}"] += 1
            continue
        if said["level"] in {"warning", "error", "critical"} and said["event"] not in EXPLAINED:
            odd[f"{said['event']} {said.get('error', '')}"[:200]] += 1
    for line, count in odd.most_common(5):
        yield f"logged {count} times: {line}"
    commands = world.home / "complaints"
    if commands.exists() and "Traceback" in (said := commands.read_text()):
        yield f"a command broke: {said[-500:]}"
