"""Mirrors, and Datasette over them; see `webs`."""

from webs import mirror, serve

__all__ = ["mirror", "serve"]
