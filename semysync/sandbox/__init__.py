"""
The stand-in: a SemySMS service of our own, for tests, demonstrations and anybody's client.

`Sandbox` starts one on loopback. Its account begins with a seeded history and can be played with
through `Sandbox.account`, or over HTTP under `/admin/`. Each open question about the real service
is a switch (`switches`), and its default is the likeliest answer. For a test of sending:

* `Sandbox.order_fault("drop", when="after", method="sms", nth=3)` loses the third answer;
* `Sandbox.refusing()` closes the listener for a block, `refuse(for_s)` for some seconds;
* `Sandbox.before_call`, `Sandbox.after_call` are called beside each call's effect;
* `Account.effects()` lists every message that was really made, shown or not;
* `Account.reveal_all()` shows what `sent_visible` keeps back;
* `Account.sent_elsewhere(phone, text)` is another client's send, `other_client` one with each.
"""

from semysync.sandbox.account import Account
from semysync.sandbox.calls import Call
from semysync.sandbox.faults import Order
from semysync.sandbox.rows import MISSING, Box, Verbatim
from semysync.sandbox.sending import Made
from semysync.sandbox.server import Sandbox
from semysync.sandbox.switches import METHODS, Switches
from semysync.sandbox.switching import described, parse

__all__ = [
    "METHODS",
    "MISSING",
    "Account",
    "Box",
    "Call",
    "Made",
    "Order",
    "Sandbox",
    "Switches",
    "Verbatim",
    "described",
    "parse",
]
