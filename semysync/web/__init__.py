"""
The mirror in the browser: a Datasette plug-in, found through its entry point.

It acts on databases that are mirrors and leaves all others alone. Reading goes through Datasette's
own read-only connections; what is written goes through `writing`, by a connection of its own. Start
reading at `plugin`.
"""

from semysync.web.plugin import (
    asgi_wrapper,
    canned_queries,
    extra_css_urls,
    extra_js_urls,
    forbidden,
    get_metadata,
    menu_links,
    permission_allowed,
    register_routes,
    render_cell,
    startup,
)

__all__ = [
    "asgi_wrapper",
    "canned_queries",
    "extra_css_urls",
    "extra_js_urls",
    "forbidden",
    "get_metadata",
    "menu_links",
    "permission_allowed",
    "register_routes",
    "render_cell",
    "startup",
]
