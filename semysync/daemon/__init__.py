"""
The daemon: when passes run, how they stop, and what the world is told of it.

`jobs` is the list of passes, and the place to begin. `tempo` decides when the next one of a kind
comes, without any I/O; `loop` lets them begin, `passing` takes one; `sending` is the thread of the
sender; `process` holds lock, start and stop, and `run` is there; `signals` are those that it waits
for.
"""
