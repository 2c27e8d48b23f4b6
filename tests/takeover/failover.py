"""
The first machine dies under traffic, the second takes over, and the first comes back.

    .venv/bin/python tests/takeover/failover.py [--rounds 10] [--seconds 20]

Each round says what was lost, and how long it took; what goes wrong raises.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

sys.path.append(str(Path(__file__).parents[1]))

from machines import Machine, made
from processes import TOKEN, wait_until

from semysync.sandbox import Sandbox
from semysync.times import utc_text

GONE_OUT = {"accepted", "on_phone", "sent", "delivered"}
NOT_YET = """
select count(*) from outbox where status in ('queued', 'sending', 'unknown') and send_at is null
"""


class Came(NamedTuple):
    """What a round came to."""

    drafts: int  #: committed on the first machine
    lost: int  #: of those, not in the replica, and never sent
    sent_only: int  #: not in the replica as drafts, but sent, and in the mirror as messages
    window_s: float  #: before the death, of the oldest draft that the replica lacks
    takeover_s: float
    first_sent_s: float  #: after the death, until the second machine has sent a new draft


def fail_over(folder, *, seconds=3.0, pause_s=0.02, settle_s=2):
    """Play one round."""
    with Sandbox(messages=300, devices=2, token=TOKEN) as sandbox:
        one, two = (Machine(folder, name, sandbox, settle_s=settle_s) for name in ("one", "two"))
        one.mirror_here()
        committed = _die_under_traffic(one, sandbox, seconds, pause_s)
        died = time.monotonic()
        taken = two.take_over(one)
        takeover_s = time.monotonic() - died
        assert taken["number"] == 1
        with two.replicating(), two.running("run") as second:
            two.insert("+79205550001", "written on the second machine")
            wait_until(lambda: "written on the second machine" in made(sandbox), second)
            first_sent_s = time.monotonic() - died
            _comes_back_in_vain(one, sandbox)
            wait_until(lambda: two.ask(NOT_YET) == [(0,)], second)
            there = set(sandbox.account.ids("sent"))
            wait_until(lambda: there <= {i for (i,) in two.ask("select id from sent")}, second)
        return _reckoned(one, two, sandbox, committed, takeover_s, first_sent_s)


def _die_under_traffic(one, sandbox, seconds, pause_s):
    """Let the first machine work, and all of it end in one moment; return what was committed."""
    with one.running("run") as first, one.replicating() as litestream:
        one.insert("+79205550002", "tomorrow", send_at=utc_text_in(86_400))
        one.insert("+79205550003", "held", status="held")
        with one.writer("draft", pause_s) as writer:
            wait_until(lambda: len(made(sandbox)) > 5, first)
            ends = time.monotonic() + seconds
            while time.monotonic() < ends:
                sandbox.account.receive("+79205550004", "meanwhile")
                time.sleep(0.05)
            for process in (litestream, first, writer):
                process.kill()
    return one.inserted()


def _comes_back_in_vain(one, sandbox):
    """Start the first machine again: it must say that another sends, and send nothing."""
    before = set(made(sandbox))
    one.insert("+79205550005", "written on the first machine, too late")
    with one.running("run") as process:
        wait_until(lambda: "has taken over at" in (one.setting("sending_blocked") or ""), process)
        looks = len(sandbox.requests)
        wait_until(lambda: len(sandbox.requests) > looks + 10, process)
    assert one.told() == ['{"cause": "replica"}']
    ours = {text for (text,) in one.ask("select text from outbox")}
    assert "written on the first machine, too late" not in made(sandbox)
    # What the second one has sent meanwhile was open there too, and is sent by nobody else.
    assert max(Counter(made(sandbox)).values()) == 1, ours - before


def _reckoned(one, two, sandbox, committed, takeover_s, first_sent_s):
    """See that each draft went out once, and what is missing; return the figures."""
    counts = Counter(made(sandbox))
    assert max(counts.values()) == 1, counts.most_common(3)
    drafts = two.drafts()
    assert (drafts.pop("tomorrow"), drafts.pop("held")) == ("queued", "held")
    assert set(drafts.values()) <= GONE_OUT, Counter(drafts.values())
    assert set(drafts) <= set(counts), "a draft that is said to have gone out did not"
    written = {f"draft {n}" for n in range(1, committed + 1)}
    kept = {text for (text,) in one.ask("select text from outbox")}
    assert written <= kept, "the first machine itself has lost what was committed"
    lacking = kept - set(two.drafts()) - {"written on the first machine, too late"}
    mirrored = {text for (text,) in two.ask("select text from sent")}
    sent_only = lacking & set(counts)
    assert sent_only <= mirrored, "what the account shows is not mirrored"
    times = dict(one.ask("select text, julianday(created_at) * 86400 from outbox"))
    newest = max(times[text] for text in written)
    window_s = newest - min((times[text] for text in lacking), default=newest)
    lost = len(lacking - sent_only)
    return Came(committed, lost, len(sent_only), window_s, takeover_s, first_sent_s)


def utc_text_in(seconds):
    from datetime import UTC, datetime, timedelta

    return utc_text(datetime.now(UTC) + timedelta(seconds=seconds))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=10)
    asked = parser.parse_args()
    rounds = []
    for _ in range(asked.rounds):
        with tempfile.TemporaryDirectory(prefix="semysync-failover-") as folder:
            rounds.append(fail_over(Path(folder), seconds=asked.seconds))
        print(rounds[-1], flush=True)
    for name in Came._fields:
        values = [getattr(came, name) for came in rounds]
        print(f"{name:<14} median {statistics.median(values):.2f}, most {max(values):.2f}")


if __name__ == "__main__":
    main()
