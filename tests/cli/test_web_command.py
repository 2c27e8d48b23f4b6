"""`semysync web` as a process: the link it prints, and what keeps it from starting."""

import re
import signal
import socket
from subprocess import Popen

import httpx
from processes import end


def link_of(process):
    return next(line.strip() for line in iter(process.stdout.readline, "") if "http" in line)


def test_the_link_that_is_printed_works_once_and_ctrl_c_ends_it_well(synced):
    with synced.running("web", "--port", "0") as process:
        link = link_of(process)
        with httpx.Client(follow_redirects=True) as owner:
            page = owner.get(link)
        again = httpx.get(link)
        code, said = end(process, signal.SIGINT)

    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/-/auth-token\?token=\w+", link)
    assert page.status_code == 200
    assert page.url.path == "/semysync/-/conversations"
    assert "<title>Conversations" in page.text
    assert again.status_code == 403
    assert (code, said) == (0, "")


def test_pages_say_that_they_load_nothing_from_elsewhere(synced):
    with (
        synced.running("web", "--port", "0") as process,
        httpx.Client(follow_redirects=True) as owner,
    ):
        ours = owner.get(link_of(process))
        theirs = owner.get(ours.url.join("/semysync/inbox"))

    assert "default-src 'none'" in ours.headers["content-security-policy"]
    assert "default-src 'self'" in theirs.headers["content-security-policy"]
    assert ours.headers["cache-control"] == "private, no-store"


def test_only_who_opens_the_link_uses_it_up_and_no_script_sees_what_it_brings(synced):
    with (
        synced.running("web", "--port", "0") as process,
        httpx.Client(follow_redirects=True) as owner,
    ):
        link = link_of(process)
        ahead = httpx.head(link)
        first = owner.get(link)
        twice = owner.get(link)

    assert (ahead.status_code, ahead.headers.get("set-cookie")) == (405, None)
    assert "HttpOnly" in first.history[0].headers["set-cookie"]
    assert twice.url.path == first.url.path == "/semysync/-/conversations"


def test_what_is_wrong_is_told_by_its_own_page_and_not_as_a_fault_of_the_server(synced):
    with (
        synced.running("web", "--port", "0") as process,
        httpx.Client(follow_redirects=True) as owner,
    ):
        origin = owner.get(link_of(process)).url
        absent = owner.get(origin.join("/nothing"))
        writing = owner.get(origin.join("/semysync.json?sql=delete+from+inbox"))
        endless = (
            "with recursive t(n) as (select 1 union all select n + 1 from t) select max(n) from t"
        )
        slow = owner.get(origin.join("/semysync.json"), params={"sql": endless})
        _, said = end(process, signal.SIGINT)

    assert absent.status_code == 404
    assert (writing.status_code, writing.json()["error"]) == (400, "Statement must be a SELECT")
    assert "took too long" in slow.json()["error"]
    assert "Traceback" not in said


def test_a_port_that_is_taken_is_told(synced):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = synced.run("web", "--port", port)

    assert ended.returncode == 78
    assert f"cannot listen on 127.0.0.1:{port}" in ended.stderr
    assert "choose another by --port" in ended.stderr


def test_where_there_is_no_mirror_that_is_told(program):
    ended = program.run("web", "--database", program.home / "none.db")

    assert ended.returncode == 78
    assert "there is no mirror at" in ended.stderr


def test_without_the_extra_it_is_said_how_to_get_it(synced):
    without = """
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "datasette" else found(name, *more)
from semysync.cli import main
main()
"""
    ended = synced.run("web", code=without, start=Popen)

    assert ended.returncode == 78
    assert "pip install 'semysync[web]'" in ended.stderr
