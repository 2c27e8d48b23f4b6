"""
Pictures of every page, for a person to look at: light and dark, on a screen and on a phone.

    PYTHONPATH=tests .venv/bin/python tests/web/pictures.py FOLDER
    PYTHONPATH=tests .venv/bin/python tests/web/pictures.py --readme .pictures

The second line makes the two that the README shows: a terminal with `semysync demo`, and a conversation.
"""

import contextlib
import html
import os
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from playwright.sync_api import sync_playwright
from webs import ANNA, BEELINE, BORIS, LONG, NASTY, ask, device, mirror_at, received, sent

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]
TALK = "/semysync/-/conversations/~2B79201234567"
PAGES = {
    "conversations": "/semysync/-/conversations",
    "search": "/semysync/-/conversations?q=order",
    "conversation": f"{TALK}#end",
    "found": f"{TALK}?q=4711",
    "linked": f"{TALK}?message=out-503",
    "compose": "/semysync/-/compose",
    "outbox": "/semysync/-/drafts",
    "draft": "/semysync/-/drafts/4",
    "missing": "/semysync/-/drafts/99",
    "charts": "/-/dashboards/semysync",
    "tables": "/semysync",
    "inbox": "/semysync/inbox",
}
LOOKS = {
    "light": {"color_scheme": "light", "viewport": {"width": 1100, "height": 800}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1100, "height": 800}},
    "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 800}},
    "phone-dark": {"color_scheme": "dark", "viewport": {"width": 390, "height": 800}},
}
NOW = "strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')"


def browser_here():
    """Return the path of a Chromium, the quickest of those that there are, or None."""
    names = "chromium-headless-shell", "chromium", "chromium-browser"
    return next(filter(None, map(shutil.which, names)), None)


def fill(path):
    """Make a mirror that has something of everything."""
    now = datetime.now(UTC).replace(tzinfo=None)

    def ago(minutes):
        return now - timedelta(minutes=minutes)

    texts = [
        "Is my order 17 ready?",
        "Спасибо!",
        "👋🏽 👨‍👩‍👧‍👦",
        "Tomorrow, please",
        "Vale, gracias",
    ]
    mirror_at(
        path,
        *(received(n, f"+7920{n % 23:07d}", texts[n % 5], ago(n * 97)) for n in range(1, 300)),
        *(
            sent(n, f"+7920{n % 19:07d}", "Your order is ready", ago(n * 61), is_delivered=n % 9 > 0,
                 delivered_at=ago(n * 61 - n % 7), device_id=(351, 352)[n % 2])
            for n in range(1, 400)
        ),
        received(501, ANNA, "Здравствуйте! Когда будет готов заказ №4711?", ago(1500)),
        sent(501, ANNA, "Завтра после обеда.", ago(1490), is_delivered=1),
        received(502, ANNA, NASTY, ago(300)),
        sent(502, ANNA, "That did not go out", ago(290), is_send=0, is_error=1),
        sent(503, ANNA, "Your order 4711 is on its way", ago(280), is_send=0, is_send_to_phone=1),
        received(503, ANNA, "مرحبا، متى يكون طلبي جاهزا؟ رقم الطلب 4711", ago(200)),
        received(504, ANNA, "שלום, האם ההזמנה מוכנה?", ago(190)),
        received(505, ANNA, "Donaudampfschifffahrtsgesellschaftskapitän" * 8, ago(100)),
        received(506, ANNA, LONG, ago(80)),
        sent(504, ANNA, "Ready. Until 18:00.\n\nKind regards", ago(20)),
        received(507, ANNA, "Thanks!", ago(5), device_id=353, channel="whatsapp"),
        received(508, BEELINE, "Ваш баланс 100 руб.", ago(3)),
        devices=[
            device(351, label="Kitchen", battery=80),
            device(352, label="Desk", battery=35),
            device(353, name="Pixel 6a", channel="whatsapp", battery=60),
        ],
    )  # fmt: skip
    ask(path, "update contacts set name = 'Анна Иванова' where contact = ?", ANNA)
    drafts = (
        (ANNA, "Does Thursday suit you?", "queued", None),
        (ANNA, "Reminder: tomorrow at nine", "queued", "2100-01-01T09:00Z"),
        (ANNA, "Held for review", "held", None),
        (BORIS, "Your parcel is here", "queued", None),
        (BORIS, "Too late", "queued", None),
    )
    for draft in drafts:
        ask(path, "insert into outbox (phone, text, status, send_at) values (?, ?, ?, ?)", *draft)
    for move in (
        f"contact = phone, updated_at = {NOW} where id > 3",
        f"status = 'sending', attempts = 1, updated_at = {NOW} where id > 3",
        f"status = 'sent', sent_id = 504, updated_at = {NOW} where id = 4",
        f"status = 'rejected', error = 'No such device', updated_at = {NOW} where id = 5",
    ):
        ask(path, f"update outbox set {move}")


def take(browser, origin, state, folder, looks=LOOKS):
    """Write a picture of each page in each look."""
    for look, options in looks.items():
        with contextlib.closing(
            browser.new_context(base_url=origin, storage_state=state, locale="en-GB", **options)
        ) as context:
            page = context.new_page()
            for name, address in PAGES.items():
                page.goto(address, wait_until="networkidle" if name == "charts" else "load")
                page.screenshot(path=folder / f"{name}-{look}.png", full_page=name == "charts")
            page.goto(TALK)
            page.get_by_label("Message", exact=True).fill("say [ussd] please 😂")
            page.get_by_text("By which phone, and when").click()
            page.get_by_role("button", name="Send").click()
            page.get_by_role("alert").wait_for()
            page.wait_for_load_state()
            page.screenshot(path=folder / f"refused-{look}.png")


#: a morning in a shop: minutes ago, and what was written (None: by the shop, as a draft)
TALKED = (
    (190, "in", "Good morning! Do you have the blue kettle in stock?"),
    (184, "out", "Good morning, Anna. Yes, two are left. Shall we keep one for you?"),
    (181, "in", "Yes please, I come by this afternoon"),
    (35, "out", "Your order 4711 is ready. We are open until 18:00."),
    (12, "in", "Great, спасибо! I am on my way"),
)


def fill_for_readme(path):
    """Make a mirror with one plain conversation among a few."""
    now = datetime.now(UTC).replace(tzinfo=None)
    mirror_at(
        path,
        *(
            received(n, ANNA, text, now - timedelta(minutes=ago))
            if direction == "in"
            else sent(n, ANNA, text, now - timedelta(minutes=ago), is_delivered=1)
            for n, (ago, direction, text) in enumerate(TALKED, 501)
        ),
        devices=[device(351, label="Desk", battery=80)],
    )
    ask(path, "update contacts set name = 'Anna Ivanova' where contact = ?", ANNA)
    ask(path, "insert into outbox (phone, text) values (?, 'See you soon!')", ANNA)


def take_for_readme(browser, origin, state, folder):
    """Write the picture of a conversation, and of a terminal that shows the demo."""
    look = {"viewport": {"width": 760, "height": 790}, "device_scale_factor": 1.25}
    with contextlib.closing(
        browser.new_context(base_url=origin, storage_state=state, locale="en-GB", **look)
    ) as context:
        page = context.new_page()
        page.goto(f"{TALK}#end")
        page.screenshot(path=folder / "conversation.png")
    with contextlib.closing(browser.new_context(viewport={"width": 760, "height": 100})) as context:
        page = context.new_page()
        page.set_content(terminal("demo"))
        page.screenshot(path=folder / "terminal.png", full_page=True)


def terminal(command):
    """Run `semysync COMMAND`, and return a page that looks like a terminal with what it printed."""
    printed = "\u4e00"
    while re.search("[\u3000-\u9fff]", printed):  # which the font below has no signs for
        printed = subprocess.run(
            [sys.executable, "-m", "semysync", command],
            env=os.environ | {"COLUMNS": "88"},
            stdout=subprocess.PIPE,
            encoding="utf-8",
            check=True,
        ).stdout
    shown = f"$ semysync {command}\n{printed}".partition("\nAsk it whatever")[0]
    return f"""<meta charset="utf-8"><style>
        body {{ margin: 0; padding: 14px 18px; background: #1d2127; color: #d8dee6;
                font: 13px/1.45 "DejaVu Sans Mono", "Liberation Mono", monospace }}
        pre {{ margin: 0; font: inherit }}</style><pre>{html.escape(shown)}</pre>"""


def main() -> None:
    readme, folder = "--readme" in sys.argv, Path(sys.argv[-1])
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made, sync_playwright() as playwright:
        path = Path(made, "semysync.db")
        (fill_for_readme if readme else fill)(path)
        command = [sys.executable, "-m", "semysync", "web", "--port", "0", "--database", str(path)]
        env = os.environ | {"PYTHONUNBUFFERED": "1"}
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, encoding="utf-8", env=env
        ) as process:
            try:
                link = next(line for line in iter(process.stdout.readline, "") if "http" in line)
                browser = playwright.chromium.launch(executable_path=browser_here(), args=FLAGS)
                context = browser.new_context()
                context.new_page().goto(link.strip())
                origin = re.match(r"\s*(http://[^/]+)", link)[1]
                (take_for_readme if readme else take)(
                    browser, origin, context.storage_state(), folder
                )
                browser.close()
            finally:
                process.terminate()


if __name__ == "__main__":
    main()
