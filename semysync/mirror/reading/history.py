"""
Messages and conversations as people read them: newest first, narrowed, searched.

All of it is read through a connection of `open_reader`. A question is put together from the
clauses below, only those that are asked for, so that SQLite can use the index that fits.
"""

import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

from semysync.mirror.reading.search import Query

BEST_AMONG = 10_000  #: hits that are ranked, the newest of each box: a common word has too many

# The offset says whether a time is UTC or what was printed; a draft's own is UTC.
_COLUMNS = """
select at, direction, messages.contact, name, text, status, device, channel, phone, id,
       case direction
           when 'in' then (select utc_offset is not null from inbox where inbox.id = messages.id)
           else coalesce((select utc_offset is not null from sent
                           where sent.id = messages.id and created_at = at), 1) end as in_utc
"""

_JOINED = "left join contacts on contacts.contact = messages.contact"

_CLAUSES = {
    "contact": "messages.contact = :contact",
    "device": "device = :device",
    "direction": "direction = :direction",
    "channel": "channel = :channel",
    "status": "status = :status",
    "since": "at >= :since",
    "until": "at < :until",
    "text": "holds(cast(text as blob), :text)",
}

# A draft may hold bytes that are no text: as such SQLite could not hand them to a function.
_FITS = "fits(cast(text as blob))"

# Rows of a box in the shape of the view `messages`.
_RECEIVED = """
select received_at as at, 'in' as direction, contact, inbox.text as text, 'received' as status,
       device_id as device, channel, phone, inbox.id as id, utc_offset is not null as in_utc"""

_SENT = """
select created_at as at, 'out' as direction, contact, sent.text as text, status,
       device_id as device, channel, phone, sent.id as id, utc_offset is not null as in_utc"""

_HITS = {
    "in": f"""
{_RECEIVED}, bm25(inbox_fts) as score, highlight(inbox_fts, 0, char(2), char(3)) as marked
  from inbox_fts join inbox on inbox.id = inbox_fts.rowid
 where inbox_fts match :match
 order by inbox_fts.rowid desc
""",
    "out": f"""
{_SENT}, bm25(sent_fts) as score, highlight(sent_fts, 0, char(2), char(3)) as marked
  from sent_fts join sent on sent.id = sent_fts.rowid
 where sent_fts match :match
 order by sent_fts.rowid desc
""",
}

# Of a message that is new: that its status is another now says what it was, and one that the
# account does not show any more, or does again, was told of before.
_NEWS = """
select seq, box, message_id
  from events
 where seq > :seq and kind glob 'message.*' and data is null
   and kind not in ('message.missing', 'message.returned')
 order by seq
 limit :limit
"""

_SHOWN = "at, direction, messages.contact, name, text, status, device, channel, phone, id, in_utc"

_ONE = {
    "inbox": f"select {_SHOWN} from ({_RECEIVED} from inbox where id = :id) as messages",
    "sent": f"select {_SHOWN} from ({_SENT} from sent where id = :id) as messages",
}

#: a row for each conversation; `in_utc` says whether `last_at` is UTC, or as it was printed
CONVERSATIONS = """
select conversations.contact, conversations.name, conversations.last_at,
       conversations.last_direction, last_text, conversations.received, conversations.sent,
       messages, unread, conversations.read_until,
       case conversations.last_direction
           when 'in' then (select utc_offset is not null from inbox where id = last_id)
           else (select utc_offset is not null from sent where id = last_id) end as in_utc
  from conversations join contacts on contacts.contact = conversations.contact
"""


class Narrowed(NamedTuple):
    """Which messages are wanted; None does not narrow. Times are those of the mirror."""

    contact: str | None = None
    device: int | None = None
    direction: str | None = None
    channel: str | None = None
    status: str | None = None
    since: str | None = None
    until: str | None = None
    text: str | None = None

    def clauses(self) -> list[str]:
        """Return what holds for the messages that are wanted, as SQL."""
        return [_CLAUSES[name] for name, value in self._asdict().items() if value is not None]


def newest(
    conn: sqlite3.Connection, wanted: Narrowed, limit: int, *, query: Query | None = None
) -> list[sqlite3.Row]:
    """Return the newest messages and waiting drafts that are wanted, the latest first."""
    clauses = wanted.clauses()
    if query is not None:
        _let_fit(conn, query)
        clauses.append(_FITS)
    elif wanted.text is not None:
        conn.create_function("holds", 2, _holds, deterministic=True)
    return conn.execute(
        f"{_COLUMNS} from messages {_JOINED}{_where(clauses)} order by at desc, id desc limit :limit",
        wanted._asdict() | {"limit": limit},
    ).fetchall()


def hits(
    conn: sqlite3.Connection, query: Query, wanted: Narrowed, limit: int, *, newest_first: bool
) -> list[sqlite3.Row]:
    """
    Return messages that hold what is searched for: the best, or the newest, first.

    The best are those of the newest `BEST_AMONG` hits in each box. `marked` is the text with what
    was found between two control characters, 2 and 3.
    """
    if query.match is None:  # emoji, for example: the texts themselves are looked through
        return newest(conn, wanted, limit, query=query)
    _let_fit(conn, query)
    named = wanted._asdict() | {"match": query.match, "limit": limit, "among": BEST_AMONG}
    clauses = [*wanted.clauses(), *([] if query.is_indexed else [_FITS])]
    arms = [
        f"select * from (select * from ({arm}) as messages{_where(clauses)} limit :among)"
        for direction, arm in _HITS.items()
        if wanted.direction in {None, direction}
    ]
    order = "at desc, id desc" if newest_first else "score, at desc, id desc"
    return conn.execute(
        f"select {_SHOWN}, score, marked from ({' union all '.join(arms)}) as messages "
        f"{_JOINED} order by {order} limit :limit",
        named,
    ).fetchall()


def last_event(conn: sqlite3.Connection) -> int:
    """Return the number of the newest event."""
    return int(conn.execute("select coalesce(max(seq), 0) from events").fetchone()[0])


def news(
    conn: sqlite3.Connection, wanted: Narrowed, *, after: int, most: int = 1000
) -> tuple[list[sqlite3.Row], int]:
    """Return messages that were new after an event, in their order, and the last event seen."""
    conn.create_function("holds", 2, _holds, deterministic=True)
    rows: list[sqlite3.Row] = []
    for seq, box, number in conn.execute(_NEWS, {"seq": after, "limit": most}).fetchall():
        query = f"{_ONE[box]} {_JOINED}{_where(wanted.clauses())}"
        rows += conn.execute(query, wanted._asdict() | {"id": number}).fetchall()
        after = seq
    return rows, after


def contacts(conn: sqlite3.Connection, contact: str | None) -> list[sqlite3.Row]:
    """Return all contacts, or one, the latest conversation first."""
    return conn.execute(
        "select contact, name, last_at from contacts where :contact is null or contact = :contact "
        "order by last_at desc, contact",
        {"contact": contact},
    ).fetchall()


def conversation(conn: sqlite3.Connection, wanted: Narrowed) -> Iterator[sqlite3.Row]:
    """Return the messages of a contact that are wanted, the oldest first."""
    query = f"{_COLUMNS} from messages {_JOINED}{_where(wanted.clauses())} order by at, id"
    yield from conn.execute(query, wanted._asdict())


def conversations(
    conn: sqlite3.Connection, *, unread: bool, unanswered: bool, limit: int
) -> list[sqlite3.Row]:
    """Return conversations by their last message, the latest first: all, or only some of them."""
    clauses = [
        *(["unread > 0"] if unread else []),
        *(["conversations.last_direction = 'in'"] if unanswered else []),
    ]
    query = f"{CONVERSATIONS}{_where(clauses)} order by conversations.last_at desc, conversations.contact limit ?"
    return conn.execute(query, (limit,)).fetchall()


def _where(clauses: list[str]) -> str:
    return f" where {' and '.join(clauses)}" if clauses else ""


def _let_fit(conn: sqlite3.Connection, query: Query) -> None:
    conn.create_function("fits", 1, lambda text: query.holds(_legible(text)), deterministic=True)


def _holds(text: bytes | None, part: str) -> bool:
    return part.casefold() in _legible(text).casefold()


def _legible(text: bytes | None) -> str:
    return (text or b"").decode("utf-8", "replace")
