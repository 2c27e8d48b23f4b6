"""Drafts: what a user may do to them (`drafts`), and what the sender does (`sending`)."""
