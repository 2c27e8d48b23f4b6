"""
What is searched for on the pages: as a person types it, in names, numbers and messages.

What is found is an entry of `reading`, and `parted` shows where in its text.
"""

import json
import re
import sqlite3
from functools import lru_cache
from itertools import islice

from semysync.mirror.reading.history import CONVERSATIONS
from semysync.mirror.reading.search import MOST_SPELLINGS, Query, spellings
from semysync.web.reading import PAGE, RECEIVED, SENT, Entry, conversation, entries_of

HITS = 100  #: so many messages are shown
SHORT = 2_000  #: up to so many messages a conversation is searched message by message

OF_NAME = f"""
{CONVERSATIONS}
 where contacts.contact in (select value from json_each(:called)) or contacts.contact like :like escape '\\'
    or (:digits <> '' and contacts.contact like :digits)
 order by conversations.last_at desc limit :most
"""
NAMED = "select contact, name from contacts where name is not null"


def named_like(conn: sqlite3.Connection, words: str, most: int = PAGE) -> list[sqlite3.Row]:
    """Return the conversations with contacts whose name or number holds a text."""
    escaped = words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    digits = "".join(c for c in words if c.isdigit())
    is_number = len(digits) >= 3 and not any(c.isalpha() for c in words)
    # SQLite would take `анна` and `Анна` for two names.
    called = [
        row["contact"] for row in conn.execute(NAMED) if words.casefold() in row["name"].casefold()
    ]
    named = {
        "called": json.dumps(called),
        "like": f"%{escaped}%",
        "digits": f"%{digits}%" if is_number else "",
        "most": most,
    }
    return conn.execute(OF_NAME, named).fetchall()


def query_of(words: str) -> Query | None:
    """
    Read what somebody has typed so far: the last word may not be finished. None where it is
    nothing.

    Nothing that a person types is an error.
    """
    unfinished = words[-1:].isalnum() and words.count('"') % 2 == 0
    try:
        return Query.read(f"{words}*" if unfinished else words)
    except ValueError:
        return None


def parted(text: str, words: str) -> list[tuple[str, bool]]:
    """Return a text in pieces, each with whether it is what was searched for, to be marked."""
    looked_for = _pattern(words)
    pieces = looked_for.split(text) if looked_for else [text]
    return [(piece, bool(n % 2)) for n, piece in enumerate(pieces) if piece]


@lru_cache(maxsize=32)
def _pattern(words: str) -> re.Pattern[str] | None:
    query = query_of(words)
    found = [
        (r"(?<!\w)" if spelt[0].isalnum() else "")
        + r"\W+".join(map(re.escape, spelt.split()))
        + (r"(?!\w)" if spelt[-1].isalnum() and not term.begins else "")
        for term in (query.wanted if query else ())
        for spelt in islice(spellings(term.text), MOST_SPELLINGS)
    ]
    longest_first = "|".join(sorted(found, key=len, reverse=True))
    return re.compile(f"({longest_first})", re.IGNORECASE) if found else None


def search(
    conn: sqlite3.Connection, words: str, contact: str | None = None, most: int = HITS
) -> list[Entry]:
    """Return the newest messages with all of some words, of everyone or of a contact."""
    query = query_of(words)
    row = conversation(conn, contact) if contact is not None else None
    if query is None or (contact is not None and row is None):
        return []
    few = row is not None and row["messages"] <= SHORT
    named = {"words": query.match, "contact": contact, "most": most}
    conn.create_function("fits", 1, query.holds, deterministic=True)
    found: list[Entry] = []
    for arm, box in ((RECEIVED, "inbox"), (SENT, "sent")):
        statement = _search_in(arm, box, query, few=few, everyone=row is None)
        found += entries_of(conn.execute(statement, named))
    return sorted(found, key=lambda entry: entry.place, reverse=True)[:most]


def _search_in(arm: str, box: str, query: Query, *, few: bool, everyone: bool) -> str:
    """
    Return the statement for a box: from the hits, or from the messages of a short conversation.

    A busy contact is soon among the newest hits of a common word, a quiet one is not. Of what the
    index does not know, an emoji, the texts themselves are looked through.
    """
    hits, source, order = f"{box}_fts", box, "id"
    clauses = [] if everyone else ["contact = :contact"]
    if not query.is_indexed:
        clauses.append(f"fits({box}.text)")
    if query.match and few:
        clauses.append(
            f"exists (select 1 from {hits} where {hits} match :words and rowid = {box}.id)"
        )
    elif query.match:
        clauses.append(f"{hits} match :words")
        source = f"{hits} cross join {box} on {box}.id = {hits}.rowid"
        order = f"{hits}.rowid"
    return f"{arm} from {source} where {' and '.join(clauses)} order by {order} desc limit :most"
