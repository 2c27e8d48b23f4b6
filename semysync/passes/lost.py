"""
Decide what became of requests whose answers were lost. Nothing here does any I/O.

`search` is the heart: given the attempts that may have been taken and the messages that were
mirrored since, it says which message is whose, and where a person must decide. A message is taken
for a draft's only where nothing speaks against it: to hold a draft for a person costs a delay, to
send it again a second message, to adopt a stranger's message a lost one.

What is known of how this service stores numbers and texts (`Habits`) only makes the search
stricter: what it then rejects is shown to a person, and never sent again by itself.
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Literal, NamedTuple

import msgspec

from semysync.contact import tail
from semysync.model import Attempt, Candidate

LOOKS = 3  #: complete looks without a trace, at least, before a draft counts as not taken
SLACK = timedelta(minutes=5)  #: by so much two clocks that agree may differ
ENOUGH = 3  #: messages that show a habit


class Habits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How this service stores what it is given, learnt from messages whose ids it named."""

    texts_kept: int = 0
    longest_kept: int = 0  #: characters
    cut_at: int | None = None  #: characters; a text was cut to so many
    texts_lengthened: int = 0
    texts_rewritten: int = 0
    numbers_kept: int = 0
    numbers_changed: int = 0

    def after(self, phone: str, text: str, shown_phone: str, shown_text: str) -> "Habits":
        """Return what is known after a message whose id the service named."""
        ours, shown = _trimmed(text), _trimmed(shown_text)
        numbers = (
            {"numbers_kept": self.numbers_kept + 1}
            if phone == shown_phone
            else {"numbers_changed": self.numbers_changed + 1}
        )
        if ours == shown:
            kept = max(self.longest_kept, len(ours))
            texts = {"texts_kept": self.texts_kept + 1, "longest_kept": kept}
        elif shown and ours.startswith(shown):
            texts = {"cut_at": max(self.cut_at or 0, len(shown))}
        elif shown.startswith(ours):
            texts = {"texts_lengthened": self.texts_lengthened + 1}
        else:
            texts = {"texts_rewritten": self.texts_rewritten + 1}
        return msgspec.structs.replace(self, **numbers, **texts)


class Found(NamedTuple):
    """What a search came to, by draft: its message, what a person must look at, second messages."""

    adopted: dict[int, int]
    doubtful: dict[int, list[int]]
    doubled: dict[int, list[int]]


UNTAUGHT = Habits()

Fate = Literal["wait", "queue", "hold", "expire", "cancel"]


def search(
    attempts: Iterable[Attempt], candidates: Iterable[Candidate], habits: Habits = UNTAUGHT
) -> Found:
    """
    Say which of the candidates are whose.

    Of several equal candidates a draft gets the oldest; where fewer candidates than drafts fit each
    other, all of these drafts are doubtful.
    """
    attempts, candidates = list(attempts), sorted(candidates)
    owners = {c: _owners(c, attempts, habits) for c in candidates}
    doubled: dict[int, list[int]] = {}
    wanted: dict[Candidate, set[int]] = {}
    for candidate, fitting in owners.items():
        open_ones = [a for a in fitting if not a.resent]
        ghosts = [a for a in fitting if a.resent]
        if ghosts and not any(candidate.id > a.above_id for a in open_ones):
            for attempt in ghosts[:1]:
                doubled.setdefault(attempt.draft_id, []).append(candidate.id)
        elif open_ones:
            wanted[candidate] = {a.draft_id for a in open_ones}
    adopted = _assigned(wanted)
    taken = {*adopted.values(), *(i for ids in doubled.values() for i in ids)}
    doubtful: dict[int, list[int]] = {}
    for attempt in attempts:
        if attempt.resent or attempt.draft_id in adopted:
            continue
        seen = [c.id for c in candidates if c.id not in taken and _possible(attempt, c)]
        if seen:
            ids = doubtful.setdefault(attempt.draft_id, [])
            ids += [number for number in seen if number not in ids]
    return Found(adopted, doubtful, doubled)


def fate(
    *,
    looks: int,
    waited_s: float,
    settle_s: float,
    lost_answer: Literal["resend", "hold"],
    kind: str = "text",
    doubtful: bool = False,
    cancel_wanted: bool = False,
    expired: bool = False,
) -> Fate:
    """
    Decide what becomes of an unknown draft of which the account shows no message.

    `looks` are the complete ones that began after its request had ended, in this run of the
    daemon, and `waited_s` is how long that is ago by a clock that cannot jump.
    """
    if doubtful or looks < LOOKS or waited_s < settle_s:
        return "wait"
    if cancel_wanted:
        return "cancel"
    if kind == "ussd" or lost_answer == "hold":
        return "hold"
    return "expire" if expired else "queue"


def _possible(attempt: Attempt, candidate: Candidate) -> bool:
    """Tell whether a message to the same number can be of this attempt, whatever its text."""
    if candidate.arrival <= attempt.arrivals_from or tail(candidate.phone) != tail(attempt.phone):
        return False
    if candidate.id > attempt.above_id:
        return True
    if candidate.made_at is not None and attempt.clock_right:
        return candidate.made_at >= attempt.began_at - SLACK
    return attempt.complete


def _owners(candidate: Candidate, attempts: Sequence[Attempt], habits: Habits) -> list[Attempt]:
    """Return the attempts of which a message may be: those with its very text, if there are any."""
    possible = [a for a in attempts if _possible(a, candidate) and _same_form(a, candidate, habits)]
    equal = [a for a in possible if _trimmed(a.text) == _trimmed(candidate.text)]
    return equal or [a for a in possible if _one_begins_the_other(a.text, candidate.text, habits)]


def _same_form(attempt: Attempt, candidate: Candidate, habits: Habits) -> bool:
    if habits.numbers_changed or habits.numbers_kept < ENOUGH:
        return True
    return attempt.phone == candidate.phone


def _one_begins_the_other(ours: str, shown: str, habits: Habits) -> bool:
    ours, shown = _trimmed(ours), _trimmed(shown)
    if not shown:
        return False
    if ours.startswith(shown):
        if len(ours) <= habits.longest_kept:
            return False  # this service keeps texts of such a length
        return habits.cut_at is None or len(shown) >= habits.cut_at
    lengthens = habits.texts_lengthened or habits.texts_kept < ENOUGH
    return bool(lengthens) and shown.startswith(ours)


def _trimmed(text: str) -> str:
    return text.replace("\r\n", "\n").strip()


def _assigned(wanted: dict[Candidate, set[int]]) -> dict[int, int]:
    """
    Give each draft a message, in groups of drafts and messages that fit each other.

    Within a group the oldest draft gets the oldest message, unless there are fewer messages than
    drafts: then nobody can say whose they are.
    """
    adopted: dict[int, int] = {}
    rest = dict(wanted)
    while rest:
        drafts = set(next(iter(rest.values())))
        while more := {d for fits in rest.values() if fits & drafts for d in fits} - drafts:
            drafts |= more
        group = sorted(c for c, fits in rest.items() if fits <= drafts)
        for candidate in group:
            del rest[candidate]
        adopted |= _paired(sorted(drafts), group, wanted)
    return adopted


def _paired(
    drafts: list[int], group: list[Candidate], wanted: dict[Candidate, set[int]]
) -> dict[int, int]:
    pairs: dict[int, int] = {}
    for draft_id in drafts:
        fitting = [c for c in group if draft_id in wanted[c] and c.id not in pairs.values()]
        if not fitting:
            return {}
        pairs[draft_id] = fitting[0].id
    return pairs
