"""What is written in the browser: by whom, through which form, and what the table says of it."""

import sqlite3
import threading
from contextlib import closing

import pytest
from webs import ANNA, BEELINE, NASTY, ask, device, received, sent

from semysync.web.forms import Answer

PAGES = "/semysync/-"
TALK = f"{PAGES}/conversations/~2B79201234567"
MOVED = "updated_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')"


def form(**fields):
    return {"phone": ANNA, "text": "Hello", "key": "web-1"} | fields


def drafts(path, columns="phone, text, status"):
    return ask(path, f"select {columns} from outbox order by id")


def test_an_answer_becomes_a_draft_and_leads_back_to_the_conversation(mirror, serve):
    path = mirror(received(1))

    answer = serve(path).post(f"{PAGES}/send", form(contact=ANNA), "root")

    assert answer.headers["location"] == f"{TALK}#end"
    assert drafts(path, "phone, text, status, client_key") == [(ANNA, "Hello", "queued", "web-1")]


def test_a_new_message_leads_to_its_draft_with_phone_and_time_as_chosen(mirror, serve):
    path = mirror(devices=[device(351)])
    chosen = form(device="351", send_at_utc="2100-01-01T09:00:00", send_at="2100-01-01T10:00")

    answer = serve(path).post(f"{PAGES}/send", chosen, "root")

    assert answer.headers["location"] == f"{PAGES}/drafts/1"
    assert drafts(path, "device, send_at") == [("351", "2100-01-01T09:00:00.000000Z")]


def test_without_a_script_a_time_is_utc_and_lines_end_as_in_a_message(mirror, serve):
    path = mirror()

    serve(path).post(f"{PAGES}/send", form(send_at="2100-01-01T10:00", text="a\r\nb"), "root")

    assert drafts(path, "send_at, text") == [("2100-01-01T10:00:00.000000Z", "a\nb")]


@pytest.mark.parametrize(
    ("wrong", "field", "sentence"),
    [
        ({"text": ""}, "text", "Text is empty"),
        ({"text": "x" * 1001}, "text", "Text is longer than 1000 characters"),
        ({"text": "say [ussd]"}, "text", "Text holds what the service would take for a command"),
        ({"text": "a\0b"}, "text", "Text holds a NUL character"),
        ({"phone": "Anna"}, "phone", "Phone is not a number such as +79201234567"),
        ({"device": "kitchen"}, "device", "Device is not a device id"),
        ({"send_at": "soon"}, "send_at", "Send_at is not a date with a time"),
    ],
)
@pytest.mark.parametrize("box", [{}, {"contact": ANNA}])
def test_what_the_table_refuses_is_said_in_its_words_and_nothing_typed_is_lost(  # noqa: PLR0917
    mirror, serve, wrong, field, sentence, box
):
    path = mirror(received(1))
    typed = form(**{"text": "Typed <b>", "send_at": "", **wrong})

    answer = serve(path).post(f"{PAGES}/send", typed | box, "root")

    assert answer.status_code == 400
    assert f'id="wrong-{field}" role="alert">{sentence}' in answer.text
    kept = typed["text"].replace("<", "&lt;").replace(">", "&gt;").replace("\0", "\ufffd")
    assert f">{kept}</textarea>" in answer.text
    assert drafts(path) == []


def test_a_form_that_is_sent_twice_is_one_message_and_one_that_was_changed_asks(mirror, serve):
    path = mirror(received(1))
    served = serve(path)

    first = served.post(f"{PAGES}/send", form(contact=ANNA), "root")
    second = served.post(f"{PAGES}/send", form(contact=ANNA), "root")
    changed = served.post(f"{PAGES}/send", form(contact=ANNA, text="Else"), "root")

    assert first.headers["location"] == second.headers["location"]
    assert changed.status_code == 400
    assert "This form was sent already, as draft 1" in changed.text
    assert ">Else</textarea>" in changed.text
    assert 'name="key" value="web-1"' not in changed.text
    assert drafts(path) == [(ANNA, "Hello", "queued")]


def test_a_form_that_is_sent_again_after_its_draft_was_deleted_leads_where_there_is_a_page(
    mirror, serve
):
    path = mirror()
    served = serve(path)
    served.post(f"{PAGES}/send", form(), "root")
    served.post(f"{PAGES}/drafts/1/cancel", {}, "root")
    ask(path, "delete from outbox")

    again = served.post(f"{PAGES}/send", form(), "root")

    assert served.get(again.headers["location"], "root").status_code == 200
    assert drafts(path) == []


@pytest.mark.parametrize("actor", [None, "someone"])
@pytest.mark.parametrize(
    "address",
    ["send", "drafts/1/cancel", "drafts/1/hold", "drafts/1/release"]
    + [f"conversations/~2B79201234567/{what}" for what in ("read", "name")],
)
def test_nobody_writes_who_was_not_allowed_to(mirror, serve, actor, address):
    path = mirror(received(1))
    ask(path, "insert into outbox (phone, text) values (?, 'Kept')", ANNA)
    before = list(sqlite3.connect(path).iterdump())

    answer = serve(path).post(f"{PAGES}/{address}", form(name="Owned", until="9"), actor)

    assert answer.status_code == 403
    assert list(sqlite3.connect(path).iterdump()) == before


def test_nobody_is_allowed_by_default_not_even_the_root_of_datasette(mirror, serve):
    path = mirror(received(1))
    served = serve(path, metadata={})

    assert served.post(f"{PAGES}/send", form(), "root").status_code == 403
    assert "<textarea" not in served.get(TALK, "root").text
    assert "you may read this mirror" in served.get(f"{PAGES}/compose", "root").text.lower()


def test_a_form_without_the_token_of_the_page_is_refused_also_without_any_cookie(mirror, serve):
    path = mirror(received(1))
    everyone = {"plugins": {"semysync": {"allow_send": True}}}
    served = serve(path, metadata=everyone)

    assert served.post(f"{PAGES}/send", form(), "root", token=False).status_code == 403
    assert served.post(f"{PAGES}/send", form(), None, token=False).status_code == 403
    assert drafts(path) == []
    assert served.post(f"{PAGES}/send", form(), None).status_code == 302


@pytest.mark.parametrize(
    ("site", "status"), [("same-origin", 302), ("same-site", 403), ("cross-site", 403)]
)
def test_a_form_of_another_site_is_refused_though_it_has_our_token(mirror, serve, site, status):
    path = mirror(received(1))

    answer = serve(path).post(f"{PAGES}/send", form(), "root", headers={"Sec-Fetch-Site": site})

    assert answer.status_code == status
    assert len(drafts(path)) == (status == 302)


@pytest.mark.parametrize("address", ["send", "drafts/1/cancel"])
def test_writing_is_no_get_and_reading_no_post(mirror, serve, address):
    served = serve(mirror(received(1)))

    assert served.get(f"{PAGES}/{address}", "root").status_code == 405
    assert served.post(TALK, {}, "root").status_code == 405


def test_sql_is_read_only_also_for_who_may_write(mirror, serve):
    served = serve(mirror(received(1)))

    answer = served.get("/semysync.json?sql=delete+from+inbox", "root")

    assert answer.status_code == 400


def test_a_draft_is_held_released_and_cancelled_by_its_buttons(mirror, serve):
    path = mirror()
    ask(path, "insert into outbox (phone, text) values (?, 'Hello')", ANNA)
    served = serve(path)

    for wish, status in (("hold", "held"), ("release", "queued"), ("cancel", "cancelled")):
        assert f"/drafts/1/{wish}" in served.get(f"{PAGES}/drafts/1", "root").text
        answer = served.post(f"{PAGES}/drafts/1/{wish}", {"back": "drafts"}, "root")
        assert answer.headers["location"] == f"{PAGES}/drafts#draft-1"
        assert drafts(path, "status") == [(status,)]
    ask(path, "insert into outbox (phone, text) values (?, 'Another')", ANNA)
    answer = served.post(f"{PAGES}/drafts/2/hold", {}, "root")
    assert answer.headers["location"] == f"{PAGES}/drafts/2"
    assert "<button" not in served.get(f"{PAGES}/drafts/1").text


def test_a_draft_is_for_somebody_with_a_name_before_the_daemon_has_seen_it(mirror, serve):
    path = mirror(received(1))
    ask(path, "update contacts set name = 'Anna'")
    ask(path, "insert into outbox (phone, text) values ('+7 920 123-45-67', 'Hello')")
    served = serve(path)

    assert "<bdi>Anna</bdi>" in served.get(f"{PAGES}/drafts").text
    page = served.get(f"{PAGES}/drafts/1").text
    assert "To <bdi>Anna</bdi>" in page
    assert f'href="{TALK}#end">The conversation' in page


def test_a_wish_that_comes_too_late_is_told_and_so_is_one_about_nothing(mirror, serve):
    path = mirror(sent(7, is_delivered=1))
    ask(path, "insert into outbox (phone, text) values (?, 'Hello')", ANNA)
    ask(path, f"update outbox set contact = phone, {MOVED}")
    ask(path, f"update outbox set status = 'sending', attempts = 1, {MOVED}")
    ask(path, f"update outbox set status = 'delivered', sent_id = 7, {MOVED}")
    served = serve(path)

    late = served.post(f"{PAGES}/drafts/1/cancel", {}, "root")
    none = served.post(f"{PAGES}/drafts/2/cancel", {}, "root")

    assert late.status_code == 409
    assert "is delivered: it is too late to cancel it" in late.text
    assert none.status_code == 404


def test_what_was_shown_is_read_and_what_came_meanwhile_is_not(mirror, serve):
    path = mirror(received(1), received(2), received(3))
    ask(path, "update inbox set received_at = '2026-11-23T10:00:00.000000Z' where id = 3")
    served = serve(path)

    served.post(f"{TALK}/read", {"until": "2026-11-23T09:02:00.000000Z"}, "root")
    assert ask(path, "select unread from conversations") == [(1,)]
    served.post(f"{TALK}/read", {"until": "2026-11-23T09:01:00.000000Z"}, "root")
    assert ask(path, "select unread from conversations") == [(1,)]
    served.post(f"{TALK}/read", {"until": "zzzz"}, "root")
    assert ask(path, "select unread, read_until from conversations") == [
        (0, "2026-11-23T10:00:00.000000Z")
    ]


def test_a_contact_is_named_and_the_name_taken_away(mirror, serve):
    path = mirror(received(1))
    served = serve(path)

    served.post(f"{TALK}/name", {"name": f"  Anna {NASTY} "}, "root")
    html = served.get(TALK, "root").text
    assert "Anna &lt;script&gt;" in html
    served.post(f"{PAGES}/conversations/~2B4420/name", {"name": "Nobody yet"}, "root")
    assert ask(path, "select count(*) from contacts") == [(2,)]
    for contact in (TALK, f"{PAGES}/conversations/~2B4420"):
        served.post(f"{contact}/name", {"name": " "}, "root")

    assert ask(path, "select contact, name from contacts") == [(ANNA, None)]


def test_a_sender_without_a_number_cannot_be_answered(mirror, serve):
    html = serve(mirror(received(1, BEELINE))).get(f"{PAGES}/conversations/Beeline", "root").text

    assert "no number to answer to" in html
    assert "<textarea" not in html


def test_what_came_by_whatsapp_is_answered_by_that_phone(mirror, serve):
    phones = [device(351), device(352, channel="whatsapp")]
    path = mirror(received(1), received(2, device_id=352, channel="whatsapp"), devices=phones)

    html = serve(path).get(TALK, "root").text

    assert '<option value="352" selected>' in html


def test_a_mirror_that_is_locked_for_long_is_told_and_nothing_typed_is_lost(
    mirror, serve, monkeypatch
):
    path = mirror(received(1))
    monkeypatch.setattr("semysync.mirror.file.BUSY_S", 0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin immediate")
        answer = serve(path).post(f"{PAGES}/send", form(contact=ANNA, text="Kept"), "root")

    assert answer.status_code == 503
    assert "another program has been writing" in answer.text.lower()
    assert ">Kept</textarea>" in answer.text


def test_a_wish_for_a_draft_of_a_locked_mirror_is_told_beside_the_draft(mirror, serve, monkeypatch):
    path = mirror()
    ask(path, "insert into outbox (phone, text) values (?, 'Hello')", ANNA)
    monkeypatch.setattr("semysync.mirror.file.BUSY_S", 0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin immediate")
        answer = serve(path).post(f"{PAGES}/drafts/1/hold", {}, "root")

    assert answer.status_code == 503
    assert "another program has been writing" in answer.text.lower()
    assert "/drafts/1/hold" in answer.text  # to try it again


@pytest.mark.parametrize("what", ["read", "name"])
def test_what_a_locked_mirror_does_not_take_is_told(mirror, serve, monkeypatch, what):
    path = mirror(received(1))
    monkeypatch.setattr("semysync.mirror.file.BUSY_S", 0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin immediate")
        answer = serve(path).post(f"{TALK}/{what}", form(name="Anna", until="9"), "root")

    assert answer.status_code == 503
    assert "another program has been writing" in answer.text.lower()


def test_pages_are_read_and_drafts_written_while_another_program_writes(mirror, serve):
    path = mirror(received(1))
    served, stop, failed = serve(path), threading.Event(), []

    def write():
        with closing(sqlite3.connect(path, timeout=5)) as conn:
            number = 10
            while not stop.wait(0.005):
                number += 1
                try:
                    with conn:
                        conn.execute(
                            """insert into inbox (id, contact, phone, text, channel, received_at,
                                                  mirrored_at)
                               values (?, ?, ?, 'x', 'sms', '2026-11-23T10:00:00.000000Z', '')""",
                            (number, ANNA, ANNA),
                        )
                except sqlite3.Error as exc:
                    failed.append(exc)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(20):
            assert served.get(TALK, "root").status_code == 200
            answer = served.post(f"{PAGES}/send", form(key=f"web-{number}"), "root")
            assert answer.status_code == 302, answer.text
    finally:
        stop.set()
        writer.join()

    assert failed == []
    assert len(drafts(path)) == 20


def test_every_form_has_a_key_of_its_own():
    assert Answer.new().key != Answer.new().key
    assert Answer.typed({"key": "web-7"}).key == "web-7"
    assert Answer.typed({}).key.startswith("web-")


FORM = "application/x-www-form-urlencoded"
PART = b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'


@pytest.mark.parametrize(
    ("body", "kind", "sentence"),
    [
        (
            PART % (b"csrftoken", b"{token}") + b"--x--\r\n",
            "multipart/form-data; boundary=x",
            "sent",
        ),
        (b"--x", "multipart/form-data", "A form is sent here as application/x-www-form-url"),
        (b'{"phone": "+79201234567"}', "application/json", "not as 'application/json'"),
        (b"csrftoken={token}&text=\xff\xfe", FORM, "not written in UTF-8"),
        (b"csrftoken={token}&text=%ff%fe&phone=%2B79201234567", FORM, "not written in UTF-8"),
        (b"csrftoken={token}&text=%ed%a0%80&phone=%2B79201234567", FORM, "not written in UTF-8"),
        (b"csrftoken=%C3%A9", FORM, "not of this page: open the page again"),
        (b"csrftoken={token}&text=" + b"x" * 2_000_000, FORM, "too large"),
    ],
)
@pytest.mark.parametrize(
    "page", ["send", "drafts/1/cancel", "conversations/~2B79201234567/name"], ids=lambda p: p[:5]
)
def test_what_is_no_form_of_ours_is_refused_with_a_sentence(  # noqa: PLR0917
    mirror, serve, page, body, kind, sentence
):
    path = mirror(received(1))

    answer = serve(path).post_raw(f"{PAGES}/{page}", body, kind)

    assert answer.status_code == 400
    assert sentence in answer.text
    assert drafts(path) == ask(path, "select name from contacts where name is not null") == []


def test_a_token_beside_the_form_that_no_page_has_is_refused_with_a_sentence(mirror, serve):
    answer = serve(mirror()).post_raw(f"{PAGES}/send", b"", FORM, **{"x-csrftoken": b"\xe9"})

    assert answer.status_code == 400


def test_forms_of_other_databases_are_left_alone(mirror, serve, tmp_path):
    other = tmp_path / "other.db"
    ask(other, "create table send (a)")

    answer = serve(mirror(), other).post_raw("/other/-/send", b"{}", "application/json")

    assert "A form is sent here" not in answer.text


def test_a_form_may_come_in_pieces_and_its_sender_may_go(mirror, serve):
    path = mirror(received(1))
    served = serve(path)
    body = f"csrftoken={served.token()}&phone=%2B79201234567&text=Hello".encode()
    whole = [
        {"type": "http.request", "body": body[:9], "more_body": True},
        {"type": "http.request", "body": body[9:], "more_body": False},
    ]
    gone = [whole[0], {"type": "http.disconnect"}]

    assert [m["status"] for m in served.over_asgi(f"{PAGES}/send", gone) if "status" in m] == []
    assert drafts(path) == []
    assert [m["status"] for m in served.over_asgi(f"{PAGES}/send", whole) if "status" in m] == [302]
    assert drafts(path) == [(ANNA, "Hello", "queued")]
