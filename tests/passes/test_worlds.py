"""
Every world in which an answer was lost, and what becomes of the draft in each.

`WORLDS` lists them, `OUTCOMES` says what happens, `live` plays one: a service that may have taken
the text, looks at it at given times, and `search` and `fate` between them as the sender uses them.
What the README says under "What remains" is what this table says.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import product
from typing import NamedTuple

import pytest

from semysync.model import Attempt, Candidate
from semysync.passes.lost import Habits, fate, search

BEGAN = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
SETTLE_S = 300
LOOKS_S = [*range(30, 600, 60), 11_000, 11_060]  #: when complete looks begin, after the request
HOURS_S = 3 * 3600

PHONE, ELSE = "+79201234567", "+79207654321"
TEXT = (
    "  Your order 12 is ready,\r\nand waits for you at the desk until six in the evening; "
    "ask for Ann there.\n"
)

STORED = {
    "same": lambda text: text,
    "trimmed": lambda text: text.strip(),
    "cut": lambda text: text[:72],
    "cut-short": lambda text: text[:20],
    "rewritten": lambda text: text.upper(),
}
VISIBLE = {"not taken": None, "in time": 70, "late": 400, "never": None}


class Stranger(NamedTuple):
    """A message of another client to the same number: when it is made and shown, and before ours?"""

    text: str
    made_s: int = 5
    shown_s: int = 20
    before: bool = True


STRANGERS = {
    "none": None,
    "same": Stranger(TEXT),
    "same, shown after": Stranger(TEXT, 20, 200, before=False),
    "same, hours before": Stranger(TEXT, -HOURS_S),
    "same, hours after": Stranger(TEXT, HOURS_S, HOURS_S + 20, before=False),
    "other": Stranger("The office is closed on Monday, come on any other day, or write to us."),
    "other, shown after": Stranger("The office is closed on Monday.", 20, 200, before=False),
    "beginning": Stranger(TEXT[:13]),
    "long beginning": Stranger(TEXT[:85]),
    "longer": Stranger(TEXT + "Thank you!"),
}


class World(NamedTuple):
    answer: str  #: what happened to the answer
    message: str  #: when the account shows what it took
    text: str  #: how the service stores texts
    number: str  #: how it stores numbers
    device: str  #: where it shows the message
    other: str  #: the other client's message
    clock: str  #: the service's
    habits: str
    lost_answer: str


def worlds():
    return product(
        ("lost", "batch refused"),
        VISIBLE,
        STORED,
        ("same", "other form"),
        ("in the set", "moved"),
        STRANGERS,
        ("known", "unknown"),
        ("untaught", "taught"),
        ("resend", "hold"),
    )


WORLDS = [World(*values) for values in worlds()]

# right     its message is found, and is the only one
# again     sent again, rightly: the only one
# twice     sent again, and there are two; told: `draft.doubled` says so
# person    waits, and says why; nothing is claimed
# mixed up  its message is there, but the other client's is taken for it
# lost      there is none, and the other client's is taken for it
#
# A column says what becomes of it in `resend`, and behind a stroke in `hold` where that differs.
# Texts are kept, but for blanks around; or cut, from 60 characters on or by a service that is known
# to; or strange: cut shorter by one that is not, or rewritten. What the answer was, how numbers are
# stored and where the message is shown makes no difference.
OUTCOMES = """
text     | other               | clock   | habits   || not taken    | in time  | late              | never

kept cut | none                | *       | *        || again/person | right    | twice, told/right | twice/person
kept cut | same                | *       | *        || lost         | mixed up | mixed up          | mixed up
kept cut | same, shown after   | *       | *        || lost         | right    | mixed up          | mixed up
kept cut | same, hours before  | known   | *        || person       | right    | right             | person
kept cut | same, hours before  | unknown | *        || lost         | mixed up | mixed up          | mixed up
kept cut | same, hours after   | known   | *        || again/person | right    | twice, told/right | twice/person
kept cut | same, hours after   | unknown | *        || again/lost   | right    | twice, told/right | twice, told/mixed up
kept cut | other               | *       | *        || person       | right    | right             | person
kept cut | other, shown after  | *       | *        || person       | right    | right             | person
kept cut | beginning           | *       | *        || person       | right    | right             | person
kept     | long beginning      | *       | untaught || lost         | mixed up | mixed up          | mixed up
kept     | long beginning      | *       | taught   || person       | right    | right             | person
kept     | longer              | *       | *        || person       | right    | right             | person
cut      | long beginning      | *       | *        || lost         | mixed up | mixed up          | mixed up
cut      | longer              | *       | *        || lost         | mixed up | mixed up          | mixed up

strange  | none                | *       | *        || again/person | person   | twice/person      | twice/person
strange  | same, hours after   | *       | *        || again/person | person   | twice/person      | twice/person
strange  | same                | *       | *        || person       | person   | person            | person
strange  | same, shown after   | *       | *        || person       | person   | person            | person
strange  | same, hours before  | *       | *        || person       | person   | person            | person
strange  | other               | *       | *        || person       | person   | person            | person
strange  | other, shown after  | *       | *        || person       | person   | person            | person
strange  | beginning           | *       | *        || person       | person   | person            | person
strange  | long beginning      | *       | *        || person       | person   | person            | person
strange  | longer              | *       | *        || person       | person   | person            | person
"""


@dataclass
class Row:
    """A message as the service stores it."""

    id: int
    phone: str
    text: str
    shown_s: int | None
    made_s: int
    device_id: int = 1
    arrival: int = 0


@dataclass
class Life:
    """What became of drafts: their messages, and what was made for the first of them."""

    adopted: dict[int, int] = field(default_factory=dict)
    ours: list[int] = field(default_factory=list)
    resent: bool = False
    told: bool = False


def live(world):
    """Play a world to its end."""
    life = Life()
    known = world.clock == "known"
    rows, attempts = service(world, life), [attempt(1)]
    if world.answer == "batch refused":  # with it went an equal text to another number
        attempts.append(attempt(2, ELSE))
        rows.append(row(world, 104, TEXT, 70, 1, phone=ELSE))
    arrivals = 0
    for looks, began_s in enumerate(LOOKS_S, start=1):
        for shown in rows:
            if not shown.arrival and shown.shown_s is not None and shown.shown_s <= began_s:
                arrivals += 1
                shown.arrival = arrivals
        candidates = [
            candidate(shown, known=known)  # the device plays no part
            for shown in rows
            if shown.arrival and shown.id not in life.adopted.values()
        ]
        found = search(attempts, candidates, habits(world))
        life.adopted |= found.adopted
        attempts = [a for a in attempts if a.draft_id not in found.adopted]
        life.told |= 1 in found.doubled
        if 1 in life.adopted:
            continue
        decided = fate(
            looks=looks,
            waited_s=began_s,
            settle_s=SETTLE_S,
            lost_answer=world.lost_answer,
            doubtful=1 in found.doubtful,
        )
        if decided == "queue":  # and it goes out at once, alone, and its message is named
            rows.append(row(world, 110, TEXT, began_s + 10, began_s + 1))
            life.ours.append(110)
            life.adopted[1] = 110
            life.resent = True
            attempts = [a._replace(resent=a.draft_id == 1) for a in attempts]
    return life


def service(world, life):
    """Return what the account holds after the request."""
    rows = []
    if world.message != "not taken":
        rows.append(row(world, 102, TEXT, VISIBLE[world.message], 1))
        life.ours.append(102)
        rows[0].device_id = 9 if world.device == "moved" else 1
    if (other := STRANGERS[world.other]) is not None:
        rows.append(
            row(world, 101 if other.before else 103, other.text, other.shown_s, other.made_s)
        )
    return rows


def row(world, number, text, shown_s, made_s, *, phone=PHONE):
    phone = "8" + phone[2:] if world.number == "other form" else phone
    return Row(number, phone, STORED[world.text](text), shown_s, made_s)


def attempt(draft_id, phone=PHONE):
    return Attempt(draft_id, phone, TEXT, BEGAN, above_id=100, arrivals_from=0)


def candidate(shown, *, known):
    made_at = BEGAN + timedelta(seconds=shown.made_s) if known else None
    return Candidate(shown.id, shown.phone, shown.text, shown.arrival, made_at)


def habits(world):
    """Return what the messages taught whose ids were named before."""
    learnt = Habits()
    if world.habits == "taught":
        for number in range(3):
            sent = f"No {number}: " + "another text, not shorter than that which is lost, " * 3
            shown = row(world, 1, sent, 0, 0)
            learnt = learnt.after(PHONE, sent, shown.phone, shown.text)
    return learnt


@cache
def outcome(world):
    """Name what became of the draft."""
    life = live(world)
    if world.answer == "batch refused" and kind_of_text(world) != "strange":
        assert life.adopted[2] == 104
    if 1 not in life.adopted:
        return "person"
    if life.adopted[1] not in life.ours:
        return "mixed up" if life.ours else "lost"
    if len(life.ours) == 2:
        return "twice, told" if life.told else "twice"
    return "again" if life.resent else "right"


def kind_of_text(world):
    match world.text:
        case "same" | "trimmed":
            return "kept"
        case "cut":
            return "cut"
        case "cut-short":
            return "cut" if world.habits == "taught" else "strange"
    return "strange"


def foretold(world):
    """Return what the table says of a world: of all its lines one must speak of it."""
    head, *lines = [line.split("||") for line in OUTCOMES.splitlines() if line]
    column = [name.strip() for name in head[1].split("|")].index(world.message)
    (said,) = [
        said.split("|")[column]
        for worlds, said in lines
        for text, other, clock, habits in [[value.strip() for value in worlds.split("|")]]
        if kind_of_text(world) in text.split()
        and world.other == other
        and clock in {"*", world.clock}
        and habits in {"*", world.habits}
    ]
    resend, _, hold = said.strip().partition("/")
    return hold or resend if world.lost_answer == "hold" else resend


@pytest.mark.parametrize("message", VISIBLE)
@pytest.mark.parametrize("text", STORED)
def test_each_world_ends_as_the_table_says(text, message):
    surprises = {
        world: (outcome(world), foretold(world))
        for world in WORLDS
        if (world.text, world.message) == (text, message) and outcome(world) != foretold(world)
    }

    assert surprises == {}


def test_a_second_message_needs_resend_and_one_that_is_shown_late_or_never():
    twice = [world for world in WORLDS if outcome(world).startswith("twice")]

    assert {world.lost_answer for world in twice} == {"resend"}
    assert {world.message for world in twice} == {"late", "never"}
    assert {world.other for world in twice} == {"none", "same, hours after"}  # nothing was seen


def test_nothing_is_sent_again_by_itself_with_hold():
    held = Counter(outcome(world) for world in WORLDS if world.lost_answer == "hold")

    assert set(held) == {"right", "person", "mixed up", "lost"}


def test_a_draft_is_lost_or_mixed_up_only_where_the_other_text_is_shown_as_ours():
    """Equal, or equal as far as it goes, from 60 characters on, where nothing is known of cuts."""
    taken_for_it = {w for w in WORLDS if outcome(w) in {"lost", "mixed up"}}

    for world in taken_for_it:
        store = STORED[world.text]
        ours, theirs = store(TEXT).strip(), store(STRANGERS[world.other].text).strip()
        alike = ours == theirs
        assert alike or (ours.startswith(theirs) and len(theirs) >= 60)
        assert alike or world.habits == "untaught"
        assert world.clock == "unknown" or "hours" not in world.other


def test_a_message_that_is_shown_in_time_is_never_sent_again():
    in_time = {outcome(world) for world in WORLDS if world.message == "in time"}

    assert in_time == {"right", "person", "mixed up"}
