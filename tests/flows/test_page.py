"""Whoever opens the page of a finished run decides by keyboard, saves the sheet, and hands it in: a version says so."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from browser import opened_browser

from tasks.versions.history import History
from tasks.versions.object_store import Objects

pytestmark = pytest.mark.server
STATE = "return [...document.querySelectorAll('#suspects > li')].map(e => e.dataset.state)"


@pytest.fixture(scope="module")
def lake(cleaned_small, tmp_path_factory) -> Path:
    """A copy of the finished run's lake."""
    return shutil.copytree(cleaned_small.lake, tmp_path_factory.mktemp("decided") / "lake")


@pytest.fixture(scope="module")
def run(lake) -> str:
    return next((lake / "runs").glob("digits-*")).name


@pytest.fixture(scope="module")
def flags(lake, run) -> list[dict]:
    return pq.read_table(lake / "runs" / run / "flags.parquet").to_pylist()


def keep_remove_and_relabel(lake: Path, run: str, flags: list[dict]) -> str:
    """A sheet that keeps the first suspect, removes the second, and relabels the third and the fourth."""
    lines = ["rank,decision,sample_id,new_label"]
    for flag, decision, label in zip(flags, ("keep", "remove", "relabel", "relabel"), ("", "", "", "5"), strict=False):
        label = label or ("" if decision != "relabel" or flag["suggested_label"] else "4")
        lines.append(f"{flag['rank']},{decision},{flag['sample_id']},{label}")
    return "\n".join([*lines, ""])


@pytest.mark.browser
def test_decisions_by_keyboard_are_kept_over_a_reload_and_saved_as_a_sheet(lake, run, flags, tmp_path):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    with opened_browser(tmp_path / "profile", tmp_path) as browser:

        def press(*keys: str) -> None:
            for key in keys:
                ActionChains(browser).send_keys(key).perform()

        page = (lake / "reports" / f"{run}.html").as_uri()
        browser.get(page)
        press("k", "r", "e", "5", Keys.ENTER)
        # Closely, the same keys decide; an undecided one is left out of the sheet.
        press(Keys.ENTER, "r", "p", "u", Keys.ESCAPE)
        assert browser.execute_script(STATE)[:5] == ["keep", "remove", "relabel", "", ""]
        browser.get(page)
        assert browser.execute_script(STATE)[:5] == ["keep", "remove", "relabel", "", ""]
        assert "decided" in browser.find_element("css selector", ".progress").text
        press("s")
        sheet = tmp_path / f"{run}-review.csv"
        browser.execute_async_script("setTimeout(arguments[0], 700)")
        assert browser.get_log("browser") == []
    with sheet.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["sample_id"], row["decision"], row["new_label"]) for row in rows] == [
        (flags[0]["sample_id"], "keep", ""),
        (flags[1]["sample_id"], "remove", ""),
        (flags[2]["sample_id"], "relabel", "5"),
    ]


def test_a_finished_run_takes_the_sheet_proves_it_and_makes_the_next_version(lake, run, flags, gradsieve, tmp_path):
    sheet = tmp_path / "review.csv"
    sheet.write_text(keep_remove_and_relabel(lake, run, flags))
    answer = ("--by", "ann", "--note", "on the page", "--lake", str(lake))
    done = gradsieve("review", run, "rows", "--sheet", str(sheet), *answer)
    assert done.returncode == 0, done.stderr
    assert "decided row by row (4) by ann" in done.stdout
    # All that led to the flags was there.
    assert done.stdout.splitlines()[-1].startswith("recomputed flags, predictions")

    made = History(Objects(lake / "versions"), "digits").manifest(3)
    decided = pq.read_table(lake / "versions" / "digits" / made.rows_of.decided).to_pylist()
    by_ann = {row["sample_id"]: row for row in decided if row["decided_by"] == "ann"}
    assert [by_ann[flag["sample_id"]]["decision"] for flag in flags[:4]] == ["keep", "remove", "relabel", "relabel"]
    assert by_ann[flags[3]["sample_id"]]["new_label"] == "5"
    # Who was left undecided is removed, as the run would have done.
    flagged = {flag["sample_id"] for flag in flags[4:] if flag["flag"]}
    assert {row["decision"] for row in decided if row["sample_id"] in flagged} <= {"remove"}
    # The proof is about that, and the run is no longer what it was.
    facts = json.loads((lake / "runs" / made.run_id / "run.json").read_text())["facts"]
    assert facts["metrics"]["verdict"]["arm"] == "relabelled"
    assert "by ann" in (lake / "reports" / f"{made.run_id}.html").read_text()

    # Decided about anew, it is the flags by rule that are decided about.
    again = gradsieve("review", str(made.run_id), "reject", *answer)
    assert again.returncode == 0, again.stderr
    assert History(Objects(lake / "versions"), "digits").manifest(4).removed == 0


@pytest.mark.parametrize(
    ("decision", "sheet", "words"),
    [
        ("rows", "", "a sheet where rows are decided"),
        ("approve", "sample_id,decision\n", "approve with one"),
        ("rows", "sample_id,decision\nnobody,keep\n", "'nobody' in row 1"),
    ],
)
def test_what_cannot_be_taken_at_its_word_is_refused_and_keeps_no_answer(
    cleaned_small, gradsieve, tmp_path, decision, sheet, words
):
    (tmp_path / "s.csv").write_text(sheet)
    given = ("--sheet", str(tmp_path / "s.csv")) if sheet else ()
    run = next((cleaned_small.lake / "runs").glob("digits-*")).name
    done = gradsieve("review", run, decision, *given, "--lake", str(cleaned_small.lake))
    assert done.returncode in (2, 3)
    assert words in done.stderr
    assert not list((cleaned_small.lake / "reviews").glob("*/answer.json"))


def test_a_run_that_comes_to_other_flags_than_were_decided_about_stops(lake, small, gradsieve):
    options = ("--lake", str(lake), *small, "--review.required", "--review.decided", "0123456789")
    done = gradsieve("clean", *options, "--budget.kind=share", "--budget.share=0.07")
    assert done.returncode == 3
    assert "which were decided about" in done.stderr
