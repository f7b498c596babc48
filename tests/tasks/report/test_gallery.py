"""The gallery: the most suspect down to the last one flagged, whatever samples are, and nothing of them is markup."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from browser import opened_browser
from PIL import Image

from tasks.core.markdown import as_table
from tasks.pipeline.schemas import AUDIT, SUSPECTS
from tasks.report.contact_sheet import contact_sheet
from tasks.report.exhibits import Exhibits, Face
from tasks.report.figures import figures
from tasks.report.gallery import LEAST_SHOWN, gallery, gallery_of
from tasks.report.templates import page
from tasks.report.unusual import Cell

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
        assert np.asarray(opened(suspect.picture)).ravel().tolist() == [suspect.rank - 1, 255, 0, 9]
    grid = contact_sheet(found)
    assert Image.open(io.BytesIO(grid)).format == "PNG"
    assert len(grid) < 400_000
    assert found.markdown().startswith("1. $\\\\frac{ → dog; 2. ")


def test_a_label_of_several_lines_stands_on_one_in_the_grid(tmp_path):
    grids = [
        contact_sheet(gallery(tmp_path / label, run_of(tmp_path / label, PIXELS, pixels, 3, label=label), LEAST_SHOWN))
        for label in ("two\nlines", "two lines")
    ]
    assert grids[0] == grids[1]


def test_samples_that_are_no_pictures_are_told_by_what_stands_in_their_columns(tmp_path):
    found = gallery(tmp_path / "r", run_of(tmp_path / "r", ARRAY, numbers, 3), LEAST_SHOWN)
    assert not found.are_pictures
    (last,) = (suspect for suspect in found.suspects if suspect.rank == LEAST_SHOWN)
    # Of lists nothing is usual.
    assert [(cell.name, cell.value) for cell in last.face.cells] == [("height", "23"), ("words", "0.5, 0.3333")]
    assert last.face.cells[0].usual.startswith("usually 9.75 to 29.25 (z +0.2")
    assert "height 23; words 0.5, 0.3333" in found.markdown()


def test_long_lists_and_texts_are_cut_and_of_many_columns_the_most_unusual_stand_first(tmp_path):
    def wide(size):
        columns = {f"c{place:02}": ["x" * 500] * size for place in range(20)}
        odd = {"odd": ["rare" if place == 3 else "usual" for place in range(size)]}
        return {"many": pa.array([[1.0] * 30] * size, pa.list_(pa.float32(), 30))} | columns | odd

    payload = {"kind": "array", "columns": list(wide(1)), "shape": [50], "dtype": "float32"}
    found = gallery(tmp_path / "r", run_of(tmp_path / "r", payload, wide, 3), LEAST_SHOWN)
    cells = {cell.name: cell for cell in found.suspects[3].face.cells}
    assert next(iter(cells)) == "odd"
    assert (cells["odd"].value, cells["odd"].usual) == ("rare", "in 2.5% of the rows")
    assert cells["many"].value == "1, 1, 1, 1, 1, 1, 1, 1 … (30 in all)"
    assert len(cells["c00"].value) == 400


def photo(place, size=(640, 480)):
    sink = io.BytesIO()
    Image.new("RGB", size, (place, 100, 0)).save(sink, "JPEG")
    return sink.getvalue()


def photos(size):
    return {"image": pa.array([photo(place) for place in range(size)], pa.binary())}


PHOTOS = {"kind": "image", "columns": ["image"], "shape": [3, 16, 16], "dtype": "uint8", "resize": True}


def compared(folder, payload, columns, flagged=30, most=300):
    """The gallery as a page has it, of a run with neighbours."""
    facts = run_of(folder, payload, columns, flagged)
    ids = [f"id{place:03}" for place in range(40)]
    near = pa.array([[(place + step) % 40 for step in range(1, 21)] for place in range(40)], pa.list_(pa.int32(), 20))
    pq.write_table(pa.table({"sample_id": ids, "neighbours": near}), folder / "votes.parquet")
    exhibits = Exhibits.of_run(folder, facts["samples"] | {"classes": ["cat", "dog"]})
    return gallery_of(exhibits, "r", most, compare=True)


@pytest.mark.parametrize("payload", [PHOTOS, ARRAY])
def test_photos_are_shown_as_their_source_has_them_also_beside_what_a_network_reads(tmp_path, payload):
    def columns(size):
        return photos(size) | (numbers(size) if payload is ARRAY else {})

    found = compared(tmp_path / "r", payload, columns)
    first = found.suspects[0]
    assert opened(first.picture).size == (320, 240)
    assert opened(first.close).size == (640, 480)
    assert first.face.cells == ()


def test_a_row_whose_picture_is_missing_is_told_by_its_columns_beside_those_that_have_one(tmp_path):
    def columns(size):
        some = [photo(place) if place % 2 else None for place in range(size)]
        return numbers(size) | {"image": pa.array(some, pa.binary())}

    found = compared(tmp_path / "r", ARRAY, columns)
    without, shown = found.suspects[:2]
    assert (without.picture, [cell.name for cell in without.face.cells]) == (None, ["height", "words"])
    assert (opened(shown.picture).size, shown.face.cells) == ((320, 240), ())
    assert found.comparison["faces"]["id038"]["cells"] == {"height": "38", "words": "0.5, 0.3333"}
    # Also where no suspect says which columns matter.
    assert found.companions["id038"].for_comparison(set())["cells"] == {"height": "38", "words": "0.5, 0.3333"}


def test_a_suspect_is_shown_beside_sure_samples_of_its_classes_and_its_neighbours(tmp_path):
    found = compared(tmp_path / "r", PIXELS, pixels)
    # The surest of what is not flagged, by p(wrong) = 1 / rank; nothing is labelled dog.
    assert found.suspects[0].sure == ("id039", "id038", "id037")
    assert found.suspects[0].near == ("id001", "id002", "id003", "id004", "id005")
    assert set(found.companions) >= {"id039", "id001"}
    assert found.suspects[0].close is None  # a tiny one is large already
    shown = found.comparison["faces"]["id039"]
    assert (shown["label"], shown["tiny"]) == ("cat", True)


def test_pictures_take_no_more_room_than_a_page_has_and_what_is_left_out_is_told(tmp_path, monkeypatch):
    room = 3 * len(compared(tmp_path / "all", PHOTOS, photos).suspects[0].picture or "")
    monkeypatch.setattr("tasks.report.gallery.PAGE_BYTES", room + 100)
    found = compared(tmp_path / "some", PHOTOS, photos)
    assert (len(found.suspects), found.missing) == (3, 27)
    assert (found.companions, [suspect.close for suspect in found.suspects]) == ({}, [None] * 3)


def opened(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_nothing_of_a_cell_of_a_markdown_table_is_markup():
    (_, _, row) = as_table(["a", "b"], [["x | y\n# z", "<b>*!*</b> [l](http://x)"]]).splitlines()
    assert row == r"| x \| y \# z | &lt;b&gt;\*!\*&lt;/b&gt; \[l\](http\://x) |"


def _pair(word):
    """Two copies, of whose names, labels and cells each is this word."""
    looks = [
        {"name": word, "label": word, "split": word} | beside for beside in ({"text": word}, {"cells": {word: word}})
    ]
    return {
        "kind": "near",
        "distance": 0.1,
        "label": word,
        "other_label": "",
        "split": "train",
        "other_split": word,
        "looks": looks,
    }


def page_of(shown, word, drawn):
    """A run's page that says one word everywhere else."""
    return page(
        "report",
        **dict.fromkeys(("title", "b", "command", "config", "code", "missing", "remedy", "hand_in"), word),
        **{name: [word] for name in ("labels", "said", "commands")},
        facts=[(word, word, word)],
        sections=[],
        verdict={"word": word, "sentence": word, "promote": False, "because": [word]},
        summary=[(word, [word])],
        figures=drawn,
        copies={"pairs": [_pair(word)], "count": 1},
        gallery=shown,
        most_unusual=5,
        ranks={},
        became={suspect.sample_id: word for suspect in shown.suspects},
    )


@pytest.mark.browser
@pytest.mark.parametrize(("payload", "shows"), [(ARRAY, "height"), (PHOTOS, "nothing to show of it")])
def test_what_has_no_picture_is_looked_at_closely_too(tmp_path, payload, shows):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    def columns(size):
        return numbers(size) | {"image": pa.array([photo(place) if place else b"torn" for place in range(size)])}

    path = tmp_path / "page.html"
    path.write_text(page_of(compared(tmp_path / "r", payload, columns), "word", []))
    with opened_browser(tmp_path / "profile", tmp_path) as browser:
        browser.get(path.as_uri())
        ActionChains(browser).send_keys(Keys.ENTER).perform()
        assert shows in browser.find_element("css selector", "#close .stage").text
        ActionChains(browser).send_keys("n").perform()
        assert browser.find_elements("css selector", "#close .stage img")
        assert browser.get_log("browser") == []


@pytest.mark.parametrize(("payload", "columns"), [(ARRAY, numbers), (PIXELS, pixels)])
def test_nothing_that_stands_in_the_data_is_markup_on_the_page_of_a_run(tmp_path, payload, columns):
    facts = run_of(tmp_path / "r", payload, columns, 30, label=HOSTILE, suggested=HOSTILE)
    most = gallery(tmp_path / "r", facts, 300)
    hostile = Face(HOSTILE, HOSTILE, texts=(HOSTILE,))
    most = replace(
        most,
        suspects=[
            replace(suspect, face=replace(suspect.face, name=HOSTILE, cells=(Cell(HOSTILE, HOSTILE, HOSTILE, 1.0),)))
            for suspect in most.suspects
        ],
        companions={HOSTILE: hostile},
        labels=(HOSTILE,),
        run_id=HOSTILE,
    )
    text = page_of(most, HOSTILE, figures(tmp_path / "r", facts))
    # What it runs, and what that reads.
    assert text.count("<script") == text.count("</script") == 2
    assert "alert(" in text
    assert "<script>alert" not in text
    for figure in figures(tmp_path / "r", facts):
        tags = {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(figure.svg).iter()}  # noqa: S314
        assert "script" not in tags


def test_a_label_that_looks_like_a_formula_is_drawn_as_it_is_written(tmp_path):
    facts = run_of(tmp_path / "r", ARRAY, numbers, 3, label="$\\frac{$")
    classes = figures(tmp_path / "r", facts)[-1]
    assert "$\\frac{$" in classes.svg
