"""How to install the daemon under systemd: the commands, as `init --systemd` prints them."""

import re
import sys
from pathlib import Path

from semysync.errors import ConfigError

PREFIX = Path("/opt/semysync")  #: where the units look for the program
INSTALLED = Path(sys.prefix, "share", "semysync")  #: where pip puts them

COMMANDS = """\
# The program, where the units look for it
python3 -m venv {prefix}
{prefix}/bin/pip install {package}

# The user of the daemon, and the group of the programs that may read and send
install -m 644 {files}/systemd/sysusers.conf /etc/sysusers.d/semysync.conf
systemd-sysusers

# The configuration, and the token in a file that only root can read
install -d -m 750 -g semysync /etc/semysync
install -m 640 -g semysync {files}/config.example.toml /etc/semysync/{name}.toml
install -m 600 /dev/null /etc/semysync/{token}
editor /etc/semysync/{token}

# The daemon
install -m 644 {files}/systemd/*.service {files}/systemd/*.timer /etc/systemd/system/
systemctl daemon-reload
systemctl enable --now {service}
systemctl status {service}

# A copy of the mirror every night, once `path` in [backup] says where to
systemctl enable --now {timer}
"""


def commands(account: str | None = None, *, files: Path | None = None) -> str:
    """
    Return the commands, for root, that install the daemon under systemd.

    `account` names one of several, each with a configuration, a token and a file of its own;
    `files` is where the example of the former and the folder `systemd` are. Raises `ConfigError`
    where the name of the account would be none for a unit.
    """
    if account is not None and (
        not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", account) or account == "config"
    ):
        raise ConfigError(
            f"an account is named by letters, digits, `.`, `-` and `_`, and not `config`: {account!r}"
        )
    at = "@" if account else ""
    files = files or installed_files()
    return COMMANDS.format(
        prefix=PREFIX,
        package="semysync" if files == INSTALLED else files,
        files=files,
        name=account or "config",
        token=f"{account}.token" if account else "token",
        service=f"semysync{at}{account or ''}.service",
        timer=f"semysync-backup{at}{account or ''}.timer",
    )


def installed_files() -> Path:
    """Return where the units and the example are: the sources, or what was installed of them."""
    sources = Path(__file__).parents[2]
    if (sources / "systemd" / "semysync.service").exists():
        return sources
    return INSTALLED
