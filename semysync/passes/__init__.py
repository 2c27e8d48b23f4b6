"""
The passes: each is one round of a job, and only here the account and the mirror meet.

Start reading at `sync`, the list of steps. `boxes` and `pull` bring messages in, by `scope` for the
whole account at once; `send`, `request`, `search` and `cancel` see drafts out; `refresh`, `verify`
and `purge`, with `remains`, look after what is there. What they go by is decided in modules that do
no I/O: `look`, `turns`, `due`, `plan`, `lost`, `expendable`, `clocks`.
"""
