"""
Decide what became of requests whose answers were lost. Nothing here does any I/O.

`search` is the heart: given the attempts that may have been taken and the messages that were
mirrored since, it says which message is whose, and where a person must decide. A message is taken
for a draft's only where nothing speaks against it: to hold a draft for a person costs a delay, to
send it again a second message, to adopt a stranger's message a lost one.

What is known of how this service stores numbers and texts (`Habits`) makes the search stricter, but
for short texts that it is known to cut: what is then rejected is shown to a person, and never sent
again by itself.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from enum import IntEnum
from typing import Literal, NamedTuple, TypeVar

import msgspec

from semysync.contact import tail
from semysync.model import Attempt, Candidate
from semysync.times import AGREE

LOOKS = 3  #: complete looks without a trace, at least, before a draft counts as not taken
SAME_MINUTES = timedelta(minutes=15)  #: a message is made so soon after its request begins
BEGINNING = 60  #: a shorter one may as well be another text, unless this service is known to cut
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
            texts = {"cut_at": max(self.cut_at or 0, len(shown_text))}  # blanks at the cut count
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


class Fit(IntEnum):
    """How well a message fits an attempt, of which it can be by its number and its time."""

    PERHAPS = 1  #: could be the text cut short, and could as well be another text
    CUT = 2
    EQUAL = 3


UNTAUGHT = Habits()

Of = TypeVar("Of", Attempt, Candidate)

Fate = Literal["wait", "queue", "hold", "expire", "cancel"]


def search(
    attempts: Iterable[Attempt], candidates: Iterable[Candidate], habits: Habits = UNTAUGHT
) -> Found:
    """
    Say which of the candidates are whose.

    Of several equal candidates a draft gets the oldest; where fewer candidates than drafts fit each
    other, all of these drafts are doubtful. A draft that is not adopted is doubtful for as long as
    a message to its number is nobody's, whatever its text.
    """
    found = Found({}, {}, {})
    of_number = _by_tail(attempts)
    for end, some in _by_tail(sorted(candidates, key=lambda candidate: candidate.id)).items():
        if tried := of_number.get(end):
            part = _search_number(tried, some, habits)
            found.adopted.update(part.adopted)
            found.doubtful.update(part.doubtful)
            found.doubled.update(part.doubled)
    return found


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
    daemon, and `waited_s` is how long after that the last of them began, by a clock that cannot
    jump: what became visible since was not looked for.
    """
    if doubtful or looks < LOOKS or waited_s < settle_s:
        return "wait"
    if cancel_wanted:
        return "cancel"
    if kind == "ussd" or lost_answer == "hold":
        return "hold"
    return "expire" if expired else "queue"


def _by_tail(all_of_them: Iterable[Of]) -> dict[str, list[Of]]:
    """Group attempts or candidates by number: those of one never depend on those of another."""
    groups: dict[str, list[Of]] = {}
    for one in all_of_them:
        groups.setdefault(tail(one.phone), []).append(one)
    return groups


def _search_number(
    attempts: Sequence[Attempt], candidates: Sequence[Candidate], habits: Habits
) -> Found:
    """Search for the attempts of one number, the oldest candidate first."""
    doubled: dict[int, list[int]] = {}
    wanted: dict[int, dict[int, Fit]] = {}
    for candidate in candidates:
        fitting = [(a, fit) for a in attempts if (fit := _fit(a, candidate, habits))]
        open_ones = [(a, fit) for a, fit in fitting if not a.resent]
        ghosts = [(a, fit) for a, fit in fitting if a.resent]
        if not open_ones:
            if sure := [(-fit, a.draft_id) for a, fit in ghosts if fit > Fit.PERHAPS]:
                doubled.setdefault(min(sure)[1], []).append(candidate.id)
        elif not ghosts or _rather_open(candidate, open_ones, ghosts):
            wanted[candidate.id] = _best(open_ones)
    adopted = _assigned(wanted)
    taken = {*adopted.values(), *(i for ids in doubled.values() for i in ids)}
    doubtful: dict[int, list[int]] = {}
    for candidate in candidates:
        if candidate.id in taken:
            continue
        for draft_id in {a.draft_id for a in attempts if not a.resent and _possible(a, candidate)}:
            if draft_id not in adopted:
                doubtful.setdefault(draft_id, []).append(candidate.id)
    return Found(adopted, doubtful, doubled)


def _possible(attempt: Attempt, candidate: Candidate) -> bool:
    """Tell whether a message to the same number can be of this attempt, whatever its text."""
    if candidate.arrival <= attempt.arrivals_from:
        return False
    if candidate.id > attempt.above_id:
        return True
    if candidate.made_at is not None and attempt.clock_right:
        return candidate.made_at >= attempt.began_at - AGREE
    return attempt.complete


def _fit(attempt: Attempt, candidate: Candidate, habits: Habits) -> Fit | None:
    if not _possible(attempt, candidate):
        return None
    ours, shown = _trimmed(attempt.text), _trimmed(candidate.text)
    sure = _same_form(attempt, candidate, habits) and _same_minutes(attempt, candidate)
    if not shown:
        return None
    if ours == shown:
        return Fit.EQUAL if sure else None
    if not _may_be_cut(attempt.text, shown, habits):
        return None
    told_apart = habits.cut_at is not None or len(shown) >= BEGINNING
    return Fit.CUT if sure and told_apart else Fit.PERHAPS


def _same_form(attempt: Attempt, candidate: Candidate, habits: Habits) -> bool:
    if habits.numbers_changed or habits.numbers_kept < ENOUGH:
        return True
    return attempt.phone == candidate.phone


def _same_minutes(attempt: Attempt, candidate: Candidate) -> bool:
    """Tell whether a message was made when the request was, as far as the clock is known."""
    if candidate.made_at is None or not attempt.clock_right:
        return True
    return -AGREE <= candidate.made_at - attempt.began_at <= SAME_MINUTES


def _may_be_cut(text: str, shown: str, habits: Habits) -> bool:
    """Tell whether this may be what the service leaves of a text, trimmed before the cut or not."""
    ours = _trimmed(text)
    if not ours.startswith(shown) or len(ours) <= habits.longest_kept:
        return False
    cut_at = habits.cut_at
    return cut_at is None or shown in {_trimmed(text[:cut_at]), _trimmed(ours[:cut_at])}


def _trimmed(text: str) -> str:
    return text.replace("\r\n", "\n").strip()


def _rather_open(
    candidate: Candidate,
    open_ones: Sequence[tuple[Attempt, Fit]],
    ghosts: Sequence[tuple[Attempt, Fit]],
) -> bool:
    """
    Tell whether a message is a draft's that waits, though it fits one as well that was resent.

    Of equal texts it is, if it came after what was known at the request: whichever it is, the
    number then got as many as were wanted. Otherwise nobody can say.
    """
    equal = all(fit is Fit.EQUAL for _, fit in [*open_ones, *ghosts])
    return equal and any(candidate.id > attempt.above_id for attempt, _ in open_ones)


def _best(fitting: Sequence[tuple[Attempt, Fit]]) -> dict[int, Fit]:
    """Return the drafts of some attempts, each with its best fit."""
    best: dict[int, Fit] = {}
    for attempt, fit in fitting:
        best[attempt.draft_id] = max(fit, best.get(attempt.draft_id, fit))
    return best


def _assigned(wanted: Mapping[int, Mapping[int, Fit]]) -> dict[int, int]:
    """
    Give each draft a message, in groups of drafts and messages that fit each other.

    Within a group the oldest draft gets the oldest message, but its own text first; unless a draft
    is left without one: then nobody can say whose they are.
    """
    adopted: dict[int, int] = {}
    rest = dict(wanted)
    while rest:
        drafts = set(next(iter(rest.values())))
        while more := {d for fits in rest.values() if fits.keys() & drafts for d in fits} - drafts:
            drafts |= more
        group = {c: rest.pop(c) for c in sorted(rest) if rest[c].keys() <= drafts}
        adopted |= _paired(sorted(drafts), group)
    return adopted


def _paired(drafts: Sequence[int], group: Mapping[int, Mapping[int, Fit]]) -> dict[int, int]:
    pairs: dict[int, int] = {}
    for fit in (Fit.EQUAL, Fit.CUT):
        for draft_id in drafts:
            free = (c for c in group if c not in pairs.values() and group[c].get(draft_id) is fit)
            if draft_id not in pairs and (message_id := next(free, None)) is not None:
                pairs[draft_id] = message_id
    return pairs if len(pairs) == len(drafts) else {}
