"""HTML to text, and dates out of free text."""

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision.data.fetching.plain_text import plain_text
from vision.data.fetching.wiki_metadata import date_taken


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("A. Person", "A. Person"),
        ("", ""),
        ("a < b, c > d & e", "a < b, c > d & e"),
        ("<b>bold</b>ly", "boldly"),
        ("https://museum.org/?a=1&amp;b=2", "https://museum.org/?a=1&b=2"),
        ("C:/pictures/a&amp;b.jpg", "C:/pictures/a&b.jpg"),
        ("one<br/>two<br>three", "one two three"),
        ("<p>one</p><p>two</p>", "one two"),
        ("<ul><li>one</li><li>two</li></ul>", "one two"),
        ("Dmitry&nbsp;A.&#160;Mottl &amp; S&ouml;hne", "Dmitry A. Mottl & Söhne"),
        ('<a href="/wiki/User:X">X</a> (<a href="/t"><span lang="en">talk</span></a>)', "X (talk)"),
        ('<span style="display:none">hidden</span>seen', "seen"),
        ('<div STYLE="Display : None"><p>hidden</p></div>seen', "seen"),
        ("<span hidden>hidden</span>seen<script>x()</script><style>p{}</style><!-- note -->", "seen"),
        ('<span style="display:none">a <b style="display:none">b</b></span>seen', "seen"),
        ("Unknown author<span style='display: none;'>Unknown author</span>", "Unknown author"),
        ("line\r\n\tone\x00\x07\u200b\u202eevil\u202c", "line oneevil"),
        ("<b>never closed", "never closed"),
        ("</div></div>only ends", "only ends"),
        ("e\u0301te\u0301", "été"),
        ("\ud800 half", "half"),
    ],
)
def test_text_is_what_a_reader_sees(html: str, text: str) -> None:
    assert plain_text(html, max_length=200) == text


def test_a_long_text_is_cut_at_a_word() -> None:
    assert plain_text("word " * 100, max_length=20) == "word word word …"
    assert plain_text("x" * 100, max_length=20) == "x" * 18 + " …"
    assert plain_text("x" * 20, max_length=20) == "x" * 20


@pytest.mark.parametrize(
    "piece", ["<div><b>", "<table><tr><td>", "<a ", "<!", "&amp;", "<p hidden>", "<span style='display:none'>"]
)
def test_html_made_to_keep_a_parser_busy_is_read_in_seconds(piece: str) -> None:
    start_s = time.perf_counter()
    plain_text(piece * 20_000, max_length=100)
    assert time.perf_counter() - start_s < 20


@pytest.mark.parametrize(
    ("html", "date"),
    [
        ("2019-05-09 12:33:11", "2019-05-09"),
        ("2019:05:09 12:33:11", "2019-05-09"),
        ("2019-05-09T12:33:11Z", "2019-05-09"),
        ("2019-05", "2019-05"),
        ("2019-05-00", "2019-05"),
        ("2019-00-00", "2019"),
        ("2019", "2019"),
        ('<time class="dtstart" datetime="2013-06-21">21 June 2013</time>', "2013-06-21"),
        ("Taken on 21 June 2013", "2013"),
        ("9 May 2015, 10:21 (UTC)", "2015"),
        ('May 2015<div style="display: none;">date QS:P571,+1985-05-00T00:00:00Z/10</div>', "2015"),
        ("circa 1985", ""),
        ("before 1985", ""),
        ("between 1985 and 1987", ""),
        ("2010-05-01 – 2012-06-01", ""),
        ("1985 or 1986", ""),
        ("the 1980s", ""),
        ("2019-13-45", ""),
        ("2019-02-30", ""),
        ("0000-00-00 00:00:00", ""),
        ("9999-01-01", ""),
        ("Unknown date", ""),
        ("", ""),
    ],
)
def test_a_date_is_told_as_far_as_it_is_certain(html: str, date: str) -> None:
    assert date_taken(html) == date


@given(st.text() | st.text(alphabet="<>&;/=\"' adivsyle:none#x0123!-", max_size=60))
def test_text_is_one_line_without_control_characters_whatever_comes(html: str) -> None:
    text = plain_text(html, max_length=50)
    assert len(text) <= 50
    assert text == " ".join(text.split())
    assert not any(unicodedata.category(character).startswith("C") for character in text)
    date_taken(html)
