"""Each module can be the first that is imported: a circle of imports shows only to some."""

import subprocess
import sys
from pathlib import Path

import semysync

CIRCLES = {"mirror", "passes", "service", "doctor"}  # where modules need one another

# Each in a child of a process that has imported what is slow, and nothing of ours.
CODE = """
import os, sys
import httpx, msgspec, phonenumbers, sqlite_utils, structlog
for name in sys.argv[1:]:
    child = os.fork()
    if not child:
        try:
            __import__(name)
        except ImportError as exc:
            if "semysync" in str(exc):
                print(name, exc, flush=True)
                os._exit(1)
        os._exit(0)
    os.waitpid(child, 0)
"""


def test_each_module_can_be_imported_first():
    root = Path(semysync.__file__).parent
    names = [
        ".".join(path.relative_to(root.parent).with_suffix("").parts)
        for path in sorted(root.rglob("*.py"))
        if path.name != "__init__.py" and path.parent.name in CIRCLES
    ]

    ended = subprocess.run(
        [sys.executable, "-c", CODE, *names], capture_output=True, encoding="utf-8", check=True
    )

    assert len(names) > 50
    assert ended.stdout == ""
