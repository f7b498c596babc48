"""A run's page is one file: it needs no network, says in words what it draws, and can be filtered by keyboard."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pyarrow.parquet as pq
import pytest
from browser import opened_browser

from tasks.report.figures import figures
from tasks.report.gallery import Gallery
from tasks.report.run_page import question_page, run_page
from tasks.report.templates import page
from tasks.report.version_views import Section
from tasks.versions.history import History
from tasks.versions.object_store import Objects


class Tags(HTMLParser):
    """Every tag of a page with its attributes."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def of(self, name):
        return [attributes for tag, attributes in self.found if tag == name]


@pytest.fixture(scope="module")
def path(cleaned):
    return next((cleaned.lake / "reports").iterdir())


@pytest.fixture(scope="module")
def flags(cleaned):
    return pq.read_table(cleaned.run_folder / "flags.parquet").to_pylist()


@pytest.fixture(scope="module")
def shown(flags):
    """The rows of flags.parquet that a gallery has."""
    return [row for row in flags if row["rank"] <= max(row["rank"] for row in flags if row["flag"])]


def test_the_page_is_the_same_whenever_it_is_made(cleaned, path):
    history = History(Objects(cleaned.lake / "versions"), "digits")
    facts = json.loads((cleaned.run_folder / "run.json").read_text())["facts"]
    again = [
        run_page(cleaned.lake, cleaned.run_folder.name, history, "v0002", figures(cleaned.run_folder, facts))
        for _ in range(2)
    ]
    assert again[0] == again[1] == path.read_text()


def test_it_loads_nothing_and_every_picture_stands_in_it(path):
    text = path.read_text()
    tags = Tags(text)
    assert "default-src 'none'" in text
    assert tags.of("img")
    assert all(image["src"].startswith("data:image/") for image in tags.of("img"))
    for name in ("link", "iframe", "object", "embed", "base"):
        assert tags.of(name) == []
    assert tags.of("script") == [{"type": "application/json", "id": "comparison"}, {}]
    # Its policy names its own script, and no other may run.
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text
    assert all(each.get("href", "#").startswith("#") for _, each in tags.found)
    assert not re.search(r"@import|url\((?!#)", text)
    # Names of namespaces, which nobody looks up.
    assert set(re.findall(r"https?://[^\"' )]+", text)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_whatever_is_drawn_is_said_in_words_and_numbers_too(path):
    tags = Tags(path.read_text())
    assert all(image["alt"] for image in tags.of("img"))
    drawn = [each for each in tags.of("div") if each.get("role") == "img"]
    assert len(drawn) == len(tags.of("svg")) == len(tags.of("figcaption")) == 5
    assert all(each["aria-label"] for each in drawn)
    assert len(tags.of("thead")) == 5


def test_both_colour_schemes_and_paper_are_thought_of(path):
    text = path.read_text()
    assert "color-scheme: light dark" in text
    assert "@media (prefers-color-scheme: dark)" in text
    assert "@media print" in text
    assert 'name="viewport"' in text


def test_without_a_script_every_suspect_is_there_by_rank_and_no_control_that_does_nothing(path, shown):
    tags = Tags(path.read_text())
    cards = [each for each in tags.of("li") if each.get("id", "").startswith("rank-")]
    assert [int(each["data-rank"]) for each in cards] == [row["rank"] for row in shown]
    assert [each["data-label"] for each in cards] == [row["label"] for row in shown]
    assert [each["data-suggested"] for each in cards] == [row["suggested_label"] or "" for row in shown]
    assert all("hidden" in each for each in tags.of("div") if each.get("class") == "bar")
    # Every link leads somewhere.
    there = {each["id"] for _, each in tags.found if "id" in each}
    assert {each["href"][1:] for each in tags.of("a")} <= there


def test_a_difference_names_what_it_does_not_show_and_takes_nothing_for_markup():
    values = dict.fromkeys(("title", "b", "command"), "<script>alert(1)</script>")
    row = dict.fromkeys(("sample_id", "old_label", "reason", "source", "split", "decided_by"), "<b>x</b>")
    row |= {"new_label": None, "row": 1, "rank": 1, "picture": None, "texts": ["<b>x</b>"]}
    sections = [Section("removed", 8, [row], [])]
    text = page("difference", **values, facts=[], said=["<i>"], labels=["<u>"], sections=sections)
    for markup in ("<script>alert", "<b>x", "<i>", "<u>"):
        assert markup not in text
    assert "and 7 more" in text


@pytest.fixture
def browser(tmp_path):
    with opened_browser(tmp_path / "profile") as browser:
        yield browser


@pytest.mark.browser
def test_in_a_browser_it_is_filtered_and_sorted_by_keyboard_in_either_colour_scheme(browser, path, flags, shown):
    from selenium.webdriver.support.ui import Select

    browser.get(path.as_uri())
    visible = "return [...document.querySelectorAll('#suspects > li')].filter(e => e.checkVisibility())"
    ranks = f"{visible}.map(e => Number(e.dataset.rank))"
    assert browser.execute_script(ranks) == [row["rank"] for row in shown]

    chosen = f"{shown[0]['label']} → {shown[0]['suggested_label']}"
    Select(browser.find_element("css selector", "select[data-filter=pair]")).select_by_value(f"={chosen}")
    of_pair = [row for row in shown if f"{row['label']} → {row['suggested_label']}" == chosen]
    assert browser.execute_script(ranks) == [row["rank"] for row in of_pair]

    browser.find_element("css selector", "select[data-order]").send_keys("likeliest")
    likeliest = sorted(of_pair, key=lambda row: (-row["p_wrong"], row["rank"]))
    assert browser.execute_script(ranks) == [row["rank"] for row in likeliest]

    # A link to one that is filtered away shows it, and with it all.
    other = next(row["rank"] for row in shown if row not in of_pair)
    browser.execute_script(f"location.hash = 'rank-{other}'")
    browser.execute_async_script("setTimeout(arguments[0], 50)")
    assert sorted(browser.execute_script(ranks)) == [row["rank"] for row in shown]

    colours = set()
    for scheme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        colours.add(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
    assert len(colours) == 2
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    )
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert [name for name in loaded if not name.startswith("data:")] == []


@pytest.mark.parametrize("flagged", [0, 3])
def test_undecided_samples_are_removed_only_where_some_are_flagged(tmp_path, flagged):
    page = question_page(tmp_path, "pets", Gallery(run_id="r", suspects=[], flagged=flagged), ["so"], "removed")
    assert ("What you leave undecided stays flagged and is removed" in page) == bool(flagged)
    assert ("What you leave undecided stays as it is" in page) != bool(flagged)
