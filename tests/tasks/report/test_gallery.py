"""The gallery: the most suspect down to the last one flagged, whatever samples are, and nothing of them is markup."""

from __future__ import annotations

import io
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tasks.core.markdown import as_table
from tasks.pipeline.schemas import AUDIT, SUSPECTS
from tasks.report.figures import figures
from tasks.report.gallery import LEAST_SHOWN, gallery
from tasks.report.templates import page

HOSTILE = '<script>alert("1")</script>'


def run_of(folder, payload, columns, flagged, size=40, label="cat", suggested="dog"):
    """What a recorded run of ``size`` training samples has of all that a gallery looks at."""
    ids = [f"id{place:03}" for place in range(size)]
    flags = [
        {
            "sample_id": name,
            "flag": rank <= flagged,
            "rank": rank,
            "suspicion": float(size - rank),
            "detector": "l2",
            "marked_by": ["l2"],
            "reason": f"because of {label}",
            "p_wrong": 1 / rank,
            "suggested_label": suggested,
            "label": label,
            "source": label,
            "row": rank,
        }
        for rank, name in enumerate(ids, 1)
    ]
    folder.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(flags, SUSPECTS), folder / "flags.parquet")
    share = flagged / size
    about = {"by": "class", "name": label, "samples": size, "flagged": flagged, "lift": 1.0}
    about |= {"share_flagged": share, "share_overall": share, "capped": 0, "protected": 0}
    pq.write_table(pa.Table.from_pylist([about], AUDIT), folder / "audit.parquet")
    (folder / "samples").mkdir()
    thin = {"sample_id": ids, "label": [label] * size, "source": [label] * size, "row": list(range(size))}
    # In another order than that of the flags, and in several groups of rows.
    table = pa.table(thin | columns(size)).take(pa.array(np.random.default_rng(0).permutation(size)))
    pq.write_table(table, folder / "samples" / "train-00000.parquet", row_group_size=7)
    return {
        "samples": {"payload": payload},
        "flags": {"budget": flagged, "detector": "l2", "flagged": flagged},
        "metrics": {},
    }


ARRAY = {"kind": "array", "columns": ["height", "words"], "shape": [3], "dtype": "float32"}
PIXELS = {"kind": "array", "columns": ["pixels"], "shape": [1, 2, 2], "dtype": "uint8"}


def numbers(size):
    words = pa.array([[0.5, 1.0 / 3] for _ in range(size)], pa.list_(pa.float32(), 2))
    return {"height": pa.array(np.arange(size, dtype=np.float64)), "words": words}


def pixels(size):
    return {"pixels": pa.array([[place, 255, 0, 9] for place in range(size)], pa.list_(pa.uint8(), 4))}


@pytest.mark.parametrize(
    ("flagged", "most", "length", "missing"), [(3, 300, LEAST_SHOWN, 0), (30, 300, 30, 0), (30, 9, 9, 21)]
)
def test_it_goes_down_to_the_last_one_flagged_within_its_bounds(tmp_path, flagged, most, length, missing):
    facts = run_of(tmp_path / "r", ARRAY, numbers, flagged)
    found = gallery(tmp_path / "r", facts, most)
    assert [suspect.rank for suspect in found.suspects] == list(range(1, length + 1))
    assert found.missing == missing
    assert f"rank > {length} AND run_id = 'r'" in found.sql


def test_a_run_that_flags_nothing_has_one_too(tmp_path):
    found = gallery(tmp_path / "r", run_of(tmp_path / "r", ARRAY, numbers, 0), 300)
    assert (len(found.suspects), found.missing, found.flagged) == (LEAST_SHOWN, 0, 0)


def test_pictures_are_each_samples_own_and_their_grid_is_a_picture_of_moderate_size(tmp_path):
    found = gallery(tmp_path / "r", run_of(tmp_path / "r", PIXELS, pixels, 30, label="$\\frac{"), LEAST_SHOWN)
    for suspect in found.suspects:
        assert suspect.pixels.ravel().tolist() == [suspect.rank - 1, 255, 0, 9]
        assert suspect.picture.startswith("data:image/png;base64,")
    grid = found.png()
    assert Image.open(io.BytesIO(grid)).format == "PNG"
    assert len(grid) < 400_000
    assert found.markdown().startswith("1. $\\\\frac{ → dog; 2. ")


def test_samples_that_are_no_pictures_are_told_by_what_stands_in_their_columns(tmp_path):
    found = gallery(tmp_path / "r", run_of(tmp_path / "r", ARRAY, numbers, 3), LEAST_SHOWN)
    assert not found.are_pictures
    assert found.suspects[5].values == [("height", "5"), ("words", "0.5, 0.3333")]
    assert "height 5; words 0.5, 0.3333" in found.markdown()


def test_of_many_columns_and_long_lists_and_texts_only_the_first_are_told(tmp_path):
    def wide(size):
        columns = {f"c{place:02}": ["x" * 500] * size for place in range(20)}
        return {"many": pa.array([[1.0] * 30] * size, pa.list_(pa.float32(), 30))} | columns

    payload = {"kind": "array", "columns": list(wide(1)), "shape": [50], "dtype": "float32"}
    values = gallery(tmp_path / "r", run_of(tmp_path / "r", payload, wide, 3), LEAST_SHOWN).suspects[0].values
    assert values[0] == ("many", "1, 1, 1, 1, 1, 1, 1, 1 … (30 in all)")
    assert len(values[1][1]) == 400
    assert values[-1] == ("and", "9 columns more")


def test_nothing_of_a_cell_of_a_markdown_table_is_markup():
    (_, _, row) = as_table(["a", "b"], [["x | y\n# z", "<b>*!*</b> [l](http://x)"]]).splitlines()
    assert row == r"| x \| y \# z | &lt;b&gt;\*!\*&lt;/b&gt; \[l\](http://x) |"


@pytest.mark.parametrize(("payload", "columns"), [(ARRAY, numbers), (PIXELS, pixels)])
def test_nothing_that_stands_in_the_data_is_markup_on_the_page_of_a_run(tmp_path, payload, columns):
    facts = run_of(tmp_path / "r", payload, columns, 30, label=HOSTILE, suggested=HOSTILE)
    most = gallery(tmp_path / "r", facts, 300)
    most = replace(most, suspects=[replace(suspect, values=[(HOSTILE, HOSTILE)]) for suspect in most.suspects])
    text = page(
        "report",
        **dict.fromkeys(("title", "b", "command", "config", "code", "missing"), HOSTILE),
        **{name: [HOSTILE] for name in ("labels", "said", "commands")},
        facts=[(HOSTILE, HOSTILE, HOSTILE)],
        sections=[],
        verdict={"word": HOSTILE, "sentence": HOSTILE, "promote": False, "because": [HOSTILE]},
        summary=[(HOSTILE, [HOSTILE])],
        figures=figures(tmp_path / "r", facts),
        gallery=most,
        ranks={},
        became={suspect.sample_id: HOSTILE for suspect in most.suspects},
    )
    assert text.count("<script") == 1
    assert "alert(" in text
    assert "<script>alert" not in text
    for figure in figures(tmp_path / "r", facts):
        tags = {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(figure.svg).iter()}  # noqa: S314
        assert "script" not in tags


def test_a_label_that_looks_like_a_formula_is_drawn_as_it_is_written(tmp_path):
    facts = run_of(tmp_path / "r", ARRAY, numbers, 3, label="$\\frac{$")
    classes = figures(tmp_path / "r", facts)[-1]
    assert "$\\frac{$" in classes.svg
