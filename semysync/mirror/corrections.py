"""
Write down anew what the mirror holds, where more is known than when it was written.

`learn` is for what clocks stand at, `apply_locale` for what the configuration says. Both are given
a connection and make short transactions, and call `between` them, which may raise. They note what
they go by when all rows agree with it: one who is cut off does the rest the next time.
"""

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta

import msgspec
import structlog

from semysync.mirror.file import writing, writing_a_slice
from semysync.mirror.outbox import queue
from semysync.mirror.tables import boxes, clocks, contacts, settings, unconfirmed
from semysync.mirror.tables.marks import WHOLE_ACCOUNT
from semysync.mirror.tables.rows import TABLES, Row, Table, Writing
from semysync.model import Box
from semysync.times import Clock, Clocks, Locale, from_utc_text

log = structlog.get_logger("semysync")

SLICE = 500  #: rows a transaction
LOOKED_AT = 1_000  #: newest rows, to find since when a clock stands otherwise
HOUR = 60  #: minutes: a zone moves its clocks by so much, or a phone goes to another zone

SOONEST, LATEST = timedelta(minutes=-2), timedelta(minutes=10)  #: from one thing to what follows

# Newest first: of two times that follow each other, one is by the clock that was assumed to stand
# at `was`. In the inbox that is the earlier one.
FOLLOWED = {
    Box.INBOX: """
        select id, received_at, mirrored_at from inbox
         where device_id = :device_id and utc_offset = :was and received_at is not null
         order by id desc limit :most""",
    Box.SENT: """
        select id, handed_at, sent_at from sent
         where device_id = :device_id and phone_utc_offset = :was and utc_offset is not null
           and handed_at is not null and sent_at is not null
         order by id desc limit :most""",
}
MIRRORED = """
select id, created_at, mirrored_at from sent
 where utc_offset = :was and created_at is not null
 order by id desc limit :most
"""

BY_PHONE = {
    Box.INBOX: """
        select id from inbox
         where device_id = :device_id and utc_offset = :was and id >= :first and id > :last
         order by id limit :most""",
    Box.SENT: """
        select id from sent
         where device_id = :device_id and phone_utc_offset = :was and id >= :first and id > :last
         order by id limit :most""",
}
BY_SERVICE = """
select id from sent
 where utc_offset = :was and id >= :first and id > :last
 order by id limit :most
"""

Anew = Callable[[Row], Row]
Between = Callable[[], object]


def learn(
    conn: sqlite3.Connection,
    locale: Locale,
    service: int | None,
    phones: Mapping[int, int],
    between: Between,
) -> None:
    """
    Learn what the clocks of the service and of phones stand at, in minutes east.

    Where one was unknown till now, the rows that waited for it are put right. Where one stood
    otherwise, those are that came after the change; the others keep what was assumed, since clocks
    change twice a year.
    """
    was = clocks.learnt(conn)
    now = was.with_more(service, phones)
    if now == was:
        return
    knowing = Writing(clocks.as_known(now, locale), locale.region)
    awaited = was.service is None or not was.phones.keys() >= now.phones.keys()
    rows = 0
    if awaited:
        rows += _write_all(conn, knowing, between, only_unknown=True)
    moved = was.service != now.service
    if locale.timezone == "auto" and moved and was.service is not None and now.service is not None:
        rows += _move_service(conn, knowing, between, was.service, now.service)
    if locale.phone_timezone == "auto":
        for number, offset in was.phones.items():
            if offset != now.phones[number]:
                rows += _move_phone(
                    conn, knowing, between, number, was=offset, now=now.phones[number]
                )
    with writing(conn):
        clocks.learn(conn, now)
    if awaited:  # what another program has stored meanwhile, which could not know
        rows += _write_all(conn, knowing, between, only_unknown=True)
    log.info("clocks.learnt", rewritten=rows)


def apply_locale(conn: sqlite3.Connection, locale: Locale, between: Between) -> None:
    """Write every row anew where the configuration says something else than when it was written."""
    wanted: dict[str, str | None] = msgspec.to_builtins(locale)
    if all(settings.find(conn, key) == value for key, value in wanted.items()):
        return
    if any(boxes.newest(conn, box, WHOLE_ACCOUNT, 0) for box in Box):
        log.info("mirror.rewriting", because="the configuration has another zone or region")
        knowing = Writing(clocks.known(conn, locale), locale.region)
        rows = _write_all(conn, knowing, between, only_unknown=False)
        log.info("mirror.rewritten", rows=rows)
    last = 0
    while drafts := queue.numbered(conn, last):
        last = drafts[-1][0]
        with writing_a_slice(conn):
            queue.follow_region(conn, locale.region, drafts)
        between()
    with writing(conn):
        contacts.follow_region(conn, locale.region)
        unconfirmed.follow_region(conn, locale.region)
        for key, value in wanted.items():
            settings.put(conn, key, value)


def _write_all(
    conn: sqlite3.Connection, knowing: Writing, between: Between, *, only_unknown: bool
) -> int:
    rows = 0
    for box, table in TABLES.items():
        query = table.unknown if only_unknown else table.after
        rows += _write(conn, box, query, {}, _again(table, knowing), between=between)
    return rows


def _again(table: Table, knowing: Writing) -> Anew:
    return lambda row: table.again(table.message(row), row, knowing)


def _write(
    conn: sqlite3.Connection,
    box: Box,
    query: str,
    values: Mapping[str, object],
    anew: Anew,
    *,
    between: Between,
) -> int:
    """Write the rows anew that a query names, a slice at a time; return how many are others now."""
    last = rows = 0
    while True:
        named = {**values, "last": last, "most": SLICE}
        ids = [row[0] for row in conn.execute(query, named)]
        if not ids:
            return rows
        if not last:
            boxes.make_indexes(conn, box)  # else each contact would be a search through all
        last = ids[-1]
        with writing_a_slice(conn):
            table = TABLES[box]
            written = [(row, anew(row)) for row in boxes.find(conn, table, ids).values()]
            moved = [(old, new) for old, new in written if old != new]
            boxes.change(conn, table, moved, None)
        rows += len(moved)
        between()


def _move_phone(
    conn: sqlite3.Connection,
    knowing: Writing,
    between: Between,
    device_id: int,
    *,
    was: int,
    now: int,
) -> int:
    """Put right what came since a phone's clock stands otherwise, or was wrongly taken to."""
    rows = 0
    later_by = timedelta(minutes=was - now)  # in UTC, for what this clock printed
    for box, table in TABLES.items():
        values = {"device_id": device_id, "was": was, "most": LOOKED_AT}
        spans = _spans(conn.execute(FOLLOWED[box], values))
        first = since(spans, -later_by if box is Box.INBOX else later_by)
        if (now - was) % HOUR:  # no zone does that: it never stood at what was assumed
            first = 0
        if first is not None:
            anew = _moved(table, knowing, phone=now)
            named = {**values, "first": first}
            rows += _write(conn, box, BY_PHONE[box], named, anew, between=between)
    return rows


def _move_service(
    conn: sqlite3.Connection, knowing: Writing, between: Between, was: int, now: int
) -> int:
    """Put right what came since the service's clock stands otherwise."""
    values = {"was": was, "most": LOOKED_AT}
    first = since(_spans(conn.execute(MIRRORED, values)), timedelta(minutes=now - was))
    if first is None:
        return 0
    anew = _moved(TABLES[Box.SENT], knowing, service=now)
    return _write(conn, Box.SENT, BY_SERVICE, {**values, "first": first}, anew, between=between)


def _moved(
    table: Table, knowing: Writing, *, service: int | None = None, phone: int | None = None
) -> Anew:
    """Return how a row is written with another offset of one of its clocks."""

    def anew(row: Row) -> Row:
        offsets = table.offsets(row)
        clocks = Clocks(
            service=Clock(offset=offsets.service if service is None else service),
            any_phone=Clock(offset=offsets.phone if phone is None else phone),
        )
        return table.row(table.message(row), Writing(clocks, knowing.region), row[-1])

    return anew


def since(spans: Iterable[tuple[int, timedelta]], longer_by: timedelta) -> int | None:
    """
    Return the first row from which on an offset does not hold any more; None without evidence.

    `spans` are, newest first, how much time lay between two things that follow each other, going by
    the offset that was assumed; with the new one it is `longer_by` so much. One that makes sense as
    it stands ends the search.
    """
    first = None
    for number, span in spans:
        if SOONEST <= span <= LATEST:
            break
        if SOONEST <= span + longer_by <= LATEST:
            first = number
    return first


def _spans(rows: Iterable[tuple[int, str, str]]) -> Iterable[tuple[int, timedelta]]:
    return (
        (number, from_utc_text(after) - from_utc_text(before)) for number, before, after in rows
    )
