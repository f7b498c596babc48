"""A column of weights is no input, goes along as it came, and its bad cells reject their rows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from tasks.core.errors import BadInput
from tasks.dataset.payload import payload_of
from tasks.dataset.samples import load, split_of
from tasks.ingestion.inspect import inspect
from tasks.ingestion.readers import Reader, ReaderChoice
from tasks.ingestion.readers.csv import Csv
from tasks.ingestion.readers.jsonl import Jsonl
from tasks.ingestion.readers.parquet import Parquet
from tasks.report.data_lines import weight_lines

N = 40
LABELS = ["cat", "dog"] * (N // 2)
SIZES = np.random.default_rng(0).normal(size=N).round(3).tolist()
WEIGHTS = [12285 + 31 * i for i in range(N)]


def _csv(path: Path, rows: list[dict], **options: object) -> Reader:
    pa_csv.write_csv(pa.Table.from_pylist(rows), path / "a.csv")
    return Csv(path=path / "a.csv", **options)  # type: ignore[arg-type]


def _jsonl(path: Path, rows: list[dict], **options: object) -> Reader:
    (path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Jsonl(path=path / "a.jsonl", **options)  # type: ignore[arg-type]


def _parquet(path: Path, rows: list[dict], **options: object) -> Reader:
    pq.write_table(pa.Table.from_pylist(rows), path / "a.parquet")
    return Parquet(path=path / "a.parquet", **options)  # type: ignore[arg-type]


def _excel(path: Path, rows: list[dict], **options: object) -> Reader:
    pytest.importorskip("python_calamine")
    openpyxl = pytest.importorskip("openpyxl")
    from tasks.ingestion.readers.excel import Excel

    book = openpyxl.Workbook()
    book.active.append(list(rows[0]))
    for row in rows:
        book.active.append(list(row.values()))
    book.save(path / "a.xlsx")
    return Excel(path=path / "a.xlsx", **options)  # type: ignore[arg-type]


FORMATS = pytest.mark.parametrize("write", [_csv, _jsonl, _parquet, _excel])


def rows_of(weights: list, **more: list) -> list[dict]:
    columns = {"label": LABELS, "size": SIZES, "fnlwgt": weights} | more
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


@FORMATS
def test_weights_are_no_input_and_go_along_as_they_came(read, tmp_path, write):
    ingested = read(write(tmp_path, rows_of(WEIGHTS), weights="fnlwgt"))
    assert payload_of(ingested.artefact).columns == ("size",)
    assert [int(value) for value in ingested.column("fnlwgt")] == WEIGHTS
    assert ingested.artefact.facts["weight_column"] == "fnlwgt"
    table = pq.read_table(next(p for p in ingested.run.paths(ingested.artefact) if p.name == "columns.parquet"))
    row = next(row for row in table.to_pylist() if row["name"] == "fnlwgt")
    assert (row["role"], row["kind"], row["distinct_values"]) == ("weight", "number", N)
    assert row["why"] == "named by --reader.weights"
    inputs = load(ingested.run, ingested.artefact, "train")
    by_id = dict(zip(ingested.column("sample_id"), WEIGHTS, strict=True))
    assert inputs.weights.tolist() == [by_id[name] for name in inputs.ids]
    assert "fnlwgt" not in str(ingested.artefact.facts["unused"])


def test_without_the_option_nothing_has_weights(read, tmp_path):
    ingested = read(_parquet(tmp_path, rows_of(WEIGHTS)))
    assert payload_of(ingested.artefact).columns == ("size", "fnlwgt")
    assert load(ingested.run, ingested.artefact, "train").weights is None
    assert not {"weight_column", "weight_range"} & ingested.artefact.facts.keys()
    assert weight_lines(ingested.artefact.facts) == []


@FORMATS
def test_inspect_shows_the_role(tmp_path, write):
    seen = inspect(write(tmp_path, rows_of(WEIGHTS), weights="fnlwgt"))
    assert {column.name: column.role for column in seen.columns} == {
        "label": "label",
        "size": "input",
        "fnlwgt": "weight",
    }


def test_a_bad_weight_rejects_its_row_with_the_reason(read, tmp_path):
    cells = ["", " NA ", "-2", "nan", "inf", "many", "1e300", "0", " 2.5 "]
    weights = cells + ["1"] * (N - len(cells))
    ingested = read(_csv(tmp_path, rows_of(weights), weights="fnlwgt"))
    assert ingested.reasons == {
        0: "missing value",
        1: "missing value",
        2: "negative weight",
        3: "missing value",
        4: "NaN or infinite",
        5: "not a number",
        6: "NaN or infinite",
    }
    details = {row["row"]: row["detail"] for row in ingested.rejects.to_pylist()}
    assert (details[2], details[5]) == ("column fnlwgt: '-2'", "column fnlwgt: 'many'")
    assert ingested.column("fnlwgt")[:2] == ["0", " 2.5 "]


def test_the_summary_says_how_uneven_they_are(read, tmp_path):
    weights = [0, 3] * (N // 2)
    ingested = read(_parquet(tmp_path, rows_of(weights, split=["train"] * N), weights="fnlwgt", split="split"))
    assert ingested.artefact.facts["weight_range"] == {"least": 0.0, "most": 3.0, "effective": N / 2}
    (line,) = weight_lines(ingested.artefact.facts)
    assert line.startswith(f"weights: fnlwgt (0 to 3; they tell as much as {N // 2} equal ones)")


def test_weights_that_are_all_nothing_are_an_error(read, tmp_path):
    with pytest.raises(BadInput, match=r"(?s)--reader\.weights.*a weight above 0.*0 in all \d+ of column 'fnlwgt'"):
        read(_csv(tmp_path, rows_of([0] * N), weights="fnlwgt"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "fnlwgth"}, r"Did you mean --reader\.weights fnlwgt\?"),
        ({"weights": "label"}, r"label, which --reader\.label names too"),
        ({"weights": "size", "features": ["size"]}, r"size, which --reader\.features names too"),
        ({"weights": "size", "group": "size"}, r"size, which --reader\.group names too"),
    ],
)
def test_a_column_that_is_not_there_or_something_else_is_refused(tmp_path, options, message):
    with pytest.raises(BadInput, match=message):
        _csv(tmp_path, rows_of(WEIGHTS), **options).open()


def test_what_has_no_columns_takes_no_weights():
    with pytest.raises(ValidationError, match=r"weights"):
        ReaderChoice.model_validate({"kind": "digits", "weights": "fnlwgt"})


@pytest.mark.parametrize(("name", "option"), [("fnlwgt", "weights"), ("label", "label"), ("truth", "clean-label")])
def test_a_later_file_without_a_named_column_is_refused(read, tmp_path, name, option):
    folder = tmp_path / "many"
    folder.mkdir()
    table = pa.Table.from_pylist(rows_of(WEIGHTS, truth=LABELS))
    pq.write_table(table, folder / "a.parquet")
    pq.write_table(table.drop_columns([name]), folder / "b.parquet")
    with pytest.raises(BadInput, match=rf"(?s)b\.parquet.*a column '{name}'.*--reader\.{option}"):
        read(Parquet(path=folder, weights="fnlwgt", clean_label="truth"))


@pytest.mark.parametrize("lacks", [True, False])
def test_a_test_file_needs_no_weights(read, tmp_path, lacks):
    held_out = pa.Table.from_pylist([row | {"size": row["size"] + 9} for row in rows_of(["many"] * N)])
    pa_csv.write_csv(held_out.drop_columns(["fnlwgt"]) if lacks else held_out, tmp_path / "test.csv")
    ingested = read(_csv(tmp_path, rows_of(WEIGHTS), weights="fnlwgt", test_path=tmp_path / "test.csv"))
    assert not ingested.reasons
    assert load(ingested.run, ingested.artefact, "train").weights.tolist() == WEIGHTS
    assert load(ingested.run, ingested.artefact, "test").weights is None


def test_beside_texts_and_in_objects_weights_have_their_role_too(read, tmp_path):
    about = [{"w": weight} for weight in WEIGHTS]
    rows = rows_of(WEIGHTS, note=[f"note {i} of some words" for i in range(N)], about=about)
    reader = _jsonl(tmp_path, rows, text="note", weights="about.w")
    assert {"about.w": "weight"}.items() <= {column.name: column.role for column in inspect(reader).columns}.items()
    ingested = read(reader)
    assert load(ingested.run, ingested.artefact, "train").weights.sum() > 12285


def test_a_name_of_our_own_is_kept_under_another(read, tmp_path):
    rows = [{"label": row["label"], "size": row["size"], "row": row["fnlwgt"]} for row in rows_of(WEIGHTS)]
    ingested = read(_parquet(tmp_path, rows, weights="row"))
    assert ingested.artefact.facts["weight_column"] == "original_row"
    assert load(ingested.run, ingested.artefact, "train").weights.min() >= WEIGHTS[0]


def test_other_weights_are_other_training_samples_to_a_cache(read, tmp_path):
    def digest(weights: list) -> str:
        return split_of(read(_csv(tmp_path, rows_of(weights), weights="fnlwgt")).artefact, "train").digest

    unnamed = split_of(read(_csv(tmp_path, rows_of(WEIGHTS), features=["size"])).artefact, "train").digest
    assert digest(WEIGHTS) == digest(WEIGHTS)
    assert len({digest(WEIGHTS), digest([weight + 1 for weight in WEIGHTS]), unnamed}) == 3
