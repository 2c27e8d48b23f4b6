"""
Send what people have put into the outbox: never lost, never twice.

Read `Sender.step` first: it is the list of what is done, in this order. What to do is decided in
`due` (which drafts, from which phone, what refusals mean) and `lost` (whose a message is, what
becomes of a draft without one); here the drafts are claimed, the request is made, and what came of
it is recorded.

No draft is requested a second time before a complete look at the account that began after its
first request had ended: `looked` is told of those looks, by a clock that cannot jump.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from threading import Lock as Mutex

import msgspec
import structlog

from semysync.config import Send
from semysync.contact import dialled
from semysync.errors import AnswerLost, Refused, ServiceError, Throttled, Unreachable
from semysync.mirror.claims import Claims
from semysync.mirror.outbox import (
    CLAIMS,
    Claim,
    Draft,
    Due,
    Lost,
    NotTaken,
    Outbox,
    Result,
    Taken,
    Unknown,
    wording,
)
from semysync.mirror.store import Store
from semysync.mirror.times import utc_text
from semysync.model import Accepted, Box, Illegible, Outgoing
from semysync.passes.due import QuietHours, Refusals, pause_s, senders
from semysync.passes.lost import Found, Habits, fate, search
from semysync.passes.plan import over
from semysync.service.client import Client
from semysync.service.questions import Ids

log = structlog.get_logger("semysync")

AGREE_S = 300  #: by so much two clocks that agree may differ
SWEEP_S = 10  #: how often what only time changes is seen to
ASKED_ABOUT = 50  #: ids in one question

ON_HOLD = (
    "the answer was lost and the account shows no message of it: set its status to queued to send "
    "it (it may be the second), or to cancelled to give it up"
)

BLOCKED, LATENESS, HABITS = "sending_blocked", "greatest_lateness_s", "habits"


def recover(outbox: Outbox, claims: Claims, now: datetime) -> bool:
    """
    See what an earlier run, or another host, has left behind; return whether the mirror is restored.

    Needs the right to send, and must come before the first pull: what that brings may be the
    messages of drafts that are still open here.
    """
    if lost := outbox.lose_what_was_sending(now):
        log.warning("drafts.unknown", drafts=lost, cause="the daemon was ended while sending")
    if claims.agree_with(int(outbox.setting(CLAIMS) or 0)):
        return False
    log.warning(
        "mirror.restored",
        drafts=outbox.doubt_open_drafts(),
        meaning="this mirror was restored or moved; nothing is sent before a complete pull, and "
        "open drafts are searched for in the account first",
    )
    return True


class Sender:
    """
    The sending side of one account, for one thread; `looked` may be called from another.

    `ahead_s` tells by how much our clock is ahead of the service's, `hasten` asks for a look at the
    account soon. `clock` never jumps, `now` is the time of day. What was tried before this run
    counts as ended when it began, or at `since`.
    """

    def __init__(
        self,
        outbox: Outbox,
        claims: Claims,
        client: Client,
        config: Send,
        *,
        store: Store,
        ahead_s: Callable[[], float | None],
        hasten: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        since: float | None = None,
    ) -> None:
        self._outbox = outbox
        self._claims = claims
        self._client = client
        self._config = config
        self._store = store
        self._ahead_s = ahead_s
        self._hasten = hasten
        self._clock = clock
        self._now = now
        self._quiet = QuietHours.read(config.quiet_hours)
        self._refusals = Refusals()
        self._turn = count()
        self._habits = _habits(outbox.setting(HABITS))
        self._lateness_s = float(outbox.setting(LATENESS) or 0)
        self._looks: deque[float] = deque()
        self._mutex = Mutex()
        # By draft, of those that were tried: when that ended, and the complete looks begun since.
        self._ended: dict[int, float] = {}
        self._looks_since: dict[int, int] = {}
        # By message, of those whose id the service named: what was sent, when, and whether a
        # complete look has missed it.
        self._named: dict[int, tuple[str, str, float, bool]] = {}
        self._doubtful: dict[int, list[int]] = {}
        self._searched_to: int | None = None
        self._began = clock() if since is None else since
        self._swept = float("-inf")
        self.taken = 0  #: drafts that the service took
        self.restored = False  #: nothing is sent before a complete look

    def start(self) -> None:
        """See what an earlier run has left behind, before anything is sent."""
        self.restored = recover(self._outbox, self._claims, self._now())
        self._say_blocked(None)
        if self.wants_looks():
            self._hasten()

    def wants_looks(self) -> bool:
        """Tell whether a draft waits for a look at the account, at every device of it."""
        return bool(self.restored or self._outbox.unknown() or self._outbox.waiting_for_a_look())

    def looked(self, began: float) -> None:
        """Note a complete look at all that the account has sent, which began at this time."""
        with self._mutex:
            self._looks.append(began)

    def step(self) -> bool:
        """Do what there is to do now; tell whether there may be more at once."""
        self._search_news()
        self._take_looks()
        self._sweep()
        self._cancel()
        return self._send()

    def next_time_s(self) -> float:
        """Return in how many seconds there may be something to do, if nobody writes till then."""
        wait = float(SWEEP_S)
        at = self._outbox.next_time(self._now())
        if at:
            wait = min(wait, (at - self._now()).total_seconds())
        if self._refusals.why and not self._refusals.may_try(self._clock()):
            wait = min(wait, self._refusals.until_s - self._clock())
        return max(wait, 0.0)

    # Looks at the account, and what they show.

    def _take_looks(self) -> None:
        """Let each look count for the drafts whose request had ended before it began."""
        while True:
            with self._mutex:
                if not self._looks:
                    return
                began = self._looks.popleft()
            if self.restored:
                self._claims.note(int(self._outbox.setting(CLAIMS) or 0))
                self.restored = False
            self._learn(began)
            self._search()
            open_ones = {draft.id for draft in self._outbox.unknown()}
            open_ones.update(self._outbox.waiting_for_a_look())
            for draft_id in open_ones:
                if began >= self._ended.get(draft_id, self._began):
                    self._looks_since[draft_id] = self._looks_since.get(draft_id, 0) + 1
            for draft_id in [i for i in self._looks_since if i not in open_ones]:
                del self._looks_since[draft_id]
            self._settle()

    def _learn(self, began: float) -> None:
        """See how messages whose ids were named are shown, and how late."""
        shown = self._outbox.shown(list(self._named))
        habits, lateness = self._habits, self._lateness_s
        for message_id, (phone, text, ended, missed) in list(self._named.items()):
            if message_id in shown:
                habits = habits.after(phone, text, *shown[message_id])
                if missed:
                    lateness = max(lateness, self._clock() - ended)
                del self._named[message_id]
            elif began >= ended:
                self._named[message_id] = (phone, text, ended, True)
        for message_id in list(islice(self._named, max(0, len(self._named) - 10_000))):
            del self._named[message_id]
        if _kinds(habits) != _kinds(self._habits):
            self._outbox.set_setting(HABITS, msgspec.json.encode(habits).decode())
        self._habits = habits
        if lateness > self._lateness_s:
            self._lateness_s = lateness
            self._outbox.set_setting(LATENESS, f"{lateness:.0f}")
            log.warning(
                "messages.late", seconds=round(lateness), meaning="lost answers settle later"
            )

    def _search_news(self) -> None:
        """
        Search what has come since the last search, if anything has.

        Also a look that fails halfway brings messages: none of them may be sent again.
        """
        if self._outbox.newest_arrival() != self._searched_to:
            self._search()

    def _search(self) -> None:
        """Find the messages of drafts whose answers were lost."""
        self._searched_to = self._outbox.newest_arrival()
        self._doubtful = {}
        attempts, candidates = self._outbox.evidence()
        if not attempts:
            return
        found = search(attempts, candidates, self._habits)
        self._outbox.adopt(found.adopted, found.doubled)
        for draft_id, message_id in found.adopted.items():
            log.info("draft.found", draft=draft_id, message=message_id)
        for draft_id, message_ids in found.doubled.items():
            log.warning("draft.doubled", draft=draft_id, messages=message_ids)
        self._show_doubts(found)

    def _show_doubts(self, found: Found) -> None:
        unknown = {draft.id: draft for draft in self._outbox.unknown()}
        self._doubtful = {i: ids for i, ids in found.doubtful.items() if i in unknown}
        sentences = {draft_id: _doubt(ids) for draft_id, ids in self._doubtful.items()}
        fresh = {i: s for i, s in sentences.items() if unknown[i].error != s}
        if fresh:
            self._outbox.say(fresh)
            log.warning("drafts.doubtful", drafts=sorted(fresh), meaning="a person must decide")

    def _settle(self) -> None:
        """End the search for drafts of which the account shows nothing, where it is time."""
        settle_s = max(self._config.settle_s, 2 * self._lateness_s)
        for draft in self._outbox.unknown():
            decided = fate(
                looks=self._looks_since.get(draft.id, 0),
                waited_s=self._clock() - self._ended.get(draft.id, self._began),
                settle_s=settle_s,
                lost_answer="hold"
                if draft.attempts >= self._config.max_attempts
                else self._config.lost_answer,
                kind=draft.kind,
                doubtful=draft.id in self._doubtful,
                cancel_wanted=draft.cancel_wanted,
                expired=self._may_expire()
                and self._outbox.is_expired(draft.id, self._now(), self._config.lifetime_s),
            )
            self._end_search(draft, decided)

    def _end_search(self, draft: Unknown, decided: str) -> None:
        match decided:
            case "queue" if draft.held:
                self._outbox.settle(draft.id, "held", "the account shows no message of it")
            case "queue":
                self._outbox.settle(draft.id, "queued", None)
                log.info("draft.not_found", draft=draft.id, then="it is sent again")
            case "expire":
                why = "its time passed, and the account shows no message of it"
                self._outbox.settle(draft.id, "expired", why)
            case "cancel":
                why = "cancelled; the account shows no message of it"
                self._outbox.settle(draft.id, "cancelled", why)
            case "hold" if draft.held:
                self._outbox.settle(draft.id, "held", "the account shows no message of it")
            case "hold":
                if draft.error != ON_HOLD:
                    self._outbox.say({draft.id: ON_HOLD})
                    log.warning("draft.on_hold", draft=draft.id, meaning="a person must decide")

    # What only time changes.

    def _sweep(self) -> None:
        now_s = self._clock()
        if now_s - self._swept < SWEEP_S:
            return
        self._swept = now_s
        if self._may_expire():
            expired = self._outbox.expire(self._now(), self._config.lifetime_s)
            if expired:
                log.warning("drafts.expired", drafts=expired)
        self._settle()
        self._outbox.thin_out(self._now())
        if self.wants_looks():
            self._hasten()

    def _may_expire(self) -> bool:
        """Tell whether our clock agrees with the service's: a draft must not die of a wrong one."""
        ahead = self._ahead_s()
        return ahead is not None and abs(ahead) <= AGREE_S

    def _clock_is_wrong(self) -> bool:
        ahead = self._ahead_s()
        return ahead is not None and abs(ahead) > AGREE_S

    # Sending.

    def _send(self) -> bool:
        """Send what goes out in one request; tell whether there may be more."""
        if self.restored or not self._refusals.may_try(self._clock()):
            return False
        known, complete = self._outbox.state_of_box()
        devices = self._devices()
        due = self._due(device_at_hand=bool(devices))
        if due.batch < 1 or not self._outbox.anything_due(due):
            if self._refusals.why and not self._outbox.anything_queued():
                self._refusals.taken()  # nothing is stopped any more
                self._say_blocked(None)
            return False
        if not known:
            self._hasten()
            return False
        claim = self._outbox.claim(due, complete=complete)
        if claim is None:
            return self._outbox.anything_unseen()
        self._claims.note(claim.number)
        self._record(claim, self._request(claim, devices))
        return True

    def _due(self, *, device_at_hand: bool) -> Due:
        now = self._now()
        batch = 1 if self._refusals.why else self._config.batch
        if self._config.per_minute:
            lately = self._outbox.accepted_since(now - timedelta(minutes=1))
            batch = min(batch, self._config.per_minute - lately)
        return Due(
            now=now,
            batch=batch,
            quiet=bool(self._quiet and self._quiet.hold(now)),
            device_at_hand=device_at_hand,
            clock_right=not self._clock_is_wrong(),
            looked=sorted(self._looks_since),
        )

    def _devices(self) -> list[str]:
        """Return the devices for drafts that name none, as the service takes them."""
        match self._config.device:
            case "auto":
                return [str(number) for number in senders(self._outbox.phones())]
            case list() as ids:
                return [",".join(map(str, ids))] if ids else []
            case named:
                return [str(named)]

    def _request(self, claim: Claim, devices: Sequence[str]) -> list[Result]:
        """Make the request, and say what it came to for each draft."""
        outgoing = {draft.id: self._outgoing(draft, claim, devices) for draft in claim.drafts}
        try:
            if len(claim.drafts) == 1:
                (draft,) = claim.drafts
                return [Taken(draft.id, self._client.send(outgoing[draft.id]).id)]
            taken = self._client.send_many(list(outgoing.values()))
        except AnswerLost as exc:
            why = f"{exc}; the account is being searched for it"
            return [Lost(draft.id, why) for draft in claim.drafts]
        except (Refused, Unreachable) as exc:
            return self._refused(claim.drafts, exc)
        return _paired(claim.drafts, outgoing, taken)

    def _outgoing(self, draft: Draft, claim: Claim, devices: Sequence[str]) -> Outgoing:
        return Outgoing(
            device=draft.device or devices[next(self._turn) % len(devices)],
            phone=dialled(draft.phone, draft.contact),
            text=wording(draft.kind, draft.text),
            priority=draft.priority or None,
            reference=f"{claim.number}-{draft.id}",
        )

    def _refused(self, drafts: Sequence[Draft], exc: ServiceError) -> list[Result]:
        """Say when drafts that were surely not taken are tried again, and whether that counts."""
        now = self._now()
        all_at_once = self._refusal_of_all(drafts, exc)
        if all_at_once:
            pause = exc.retry_after_s if isinstance(exc, Throttled) else None
            before = self._refusals.stop(all_at_once, self._clock(), pause or 0)
            self._outbox.give_back([i for i in before if i not in {d.id for d in drafts}])
            self._say_blocked(all_at_once)
        else:
            self._refusals.why = None
        results: list[Result] = []
        for draft in drafts:
            wait = timedelta(seconds=pause_s(draft.attempts))
            results.append(
                NotTaken(
                    draft.id,
                    str(exc),
                    utc_text(now + wait),
                    counts=not all_at_once,
                    never_left=isinstance(exc, Unreachable),
                )
            )
        return results

    def _refusal_of_all(self, drafts: Sequence[Draft], exc: ServiceError) -> str | None:
        """Say what stands against sending anything; None where only these drafts are refused."""
        if isinstance(exc, Unreachable | Throttled):
            return str(exc)
        if isinstance(exc, Refused) and exc.code in {"401", "403", "404"}:
            return f"{exc}; check the token, and `base_url` in the configuration"
        try:
            why = over(self._client.user())
        except Refused as refused:
            why = f"{refused}; check the token, and the account in the service's control panel"
        except ServiceError:
            why = None
        in_a_row = [self._refusals.refused(draft.id) for draft in drafts]
        return why or (f"the service refuses every draft: {exc}" if any(in_a_row) else None)

    def _record(self, claim: Claim, results: Sequence[Result]) -> None:
        ended = self._clock()
        for draft in claim.drafts:
            self._ended[draft.id] = ended
            self._looks_since.pop(draft.id, None)
        stored = self._outbox.record(
            results, now=self._now(), max_attempts=self._config.max_attempts
        )
        drafts = {draft.id: draft for draft in claim.drafts}
        lost = []
        for result in stored:
            draft = drafts[result.draft_id]
            match result:
                case Taken(draft_id, message_id):
                    phone = dialled(draft.phone, draft.contact)
                    text = wording(draft.kind, draft.text)
                    self._named[message_id] = (phone, text, ended, False)
                    del self._ended[draft_id]
                    self._refusals.taken()
                case NotTaken(draft_id, why, _, counts):
                    log.warning("draft.refused", draft=draft_id, why=why, counts=counts)
                case Lost(draft_id, _):
                    lost.append(draft_id)
        if not self._refusals.why:
            self._say_blocked(None)
        if lost:
            log.warning("drafts.unknown", drafts=lost, cause=_cause(stored))
        if lost or any(isinstance(result, NotTaken) for result in stored):
            self._hasten()
        if taken := sum(isinstance(result, Taken) for result in stored):
            self.taken += taken
            log.info("drafts.accepted", drafts=taken)

    def _say_blocked(self, why: str | None) -> None:
        """Let `status` and `health` say that nothing can be sent, and why."""
        before = self._outbox.setting(BLOCKED)
        if (before or None) == why:
            return
        self._outbox.set_setting(BLOCKED, why)
        if why:
            log.error("sending.stopped", why=why)
        elif before:
            log.info("sending.resumed")

    # Cancelling.

    def _cancel(self) -> None:
        """Ask for what is to be cancelled, and then see in the rows what really was."""
        wanted = self._outbox.cancelling(self._now())
        if not wanted:
            return
        said: dict[int, str] = {}
        for draft in wanted:
            try:
                self._client.cancel(draft.message_id)
                said[draft.id] = "the service was asked to cancel it, and has not done so yet"
            except ServiceError as exc:
                said[draft.id] = f"the service has not cancelled it: {exc}"
        self._read_again([draft.message_id for draft in wanted])
        for draft in wanted:
            again = self._now() + timedelta(seconds=30)
            self._outbox.put_off_cancel(draft.id, said[draft.id], again)

    def _read_again(self, message_ids: Sequence[int]) -> None:
        """Read messages again, and the others that wait: a cancel may have hit those as well."""
        by_device: dict[int | None, list[int]] = {}
        waiting = self._store.waiting_messages(ASKED_ABOUT)
        for message_id in dict.fromkeys([*message_ids, *waiting]):
            by_device.setdefault(waiting.get(message_id), []).append(message_id)
        for device_id, ids in by_device.items():
            for some in _by(ASKED_ABOUT, ids):
                try:
                    rows = list(self._client.sent(Ids(some), device_id))
                except ServiceError as exc:
                    log.warning("cancel.not_seen", error=str(exc))
                    return
                kept = [row for row in rows if not isinstance(row, Illegible) and row.id in some]
                self._store.save(Box.SENT, kept, now=self._now())


def _by(size: int, ids: Sequence[int]) -> Iterator[tuple[int, ...]]:
    return (tuple(ids[first : first + size]) for first in range(0, len(ids), size))


def _paired(
    drafts: Sequence[Draft], outgoing: Mapping[int, Outgoing], taken: Mapping[str, Accepted]
) -> list[Result]:
    """Pair the answer to a batch with its drafts, by reference only."""
    named = {draft.id: taken.get(outgoing[draft.id].reference or "") for draft in drafts}
    ids = [accepted.id for accepted in named.values() if accepted]
    return [
        Taken(draft_id, accepted.id)
        if accepted and ids.count(accepted.id) == 1
        else Lost(draft_id, "the answer does not name its message; the account is being searched")
        for draft_id, accepted in named.items()
    ]


def _doubt(message_ids: Sequence[int]) -> str:
    shown = ", ".join(map(str, message_ids[:5])) + (" …" if len(message_ids) > 5 else "")
    return (
        f"the answer was lost, and the account shows a message to this number that may be it "
        f"(sent {shown}): if it is not, set the status to queued to send it again, else to cancelled"
    )


def _cause(results: Sequence[Result]) -> str:
    return next((result.why for result in results if isinstance(result, Lost)), "")


def _habits(text: str | None) -> Habits:
    try:
        return msgspec.json.decode(text or "{}", type=Habits)
    except msgspec.DecodeError:
        return Habits()


def _kinds(habits: Habits) -> tuple[object, ...]:
    """Return what of the habits is worth a write: not each count of more of the same."""
    return tuple(
        min(value, 3)
        if isinstance(value, int) and name not in {"longest_kept", "cut_at"}
        else value
        for name, value in msgspec.structs.asdict(habits).items()
    )
