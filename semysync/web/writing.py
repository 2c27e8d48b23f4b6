"""
What a person does in the browser: write, cancel, hold, release, mark as read, name a contact.

All of it needs the permission `semysync-send` and a form of ours. It goes through a connection of
its own to the mirror, by the same rules as for any other program; Datasette's stay read-only.
"""

import asyncio
import secrets
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from functools import wraps
from typing import TypeVar

from datasette.utils import tilde_decode
from datasette.utils.asgi import Forbidden, Response

from semysync.errors import SemysyncError
from semysync.mirror.file import explained, writing
from semysync.mirror.outbox import drafts
from semysync.mirror.outbox.drafts import NotAllowed
from semysync.mirror.tables import contacts
from semysync.web import pages
from semysync.web.forms import Answer
from semysync.web.mirrors import Mirror
from semysync.web.visits import View, Visit, page

T = TypeVar("T")
Form = Mapping[str, str]

OURS = {"same-origin", "none"}  #: what a browser says of a form that comes from one of our pages

WISHES = {"cancel": drafts.cancel, "hold": drafts.hold, "release": drafts.release}


def writes(view: Callable[[Visit, Form], Awaitable[Response]]) -> View:
    """Make a view that writes: by POST, by a form of ours, by who may."""

    @wraps(view)
    async def written(visit: Visit) -> Response:
        if visit.request.method != "POST":
            return Response.text("this is sent by a form\n", status=405)
        if not visit.mirror.may_send:
            raise Forbidden("You may read this mirror, but not write to it")
        # A neighbour of ours under one domain can make a browser send our cookies, and set some.
        if visit.request.headers.get("sec-fetch-site", "same-origin") not in OURS:
            raise Forbidden("This form is not of this page")
        form = await visit.request.post_vars()
        # Datasette lets a form without any cookie pass; who is known by an address, or by what a
        # proxy adds, has none.
        if not secrets.compare_digest(
            form.get("csrftoken", "").encode(), visit.request.scope["csrftoken"]().encode()
        ):
            raise Forbidden("This form is not of this page any more: open the page again")
        return await view(visit, form)

    return page(written)


async def in_mirror(mirror: Mirror, work: Callable[[sqlite3.Connection], T]) -> T:
    """Do something in one transaction on a connection that is opened for it, in a thread."""

    def done() -> T:
        mirror.must_be_there()
        with (
            explained(mirror.path),
            closing(drafts.open_outbox(mirror.path)) as conn,
            writing(conn),
        ):
            return work(conn)

    return await asyncio.to_thread(done)


@writes
async def send(visit: Visit, form: Form) -> Response:
    """Insert a draft, once; or show the form again, with the sentence on what is wrong."""
    answer, contact = Answer.typed(form), form.get("contact") or None

    def add(conn: sqlite3.Connection) -> int | None:
        added = drafts.add(conn, answer.fields())
        if added.new or added.id is None:
            return added.id
        known = drafts.one(conn, added.id)
        # The form was sent before, gone back to, and changed: that is another message.
        if known and (known["phone"], known["text"]) != (answer.phone, answer.text):
            raise NotAllowed(
                f"this form was sent already, as draft {added.id}: send it once more if this is "
                "to be a message of its own"
            )
        return added.id

    try:
        draft_id = await in_mirror(visit.mirror, add)
    except NotAllowed as exc:
        return await _again(visit, answer.refused(str(exc)), contact, 400)
    except SemysyncError as exc:
        return await _again(visit, answer.refused(str(exc)), contact, 503)
    if contact is not None:
        return _to_the_end(visit, contact)
    links = visit.mirror.links
    # None: of a draft that is deleted by now, this form has made it before.
    return Response.redirect(links.drafts() if draft_id is None else links.draft(draft_id))


async def _again(visit: Visit, answer: Answer, contact: str | None, status: int) -> Response:
    if contact is None:
        return await pages.compose_page(visit, answer, status=status)
    return await pages.conversation_page(visit, contact, answer, status=status)


@writes
async def act(visit: Visit, form: Form) -> Response:
    """Cancel, hold or release a draft."""
    draft_id, wish = pages.draft_number(visit), WISHES[visit.request.url_vars["wish"]]
    try:
        outcome = await in_mirror(visit.mirror, lambda conn: wish(conn, draft_id))
    except SemysyncError as exc:
        refused, status = str(exc), 503
    else:
        if outcome.done:
            return Response.redirect(_back(visit.mirror, form.get("back", ""), draft_id))
        refused, status = f"draft {draft_id} {outcome.sentence}", 409
    return await pages.draft_page(visit, draft_id, refused, status=status)


def _back(mirror: Mirror, name: str, draft_id: int) -> str:
    if name == "drafts":
        return f"{mirror.links.drafts()}#draft-{draft_id}"
    return mirror.links.draft(draft_id)


@writes
async def mark_read(visit: Visit, form: Form) -> Response:
    """Note that what was received up to a time has been read: what came meanwhile was not."""
    contact, until = tilde_decode(visit.request.url_vars["contact"]), form.get("until", "")
    await in_mirror(visit.mirror, lambda conn: contacts.mark_read(conn, contact, until))
    return _to_the_end(visit, contact)


@writes
async def name(visit: Visit, form: Form) -> Response:
    """Give a contact a name, or take it away."""
    contact, given = tilde_decode(visit.request.url_vars["contact"]), form.get("name", "")
    await in_mirror(visit.mirror, lambda conn: contacts.give_name(conn, contact, given))
    return _to_the_end(visit, contact)


def _to_the_end(visit: Visit, contact: str) -> Response:
    return Response.redirect(f"{visit.mirror.links.conversation(contact)}#end")
