"""
A program that inserts drafts, by the clock, as any program may: each in a transaction of its own.

    writer.py MIRROR NAME RATE: says when it begins; ends when its standard input does, and then says,
    as JSON, when each draft was committed, how long each insert took, and what errors it met.
"""

import json
import random
import sqlite3
import sys
import time
from contextlib import closing
from threading import Event, Thread


def main() -> None:
    mirror, name, rate = sys.argv[1:]
    over = Event()
    Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    chance, committed, took_s, errors = random.Random(name), {}, [], []
    with closing(sqlite3.connect(mirror, isolation_level=None, timeout=30)) as conn:
        print(json.dumps("begun"), flush=True)
        due = time.monotonic()
        while not over.wait(max(0, due - time.monotonic())):
            text = f"draft {name} {len(took_s)}"
            phone = f"+7920{chance.randrange(10**7):07}"
            began = time.monotonic()
            try:
                conn.execute("insert into outbox (phone, text) values (?, ?)", (phone, text))
            except sqlite3.Error as exc:
                errors.append(str(exc))
            else:
                committed[text] = time.monotonic()
            took_s.append(time.monotonic() - began)
            due += chance.expovariate(float(rate))
    print(json.dumps({"committed": committed, "took_s": took_s, "errors": errors}))


if __name__ == "__main__":
    main()
