"""Pages that are read, asked over ASGI: which databases they are about, and what is on them."""

import re
import sqlite3

import pytest
from webs import ANNA, BEELINE, BORIS, LONG, NASTY, START, ask, device, received, sent

from semysync.mirror.file import open_reader
from semysync.web import reading
from semysync.web.search import query_of, search

PAGES = "/semysync/-"
TALK = f"{PAGES}/conversations/~2B79201234567"


def keys(html):
    return re.findall(r'<li id="((?:in|out|draft)-\d+)"', html)


def test_conversations_are_listed_with_the_last_message_and_what_is_unread(mirror, serve):
    path = mirror(received(1), received(2, BORIS, "When?"), sent(3, text="Tomorrow"))

    html = serve(path).get(f"{PAGES}/conversations").text

    assert html.index("Tomorrow") < html.index("When?")
    assert "You: </span>Tomorrow" in html
    assert len(re.findall(r'1<span class="unseen"> unread', html)) == 2
    assert f"{TALK}#end" in html


def test_a_conversation_has_both_directions_in_order_with_marks_that_can_be_read_aloud(
    mirror, serve
):
    path = mirror(
        received(1),
        sent(2, is_delivered=1),
        sent(3, is_send=0, is_error_send=1),
        received(4, channel="whatsapp"),
        devices=[device(351, label="Kitchen")],
    )

    html = serve(path).get(TALK).text

    assert keys(html) == ["in-1", "out-2", "out-3", "in-4"]
    assert '<span aria-hidden="true">✓✓</span> delivered' in html
    assert '<span aria-hidden="true">!</span> failed' in html
    assert "Kitchen · whatsapp" in html


def test_pages_of_a_conversation_leave_nothing_out_and_repeat_nothing(mirror, serve):
    same = [received(n, at=START) for n in range(1, 150)]
    both = [sent(n, at=START) for n in range(100, 200)]
    path = mirror(*same, *both)
    ask(path, "update inbox set received_at = null where id < 5")
    served = serve(path)

    seen, address = [], TALK
    while address:
        html = served.get(address).text
        seen = keys(html) + seen
        earlier = re.search(r'rel="prev" href="([^"#]+)', html)
        address = earlier and earlier[1].replace("&amp;", "&")

    assert len(seen) == len(set(seen)) == 149 + 100
    assert seen[:4] == ["in-1", "in-2", "in-3", "in-4"]
    forth, address = [], f"{TALK}?after={seen[0]}"
    while address:
        html = served.get(address).text
        forth += keys(html)
        later = re.search(r'rel="next" href="([^"#]+)', html)
        address = later and later[1].replace("&amp;", "&")
    assert forth == seen[1:]


def test_the_list_of_conversations_goes_on_where_the_page_ended(mirror, serve):
    path = mirror(*(received(n, f"+7920000{n:04d}", at=START) for n in range(1, 121)))
    ask(path, "insert into contacts (contact, name) values ('+4420', 'Silent')")
    served = serve(path)

    seen, address = [], f"{PAGES}/conversations"
    while address:
        html = served.get(address).text
        seen += re.findall(r'<li id="c-([^"]+)"', html)
        further = re.search(r'rel="next" href="([^"]+)', html)
        address = further and further[1].replace("&amp;", "&")

    assert len(seen) == len(set(seen)) == 121


@pytest.mark.parametrize("number", [1, 75, 150])
def test_a_message_can_be_linked_to_wherever_it_stands(mirror, serve, number):
    path = mirror(*(received(n) for n in range(1, 151)))
    served = serve(path)

    led = served.get(f"{PAGES}/message/in/{number}")
    page = served.get(led.headers["location"])

    assert led.headers["location"] == f"{TALK}?message=in-{number}#in-{number}"
    assert f'id="in-{number}" class="message in is-received asked"' in page.text


def test_the_link_of_a_draft_leads_to_the_message_that_it_became(mirror, serve):
    path = mirror(sent(7))
    ask(path, "insert into outbox (phone, text) values (?, 'Ready')", ANNA)
    now = "updated_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')"
    ask(path, f"update outbox set contact = phone, {now}")
    served = serve(path)
    assert served.get(f"{PAGES}/message/draft/1").headers["location"].endswith("#draft-1")

    ask(path, f"update outbox set status = 'sending', attempts = 1, {now}")
    ask(path, f"update outbox set status = 'sent', sent_id = 7, {now}")

    assert served.get(f"{PAGES}/message/draft/1").headers["location"].endswith("#out-7")


def test_the_link_of_what_belongs_to_no_conversation_leads_to_it_all_the_same(mirror, serve):
    path = mirror(received(1), sent(7))
    for box in ("inbox", "sent"):
        ask(path, f"update {box} set contact = null, phone = null")
    ask(path, "insert into outbox (phone, text) values ('+79201234567', 'Hello')")
    now = "updated_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')"
    ask(path, f"update outbox set contact = '', {now}")
    served = serve(path)

    led = {
        key: served.get(f"{PAGES}/message/{key}").headers["location"]
        for key in ("in/1", "out/7", "draft/1")
    }

    assert led["in/1"] == "/semysync/inbox/1"
    assert led["out/7"] == "/semysync/sent/7"
    assert all(served.get(address).status_code == 200 for address in led.values()), led


def test_texts_are_never_more_than_texts(mirror, serve):
    path = mirror(received(1, text=NASTY), received(2, text=LONG), received(3, "a/b?<b>&.json'"))
    served = serve(path)

    answer = served.get(TALK)

    assert "<script>document" not in answer.text
    assert "&lt;script&gt;" in answer.text
    assert LONG in answer.text
    assert "\0" not in answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    strange = re.search(r'href="([^"]+a~2Fb[^"]+)#end"', served.get(f"{PAGES}/conversations").text)
    assert "a/b?&lt;b&gt;&amp;.json&#39;" in served.get(strange[1]).text


def test_a_draft_is_shown_before_the_daemon_has_seen_it_and_after_it_was_given_up(mirror, serve):
    path = mirror(received(1))
    served = serve(path)
    ask(path, "insert into outbox (phone, text) values ('+7 920 123-45-67', 'Soon')")
    assert keys(served.get(TALK).text) == ["in-1", "draft-1"]

    now = "updated_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')"
    ask(path, f"update outbox set contact = '{ANNA}', {now}")
    assert keys(served.get(TALK).text) == ["in-1", "draft-1"]

    ask(path, f"update outbox set status = 'rejected', error = 'No such device', {now}")
    html = served.get(TALK).text

    assert keys(html) == ["in-1", "draft-1"]
    assert "No such device" in html


def test_a_time_whose_zone_is_not_known_is_shown_as_it_was_printed(mirror, serve):
    from semysync.times import ANYWHERE

    served = serve(mirror(received(1), locale=ANYWHERE))
    html, table = served.get(TALK).text, served.get("/semysync/inbox").text

    assert "<time" not in html
    assert '<span class="printed" title="as it was printed' in html
    assert '<span title="as it was printed: the zone is not known">2026-11-23 09:01:00' in table


@pytest.mark.parametrize(
    "words",
    ['"', "'", "*", "AND", "NOT x", "a OR", "(", "^", "col:x", "-", "\0", "é*", "😂", "<b>", "a-b"],
)
def test_a_search_takes_any_text(mirror, serve, words):
    served = serve(mirror(received(1)))

    for address in (f"{PAGES}/conversations", TALK):
        for typed in (words, f"{words} %", "_" + words * 3):
            assert served.get(address, params={"q": typed}).status_code == 200


def test_a_search_finds_words_and_their_beginnings_in_both_boxes(mirror, serve):
    path = mirror(
        received(1, text="Когда будет заказ?"),
        sent(2, text="заказ готов"),
        sent(3, BORIS, "заказывайте"),
        sent(4, text="other"),
    )
    served = serve(path)

    here = served.get(TALK, params={"q": "ЗАКАЗ"}).text
    everywhere = served.get(f"{PAGES}/conversations", params={"q": "заказ"}).text

    assert keys(here) == ["out-2", "in-1"]
    assert "<mark>заказ</mark>ывайте" in everywhere
    assert "other" not in everywhere


def test_a_long_conversation_is_searched_as_a_short_one_is(mirror, monkeypatch):
    path = mirror(*(received(n, text=f"gate {n % 7}") for n in range(1, 200)), sent(5, BORIS))
    with sqlite3.connect(path) as conn:
        conn.row_factory = sqlite3.Row
        short = search(conn, "gate 3", ANNA)
        monkeypatch.setattr("semysync.web.search.SHORT", 10)
        long = search(conn, "gate 3", ANNA)
        nobody = search(conn, "gate", "+1")
    conn.close()

    assert short == long
    assert len(short) == 29
    assert nobody == []


def test_names_and_parts_of_numbers_are_found(mirror, serve):
    path = mirror(received(1), received(2, BORIS), received(3, BEELINE))
    ask(path, "update contacts set name = '100% Анна' where contact = ?", ANNA)
    served = serve(path)

    def found(words):
        html = served.get(f"{PAGES}/conversations", params={"q": words}).text
        return set(re.findall(r'<li id="c-([^"]+)"', html))

    assert found("анна") == found("920 123") == found("0%") == {"%2B79201234567"}
    assert found("beel") == {"Beeline"}
    assert found("%") == {"%2B79201234567"}


def test_what_is_new_is_told_by_a_part_of_the_page_and_nothing_by_a_304(mirror, serve):
    path = mirror(received(1))
    served = serve(path)

    first = served.get(f"{TALK}?part=live")
    same = served.get(f"{TALK}?part=live", headers={"If-None-Match": first.headers["etag"]})
    ask(path, "insert into outbox (phone, text) values (?, 'Soon')", ANNA)
    other = served.get(f"{TALK}?part=live", headers={"If-None-Match": first.headers["etag"]})

    assert first.status_code == 200
    assert "<html" not in first.text
    assert same.status_code == 304
    assert other.status_code == 200
    assert "Soon" in other.text


@pytest.mark.parametrize(
    "address",
    [
        f"{PAGES}/conversations/~2B1234",
        f"{TALK}?message=in-99",
        f"{TALK}?before=nothing",
        f"{TALK}?after=in-99999999999999999999999",
        f"{TALK}?after=in-{'9' * 5000}",
        f"{PAGES}/drafts/{'9' * 5000}",
        f"{PAGES}/message/in/{'9' * 5000}",
        f"{TALK}?message=in-2",
        f"{PAGES}/message/out/99999999999999999999999",
        f"{PAGES}/drafts/99999999999999999999999",
        "/nothing/-/conversations",
        "/other/-/conversations",
    ],
)
def test_what_is_not_there_is_not_found(mirror, serve, tmp_path, address):
    with sqlite3.connect(tmp_path / "other.db") as conn:
        conn.execute("create table messages (contact text, received_at text)")
    conn.close()

    answer = serve(mirror(received(1), received(2, BORIS)), tmp_path / "other.db").get(address)

    assert answer.status_code == 404


def test_other_databases_are_left_alone_and_mirrors_may_have_any_name(mirror, serve, tmp_path):
    one = mirror(received(1), name="my phones.db")
    two = mirror(received(1, BORIS, "In the second"), name="two.db")
    with sqlite3.connect(tmp_path / "other.db") as conn:
        conn.execute("create table inbox (contact text, received_at text)")
        conn.execute("insert into inbox values ('+79201234567', '2026-11-23T09:41:13.657724Z')")
    conn.close()
    served = serve(one, two, tmp_path / "other.db")

    home = served.get("/").text
    other = served.get("/other/inbox").text

    assert "Conversations of my phones" in home
    assert "Conversations of two" in home
    assert "of other" not in home
    assert "<time" not in other
    assert "/-/conversations/" not in other
    assert "semysync/tables" not in other
    assert "semysync/tables" in served.get("/-/dashboards/two").text
    assert "Charts of two" in other
    assert "unanswered" not in served.get("/other").text
    assert "In the second" in served.get("/two/-/conversations").text
    assert served.get("/my~20phones/-/conversations").status_code == 200


def test_cells_of_datasettes_tables_lead_to_conversations_and_hold_times(mirror, serve):
    served = serve(mirror(received(1), sent(2)))

    table = served.get("/semysync/messages").text
    query = served.get("/semysync?sql=select+contact,+at+from+messages").text

    for html in (table, query):
        assert f'<a href="{TALK}#end" dir="auto">+79201234567</a>' in html
        assert '<time datetime="2026-11-23T09:01:00.000000Z" data-local="second">' in html
    for name in ("tables.js", "tables.css", "colours.css"):
        assert f"/-/static-plugins/semysync/{name}" in table
        assert served.get(f"/-/static-plugins/semysync/{name}").status_code == 200
    rows = served.get("/semysync/messages.json?_shape=array").json()
    assert rows[0]["contact"] == ANNA


def test_devices_are_called_by_their_names_in_tables(mirror, serve):
    path = mirror(received(1), sent(2, device_id=9), devices=[device(351, label="<Kitchen>")])
    served = serve(path)

    for table in ("inbox", "messages"):
        html = served.get(f"/semysync/{table}").text
        assert (
            '<a href="/semysync/devices/351" dir="auto">&lt;Kitchen&gt;</a>&nbsp;<em>351</em>'
            in html
        )
    assert "devices/9" not in served.get("/semysync/sent").text


def test_a_file_of_another_version_is_no_error_but_a_sentence(mirror, serve):
    path = mirror(received(1))
    ask(path, "pragma user_version = 9999")

    answer = serve(path).get(f"{PAGES}/conversations")

    assert answer.status_code == 503
    assert "install the newer one" in answer.text


def test_an_immutable_copy_is_readable_and_has_no_forms(mirror, serve, tmp_path):
    copy = tmp_path / "copy.db"
    ask(mirror(received(1)), "vacuum into ?", str(copy))
    metadata = {"plugins": {"semysync": {"allow_send": True}}}

    html = serve(immutables=[str(copy)], metadata=metadata).get(
        "/copy/-/conversations/~2B79201234567"
    )

    assert "Hello" in html.text
    assert "<textarea" not in html.text


def test_who_may_not_see_a_table_sees_no_conversations(mirror, serve):
    path = mirror(received(1))
    hidden = {"databases": {"semysync": {"tables": {"inbox": {"allow": {"id": "root"}}}}}}

    served = serve(path, metadata=hidden)

    assert served.get(TALK).status_code == 403
    assert served.get(TALK, "root").status_code == 200


def test_who_may_not_see_messages_has_no_way_to_them_in_the_menu(mirror, serve):
    path = mirror(received(1))
    hidden = {"databases": {"semysync": {"tables": {"messages": {"allow": {"id": "root"}}}}}}

    served = serve(path, metadata=hidden)

    assert "Conversations" not in served.get("/").text
    assert "Conversations" in served.get("/", "root").text


def test_a_file_that_is_no_database_is_no_mirror_and_does_not_hide_others(mirror, serve, tmp_path):
    path = mirror(received(1))
    other = tmp_path / "other.db"
    other.write_bytes(b"SQLite format 3\0" + b"no database" * 999)

    served = serve(path, other)

    assert served.get(TALK).status_code == 200


def test_a_file_that_takes_the_mirrors_place_is_told_and_so_is_none(mirror, serve, tmp_path):
    path, other = mirror(received(1)), mirror(received(1, text="Of the other"), name="other.db")
    served = serve(path)
    assert served.get(TALK).status_code == 200

    other.replace(path)
    replaced = served.get(TALK, "root")
    wrote = served.post(f"{PAGES}/send", {"phone": ANNA, "text": "Kept"}, "root")
    path.unlink()
    gone = served.get(TALK)

    assert (replaced.status_code, wrote.status_code) == (503, 503)
    assert gone.status_code in {503, 500}  # Datasette itself may be the first to miss the file
    assert "was replaced since this server was started: start it again" in replaced.text
    assert "was replaced" in wrote.text
    assert gone.status_code == 500 or "there is no mirror at" in gone.text.lower()


def test_a_file_that_is_damaged_is_a_sentence(mirror, serve):
    path = mirror(received(1))
    [(root,)] = ask(path, "select rootpage from sqlite_master where name = 'inbox'")
    [(size,)] = ask(path, "pragma page_size")
    ask(path, "pragma wal_checkpoint(truncate)")
    served = serve(path)
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)

    answer = served.get(TALK)

    assert answer.status_code == 503
    assert "is damaged: restore a copy of it" in answer.text


def test_a_reader_who_would_lock_the_owner_out_is_refused_at_the_start(mirror, serve, monkeypatch):
    from datasette.utils import StartupError

    monkeypatch.setattr("semysync.web.mirrors.harm", lambda path: f"do not open {path.name}")

    with pytest.raises(StartupError, match=r"do not open semysync\.db"):
        serve(mirror(received(1)))


def test_every_query_of_ours_runs_and_is_offered(mirror, serve):
    from semysync.mirror.reading.queries import QUERIES

    path = mirror(received(1), sent(2, is_delivered=1, delivered_at=START), devices=[device(351)])
    served = serve(path)

    for query in QUERIES:
        assert served.get(f"/semysync/{query.name}.json").json()["ok"], query.name


def test_every_table_and_column_is_described_and_nothing_that_is_not_there(store, rows):
    from semysync.web.descriptions import TABLES

    tables = {
        name
        for (name,) in rows(
            """select name from sqlite_master where type in ('table', 'view')
                and name not like 'sqlite%' and name not like '%_fts%'"""
        )
    }
    assert set(TABLES) == tables
    for name in tables - {"_sqlite_migrations"}:
        columns = {row[0] for row in rows("select name from pragma_table_xinfo(?)", name)}
        assert set(TABLES[name]["columns"]) == columns, name
        assert TABLES[name]["description"]
        for key in ("sort", "sort_desc", "label_column"):
            assert TABLES[name].get(key) in {*columns, None}, name
        for key in ("facets", "units"):
            assert set(TABLES[name].get(key, ())) <= columns, name


def test_pages_of_a_described_table_work_with_units_facets_and_order(mirror, serve):
    served = serve(mirror(received(1), devices=[device(351, battery=80)]))

    for table in ("devices", "health", "outbox", "inbox", "sent", "messages", "conversations"):
        answer = served.get(f"/semysync/{table}")
        assert answer.status_code == 200, table
    assert "80&nbsp;%" in served.get("/semysync/devices").text
    assert "minutes east of UTC" in served.get("/semysync/inbox").text


def test_what_somebody_says_of_their_own_tables_goes_before_ours(mirror, serve):
    own = {"databases": {"semysync": {"tables": {"inbox": {"description": "My own words"}}}}}
    served = serve(mirror(received(1)), metadata=own)

    for _ in range(2):
        html = served.get("/semysync/inbox").text
        assert "My own words" in html
        assert "minutes east of UTC" in html


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ("order 17", '"order" AND "17"*'),
        ('say "hi there"', '"say" AND "hi there"'),
        ("order -late", '"order" NOT "late"*'),
        ('an "open', '"an" AND "open"'),
    ],
)
def test_the_last_word_of_a_search_may_not_be_finished(words, match):
    assert query_of(words).match == match


def test_an_emoji_is_found_though_the_index_knows_none(mirror, serve):
    path = mirror(received(1, text="Great 😂"), received(2, text="Great"), sent(3, BORIS, "😂😂"))
    served = serve(path)

    assert keys(served.get(TALK, params={"q": "😂"}).text) == ["in-1"]
    assert keys(served.get(TALK, params={"q": "great 😂"}).text) == ["in-1"]
    everywhere = served.get(f"{PAGES}/conversations", params={"q": "😂"}).text
    assert "/message/in/1" in everywhere
    assert "/message/out/3" in everywhere


def test_a_search_that_takes_too_long_is_no_error(mirror, serve, monkeypatch):
    monkeypatch.setattr("semysync.web.mirrors.PATIENCE_MS", 1)
    path = mirror(*(received(n, text="nothing of it " * 50) for n in range(1, 3000)))

    answer = serve(path).get(TALK, params={"q": "😂"})

    assert answer.status_code == 503
    assert "That took too long" in answer.text


def test_the_pages_go_along_indexes(mirror):
    path = mirror(received(1), sent(2))
    conn = open_reader(path)
    named = dict.fromkeys(("contact", "at", "id", "rank", "most", "like", "digits"), "1")
    statements = [*reading.OLDER, *reading.NEWER, *reading.UNDATED, reading.NEWEST]

    plans = [
        row["detail"]
        for statement in statements
        for row in conn.execute(f"explain query plan {statement}", named)
    ]
    conn.close()

    assert not [plan for plan in plans if plan.startswith("SCAN")]


def test_the_statements_of_the_charts_give_few_rows_of_the_columns_that_are_drawn(mirror, serve):
    from datetime import UTC, datetime, timedelta

    from semysync.mirror.reading.plots import PLOTS

    now = datetime.now(UTC).replace(tzinfo=None)
    path = mirror(
        *(received(n, at=now - timedelta(minutes=20 * n)) for n in range(1, 3000)),
        *(sent(n, at=now - timedelta(minutes=n), is_delivered=1, delivered_at=now)
          for n in range(1, 2000)),
        sent(5000, at=now, is_send=0, is_error=1),
        devices=[device(351, battery=80)],
    )  # fmt: skip
    ask(path, "insert into outbox (phone, text) values (?, 'Wait')", ANNA)
    ask(path, "insert into account (at, messages_left) values (strftime('%Y-%m-%d', 'now'), 7)")

    for plot in PLOTS:
        answer = serve(path).get("/semysync.json", params={"sql": plot.sql, "_shape": "objects"})
        rows, wanted = answer.json()["rows"], {plot.x, plot.y, plot.series} - {None}
        assert rows, plot.name
        assert set(rows[0]) == wanted, plot.name
        assert not answer.json()["truncated"], plot.name


def test_the_share_of_deliveries_is_counted_by_rank(mirror):
    from datetime import UTC, datetime, timedelta

    from semysync.mirror.reading.plots import DELIVERY

    noon = datetime.now(UTC).replace(tzinfo=None, hour=0, minute=0) - timedelta(hours=12)
    path = mirror(
        *(
            sent(n, at=noon, is_delivered=1, delivered_at=noon + timedelta(seconds=n))
            for n in range(1, 201)
        )
    )

    rows = ask(path, DELIVERY.sql)

    assert [(row[1], row[2]) for row in rows] == [
        ("half of them", 100.0),
        ("90 of 100", 180.0),
        ("99 of 100", 198.0),
    ]


ODD = ["%00", "%ff", "%ed%a0%80", "%D9%A1", "9" * 19, "9" * 50_001, "in-%D9%A1", "+a" * 9_000]
ASKED = {
    "conversations": ["q", "at", "contact"],
    "conversations/~2B79201234567": ["q", "message", "before", "after"],
    "conversations/nobody": ["q"],
    "conversations/~FF": [],
    "conversations/~00": [],
    "conversations/%ff": [],
    f"conversations/{'x' * 10_000}": [],
    "compose": ["phone", "text"],
    "drafts": [],
    f"drafts/{'9' * 30}": [],
    "drafts/%D9%A1": [],
    f"message/in/{'9' * 30}": [],
    "message/draft/7": [],
}


def test_no_address_and_no_question_makes_a_page_fail(mirror, serve):
    served = serve(mirror(received(1), sent(2)))
    questions = ["part=live", "part=%00"]
    addresses = [
        f"{PAGES}/{address}?{question}"
        for address, names in ASKED.items()
        for question in [*questions, *(f"{name}={odd}" for name in names for odd in ODD)]
    ]

    answers = {address: served.get(address, "root").status_code for address in addresses}

    assert {a[:60]: status for a, status in answers.items() if status not in {200, 302, 404}} == {}


@pytest.mark.parametrize("question", ["before=in-1", "after=out-2"])
def test_beyond_the_ends_of_a_conversation_is_its_newest_page(mirror, serve, question):
    answer = serve(mirror(received(1), sent(2))).get(f"{TALK}?{question}")

    assert keys(answer.text) == ["in-1", "out-2"]


@pytest.mark.parametrize("page", [f"{PAGES}/conversations", TALK])
@pytest.mark.parametrize(
    ("words", "text", "shown"),
    [
        ("order", "Your ORDER, reorder", "Your <mark>ORDER</mark>, reorder"),
        ("ord", "Your order", "Your <mark>ord</mark>er"),
        ("script", "<script>&amp;", "&lt;<mark>script</mark>&gt;&amp;amp;"),
        ('"is ready"', "it is  ready", "it <mark>is  ready</mark>"),
        ("еще", "Ещё раз", "<mark>Ещё</mark> раз"),
        ("order -no", "order", "<mark>order</mark>"),
    ],
)
def test_what_was_searched_for_is_marked(mirror, serve, page, words, text, shown):  # noqa: PLR0917
    answer = serve(mirror(received(1, text=text))).get(page, params={"q": words})

    assert f">{shown}</" in answer.text


def test_without_a_search_nothing_is_marked(mirror, serve):
    assert "<mark>" not in serve(mirror(received(1))).get(TALK).text
