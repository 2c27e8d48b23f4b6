"""
Make the request that a claim is for, and say what it came to for each of its drafts.

One draft goes by `sms`, several go by `sms_more` and are paired with its answer by reference only.
A refusal is sure, and says something of the draft or of all at once (`due.Refusals`); whatever else
goes wrong has lost the answer.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import count
from typing import NamedTuple

from semysync.contact import dialled
from semysync.errors import AnswerLost, Refused, ServiceError, Throttled, Unreachable
from semysync.mirror.outbox.attempts import Lost, NotTaken, Result, Taken
from semysync.mirror.outbox.queue import Draft, wording
from semysync.mirror.outbox.sending import Claim
from semysync.model import Accepted, Outgoing
from semysync.passes.due import Refusals, pause_s
from semysync.passes.plan import over
from semysync.service.client import Client
from semysync.service.pace import Stopped
from semysync.times import utc_text

#: of a draft that was claimed in the moment in which the program was to end, or to begin anew
ENDED = "the program was ended before this was sent; it goes out as soon as it runs"


class Came(NamedTuple):
    """What a request came to; `give_back` names drafts whose earlier refusals do not count."""

    results: list[Result]
    give_back: Sequence[int] = ()


class Requests:
    """The requests to send of one run; what refusals mean is noted in `refusals`."""

    def __init__(
        self,
        client: Client,
        refusals: Refusals,
        *,
        clock: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        self._client = client
        self._refusals = refusals
        self._clock = clock
        self._now = now
        self._turn = count()

    def make(self, claim: Claim, devices: Sequence[str]) -> Came:
        """Make the request; drafts that name no device are spread over these."""
        outgoing = {draft.id: self._outgoing(draft, claim, devices) for draft in claim.drafts}
        try:
            if len(claim.drafts) == 1:
                (draft,) = claim.drafts
                return Came([Taken(draft.id, self._client.send(outgoing[draft.id]).id)])
            taken = self._client.send_many(list(outgoing.values()))
        except AnswerLost as exc:
            why = f"{exc}; the account is being searched for it"
            return Came([Lost(draft.id, why) for draft in claim.drafts])
        except (Refused, Unreachable) as exc:
            return self._refused(claim.drafts, exc)
        except Stopped:  # before there was a request: they go back as if they had not been claimed
            return Came(
                [
                    NotTaken(draft.id, ENDED, None, counts=False, never_left=True)
                    for draft in claim.drafts
                ]
            )
        return Came(_paired(claim.drafts, outgoing, taken))

    def _outgoing(self, draft: Draft, claim: Claim, devices: Sequence[str]) -> Outgoing:
        return Outgoing(
            device=draft.device or devices[next(self._turn) % len(devices)],
            phone=dialled(draft.phone, draft.contact),
            text=wording(draft.kind, draft.text),
            priority=draft.priority or None,
            reference=f"{claim.number}-{draft.id}",
        )

    def _refused(self, drafts: Sequence[Draft], exc: ServiceError) -> Came:
        """Say when drafts that were surely not taken are tried again, and whether that counts."""
        now = self._now()
        all_at_once = self._refusal_of_all(drafts, exc)
        give_back: list[int] = []
        if all_at_once:
            pause = exc.retry_after_s if isinstance(exc, Throttled) else None
            before = self._refusals.stop(all_at_once, self._clock(), pause or 0)
            give_back = [i for i in before if i not in {draft.id for draft in drafts}]
        else:
            self._refusals.why = None
        results: list[Result] = [
            NotTaken(
                draft.id,
                str(exc),
                utc_text(now + timedelta(seconds=pause_s(draft.attempts))),
                counts=not all_at_once,
                never_left=isinstance(exc, Unreachable),
            )
            for draft in drafts
        ]
        return Came(results, give_back)

    def _refusal_of_all(self, drafts: Sequence[Draft], exc: ServiceError) -> str | None:
        """Say what stands against sending anything; None where only these drafts are refused."""
        if isinstance(exc, Unreachable | Throttled):
            return str(exc)
        if isinstance(exc, Refused) and exc.bars_all:
            return f"{exc}; check the token, and `base_url` in the configuration"
        try:
            why = over(self._client.user())
        except Throttled:  # which says nothing of the account
            why = None
        except Refused as refused:
            why = f"{refused}; check the token, and the account in the service's control panel"
        except (ServiceError, Stopped):
            why = None
        in_a_row = [self._refusals.refused(draft.id) for draft in drafts]
        return why or (f"the service refuses every draft: {exc}" if any(in_a_row) else None)


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
