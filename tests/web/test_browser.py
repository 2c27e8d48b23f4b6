"""The pages in a real browser, over a real daemon that sends through the stand-in."""

import os
import random
import re
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from pictures import FLAGS, LOOKS, PAGES, browser_here, fill, take
from playwright.sync_api import expect, sync_playwright
from processes import TOKEN, Program
from webs import LONG, NASTY, START, ask, device, mirror_at, received, sent

from semysync.mirror.reading.plots import PLOTS
from semysync.sandbox import Sandbox, Switches
from semysync.segments import EXTENSION, GSM, segments

ANNA = "+79201234567"
TALK = "/semysync/-/conversations/~2B79201234567"
SOON_MS = 15_000
expect.set_options(timeout=SOON_MS)
# What a test asks for itself; and a key to the colours that is empty has no place.
HARMLESS = re.compile("status of (40|503)|<(g|path)> attribute")


@pytest.fixture(scope="module")
def chromium():
    """A headless Chromium, the same for all tests."""
    found = browser_here()
    if not found:
        sentence = "these tests need a browser: apt-get install chromium-headless-shell"
        pytest.fail(sentence) if "CI" in os.environ else pytest.skip(sentence)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def opened(process, chromium, **options):
    """A page of someone who has come by the login link; nothing is loaded from elsewhere."""
    line = next(line for line in iter(process.stdout.readline, "") if "http" in line)
    link = line.strip()
    usual = {"timezone_id": "Europe/Berlin", "locale": "en-GB", "base_url": link.split("/-/")[0]}
    context = chromium.new_context(**usual | options)
    context.set_default_timeout(SOON_MS)
    foreign, wrong = [], []
    context.on("request", lambda r: foreign.append(r.url) if usual["base_url"] not in r.url else 0)
    page = context.new_page()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else 0)
    try:
        page.goto(link)
        yield page
    finally:
        context.close()
    assert foreign == []
    assert [error for error in wrong if not HARMLESS.search(error)] == []


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A daemon over a stand-in whose phones deliver at once, and the program beside it."""
    program = Program(tmp_path_factory.mktemp("home"))
    switches = Switches(server_zone="+00:00", phone_zone="+00:00")
    with Sandbox(messages=60, devices=2, token=TOKEN, switches=switches) as sandbox:
        rest = "[pull]\ninbox_s = 1\nsent_s = 1\n"
        program.configure(sandbox.base_url, api="requests_per_minute = 6000", rest=rest)
        program.mirror_here()
        with program.running("run") as daemon:
            yield program, sandbox, daemon


@pytest.fixture
def page(world, chromium):
    with (
        world[0].running("web", "--port", "0") as process,
        opened(process, chromium) as page,
    ):
        yield page


@pytest.fixture
def shown(tmp_path, chromium):
    """Open a mirror of these messages, which nobody else writes."""
    with ExitStack() as stack:  # also what a page complains of when it is closed ends the program

        def open_(*messages, devices=(), filled=None, **options):
            program = Program(tmp_path)
            program.mirror.parent.mkdir(parents=True)
            if filled:
                filled(program.mirror)
            else:
                mirror_at(program.mirror, *messages, devices=devices)
            running = program.running("web", "--port", "0")
            process = stack.enter_context(running)
            return stack.enter_context(opened(process, chromium, **options)), program.mirror

        yield open_


def test_a_message_is_written_sent_and_seen_delivered_and_the_answer_appears(page, world):
    sandbox = world[1]
    page.get_by_role("link", name="New message").click()
    page.get_by_label("To").fill(ANNA)
    page.get_by_label("Message").fill("Your order 4711 is ready")
    expect(page.locator("#count")).to_have_text("24 characters, 1 SMS")
    page.get_by_role("button", name="Send").click()

    expect(page.locator(".way .done", has_text="delivered")).to_be_visible(timeout=SOON_MS)
    page.get_by_role("link", name="The conversation").click()
    expect(page.locator(".message", has_text="order 4711")).to_contain_text("delivered")

    sandbox.account.receive(ANNA, "Thank you, <b>Anna</b>")
    expect(page.locator(".message.in .body")).to_have_text("Thank you, <b>Anna</b>")

    page.get_by_role("button", name="Mark as read").click()
    expect(page.get_by_role("button", name="Mark as read")).to_have_count(0)


def test_an_answer_is_sent_from_the_conversation_and_its_draft_becomes_the_message(page):
    page.goto(f"/semysync/-/compose?phone={ANNA.replace('+', '%2B')}&text=First")
    page.get_by_role("button", name="Send").click()
    page.get_by_role("link", name="The conversation").click()
    box = page.get_by_label("Message", exact=True)
    box.fill("Sent by keyboard")
    expect(page.locator("#count")).to_have_text("16 characters, 1 SMS")
    box.press("Control+Enter")

    mine = page.locator(".message", has_text="Sent by keyboard")
    expect(mine).to_have_count(1)
    expect(mine).to_contain_text("delivered")
    expect(mine).to_have_attribute("id", re.compile(r"out-\d+"))


def test_a_conversation_is_found_by_a_word_and_a_message_by_its_link(shown):
    page, _ = shown(
        *(received(n, text=f"Number {n} of many") for n in range(1, 121)),
        sent(500, "+4420", "The invoice is attached"),
    )
    page.get_by_role("searchbox").fill("number 17")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Number 17 of many").click()

    target = page.locator("#in-17")
    expect(target).to_be_in_viewport()
    page.get_by_role("link", name="To the end").click()
    expect(page.locator("#in-120")).to_be_in_viewport()
    page.get_by_role("link", name="Earlier messages").click()
    expect(page.locator("#in-70")).to_be_in_viewport()


def test_a_draft_is_held_and_cancelled_by_keyboard(shown):
    page, path = shown(received(1))
    ask(path, "insert into outbox (phone, text) values (?, 'Not yet')", ANNA)
    page.get_by_role("link", name="Outbox").press("Enter")
    with page.expect_navigation():  # else the next key may meet the page that is just left
        page.get_by_role("button", name="Hold draft 1").press("Enter")
    expect(page.locator("#draft-1")).to_contain_text("held")

    page.get_by_role("button", name="Cancel draft 1").press("Enter")

    expect(page.locator("#fini #draft-1")).to_contain_text("cancelled")
    assert ask(path, "select status from outbox") == [("cancelled",)]


def test_texts_run_no_scripts_and_nothing_breaks_the_page(shown):
    page, _ = shown(
        received(1, text=NASTY), received(2, text=LONG), received(3, text="W" * 3000), sent(4)
    )
    page.goto(TALK)

    expect(page.locator("#in-1 .body")).to_contain_text("<script>document.title = 'owned'</script>")
    assert page.title() == ANNA
    assert page.locator("#in-2 .body").inner_text() == LONG
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_what_is_refused_is_said_and_the_text_and_the_local_time_stay(shown):
    page, path = shown(received(1))
    page.goto(TALK)
    page.get_by_text("By which phone, and when").click()
    page.get_by_label("Not before").fill("2097-07-01T12:00")
    page.get_by_label("Message", exact=True).fill("say [ussd] to me")
    page.get_by_role("button", name="Send").click()

    expect(page.get_by_role("alert")).to_contain_text("would take for a command")
    expect(page.get_by_label("Message", exact=True)).to_have_value("say [ussd] to me")
    expect(page.get_by_label("Not before")).to_have_value("2097-07-01T12:00")
    page.get_by_label("Message", exact=True).fill("two\nlines 😂")
    page.get_by_role("button", name="Send").click()

    expect(page.locator(".draft")).to_contain_text("goes out at 1 Jul 2097, 12:00")
    assert ask(path, "select text, send_at from outbox") == [
        ("two\nlines 😂", "2097-07-01T10:00:00.000000Z")
    ]


def test_a_page_says_that_it_may_be_old_and_when_it_is_no_more(shown):
    page, path = shown(received(1))
    page.goto(TALK)
    page.route("**/*part=live", lambda route: route.fulfill(status=503))
    expect(page.locator(".stale")).to_have_text(re.compile("may be old"))

    page.unroute("**/*part=live")
    page.evaluate("dispatchEvent(new Event('focus'))")
    ask(path, "insert into outbox (phone, text) values (?, 'Later')", ANNA)
    page.reload()

    expect(page.locator(".draft")).to_have_count(1)
    expect(page.locator(".stale")).to_have_count(0)


def test_a_menu_closes_by_escape_and_by_a_click_beside_it(shown):
    page, _ = shown(received(1))
    page.goto(TALK)
    more = page.get_by_label("More")
    more.press("Enter")
    expect(page.get_by_label("Name")).to_be_visible()

    page.get_by_label("Name").press("Escape")

    expect(page.get_by_label("Name")).to_be_hidden()
    expect(more).to_be_focused()
    more.click()
    page.locator("#in-1").click()
    expect(page.get_by_label("Name")).to_be_hidden()


@pytest.mark.parametrize("address", ["/semysync/inbox", "/semysync", "/-/dashboards/semysync"])
def test_datasettes_pages_are_as_dark_as_ours_and_lead_back_to_them(shown, address):
    page, _ = shown(received(1), color_scheme="dark")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")

    page.goto(address)

    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == ground
    page.locator("header .ours").get_by_role("link", name="Conversations").click()
    expect(page).to_have_title("Conversations")


def test_a_double_click_makes_one_message(shown):
    page, path = shown(received(1))
    page.goto(TALK)
    page.get_by_label("Message", exact=True).fill("Once")
    page.get_by_role("button", name="Send").dblclick()

    expect(page.locator(".draft")).to_have_count(1)
    assert ask(path, "select count(*) from outbox") == [(1,)]


def test_the_length_in_sms_is_that_of_the_program(shown):
    page, _ = shown(received(1))
    page.goto("/semysync/-/compose")
    chance = random.Random(8)
    letters = [*GSM, *EXTENSION, "я", "😂", "\u0301", "`", "ç"]
    texts = [letter * n for letter in "a€я😂" for n in (0, 1, 35, 67, 70, 71, 153, 160, 161, 500)]
    texts += [
        "".join(chance.choices(letters[: chance.choice((128, 137, 142))], k=k)) for k in range(400)
    ]
    texts += ["a" * 152 + "€" * 2, "a" * 66 + "я😂" * 40]

    counted = page.evaluate(
        """async texts => {
            const { segments } = await import("/-/static-plugins/semysync/segments.js");
            return texts.map(text => segments(text).parts);
        }""",
        texts,
    )

    assert counted == [segments(text) for text in texts]


def test_times_are_of_the_viewers_zone_on_our_pages_and_on_datasettes(shown):
    page, _ = shown(received(1, at=START.replace(hour=23, minute=30)))
    page.goto(TALK)

    expect(page.locator("#in-1 time")).to_have_text("00:30")
    expect(page.locator("li.day")).to_have_text(re.compile("Tuesday,? 24 November 2026"))
    page.goto("/semysync/inbox")
    expect(page.locator("td.col-received_at time")).to_have_text("24 Nov 2026, 00:30:00")


def test_without_a_script_all_can_be_read_and_a_message_written(shown):
    page, path = shown(received(1), sent(2), java_script_enabled=False)
    page.get_by_role("link", name=re.compile(re.escape(ANNA))).click()

    expect(page.locator("#in-1 time")).to_have_text("09:01 UTC")
    page.get_by_label("Message", exact=True).fill("No script")
    page.get_by_role("button", name="Send").click()

    expect(page.locator(".draft .body")).to_have_text("No script")
    assert ask(path, "select text from outbox") == [("No script",)]


def test_nobody_reads_or_writes_without_the_link_which_works_once(shown, chromium):
    page, path = shown(received(1))
    origin = page.url.split("/semysync")[0]
    with closing(chromium.new_context()) as stranger:
        for address in (
            "/",
            "/semysync",
            "/semysync.db",
            "/semysync/inbox.json",
            TALK,
            "/-/metadata",
        ):
            answer = stranger.request.get(f"{origin}{address}", max_redirects=5)
            assert answer.status == 403, address
            assert "+7920" not in answer.text()
        wrote = stranger.request.post(
            f"{origin}/semysync/-/send", form={"phone": ANNA, "text": "x"}
        )
        assert wrote.status == 403
    assert ask(path, "select count(*) from outbox") == [(0,)]


def test_on_a_phone_nothing_is_wider_than_the_screen(shown):
    phone = {"viewport": {"width": 360, "height": 700}, "is_mobile": True, "has_touch": True}
    page, path = shown(
        received(1, text="https://example.com/" + "x" * 400),
        received(2, text="مرحبا، متى يكون طلبي جاهزا؟"),
        sent(3, text="Ж" * 200),
        **phone,
    )
    ask(path, "insert into outbox (phone, text) values (?, 'Wait')", ANNA)

    for address in (TALK, "/semysync/-/conversations", "/semysync/-/drafts", "/semysync/-/compose"):
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), address
    page.goto(TALK)
    page.wait_for_function("scrollY + innerHeight > document.documentElement.scrollHeight - 2")
    right = page.locator("#in-2 .body").evaluate("e => getComputedStyle(e).direction")
    assert right == "rtl"


def test_pictures_of_every_page_are_written_for_a_person_to_look_at(shown, chromium, tmp_path):
    page, _ = shown(filled=fill)
    look = {"phone-dark": LOOKS["phone-dark"]}

    take(chromium, page.url.split("/semysync")[0], page.context.storage_state(), tmp_path, look)

    names = {path.name.removesuffix("-phone-dark.png") for path in tmp_path.glob("*.png")}
    assert names == {*PAGES, "refused"}


def test_charts_of_an_empty_mirror_are_empty_and_no_higher_than_others(shown):
    page, _ = shown()
    page.goto("/-/dashboards/semysync")

    for plot in PLOTS:
        chart = page.locator(f"#chart-{plot.name} svg.marks")
        expect(chart).to_be_attached()
        assert chart.bounding_box()["height"] < 400, plot.name


def test_the_charts_are_drawn_from_the_mirror_alone(shown):
    now = datetime.now(UTC).replace(tzinfo=None)
    page, path = shown(
        *(received(n, at=now - timedelta(hours=n)) for n in range(1, 40)),
        sent(1, at=now - timedelta(hours=30), is_delivered=1, delivered_at=now),
        sent(2, at=now - timedelta(hours=2), is_send=0, is_error=1),
        devices=[device(351, label="Kitchen", battery=70)],
    )
    ask(path, "insert into outbox (phone, text) values (?, 'Wait')", ANNA)
    page.get_by_role("link", name="Charts").click()

    for plot in PLOTS:
        expect(page.locator(f"#chart-{plot.name} svg.marks")).to_be_visible()
    expect(page.locator("#chart-waiting")).to_have_text("1")
    expect(page.locator("#chart-verdict")).to_have_text("late")
    page.goto("/-/dashboards/semysync/days")
    expect(page.locator("svg.marks")).to_be_visible()
