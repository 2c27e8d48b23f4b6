"""The addresses of our pages, and of Datasette's own about a mirror."""

from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from datasette.utils import tilde_encode

if TYPE_CHECKING:
    from datasette.app import Datasette


class Links:
    """The addresses of a mirror's pages."""

    def __init__(self, datasette: "Datasette", name: str) -> None:
        self._datasette = datasette
        self.database = datasette.urls.database(name)
        self._name = name

    def _page(self, *parts: str, **query: object) -> str:
        path = "/".join([str(self.database), "-", *map(tilde_encode, parts)])
        given = {key: value for key, value in query.items() if value not in (None, "")}
        return f"{path}?{urlencode(given)}" if given else path

    def conversations(self, **query: object) -> str:
        return self._page("conversations", **query)

    def conversation(self, contact: str, **query: object) -> str:
        return self._page("conversations", contact, **query)

    def message(self, key: str) -> str:
        return self._page("message", *key.split("-", 1))

    def compose(self, **query: object) -> str:
        return self._page("compose", **query)

    def drafts(self, **query: object) -> str:
        return self._page("drafts", **query)

    def draft(self, draft_id: int, **query: object) -> str:
        return self._page("drafts", str(draft_id), **query)

    def table(self, name: str) -> str:
        return str(self._datasette.urls.table(self._name, name))

    def dashboard(self) -> str:
        return str(self._datasette.urls.path(f"/-/dashboards/{tilde_encode(self._name)}"))

    def static(self, name: str) -> str:
        return static(self._datasette, name)


def static(datasette: "Datasette", name: str) -> str:
    """Return the address of a file of ours."""
    return str(datasette.urls.static_plugins("semysync", name))


def has_charts(name: str) -> bool:
    """Tell whether there are charts: the library goes by names that need no encoding."""
    return find_spec("datasette_dashboards") is not None and tilde_encode(name) == name
