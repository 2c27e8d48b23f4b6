"""Faults before and after the effect, for chosen calls, and a service that is not there."""

import json

import httpx
import pytest
from processes import wait_until

FORM = {"device": "active", "phone": "+79201234567", "msg": "Hello"}
SILENT = ["hang", "drop", "reset", "down", "cut"]
PAGES = {"html": 200, "empty": 200, "http_404": 404, "http_429": 429, "http_500": 500}
PAGES |= {"http_502": 502, "http_503": 503, "redirect": 302}
READABLE = ["bom", "warning", "api_error"]


@pytest.fixture
def admin(service):
    def ask(verb, path, body=None):
        return service.http.request(verb, service.sandbox.admin_url + path, json=body).json()

    return ask


def attempt(service, timeout_s=10):
    """What a client sees of sending one message: a status and a body, or an error's name."""
    form = {"token": service.sandbox.token, **FORM}
    try:
        answer = service.http.post("sms.php", data=form, timeout=timeout_s)
    except httpx.TransportError as exc:
        return type(exc).__name__
    return answer.status_code, answer.content


def sent(service):
    return len(service.account.ids("sent"))


# Every kind, before and after


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("fault", [*SILENT, *PAGES, *READABLE, "truncated"])
def test_every_fault_can_come_before_and_after_the_effect(service, fault, when):
    before = sent(service)
    service.sandbox.order_fault(fault, when=when, method="sms", down_s=0.05)

    seen = attempt(service, 0.15 if fault == "hang" else 10)

    if fault == "hang":  # the client may have given up before the service began
        wait_until(lambda: service.sandbox.requests)
        wait_until(lambda: when == "before" or sent(service) > before)
    assert sent(service) - before == (when == "after")
    if fault in SILENT:
        assert seen in {"ReadTimeout", "RemoteProtocolError", "ReadError"}
    elif fault in PAGES:
        assert seen[0] == PAGES[fault]
        assert not seen[1].startswith(b"{")
    elif fault == "truncated":
        with pytest.raises(ValueError, match=r"."):
            json.loads(seen[1])
    else:
        answer = json.loads(seen[1][seen[1].index(b"{") :])
        spoils_only = fault != "api_error" and when == "after"
        assert answer["code"] == ("0" if spoils_only else "-1")


@pytest.mark.parametrize("when", ["usual", "before", "after"])
@pytest.mark.parametrize("fault", ["drop", "html", "api_error", "warning", "truncated"])
def test_a_switch_says_when_faults_come(serve, fault, when):
    service = serve(fault=fault, fault_when=when, fault_methods="sms", fault_times=1)
    before = sent(service)

    attempt(service)

    usual = fault in {"warning", "truncated"}
    assert sent(service) - before == {"usual": usual, "before": False, "after": True}[when]
    assert service.sandbox.switches.fault == "none"


def test_a_reset_is_no_orderly_end(service):
    service.sandbox.order_fault("reset")
    service.sandbox.order_fault("drop")

    with pytest.raises(httpx.ReadError):
        service.ask("user")
    with pytest.raises(httpx.RemoteProtocolError):
        service.ask("user")


@pytest.mark.parametrize("fault", ["http_429", "http_503"])
def test_a_client_may_be_told_how_long_to_wait(service, fault):
    service.sandbox.order_fault(fault, retry_after=7)
    service.sandbox.order_fault(fault)

    assert service.post("user").headers["Retry-After"] == "7"
    assert "Retry-After" not in service.post("user").headers


@pytest.mark.parametrize("status", [200, 400, 500])
def test_an_error_may_come_though_the_message_was_taken(service, status):
    before = sent(service)
    service.sandbox.order_fault("api_error", when="after", status=status)

    answer = service.post("sms", **FORM)

    assert (answer.status_code, answer.json()["code"]) == (status, "-1")
    assert sent(service) == before + 1


# Which calls


def test_an_order_is_for_the_nth_call_of_a_method_and_some_more(service):
    service.sandbox.order_fault("http_500", method="sms, user", nth=2, times=2)

    seen = [
        service.post(method, **(FORM if method == "sms" else {})).status_code
        for method in ("sms", "devices", "user", "devices", "sms", "user", "sms")
    ]

    assert seen == [200, 200, 500, 200, 500, 200, 200]
    assert service.sandbox.orders == []


def test_an_order_may_be_for_all_calls_until_it_is_forgotten(service):
    service.sandbox.order_fault("http_502", times=0)

    assert [service.post("user").status_code for _ in range(3)] == [502] * 3
    service.sandbox.forget_orders()
    assert service.post("user").status_code == 200


def test_orders_stand_side_by_side(service):
    service.sandbox.order_fault("http_500", nth=1)
    service.sandbox.order_fault("http_502", nth=2)
    service.sandbox.order_fault("http_503", nth=2)
    service.sandbox.set(fault="http_404")

    service.sandbox.order_fault("http_429", method="sms")

    assert [service.post("user").status_code for _ in range(4)] == [500, 502, 503, 404]
    assert [order.fault for order in service.sandbox.orders] == ["http_429"]


def test_an_order_for_what_there_is_not_is_refused(service):
    with pytest.raises(ValueError, match="method must name methods"):
        service.sandbox.order_fault("drop", method="balance")
    with pytest.raises(ValueError, match="Invalid enum value 'flood'"):
        service.sandbox.order_fault("flood")


def test_orders_are_given_over_http(service, admin):
    order = {"fault": "drop", "when": "after", "method": "sms", "nth": 2}

    assert admin("POST", "faults", order)[0]["when"] == "after"
    assert attempt(service)[0] == 200
    assert admin("GET", "faults")[0]["seen"] == 1
    assert attempt(service) == "RemoteProtocolError"
    assert admin("GET", "faults") == []

    admin("POST", "faults", {"fault": "http_500", "times": 0})
    admin("DELETE", "faults")
    assert service.sandbox.orders == []
    assert "Invalid enum value" in admin("POST", "faults", {"fault": "flood"})["error"]


# Connections that are refused


def test_connections_are_refused_for_a_while(service):
    with service.sandbox.refusing():
        assert attempt(service) == "ConnectError"
        assert attempt(service) == "ConnectError"
        assert not service.sandbox.stopping.is_set()

    assert attempt(service)[0] == 200


def test_a_service_that_goes_down_comes_back_by_itself(serve):
    service = serve(fault="down", fault_when="after", fault_times=1, down_s=1)
    before = sent(service)

    assert attempt(service) == "RemoteProtocolError"
    assert attempt(service) == "ConnectError"

    wait_until(lambda: attempt(service) != "ConnectError")
    assert sent(service) == before + 2


def test_refusing_is_ordered_over_http(service, admin):
    assert admin("POST", "refuse", {"for_s": 0.05}) == {}

    wait_until(lambda: attempt(service) != "ConnectError")
    assert "for_s" in admin("POST", "refuse", {"for_s": 0})["error"]


def test_a_service_that_is_down_can_be_stopped(serve):
    service = serve(fault="down", fault_when="before", down_s=0)
    attempt(service)

    service.sandbox.accept()
    service.sandbox.set(fault="none")
    assert attempt(service)[0] == 200
    service.sandbox.refuse(for_s=60)
    service.sandbox.stop()
    assert attempt(service) == "ConnectError"


# Hooks of tests


def test_something_else_may_happen_before_and_after_a_call(service):
    seen = []
    service.sandbox.before_call = lambda call: seen.append((call.method, sent(service)))
    service.sandbox.after_call = lambda call: seen.append((call.params["msg"], sent(service)))
    before = sent(service)
    service.sandbox.order_fault("drop", when="after")

    attempt(service)

    assert seen == [("sms", before), ("Hello", before + 1)]
