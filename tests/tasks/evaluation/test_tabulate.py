"""A comparison is the mean of its repetitions with scipy's interval, one whole folder, and a picture to look at."""

import json
import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from scipy import stats

from tasks.core.errors import BadArtefact
from tasks.evaluation.comparison import Comparison
from tasks.evaluation.precision_recall_chart import mean_precision
from tasks.evaluation.tabulate import tabulate
from tasks.pipeline.artefacts import Run
from tasks.pipeline.durable_files import sha256_of
from tasks.pipeline.schemas import COMPARISON, CURVES, MEASURES

VALUES = {
    ("good", None, "average_precision"): [0.9, 0.95, 0.91],
    ("good", None, "roc_auc"): [0.99, 0.99, 0.99],
    ("good", None, "precision_in_top_5_percent"): [1.0, 0.9, 1.0],
    ("good", None, "f1_at_true_count"): [0.8, 0.82, 0.84],
    ("good", "canary", "count"): [10, 12, 11],
    ("good", "canary", "precision"): [0.8, None, 0.9],  # nothing flagged in the second
    ("good", "canary", "stated_precision"): [0.7, 0.75, 0.8],
    ("good", "canary", "stated_precision_low"): [0.6, 0.65, 0.7],
    ("good", "canary", "stated_precision_high"): [0.8, 0.85, 0.9],
    ("good", "canary", "recall"): [0.8, 0.0, 0.9],
    ("good", "canary", "f1"): [0.8, 0.0, 0.9],
    ("good", "canary", "f1_share"): [1.0, 0.0, 1.1],
    ("better", None, "average_precision"): [0.96, 0.96, 0.96],
    ("better", None, "roc_auc"): [0.99, 0.98, 0.99],
    ("better", None, "precision_in_top_5_percent"): [1.0, 1.0, 1.0],
    ("better", None, "f1_at_true_count"): [0.8, 0.9, 0.9],
    ("better", "canary", "count"): [1234, 1234, 1236],
    ("better", "canary", "recall"): [0.8, 0.8, 0.8],
    ("better", "canary", "f1"): [0.7, 0.7, 0.7],
}


@pytest.fixture
def run(tmp_path):
    return Run.start(tmp_path, "set")


def measures_of(run, repetitions=3):
    artefacts = []
    for i in range(repetitions):
        rows = [
            {
                "detector": detector,
                "sees": f"what {detector} sees",
                "budget": budget,
                "measure": name,
                "value": values[i],
            }
            for (detector, budget, name), values in VALUES.items()
            if values[i] is not None
        ]
        points = [
            {"detector": detector, "recall": recall, "precision": recall * (1 - i / 10), "count": place + 1}
            for detector in ("good", "better")
            for place, recall in enumerate((0.25, 0.5, 1.0))
        ]
        with run.draft("measures") as draft:
            pq.write_table(pa.Table.from_pylist(rows, MEASURES), draft.path("measures.parquet", len(rows)))
            pq.write_table(pa.Table.from_pylist(points, CURVES), draft.path("curves.parquet", len(points)))
            artefacts.append(draft.commit(detectors=["good", "better"], samples=1300, known=1200, wrong=120))
    return artefacts


@pytest.fixture
def compared(run):
    return tabulate.fn(run, "set", "seeds: 3\n", measures_of(run))


def rows_of(run, compared):
    table = pq.read_table(run.lake / compared.folder / "comparison.parquet", schema=COMPARISON)
    return {(row["detector"], row["budget"], row["measure"]): row for row in table.to_pylist()}


@pytest.mark.parametrize("key", [key for key, values in VALUES.items() if len(set(values)) > 1])
def test_an_interval_is_students(run, compared, key):
    row = rows_of(run, compared)[key]
    sample = np.array([value for value in VALUES[key] if value is not None])
    assert row["mean"] == pytest.approx(sample.mean())
    expected = stats.t.interval(0.95, len(sample) - 1, sample.mean(), stats.sem(sample))
    assert (row["low"], row["high"]) == pytest.approx(expected)
    assert row["repetitions"] == len(sample)


def test_what_does_not_differ_has_no_interval(run, compared):
    row = rows_of(run, compared)["better", None, "average_precision"]
    assert (row["mean"], row["low"], row["high"]) == (pytest.approx(0.96), None, None)


def test_one_repetition_has_no_interval(run):
    rows = rows_of(run, tabulate.fn(run, "set", "", measures_of(run, 1)))
    assert {(row["low"], row["high"], row["repetitions"]) for row in rows.values()} == {(None, None, 1)}


def test_curves_keep_the_repetition_they_are_of(run, compared):
    curves = pq.read_table(run.lake / compared.folder / "curves.parquet")
    assert curves.schema.names == [*CURVES.names, "repetition"]
    assert curves["repetition"].value_counts().to_pylist() == [{"values": i, "counts": 6} for i in range(3)]


def test_the_drawn_line_is_the_mean_of_the_repetitions():
    curve = pa.table(
        {
            "repetition": [0, 0, 1, 1],
            "recall": [0.5, 1.0, 0.25, 1.0],
            "precision": [1.0, 0.4, 0.8, 0.2],
        }
    )
    drawn = mean_precision(curve)
    levels = np.linspace(0, 1, len(drawn))
    naive = [np.mean([1.0 if r <= 0.5 else 0.4, 0.8 if r <= 0.25 else 0.2]) for r in levels]
    assert drawn == pytest.approx(naive)


def test_the_plot_is_a_picture_of_a_size_to_be_looked_at(run, compared):
    data = (run.lake / compared.folder / "plot.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    assert (width, height) == (1600, 992)
    assert 10_000 < len(data) < 1_000_000


def test_a_plot_has_room_for_more_detectors_than_there_are_colours(run, tmp_path):
    from tasks.evaluation.precision_recall_chart import precision_recall_chart

    names = [f"detector_with_a_long_name_{i}" for i in range(30)]
    columns = {"detector": names, "recall": [1.0] * 30, "precision": [0.5] * 30, "count": [9] * 30}
    curves = pa.table([columns[field.name] for field in CURVES], schema=CURVES)
    curves = curves.append_column("repetition", pa.array([0] * 30))
    path = tmp_path / "plot.png"
    precision_recall_chart(curves, [(name, 0.5) for name in names], 0.1, "many", path)
    assert struct.unpack(">II", path.read_bytes()[16:24]) == (1600, 992)


def test_the_folder_is_whole_and_nothing_is_left_beside_it(run, compared):
    folder = run.lake / compared.folder
    assert folder == run.lake / "comparisons" / run.run_id
    assert {path.name for path in folder.iterdir()} == {
        "comparison.parquet", "curves.parquet", "plot.png", "config.yaml", "manifest.json",
    }  # fmt: skip
    assert [path.name for path in folder.parent.iterdir()] == [run.run_id]
    assert yaml.safe_load((folder / "config.yaml").read_text()) == {"seeds": 3}
    manifest = json.loads((folder / "manifest.json").read_text())
    assert all(sha256_of(folder / file["name"]) == file["sha256"] for file in manifest["files"])
    assert run.intact(compared)


def test_a_comparison_is_never_written_over(run, compared):
    with pytest.raises(BadArtefact, match="one that exists"):
        tabulate.fn(run, "set", "", measures_of(run))
    assert run.intact(compared)


def test_tables_are_sorted_and_say_what_they_can(run, compared):
    comparison = Comparison.read(run.lake, compared)
    assert [row["detector"] for row in comparison.detectors()] == ["better", "good"]
    better, good = comparison.detectors()
    assert (better["average precision"], better["sees"]) == ("0.960", "what better sees")
    low, high = stats.t.interval(0.95, 2, 0.92, stats.sem([0.9, 0.95, 0.91]))
    assert good["average precision"] == f"0.920 [{low:.3f}, {high:.3f}]"
    first, second = comparison.budgets()
    assert (first["detector"], first["flags"], first["precision"], first["precision it states"]) == (
        "better", "1,235", "–", "–",
    )  # fmt: skip
    assert second["precision it states"] == "0.750 [0.650, 0.850]"
    assert second["F1"] == "0.567 [0.000, 1.000]"  # 0.567 ± 1.229


def test_columns_of_the_text_stand_below_each_other(run, compared):
    lines = Comparison.read(run.lake, compared).text().splitlines()
    head = next(line for line in lines if line.startswith("  detector"))
    place = head.index("sees")
    assert [line[place:] for line in lines[lines.index(head) + 1 :][:2]] == ["what better sees", "what good sees"]
    assert "120 of 1,200 known labels are wrong (10.0%)" in "\n".join(lines)


def test_markdown_has_a_bar_for_each_column(run, compared):
    table = [line for line in Comparison.read(run.lake, compared).markdown().splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in table[:4]}) == 1
    assert table[1].startswith("| --- |")
