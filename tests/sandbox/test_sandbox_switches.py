"""The switches as values: texts in, sentences out."""

import re
from pathlib import Path

import pytest

from semysync.sandbox import Sandbox, Switches, described, parse
from semysync.sandbox.switching import zone_of


def test_texts_become_values_of_the_right_type():
    switches = parse(["cap=100", "order=desc", "delay_s=0.5", "fault_status=500", "fraction=0"])

    assert (switches.cap, switches.order, switches.delay_s) == (100, "desc", 0.5)
    assert (switches.fault_status, switches.fraction) == (500, "0")


def test_texts_go_on_top_of_other_switches():
    assert parse(["order=desc"], Switches(cap=7)) == Switches(cap=7, order="desc")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("cap_keep=newest", "there is no switch 'cap_keep', did you mean cap_keeps?"),
        ("xyzzy=1", "there is no switch 'xyzzy'"),
        ("order=up", "order must be asc | desc | mixed, got 'up'"),
        ("cap=many", "cap must be a whole number of at least 0, got 'many'"),
        ("cap=-1", "cap must be a whole number of at least 0, got '-1'"),
        ("delay_s=nan", "delay_s must be a number of at least 0, got 'nan'"),
        ("delay_s=inf", "delay_s must be a finite number, got inf"),
        ("phone_skew_s=soon", "phone_skew_s must be a whole number, got 'soon'"),
        ("cap", "a switch is given as name=value, got 'cap'"),
        (
            "server_zone=Mars",
            "server_zone must be an offset like +03:00 or an IANA name, got 'Mars'",
        ),
        (
            "phone_zone=+03:07",
            "phone_zone must be an offset like +03:00 or an IANA name, got '+03:07'",
        ),
    ],
)
def test_a_mistake_is_told_in_a_sentence(text, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        parse([text])


def test_a_fault_is_for_methods_that_exist():
    with pytest.raises(ValueError, match="fault_methods must name methods"):
        parse(["fault_methods=sms, balance"])


def test_a_delete_can_ignore_only_what_it_knows():
    with pytest.raises(
        ValueError, match=r"delete_ignores must name filters \(device, list_id, ids"
    ):
        parse(["delete_ignores=dates, phone"])


def test_a_sandbox_checks_the_switches_it_is_given():
    with pytest.raises(ValueError, match="cap must be"):
        Sandbox(switches=Switches(cap=-3))
    with pytest.raises(ValueError, match="order must be"):
        Sandbox(switches=Switches(order="up"))


def test_a_bad_switch_changes_nothing():
    sandbox = Sandbox(messages=0)

    with pytest.raises(ValueError, match="order must be"):
        sandbox.set(cap=5, order="up")

    assert sandbox.switches == Switches()


def test_id_spaces_cannot_change_under_a_running_account():
    with pytest.raises(ValueError, match="id_spaces is fixed"):
        Sandbox(messages=0).set(id_spaces="overlapping")


def test_every_switch_is_described_with_its_values_and_default():
    listed = {switch.name: switch for switch in described()}

    assert listed["cap_keeps"].values == "oldest | newest"
    assert listed["cap_keeps"].default == "oldest"
    assert all(switch.sentence.endswith(".") for switch in listed.values())
    assert all(
        switch.values.split(" | ")[0] == switch.default
        for switch in listed.values()
        if " | " in switch.values
    )


def test_every_switch_occurs_in_a_test_of_behaviour():
    others = [path for path in Path(__file__).parent.glob("test_*.py") if path != Path(__file__)]
    text = "\n".join(path.read_text() for path in others)

    assert [switch.name for switch in described() if f"{switch.name}=" not in text] == []


def test_offsets_and_names_are_zones():
    assert str(zone_of("-03:30")) == "UTC-03:30"
    assert str(zone_of("Europe/Berlin")) == "Europe/Berlin"
