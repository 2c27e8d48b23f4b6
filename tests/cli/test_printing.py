"""How facts are printed as JSON where there are very many."""

import json
import tracemalloc

import pytest

from semysync.cli.printing import OneByOne, print_json


@pytest.mark.parametrize("count", [0, 1, 2, 30_000])
def test_a_long_list_is_one_value_of_json_and_never_there_as_a_whole(capsys, count):
    rows = [{"box": "inbox", "text": "café \x9b \u2028", "message_id": n} for n in range(count)]

    print_json({"differences": OneByOne(iter(rows)), "left": count})

    printed = capsys.readouterr().out
    assert json.loads(printed) == {"differences": rows, "left": count}
    assert printed.startswith('{\n  "differences": [')
    assert "\x9b" not in printed


def test_many_of_them_take_no_memory(monkeypatch):
    monkeypatch.setattr("click.echo", lambda *_, **__: None)
    rows = ({"box": "inbox", "message_id": n, "day": "2026-11-26"} for n in range(60_000))

    tracemalloc.start()
    print_json({"differences": OneByOne(rows)})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 3_000_000
