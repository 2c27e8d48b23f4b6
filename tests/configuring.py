"""A configuration from its text, and what is said of one with mistakes."""

import pytest

from semysync.config import load
from semysync.errors import ConfigError

SECRET = "0123456789abcdef-secret"  #: no complaint shows it


@pytest.fixture
def read(tmp_path):
    """Load a configuration from its text."""

    def read(text):
        path = tmp_path / "config.toml"
        path.write_text(text, encoding="utf-8")
        return load(path, {})

    return read


@pytest.fixture
def complaint(read):
    """Load a configuration that has mistakes; return what is said of them, a line each."""

    def complaint(text):
        with pytest.raises(ConfigError) as caught:
            read(text)
        assert SECRET not in str(caught.value)
        return [line.strip() for line in str(caught.value).splitlines()[1:]]

    return complaint
