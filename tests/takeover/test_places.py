"""Replicas at the end of a wire: a real SSH server with SFTP, and a server that speaks S3."""

import getpass
import subprocess
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from machines import LITESTREAM, Machine
from needing import tool
from processes import end, free_port, wait_until

from semysync.mirror.copies.replica import Replica
from semysync.mirror.copies.takeover import taken_over

SSHD = """
ListenAddress 127.0.0.1
HostKey {folder}/host
PidFile none
AuthorizedKeysFile {folder}/client.pub
StrictModes no
UsePAM no
PasswordAuthentication no
Subsystem sftp internal-sftp
"""

SECRET = "a secret of the tests"


@pytest.fixture(autouse=True)
def no_authority_of_this_machine(monkeypatch):
    """Litestream can use none for S3 where this one is set."""
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)


@contextmanager
def sftp(folder):
    """Run an SSH server; give what the places of its machines need, and what is secret of it."""
    program = tool("/usr/sbin/sshd")  # which must be started by its whole path
    tool("ssh-keygen")
    for name in ("host", "client"):
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name]
        subprocess.run(make, check=True)
    with suppress(PermissionError):  # it separates privileges there, where it is root's
        Path("/run/sshd").mkdir(exist_ok=True)
    config = folder / "sshd_config"
    config.write_text(SSHD.format(folder=folder))
    port = free_port()
    with (folder / "sshd.log").open("w") as log:
        asked = [program, "-D", "-e", "-p", str(port), "-f", config]
        process = subprocess.Popen(asked, stderr=log)
    try:
        wait_until(lambda: "listening" in (folder / "sshd.log").read_text(), process)
        host_key = (folder / "host.pub").read_text().strip()
        options = {"key-path": str(folder / "client"), "host-key": host_key}
        yield f"sftp://{getpass.getuser()}@127.0.0.1:{port}{folder}/replicas", options
    finally:
        process.terminate()
        process.wait()


@contextmanager
def s3(_folder):
    """Run a server that speaks S3."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        keys = {"access-key-id": "tests", "secret-access-key": SECRET}
        named = {"aws_access_key_id": "tests", "aws_secret_access_key": SECRET}
        there = f"http://{host}:{port}"
        boto3.client("s3", region_name="us-east-1", endpoint_url=there, **named).create_bucket(
            Bucket="replicas"
        )
        yield "s3://replicas", keys | {"endpoint": there, "force-path-style": True}
    finally:
        server.stop()


@pytest.fixture
def noted(tmp_path):
    """Make a Litestream that notes what it is started with, in a file of its name and `-told`."""
    program = tmp_path / "litestream"
    program.write_text(f'#!/bin/sh\necho "$@" >> "$0-told"\nexec {LITESTREAM} "$@"\n')
    program.chmod(0o755)
    return program


@pytest.mark.parametrize("kind", [sftp, s3])
def test_a_machine_fails_over_by_what_lies_elsewhere(tmp_path, sandbox, noted, kind):
    with kind(tmp_path) as (url, options):
        one, two = (
            Machine(tmp_path, name, sandbox, url=f"{url}/{name}", options=options)
            for name in ("one", "two")
        )
        for machine in (one, two):
            text = machine.config.read_text()
            machine.config.write_text(text.replace(LITESTREAM, str(noted)))
        one.mirror_here()
        with one.replicating():
            one.insert("+79201234567", "Hello")
            one.synced()

            doctor, drill = one.run("doctor"), one.run("drill")

        taken = two.take_over(one)
        why = taken_over(one.mirror, Replica(one.url, one.options, LITESTREAM))

    assert "ok     replica      holds all of" in doctor.stdout
    assert (drill.returncode, drill.stderr) == (0, "")
    assert (taken["messages"], taken["open_drafts"]) == (60, 1)
    assert "has taken over at" in why
    told = noted.with_name("litestream-told").read_text()
    assert {"ltx", "restore", "replicate"} <= {line.split()[0] for line in told.splitlines()}
    assert SECRET not in told
    assert SECRET not in doctor.stdout + drill.stdout + (one.home / "litestream.log").read_text()


def test_a_place_that_is_away_is_told_without_its_secrets(tmp_path, sandbox):
    url = f"sftp://me:{quote(SECRET)}@127.0.0.1:1/replicas/one"
    one = Machine(tmp_path, "one", sandbox, url=url)
    one.mirror_here()
    one.insert("+79201234567", "Hello")

    with one.running("run") as process:
        wait_until(lambda: "cannot be seen" in (one.setting("sending_blocked") or ""), process)
        code, log = end(process)
    drill = one.run("drill")

    assert (code, drill.returncode) == (0, 75)
    assert sandbox.account.effects() == []
    told = log + drill.stderr + one.setting("sending_blocked")
    assert "sftp://127.0.0.1:1/replicas/one" in told
    assert SECRET not in unquote(told)
