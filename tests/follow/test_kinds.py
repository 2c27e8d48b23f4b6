"""The list of kinds, which hooks are held to, is all that the code writes."""

import re
from pathlib import Path

from semysync.event_kinds import KINDS
from semysync.mirror.outbox.drafts import ENDED, WAITING

SOURCE = Path(__file__).parents[2] / "semysync"
FAMILIES = "|".join(sorted({kind.partition(".")[0] for kind in KINDS}))


def written(family=FAMILIES, among=(".",)):
    """The kinds that stand in the code as they are, without what is only logged."""
    kind = rf"[\"']((?:{family})\.[a-z_]+)[\"']"
    for path in (path for folder in among for path in (SOURCE / folder).rglob("*.py")):
        text = re.sub(r"(log\.\w+|Trouble)\([^\"]*\"[^\"]*\"", "", path.read_text(encoding="utf-8"))
        yield from re.findall(kind, text)


def test_every_kind_that_is_written_is_listed():
    assert set(written()) - set(KINDS) == set()


def test_the_tables_write_no_kind_of_another_family():
    found = {kind for kind in written("[a-z]+", ("mirror",)) if not kind.endswith((".db", ".yml"))}

    assert {"purge.done", "draft.resent", "hook.dead"} <= found <= set(KINDS)


def test_every_status_of_a_draft_and_of_a_message_is_a_kind():
    for status in (*WAITING, *ENDED):
        assert f"draft.{status}" in KINDS
    for status in ("accepted", "on_phone", "sent", "delivered", "failed", "cancelled"):
        assert f"message.{status}" in KINDS


def test_every_kind_is_written_somewhere():
    text = "\n".join(
        path.read_text("utf-8") for path in SOURCE.rglob("*.py") if path.parent.name != "follow"
    )
    made = {f"draft.{status}" for status in (*WAITING, *ENDED)}
    made |= {kind for kind in KINDS if kind.startswith("message.")}  # from the status of a row

    assert [kind for kind in KINDS if kind not in text and kind not in made] == []
