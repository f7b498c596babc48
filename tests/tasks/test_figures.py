"""Figures say in words what they show, take the page's colour, and are the same whenever they are drawn."""

from __future__ import annotations

import io
import json
from xml.etree import ElementTree

import pytest
from PIL import Image

from tasks.figures import figures
from tasks.pages import page
from tasks.run_page import run_page
from tasks.versions.history import History
from tasks.versions.objects import Objects


@pytest.fixture(scope="module")
def facts(cleaned):
    return json.loads((cleaned.run_folder / "run.json").read_text())["facts"]


@pytest.fixture(scope="module")
def drawn(cleaned, facts):
    return figures(cleaned.run_folder, facts)


def test_they_are_what_it_was_worth_how_suspicion_is_spread_and_what_is_taken_of_each_class(drawn, facts):
    worth, suspicion, classes = drawn
    gain = facts["metrics"]["gains"]["cleaned"]["random"]
    assert f"{gain['mean']:+.2%} [{gain['low']:+.2%}, {gain['high']:+.2%}]" in worth.alt
    assert f"{facts['flags']['flagged']:,} are flagged" in suspicion.alt
    assert "%" in classes.alt


def test_they_are_the_same_to_the_byte_and_bear_the_colour_of_the_text_around(drawn):
    for figure in drawn:
        text = figure.svg()
        assert text == figure.svg()
        assert "currentColor" in text
        assert "#010203" not in text
        assert ElementTree.fromstring(text).tag.endswith("svg")  # noqa: S314  our own


def test_in_the_prefect_ui_they_are_pictures_of_moderate_size(drawn):
    for figure in drawn:
        data = figure.png()
        assert Image.open(io.BytesIO(data)).format == "PNG"
        assert len(data) < 200_000


def test_a_run_of_before_there_were_verdicts_has_the_other_figures(cleaned, facts):
    metrics = {name: value for name, value in facts["metrics"].items() if name != "verdict"}
    found = figures(cleaned.run_folder, facts | {"metrics": metrics})
    assert [figure.name for figure in found] == ["suspicion", "classes"]


def test_the_page_is_the_same_whenever_it_is_made(cleaned):
    history = History(Objects(cleaned.lake / "versions"), "digits")
    again = [run_page(cleaned.lake, cleaned.run_folder.name, history, "v0002") for _ in range(2)]
    assert again[0] == again[1] == next((cleaned.lake / "reports").iterdir()).read_text()


def test_nothing_that_stands_in_the_data_is_markup():
    values = dict.fromkeys(("title", "b"), "<script>alert(1)</script>")
    row = dict.fromkeys(("sample_id", "old_label", "reason", "source", "split", "decided_by"), "<b>x</b>")
    row |= {"new_label": None, "row": 1, "rank": 1, "picture": None}
    text = page("difference", **values, facts=[], said=["<i>"], labels=["<u>"], sections=[("removed", [row], 0)])
    for markup in ("<script>alert", "<b>x", "<i>", "<u>"):
        assert markup not in text
