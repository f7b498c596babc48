"""inspect says at once what a run would make of a source, and a run makes that of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.command_line.application import main
from tasks.core.errors import BadInput
from tasks.dataset.samples import check_splits
from tasks.ingestion import inspect as module
from tasks.ingestion.ingest import ingest
from tasks.ingestion.inspect import inspect
from tasks.ingestion.readers.csv import Csv
from tasks.ingestion.readers.npz import Npz
from tasks.ingestion.readers.parquet import Parquet
from tasks.ingestion.tables.told_columns import column_facts
from tasks.ingestion.two_passes import Ingestion
from tasks.pipeline.artefacts import Run

N = 90
ROWS = [f"{i},{i * i / 7:.3f},{'ab'[i % 2]},{'xy'[i % 2]}" for i in range(N)]
# What a command imports is asked of a process of its own.
PROBE = """
import sys
from flows.command_line.application import main
code = main(["inspect", sys.argv[1], "--reader.label", "kind"])
print([name for name in ("torch", "prefect", "pandas", "sklearn", "scipy") if name in sys.modules], code)
"""


def _csv(path: Path, rows: list[str] = ROWS) -> Path:
    path.write_text("\n".join([",size,colour,kind", *rows]) + "\n")
    return path


def test_it_says_of_every_column_what_a_run_does(tmp_path):
    reader = Csv(path=_csv(tmp_path / "a.csv"), label="kind")
    seen = inspect(reader)
    artefact = ingest.fn(Run.start(tmp_path / "lake", "a"), reader, Ingestion())
    assert column_facts(seen.columns)["inputs"] == artefact.facts["inputs"]
    assert column_facts(seen.columns)["unused"] == artefact.facts["unused"]
    assert (seen.rows, seen.whole, seen.labels, seen.refusal) == (N, True, {"x": N // 2, "y": N // 2}, None)


def test_it_counts_what_a_run_would_reject(tmp_path):
    rows = [*ROWS[:-4], "1,2,a", "2,many,a,x", "3,4,b,", "5,6,b,lonely"]
    reader = Csv(path=_csv(tmp_path / "a.csv", rows), label="kind")
    expected = {"ragged row": 1, "not a number (column size)": 1, "missing label": 1, "class seen once": 1}
    assert inspect(reader).rejects == expected
    run = ingest.fn(Run.start(tmp_path / "lake", "a"), reader, Ingestion())
    assert sum(run.facts["rejects"].values()) == sum(expected.values())


@pytest.mark.parametrize(
    ("kinds", "limit", "code"),
    [
        (["x", "y"] * 40 + [f"z{i}" for i in range(10)], 0.05, 4),
        (["x", "y"] * 40 + [f"z{i}" for i in range(10)], 0.2, 0),
        (["x"] * N, 0.05, 3),
        (["x", "y", "", "", ""] * 18, 0.05, 4),
        ([str(i % 44 * 1000) for i in range(N)], 0.05, 0),
        ([str(max(0, i - 60) * 1000) for i in range(N)], 0.05, 4),
        ([f"C-{i}" for i in range(N)], 0.05, 4),
    ],
)
def test_what_a_run_refuses_it_refuses_for_the_same_reason_with_the_same_code(tmp_path, capsys, kinds, limit, code):
    rows = [f"{row.rpartition(',')[0]},{kind}" for row, kind in zip(ROWS, kinds, strict=True)]
    path = _csv(tmp_path / "a.csv", rows)
    seen = inspect(Csv(path=path, label="kind"), Ingestion(max_rejects=limit))
    try:
        ingest.fn(Run.start(tmp_path / "lake", "a"), Csv(path=path, label="kind"), Ingestion(max_rejects=limit))
        raised = None
    except BadInput as error:
        raised = error
    assert (0 if raised is None else raised.exit_code) == code
    told = raised and (type(raised), raised.expected, raised.got, raised.do.rpartition("reason. ")[2])
    assert (seen.error and (type(seen.error), seen.error.expected, seen.error.got, seen.error.do)) == told
    options = ["--reader.label=kind", f"--ingestion.max-rejects={limit}"]
    assert main(["inspect", str(path), *options]) == code
    assert ("would be read" in capsys.readouterr().out) is (code == 0)


def test_rows_with_several_faults_are_not_counted_twice_for_a_refusal(tmp_path):
    rows = [f"{'many' if i < 4 else i * i},{'few' if i < 4 else i * i * i},{'xy'[i % 2]}" for i in range(N)]
    (tmp_path / "a.csv").write_text("\n".join(["a,b,kind", *rows]) + "\n")
    reader = Csv(path=tmp_path / "a.csv", label="kind")
    seen = inspect(reader)
    assert (seen.refusal, sum(seen.rejects.values())) == (None, 8)
    assert "rows with several faults count once" in (seen.doubt or "")
    assert sum(ingest.fn(Run.start(tmp_path / "lake", "a"), reader, Ingestion()).facts["rejects"].values()) == 4


def test_numbers_that_are_told_apart_as_classes_are_told_with_the_option(tmp_path):
    rows = [f"{row.rpartition(',')[0]},{i % 30}" for i, row in enumerate(ROWS)]
    (note,) = inspect(Csv(path=_csv(tmp_path / "a.csv", rows), label="kind")).notes
    assert note.startswith("the labels are 30 different numbers in 90 rows")
    assert "--reader.target number" in note
    few = [f"{row.rpartition(',')[0]},{i % 9}" for i, row in enumerate(ROWS)]
    assert inspect(Csv(path=_csv(tmp_path / "b.csv", few), label="kind")).notes == []


def test_numbers_are_shown_by_their_range_and_what_lies_farthest_out(tmp_path, capsys):
    labels = [*(1000 + i for i in range(N - 3)), 12_500, 12_500, -400]
    rows = [f"{row.rpartition(',')[0]},{label}" for row, label in zip(ROWS, labels, strict=True)]
    path = str(_csv(tmp_path / "a.csv", rows))
    assert main(["inspect", path, "--reader.label=kind", "--reader.target=number"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("labels"))
    assert line == ("labels: least -400, median 1,043.5, most 12,500; farthest from the median: 12,500, -400, 1,000")


def test_one_number_in_all_rows_is_refused_as_a_run_does(tmp_path):
    rows = [f"{row.rpartition(',')[0]},7" for row in ROWS]
    seen = inspect(Csv(path=_csv(tmp_path / "a.csv", rows), label="kind", target="number"))
    assert "not all the same number" in (seen.refusal or "")


def test_a_source_that_names_no_test_rows_is_refused_as_a_run_does(tmp_path):
    rows = [f"{i},{i * i},{'train' if i % 4 else 'val'},{'xy'[i % 2]}" for i in range(N)]
    (tmp_path / "a.csv").write_text("\n".join(["i,size,part,kind", *rows]) + "\n")
    reader = Csv(path=tmp_path / "a.csv", label="kind", split="part")
    ingested = ingest.fn(Run.start(tmp_path / "lake", "a"), reader, Ingestion())
    with pytest.raises(BadInput) as raised:
        check_splits(ingested, ("train", "test"))
    assert inspect(reader).refusal == str(raised.value)
    assert inspect(reader.model_copy(update={"split": None, "features": ["size"]})).refusal is None


def test_rows_that_a_column_sets_aside_train_no_class(tmp_path):
    rows = [f"{i},{i * i},{'test' if i < 12 else 'train'},{'z' if i < 8 else 'xy'[i % 2]}" for i in range(N)]
    (tmp_path / "a.csv").write_text("\n".join(["i,size,part,kind", *rows]) + "\n")
    reader = Csv(path=tmp_path / "a.csv", label="kind", split="part")
    assert inspect(reader).rejects == {"class not in train": 8}
    run = ingest.fn(Run.start(tmp_path / "lake", "a"), reader, Ingestion())
    assert run.facts["rejects"] == {"class not in train": 8}


def test_it_shows_the_columns_of_a_table_that_a_run_refuses(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"nr": range(N), "kind": ["x", "y"] * (N // 2)}), path)
    seen = inspect(Parquet(path=path, label="kind"))
    assert [column.role for column in seen.columns] == ["label", "index"]
    assert "expected a column to learn from" in (seen.refusal or "")
    one = inspect(Csv(path=_csv(tmp_path / "b.csv", [row.replace(",y", ",x") for row in ROWS]), label="kind"))
    assert "two classes" in (one.refusal or "")


def test_a_source_that_cannot_be_read_is_an_error_as_it_is_for_a_run(tmp_path):
    with pytest.raises(BadInput, match=r"Did you mean --reader\.label kind"):
        inspect(Csv(path=_csv(tmp_path / "a.csv"), label="kin"))


def test_of_a_large_source_the_first_rows_are_looked_at_and_that_is_said(tmp_path, monkeypatch, capsys):
    path = tmp_path / "a.parquet"
    numbers = np.random.default_rng(0).normal(size=20_000)
    pq.write_table(pa.table({"a": numbers, "kind": ["x", "y"] * 10_000}), path)
    monkeypatch.setattr(module, "MOST_BYTES", 50_000)
    assert main(["inspect", str(path), "--reader.label=kind"]) == 0
    assert "a.parquet: the first 8,192 rows, for the source is large" in capsys.readouterr().out


def test_arrays_are_looked_at_too(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((N, 3)), y=np.arange(N) % 3)
    seen = inspect(Npz(path=tmp_path / "a.npz"))
    assert (seen.rows, [column.name for column in seen.columns]) == (N, ["x"])
    assert seen.labels == {"0": 30, "1": 30, "2": 30}


def test_the_command_takes_a_bare_path_and_prints_a_line_a_column(tmp_path, capsys):
    assert main(["inspect", str(_csv(tmp_path / "fruit.csv")), "--reader.label", "kind"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"fruit.csv: {N} rows"
    assert printed[2].split() == ["column", "role", "kind", "values", "missing", "why"]
    assert [line.split()[:3] for line in printed[3:7]] == [
        ["kind", "label", "class"],
        ["''", "index", "number"],
        ["size", "input", "number"],
        ["colour", "input", "category"],
    ]
    assert printed[-2:] == ["labels: x 45, y 45", "would be read"]
    assert main(["inspect"]) == 2


def test_a_look_imports_neither_prefect_nor_torch_nor_pandas(tmp_path):
    command = [sys.executable, "-c", PROBE, str(_csv(tmp_path / "a.csv"))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] 0"
