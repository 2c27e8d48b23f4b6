"""
Keep what `verify` has found, in `verifies` and the tables beside it.

How far each part of a run has come is stored with what was found up to there, so that a run which
was cut off goes on, and says the same in the end as one that was not. `Audit` is one run.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from semysync.mirror.file import Connected
from semysync.mirror.tables import missing
from semysync.mirror.tables.comparing import VANISHED, Seen
from semysync.mirror.tables.events import TELL
from semysync.model import Box
from semysync.times import from_utc_text, utc_text

KEPT = 30  #: runs that are remembered
AT_ONCE = 2_000  #: vanished messages in one transaction, however many there are
RESUMED = timedelta(days=1)  #: a run that was begun longer ago is not gone on with

BEGIN = "insert into verifies (what, repair, started_at) values (:what, :repair, :now)"

UNFINISHED = """
select id, started_at from verifies
 where finished_at is null and what = :what and repair = :repair
   and started_at > :since and started_at <= :now
 order by id desc
 limit 1
"""

LAST = "select started_at from verifies where finished_at is not null order by id desc limit 1"

FORGET = (
    "delete from verifies where id <= :last - :kept",
    "delete from verify_parts where verify_id <= :last - :kept",
    "delete from verify_days where verify_id <= :last - :kept",
    "delete from verify_found where verify_id <= :last - :kept",
)

ADD_PART = """
insert or ignore into verify_parts (verify_id, box, device_id, start_id, end_id, reached_id)
values (?, ?, ?, ?, ?, ?)
"""

FIND_PARTS = """
select box, device_id, start_id, end_id, reached_id, done from verify_parts
 where verify_id = ?
 order by box, device_id
"""

REACHED = """
select coalesce(max(reached_id), 0) from verify_parts
 where verify_id = :verify_id and box = :box and device_id = :device_id
"""

REACH = """
update verify_parts set reached_id = max(reached_id, :reached_id), done = max(done, :done)
 where verify_id = :verify_id and box = :box and device_id = :device_id
"""

COUNT = """
insert into verify_days (verify_id, box, day, account) values (?, ?, ?, ?)
    on conflict (verify_id, box, day) do update set account = account + excluded.account
"""

# A message that has vanished from one device and is shown by another was moved.
FOUND = """
insert into verify_found (verify_id, box, message_id, day, what) values (?, ?, ?, ?, ?)
    on conflict (verify_id, box, message_id) do update
   set what = excluded.what, day = excluded.day
 where what = 'vanished' and excluded.what <> 'vanished'
"""

REPAIRED = """
update verify_found set repaired_at = :now
 where verify_id = :verify_id and box = :box and repaired_at is null
   and message_id in (select value from json_each(:ids))
"""

# What another program has mirrored meanwhile was only late by our look.
CAME_MEANWHILE = """
delete from verify_found
 where verify_id = :verify_id and what = 'lacking' and repaired_at is null
   and (box = 'inbox' and exists (select 1 from inbox
                                   where id = message_id and mirrored_at >= :started_at)
        or box = 'sent' and exists (select 1 from sent
                                     where id = message_id and mirrored_at >= :started_at))
"""

# What we purge while we look is no loss.
PURGED_MEANWHILE = """
delete from verify_found
 where verify_id = :verify_id and what = 'vanished'
   and (box = 'inbox' and exists (select 1 from inbox
                                   where id = message_id and purged_at is not null)
        or box = 'sent' and exists (select 1 from sent
                                     where id = message_id and purged_at is not null)
        or exists (select 1 from purges, json_each(purges.ids)
                    where ended_at is null and purges.box = verify_found.box
                      and value = message_id))
"""

VANISHED_IDS = """
select message_id from verify_found
 where verify_id = :verify_id and box = :box and message_id > :after
   and what = 'vanished' and repaired_at is null
 order by message_id limit :most
"""

FINISH = "update verifies set finished_at = :now where id = :verify_id"

BY_DAY = """
select day, sum(account), sum(lacking), sum(differing), sum(conflicting), sum(vanished),
       sum(returned), sum(open)
  from (select day, account, 0 as lacking, 0 as differing, 0 as conflicting, 0 as vanished,
               0 as returned, 0 as open
          from verify_days
         where verify_id = :verify_id and box = :box
        union all
        select day, 0, what = 'lacking', what = 'differing', what = 'conflicting',
               what = 'vanished', what = 'returned', repaired_at is null
          from verify_found
         where verify_id = :verify_id and box = :box)
 group by day
 order by day
"""

DIFFERENCES = """
select box, message_id, day, what, repaired_at from verify_found
 where verify_id = ?
 order by box, message_id
"""

KINDS_FOUND = "select what, count(*) from verify_found where verify_id = ? group by what"
LEFT = "select count(*) from verify_found where verify_id = ? and repaired_at is null"


class Part(NamedTuple):
    """A box of a device, or of the whole account (0), and how far it was compared."""

    box: Box
    device_id: int
    start_id: int
    end_id: int
    reached_id: int
    done: bool = False


class Day(NamedTuple):
    """What the account and the mirror hold of a day, and how they differ."""

    day: str
    account: int
    mirror: int
    lacking: int
    differing: int
    conflicting: int
    vanished: int
    returned: int
    left: int  #: differences that were not repaired


class Difference(NamedTuple):
    """A message in which the account and the mirror differ."""

    box: str
    message_id: int
    day: str
    what: str
    repaired: bool


class Audit:
    """One run of `verify`, begun or gone on with; or begun `anew`, whatever was cut off."""

    def __init__(
        self, store: Connected, what: str, *, repair: bool, now: datetime, anew: bool = False
    ) -> None:
        self._store = store
        self._repair = repair
        stamp = utc_text(now)
        named = {"what": what, "repair": repair, "now": stamp}
        since = utc_text(now if anew else now - RESUMED)
        with store.transaction() as conn:
            found = conn.execute(UNFINISHED, named | {"since": since}).fetchone()
            self.resumed = found is not None
            self.id = int(found[0] if found else conn.execute(BEGIN, named).lastrowid or 0)
            self._started_at = str(found[1]) if found else stamp
            for statement in FORGET:
                conn.execute(statement, {"last": self.id, "kept": KEPT})

    def parts(self) -> list[Part]:
        """Return what is to be compared, as far as it is known."""
        with self._store.connected() as conn:
            rows = conn.execute(FIND_PARTS, (self.id,)).fetchall()
        return [
            Part(Box(box), device_id, start_id, end_id, reached_id, done=bool(done))
            for box, device_id, start_id, end_id, reached_id, done in rows
        ]

    def add_parts(self, parts: Iterable[Part]) -> None:
        """Note what is to be compared."""
        with self._store.transaction() as conn:
            conn.executemany(ADD_PART, [(self.id, *part[:5]) for part in parts])

    def note(self, box: Box, found: Mapping[int, Seen]) -> None:
        """Note differences before anything is done about them."""
        rows = [(self.id, box, i, seen.day, seen.what) for i, seen in found.items() if seen.what]
        if rows:
            with self._store.transaction() as conn:
                conn.executemany(FOUND, rows)

    def repaired(self, box: Box, ids: Collection[int], now: datetime) -> None:
        """Note that these differences are none any more."""
        named = {"verify_id": self.id, "box": box, "ids": json.dumps(list(ids))}
        with self._store.transaction() as conn:
            conn.execute(REPAIRED, named | {"now": utc_text(now)})

    def reach(
        self,
        part: Part,
        seen: Mapping[int, Seen],
        vanished: Mapping[int, str],
        reached_id: int,
        *,
        done: bool,
    ) -> None:
        """
        Note how far a part was compared, together with what the account has shown up to there.

        What another program has counted, which goes on with the same run, is not counted again.
        """
        named = {"verify_id": self.id, "box": part.box, "device_id": part.device_id}
        with self._store.transaction() as conn:
            counted = conn.execute(REACHED, named).fetchone()[0]
            days = Counter(one.day for number, one in seen.items() if number > counted)
            conn.executemany(COUNT, [(self.id, part.box, day, n) for day, n in days.items()])
            conn.executemany(
                FOUND, [(self.id, part.box, i, day, VANISHED) for i, day in vanished.items()]
            )
            conn.execute(REACH, named | {"reached_id": reached_id, "done": done})

    def finish(self, now: datetime) -> None:
        """
        End a run: mark what has vanished, if it repairs, and tell what was found.

        Cut off, it may be done again.
        """
        stamp = utc_text(now)
        named = {"verify_id": self.id, "started_at": self._started_at, "now": stamp}
        with self._store.transaction() as conn:
            conn.execute(PURGED_MEANWHILE, named)
            conn.execute(CAME_MEANWHILE, named)
        for box in Box if self._repair else ():
            after = 0
            while ids := self._vanished(box, after):
                with self._store.transaction() as conn:
                    missing.mark(conn, box, ids, stamp)
                    conn.execute(REPAIRED, named | {"box": box, "ids": json.dumps(ids)})
                after = ids[-1]
        with self._store.transaction() as conn:
            conn.execute(FINISH, named)
            if counts := dict(conn.execute(KINDS_FOUND, (self.id,)).fetchall()):
                left = conn.execute(LEFT, (self.id,)).fetchone()[0]
                facts = json.dumps(counts | {"left": left})
                conn.execute(TELL, (stamp, "verify.found", None, None, None, facts))

    def _vanished(self, box: Box, after: int) -> list[int]:
        """Return the next messages that have vanished, and are not marked yet."""
        named = {"verify_id": self.id, "box": box, "after": after, "most": AT_ONCE}
        with self._store.connected() as conn:
            return [row[0] for row in conn.execute(VANISHED_IDS, named)]

    def counts(self) -> dict[str, int]:
        """Return how many differences of each kind there were."""
        with self._store.connected() as conn:
            return dict(conn.execute(KINDS_FOUND, (self.id,)).fetchall())

    def left(self) -> int:
        """Return how many differences were not repaired."""
        with self._store.connected() as conn:
            return int(conn.execute(LEFT, (self.id,)).fetchone()[0])

    def days(self, box: Box) -> list[Day]:
        """Return the comparison by day."""
        with self._store.connected() as conn:
            rows = conn.execute(BY_DAY, {"verify_id": self.id, "box": box}).fetchall()
        return [Day(row[0], row[1], row[1] - row[2] + row[5], *row[2:]) for row in rows]

    def differences(self) -> Iterator[Difference]:
        """Yield every difference."""
        with self._store.connected() as conn:
            for box, number, day, what, repaired_at in conn.execute(DIFFERENCES, (self.id,)):
                yield Difference(box, number, day, what, repaired=repaired_at is not None)


def last_finished(store: Connected) -> datetime | None:
    """Return when the last run that came to its end was begun."""
    with store.connected() as conn:
        found = conn.execute(LAST).fetchone()
    return from_utc_text(found[0]) if found else None
