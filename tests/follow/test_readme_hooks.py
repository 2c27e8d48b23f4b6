"""What the README says of hooks is tried as it stands there."""

import json
import os
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from semysync.config import load
from semysync.event_kinds import KINDS
from semysync.follow import signing
from semysync.follow.sample import sample

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, flags=re.DOTALL)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def block(language, having):
    (found,) = (text for kind, text in BLOCKS if kind == language and having in text)
    return found


@pytest.mark.parametrize("secret", [SECRET, "a plain secret of ours"])
def test_the_snippet_takes_our_signature_and_no_other(secret):
    names = {}
    exec(block("python", "def is_genuine"), names)
    is_genuine = names["is_genuine"]
    body, now = b'{"seq": 7}', int(time.time())
    headers = signing.headers("7-x", now, body, secret)

    assert is_genuine(headers, body, secret)
    assert not is_genuine(headers, body + b" ", secret)
    assert not is_genuine(headers | {"webhook-id": "8"}, body, secret)
    assert not is_genuine(headers, body, "another secret of ours")
    old = signing.headers("7-x", now - 1000, body, secret)
    assert not is_genuine(old, body, secret)


def test_the_hooks_are_ones_that_can_be_configured(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text("\n".join(text for kind, text in BLOCKS if "[[hook]]" in text))

    names = [hook.name for hook in load(path, {}).hook]

    assert names == ["orders", "shop", "me", "forward"]


def test_the_hooks_of_the_example_are_ones_that_can_be_configured(tmp_path):
    example = Path(__file__).parents[2] / "config.example.toml"
    lines = re.findall(r"^#   (.*)$", example.read_text("utf-8"), flags=re.MULTILINE)
    path = tmp_path / "config.toml"
    path.write_text("\n".join(lines))

    assert [hook.name for hook in load(path, {}).hook] == ["tell", "shop", "me"]


def test_the_event_looks_as_it_is_shown():
    shown = json.loads(block("json", '"message.received"'))
    told = sample(["message.received"], "x")

    assert shown.keys() == told.keys()
    assert shown["message"].keys() == told["message"].keys()


def test_every_kind_is_named():
    section = README.partition("## Hooks")[2].partition("\n## ")[0]
    words = set(re.findall(r"[\w.]+", section))
    statuses = {"queued", "held", "sending", "unknown", "cancelling", "rejected", "expired"}

    for kind in KINDS:
        assert kind in words or kind.partition(".")[2] in words | statuses, kind


@pytest.fixture
def forward(tmp_path, ask, mirror):
    """Run the README's program as a hook runs it; return how it ended."""
    program = tmp_path / "forward"
    program.write_text(block("python", "Forward a received message"))
    program.chmod(0o755)
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    command = bin_ / "semysync"
    command.write_text(
        f'#!/bin/sh\nSEMYSYNC_DATABASE="{mirror}" exec "{sys.executable}" -m semysync "$@"\n'
    )
    command.chmod(0o755)

    def forward(seq=7, *, gone=False, **fields):
        event = sample(["message.received"], "x")
        event["message"] |= fields
        if gone:
            event["message"] = None
        return subprocess.run(
            [program, "+79207654321"],
            input=json.dumps(event).encode(),
            env={"PATH": f"{bin_}:{os.environ['PATH']}", "SEMYSYNC_SEQ": str(seq)},
            capture_output=True,
            check=False,
        )

    return forward


def test_a_message_is_forwarded_once_and_no_loop_begins(forward, ask):
    hostile = "'; rm -rf / $(id)"

    codes = [
        forward(text=hostile).returncode,
        forward(text=hostile).returncode,  # the event comes again
        forward(8, contact="+79207654321", text="Got it").returncode,  # the phone itself
        forward(9, text="Fwd +79201234567: Hello").returncode,  # forwarded once already
        forward(10, text="[ussd]").returncode,  # can never be sent, and must not block the rest
        forward(11, gone=True).returncode,  # the person was forgotten
    ]

    assert codes == [0] * 6
    assert ask("select phone, text from outbox") == [
        ("+79207654321", f"Fwd +79201234567: {hostile}")
    ]


def test_the_listing_of_toml_is_toml():
    for kind, text in BLOCKS:
        if kind == "toml":
            tomllib.loads(text)


def test_the_listener_is_one_that_can_be_configured(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(block("toml", "webhook_secrets"))

    config = load(path, {})

    assert config.http.listen == "127.0.0.1:8026"
    for box in ("inbox", "status"):
        assert f"/webhook/{config.webhook_secrets()[0]}/{box}" in README
