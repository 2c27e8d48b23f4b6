"""Whether a right is held can be seen without taking it, so that nobody is stood in the way of."""

import multiprocessing
import os

import pytest

from semysync.mirror.lock import Lock, Right, is_held


@pytest.fixture
def mirror(tmp_path):
    path = tmp_path / "semysync.db"
    path.touch()
    return path


def test_a_right_is_held_as_long_as_its_holder_lives(mirror):
    assert is_held(mirror, Right.SENDER) is False
    with Lock(mirror, Right.SENDER):
        assert is_held(mirror, Right.SENDER) is True
        assert is_held(mirror, Right.PURGE) is False
    assert is_held(mirror, Right.SENDER) is False


def test_a_link_to_the_mirror_leads_to_its_lock(mirror, tmp_path):
    (tmp_path / "link.db").symlink_to(mirror)

    with Lock(mirror, Right.SENDER):
        assert is_held(tmp_path / "link.db", Right.SENDER) is True


def test_an_ordinary_lock_on_the_file_is_not_the_right(mirror):
    import fcntl

    with Lock(mirror, Right.SENDER):
        pass
    with (mirror.parent / "semysync.db-sender.lock").open("r+") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)  # of the other kind
        assert is_held(mirror, Right.SENDER) is False


def hold(mirror, ready, done):
    with Lock(mirror, Right.SENDER):
        ready.set()
        done.wait(30)


def test_a_right_of_another_process_is_seen_whoever_we_are(mirror):
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    holder = context.Process(target=hold, args=(mirror, ready, done))
    holder.start()
    try:
        assert ready.wait(30)
        assert is_held(mirror, Right.SENDER) is True
    finally:
        done.set()
        holder.join()
    assert is_held(mirror, Right.SENDER) is False


def test_where_nothing_can_be_seen_nothing_is_claimed(mirror, monkeypatch):
    from pathlib import Path

    with Lock(mirror, Right.SENDER):
        pass

    def missing(*_, **__):
        raise FileNotFoundError(2, os.strerror(2), "/proc/locks")

    monkeypatch.setattr(Path, "read_text", missing)

    assert is_held(mirror, Right.SENDER) is None
