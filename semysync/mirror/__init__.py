"""
The mirror: our SQLite file, and alone in knowing SQL.

    store      what passes do to it: start here
    tables/    one file a table that the passes write, and what follows from its rows
    outbox/    drafts: what a user may do to them, and how they are claimed, sent and found again
    reading/   what people read: history, search, health, one person, plots
    copies/    what makes up for its loss: backups, the replica, a second machine
    schema/    all tables, triggers and views as SQL; how a file is brought up to date

Beside them, `corrections` writes anew what more is known of by now, and `housekeeping` lets go of
what is old; below them, `file` opens it, and `access`, `lock` and `watch` see who else uses it.
"""
