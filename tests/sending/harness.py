"""
A run with drafts of all kinds, and whatever may go wrong in it: nothing may be lost or sent twice.

`begin` inserts the drafts, `finish` lets the rig run until each has its message or waits for a
person, does what that person does who looks into the account, and sees that each draft has exactly
one message at the stand-in. What goes wrong in between is for the caller to order.
"""

import os
import signal
import warnings
from collections import Counter
from contextlib import suppress
from itertools import count
from queue import Queue
from typing import get_args

from rig import FINAL, GONE_OUT, Rig

from semysync.mirror.outbox import attempts, evidence, queue
from semysync.mirror.outbox.claims import Claims
from semysync.mirror.outbox.sending import Outbox
from semysync.passes.request import Requests
from semysync.sandbox.switches import Fault

SAME = "Your order 12 is ready, and waits for you at the desk until six in the evening"
DRAFTS = [
    ("+79205550001", "One, with some blanks behind  ", {}),
    ("+79205550002", SAME, {}),
    ("+79205550003", SAME, {}),
    ("+79205550002", SAME, {}),
    ("+79205550004", "Sooner", {"priority": 5}),
    ("+79205550001", "A second text for the first number", {}),
    ("8 (920) 555-00-05", "To a number in another form: " + "x" * 130, {}),
]
WANTED = Counter((phone[-2:], text.strip()[:5]) for phone, text, _ in DRAFTS)

# A service that takes a message and answers that it was refused cannot be seen through.
REFUSING = {"http_429", "http_404", "api_error"}
BIG = {"huge_text"}  #: forty megabytes
FAULTS = [
    (fault, when)
    for fault in get_args(Fault)
    for when in ("before", "after")
    if fault != "none" and not (when == "after" and fault in REFUSING)
]

# What the service may do without anything being lost, sent twice, or left to a person.
WORLDS = [
    {},
    {"batch_order": "shuffled"},
    {"batch_order": "short"},
    {"batch_order": "empty"},
    {"my_id": "absent"},
    {"batch_limit": 2},
    {"batch_limit": 2, "batch_over": "cut"},
    {"answer_device": "both"},
    {"answer_device": "none"},
    {"sent_visible": "after_lists", "sent_visible_lists": 2},
    {"sent_visible": "after_s", "visible_after_s": 45.0},
    {"visibility": "out_of_order", "visible_after_s": 30.0},
    {"moved": "at_once"},
    {"moved": "on_fetch"},
    {"text_trim": "yes"},
    {"text_limit": 70},
    {"text_limit": 20},
    {"phone_stored": "digits"},
    {"phone_stored": "national"},
    {"phone_stored": "compact"},
    {"order": "desc", "cap": 7},
    {"cap": 7, "cap_keeps": "newest"},
    {"start_id": "exclusive"},
    {"numbers": "text", "flags": "null", "empty": "missing", "code": "int"},
    {"phone_speed": 0.0},
]
# Here a person must look where an answer was lost, and nothing may be sent twice all the same.
WORLDS_FOR_A_PERSON = [{"other_client": "other_text"}]


def begin(rig):
    """Insert the drafts."""
    rig.writer.execute("begin")
    for phone, text, columns in DRAFTS:
        rig.draft(text, phone, **columns)
    rig.writer.execute("commit")


def made(rig):
    """What the stand-in really made for our drafts."""
    return Counter(
        (effect["phone"][-2:], effect["text"].strip()[:5])
        for effect in rig.sandbox.account.effects()
    )


def waiting_for_a_person(rig):
    return rig.ask(
        "select id, phone, text from outbox"
        " where status = 'unknown' and instr(error, 'to queued to send') order by id"
    )


def settled(rig):
    """Whether each draft has its message, or waits for a person, or behind one that does."""
    behind = {text for _, _, text in waiting_for_a_person(rig)}
    return all(
        status in GONE_OUT | FINAL
        or (status == "unknown" and "to queued to send" in (error or ""))
        or (status == "queued" and text in behind)
        for status, error, text in rig.ask("select status, error, text from outbox")
    )


def finish(rig, *, person=True):
    """Run to the end, and see that each draft has one message; return how many a person decided."""
    decided = 0
    while True:
        rig.run(until=lambda: settled(rig), most_s=20_000)
        twice = made(rig) - WANTED
        assert not twice, f"sent twice: {twice}"
        waiting = waiting_for_a_person(rig)
        if not waiting:
            break
        assert person, rig.shown()
        decided += len(waiting)
        rig.sandbox.set(other_client="none")
        missing = WANTED - made(rig)
        for draft, phone, text in waiting:
            what = phone[-2:], text.strip()[:5]
            rig.set(draft, "queued" if missing[what] > 0 else "cancelled")
            missing[what] -= 1
    rig.run(100)
    assert made(rig) == WANTED, rig.shown()
    statuses = Counter(rig.statuses())
    assert statuses["cancelled"] <= decided
    assert set(statuses) <= GONE_OUT | {"cancelled"}, rig.shown()
    return decided


def requests_of_a_run(folder, **how):
    """Count the requests of a run in which nothing goes wrong, from its drafts on."""
    with Rig(folder, **how) as rig:
        before = len(rig.sandbox.requests)
        begin(rig)
        finish(rig)
        rig.end()
        return len(rig.sandbox.requests) - before


def with_a_fault(folder, fault, when, nth, *, person=True, **how):
    """Play a run in which the nth request meets a fault."""
    with Rig(folder, timeout_s=0.3 if fault == "hang" else 10, **how) as rig:
        rig.sandbox.order_fault(fault, when=when, nth=nth, down_s=0.02, status=500)
        begin(rig)
        return finish(rig, person=person)


def with_a_restore(folder, when, nth, *, lost=True, **how):
    """
    Play a run, and then go on with a copy of the mirror that was made at its nth request.

    What has gone out since must not go out again, and what had not must.
    """
    with Rig(folder, **how) as rig:
        calls = count(1)

        def copy(_):
            if next(calls) == nth:
                rig.copy()

        hook = "before_call" if when == "before" else "after_call"
        if lost:
            rig.sandbox.order_fault("drop", method="sms,sms_more", when="after", nth=2)
        begin(rig)
        setattr(rig.sandbox, hook, copy)
        finish(rig)
        setattr(rig.sandbox, hook, None)
        rig.put_back(rig.mirror.with_name("copy.db"))
        rig.start(loaded=False)
        return finish(rig)


# Kills

# What a sender does for a request and for a search, step by step: a kill comes before or after it.
STEPS = {
    "a draft is seen": (queue, "see_new"),
    "drafts are claimed, uncommitted": (queue, "claim"),
    "an attempt begins, uncommitted": (attempts, "begin"),
    "the claim is committed": (Outbox, "claim"),
    "the claim is noted": (os, "pwrite"),
    "the note is on the disk": (Claims, "note"),
    "the request is made": (Requests, "make"),
    "an attempt ends, uncommitted": (attempts, "end"),
    "what came of it is committed": (Outbox, "record"),
    "a message is found, uncommitted": (attempts, "find"),
    "what was found is committed": (evidence.Evidence, "adopt"),
    "a search has ended": (evidence.Evidence, "settle"),
}
AT_THE_SERVICE = ("a request has come", "a request has had its effect")


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def deadly(place, name, when, nth):
    """Let this process die at the nth call of a function, before or after it."""
    living, calls = getattr(place, name), count(1)

    def called(*args, **named):
        is_last = next(calls) == nth
        if is_last and when == "before":
            die()
        value = living(*args, **named)
        if is_last and when == "after":
            die()
        return value

    setattr(place, name, called)


def in_a_child(rig, act=lambda: None):
    """Start a child that runs the rig, after `act`, until all is settled or it dies."""
    rig.end()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forked beside threads: it is short
        pid = os.fork()
    if not pid:
        with suppress(BaseException):
            act()
            rig.start(loaded=False)
            rig.run(until=lambda: settled(rig), most_s=20_000)
        os._exit(0)
    return pid


def has_died(pid):
    """Wait for the end of a child; tell whether it was killed."""
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def with_a_kill(folder, step, when="after", nth=1, *, lost=True, **how):
    """
    Play a run that is killed at the nth passing of a step; return whether it was.

    Where answers are lost besides, there is something to find and to settle.
    """
    with Rig(folder, **how) as rig:
        if lost:
            rig.sandbox.order_fault("drop", method="sms,sms_more", when="after")
            rig.sandbox.order_fault("drop", method="sms,sms_more", when="before", nth=2)
        begin(rig)
        if step in AT_THE_SERVICE:
            died = _killed_by_the_service(rig, step, nth)
        else:
            died = has_died(in_a_child(rig, lambda: deadly(*STEPS[step], when, nth)))
        rig.start(loaded=False)
        finish(rig)
        return died


def _killed_by_the_service(rig, step, nth):
    """Kill the child while its request is at the service, before or after its effect."""
    calls, children = count(1), Queue()

    def kill(call):
        if call.method in {"sms", "sms_more"} and next(calls) == nth:
            os.kill(children.get(), signal.SIGKILL)

    hook = "before_call" if step == AT_THE_SERVICE[0] else "after_call"
    setattr(rig.sandbox, hook, kill)
    child = in_a_child(rig)
    children.put(child)
    died = has_died(child)
    setattr(rig.sandbox, hook, None)
    return died
