"""The admin interface: what it does, and what it says when it cannot."""

import pytest
from processes import wait_until


@pytest.fixture
def admin(service):
    """Ask the admin interface; returns the status and the JSON."""

    def ask(verb, path, body=None):
        answer = service.http.request(verb, service.sandbox.admin_url + path, json=body)
        return answer.status_code, answer.json()

    return ask


def test_it_says_what_there_is(admin):
    _, answer = admin("GET", "")

    assert len(answer["requests"]) == 26
    assert answer["requests"][0].startswith("GET    /admin/ ")


def test_it_changes_switches(service, admin):
    status, answer = admin("POST", "switches", {"cap": 7, "order": "desc"})

    assert status == 200
    assert (answer["cap"], service.sandbox.switches.order) == (7, "desc")
    assert admin("GET", "switches")[1] == answer


def test_it_shows_requests_and_forgets_them(service, admin):
    service.ask("inbox_sms", start_id=3)

    _, calls = admin("GET", "requests")
    assert [(call["method"], call["params"]) for call in calls] == [
        ("inbox_sms", {"start_id": "3"})
    ]

    admin("DELETE", "requests")
    assert admin("GET", "requests")[1] == []


def test_it_makes_messages(service, admin):
    _, received = admin(
        "POST",
        "receive",
        {"phone": "900", "text": "Hi", "at": "2026-03-01T10:00:00+00:00", "fields": {"type": 5}},
    )
    _, sent = admin("POST", "sent", {"phone": "900", "text": "typed", "is_out": 1})

    row = service.account.row("inbox", received["id"])
    assert (row["date"], row["type"]) == ("2026-03-01 15:00:00", 5)
    assert service.account.row("sent", sent["id"])["is_out"] == 1


def test_it_hides_reveals_changes_and_removes(service, admin):
    _, answer = admin("POST", "receive", {"phone": "900", "text": "Hi", "hidden": True})
    one = {"box": "inbox", "id": answer["id"]}
    assert answer["id"] not in service.account.ids("inbox")

    admin("POST", "reveal", one)
    assert answer["id"] in service.account.ids("inbox")

    admin("POST", "change", {**one, "fields": {"msg": "Other"}})
    assert service.account.row("inbox", answer["id"])["msg"] == "Other"

    removed = admin("POST", "remove", {"box": "inbox", "ids": [answer["id"], 4]})
    assert removed == (200, {"removed": [answer["id"]]})


def test_it_lets_ids_come_back(service, admin):
    ids = service.account.ids("inbox")

    admin("POST", "reuse", {"box": "inbox", "ids": [ids[0]]})

    assert service.account.receive("900", "Hi") == ids[0]


def test_it_keeps_devices(service, admin):
    _, added = admin("POST", "devices/add", {"name": "A12", "type": 2})
    one = {"id": added["id"]}
    admin("POST", "devices/change", {**one, "fields": {"bat": "3"}})
    admin("POST", "devices/archive", one)

    row = admin("GET", "devices")[1][-1]
    assert (row["device_name"], row["type"], row["bat"], row["is_arhive"]) == ("A12", 2, "3", 1)

    admin("POST", "devices/remove", one)
    assert added["id"] not in service.account.devices


def test_it_counts_messages_and_devices(service, admin):
    id_ = service.send()

    _, state = admin("GET", "state")

    assert state["messages"] == {"inbox": 18, "sent": 23}
    assert state["top_ids"]["sent"] == id_
    assert (state["devices"], state["on_their_way"]) == (2, 1)


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        ("switches", {"order": "up"}, "order must be asc | desc | mixed, got 'up'"),
        ("switches", {"ordr": "asc"}, "there is no switch 'ordr', did you mean order?"),
        ("change", {"box": "sent", "id": 5, "fields": {}}, "no message 5 in sent"),
        ("devices/remove", {"id": 9}, "no device 9 in the account"),
        ("receive", {"text": "Hi"}, "Object missing required field `phone`"),
        ("receive", {"phone": "1", "text": "", "txt": ""}, "Object contains unknown field `txt`"),
        ("reveal", {"box": "outbox", "id": 5}, "Invalid enum value 'outbox' - at `$.box`"),
        ("receive", {"phone": "1", "text": "", "at": "2026-03-01T10:00:00"}, "a time needs a zone"),
    ],
)
def test_it_tells_a_mistake_in_a_sentence(admin, path, body, sentence):
    status, answer = admin("POST", path, body)

    assert status == 400
    assert answer["error"].startswith(sentence)


def test_it_tells_what_is_no_json(service):
    answer = service.http.post(f"{service.sandbox.admin_url}receive", content=b"{")

    assert answer.status_code == 400
    assert "JSON is malformed" in answer.json()["error"] or "truncated" in answer.json()["error"]


def test_it_tells_what_there_is_not(admin):
    status, answer = admin("POST", "balance", {})

    assert status == 404
    assert answer["error"].startswith("there is no POST /admin/balance")


def test_it_says_where_webhooks_go_and_which_were_called(service, admin):
    named = {"inbox": "http://127.0.0.1:1/in", "status": None}

    assert admin("POST", "webhooks", named)[1] == {"inbox": "http://127.0.0.1:1/in"}
    service.account.receive("+79201234567", "Hello")
    wait_until(lambda: admin("GET", "webhooks")[1]["made"])

    _, told = admin("GET", "webhooks")
    assert told["urls"] == {"inbox": "http://127.0.0.1:1/in"}
    which, _, status, _ = told["made"][0]
    assert (which, status) == ("inbox", None)  # nobody listens there
