"""The pages that are read: conversations, one of them, drafts. None of them writes."""

from datetime import UTC, datetime
from sqlite3 import Connection, Row
from typing import Any

from datasette.utils import tilde_decode
from datasette.utils.asgi import NotFound, Response

from semysync.contact import contact_of
from semysync.mirror.outbox import drafts as outbox
from semysync.mirror.tables import settings
from semysync.model import HIGHEST_ID
from semysync.times import utc_text
from semysync.web import reading, search
from semysync.web.forms import Answer
from semysync.web.visits import Visit, reads, render
from semysync.web.way import way_of, why

LONGEST_WORDS = 1_000  #: what is searched for: a message has no more
FINISHED = 30  #: so many finished drafts are shown


@reads
async def conversations(visit: Visit) -> Response:
    """All conversations, the last first; or those, and the messages, that hold some words."""
    words = _words(visit)
    at, contact = visit.request.args.get("at"), visit.request.args.get("contact")

    def ask(conn: Connection) -> dict[str, Any]:
        if words:
            entries = search.search(conn, words)
            return {
                "rows": search.named_like(conn, words),
                "entries": entries,
                "names": reading.names_of(conn, [e.contact for e in entries if e.contact]),
                "more": False,
            }
        found = reading.conversations(conn, at, contact)
        return {"rows": found.rows, "more": found.more, "entries": [], "names": {}}

    found = await visit.mirror.ask(ask)
    last = found["rows"][-1] if found["more"] else None
    return await render(
        visit,
        "conversations",
        {
            **found,
            "words": words,
            "most_hits": search.HITS,
            "next": last
            and visit.mirror.links.conversations(at=last["last_at"], contact=last["contact"]),
            "first_page": contact is None,
        },
    )


def _words(visit: Visit) -> str:
    return (visit.request.args.get("q") or "").strip()[:LONGEST_WORDS].strip()


@reads
async def conversation(visit: Visit) -> Response:
    """The messages of a contact, the last below, with a box to write an answer in."""
    contact = tilde_decode(visit.request.url_vars["contact"])
    return await conversation_page(visit, contact)


async def conversation_page(
    visit: Visit,
    contact: str,
    answer: Answer | None = None,
    *,
    status: int = 200,
) -> Response:
    """Show a conversation, also with an answer in the box that could not be taken."""
    args = visit.request.args
    words = _words(visit)

    def ask(conn: Connection) -> dict[str, Any]:
        shown = _shown(conn, contact, args)
        row = reading.conversation(conn, contact)
        at_end = not (words or shown.newer)
        return {
            "entries": search.search(conn, words, contact) if words else shown.entries,
            "older": shown.older and not words,
            "newer": shown.newer and not words,
            "row": row,
            "devices": reading.devices(conn),
            "answer": answer or Answer.new(device=reading.answering_device(conn, contact)),
            "blocked": outbox.blocked(conn) if at_end else None,
            "at_end": at_end,
        }

    found = await visit.mirror.ask(ask)
    if not found["entries"] and not found["row"] and not words and answer is None:
        raise NotFound("There is no such conversation")
    entries = found["entries"]
    received = [entry.at for entry in entries if entry.is_received and entry.at]
    return await render(
        visit,
        "conversation",
        {
            **found,
            "contact": contact,
            "phone": _phone_to_answer(contact),
            "words": words,
            "asked_for": args.get("message"),
            "last_received": max(received, default=None),
            "unread": found["row"]["unread"] if found["row"] else 0,
        },
        status=status,
    )


def _shown(conn: Connection, contact: str, args: Any) -> reading.Page:
    """Return what an address asks for: what is around a message, before or after it, or the end."""
    if key := args.get("message"):
        entry = _entry(conn, key)
        if entry.contact != contact:
            raise NotFound("This message is of another conversation")
        return reading.around(conn, contact, entry)
    for name, beside in (("before", reading.before), ("after", reading.after)):
        if key := args.get(name):
            page = beside(conn, contact, _entry(conn, key).place)
            return page if page.entries else reading.newest(conn, contact)
    return reading.newest(conn, contact)


def _entry(conn: Connection, key: str) -> reading.Entry:
    entry = reading.one(conn, key)
    if entry is None:
        raise NotFound("There is no such message")
    return entry


def _phone_to_answer(contact: str) -> str | None:
    """Return the number to write to; None for a sender such as `Beeline`."""
    bare = contact.removeprefix("+")
    return contact if bare.isascii() and bare.isdigit() and 2 <= len(bare) <= 15 else None


@reads
async def message(visit: Visit) -> Response:
    """Lead to a message where it stands in its conversation, whatever has become of it."""
    key = f"{visit.request.url_vars['box']}-{visit.request.url_vars['id']}"

    def ask(conn: Connection) -> reading.Entry | None:
        if visit.request.url_vars["box"] == "draft":
            row = outbox.one(conn, draft_number(visit))
            if row and row["is_seen"]:
                return reading.one(conn, f"out-{row['sent_id']}")
        return reading.one(conn, key)

    entry = await visit.mirror.ask(ask)
    if entry is None:
        raise NotFound("There is no such message")
    if not entry.contact and entry.is_draft:
        return Response.redirect(visit.mirror.links.draft(entry.id))
    if not entry.contact:
        table = "inbox" if entry.is_received else "sent"
        return Response.redirect(f"{visit.mirror.links.table(table)}/{entry.id}")
    address = visit.mirror.links.conversation(entry.contact, message=entry.key)
    return Response.redirect(f"{address}#{entry.key}")


@reads
async def compose(visit: Visit) -> Response:
    """An empty message to anyone."""
    answer = Answer.new(
        phone=visit.request.args.get("phone", ""), text=visit.request.args.get("text", "")
    )
    return await compose_page(visit, answer)


async def compose_page(visit: Visit, answer: Answer, *, status: int = 200) -> Response:
    """Show the page to write a message on, also with one that could not be taken."""
    devices = await visit.mirror.ask(reading.devices)
    context = {"answer": answer, "devices": devices, "phone": None}
    return await render(visit, "compose", context, status=status)


@reads
async def drafts(visit: Visit) -> Response:
    """What waits to be sent, and what was finished last."""

    def ask(conn: Connection) -> dict[str, Any]:
        every = outbox.drafts(conn, [*outbox.WAITING, *outbox.ENDED], FINISHED)
        blocked = outbox.blocked(conn)
        region = settings.find(conn, "region")
        now = utc_text(datetime.now(UTC))
        rows = [(row, why(row, blocked, now), _contact(row, region)) for row in every]
        return {
            "names": reading.names_of(conn, [contact for _, _, contact in rows]),
            "waiting": [shown for shown in rows if shown[0]["status"] in outbox.WAITING],
            "ended": [shown for shown in rows if shown[0]["status"] in outbox.ENDED],
            "blocked": blocked,
        }

    return await render(visit, "drafts", await visit.mirror.ask(ask))


@reads
async def draft(visit: Visit) -> Response:
    """One draft, and how far it has come."""
    return await draft_page(visit, draft_number(visit))


def draft_number(visit: Visit) -> int:
    """Return which draft an address is about: the largest number there may be for all beyond it."""
    return min(int(visit.request.url_vars["id"][:20]), HIGHEST_ID)


async def draft_page(
    visit: Visit,
    draft_id: int,
    refused: str | None = None,
    *,
    status: int = 200,
) -> Response:
    """Show a draft, also with why a wish about it was refused."""

    def ask(conn: Connection) -> dict[str, Any] | None:
        row = outbox.one(conn, draft_id)
        if row is None:
            return None
        sent = reading.sent_row(conn, row["sent_id"])
        contact = _contact(row, settings.find(conn, "region"))
        return {
            "row": row,
            "way": way_of(row, sent),
            "why": why(row, outbox.blocked(conn), utc_text(datetime.now(UTC))),
            "contact": contact,
            "called": reading.names_of(conn, [contact]).get(contact),
        }

    found = await visit.mirror.ask(ask)
    if found is None:
        raise NotFound("There is no such draft")
    return await render(visit, "draft", found | {"refused": refused}, status=status)


def _contact(row: Row, region: str | None) -> str:
    """Return who a draft is for, also before the daemon has looked at it."""
    return row["contact"] or contact_of(row["phone"], region) or row["phone"]
