"""
Pull a box: of each device, or of the account as a whole where a probe has shown that this will do.

What fails for one device never stops the others. For what a box is asked is decided in `scope`;
which of the devices in a pass, in `turns`; what is asked of one, in `pull`.
"""

from collections.abc import Collection, Iterable, Sequence

import msgspec
import structlog

from semysync.errors import Refused, ServiceError, TooLarge, Unbounded, Unreadable
from semysync.mirror.store import Saved, Store
from semysync.mirror.tables.devices import KnownDevice
from semysync.mirror.tables.marks import WHOLE_ACCOUNT
from semysync.model import HIGHEST_ID, Box
from semysync.passes import scope as scopes
from semysync.passes.outcome import Outcome, is_hopeless
from semysync.passes.pull import MOST_LOOKED_BACK, Progress, Puller
from semysync.passes.scope import Scope, Standing
from semysync.passes.turns import Turns

log = structlog.get_logger("semysync")

MOST_UNREAD = 2  #: devices in a row without an answer that can be read; then the service is sick


class Boxes:
    """The boxes of one account; without `turns` it is always everyone's."""

    def __init__(self, store: Store, puller: Puller, *, scope: Scope, turns: Turns | None) -> None:
        self._store = store
        self._puller = puller
        self._scope = scope
        self._turns = turns

    def pull(self, box: Box, outcome: Outcome, *, everyone: bool) -> None:
        """Pull a box of each device whose turn it is, or of `everyone`; or of the whole account."""
        turns = None if everyone else self._turns
        devices = self._store.known_devices()
        if self._scope == "account":
            self._pull_account(box, devices, outcome, everyone=everyone)
            return
        standing = self.standing(box)
        if self._scope == "auto" and self._probe_is_due(box, standing, devices):
            self._pull_and_probe(box, standing, devices, outcome)
        elif standing.shown:
            asked = self._pull_as_a_whole(box, standing, devices, outcome, turns)
            if everyone and not outcome.failure:
                self._pull_hidden(box, devices, asked, outcome)
        else:
            self.pull_each(box, self._whose_turn(box, devices, turns), outcome)

    def _pull_account(
        self, box: Box, devices: Sequence[KnownDevice], outcome: Outcome, *, everyone: bool
    ) -> None:
        """Ask for the whole account, as configured; beside it for what an empty answer may hide."""
        whole = self.pull_each(box, {WHOLE_ACCOUNT: True}, outcome)
        if whole and (everyone or whole[0].shown == 0):
            self._pull_hidden(box, devices, set(), outcome)

    def _pull_hidden(
        self, box: Box, devices: Sequence[KnownDevice], asked: Collection[int], outcome: Outcome
    ) -> None:
        """
        Ask for each device that an answer for the whole account is not seen to stand for now.

        A draft that waits for a look goes out again by this, so it must not rest on a probe that
        was made hours ago, nor on the configuration's word. `asked` were already asked.
        """
        there = {device.id for device in devices if device.there}
        try:
            found = scopes.probe(self._puller.account, self._store, box, there)
        except ServiceError as exc:
            outcome.fail(f"{box}: ", exc)
            return
        seen = {*asked, *(found.shown - found.hidden)}
        hidden = {device.id: device.there for device in devices if device.id not in seen}
        self.pull_each(box, hidden, outcome)

    def _pull_as_a_whole(
        self,
        box: Box,
        standing: Standing,
        devices: Sequence[KnownDevice],
        outcome: Outcome,
        turns: Turns | None,
    ) -> Collection[int]:
        """
        Ask for the whole account, and beside it for devices for which that does not stand.

        Returns who was asked.
        """
        beside = [
            device
            for device in devices
            if device.id not in standing.shown or not self._store.mark(box, device.id).loaded_at
        ]
        asked = {WHOLE_ACCOUNT: True} | self._whose_turn(box, beside, turns)
        came_through = {
            progress.device_id: progress for progress in self.pull_each(box, asked, outcome)
        }
        whole = came_through.get(WHOLE_ACCOUNT)
        failed = isinstance(outcome.failure, Refused | Unbounded) and not is_hopeless(
            outcome.failure
        )
        if whole.shown == 0 if whole else failed:
            log.warning("scope.doubted", box=box, asked="by device, until a probe shows better")
            self._keep(box, scopes.doubted(self._puller.now()))
        return asked

    def _pull_and_probe(
        self, box: Box, standing: Standing, devices: Sequence[KnownDevice], outcome: Outcome
    ) -> None:
        """Ask for every device, and then whether asking for the whole account gives the same."""
        now = self._puller.now()
        self._keep(box, scopes.begun(standing, now))
        there = {device.id for device in devices if device.there}
        marks = [self._store.mark(box, number) for number in sorted(there)]
        newest = self._store.newest(box, WHOLE_ACCOUNT)
        thousandth = self._store.newest(box, WHOLE_ACCOUNT, skip=MOST_LOOKED_BACK)
        asked = {device.id: device.there for device in devices}
        came_through = self.pull_each(box, asked, outcome, far=True)
        if not there <= {progress.device_id for progress in came_through}:
            return
        try:
            found = scopes.probe(self._puller.account, self._store, box, there)
        except ServiceError as exc:
            log.info("scope.unproven", box=box, cause=str(exc))
            return
        filled = sum(self._store.newest(box, number) > 0 for number in there)
        concluded = scopes.settled(found, devices, filled, now)
        if concluded.shown and not standing.shown:
            mark = scopes.joined(marks, newest, thousandth, now, history=self._puller.history)
            self._store.save_mark(box, WHOLE_ACCOUNT, mark)
        self._keep(box, concluded)
        if bool(concluded.shown) != bool(standing.shown):
            log.info(
                "scope.changed", box=box, asked="as a whole" if concluded.shown else "by device"
            )

    def pull_each(
        self, box: Box, asked: dict[int, bool], outcome: Outcome, *, far: bool = False
    ) -> list[Progress]:
        """
        Pull a box of each device, by whether the account has it; return those that came through.

        A device that fails does not stop the others, unless there is no hope for them.
        """
        came_through = []
        unread, hopeless = {False: 0, True: 0}, False
        if box is Box.SENT:
            self._learn_newest(box, asked)
        # Those whose history is still being loaded first: a pass that is cut off again and again
        # must come to them. Nor must those that have it wait for them.
        loaded = {number: self._is_loaded(box, number) for number in asked}
        for device_id in sorted(asked, key=lambda number: loaded[number]):
            if unread[loaded[device_id]] == MOST_UNREAD:
                continue
            is_there = asked[device_id]
            progress = Progress(box, device_id)
            try:
                self._puller.pull(progress, far=far)
            except ServiceError as exc:
                if not isinstance(exc, Refused) or is_there or is_hopeless(exc):
                    where = f"{box} of device {device_id}: " if device_id else f"{box}: "
                    outcome.fail(where, exc)
                # else: a device that is gone may be asked for, but need not answer
                # A service that has answered, if by a no, is well enough to be asked for others.
                sick = isinstance(exc, Unreadable) and not isinstance(exc, TooLarge | Unbounded)
                unread[loaded[device_id]] += sick
                hopeless = is_hopeless(exc)
            else:
                came_through.append(progress)
                outcome.complete += 1
                unread[loaded[device_id]] = 0
            outcome.add(Saved(progress.added, progress.changed, progress.illegible))
            if self._turns:
                news = bool(progress.added or progress.changed)
                self._turns.asked(box, device_id, self._puller.now(), news=news)
            if hopeless:
                break
        return came_through

    def _learn_newest(self, box: Box, asked: Iterable[int]) -> None:
        """Learn the newest id of each that is not loaded yet: drafts wait for that, not for more."""
        for device_id in asked:
            try:
                self._puller.prepare(box, device_id)
            except ServiceError as exc:  # the pull itself will meet it, and tell
                if is_hopeless(exc) or not isinstance(exc, Refused):
                    return

    def _is_loaded(self, box: Box, device_id: int) -> bool:
        if device_id == WHOLE_ACCOUNT:
            return False
        return self._store.mark(box, device_id).loaded_at is not None

    def _whose_turn(
        self, box: Box, devices: Sequence[KnownDevice], turns: Turns | None
    ) -> dict[int, bool]:
        """Return the devices to ask now, each with whether the account has it."""
        there = {device.id: device.there for device in devices}
        if turns is None:
            return there
        return {number: there[number] for number in turns.next(box, devices, self._puller.now())}

    def _probe_is_due(self, box: Box, standing: Standing, devices: Iterable[KnownDevice]) -> bool:
        """Tell whether to make a probe in this pass: once all are loaded, and one has messages."""
        there = [device for device in devices if device.there]
        return (
            scopes.due(standing, scopes.roster(there), self._puller.now())
            and all(self._store.mark(box, device.id).loaded_at for device in there)
            and any(self._store.newest(box, device.id) for device in there)
        )

    def standing(self, box: Box) -> Standing:
        """Return what the last probe of a box came to; where that makes no sense, nothing."""
        if self._scope != "auto":
            return Standing()
        try:
            return msgspec.json.decode(self._store.setting(f"scope_{box}") or "{}", type=Standing)
        except msgspec.DecodeError:
            return Standing()

    def _keep(self, box: Box, standing: Standing) -> None:
        self._store.set_setting(f"scope_{box}", msgspec.json.encode(standing).decode())

    def begin_news(self, box: Box) -> None:
        """
        Note where news begins, as soon as a box is loaded of every device that there is.

        What comes later is news, also the first message of a new device. Until then a device that
        is loaded last may well hold newer history than those before it.
        """
        if self._store.history_to(box) < HIGHEST_ID or not self._store.last_complete("devices"):
            return
        there = [device.id for device in self._store.known_devices() if device.there]
        if self._scope == "account":  # of devices those that it was found to hide
            begun = [number for number in there if self._store.mark(box, number).top_id is not None]
            there = [WHOLE_ACCOUNT, *begun]
        if there and all(self._store.mark(box, number).loaded_at for number in there):
            self._store.begin_news(box)

    def index(self, box: Box, outcome: Outcome) -> None:
        """Make the indexes that a first load does without, once one has come through."""
        if outcome.failure is None:
            self._store.make_indexes(box)
