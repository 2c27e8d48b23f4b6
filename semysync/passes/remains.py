"""What of that which was to be deleted is still at the service: asked by ids, and by dates."""

from array import array
from collections.abc import Collection
from datetime import datetime

from semysync.mirror.store import Store
from semysync.mirror.tables.purges import OpenPurge
from semysync.model import Box, Received, Sent
from semysync.passes.look import FIRST_WIDTH, Look, Shown
from semysync.passes.pull import ask_until_answered, parted
from semysync.passes.refresh import LIST_SIZE, proves_absent
from semysync.service.client import Answer, Client
from semysync.service.questions import MOST_IDS, Dates, Ids, Range


class Remains:
    """
    Looks at what a purge has left, or has yet before it.

    `list_size` is how many ids a list of sent messages may have: who is refused one makes it less.
    """

    def __init__(self, client: Client, store: Store) -> None:
        self._client = client
        self._store = store
        self.list_size = int(store.setting(LIST_SIZE) or MOST_IDS)

    def of(self, purge: OpenPurge) -> set[int]:
        """Return which messages of a deletion are still shown, or not proven to be gone."""
        shown, unproven = self._still_there(purge.box, purge.device_id, purge.ids)
        if unproven:  # by the dates as well: so they were shown before
            answer = self._client.inbox(_named(purge), self._askable(purge.device_id))
            there = _ids(answer)
            shown |= set(there) & unproven
            unproven = {i for i in unproven if not proves_absent(i, there, more=answer.more)}
        return shown | unproven

    def _askable(self, device_id: int) -> int | None:
        """Return a device, None where it is gone: it may not be asked for by name any more."""
        return device_id if self._store.device_ids().get(device_id) else None

    def still_shown(self, box: Box, device_id: int, ids: Collection[int]) -> set[int]:
        """
        Return which messages the service still shows, by ids alone.

        An answer may be cut: what it does not show is asked for until nothing more is shown.
        """
        return self._still_there(box, device_id, ids)[0]

    def _still_there(
        self, box: Box, device_id: int, ids: Collection[int]
    ) -> tuple[set[int], set[int]]:
        """Return which messages the service still shows, and which others it may."""
        shown, unproven = set[int](), set[int]()
        lists = [sorted(ids)]
        device = self._askable(device_id)
        while lists:
            asked = lists.pop()
            if box is Box.SENT and len(asked) > self.list_size:
                lists += [asked[self.list_size :], asked[: self.list_size]]
                continue
            end = asked[-1] + 1
            answer = (
                self._client.inbox(Range(max(1, asked[0] - 1), end), device)
                if box is Box.INBOX
                else self._client.sent(Ids(tuple(asked)), device)
            )
            there = _ids(answer)
            came = set(there) & set(asked)
            shown |= came
            rest = [number for number in asked if number not in came]
            if box is Box.SENT or came:
                lists += [rest] if rest and came else []
                continue
            rest = [i for i in rest if not proves_absent(i, there, more=answer.more)]
            half = len(rest) // 2
            if len(asked) > 1 and there and there[-1] <= end:
                lists += [some for some in (rest[half:], rest[:half]) if some]
            else:  # newer ones than were asked for may have left no room for them
                unproven.update(rest)
        return shown, unproven

    def whole(self, box: Box) -> "array[int]":
        """List a box from end to end, of every device that the account has; return all ids."""
        ids = array("q")
        for device in self._store.known_devices():
            if not device.there:
                continue
            start = max(0, self._store.oldest(box, device.id, above=0) - 1)
            look = Look(start, self._store.newest(box, device.id), width=FIRST_WIDTH)
            while not look.done:
                question, answer = ask_until_answered(self._client, look, box, device.id, tries=0)
                messages, illegible = parted(answer)
                shown = sorted(message.id for message in messages)
                size = len(messages) + len(illegible)
                look.learn(question, Shown(shown, size, answer.more))
                ids.extend(shown)
        return array("q", sorted(ids))


def _named(purge: OpenPurge) -> Range:
    """Return the ids and dates by which a deletion named messages of the inbox."""
    start, end = (datetime.fromisoformat(purge.asked[f"date_{side}"]) for side in ("start", "end"))
    return Range(int(purge.asked["start_id"]), int(purge.asked["end_id"]), Dates(start, end))


def _ids(answer: Answer[Received] | Answer[Sent]) -> list[int]:
    return sorted(message.id for message in parted(answer)[0])
