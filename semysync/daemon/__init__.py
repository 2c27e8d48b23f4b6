"""
The daemon: when passes run, how they stop, and what the world is told of it.

`jobs` is the list of passes, and the place to begin. `tempo` decides when the next one of a kind
comes, without any I/O, and `gate` asks it for several threads; `loop` lets them begin, `passing`
takes one. `sending` is the thread of the sender, and `fence` stands before it where another machine
may have taken over. `process` holds lock, start and stop, and `run` is there; `signals` are those
that it waits for. The log hears of passes through `telling`, the service manager of how things are
(`standing`) through `systemd`.
"""
