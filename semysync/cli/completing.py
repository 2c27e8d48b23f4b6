"""What a shell offers when Tab is pressed: contacts, devices and drafts of the mirror."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import click
from click.shell_completion import CompletionItem

from semysync.cli.options import reader_path
from semysync.errors import SemysyncError
from semysync.mirror.file import open_reader

MOST = 200

CONTACTS = """
select contact, name from contacts
 where contact glob :begins or name like :named escape '\\'
 order by last_at desc limit :most
"""
DEVICES = """
select id, coalesce(label, name) from devices where id glob :begins
 order by archived, last_active_at desc limit :most
"""
DRAFTS = """
select id, status || '  ' || coalesce(contact, phone) from outbox
 where id glob :begins and instr(:statuses, status)
 order by id desc limit :most
"""

Offered = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def contacts(ctx: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    """Offer contacts by the beginning of their number or name, the latest first."""
    return _offered(ctx, CONTACTS, typed)


def devices(ctx: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    """Offer devices, those in use first."""
    return _offered(ctx, DEVICES, typed)


def drafts(*statuses: str) -> Offered:
    """Return what offers the drafts of some statuses, the newest first."""

    def offered(ctx: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
        return _offered(ctx, DRAFTS, typed, statuses=" ".join(statuses))

    return offered


def _offered(ctx: click.Context, query: str, typed: str, **named: object) -> list[CompletionItem]:
    """Ask the mirror; where that is not possible nothing is offered, and nothing is said."""
    escaped = "".join(f"[{c}]" if c in "*?[" else c for c in typed)
    like = typed.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    values: dict[str, Any] = {"begins": f"{escaped}*", "named": f"{like or '%'}%", "most": MOST}
    try:
        path = reader_path(ctx.params.get("config"), ctx.params.get("database"))
        with closing(open_reader(path)) as conn:
            rows = conn.execute(query, values | named).fetchall()
    except (SemysyncError, sqlite3.Error, OSError, click.UsageError):
        return []
    return [CompletionItem(str(value), help=told) for value, told in rows]
