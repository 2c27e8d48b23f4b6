"""
The service under load: a stand-in in a process of its own, at which messages arrive by the clock.

It is told what to do on its standard input and answers on its standard output, a line of JSON each.
All moments are of the clock that the processes of a machine share and that nobody can put.
"""

import json
import sqlite3
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from threading import Event, Thread

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from processes import TOKEN

from semysync.sandbox import Sandbox

COLUMNS = {"inbox": "text", "sent": "text || ' ' || is_send || is_delivered"}


class Service:
    """The stand-in, what arrived at it and when, and when each draft was asked to be sent."""

    def __init__(self, messages: int, devices: int) -> None:
        self.sandbox = Sandbox(messages=messages, devices=devices, token=TOKEN)
        self.sandbox.before_call = self._note
        self.sandbox.start()
        self.came: dict[int, float] = {}  # received messages: since when a list shows them
        self.late_s: list[float] = []  # how late each arrived, behind the clock
        self.asked: list[tuple[str, float]] = []  # the text of each message in a send request
        self.calls: Counter[str] = Counter()
        self._over = Event()
        self._thread: Thread | None = None

    def _note(self, call) -> None:
        at = time.monotonic()
        self.calls[call.method] += 1
        if call.method == "sms":
            self.asked.append((call.params["msg"], at))
        elif call.method == "sms_more":
            self.asked += [(item["msg"], at) for item in call.params["data"]]

    def begin(self, rate: float) -> dict:
        self.calls.clear()
        self._thread = Thread(target=self._arrive, args=(rate,), daemon=True)
        self._thread.start()
        return {}

    def _arrive(self, rate: float) -> None:
        """Let one message after the other arrive; who is behind the clock does not leave any out."""
        phones = [row["id"] for row in self.sandbox.account.device_rows()]
        began, number = time.monotonic(), 0
        while not self._over.wait(max(0, began + number / rate - time.monotonic())):
            due = began + number / rate
            sender = f"+7921{number * number % 20_000:07}"
            id_ = self.sandbox.account.receive(
                sender, f"Is order {number} ready?", phones[number % len(phones)]
            )
            self.came[id_] = time.monotonic()
            self.late_s.append(self.came[id_] - due)
            number += 1

    def end(self) -> dict:
        """No more arrives; say what did."""
        self._over.set()
        self._thread.join()
        return {"came": self.came, "late_s": self.late_s, "calls": self.calls}

    def account(self) -> dict:
        """Say what was asked to be sent, and what was made of it."""
        made = Counter(one.text for one in self.sandbox.account.ledger.made)
        return {"asked": self.asked, "made": made}

    def compare(self, path: str) -> dict:
        """Count, for each box, the rows that account and mirror do not have alike, and all rows."""
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as conn:
            return {box: self._compared(conn, box) for box in COLUMNS}

    def _compared(self, conn: sqlite3.Connection, box: str) -> list[int]:
        here = conn.execute(f"select id, {COLUMNS[box]} from {box} order by id")
        differ = total = 0
        mirrored = next(here, None)
        for row in self.sandbox.account.rows(box):
            total += 1
            text = row["msg"]
            if box == "sent":
                text += f" {row['is_send']}{row['is_delivered']}"
            while mirrored and mirrored[0] < row["id"]:
                differ, mirrored = differ + 1, next(here, None)
            if mirrored and mirrored[0] == row["id"]:
                differ, mirrored = differ + (mirrored[1] != text), next(here, None)
            else:
                differ += 1
        return [differ + (mirrored is not None) + sum(1 for _ in here), total]


def main() -> None:
    service = Service(*map(int, sys.argv[1:]))
    print(json.dumps(service.sandbox.base_url), flush=True)
    for line in sys.stdin:
        what, *given = json.loads(line)
        print(json.dumps(getattr(service, what)(*given)), flush=True)


if __name__ == "__main__":
    main()
