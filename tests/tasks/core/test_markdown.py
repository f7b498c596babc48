"""Whatever a class, a column or a file is called, the Prefect UI shows its name, and neither a link nor a picture."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from tasks.core.markdown import as_cells, as_table, escape
from tasks.report.figure import Figure
from tasks.report.summary import Summary

ROOT = Path(__file__).resolve().parents[3]
HOSTILE = [
    '<img src=x onerror="alert(1)">',
    "<script>alert(1)</script>",
    "[click](javascript:alert(1))",
    "![p](http://127.0.0.1:9/x.png)",
    "https://evil.example/login",
    "www.evil.example",
    "somebody@evil.example",
    "<https://evil.example>",
    "a | b\n| c |\n\n# title",
    "`code` **bold** _it_ ~~no~~",
    "[ref]: https://evil.example",
    "&lt;b&gt; &#60;b>",
    "\\[x](y)",
    "```\nfence",
]
# What the UI makes of an address that nothing marks as a link.
_BARE = re.compile(r"(?<![\\:])\b(https?://|www\.)|\w@\w")


def rendered(text: str) -> str:
    """As a reader of Markdown shows it, with tags as they are."""
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text)


def tags(text: str) -> set[str]:
    """The elements of what is shown."""
    return set(re.findall(r"<([a-zA-Z][^\s/>]*)", rendered(text)))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_shown_as_it_is_written(name):
    assert tags(escape(name)) <= {"p"}
    assert not _BARE.search(escape(name))
    assert tags(as_table(["class", name], [[name, name]])) <= {"table", "thead", "tbody", "tr", "th", "td"}
    (row,) = as_cells([{"label": name, "rank": 3}])
    assert tags(row["label"]) <= {"p"}
    assert row["rank"] == 3


@pytest.mark.parametrize("name", HOSTILE)
def test_the_words_and_numbers_under_a_figure_hold_no_markup(name):
    words = {"name": "classes", "title": "", "caption": "", "alt": f"Flagged: {name}"}
    figure = Figure(**words, draw=lambda _: None, columns=("class",), rows=[(name,)])
    assert tags(figure.markdown()) <= {"p", "table", "thead", "tbody", "tr", "th", "td"}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_summary_holds_no_markup_but_its_own(tmp_path, monkeypatch, name):
    monkeypatch.setattr(Summary, "sections", [("Flagged", [f"most suspect: {name}"])])
    text = Summary(lake=tmp_path, run_id="a-1", dataset="a", facts={}).markdown()
    assert tags(text) <= {"h1", "h2", "p", "code", "ul", "li"}


def test_every_table_of_the_ui_is_made_of_such_cells():
    calls = [
        call
        for path in sorted((ROOT / "tasks").rglob("*.py"))
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "create_table_artifact"
    ]
    assert calls
    assert {getattr(getattr(call.args[0], "func", None), "id", "") for call in calls} == {"as_cells"}
