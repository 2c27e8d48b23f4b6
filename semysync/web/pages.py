"""The pages that are read: conversations, one of them, drafts. None of them writes."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from sqlite3 import Row
from typing import TYPE_CHECKING, Any, NamedTuple

from datasette.utils import tilde_decode
from datasette.utils.asgi import NotFound, Request, Response

from semysync import __version__
from semysync.contact import contact_of
from semysync.errors import SemysyncError
from semysync.mirror.outbox import drafts as outbox
from semysync.mirror.tables import settings
from semysync.web import reading
from semysync.web.forms import Answer
from semysync.web.mirrors import Mirror, has_charts, mirror_of
from semysync.web.way import way_of, why

if TYPE_CHECKING:
    from datasette.app import Datasette

LIVE = {"conversations", "conversation", "drafts", "draft"}  #: pages with a part that changes
LONGEST_WORDS = 1_000  #: what is searched for: a message has no more
FINISHED = 30  #: so many finished drafts are shown

# Nothing but what is ours, and no script in the page itself: a message is never more than text.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "private, no-store",
}

STATUSES = {
    "received": ("", "received"),
    "queued": ("○", "waiting"),
    "held": ("‖", "held"),
    "sending": ("↑", "sending"),
    "unknown": ("?", "answer lost"),
    "accepted": ("✓", "at the service"),
    "on_phone": ("✓", "on the phone"),
    "sent": ("✓", "sent"),
    "delivered": ("✓✓", "delivered"),
    "cancelling": ("×", "cancelling"),
    "cancelled": ("×", "cancelled"),
    "failed": ("!", "failed"),
    "rejected": ("!", "rejected"),
    "expired": ("!", "expired"),
}

View = Callable[["Datasette", Request], Awaitable[Response]]


class Visit(NamedTuple):
    """A request for a page of a mirror, by someone who may read it."""

    datasette: "Datasette"
    request: Request
    mirror: Mirror


def page(view: Callable[[Visit], Awaitable[Response]]) -> View:
    """Make a view of a mirror: found, readable, and with a sentence where it cannot be used."""

    @wraps(view)
    async def viewed(datasette: "Datasette", request: Request) -> Response:
        visit = Visit(datasette, request, await mirror_of(datasette, request))
        try:
            return await view(visit)
        except NotFound as exc:
            status, said = 404, exc.args[0]
        except SemysyncError as exc:
            status, said = 503, sentence(exc)
        return await render(visit, "sorry", {"sentence": said, "status": status}, status=status)

    # Datasette goes by the names of the arguments.
    del viewed.__wrapped__
    return viewed


def reads(view: Callable[[Visit], Awaitable[Response]]) -> View:
    """Make a view that is only read."""

    @wraps(view)
    async def read(visit: Visit) -> Response:
        if visit.request.method not in {"GET", "HEAD"}:
            return Response.text("this page is read only\n", status=405)
        return await view(visit)

    return page(read)


def sentence(exc: Exception) -> str:
    """Return what an error says, as a sentence."""
    text = str(exc)
    return text[:1].upper() + text[1:]


async def render(
    visit: Visit,
    name: str,
    context: Mapping[str, Any],
    *,
    status: int = 200,
) -> Response:
    """Return a page; or its live part alone, where that is asked for and has changed."""
    live = name in LIVE and visit.request.args.get("part") == "live" and status == 200
    everything = {
        "mirror": visit.mirror.name,
        "links": visit.mirror.links,
        "may_send": visit.mirror.may_send,
        "statuses": STATUSES,
        "version": __version__,
        "parted": reading.parted,
        "page": name,
        "several": len([n for n in visit.datasette.databases if n != "_internal"]) > 1,
        "has_charts": has_charts(visit.mirror.name),
        **context,
    }
    template = f"_semysync_{name}.html" if live else f"semysync_{name}.html"
    body = await visit.datasette.render_template(template, everything, request=visit.request)
    if not live:
        return Response.html(body, status=status, headers=dict(HEADERS))
    tag = f'"{hashlib.sha256(body.encode()).hexdigest()[:24]}"'
    headers = {**HEADERS, "ETag": tag}
    if visit.request.headers.get("if-none-match") == tag:
        return Response("", status=304, headers=headers)
    return Response.html(body, headers=headers)


def closed() -> Response:
    """Return what somebody sees who has not come by the login link."""
    return Response.text(
        "This mirror is open to those alone who come by the link that `semysync web` has printed.\n"
        "The link works once: start `semysync web` again for another one.\n",
        status=403,
        headers=dict(HEADERS),
    )


@reads
async def conversations(visit: Visit) -> Response:
    """All conversations, the last first; or those, and the messages, that hold some words."""
    words = _words(visit)
    at, contact = visit.request.args.get("at"), visit.request.args.get("contact")

    def ask(conn: Any) -> dict[str, Any]:
        if words:
            entries = reading.search(conn, words)
            return {
                "rows": reading.named_like(conn, words),
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

    def ask(conn: Any) -> dict[str, Any]:
        shown = _shown(conn, contact, args)
        row = reading.conversation(conn, contact)
        at_end = not (words or shown.newer)
        return {
            "entries": reading.search(conn, words, contact) if words else shown.entries,
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
    received = [entry.at for entry in entries if entry.rank == 0 and entry.at]
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


def _shown(conn: Any, contact: str, args: Any) -> reading.Page:
    for name, around in (("message", reading.around), ("before", None), ("after", None)):
        key = args.get(name)
        entry = reading.one(conn, key) if key else None
        if key and entry is None:
            raise NotFound("There is no such message")
        if entry and around and entry.contact == contact:
            return around(conn, contact, entry)
        if entry and around:
            raise NotFound("This message is of another conversation")
        if entry:
            beside = reading.before if name == "before" else reading.after
            page = beside(conn, contact, entry.place)
            return page if page.entries else reading.newest(conn, contact)
    return reading.newest(conn, contact)


def _phone_to_answer(contact: str) -> str | None:
    """Return the number to write to; None for a sender such as `Beeline`."""
    bare = contact.removeprefix("+")
    return contact if bare.isascii() and bare.isdigit() and 2 <= len(bare) <= 15 else None


@reads
async def message(visit: Visit) -> Response:
    """Lead to a message where it stands in its conversation, whatever has become of it."""
    key = f"{visit.request.url_vars['box']}-{visit.request.url_vars['id']}"

    def ask(conn: Any) -> reading.Entry | None:
        if visit.request.url_vars["box"] == "draft":
            row = outbox.one(conn, draft_number(visit))
            if row and row["is_seen"]:
                return reading.one(conn, f"out-{row['sent_id']}")
        return reading.one(conn, key)

    entry = await visit.mirror.ask(ask)
    if entry is None:
        raise NotFound("There is no such message")
    if not entry.contact and entry.rank == reading.DRAFT:
        return Response.redirect(visit.mirror.links.draft(entry.id))
    if not entry.contact:
        table = ("inbox", "sent")[entry.rank]
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

    def ask(conn: Any) -> dict[str, Any]:
        every = outbox.drafts(conn, [*outbox.WAITING, *outbox.ENDED], FINISHED)
        blocked = outbox.blocked(conn)
        region = settings.find(conn, "region")
        rows = [(row, why(row, blocked), _contact(row, region)) for row in every]
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
    return min(int(visit.request.url_vars["id"][:20]), reading.LAST)


async def draft_page(
    visit: Visit,
    draft_id: int,
    refused: str | None = None,
    *,
    status: int = 200,
) -> Response:
    """Show a draft, also with why a wish about it was refused."""

    def ask(conn: Any) -> dict[str, Any] | None:
        row = outbox.one(conn, draft_id)
        if row is None:
            return None
        sent = conn.execute("select * from sent where id = ?", (row["sent_id"],)).fetchone()
        contact = _contact(row, settings.find(conn, "region"))
        return {
            "row": row,
            "way": way_of(row, sent),
            "why": why(row, outbox.blocked(conn)),
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
