"""
The configuration: a TOML file made into a frozen `Config`.

`load` in `reading` finds and reads the file; `sections` are what it makes of it; what can be wrong
with values that are well-formed is in `mistakes`, and for hooks and the listener in `hooks` and
`listening`.
"""

from semysync.config.hooks import Hook
from semysync.config.listening import Http
from semysync.config.reading import find, load
from semysync.config.sections import (
    SYSTEM_CONFIG,
    Api,
    Backup,
    Config,
    Devices,
    Log,
    Purge,
    Replica,
    Send,
    checked_token,
    usual_place,
)

__all__ = [
    "SYSTEM_CONFIG",
    "Api",
    "Backup",
    "Config",
    "Devices",
    "Hook",
    "Http",
    "Log",
    "Purge",
    "Replica",
    "Send",
    "checked_token",
    "find",
    "load",
    "usual_place",
]
