"""What Datasette asks of a plug-in, answered for mirrors only."""

import re
from collections.abc import Awaitable, Callable
from sqlite3 import Row
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from datasette import hookimpl
from datasette.utils import actor_matches_allow
from datasette.utils.asgi import Request, Response
from markupsafe import Markup, escape

from semysync import __version__
from semysync.mirror.reading.queries import QUERIES
from semysync.web import incoming, mirrors, pages, visits, writing
from semysync.web.charts import dashboard
from semysync.web.descriptions import DATABASE, HIDDEN, TABLES
from semysync.web.links import Links, has_charts, static

if TYPE_CHECKING:
    from datasette.app import Datasette

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")

#: which column says whether a time is UTC, or as the service or a phone has printed it
OFFSETS = {
    ("inbox", "received_at"): "utc_offset",
    ("sent", "created_at"): "utc_offset",
    ("sent", "handed_at"): "utc_offset",
    ("sent", "sent_at"): "phone_utc_offset",
    ("sent", "delivered_at"): "phone_utc_offset",
    ("sent", "cancelled_at"): "phone_utc_offset",
    ("sent", "failed_at"): "phone_utc_offset",
}


@hookimpl
def startup(datasette: "Datasette") -> Callable[[], Awaitable[None]]:
    async def inner() -> None:
        mirrors.refuse_harm(datasette)
        await mirrors.names(datasette)

    return inner


@hookimpl
def register_routes() -> list[tuple[str, Callable[..., Any]]]:
    database = r"^/(?P<database>[^/]+)/-"
    return [
        (rf"{database}/conversations$", pages.conversations),
        (rf"{database}/conversations/(?P<contact>[^/]+)$", pages.conversation),
        (rf"{database}/message/(?P<box>in|out|draft)/(?P<id>\d+)$", pages.message),
        (rf"{database}/compose$", pages.compose),
        (rf"{database}/drafts$", pages.drafts),
        (rf"{database}/drafts/(?P<id>\d+)$", pages.draft),
        (rf"{database}/send$", writing.send),
        (rf"{database}/drafts/(?P<id>\d+)/(?P<wish>cancel|hold|release)$", writing.act),
        (rf"{database}/conversations/(?P<contact>[^/]+)/read$", writing.mark_read),
        (rf"{database}/conversations/(?P<contact>[^/]+)/name$", writing.name),
    ]


@hookimpl
def asgi_wrapper(datasette: "Datasette") -> Callable[[incoming.App], incoming.App]:
    return lambda app: incoming.only_forms(app, datasette)


@hookimpl
def permission_allowed(
    datasette: "Datasette", actor: dict[str, Any] | None, action: str, resource: object
) -> bool | None:
    """Let those write whom `allow_send` in the plug-in's configuration names; nobody else."""
    if action != mirrors.SEND or not isinstance(resource, str):
        return None
    settings = datasette.plugin_config("semysync", database=resource) or {}
    allow = settings.get("allow_send")
    return None if allow is None else bool(actor_matches_allow(actor, allow))


@hookimpl
def forbidden(datasette: "Datasette", request: Request) -> Response | None:
    """Say how to come in, where `semysync web` serves; who is in already needs no second link."""
    settings = datasette.plugin_config("semysync") or {}
    if not settings.get("login_link"):
        return None
    if not request.actor:
        return visits.closed()
    is_link = request.path == datasette.urls.path("/-/auth-token")
    return Response.redirect(str(datasette.urls.instance())) if is_link else None


@hookimpl
def menu_links(
    datasette: "Datasette", actor: dict[str, Any] | None
) -> Callable[[], Awaitable[list[dict[str, str]]]]:
    async def inner() -> list[dict[str, str]]:
        links = []
        names = await mirrors.names(datasette)
        for name in names:
            if await datasette.permission_allowed(
                actor, "view-table", resource=(name, "messages"), default=True
            ):
                of = f" of {name}" if len(names) > 1 else ""
                page = Links(datasette, name)
                links += [
                    {"href": page.conversations(), "label": f"Conversations{of}"},
                    {"href": page.drafts(), "label": f"Outbox{of}"},
                ]
                if has_charts(name):
                    links.append({"href": page.dashboard(), "label": f"Charts{of}"})
        return links

    return inner


@hookimpl
def canned_queries(
    datasette: "Datasette", database: str
) -> Callable[[], Awaitable[dict[str, dict[str, str]]]]:
    async def inner() -> dict[str, dict[str, str]]:
        if database not in await mirrors.names(datasette):
            return {}
        return {
            query.name: {
                "title": query.title,
                "description": query.description,
                "sql": query.sql,
            }
            for query in QUERIES
        }

    return inner


@hookimpl
def get_metadata(datasette: "Datasette", key: str | None) -> dict[str, Any]:
    """Describe tables and columns; what somebody has written for their Datasette goes before."""
    names = mirrors.known(datasette)
    if not names or key not in {None, "databases", "plugins"}:
        return {}
    # Datasette, and the dashboards, write into what they are given: it is made anew each time.
    found: dict[str, Any] = {}
    if key != "plugins":
        found["databases"] = {name: _described() for name in names}
    if key != "databases":
        charts = {name: dashboard(name) for name in names if has_charts(name)}
        found["plugins"] = {"datasette-dashboards": charts}
    return found


def _described() -> dict[str, Any]:
    tables = {
        name: {
            key: value.copy() if isinstance(value, dict | list) else value
            for key, value in table.items()
        }
        for name, table in TABLES.items()
    }
    return {**DATABASE, "tables": HIDDEN | tables}


@hookimpl
def extra_css_urls(
    template: str, database: str | None, request: Request | None, datasette: "Datasette"
) -> list[str]:
    """Let Datasette's pages of a mirror look as ours do, also in the dark."""
    if not _is_page_of_ours(datasette, template, database, request):
        return []
    return [_versioned(datasette, name) for name in ("colours.css", "tables.css")]


@hookimpl
def extra_js_urls(
    template: str, database: str | None, request: Request | None, datasette: "Datasette"
) -> list[dict[str, Any]]:
    """Show times in the viewer's zone on Datasette's own pages too, and the way back to ours."""
    if not _is_page_of_ours(datasette, template, database, request):
        return []
    return [{"url": _versioned(datasette, "tables.js"), "module": True}]


def _is_page_of_ours(
    datasette: "Datasette", template: str, database: str | None, request: Request | None
) -> bool:
    if request and template.startswith("dashboard_"):  # of a library that names no database
        database = unquote(request.url_vars.get("slug", ""))
    return _is_ours(datasette, database)


def _is_ours(datasette: "Datasette", database: str | None) -> bool:
    return database in mirrors.known(datasette)


def _versioned(datasette: "Datasette", name: str) -> str:
    return f"{static(datasette, name)}?{__version__}"


@hookimpl
def render_cell(  # noqa: PLR0917  Datasette's signature
    row: Row, value: object, column: str, table: str | None, database: str, datasette: "Datasette"
) -> Markup | Awaitable[Markup | None] | None:
    if not value or not _is_ours(datasette, database):
        return None
    if isinstance(value, int) and column in {"device_id", "device"}:
        return _device(datasette, database, value)
    if not isinstance(value, str):
        return None
    if column == "contact":
        address = Links(datasette, database).conversation(value)
        return Markup('<a href="{}#end" dir="auto">{}</a>').format(address, value)
    if TIME.fullmatch(value):
        return time(value, is_utc=_is_utc(row, table, column))
    return None


async def _device(datasette: "Datasette", database: str, number: int) -> Markup | None:
    called = (await mirrors.device_names(datasette, database)).get(number)
    if not called:
        return None
    address = f"{Links(datasette, database).table('devices')}/{number}"
    return Markup('<a href="{}" dir="auto">{}</a>&nbsp;<em>{}</em>').format(address, called, number)


def _is_utc(row: Row, table: str | None, column: str) -> bool:
    offset = OFFSETS.get((table or "", column))
    return offset is None or offset not in row.keys() or row[offset] is not None


def time(text: str, *, is_utc: bool = True) -> Markup:
    """Return a time that a script may show in the viewer's zone."""
    shown = text[:19].replace("T", " ")
    if not is_utc:
        return Markup('<span title="as it was printed: the zone is not known">{}</span>').format(
            shown
        )
    return Markup('<time datetime="{}" data-local="second">{} UTC</time>').format(
        escape(text), shown
    )
