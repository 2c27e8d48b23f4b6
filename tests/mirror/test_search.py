"""What is typed into a search box: the parser by itself, and what the index makes of it."""

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semysync.mirror.reading.search import MOST_SPELLINGS, Query, Term


@pytest.mark.parametrize(
    ("typed", "match"),
    [
        ("order ready", '"order" AND "ready"'),
        ('"your order" pars* -cancelled', '"your order" AND "pars"* NOT "cancelled"'),
        ('-"not this" but', '"but" NOT "not this"'),
        ('an "open phrase', '"an" AND "open phrase"'),
        ("NEAR(a b) OR text:c ^d", '"NEAR(a" AND "b)" AND "OR" AND "text:c" AND "^d"'),
        ('say"this"', '"say" AND "this"'),
        ("Спасиб*", '"Спасиб"*'),
        ("Привет*", '("Привет"* OR "Привёт"*)'),
        ("ёж -Straße", '("ёж" OR "еж") NOT ("Straße" OR "Strasse")'),
        ("😀 yes", '"yes"'),
    ],
)
def test_what_is_typed_becomes_a_question_to_the_index(typed, match):
    assert Query.read(typed).match == match


@pytest.mark.parametrize(
    ("typed", "says"),
    [("", "name what to look for"), ('""', "name what to look for"), ("-no", "beside what is excluded")],
)  # fmt: skip
def test_a_search_for_nothing_is_a_sentence(typed, says):
    with pytest.raises(ValueError, match=says):
        Query.read(typed)


def test_what_the_index_knows_nothing_of_is_looked_for_in_the_text():
    query = Query.read("😀 -👎 -bad")

    assert query.match is None
    assert query.holds("fine 😀")
    assert not query.holds("fine")
    assert not query.holds("😀 👎")
    assert not query.holds("😀 BAD")


def test_a_dash_alone_is_looked_for_as_it_is():
    assert Query.read("- --").wanted == (Term("-"), Term("-"))


@pytest.fixture(scope="module")
def index():
    conn = sqlite3.connect(":memory:")
    conn.execute('create virtual table found using fts5 (text, tokenize="unicode61")')
    return conn


@given(st.text())
def test_any_text_is_safe_to_type(index, typed):
    try:
        query = Query.read(typed)
    except ValueError:
        return
    if query.match is not None:
        index.execute("select * from found where found match ?", (query.match,)).fetchall()


@given(st.lists(st.text("abгд ё", min_size=1), min_size=1), st.text("abгд ё", min_size=1))
def test_a_word_of_a_text_finds_it_and_so_does_its_beginning(index, texts, other):
    words = [word for text in texts for word in text.split()]
    if not words:
        return
    index.execute("delete from found")
    index.execute("insert into found (text) values (?)", (" ".join(words),))

    for typed in (" ".join(words), f"{words[0][:1]}*"):
        query = Query.read(typed)
        found = index.execute("select text from found where found match ?", (query.match,))
        assert found.fetchall() == [(" ".join(words),)]
    for word in other.split():
        excluded = Query.read(f"{words[0]} -{word}")
        found = index.execute("select 1 from found where found match ?", (excluded.match,))
        assert bool(found.fetchall()) == (word not in words)


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        ("еще", "Ещё раз"),
        ("ещё", "еще раз"),
        ('"все еще"', "Всё ещё жду"),
        ("ЕЩ*", "ещё"),
        ("strasse", "Hauptstraße"[5:]),
        ("Straße", "STRASSE 7"),
        ("cafe", "Café"),
        ("arger", "Ärger"),
        ("cafe\u0301", "Café"),
        ("прив*", "ПРИВЕТ"),
    ],
)
def test_a_word_is_found_as_people_write_it(typed, text):
    assert found(typed, text)


@pytest.mark.parametrize(("typed", "text"), [("иод", "йод"), ("все", "вес"), ("еще -ещё", "еще")])
def test_another_word_is_not_found(typed, text):
    assert not found(typed, text)


def test_a_long_phrase_has_a_bounded_number_of_spellings():
    typed = f'"{"ее ss е " * 60}"'

    assert Query.read(typed).match.count(" OR ") == MOST_SPELLINGS - 1
    assert found(typed, "ее ss е " * 60)


def found(typed, text):
    conn = sqlite3.connect(":memory:")
    conn.execute('create virtual table found using fts5 (text, tokenize="unicode61")')
    conn.execute("insert into found values (?)", (text,))
    query = "select 1 from found where found match ?"
    return bool(conn.execute(query, (Query.read(typed).match,)).fetchall())
