"""Sort out what messages of the account are here: new, known, changed. Nothing here does any I/O."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from semysync.mirror.tables.rows import Row, Table, Writing, is_another, merged
from semysync.model import Message


class Sorted(NamedTuple):
    """What of an answer is to be written, by ids. What is known and has not changed is left out."""

    new: dict[int, Row]
    moved: dict[int, tuple[Row, Row]]  #: each row as it was, and as it is to be
    others: list[Message]  #: whose id belongs to another message here


def sorted_out(
    table: Table,
    messages: Sequence[Message],
    there: Mapping[int, Row],
    writing: Writing,
    stamp: str,
) -> Sorted:
    """
    Compare messages with the rows that are `there`, and with one another.

    An answer may show a message twice, and other than before: the later one is brought on top.
    """
    new: dict[int, Row] = {}
    moved: dict[int, tuple[Row, Row]] = {}
    others: list[Message] = []
    for message in messages:
        changed = moved.get(message.id)
        old = changed[1] if changed else new.get(message.id) or there.get(message.id)
        if old is None:
            new[message.id] = table.row(message, writing, stamp)
            continue
        row = table.again(message, old, writing)
        if is_another(old, row):
            others.append(message)
        elif (row := merged(table, old, row, stamp)) == old:
            continue
        elif message.id in new:
            new[message.id] = row
        else:
            moved[message.id] = changed[0] if changed else old, row
    return Sorted(new, moved, others)
