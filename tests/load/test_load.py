"""Some seconds of load; `python -m tests.load` is ten minutes of it, on a million messages."""

from loading import Load


def test_under_load_nothing_is_lost_and_nobody_meets_a_lock(tmp_path):
    seen = Load(tmp_path, messages=3_000, minutes=0.03, in_rate=100, out_rate=50).run()

    assert seen.faults() == []
    assert len(seen.lags) > 100
    assert seen.drafts > 50
    assert all(seen.pages.values())
