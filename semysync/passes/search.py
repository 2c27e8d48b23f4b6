"""
Search the account for the messages of drafts whose answers were lost.

What is seen there is judged in `lost`. No draft is requested a second time before a complete look
at the account that began after its first request had ended: `looked` is told of those looks, by a
clock that cannot jump.
"""

from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import islice
from threading import Lock as Mutex
from typing import NamedTuple

import msgspec
import structlog

from semysync.config import Send
from semysync.mirror.outbox.evidence import Evidence, Settled, Unknown
from semysync.mirror.outbox.sending import Outbox
from semysync.passes.lost import LOOKS, Fate, Found, Habits, fate, search

log = structlog.get_logger("semysync")

ON_HOLD = (
    "the answer was lost and the account shows no message of it: set its status to queued to send "
    "it (it may be the second), or to cancelled to give it up"
)
NOTHING_THERE = "the account shows no message of it"

LATENESS, HABITS = "greatest_lateness_s", "habits"
MOST_NAMED = 10_000  #: messages that are watched until they are shown


class Looks(NamedTuple):
    """The complete looks since a request ended: how many, and when the last of them began."""

    taken: int
    last_began: float


class Search:
    """
    What is known of drafts that may have gone out, in one run; `looked` may come from any thread.

    What was tried before this run counts as ended when it `began`. `may_expire` tells whether a
    draft whose time has passed may be ended.
    """

    def __init__(
        self,
        outbox: Outbox,
        config: Send,
        *,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        may_expire: Callable[[], bool],
        began: float,
    ) -> None:
        self._outbox = outbox
        self._evidence = Evidence(outbox)
        self._config = config
        self._clock = clock
        self._now = now
        self._may_expire = may_expire
        self._began = began
        self._habits = _habits(outbox.setting(HABITS))
        self._lateness_s = float(outbox.setting(LATENESS) or 0)
        self._looks: deque[float] = deque()
        self._mutex = Mutex()
        # By draft, of those that were tried: when that ended, and the complete looks begun since.
        self._ended: dict[int, float] = {}
        self._looks_since: dict[int, Looks] = {}
        # By message, of those whose id the service named: what was sent, when, and whether a
        # complete look has missed it.
        self._named: dict[int, tuple[str, str, float, bool]] = {}
        self._doubtful: dict[int, list[int]] = {}
        self._searched_to: int | None = None
        self._behind: dict[int, str] = {}  # of drafts that wait for an unknown one: why they do

    def wants_looks(self) -> bool:
        """
        Tell whether a draft waits for a look at the account.

        One that was searched for to the end waits for a person: usual pulls bring what comes late.
        """
        unknown = self._evidence.unknown()
        return not all(self._is_searched(draft.id) for draft in unknown) or not (
            self._looks_since.keys() >= set(self._evidence.waiting_for_a_look())
        )

    def looked_for(self) -> list[int]:
        """Return the drafts that were tried, and that a complete look has not shown since."""
        return sorted(self._looks_since)

    # What the sender and the passes tell.

    def tried(self, draft_ids: Sequence[int]) -> None:
        """Note that the request of these drafts has ended, whatever it came to."""
        for draft_id in draft_ids:
            self._ended[draft_id] = self._clock()
            self._looks_since.pop(draft_id, None)

    def named(self, draft_id: int, message_id: int, phone: str, text: str) -> None:
        """Note what was sent as a message whose id the service has named."""
        self._named[message_id] = (phone, text, self._ended.pop(draft_id), False)

    def looked(self, began: float) -> None:
        """Note a complete look at all that the account has sent, which began at this time."""
        with self._mutex:
            self._looks.append(began)

    # What is seen in the account.

    def search_news(self) -> None:
        """
        Search what has come since the last search, if anything has.

        Also a look that fails halfway brings messages: none of them may be sent again.
        """
        if self._evidence.newest_arrival() != self._searched_to:
            self._search()

    def take_looks(self) -> bool:
        """Let looks count for the drafts whose request had ended before; tell if there were any."""
        taken = False
        while (began := self._next_look()) is not None:
            taken = True
            self._learn(began)
            self._search()
            self._count(began)
            self.settle()
        return taken

    def _next_look(self) -> float | None:
        with self._mutex:
            return self._looks.popleft() if self._looks else None

    def _count(self, began: float) -> None:
        open_ones = {draft.id for draft in self._evidence.unknown()}
        open_ones.update(self._evidence.waiting_for_a_look())
        for draft_id in open_ones:
            if began >= self._ended.get(draft_id, self._began):
                before = self._looks_since.get(draft_id)
                self._looks_since[draft_id] = Looks(before.taken + 1 if before else 1, began)
        for draft_id in [i for i in self._looks_since if i not in open_ones]:
            del self._looks_since[draft_id]

    def _learn(self, began: float) -> None:
        """See how messages whose ids were named are shown, and how late."""
        shown = self._evidence.shown(list(self._named))
        habits, lateness = self._habits, self._lateness_s
        for message_id, (phone, text, ended, missed) in list(self._named.items()):
            if message_id in shown:
                habits = habits.after(phone, text, *shown[message_id])
                if missed:
                    lateness = max(lateness, self._clock() - ended)
                del self._named[message_id]
            elif began >= ended:
                self._named[message_id] = (phone, text, ended, True)
        for message_id in list(islice(self._named, max(0, len(self._named) - MOST_NAMED))):
            del self._named[message_id]
        if _kinds(habits) != _kinds(self._habits):
            self._outbox.set_setting(HABITS, msgspec.json.encode(habits).decode())
        self._habits = habits
        if lateness > self._lateness_s:
            self._lateness_s = lateness
            self._outbox.set_setting(LATENESS, f"{lateness:.0f}")
            log.warning(
                "messages.late", seconds=round(lateness), meaning="lost answers settle later"
            )

    def _search(self) -> None:
        """Find the messages of drafts whose answers were lost."""
        self._searched_to = self._evidence.newest_arrival()
        self._doubtful = {}
        attempts, candidates = self._evidence.read()
        if not attempts:
            return
        found = search(attempts, candidates, self._habits)
        self._evidence.adopt(found.adopted, found.doubled)
        for draft_id, message_id in found.adopted.items():
            log.info("draft.found", draft=draft_id, message=message_id)
        for draft_id, message_ids in found.doubled.items():
            log.warning("draft.doubled", draft=draft_id, messages=message_ids)
        self._show_doubts(found)

    def _show_doubts(self, found: Found) -> None:
        unknown = {draft.id: draft for draft in self._evidence.unknown()}
        self._doubtful = {i: ids for i, ids in found.doubtful.items() if i in unknown}
        sentences = {draft_id: _doubt(ids) for draft_id, ids in self._doubtful.items()}
        fresh = {i: s for i, s in sentences.items() if unknown[i].error != s}
        if fresh:
            self._evidence.say(fresh)
            log.warning("drafts.doubtful", drafts=sorted(fresh), meaning="a person must decide")

    # What becomes of drafts of which nothing is seen.

    def settle(self) -> None:
        """End the search for drafts of which the account shows nothing, where it is time."""
        may_expire = self._may_expire()
        ended: list[Settled] = []
        on_hold: list[int] = []
        for draft in self._evidence.unknown():
            decided = fate(
                looks=self._looks_of(draft.id),
                waited_s=self._waited_s(draft.id),
                settle_s=self._settle_s(),
                lost_answer="hold"
                if draft.attempts >= self._config.max_attempts
                else self._config.lost_answer,
                kind=draft.kind,
                doubtful=draft.id in self._doubtful,
                cancel_wanted=draft.cancel_wanted,
                expired=may_expire
                and self._outbox.is_expired(draft.id, self._now(), self._config.lifetime_s),
            )
            if settled := _settled(draft, decided):
                ended.append(settled)
            elif decided == "hold" and draft.error != ON_HOLD:
                on_hold.append(draft.id)
        self._end_search(ended, on_hold)
        self._say_who_waits()

    def _settle_s(self) -> float:
        return max(self._config.settle_s, 2 * self._lateness_s)

    def _looks_of(self, draft_id: int) -> int:
        looks = self._looks_since.get(draft_id)
        return looks.taken if looks else 0

    def _waited_s(self, draft_id: int) -> float:
        """Return how long after a request ended the last complete look began."""
        looks = self._looks_since.get(draft_id)
        return looks.last_began - self._ended.get(draft_id, self._began) if looks else 0

    def _is_searched(self, draft_id: int) -> bool:
        return self._looks_of(draft_id) >= LOOKS and self._waited_s(draft_id) >= self._settle_s()

    def _end_search(self, ended: Sequence[Settled], on_hold: Sequence[int]) -> None:
        if ended:
            self._evidence.settle(ended)
        if again := [settled.draft_id for settled in ended if settled.status == "queued"]:
            log.info("drafts.not_found", drafts=again, then="they are sent again")
        if on_hold:
            self._evidence.say(dict.fromkeys(on_hold, ON_HOLD))
            log.warning("drafts.on_hold", drafts=on_hold, meaning="a person must decide")

    def _say_who_waits(self) -> None:
        """Let each draft that waits for an unknown one say so, as long as it does."""
        behind = {
            i: f"it waits for draft {lost} to the same number, which begins like it and is unknown"
            for i, lost in self._evidence.behind().items()
        }
        if behind == self._behind:
            return
        self._evidence.say({i: s for i, s in behind.items() if self._behind.get(i) != s})
        self._evidence.clear({i: s for i, s in self._behind.items() if i not in behind})
        self._behind = behind


def _settled(draft: Unknown, decided: Fate) -> Settled | None:
    """Say how the search for a draft ends; None while it goes on, or a person must decide."""
    match decided:
        case "queue" | "hold" if draft.held:
            return Settled(draft.id, "held", NOTHING_THERE)
        case "queue":
            return Settled(draft.id, "queued", f"{NOTHING_THERE}; it goes out again")
        case "expire":
            return Settled(draft.id, "expired", f"its time passed, and {NOTHING_THERE}")
        case "cancel":
            return Settled(draft.id, "cancelled", f"cancelled; {NOTHING_THERE}")
    return None


def _doubt(message_ids: Sequence[int]) -> str:
    shown = ", ".join(map(str, message_ids[:5])) + (" …" if len(message_ids) > 5 else "")
    return (
        f"the answer was lost, and the account shows a message to this number that may be it "
        f"(sent {shown}): if it is not, set the status to queued to send it again, else to cancelled"
    )


def _habits(text: str | None) -> Habits:
    try:
        return msgspec.json.decode(text or "{}", type=Habits)
    except msgspec.DecodeError:
        return Habits()


def _kinds(habits: Habits) -> tuple[object, ...]:
    """Return what of the habits is worth a write: not each count of more of the same."""
    return tuple(
        min(value, 3)
        if isinstance(value, int) and name not in {"longest_kept", "cut_at"}
        else value
        for name, value in msgspec.structs.asdict(habits).items()
    )
