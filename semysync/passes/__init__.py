"""
The passes: each is one round of a job, and only here the account and the mirror meet.

Start reading at `sync`, the list of steps. `boxes` and `pull` bring messages in, `send`, `request`
and `search` bring drafts out, `refresh`, `verify` and `purge` look after what is there. What they
go by is decided in modules that do no I/O: `look`, `turns`, `due`, `lost`, `expendable`, `clocks`.
"""
