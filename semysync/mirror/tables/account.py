"""
Keep the table `account`: how the account's plan, and the messages left of it, have changed.

`save` is given a connection with an open transaction.
"""

import sqlite3

from semysync.mirror.tables.rows import Writing, account_row
from semysync.model import Account

LAST = """
select user_id, paid, plan_type, plan_ends_at, messages_left, extra
  from account
 order by id desc
 limit 1
"""

ADD = """
insert into account (at, user_id, paid, plan_type, plan_ends_at, messages_left, extra)
values (:at, :user_id, :paid, :plan_type, :plan_ends_at, :messages_left, :extra)
"""


def save(conn: sqlite3.Connection, account: Account, *, writing: Writing, stamp: str) -> bool:
    """Add a row to the account's history where it differs from the last; tell whether."""
    row = account_row(account, writing)
    cursor = conn.execute(LAST)
    names = [column[0] for column in cursor.description]
    if cursor.fetchone() == tuple(row[name] for name in names):
        return False
    conn.execute(ADD, row | {"at": stamp})
    return True
