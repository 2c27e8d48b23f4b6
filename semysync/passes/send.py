"""
Send what people have put into the outbox: never lost, never twice.

Read `Sender.step` first: it is the list of what is done, in this order. What goes out when, and
what refusals mean, is decided in `due`; `request` makes the request; `search` looks for drafts
whose answers were lost, by the rules of `lost`; `cancel` cancels. Here drafts are claimed, and what
came of them is recorded.
"""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import structlog

from semysync.config import Send
from semysync.contact import dialled
from semysync.mirror.copies.takeover import ANOTHER_SENDS, TAKEN_OVER
from semysync.mirror.outbox.attempts import Lost, NotTaken, Result, SentElsewhere, Taken
from semysync.mirror.outbox.claims import Claims
from semysync.mirror.outbox.evidence import Evidence
from semysync.mirror.outbox.queue import Due, wording
from semysync.mirror.outbox.sending import CLAIMS, Claim, Outbox
from semysync.mirror.store import Store
from semysync.model import Phone
from semysync.passes.cancel import cancel_wanted
from semysync.passes.due import SLOW, QuietHours, Refusals, Rests, ids_in, senders
from semysync.passes.request import ENDED, Came, Requests
from semysync.passes.search import Search
from semysync.service.client import Client
from semysync.times import AGREE, utc_text

log = structlog.get_logger("semysync")

AWAY = timedelta(minutes=1)  #: since the account was looked at: sooner nobody takes over
LOOK_FIRST_S = 120  #: so long who was away waits for a look at the account, before it sends
SOON_KNOWN_S = 60  #: so long the newest messages may stay unknown before that is told
SWEEP_S = 10  #: how often what only time changes is seen to

BLOCKED = "sending_blocked"  #: the key in `settings` of what stands against sending anything
QUIET = "quiet_until"  #: the key of when quiet hours end, while they last


def recover(outbox: Outbox, claims: Claims, now: datetime) -> bool:
    """
    See what an earlier run, or another host, has left behind; return whether the mirror is
    restored.

    Needs the right to send, and must come before the first pull: what that brings may be the
    messages of drafts that are still open here.
    """
    evidence = Evidence(outbox)
    if lost := evidence.lose_what_was_sending(now):
        log.warning("drafts.unknown", drafts=lost, cause="the daemon was ended while sending")
    claimed = outbox.claimed()
    if claimed is None and claims.is_new():
        # From here on a copy can be told from a new mirror, also one that has never sent anything.
        claims.note(0)
        outbox.set_setting(CLAIMS, "0")
        return False
    last, before = claimed or (0, None)
    if claims.agree_with(last, before):
        # A claim that a full disk kept from being noted never went out. It is noted before there
        # is another one: of a mirror that is two ahead nobody could tell that it is no copy.
        claims.note(last)
        return False
    log.warning(
        "mirror.restored",
        drafts=evidence.doubt_open_drafts(),
        meaning="this mirror was restored or moved; nothing is sent before a complete pull, and "
        "open drafts are searched for in the account first",
    )
    return True


def was_away(outbox: Outbox, now: datetime) -> bool:
    """
    Tell whether nobody has looked at the account for so long that another may have taken over.

    Needs to be asked before the first pull. What is not loaded yet nobody has ever sent from.
    """
    _, complete = outbox.state_of_box()
    looked_at = outbox.looked_at()
    return complete and looked_at is not None and not timedelta(0) <= now - looked_at <= AWAY


class Sender:
    """
    The sending side of one account, for one thread; `looked` may be called from another.

    `ahead_s` tells by how much our clock is ahead of the service's, `hasten` asks for a look at the
    account soon; `stopped` says what stands against sending anything, if something does. Who was
    away `looks_first`: another machine may have sent meanwhile. `clock` never jumps, `now` is the
    time of day. What was tried before this run counts as ended when it began, or at `since`.
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
        stopped: Callable[[], str | None] = lambda: None,
        looks_first: bool = False,
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
        self._stopped = stopped
        self._clock = clock
        self._now = now
        self._quiet = QuietHours.read(config.quiet_hours)
        self._refusals = Refusals()
        self._rests = Rests()
        self._requests = Requests(client, self._refusals, clock=clock, now=now)
        self._search = Search(
            outbox,
            config,
            clock=clock,
            now=now,
            may_expire=self._may_expire,
            began=clock() if since is None else since,
        )
        self._swept = float("-inf")
        self._unknown_since_s: float | None = None
        self._patient_until_s = self._clock() + LOOK_FIRST_S if looks_first else float("-inf")
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
        return self.wants_first_look() or self._search.wants_looks()

    def wants_first_look(self) -> bool:
        """Tell whether nothing is sent before a look at the account, at every device of it."""
        return self.restored or self._is_patient()

    def looked(self, began: float) -> None:
        """Note a complete look at all that the account has sent, which began at this time."""
        self._search.looked(began)

    def step(self) -> bool:
        """Do what there is to do now; tell whether there may be more at once."""
        self._search.search_news()
        self._take_looks()
        self._sweep()
        cancel_wanted(self._outbox, self._client, self._store, self._now)
        return self._config.enabled and self._send()

    def next_time_s(self) -> float:
        """Return in how many seconds there may be something to do, if nobody writes till then."""
        wait = float(SWEEP_S)
        if (due_s := self._outbox.next_time_s(self._now())) is not None:
            wait = min(wait, due_s)
        if (rest_s := self._rests.rest_s(self._clock())) is not None:
            wait = min(wait, rest_s)
        if self._refusals.why and not self._refusals.may_try(self._clock()):
            wait = min(wait, self._refusals.until_s - self._clock())
        return max(wait, 0.0)

    # What was seen, and what only time changes.

    def _take_looks(self) -> None:
        if not self._search.take_looks():
            return
        self._patient_until_s = float("-inf")
        if self.restored:
            self._claims.note(int(self._outbox.setting(CLAIMS) or 0))
            self.restored = False

    def _is_patient(self) -> bool:
        """Tell whether it waits for its first look, since another may have sent in our absence."""
        return self._clock() < self._patient_until_s

    def _sweep(self) -> None:
        now_s = self._clock()
        if now_s - self._swept < SWEEP_S:
            return
        self._swept = now_s
        if self._may_expire():
            expired = self._outbox.expire(self._now(), self._config.lifetime_s)
            if expired:
                log.warning("drafts.expired", drafts=expired)
        self._search.settle()
        self._outbox.thin_out(self._now())
        if self.wants_looks() or self._unknown_since_s is not None:
            self._hasten()

    def _may_expire(self) -> bool:
        """Tell whether our clock agrees with the service's: a draft must not die of a wrong one."""
        ahead = self._ahead_s()
        return ahead is not None and abs(ahead) <= AGREE.total_seconds()

    def _clock_is_wrong(self) -> bool:
        ahead = self._ahead_s()
        return ahead is not None and abs(ahead) > AGREE.total_seconds()

    # Sending.

    def _send(self) -> bool:
        """Send what goes out in one request; tell whether there may be more."""
        stopped = self._what_stops()
        self._say_blocked(stopped or self._refusals.why or self._what_is_not_known())
        quiet_until = self._quiet.until(self._now()) if self._quiet else None
        self._outbox.set_setting(QUIET, utc_text(quiet_until) if quiet_until else None)
        if stopped or self.wants_first_look() or not self._refusals.may_try(self._clock()):
            return False
        known, complete = self._outbox.state_of_box()
        phones = self._outbox.phones()
        devices = self._devices(phones)
        due = self._due(devices, [str(phone.id) for phone in phones if phone.channel in SLOW])
        if due.batch < 1 or not self._outbox.anything_due(due):
            self._unknown_since_s = None  # nobody waits for it
            if self._refusals.why and not self._outbox.anything_queued():
                self._refusals.taken()  # nothing is stopped any more
                self._say_blocked(None)
            return False
        if not known:
            if self._unknown_since_s is None:
                self._unknown_since_s = self._clock()
                self._hasten()
            return False
        self._unknown_since_s = None
        try:
            claim = self._outbox.claim(due, complete=complete)
        except SentElsewhere as elsewhere:
            self._outbox.tell_fenced(ANOTHER_SENDS, elsewhere.sentence, "account", self._now())
            return True
        if claim is None:
            return self._outbox.anything_unseen()
        self._claims.note(claim.number)
        came = self._requests.make(claim, devices)
        for draft in claim.drafts:
            device = draft.device or devices[0]
            if not set(due.slow).isdisjoint(ids_in(device)):
                self._rests.handed(device, self._clock())
        self._record(claim, came)
        return True

    def _what_stops(self) -> str | None:
        """Say what stands against sending, from outside; another machine that sends is told once."""
        seen = self._outbox.setting(ANOTHER_SENDS) or None
        stopped = self._stopped() or seen
        if stopped and TAKEN_OVER in stopped and not seen:
            self._outbox.tell_fenced(ANOTHER_SENDS, stopped, "replica", self._now())
        return stopped

    def _what_is_not_known(self) -> str | None:
        """Say what is waited for, where that takes long; soon after a start it is no trouble."""
        since_s = self._unknown_since_s
        if since_s is None or self._clock() - since_s < SOON_KNOWN_S:
            return None
        return (
            "nothing is sent before the newest message of every device is known, which the service "
            "does not tell of each: `semysync status` shows what fails"
        )

    def _due(self, devices: Sequence[str], slow: Sequence[str]) -> Due:
        """Say what may go out now, if to these devices where a draft names none."""
        now = self._now()
        resting = self._rests.resting(slow, self._clock())
        may_go_to = [set(ids_in(device)) for device in devices]
        one_at_a_time = self._refusals.why or not all(map(set(slow).isdisjoint, may_go_to))
        batch = 1 if one_at_a_time else self._config.batch
        if self._config.per_minute:
            lately = self._outbox.sent_between(now - timedelta(minutes=1), now)
            batch = min(batch, self._config.per_minute - lately)
        return Due(
            now=now,
            batch=batch,
            quiet=bool(self._quiet and self._quiet.hold(now)),
            device_at_hand=any(map(set(resting).isdisjoint, may_go_to)),
            clock_right=not self._clock_is_wrong(),
            looked=self._search.looked_for(),
            refused=self._refusals.tried,
            slow=slow,
            resting=resting,
            lifetime_s=self._config.lifetime_s if self._may_expire() else None,
        )

    def _devices(self, phones: Sequence[Phone]) -> list[str]:
        """Return the devices for drafts that name none, as the service takes them."""
        match self._config.device:
            case "auto":
                return [str(number) for number in senders(phones)]
            case list() as ids:
                return [",".join(map(str, ids))] if ids else []
            case named:
                return [str(named)]

    def _record(self, claim: Claim, came: Came) -> None:
        """Store what a request came to, and note it for what follows."""
        self._search.tried([draft.id for draft in claim.drafts])
        stored = self._outbox.record(
            came.results,
            now=self._now(),
            max_attempts=self._config.max_attempts,
            give_back=came.give_back,
        )
        drafts = {draft.id: draft for draft in claim.drafts}
        for result in stored:
            if isinstance(result, Taken):
                draft = drafts[result.draft_id]
                phone, text = dialled(draft.phone, draft.contact), wording(draft.kind, draft.text)
                self._search.named(draft.id, result.message_id, phone, text)
                self._refusals.taken()
        self._say_blocked(self._refusals.why)
        if not all(isinstance(result, Taken) for result in stored):
            self._hasten()
        self._tell(stored)

    def _tell(self, stored: Sequence[Result]) -> None:
        lost = [result for result in stored if isinstance(result, Lost)]
        if lost:
            ids = [result.draft_id for result in lost]
            log.warning("drafts.unknown", drafts=ids, cause=lost[0].why)
        for result in stored:
            if isinstance(result, NotTaken) and result.why != ENDED:
                log.warning(
                    "draft.refused", draft=result.draft_id, why=result.why, counts=result.counts
                )
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
        else:
            log.info("sending.resumed")
