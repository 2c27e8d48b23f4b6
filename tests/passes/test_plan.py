"""What is left of a plan, said while there is still time."""

from datetime import UTC, datetime, timedelta

import pytest

from semysync.model import Account
from semysync.passes.plan import low, over

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
SOON = datetime(2026, 11, 25)


@pytest.mark.parametrize(
    ("fields", "waiting", "said"),
    [
        ({"messages_left": 99}, 0, "99 messages are left in the plan, and 0 drafts wait"),
        ({"messages_left": 100}, 0, None),
        ({"messages_left": 1_200}, 1_201, "1,200 messages are left in the plan, and 1,201 drafts"),
        ({"messages_left": 3, "plan_ends_at": SOON + timedelta(days=90)}, 9, None),  # paid by time
        ({"plan_ends_at": SOON}, 0, "the plan of the account ends on 2026-11-25"),
        ({"plan_ends_at": SOON + timedelta(days=9)}, 0, None),
        ({"paid": 0, "plan_ends_at": SOON}, 0, "the plan of the account is over"),
        ({"messages_left": 0}, 0, "no messages are left in the plan"),
        ({}, 5, None),
    ],
)
def test_a_plan_that_will_soon_be_over_is_told(fields, waiting, said):
    account = Account(**dict.fromkeys(Account.__struct_fields__) | fields)

    found = low(account, waiting, NOW)

    assert found is None if said is None else found.startswith(said)
    assert over(account) in {None, found}
