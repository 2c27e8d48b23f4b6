"""semysync keeps a SQLite mirror of a SemySMS account. Start reading at `passes/sync.py`."""

__version__ = "0.1.0"
