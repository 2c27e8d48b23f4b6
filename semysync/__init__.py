"""semysync keeps a SQLite mirror of a SemySMS account. Start reading at `passes/sync.py`."""

__version__ = "1.0.0"
