"""What a test needs of the system beside Python: where it is missing that is said, and fails in CI."""

import os
import shutil
import subprocess

import pytest


def tool(name, *tried):
    """Return a program, which must take these arguments; else end the test with a sentence."""
    found = os.environ.get(name.upper()) or shutil.which(name)
    works = found and not (
        tried and subprocess.run([found, *tried], capture_output=True, check=False).returncode
    )
    if not works:
        sentence = f"NOT TESTED: {name} is missing, or too old"
        pytest.fail(sentence) if "CI" in os.environ else pytest.skip(sentence)
    return found
