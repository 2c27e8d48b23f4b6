"""
What becomes of a request to send: its messages are looked at, given a device, and taken or refused.

Which are refused, and whether all of their batch with them, is for the switches to say. Nothing
here is locked: the account sees to that.
"""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Literal

from semysync.sandbox.devices import Device
from semysync.sandbox.filters import id_list
from semysync.sandbox.refusals import Refusal
from semysync.sandbox.rows import Row
from semysync.sandbox.sending import Ledger, Made, Parcel, check_parcel
from semysync.sandbox.switches import Switches


class Desk:
    """Takes messages for sending, remembers them, and counts what the plan has left."""

    def __init__(self, devices: Mapping[int, Device], switches: Switches) -> None:
        self.ledger = Ledger()
        #: as user.php prints it, while it is in force
        self.plan: dict[str, Any] = {
            "id_user": 24,
            "is_pay": 1,
            "type_premium": 1,
            "date_end_premium": None,
            "messages_premium": 1730,
        }
        self._devices = devices
        self._switches = switches
        self._turn = 0
        self._fill_balance()

    def use(self, switches: Switches) -> None:
        """Go on under other switches."""
        is_refilled = switches.balance != self._switches.balance
        self._switches = switches
        if is_refilled:
            self._fill_balance()

    def take(
        self,
        parcels: Sequence[Parcel | Refusal],
        method: Literal["sms", "sms_more"],
        now: int,
        make: Callable[[Parcel, Device], Row],
    ) -> list[Made | Refusal]:
        """
        Take messages, each of which `make` makes a row of; or return what speaks against it.

        What a single text, or what the switches let refuse a whole batch, is raised.
        """
        self.ledger.carried_out += 1
        if self._switches.plan == "ended":
            raise Refusal("plan")
        looked_at = self._looked_at(parcels)
        manner = self._switches.batch_bad_item if method == "sms_more" else "none_taken"
        refusals = [one for one in looked_at if isinstance(one, Refusal)]
        if refusals and manner == "none_taken":
            raise refusals[0]
        outcome: list[Made | Refusal] = []
        for one in looked_at:
            if not isinstance(one, Refusal):
                outcome.append(self._taken(*one, method, now, make))
            elif manner == "before_taken":
                raise one
            else:
                outcome.append(one)
        return outcome

    def _looked_at(
        self, parcels: Sequence[Parcel | Refusal]
    ) -> list[tuple[Parcel, Device] | Refusal]:
        """Each text with its device, or with what speaks against it; nothing is made yet."""
        looked_at: list[tuple[Parcel, Device] | Refusal] = []
        my_ids: set[str] = set()
        good = 0
        for parcel in parcels:
            try:
                if isinstance(parcel, Refusal):
                    raise parcel
                self._check(parcel, my_ids, good)
                looked_at.append((parcel, self._pick(parcel.device)))
                good += 1
                if parcel.my_id is not None:
                    my_ids.add(parcel.my_id)
            except Refusal as refusal:
                looked_at.append(refusal)
        return looked_at

    def _check(self, parcel: Parcel, my_ids: AbstractSet[str], good: int) -> None:
        """Refuse a text, after `good` others of the same request with `my_ids`."""
        check_parcel(parcel, self._switches)
        if (
            self._switches.my_id_repeated == "refused"
            and parcel.my_id is not None
            and (parcel.my_id in my_ids or self.ledger.first_of(parcel.my_id))
        ):
            raise Refusal("my_id")
        if self._switches.balance >= 0 and self.plan["messages_premium"] <= good:
            raise Refusal("balance")

    def _pick(self, text: str) -> Device:
        """The device for a text to send: ids joined by commas, or `active`, each in turn."""
        switches, text = self._switches, text.strip()
        if switches.send_several == "refused" and (text == "active" or "," in text):
            raise Refusal("device")
        if text == "active":
            ready = [device for device in self._devices.values() if device.is_ready]
            if not ready:
                raise Refusal("no_active_device")
        else:
            named = (self._devices.get(id_) for id_ in id_list(text))
            ready = [
                device
                for device in named
                if device is not None
                and (switches.device_archived == "waits" or not device.archived)
            ]
            if not ready:
                raise Refusal("device")
            if switches.device_off == "refused":
                ready = [device for device in ready if device.power]
            if not ready:
                raise Refusal("offline")
        self._turn += 1
        return ready[(self._turn - 1) % len(ready)]

    def _taken(
        self,
        parcel: Parcel,
        device: Device,
        method: Literal["sms", "sms_more"],
        now: int,
        make: Callable[[Parcel, Device], Row],
    ) -> Made:
        first = self.ledger.first_of(parcel.my_id)
        if first is not None and self._switches.my_id_repeated == "first_id":
            return first
        if isinstance(self.plan["messages_premium"], int):
            self.plan["messages_premium"] -= 1
        made = Made(
            self.ledger.carried_out,
            method,
            make(parcel, device).id,
            parcel.my_id,
            parcel.phone,
            parcel.text,
            parcel.device,
            device.id,
            now,
        )
        self.ledger.add(made)
        return made

    def _fill_balance(self) -> None:
        if self._switches.balance >= 0:
            self.plan["messages_premium"] = self._switches.balance
