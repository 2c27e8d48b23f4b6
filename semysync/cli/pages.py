"""A page of HTML for each conversation, to keep, print or hand on: no script, nothing from elsewhere."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from html import escape
from itertools import chain
from pathlib import Path
from sqlite3 import Connection, Row

from semysync.cli import formats
from semysync.cli.moments import local_zone
from semysync.mirror.reading import history
from semysync.mirror.reading.history import Narrowed
from semysync.times import from_utc_text

STYLE = """
:root { color-scheme: light dark; --in: #8881; --out: #2a7de11f; --dim: #8889; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin-bottom: 0; }
header p, small { color: #767676; }
h2 { font-size: .85rem; font-weight: 600; text-align: center; color: #767676; margin: 2rem 0 1rem; }
article { display: flow-root; margin: .4rem 0; }
article p { background: var(--in); border-radius: 1rem; padding: .45rem .9rem; margin: 0; max-width: 80%;
  width: fit-content; white-space: pre-wrap; overflow-wrap: anywhere; }
article small { display: block; margin: .1rem .9rem; font-size: .75rem; }
.out p { background: var(--out); margin-left: auto; }
.out small { text-align: right; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; padding: .35rem .5rem; border-bottom: 1px solid var(--dim); vertical-align: top; }
td:nth-child(3), th:nth-child(3) { text-align: right; }
@media print { body { margin: 0; max-width: none; } article { break-inside: avoid; } }
"""

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style>{style}</style>
"""


def write(conn: Connection, wanted: Narrowed, folder: Path, *, force: bool) -> int:
    """Write a page for each conversation with a message that is wanted, and an index; count them."""
    written: list[tuple[Row, str, int]] = []
    for row in history.contacts(conn, wanted.contact):
        name = page_name(row["contact"])
        messages = history.conversation(conn, wanted._replace(contact=row["contact"]))
        first = next(messages, None)
        if first is None:
            continue
        with formats.new_file(folder / name, force=force) as file:
            count = 0
            for piece in page(row, first, messages):
                file.write(piece.encode("utf-8", "replace"))
                count += piece.startswith("<article")
        written.append((row, name, count))
    with formats.new_file(folder / "index.html", force=force) as file:
        file.write(index(written).encode())
    return len(written)


def page(contact: Row, first: Row, rest: Iterator[Row]) -> Iterator[str]:
    """Yield the page of a conversation, a message in a piece."""
    who = escape(contact["name"] or contact["contact"])
    yield PAGE.format(title=who, style=STYLE)
    number = f"<p>{escape(contact['contact'])}</p>" if contact["name"] else ""
    yield f'<header><p><a href="index.html">All conversations</a></p><h1 dir="auto">{who}</h1>{number}</header>\n<main>\n'
    day = ""
    for row in chain([first], rest):
        at = moment(row)
        if at[:10] != day:
            day = at[:10]
            yield f"<h2>{day or 'undated'}</h2>\n"
        yield article(row, at)
    yield f"</main>\n<footer><p><small>Times are {local_zone(datetime.now(UTC))}; one with a ~ is as it was printed, its zone is not known.</small></p></footer>\n</html>\n"


def article(row: Row, at: str) -> str:
    """Return a message as it stands on a page."""
    facts = [
        f"{'' if row['in_utc'] else '~'}{at[11:]}",
        row["status"] if row["direction"] == "out" else "",
    ]
    if row["channel"] not in {"sms", None}:
        facts.append(row["channel"].replace("_", " "))
    shown = " · ".join(escape(fact) for fact in facts if fact)
    return (
        f'<article id="{row["direction"]}-{row["id"]}" class="{row["direction"]}">'
        f'<p dir="auto">{escape(row["text"] or "")}</p><small>{shown}</small></article>\n'
    )


def index(written: list[tuple[Row, str, int]]) -> str:
    """Return the page that leads to the others, the latest conversation first."""
    rows = "".join(
        f'<tr><td><a href="{name}" dir="auto">{escape(row["name"] or row["contact"])}</a></td>'
        f"<td>{escape((row['last_at'] or '')[:16].replace('T', ' '))}</td><td>{count:,}</td></tr>\n"
        for row, name, count in written
    )
    return (
        PAGE.format(title="Conversations", style=STYLE)
        + "<h1>Conversations</h1>\n<table><tr><th>Contact</th><th>Last message (UTC)</th>"
        + f"<th>Messages</th></tr>\n{rows}</table>\n</html>\n"
    )


def page_name(contact: str) -> str:
    """Return the name of a contact's page: one that every file system takes, and no two share."""
    if re.fullmatch(r"\+[0-9]{1,40}", contact):
        return f"{contact[1:]}.html"
    # A sender may have chosen this name: it must be no `index`, nor another's in other letters.
    plain = re.sub(r"[^0-9A-Za-z]+", "-", contact).strip("-")[:40]
    return f"{plain or 'contact'}-{sha256(contact.encode()).hexdigest()[:8]}.html"


def moment(row: Row) -> str:
    """Return when a message was, by the local clock if that can be said: `2026-11-20 11:00`."""
    if not row["at"]:
        return ""
    if not row["in_utc"]:
        return str(row["at"])[:16].replace("T", " ")
    return f"{from_utc_text(row['at']).astimezone():%Y-%m-%d %H:%M}"
