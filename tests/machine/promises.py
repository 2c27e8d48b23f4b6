"""
The promises of the contract, held after every step, and when all is calm.

`Promises` remembers what they are about: what the mirror ever held, what requests of ours deleted,
what every draft has made, and the log of events as it grew.
"""

import json
import sqlite3
from collections import Counter
from contextlib import closing
from datetime import timedelta
from itertools import pairwise

from reaching import ALONG, BEFORE, EDGES, STRAIGHT, reached
from sending.rig import FINAL

from semysync.contact import tail
from semysync.mirror.copies import backup
from semysync.mirror.copies.takeover import ANOTHER_SENDS
from semysync.mirror.outbox.queue import wording
from semysync.sandbox.clocks import DAY as DAY_US
from semysync.sandbox.clocks import instant
from semysync.sandbox.selection import Wanted
from semysync.times import utc_text

BOXES = ("inbox", "sent")
FLAGS = {
    "accepted": {"is_send_to_phone": 0, "is_send": 0, "is_delivered": 0},
    "on_phone": {"is_send_to_phone": 1, "is_send": 0, "is_delivered": 0},
    "sent": {"is_send_to_phone": 1, "is_send": 1, "is_delivered": 0},
    "delivered": {"is_send_to_phone": 1, "is_send": 1, "is_delivered": 1},
    "failed": {"is_send_to_phone": 1, "is_send": 0, "is_delivered": 0, "is_error_send": 1},
    "cancelled": {"is_send_to_phone": 0, "is_send": 0, "is_delivered": 0, "is_cancel": 1},
}
DONE = ("delivered", "failed", "cancelled")
WEEK = timedelta(days=7)
STATUS_EVENTS = {*FLAGS}
LEAP = 1_000_000  #: numbers that a restored mirror does not give
AGREE_S = 300  #: so much two clocks may differ
SOON_S = 50  #: what is shown so late at most, every pull looks back to


class Promises:
    """What must hold in a world, whatever happened."""

    def __init__(self, world):
        self._world = world
        self.held = {box: {} for box in BOXES}  # the text of each message
        self.deleted = {box: set() for box in BOXES}
        self.late = set()  # became visible below what was seen, or perhaps did,
        self.soon = set()  # and of that what a pull must find
        self.excused = set()
        self.changed_at = {}
        self.drafts = set()
        self.texts = Counter()
        self.wrongs = []
        self.calls = 0
        self.requested = {}  # by text: at which calls
        self.looks = []  # complete ones: how many calls there were before, and after
        self.seq = 0
        self.news = dict.fromkeys(BOXES)
        self.statuses, self.messages, self.received = {}, {}, Counter()
        self.hook_at, self.hook_last, self.hook_told = None, 0, set()
        self.hook_due = set()
        self.hook_may_repeat = False
        self.was_restored = False
        self.first = {}  # the text of a message whose id another one has got since
        self._watch_deletes()

    # What is heard of

    def drafted(self, number, kind, text):
        self.drafts.add(number)
        self.texts[wording(kind, text)] += 1

    def asked(self, call):
        """Hear of a call: which texts it sends, and to whom."""
        self.calls += 1
        if call.method == "sms":
            self._sends([call.params])
        elif call.method == "sms_more":
            self._sends(call.params["data"])

    def _sends(self, asked):
        for item in asked:
            self.requested.setdefault(item["msg"], []).append(self.calls)
        to = Counter(tail(item["phone"]) for item in asked)
        if most := [number for number, times in to.items() if times > 1]:
            self.wrongs.append(f"two drafts of one contact in one request: {len(most)}")

    def looked(self, calls_before):
        self.looks.append((calls_before, self.calls))

    def told(self, seq):
        """Hear of an event that the hook was told."""
        reached["hook delivered"] += 1
        if seq == self.hook_last and self.hook_may_repeat:
            reached["hook repeated after a kill"] += 1
        elif seq <= self.hook_last:
            self.wrongs.append(f"the hook was told of {seq} after {self.hook_last}")
        self.hook_may_repeat = False
        self.hook_last = seq
        self.hook_told.add(seq)

    def started(self):
        if self.hook_at is None:
            self._world.follower.step()
            self.hook_at = self._position()
            self.hook_last = self.hook_at

    def ended(self):
        self.hook_may_repeat = True

    def _position(self):
        found = self._world.ask("select position from followers where name = 'hook'")
        return found[0][0] if found else 0

    def restored(self, *, whole):
        """Forget what the copy does not hold; a whole one holds all that was deleted."""
        with closing(sqlite3.connect(self._world.mirror)) as conn:
            self.seq = _one(
                conn, "select coalesce(max(seq), 0) from sqlite_sequence where name = 'events'"
            )
            self.statuses = dict(conn.execute("select id, status from outbox"))
            self.drafts = set(self.statuses)
            self.messages, self.received = {}, Counter()
            for box in BOXES:
                self.held[box] = dict(conn.execute(f"select id, text from {box}"))
                if not whole:
                    self.excused |= {(box, i) for i in self.deleted[box] - self.held[box].keys()}
        self.news = dict.fromkeys(BOXES)
        self.was_restored = True
        self.hook_at, self.hook_last, self.hook_told, self.hook_due = None, 0, set(), set()
        self.first = {
            (box, number): text
            for (box, number), text in self.first.items()
            if self.held[box].get(number) == text
        }

    def reused(self, box, number):
        """Hear that another message has got the id of one that is here."""
        if here := self._world.ask(f"select text from {box} where id = ?", number):
            self.first.setdefault((box, number), here[0][0])

    def look_around(self):
        """What is not here while the service hides messages may be seen out of order."""
        if self._world.blind:
            for box in BOXES:
                there = {row.id for row in self._world.account._shelves[box].live()}
                self.late |= {(box, number) for number in there - self._here(box).keys()}

    def _watch_deletes(self):
        """See what requests of ours delete, and that none of it is what must stay."""
        really = self._world.account.delete

        def delete(box, ids):
            ids = list(ids)
            with closing(sqlite3.connect(self._world.mirror)) as conn:
                for number in ids:
                    self.wrongs += self._not_to_go(conn, box, number)
            really(box, ids)
            self.deleted[box] |= set(ids)
            reached["purge: something went"] += 1

        self._world.account.delete = delete

    def _not_to_go(self, conn, box, number):
        """Yield what speaks against deleting a message."""
        world = self._world
        row = world.account.row(box, number)
        made, now = world.account._shelves[box].find(number).at, world.time.now()
        if made > instant(now) - 2 * DAY_US:
            yield f"{box} {number} is of the last two days, and was deleted"
        if world.misled:
            return
        limit = getattr(world.purging, f"{box}_days")
        if world.honest and made > instant(now) - limit * DAY_US:
            yield f"{box} {number} is younger than {limit} days, and was deleted"
        if tail(row["phone"]) in {tail(phone) for phone in world.purging.keep}:
            yield f"{box} {number} is kept, and was deleted"
        if box == "sent":
            yield from self._not_final(number, status_of(row), now)
        yield from self._not_safe(conn, box, number, row["msg"])

    def _not_final(self, number, status, now):
        if status not in {*DONE, "sent"}:
            yield f"sent {number} is {status}, and was deleted"
        changed_at = self.changed_at.get(number)
        if self._world.honest and status == "sent" and changed_at and changed_at > now - WEEK:
            yield f"sent {number} was changed in the last week, and was deleted"

    def _not_safe(self, conn, box, number, text):
        here = conn.execute(f"select text from {box} where id = ?", (number,)).fetchall()
        if (box, number) not in self.excused and [(text,)] != here:
            yield f"{box} {number} was deleted, and is not here just so: {here}, {text}"
        planned = _one(conn, f"select ids from purges where box = '{box}' order by id desc")
        if number not in json.loads(planned or "[]"):
            yield f"{box} {number} was deleted, and not written down before: {planned}"
        if self._world.copies.exists() and not _in_a_copy(conn, box, number):
            yield f"{box} {number} was deleted, and no copy holds it"

    def _here(self, box):
        return dict(self._world.ask(f"select id, text from {box}"))

    # After every step

    def check(self):
        """What holds after every step, whatever happened."""
        self.look_around()
        assert not self.wrongs, self.wrongs
        here = {box: self._here(box) for box in BOXES}
        self._nothing_missing(here)
        self._none_twice()
        self._nobody_else_sends()
        self._no_draft_lost_yet()
        self._nothing_purged_that_is_not_here(here)
        self._events_tell(here)
        self._nothing_forgotten(here)

    def _nothing_missing(self, here):
        """Promise 1: what is shown up to a mark is here; a mark stands at a row."""
        marks = self._world.ask(
            "select box, device_id, last_id, floor_id, top_id, loaded_at, lookback_at from marks"
        )
        floors = {(box, device): floor for box, device, _, floor, *_ in marks}
        for box, device, last, floor, top, loaded, lookback in marks:
            reached[f"mark {'of a device' if device else 'of the account'}"] += 1
            reached["mark loaded" if loaded else "mark loading" if last else "mark new"] += 1
            reached["mark with a floor"] += floor > 0
            reached["mark looking back"] += lookback is not None
            assert last in here[box] or last == floor, ("a mark without its row", box, last)
            lacking = {
                row.id
                for row in self._world.account.select(box, Wanted())
                if max(floor, floors.get((box, row.device_id), 0)) < row.id <= last
                and device in {0, row.device_id}
                and row.id not in here[box]
                and (box, row.id) not in self.late
            }
            assert not lacking, ("missing below the mark", box, device, lacking, last, top)

    def _none_twice(self):
        """Promise 2: no text is made more often than it was drafted, or asked for without a look."""
        made = Counter(self._world.made())
        twice = {text: times for text, times in made.items() if times > self.texts[text]}
        assert not twice, ("sent twice", twice)
        for text, at in self.requested.items():
            for first, second in pairwise(at if self.texts[text] == 1 else ()):
                looked = any(first <= began and ended < second for began, ended in self.looks)
                assert looked, ("asked for again without a look", text, first, second)
        effects = {effect["id"]: effect for effect in self._world.account.effects()}
        claimed = self._world.ask("select sent_id, kind, text from outbox where sent_id > 0")
        for number, kind, text in claimed:
            assert number in effects, ("taken for its own", number, text)
            said = effects[number]["text"].strip()
            assert said == wording(kind, text).strip(), ("taken for its own", text, said)

    def _nobody_else_sends(self):
        """What is sent here is never taken for another machine's, whatever was put back."""
        stopped = self._world.setting(ANOTHER_SENDS)
        assert not stopped, ("sending is given up for nobody's sake", stopped)

    def _no_draft_lost_yet(self):
        """Promise 3: each that was inserted is there, and says why it waits."""
        rows = self._world.ask("select id, status, attempts, error, sent_id from outbox")
        lost = self.drafts - {row[0] for row in rows}
        assert not lost, ("a draft is gone", lost)
        for number, status, attempts, error, sent_id in rows:
            reached[f"a draft is {status}"] += 1
            says_why = status in {"unknown", "rejected", "expired"} or (
                status == "queued" and attempts
            )
            assert error or not says_why, ("it does not say why", number, status)
            along = status in ALONG and (status != "cancelled" or sent_id is not None)
            assert (sent_id is not None) == along, ("with or without its message", number, status)
        apart = self._world.ask(
            "select outbox.id, outbox.status, sent.status from outbox join sent on sent.id = sent_id "
            "where outbox.status <> sent.status and outbox.status <> 'cancelling'"
        )
        assert not apart, ("a draft that does not follow its message", apart)  # 4

    def _nothing_purged_that_is_not_here(self, here):
        """Promise 5."""
        for box in BOXES:
            gone = {(box, number) for number in self.deleted[box] - here[box].keys()}
            assert not gone - self.excused, ("purged, and not here", gone - self.excused)

    def _nothing_forgotten(self, here):
        """Promise 6: what was here is here, with each text that it ever had."""
        for box in BOXES:
            lost = self.held[box].keys() - here[box].keys()
            assert not lost, ("forgotten", box, lost)
            for number, text in self.held[box].items():
                if here[box][number] != text:
                    extra = self._world.ask(f"select extra from {box} where id = ?", number)[0][0]
                    assert json.dumps(text)[1:-1] in (extra or ""), ("a text is lost", box, number)
            self.held[box] = here[box]
        for (box, number), text in self.first.items():
            assert here[box][number] == text, ("another message in its place", box, number)

    def _events_tell(self, here):
        """The log has no gap, and what it tells is how things stand."""
        events = self._world.ask(
            "select seq, kind, box, message_id, data from events where seq > ? order by seq",
            self.seq,
        )
        numbers = [event[0] for event in events]
        gaps = [(was, now) for was, now in pairwise([self.seq, *numbers]) if now != was + 1]
        # A mirror that was restored goes on with numbers that nobody can have seen.
        leaps = [now for _, now in gaps if now % LEAP == 1 and self.was_restored]
        assert len(gaps) == len(leaps), ("a gap in the log", gaps)
        for seq, kind, _, message, data in events:
            reached[f"event {kind}"] += 1
            self.seq = seq
            if kind != "hook.dead" and seq > (self.hook_at or 0):
                self.hook_due.add(seq)
            about, _, what = kind.partition(".")
            if about == "draft":
                self._draft_moved(what, json.loads(data))
            elif kind == "message.received":
                self.received[message] += 1
                assert self.received[message] == 1, ("told twice", message)
            elif about == "message" and what in STATUS_EVENTS:
                self.messages[message] = what
            elif kind == "hook.dead":
                reached["hook gave up"] += 1
        stands = dict(self._world.ask("select id, status from outbox"))
        told = {number: self.statuses.get(number) for number in stands}
        assert told == stands, ("drafts otherwise than told", _apart(told, stands))
        stands = dict(self._world.ask("select id, status from sent"))
        told = {number: status for number, status in self.messages.items() if number in stands}
        assert told.items() <= stands.items(), (
            "messages otherwise than told",
            _apart(told, stands),
        )
        for box in BOXES:
            if (news := self.news[box]) is not None:
                new = {
                    number for number in here[box].keys() - self.held[box].keys() if number > news
                }
                untold = new - (self.received if box == "inbox" else self.messages).keys()
                assert not untold, ("nothing told of it", box, untold)
            since = self._world.setting(f"history_to_{box}")
            self.news[box] = int(since) if since else None

    def _draft_moved(self, now, data):
        number, was = data["draft_id"], data.get("was")
        if now in {"resent", "doubled"}:
            reached["a draft was resent"] += now == "resent"
            return
        if now == "expired" and abs(self._world.time.jumped_s) > AGREE_S:
            self.wrongs.append(f"draft {number} expired by a wrong clock")
        if was is not None:
            reached[f"draft {was} -> {now}"] += 1
            before = self.statuses.get(number, was)
            assert was in {before, "cancelling"}, ("not where it was", number, before, was, now)
            if was in BEFORE:
                allowed = EDGES[was] | (STRAIGHT if was in {"sending", "unknown"} else set())
                assert now in allowed, ("no way for a draft", was, now)
            else:
                assert was in ALONG, ("a finished draft moved", was, now)
                assert now in ALONG, ("sent again", was, now)
            if was == "unknown" and now in {*ALONG} - {"cancelled", "cancelling"}:
                reached["a message of a draft was adopted"] += 1
        # A wish to cancel what is on its way leaves it where it is.
        kept = now == "cancelling" and was in {"sending", "unknown"}
        self.statuses[number] = was if kept else now

    # When all is calm

    def all_here(self, but):
        """Promise 1: all that the account shows is here, from the beginning of a history on."""
        for box in BOXES:
            marks = self._world.ask("select device_id, floor_id from marks where box = ?", box)
            floors = dict(marks)
            here = self._here(box)
            missing = {
                row.id
                for row in self._world.account.select(box, Wanted())
                if row.id not in here
                and (box, row.id) not in but
                and row.id > max(floors.get(0, 0), floors.get(row.device_id, 0))
            }
            assert not missing, ("missing", box, missing, marks)

    def statuses_true(self, *, verified):
        """Promise 4."""
        world = self._world
        ours = dict(world.ask("select id, status from sent where purged_at is null"))
        for row in world.account.rows("sent"):
            here, there = ours.get(row["id"]), status_of(row)
            # What was final, or silent for its last look, is asked for by `verify` alone.
            made = world.account._shelves["sent"].find(row["id"]).at
            waited_long = made < instant(world.time.now()) - 30 * DAY_US
            seldom = here in {None, *DONE, "sent"} or waited_long
            if here != there and seldom and not (verified and here):
                reached["a status that only verify sees"] += 1
                continue
            assert here == there, ("a status that is not true", row["id"], here, there)

    def at_rest(self, *, unproven):
        """What else holds when all is calm; where nothing is shown, nothing is proven."""
        self._no_draft_lost()
        reached["verify could not prove all"] += bool(unproven)
        if not unproven:
            self._the_vanished_are_marked()
        self._the_hook_was_told()
        self._the_mirror_is_sound()

    def _no_draft_lost(self):
        """Promise 3, and 2: what has gone out is known to its draft, unless a person must decide."""
        world = self._world
        rows = world.ask(
            "select id, status, coalesce(error, iif(send_at > ?, 'not yet', null)), sent_id, text "
            "from outbox",
            utc_text(world.time.now()),
        )
        for number, status, error, sent_id, _ in rows:
            reached[f"draft ends {status}"] += 1
            waits = status in {"held", "unknown"} or (status == "queued" and error)
            gone_on = status in {"accepted", "on_phone", "sent"} and sent_id is not None
            assert status in FINAL or waits or gone_on, (
                "it waits for nothing",
                number,
                status,
                error,
            )
        made = Counter(world.made())
        alone = {text: row for *row, text in rows if self.texts[text] == 1}
        for text, (number, status, _, sent_id) in alone.items():
            if sent_id is None and status not in {"unknown", "cancelled", "held"}:
                assert not made[text], ("it went out, and does not know", number, status)
        reached["a message is kept in conflicts"] += world.ask("select count(*) from conflicts")[0][
            0
        ]

    def _the_vanished_are_marked(self):
        """Promise 6: what the account shows no more is marked, and nothing else is."""
        for box in BOXES:
            shown = {row.id for row in self._world.account.select(box, Wanted())}
            # What became of a deletion that was broken off, the next purge finds out. What was
            # found out, and was still there, may have vanished since like any other message.
            query = "select ids from purges where box = ? and ended_at is null"
            open_ = {i for (ids,) in self._world.ask(query, box) for i in json.loads(ids)}
            # Below the beginning of a history a row may come unasked for, and is not verified.
            marked = self._world.ask(
                f"select id, missing_since is not null from {box} where purged_at is null "
                "and id > (select max(floor_id) from marks where box = ?)",
                box,
            )
            wrong = [
                number
                for number, missing in marked
                if missing == (number in shown)
                and number not in open_
                # Whose id was given to another: it has vanished, and its id is shown.
                and (box, number) not in self.first
            ]
            assert not wrong, ("vanished and not marked, or the other way", box, wrong)

    def _the_hook_was_told(self):
        self._world.follow()
        gave_up = self._world.ask("select seq from deliveries where status = 'dead'")
        untold = self.hook_due - self.hook_told - {seq for (seq,) in gave_up}
        assert not untold, ("the hook was not told", sorted(untold))

    def _the_mirror_is_sound(self):
        ask = self._world.ask
        assert ask("pragma integrity_check") == [("ok",)]
        for box in BOXES:
            ask(f"insert into {box}_fts({box}_fts, rank) values ('integrity-check', 1)")
            column = {"inbox": "received", "sent": "sent"}[box]
            counted = dict(
                ask(f"select contact, count(*) from {box} where contact is not null group by 1")
            )
            kept = dict(ask(f"select contact, {column} from contacts where {column} > 0"))
            assert counted == kept, ("contacts", box, _apart(counted, kept))


def status_of(row):
    """The status of a row as the account prints it."""
    if row["is_delivered"]:
        return "delivered"
    if row["is_error_send"] or row["is_error"]:
        return "failed"
    if row["is_send"]:
        return "sent"
    if row["is_cancel"]:
        return "cancelled"
    return "on_phone" if row["is_send_to_phone"] else "accepted"


def _in_a_copy(conn, box, number):
    newest = backup.newest_copy(conn)
    if newest is None:
        return False
    with closing(sqlite3.connect(newest.path)) as copy:
        return bool(_one(copy, f"select count(*) from {box} where id = {number}"))


def _one(conn, query):
    return (conn.execute(query).fetchone() or [None])[0]


def _apart(some, others):
    return {
        key: (some.get(key), others.get(key))
        for key in {*some, *others}
        if some.get(key) != others.get(key)
    }
