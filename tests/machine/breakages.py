"""
Break the program on purpose, and see that the state machine notices: `--mutants`.

Each mutant is named for what it does wrong, and makes a few patches. One that lives on is a weak
spot of the machine, not of the program.
"""

import time
from contextlib import ExitStack
from unittest.mock import Mock, patch

from lives import live

from semysync.mirror import housekeeping
from semysync.mirror.copies import extent
from semysync.mirror.outbox import evidence
from semysync.mirror.outbox.attempts import NotTaken
from semysync.mirror.outbox.claims import Claims
from semysync.mirror.outbox.evidence import Evidence
from semysync.mirror.tables import boxes, events, followers, missing, sorting
from semysync.mirror.tables.purges import Purges
from semysync.passes import expendable, look, lost, pull, request, search
from semysync.passes.refresh import Refresher
from semysync.passes.send import Sender
from semysync.passes.verify import Verifier

LIVES = 5  #: between two looks at the clock
STEPS = 60


def _purge_writes_nothing_down():
    commit = Purges.commit

    def forgetful(self, *args):
        purge = commit(self, *args)
        self.conn.execute("update purges set ids = '[]' where id = ?", (purge.id,))
        self.conn.commit()
        return purge

    return patch.object(Purges, "commit", forgetful)


def _purge_takes_what_is_to_be_kept():
    return patch.object(expendable.Limits, "keeps", lambda *_: False)


def _purge_needs_no_copy():
    return patch.multiple(extent, copied_until=lambda *_: None, copy_needed=lambda *_: None)


def _purge_takes_what_moves():
    return patch.object(expendable, "FINISHED", {"accepted", "on_phone", "sent", "delivered"})


def _send_without_claim():
    return patch.object(Claims, "agree_with", lambda *_: True)


def _count_claims_on_from_the_copy():
    return patch.object(evidence, "settings", Mock())


def _send_again_what_was_sending():
    def back(self, now):
        with self._outbox.writing() as conn:
            conn.execute(
                "update outbox set status = 'queued', error = 'x' where status = 'sending'"
            )
            conn.execute("delete from attempts")
        return 0

    return patch.object(Evidence, "lose_what_was_sending", back)


def _forget_what_was_sending():
    return patch.object(Evidence, "lose_what_was_sending", lambda *_: 0)


def _take_a_lost_answer_for_a_refusal():
    def surely(draft_id, why):
        return NotTaken(draft_id, why, None)

    return patch.object(request, "Lost", surely)


def _settle_too_early():
    return patch.object(search, "fate", lambda **_: "queue")


def _look_once_before_settling():
    def hasty(**how):
        return lost.fate(**how | {"looks": 3 if how["looks"] else 0, "settle_s": 0})

    return patch.object(search, "fate", hasty)


def _adopt_any_message():
    def search_(attempts_, candidates, *_):
        found = lost.Found({}, {}, {})
        for attempt, candidate in zip(attempts_, candidates, strict=False):
            found.adopted[attempt.draft_id] = candidate.id
        return found

    return patch.object(search, "search", search_)


def _expire_by_any_clock():
    return patch.object(Sender, "_may_expire", lambda _: True)


def _skip_an_event():
    told = events.came

    def came(conn, box, rows, stamp):
        told(conn, box, [row for row in rows if row[0] % 3], stamp)

    return patch.object(events, "came", came)


def _skip_a_change():
    return patch.object(events, "moved", lambda *_: None)


def _forget_the_vanished():
    def forget(conn, box, ids, stamp):
        conn.executemany(f"delete from {box} where id = ?", [(number,) for number in ids])
        return len(ids)

    return patch.object(missing, "mark", forget)


def _never_mark_the_vanished():
    return patch.object(missing, "mark", lambda *_: 0)


def _overwrite_a_message():
    return patch.object(sorting, "is_another", lambda *_: False)


def _move_the_mark_without_the_rows():
    add = boxes.add

    def lossy(conn, table, rows):
        add(conn, table, rows[:-2] + rows[-1:])

    return patch.object(boxes, "add", lossy)


def _believe_every_answer_whole():
    def learn(self, question, shown):
        self.mark = max([self.mark, *shown.ids])
        self.done = True

    return patch.object(look.Look, "learn", learn)


def _never_look_back():
    def start_of(mark, *_, **__):
        return mark.last_id, False

    return patch.object(pull, "start_of", start_of)


def _never_refresh():
    return patch.object(Refresher, "refresh", lambda *_, **__: None)


def _verify_without_repair():
    run = Verifier.run

    def look_only(self, since, note, *, repair):
        return run(self, since, note, repair=False)

    return patch.object(Verifier, "run", look_only)


def _hook_skips_events():
    find = followers.events

    def rush(conn, position, most):
        for event in find(conn, position, most):
            if event.seq % 5:
                yield event

    return patch.object(followers, "events", rush)


def _forget_events_that_nobody_has_seen():
    forget = housekeeping.forget_events
    return patch.object(
        housekeeping, "forget_events", lambda conn, now, kept, _: forget(conn, now, kept, ())
    )


def _count_no_contacts():
    return patch.object(boxes.contacts, "count", lambda *_: None)


MUTANTS = {
    name[1:].replace("_", " "): make
    for name, make in list(globals().items())
    if name.startswith("_") and callable(make)
}


def all_caught(minutes, only):
    """Let each mutant live until it is caught, or for so long; tell, and return whether all were."""
    survivors = []
    chosen = {name: make for name, make in MUTANTS.items() if only in name}
    for name, make in chosen.items():
        began, lives = time.monotonic(), 0
        caught = None
        while caught is None and time.monotonic() - began < minutes * 60:
            caught = _caught(make, lives)
            lives += LIVES
        took_s = time.monotonic() - began
        print(
            f"{'caught' if caught else 'LIVES ON':8} {took_s:6.1f} s  {name}: {caught}", flush=True
        )
        survivors += [] if caught else [name]
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} mutants were caught")
    return not survivors


def _caught(make, lives):
    """Return what a promise has said; None where none did."""
    with ExitStack() as stack:
        stack.enter_context(make())
        try:
            live(lives, lives=LIVES, steps=STEPS)
        except AssertionError as exc:
            return str(exc).splitlines()[0][:110]
    return None
