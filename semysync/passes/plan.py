"""Decide what the plan of an account lets us do. Meanings are likely only: it refuses nothing."""

from datetime import datetime, timedelta

from semysync.model import Account

FEW_LEFT = 100  #: messages
SOON = timedelta(days=3)


def over(account: Account) -> str | None:
    """Say that a plan is over; asked where drafts are refused."""
    if account.paid == 0:
        return "the plan of the account is over: extend it in the service's control panel"
    if account.messages_left == 0 and account.plan_ends_at is None:
        return "no messages are left in the plan: buy some in the service's control panel"
    return None


def low(account: Account, waiting: int, now: datetime) -> str | None:
    """
    Say that a plan will soon be over, before sending fails; `waiting` drafts are still to go.

    `now` is aware; the end of a plan is compared by its day, whatever its zone.
    """
    if why := over(account):
        return why
    left, ends = account.messages_left, account.plan_ends_at
    if left is not None and ends is None and left < max(FEW_LEFT, waiting):
        return f"{left:,} messages are left in the plan, and {waiting:,} drafts wait"
    if ends is not None and ends - now.replace(tzinfo=None) < SOON:
        return f"the plan of the account ends on {ends:%Y-%m-%d}"
    return None
