"""Figures say in words what they show, take the page's colour, and are the same whenever they are drawn."""

from __future__ import annotations

import base64
import json
from xml.etree import ElementTree

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import stats

from tasks.core.markdown import escape
from tasks.report.figures import expected_precision, figures


@pytest.fixture(scope="module")
def facts(cleaned):
    return json.loads((cleaned.run_folder / "run.json").read_text())["facts"]


@pytest.fixture(scope="module")
def drawn(cleaned, facts):
    return figures(cleaned.run_folder, facts)


def test_they_are_what_it_was_worth_how_suspicion_is_spread_how_precise_flags_are_and_what_is_taken_of_each_class(
    drawn, facts
):
    accuracy, worth, suspicion, precision, classes = drawn
    assert f"untouched {facts['metrics']['accuracy']['untouched']:.2%}" in accuracy.alt
    gain = facts["metrics"]["gains"]["cleaned"]["random"]
    assert f"{gain['mean']:+.2%} [{gain['low']:+.2%}, {gain['high']:+.2%}]" in worth.alt
    assert f"{facts['flags']['flagged']:,} are flagged" in suspicion.alt
    assert f"of the {facts['flags']['flagged']:,} that are" in precision.alt
    assert "%" in classes.alt


def test_how_to_read_one_is_said_without_a_number_of_the_run(drawn):
    for figure in drawn:
        assert figure.title
        assert not set(figure.caption.replace("95 %", "")) & set("0123456789")


def test_the_numbers_of_the_precision_are_those_of_a_sum_by_hand(drawn, cleaned, facts):
    flags = pq.read_table(cleaned.run_folder / "flags.parquet").to_pylist()
    chances = [row["p_wrong"] for row in flags if row["flag"] or row["guard"] is None]
    precision = next(figure for figure in drawn if figure.name == "precision")
    counts = [int(row[0].split()[0].replace(",", "")) for row in precision.rows]
    assert {10, facts["flags"]["flagged"], len(chances)} <= set(counts)
    for count, row in zip(counts, precision.rows, strict=True):
        wrong = 0.0
        for chance in chances[:count]:
            wrong += chance
        assert row[1:] == (f"{wrong:,.1f}", f"{wrong / count:.1%}", f"{wrong / sum(chances):.1%}")
    # The facts of the run say the same of those flagged, where no guard and no person came between.
    assert sum(chances[: facts["flags"]["flagged"]]) == pytest.approx(facts["flags"]["expected_wrong"])


def test_expected_precision_is_the_mean_of_the_chances_so_far():
    chances = np.random.default_rng(0).random(50)
    naive = [sum(chances[:count]) / count for count in range(1, 51)]
    assert expected_precision(chances) == pytest.approx(np.array(naive))
    assert len(expected_precision(np.empty(0))) == 0


def test_the_interval_of_an_arm_is_students(drawn, cleaned):
    rows = pq.read_table(cleaned.run_folder / "metrics.parquet").to_pylist()
    for arm, mean, interval, seeds in drawn[0].rows:
        found = [row["accuracy"] for row in rows if row["by"] == "all" and row["arm"] == arm.split()[0]]
        low, high = stats.t.interval(0.95, len(found) - 1, np.mean(found), stats.sem(found))
        assert (mean, seeds) == (f"{np.mean(found):.2%}", str(len(found)))
        assert interval == f"{low:.2%} to {min(1, high):.2%}"


def test_the_tables_under_them_count_every_sample(drawn, facts):
    suspicion, classes = (next(f for f in drawn if f.name == name) for name in ("suspicion", "classes"))
    kept, flagged = (sum(int(row[place].replace(",", "")) for row in suspicion.rows) for place in (1, 2))
    assert (kept + flagged, flagged) == (facts["flags"]["of"], facts["flags"]["flagged"])
    assert sum(int(row[1]) for row in classes.rows) == facts["flags"]["flagged"]
    for figure in drawn:
        head, _, table = figure.markdown().partition("\n\n")
        assert head == escape(figure.alt)
        assert len(table.splitlines()) == len(figure.rows) + 2


def test_they_are_the_same_to_the_byte_and_bear_the_colour_of_the_text_around(drawn, cleaned, facts):
    for figure, again in zip(drawn, figures(cleaned.run_folder, facts), strict=True):
        text = figure.svg
        assert text == again.svg
        assert "currentColor" in text
        assert "#010203" not in text
        assert ElementTree.fromstring(text).tag.endswith("svg")  # noqa: S314  our own


def test_in_the_prefect_ui_they_are_pictures_on_white_of_moderate_size(drawn):
    for figure in drawn:
        head, _, data = figure.image.partition(",")
        assert head == "data:image/svg+xml;base64"
        picture = ElementTree.fromstring(base64.b64decode(data))  # noqa: S314  our own
        assert picture[0].attrib == {"width": "100%", "height": "100%", "fill": "#fff"}
        assert "currentColor" not in base64.b64decode(data).decode()
        assert len(data) < 200_000


def test_a_run_of_before_there_were_verdicts_has_the_other_figures(cleaned, facts):
    metrics = {name: value for name, value in facts["metrics"].items() if name != "verdict"}
    found = figures(cleaned.run_folder, facts | {"metrics": metrics})
    assert [figure.name for figure in found] == ["suspicion", "precision", "classes"]


def test_ranges_of_a_number_stand_in_their_own_order_and_are_not_called_classes(cleaned, facts):
    classes = facts["samples"]["classes"][::-1]
    of_ranges = facts | {"flags": facts["flags"] | {"strata": "ranges"}, "samples": {"classes": classes}}
    figure = figures(cleaned.run_folder, of_ranges)[-1]
    assert [row[0] for row in figure.rows] == classes
    assert (figure.title, figure.columns[0]) == ("Which ranges lose most?", "range")
    assert "class" not in f"{figure.alt} {figure.caption}"
