import json

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.app.report.html import Cell, Column, Html, table, tag
from orchestrator.app.report.pictures import label, script_json


@given(st.text())
def test_no_text_becomes_markup(text: str) -> None:
    inner = tag("p", text)[3:-4]
    assert "<" not in inner
    assert ">" not in inner
    assert '"' not in tag("p", title=text)[len('<p title="') : -len('"></p>')]


def test_cells_of_a_table_are_escaped() -> None:
    shown = table("<i>", [Column("<b>")], [[Cell("<s>")], ["<u>"]])
    assert not [mark for mark in ("<i>", "<b>", "<s>", "<u>") if mark in shown]


def test_markup_made_here_is_not_escaped_again() -> None:
    assert tag("p", tag("b", "a & b")) == "<p><b>a &amp; b</b></p>"
    assert tag("p", Html("<i>")) == "<p><i></p>"


def test_attributes_may_be_bare_or_left_out() -> None:
    assert tag("a", class_="x", data_webgl=True, style=None, hidden=False) == '<a class="x" data-webgl></a>'


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_json_in_a_script_element_can_not_end_it(content: object) -> None:
    text = script_json(content)
    assert not set("<>&") & set(text)
    assert json.loads(text) == content


def test_labels_of_plotly_show_markup_literally() -> None:
    assert label("<b>x</b>") == "&lt;b&gt;x&lt;/b&gt;"
