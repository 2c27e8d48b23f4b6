"""
Imports point down: the program from its lowest floor to its highest, and where each library is at home.

A module imports what stands on a floor below its own, or in its own package; what shares a floor
does not know of one another. That holds as well for imports that stand inside functions, where a
command imports what is slow. Who reads from the bottom up meets nothing that was not explained.
"""

import ast
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import semysync

ROOT = Path(semysync.__file__).parent

FLOORS = (
    # what everything may use: values, and decisions about them, without any I/O
    {"errors", "model", "contact", "segments", "times", "event_kinds"},
    # the TOML file, made into values
    {"config"},
    {"log"},
    # the account on one side, our file on the other; and a stand-in for the account, which must
    # not share the client's view of it
    {"service", "mirror", "sandbox"},
    # one round of a job: the only place where service and mirror meet
    {"passes"},
    # hooks on what happened, and the listener for webhooks
    {"follow"},
    # when passes run and drafts go out; how all is
    {"daemon", "doctor"},
    # Datasette over the mirror
    {"web"},
    # the commands put it all together
    {"cli"},
    {"__main__"},
)

#: the same within the largest package, for its modules and folders
FLOORS_OF_THE_MIRROR = (
    # who may use the files; the file itself; who else works on it
    {"access"},
    {"file"},
    {"lock", "watch"},
    # how it is made, and the tables that passes write
    {"schema"},
    {"tables"},
    # drafts, and what makes up for the loss of the mirror
    {"outbox"},
    {"copies"},
    # what is put right when more is known, and what goes after a while; what people read, and remove
    {"corrections", "housekeeping"},
    {"reading"},
    # what passes do to it
    {"store"},
)

#: each library that is not Python's own: the packages and modules that import it
HOMES = {
    "apprise": {"follow.actions"},
    "apscheduler": {"daemon.loop"},
    "click": {"cli"},
    "datasette": {"web"},
    "httpx": {
        "service",
        "follow.actions",  # posts events to others than the service
        "sandbox.webhooks",  # posts what a phone received, as the service does
    },
    "inotify_simple": {"mirror.watch"},
    "markupsafe": {"web.plugin"},
    "phonenumbers": {"contact"},
    "prometheus_client": {"follow"},
    "pyarrow": {"cli.formats"},
    "python_multipart": {"follow.calls"},
    "rich": {"cli"},
    "sqlite_utils": {"mirror"},
    "starlette": {"follow.listener"},
    "uvicorn": {"follow.listener", "web.serve"},
}

#: two have no home: values that are quick to make and to check, and one's own logger
EVERYWHERE = {"msgspec", "structlog"}

PLACES = {name: number for number, floor in enumerate(FLOORS) for name in floor} | {
    f"mirror.{name}": number for number, floor in enumerate(FLOORS_OF_THE_MIRROR) for name in floor
}


def imports_of(source):
    """All that a module imports, at its top or inside a function, by full names."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours():
    """Each module by its name without `semysync.`, and its source."""
    for path in sorted(ROOT.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if name != "__init__":
            yield name.removesuffix(".__init__"), path.read_text(encoding="utf-8")


def place_of(name):
    """Where a module of ours belongs: its package, or within the mirror what it is part of."""
    first, second, *_ = [*name.split("."), ""]
    return f"{first}.{second}" if f"{first}.{second}" in PLACES else first


def upward(name, source):
    """The imports of a module that do not point down."""
    for imported in imports_of(source):
        whole, _, other = imported.partition(".")
        here, there = place_of(name), place_of(other)
        if whole != "semysync" or there in {here, "__version__"}:
            continue
        if here.partition(".")[0] != there.partition(".")[0]:
            here, there = here.partition(".")[0], there.partition(".")[0]
        if PLACES[there] >= PLACES[here]:
            yield f"{name} imports {imported}"


def away_from_home(name, source):
    """The imports of libraries by a module that is not their home."""
    for imported in imports_of(source):
        library = imported.partition(".")[0]
        if library == "semysync" or library in sys.stdlib_module_names | EVERYWHERE:
            continue
        if not any(f"{name}.".startswith(f"{home}.") for home in HOMES.get(library, ())):
            yield f"{name} imports {imported}"


def test_every_import_points_down():
    modules = list(ours())

    assert {place_of(name) for name, _ in modules} - {"mirror"} == set(PLACES) - {"mirror"}
    assert [said for name, source in modules for said in upward(name, source)] == []


def test_every_library_is_imported_in_its_home_alone():
    modules = list(ours())

    assert [said for name, source in modules for said in away_from_home(name, source)] == []


def test_every_home_is_still_lived_in():
    found = {name: {i.partition(".")[0] for i in imports_of(source)} for name, source in ours()}

    for library, homes in HOMES.items():
        for home in homes:
            inside = [name for name in found if f"{name}.".startswith(f"{home}.")]
            assert any(library in found[name] for name in inside), f"{library} left {home}"


@pytest.mark.parametrize(
    ("name", "source", "said"),
    [
        ("mirror.store", "from semysync.passes.pull import Puller", "upward"),
        ("mirror.store", "def f():\n    import semysync.cli.send", "upward"),
        ("mirror.store", "from semysync.service import client", "upward"),
        ("sandbox.account", "from semysync.mirror.store import Store", "upward"),
        ("mirror.tables.marks", "from semysync.mirror.store import Store", "upward"),
        ("mirror.store", "from semysync.mirror.tables import marks", ""),
        ("mirror.tables.marks", "from semysync.mirror.tables import boxes", ""),
        ("passes.pull", "from semysync.mirror.store import Store", ""),
        ("passes.pull", "def f():\n    import sqlite_utils", "away"),
        ("cli.send", "import click.testing", ""),
        ("climbing", "import click", "away"),
    ],
)
def test_the_rules_see_what_breaks_them(name, source, said, monkeypatch):
    monkeypatch.setitem(PLACES, "climbing", 99)

    assert bool(list(upward(name, source))) == (said == "upward")
    assert bool(list(away_from_home(name, source))) == (said == "away")


def test_only_the_module_log_sets_up_how_lines_are_written():
    uses = {
        name
        for name, source in ours()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute)
        and ast.unparse(node).startswith("structlog.")
        and node.attr != "get_logger"
    }

    assert uses == {"log"}


def circle_in(sources):
    """The modules of a circle of imports; None where there is none."""
    needs = {
        name: {
            whose for i in imports_of(ast.unparse(at_once(source))) if (whose := owner(i, sources))
        }
        for name, source in sources.items()
    }
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as exc:
        return exc.args[1]
    return None


def at_once(source):
    """A module without what is imported later, by a function, or never but for types."""
    return Later().visit(ast.parse(source))


class Later(ast.NodeTransformer):
    def visit_FunctionDef(self, _node):
        return None

    def visit_If(self, node):
        return None if ast.unparse(node.test) == "TYPE_CHECKING" else node


def owner(imported, sources):
    """The module of ours that is imported, or from which something is."""
    name = imported.removeprefix("semysync.")
    return next(
        (n for n in (name, name.rpartition(".")[0]) if n in sources and n != imported), None
    )


def test_no_module_needs_itself_to_be_imported():
    """A circle would show only to whoever imports a certain one of its modules first."""
    assert circle_in(dict(ours())) is None


def test_a_circle_is_seen():
    there, back = "from semysync.b import c", "from semysync.b.a import f"
    later = f"def g():\n    {back}\nif TYPE_CHECKING:\n    {back}"

    assert circle_in({"b.a": there, "b.c": later}) is None
    assert set(circle_in({"b.a": there, "b.c": back})) == {"b.a", "b.c"}
