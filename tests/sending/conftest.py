"""A sender that runs in simulated time against the stand-in."""

import pytest
from rig import Rig


@pytest.fixture
def make(tmp_path):
    """Start rigs; keywords are those of `[send]`, and `switches` of the stand-in."""
    started = []

    def make(*, loaded=True, **how):
        rig = Rig(tmp_path / str(len(started)), **how)
        rig.mirror.parent.mkdir(exist_ok=True, parents=True)
        started.append(rig)
        return rig.__enter__()

    yield make
    for rig in started:
        rig.__exit__()


@pytest.fixture
def rig(make):
    """A stand-in with thirty messages, mirrored, and a sender with a settle time of a minute."""
    return make()
