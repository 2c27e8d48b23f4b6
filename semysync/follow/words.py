"""Say in words what has happened, for people who are notified. Nothing here does any I/O."""

from semysync.mirror.reading.tellings import Telling

BODIES = {
    "sending.fenced": "Another machine sends for this account: nothing goes out from here any more.",
    "device.offline": "It has not been in touch for some time.",
    "device.online": "It is in touch again.",
    "device.battery_low": "Its battery is low.",
    "device.battery_ok": "Its battery is charged again.",
}


def in_words(telling: Telling) -> tuple[str, str]:
    """Return a title, and what to say below it."""
    kind = str(telling["kind"])
    family, _, what = kind.partition(".")
    about = telling.get("message") or telling.get("draft") or telling.get("unconfirmed")
    if about:
        who = telling.get("name") or about.get("contact") or about.get("phone") or "unknown"
        text = about.get("text") or "(no text)"
        if kind in {"message.received", "webhook.unconfirmed"}:
            return f"From {who}", text
        status = what.replace("_", " ")
        if about.get("direction") == "in":
            return f"From {who}: {status}", text
        why = (telling.get("draft") or {}).get("error")
        return f"To {who}: {status}", f"{text}\n\n{why}" if why else text
    if device := telling.get("device"):
        name = device.get("label") or device.get("name") or device.get("id")
        battery = device.get("battery")
        charge = f" Battery: {battery} %." if battery is not None else ""
        said = BODIES.get(kind, kind)
        return f"Phone {name}: {what.replace('_', ' ')}", said + charge
    facts = ", ".join(f"{key}: {value}" for key, value in (telling.get("data") or {}).items())
    return f"semysync, {family}: {what.replace('_', ' ')}", BODIES.get(kind, facts or kind)
