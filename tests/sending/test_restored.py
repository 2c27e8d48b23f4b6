"""A mirror that was restored from a copy, or moved."""

import errno
import socket

import pytest
from rig import GONE_OUT, PHONE, after, number

from semysync.errors import MirrorBusy, MirrorUnusable
from semysync.mirror.outbox.claims import Claims, this_host


def sent_after_a_copy(rig):
    """A copy in which a draft waits that has gone out since."""
    rig.draft("before", number(9))
    rig.until_out()
    rig.run(30)
    held = rig.draft("held", number(1), status="held")
    draft = rig.draft("Hello", send_at=after(rig.time.passed_s + 10))
    copy = rig.copy()
    rig.until(draft, "delivered")
    return copy, draft, held


@pytest.mark.parametrize("way", ["older", "no claims", "other host", "empty claims"])
def test_a_restored_mirror_finds_what_it_had_sent(rig, way):
    copy, draft, held = sent_after_a_copy(rig)
    rig.put_back(copy, claims=way != "no claims")
    claims = rig.mirror.with_name(f"{rig.mirror.name}-claims")
    if way == "other host":
        rig.host = "there"
    if way == "empty claims":
        claims.write_bytes(b"")

    rig.start(loaded=False)
    rig.steps()
    doubted, before = rig.statuses(), rig.made()
    rig.until(draft, *GONE_OUT)
    rig.run(300)

    assert doubted[1:] == ["unknown", "unknown"]
    assert before == rig.made() == ["before", "Hello"]
    assert rig.of(held) == "held"


def test_a_copy_that_is_put_back_twice_sends_nothing_again(rig):
    copy, draft, _ = sent_after_a_copy(rig)
    for _ in range(2):
        rig.put_back(copy)

        rig.start(loaded=False)
        rig.until(draft, *GONE_OUT)
        rig.run(300)

        assert rig.made() == ["before", "Hello"]


def test_a_later_copy_that_is_put_back_after_an_older_one_sends_nothing_again(rig):
    rig.draft("before", number(9))
    rig.until_out()
    older = rig.copy("older.db")
    later, draft, _ = sent_after_a_copy(rig)
    rig.put_back(older)
    rig.start(loaded=False)
    rig.run(60)
    rig.until(rig.draft("another", number(8)), *GONE_OUT)  # as many claims as the later one has
    rig.put_back(later)

    rig.start(loaded=False)
    rig.until(draft, *GONE_OUT)
    rig.run(300)

    assert rig.made() == ["before", "before", "Hello", "another"]


def test_copies_from_either_side_of_a_claim_that_was_not_noted_do_not_agree(rig, monkeypatch):
    rig.draft("before", number(9))
    rig.until_out()
    older = rig.copy("older.db")
    rig.draft("claimed", number(8))
    with monkeypatch.context() as patched:
        patched.setattr(rig.claims, "note", no_room)
        with pytest.raises(MirrorBusy):
            rig.steps()
    draft = rig.draft("Hello", send_at=after(rig.time.passed_s + 60))
    between = rig.copy("between.db")
    rig.put_back(older)
    rig.start(loaded=False)
    rig.until(rig.draft("Hello"), *GONE_OUT)  # as many claims as the other copy has
    rig.put_back(between)

    rig.start(loaded=False)
    rig.until(draft, *GONE_OUT)
    rig.run(300)

    assert sorted(rig.made()) == ["Hello", "before", "claimed"]


def test_an_old_message_of_the_same_text_is_not_taken_for_a_restored_draft(rig):
    rig.sandbox.account.sent_elsewhere(PHONE, "Hello")
    rig.run(30)
    rig.draft("before", number(9))
    rig.until_out()
    draft = rig.draft("Hello", send_at=after(rig.time.passed_s + 10))
    copy = rig.copy()
    rig.cancel(draft)
    rig.draft("another", number(8))
    rig.until(3, *GONE_OUT)
    rig.put_back(copy)

    rig.start()
    rig.until_out()

    assert rig.made() == ["before", "another", "Hello"]


def test_a_restored_mirror_sends_what_had_not_gone_out(rig):
    rig.draft("before", number(9))
    rig.until_out()
    draft = rig.draft("Hello", send_at=after(rig.time.passed_s + 10))
    copy = rig.copy()
    rig.cancel(draft)
    other = rig.draft("another", number(8))
    rig.until(other, *GONE_OUT)
    rig.put_back(copy)

    rig.start()
    rig.until_out()

    assert rig.made() == ["before", "another", "Hello"]
    assert rig.events(draft).count("unknown") == 1


def test_a_disk_that_is_full_again_and_again_makes_no_restored_mirror(rig, monkeypatch):
    rig.draft("before", number(9))
    rig.until_out()
    first = rig.draft("Hello")
    monkeypatch.setattr(rig.claims, "note", no_room)
    with pytest.raises(MirrorBusy):
        rig.steps()

    second = rig.draft("another", number(1))
    with monkeypatch.context() as patched:
        patched.setattr(Claims, "note", no_room)
        with pytest.raises(MirrorBusy):  # as the daemon begins anew after each failure
            begin_anew_and_send(rig)
    rig.again()

    assert not rig.sender.restored
    assert (rig.of(first), rig.of(second)) == ("unknown", "queued")
    rig.until_out()
    assert sorted(rig.made()) == ["Hello", "another", "before"]


def begin_anew_and_send(rig):
    rig.again()
    rig.steps()


def no_room(*_):
    raise MirrorBusy("no space left on device")


def test_a_claims_file_that_cannot_be_opened_or_written_lets_nothing_be_sent(tmp_path, monkeypatch):
    (tmp_path / "other.db-claims").mkdir()
    with pytest.raises(MirrorUnusable, match=r"cannot open .*other.db-claims: Is a directory"):
        Claims(tmp_path / "other.db")

    def fdatasync(_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("os.fdatasync", fdatasync)
    with (
        Claims(tmp_path / "m.db") as claims,
        pytest.raises(MirrorBusy, match="Input/output error; nothing is sent before that works"),
    ):
        claims.note(1)


def test_a_machine_without_a_number_is_known_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr("semysync.mirror.outbox.claims.MACHINE_ID", tmp_path / "nowhere")

    assert this_host() == socket.gethostname()


def test_a_claims_file_that_says_nonsense_is_a_restore(tmp_path):
    mirror = tmp_path / "m.db"
    mirror.with_name("m.db-claims").write_bytes(b"\xff\xfe nonsense\n")

    with Claims(mirror, host="here") as claims:
        assert not claims.agree_with(0, None)


def test_numbers_that_the_copy_lacks_are_not_given_again(rig):
    copy, *_ = sent_after_a_copy(rig)
    lacking = rig.draft("lacking", number(2), status="held")
    rig.put_back(copy)

    rig.start(loaded=False)
    rig.start(loaded=False)  # once more, before anything has a number
    first, second = rig.draft("one", number(3)), rig.draft("two", number(4))

    assert lacking < 10
    assert (first, second) == (1_000_001, 1_000_002)
