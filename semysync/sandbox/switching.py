"""
Set switches: `parse` reads `name=value` texts, `changed` applies new values.

`described` yields what `semysync sandbox --list-switches` prints. A mistake is a `ValueError` whose
sentence names the nearest switch or the values that are allowed.
"""

import difflib
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import timedelta, timezone, tzinfo
from functools import cache
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints
from zoneinfo import ZoneInfo

import msgspec

from semysync.sandbox.switches import IGNORABLE, METHODS, Switches

_NAMED: dict[str, tuple[str, Collection[str]]] = {
    "fault_methods": ("methods ", METHODS),
    "delete_ignores": ("filters ", IGNORABLE),
}


class Described(NamedTuple):
    """One switch as a person reads it."""

    name: str
    values: str
    default: str
    sentence: str


def described() -> Iterator[Described]:
    """Every switch with its values, its default and its sentence, in the order of the class."""
    default = Switches()
    for name, hint in _hints().items():
        _, meta = get_args(hint)
        yield Described(name, _values(hint), str(getattr(default, name)), meta.description)


def parse(texts: Iterable[str], switches: Switches | None = None) -> Switches:
    """Switches from texts such as `cap=100`, on top of `switches` or the defaults."""
    values: dict[str, Any] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign:
            raise ValueError(f"a switch is given as name=value, got {text!r}")
        values[name.strip()] = value.strip()
    return changed(switches or Switches(), values)


def changed(switches: Switches, values: Mapping[str, Any]) -> Switches:
    """`switches` with new values, each checked; numbers may be given as text."""
    return msgspec.structs.replace(
        switches, **{name: _checked(name, value) for name, value in values.items()}
    )


def checked(switches: Switches) -> Switches:
    """The same switches, after a look at every value: a Struct itself checks none."""
    return changed(switches, msgspec.structs.asdict(switches))


def zone_of(text: str) -> tzinfo:
    """The zone that an offset such as `+03:00`, or an IANA name, stands for."""
    if match := re.fullmatch(r"([+-])(\d\d):(\d\d)", text):
        minutes = int(match[2]) * 60 + int(match[3])
        if minutes % 15:
            raise ValueError("zones stand at a multiple of fifteen minutes")
        return timezone(timedelta(minutes=-minutes if match[1] == "-" else minutes))
    return ZoneInfo(text)


def _checked(name: str, value: Any) -> Any:
    hint = _hints().get(name)
    if hint is None:
        near = difflib.get_close_matches(name, _hints(), n=1, cutoff=0.5)
        advice = f", did you mean {near[0]}?" if near else ""
        raise ValueError(f"there is no switch {name!r}{advice}")
    allowed = _values(hint)
    try:
        checked_value = msgspec.convert(_loosened(value, get_args(hint)[0]), hint, strict=False)
    except msgspec.ValidationError as exc:
        raise ValueError(f"{name} must be {allowed}, got {value!r}") from exc
    _check_meaning(name, checked_value)
    return checked_value


def _loosened(value: Any, bare: Any) -> Any:
    """`6` for "6" and "200" for 200: the type a literal switch has is nothing to know by heart."""
    if get_origin(bare) is Literal:
        return next((known for known in get_args(bare) if str(known) == str(value)), value)
    return value


def _check_meaning(name: str, value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {value!r}")
    if name == "refusal_code" and value == 0:
        raise ValueError("refusal_code must not be 0, which is success")
    if name in {"server_zone", "phone_zone"}:
        try:
            zone_of(value)
        except (ValueError, KeyError, OSError) as exc:
            raise ValueError(
                f"{name} must be an offset like +03:00 or an IANA name, got {value!r}"
            ) from exc
    kind, known = _NAMED.get(name, ("", ()))
    for part in filter(None, value.split(",")) if known else ():
        if part.strip() not in known:
            raise ValueError(f"{name} must name {kind}({', '.join(known)}), got {part!r}")


def _values(hint: Any) -> str:
    bare, meta = get_args(hint)
    if get_origin(bare) is Literal:
        return " | ".join(str(value) for value in get_args(bare))
    kind = {int: "a whole number", float: "a number", str: "a text"}[bare]
    return kind if meta.ge is None else f"{kind} of at least {meta.ge}"


@cache
def _hints() -> dict[str, Any]:
    return get_type_hints(Switches, include_extras=True)
