"""
People who read: `semysync web` in a process of its own, and its pages and SQL asked for by the clock.

    reader.py MIRROR CONTACT RATE: ends when its standard input does, and then says, as JSON, how long each
    page took, and what errors it met.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
from itertools import cycle
from threading import Event, Thread

import httpx
from datasette.utils import tilde_encode

PAGES = {
    "conversations": "/{name}/-/conversations",
    "search": "/{name}/-/conversations?q=order",
    "a conversation": "/{name}/-/conversations/{coded}",
    "the outbox": "/{name}/-/drafts",
    "the table inbox": "/{name}/inbox?_nocount=1",
}
QUERIES = {
    "SQL: newest messages": "select * from messages order by at desc limit 50",
    "SQL: newest of a contact": """
        select * from messages where contact = :contact order by at desc limit 50""",
    "SQL: search": """
        select * from inbox where id in
               (select rowid from inbox_fts where inbox_fts match 'order'
                 order by rowid desc limit 50)""",
    "SQL: drafts that wait": """
        select id, status, error from outbox where status in ('queued', 'sending', 'unknown')""",
    "SQL: health": "select * from health",
}


def ask(client: httpx.Client, contact: str, rate: float, over: Event) -> dict:
    """
    Ask for one after the other until it is over, each once at least.

    Who is behind the clock waits less.
    """
    named = {"name": "semysync", "coded": tilde_encode(contact)}
    questions = {title: {"url": page.format(**named)} for title, page in PAGES.items()}
    for title, sql in QUERIES.items():
        params = {"sql": sql, "contact": contact, "_shape": "objects"}
        questions[title] = {"url": "/semysync.json", "params": params}
    took_s, errors = {title: [] for title in questions}, []
    turn, due = cycle(questions), time.monotonic()
    while not over.wait(max(0, due - time.monotonic())) or not all(took_s.values()):
        title, began = next(turn), time.monotonic()
        try:
            answer = client.get(**questions[title])
        except httpx.HTTPError as exc:
            errors.append(f"{title}: {exc!r}")
        else:
            if answer.status_code != 200 or "database is locked" in answer.text:
                errors.append(f"{title}: {answer.status_code}: {answer.text[:300]}")
        took_s[title].append(time.monotonic() - began)
        due += 1 / rate
    return {"took_s": took_s, "errors": errors}


def main() -> None:
    mirror, contact, rate = sys.argv[1:]
    over = Event()
    Thread(target=lambda: (sys.stdin.readline(), over.set()), daemon=True).start()
    command = [sys.executable, "-m", "semysync", "web", "--port", "0", "--database", mirror]
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=said, encoding="utf-8", bufsize=1
        ) as served,
    ):
        try:
            link = next(line for line in iter(served.stdout.readline, "") if "http" in line)
            # What comes later on its standard output is nobody's; it must not fill the pipe.
            Thread(target=served.stdout.read, daemon=True).start()
            origin = re.match(r"\s*(http://[^/]+)", link)[1]
            with httpx.Client(base_url=origin, timeout=60, follow_redirects=True) as client:
                client.get(link.strip())
                print(json.dumps(served.pid), flush=True)
                seen = ask(client, contact, float(rate), over)
        finally:
            served.terminate()
        served.wait(30)
        said.seek(0)
        seen["errors"] += [line for line in said if "locked" in line or "Traceback" in line]
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
