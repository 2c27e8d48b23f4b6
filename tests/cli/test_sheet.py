"""Files of drafts as spreadsheets and programs write them, and those that are broken."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semysync.cli.sheet import BadSheet, lines

PHONE = "+79201234567"


def read(content):
    """The lines of a file: what is fine as fields, else the sentence, by number."""
    raw = content if isinstance(content, bytes) else content.encode()
    return {line.number: line.fields or line.error for line in lines(io.BytesIO(raw))}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_every_usual_form_is_read(delimiter, end, bom):
    rows = [["phone", "text", "device"], [PHONE, '"Hi, you; there\tand"', "351"], [PHONE, "b", ""]]

    found = read(bom + end.join(delimiter.join(row) for row in rows))

    assert found == {
        2: {"phone": PHONE, "text": "Hi, you; there\tand", "device": "351"},
        3: {"phone": PHONE, "text": "b", "device": ""},
    }


def test_names_may_be_capitals_and_excel_may_name_the_delimiter():
    assert read("sep=;\n Text ;Phone;\nHi;900;\n") == {3: {"text": "Hi", "phone": "900"}}


def test_numbers_are_those_of_the_file_whatever_is_blank_or_long():
    content = '\n\nphone,text\n\n1234,"two\nlines"\n,\n5678,x\n9999\n'

    assert read(content) == {
        5: {"phone": "1234", "text": "two\nlines"},
        8: {"phone": "5678", "text": "x"},
        9: {"phone": "9999"},
    }


def test_a_text_keeps_its_blanks_and_other_cells_lose_them():
    assert read("phone,text\n 900 , Hi \n") == {2: {"phone": "900", "text": " Hi "}}


def test_a_quote_that_is_left_open_costs_its_own_line_only():
    content = 'phone,text\n1234,"open\n2345,b\n3456,"also open\n4567,"d"\n5678,e\n'

    found = read(content)

    assert [number for number, got in found.items() if isinstance(got, str)] == [2, 4]
    assert "quote" in found[2]
    assert found[3] == {"phone": "2345", "text": "b"}
    assert found[5] == {"phone": "4567", "text": "d"}
    assert found[6] == {"phone": "5678", "text": "e"}


def test_a_quote_that_is_open_over_very_much_costs_no_more():
    content = 'phone,text\n1234,"open\n' + "2345,b\n" * 5000

    found = read(content)

    assert found[2] == "a quote is opened in it that is never closed"
    assert len(found) == 5001
    assert max(found) == 5002


def test_a_text_with_the_delimiter_in_it_is_refused_not_cut():
    assert "it has 3 cells for 2 columns" in read("phone,text\n900,Hi, you\n")[2]


def test_bytes_that_are_no_text_stay_in_their_line():
    found = read("phone,text\n900,ж\n".encode("cp1251") + b"901,b\n")

    assert found[2]["text"] == "\udce6"
    assert found[3]["text"] == "b"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "it is empty"),
        ("\n \n", "it is empty"),
        ("number,message\n", "'number', 'message' are none"),
        ("phone,text,sendat\n", "'sendat' is none"),
        ("+79201234567,Hi\n", "'+79201234567', 'hi' are none"),
        ("phone,text,phone\n", "'phone' is there twice"),
        ("text\n", "no column phone"),
        ("x" * 200_000, "names no columns"),
        ('phone,"text" \n900,Hi\n', "its first line makes no sense: its quotes"),
        ('phone,"text\n900,Hi\n', "its first line makes no sense: a quote is opened"),
        ("phone,text\n".encode("utf-16"), "it is UTF-16"),
        ("phone,text\n".encode("utf-16-be"), "it is UTF-16"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_as_a_whole(content, why):
    with pytest.raises(BadSheet, match=r".") as refused:
        read(content)

    assert why in str(refused.value)


cells = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=12)


@given(st.lists(st.tuples(cells, cells).filter(lambda row: any(c.strip() for c in row))))
def test_what_is_written_as_csv_is_read_as_it_was(rows):
    import csv

    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(["phone", "text"])
    writer.writerows(rows)

    found = read(out.getvalue())

    assert [(f["phone"], f["text"]) for f in found.values()] == [(p.strip(), t) for p, t in rows]


@given(st.text('ab1",;\n', max_size=80))
def test_whatever_is_written_each_line_is_read_once_at_most(body):
    found = [line.number for line in lines(io.BytesIO(f"phone,text\n{body}".encode()))]

    assert found == sorted(set(found))
    assert all(2 <= number <= 2 + body.count("\n") for number in found)
