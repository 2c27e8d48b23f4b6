"""
Keep the table `marks`: how far each box is mirrored, of a device or of the whole account.

The functions are given a connection; `put` belongs into the transaction that stores the messages.
"""

import sqlite3

import msgspec

from semysync.model import Box

WHOLE_ACCOUNT = 0  #: stands for a device's id where the account is asked as a whole

FIND = """
select last_id, floor_id, history, top_id, lookback_id, lookback_next_id, lookback_at, width,
       loaded_at, looked_at
  from marks
 where box = :box and device_id = :device_id
"""

# Where two programs pull at once, the one that is behind must not put anything back.
PUT = """
insert into marks (box, device_id, last_id, floor_id, history, top_id, lookback_id,
                   lookback_next_id, lookback_at, width, loaded_at, looked_at)
values (:box, :device_id, :last_id, :floor_id, :history, :top_id, :lookback_id,
        :lookback_next_id, :lookback_at, :width, :loaded_at, :looked_at)
    on conflict (box, device_id) do update
   set last_id = max(last_id, excluded.last_id),
       floor_id = excluded.floor_id,
       history = excluded.history,
       top_id = coalesce(top_id, excluded.top_id),
       lookback_id = max(lookback_id, excluded.lookback_id),
       lookback_at = iif(excluded.lookback_next_id >= lookback_next_id,
                         excluded.lookback_at, lookback_at),
       lookback_next_id = max(lookback_next_id, excluded.lookback_next_id),
       width = excluded.width,
       loaded_at = coalesce(loaded_at, excluded.loaded_at),
       looked_at = coalesce(excluded.looked_at, looked_at)
"""

FORGET = "delete from marks where box = :box and device_id = :device_id"


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """How far a box (of a device) is mirrored; the columns of `marks` are described there."""

    last_id: int = 0
    floor_id: int = 0
    history: str | None = None
    top_id: int | None = None
    lookback_id: int = 0
    lookback_next_id: int = 0
    lookback_at: str | None = None
    width: int | None = None
    loaded_at: str | None = None
    looked_at: str | None = None


def find(conn: sqlite3.Connection, box: Box, device_id: int) -> Mark:
    """Return how far a box is mirrored; a fresh mark where it was never asked for."""
    cursor = conn.execute(FIND, {"box": box, "device_id": device_id})
    names = [column[0] for column in cursor.description]
    row = cursor.fetchone()
    return Mark(**dict(zip(names, row, strict=True))) if row else Mark()


def put(conn: sqlite3.Connection, box: Box, device_id: int, mark: Mark) -> None:
    """Store a mark. It never moves back, whoever else has moved it meanwhile."""
    conn.execute(PUT, msgspec.to_builtins(mark) | {"box": box, "device_id": device_id})


def forget(conn: sqlite3.Connection, box: Box, device_id: int) -> None:
    """Forget how far a box is mirrored; its messages stay."""
    conn.execute(FORGET, {"box": box, "device_id": device_id})
