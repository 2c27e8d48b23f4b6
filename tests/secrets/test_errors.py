"""What a service repeats in its answers gets into no error: not the token, and no text."""

import pytest
from echoing import MANNERS, Echo

from semysync.errors import SemysyncError
from semysync.model import Outgoing
from semysync.sandbox import Sandbox
from semysync.service.client import Client
from semysync.service.questions import Ids, Range

TOKEN = "70ce0000face4bad5eed6f0070ce0000"
TEXT = 'Ваш код 481-516: никому не говорите "его", <даже> нам & друзьям/врагам'
MESSAGE = Outgoing(device="active", phone="+79201234567", text=TEXT, reference="d1")
HIDDEN = (TOKEN, TOKEN[:12], TOKEN[-12:], TEXT, TEXT[:12], TEXT[-12:], "481-516")


@pytest.fixture(scope="module")
def echo():
    with Sandbox(messages=20, devices=1, token=TOKEN) as sandbox, Echo(sandbox.base_url) as echo:
        yield echo


@pytest.fixture
def client(echo):
    with Client(TOKEN, base_url=echo.base_url, timeout_s=5) as client:
        yield client


CALLS = {
    "user": lambda client: client.user(),
    "devices": lambda client: list(client.devices(archived=False)),
    "inbox": lambda client: list(client.inbox(Range(1))),
    "sent": lambda client: list(client.sent(Ids([1, 2]))),
    "cancel": lambda client: client.cancel(1),
    "send": lambda client: client.send(MESSAGE),
    "send_many": lambda client: client.send_many([MESSAGE]),
}


@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize("call", CALLS)
def test_nothing_that_was_given_is_in_an_error(echo, client, call, manner):
    echo.manner = manner
    told = ""

    try:
        told = repr(CALLS[call](client))
    except SemysyncError as exc:
        error = exc
        while error is not None:
            told += repr(error) + repr(vars(error))
            error = error.__cause__ or error.__context__

    assert [hidden for hidden in HIDDEN if hidden in told] == []
