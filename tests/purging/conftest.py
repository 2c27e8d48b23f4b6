"""A purge in simulated time: the passes, a mirror on disk, and a stand-in over real HTTP."""

import pytest
from bench_of_purges import Bench


@pytest.fixture
def make(tmp_path):
    """Start benches; keywords are those of `[purge]`, and what `Bench` takes."""
    started = []

    def make(**how):
        bench = Bench(tmp_path / str(len(started)), **how)
        started.append(bench)
        return bench.__enter__()

    make.started = started
    yield make
    for bench in started:
        bench.__exit__(None, None, None)


@pytest.fixture
def bench(make):
    """Messages of two phones, one a day in each box, for eighteen days, mirrored."""
    return make()
