"""What a shell is offered when Tab is pressed, through the real process."""

import pytest
from drafting import change


def offered(program, *words):
    """Complete the last word, as bash, zsh and fish ask for it."""
    shell = {"_SEMYSYNC_COMPLETE": "bash_complete", "COMP_CWORD": str(len(words))}
    code = "import sys; from semysync.cli import main; sys.argv[0] = 'semysync'; main(prog_name='semysync')"
    ended = program.run(code=code, COMP_WORDS=" ".join(["semysync", *words]), **shell)
    assert ended.stderr == ""
    return [line.partition(",")[2] for line in ended.stdout.splitlines() if line]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("mess",), ["messages"]),
        (("messages", "--contact", "+79"), ["+79201234567"]),
        (("messages", "--contact", "an"), ["+79201234567"]),  # Anna
        (("forget", "Bee"), ["Beeline"]),
        (("export", "--person", "*"), []),
        (("messages", "--contact", ""), ["Beeline", "+447700900123", "+79201234567"]),
        (("send", "+44"), ["+447700900123"]),
    ],
)
def test_contacts_are_offered_by_number_and_name_the_latest_first(talk, words, expected):
    assert offered(talk, *words) == expected


def test_devices_are_offered(synced, sandbox):
    assert sorted(map(int, offered(synced, "cancel", "--device", ""))) == sorted(
        sandbox.account.devices
    )


def test_only_drafts_that_a_command_can_act_on_are_offered(talk):
    for number in range(3):
        talk.run("send", "+79201234567", f"Text {number}", *(["--hold"] if number == 1 else []))

    assert offered(talk, "release", "") == ["2"]
    assert offered(talk, "hold", "") == ["3", "1"]
    assert offered(talk, "cancel", "") == ["3", "2", "1"]
    assert offered(talk, "retry", "") == []


def test_without_a_mirror_nothing_is_offered_and_nothing_is_said(program):
    assert offered(program, "messages", "--contact", "") == []


def test_of_a_mirror_that_has_lost_a_table_nothing_is_offered_and_nothing_is_said(talk):
    change(talk, "drop table devices")

    assert offered(talk, "messages", "--device", "") == []
