"""The tables that passes write: what is called within a transaction, and decides nothing else."""
