"""
The stand-in: a SemySMS service of our own, for tests, demonstrations and anybody's client.

`Sandbox` starts one on loopback. Its account begins with a seeded history and can be played with
through `Sandbox.account`, or over HTTP under `/admin/`. Each open question about the real service is
a switch (`switches`), and its default is the likeliest answer.
"""

from semysync.sandbox.account import Account
from semysync.sandbox.calls import Call
from semysync.sandbox.rows import MISSING, Box, Verbatim
from semysync.sandbox.server import Sandbox
from semysync.sandbox.switches import METHODS, Switches, described, parse

__all__ = [
    "METHODS",
    "MISSING",
    "Account",
    "Box",
    "Call",
    "Sandbox",
    "Switches",
    "Verbatim",
    "described",
    "parse",
]
