"""
The steps by which a file becomes a mirror: the first makes all of it.

`MIGRATIONS` are applied by sqlite-utils, each in a transaction; one that was released is never
edited, the next is added below it. `user_version` counts them, so that a reader knows at a glance
whether it can use a file, and `application_id` says that the file is a mirror at all. Nothing that
is stored (views, generated columns, triggers) needs a function of ours or anything newer than
SQLite 3.37, since it runs in other people's programs.
"""

from sqlite_utils import Database, Migrations

from semysync.mirror.schema import messages, outbox, tables, views

MIGRATIONS = Migrations("semysync")

#: names of migrations that rewrite or drop: before one of them a copy of the mirror is made
REWRITING: frozenset[str] = frozenset()

#: what makes up for what may have happened while something was missing, when it is put back
MADE_UP_FOR = {
    "inbox_fts": (messages.REBUILD["inbox"],),
    "sent_fts": (messages.REBUILD["sent"],),
    "inbox_text_changes": (messages.REBUILD["inbox"],),
    "inbox_row_goes": (messages.REBUILD["inbox"],),
    "sent_text_changes": (messages.REBUILD["sent"],),
    "sent_row_goes": (messages.REBUILD["sent"],),
    "outbox_kept": outbox.ENTER_IN_LEDGER,
    "sent_moves_draft": (outbox.FOLLOW_SENT,),
}


@MIGRATIONS()
def m001_first_release(db: Database) -> None:
    """The boxes, the tables beside them, the outbox with its rules, and the views."""
    for statement in (*messages.ALL, *tables.ALL, *outbox.ALL, *views.ALL):
        db.execute(statement)
