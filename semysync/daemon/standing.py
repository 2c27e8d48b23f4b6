"""How things stand, in a line for `systemctl status`: no texts, numbers or words of the service."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from semysync.errors import SemysyncError
from semysync.mirror.file import explained, open_reader

ASK = "select verdict, inbox_lag_s, sent_lag_s, queued from health"


def standing(mirror: Path, loading: Mapping[str, int]) -> tuple[str, bool]:
    """Say how things stand, and whether all is well; where the mirror does not answer, why."""
    try:
        with explained(mirror, reading=True), closing(open_reader(mirror)) as conn:
            verdict, inbox_lag_s, sent_lag_s, queued = conn.execute(ASK).fetchone()
    except (SemysyncError, sqlite3.Error) as exc:  # somebody may have dropped the view
        return f"failing: {exc}", False
    is_well = verdict == "ok" and not loading
    return sentence(verdict, inbox_lag_s, sent_lag_s, queued, loading), is_well


def sentence(
    verdict: str,
    inbox_lag_s: int | None,
    sent_lag_s: int | None,
    queued: int,
    loading: Mapping[str, int],
) -> str:
    """Put the facts of the view `health` into words."""
    if loading:
        loads = ", ".join(f"{count:,} messages of {box}" for box, count in sorted(loading.items()))
        facts = [f"loading the history: {loads} so far"]
    else:
        facts = [f"{verdict}: inbox {_ago(inbox_lag_s)}, sent {_ago(sent_lag_s)}"]
        if verdict != "ok":
            facts.append("see `semysync status`")
    if queued:
        facts.append(f"{queued:,} draft{'s wait' if queued > 1 else ' waits'}")
    return "; ".join(facts)


def _ago(lag_s: int | None) -> str:
    return "never read" if lag_s is None else f"read {lag_s} s ago"
