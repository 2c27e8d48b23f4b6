"""Messages and devices with usual values."""

from datetime import datetime

import pytest

from semysync.model import Account, Device, Received, Sent


@pytest.fixture
def received():
    def make(number=1, **fields):
        usual = {
            "device_id": 351,
            "phone": "+79201234567",
            "text": f"text {number}",
            "channel": "sms",
            "received_at": datetime(2026, 11, 23, 9, 41, 13),
        }
        return Received(id=number, **usual | fields)

    return make


@pytest.fixture
def sent():
    def make(number=1, **fields):
        usual = dict.fromkeys(Sent.__struct_fields__[1:])
        usual |= {"device_id": 351, "phone": "+79201234567", "text": "Ready", "channel": "sms"}
        return Sent(id=number, **usual | fields)

    return make


@pytest.fixture
def device():
    def make(number=351, **fields):
        usual = dict.fromkeys(Device.__struct_fields__[1:])
        return Device(
            id=number, **usual | {"channel": "sms", "archived": 0, "name": "A12"} | fields
        )

    return make


@pytest.fixture
def plan():
    def make(**fields):
        usual = dict.fromkeys(Account.__struct_fields__)
        return Account(**usual | {"user_id": 24, "paid": 1, "messages_left": 1730} | fields)

    return make
