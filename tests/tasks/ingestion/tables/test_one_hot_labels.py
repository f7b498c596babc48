"""A column of yes and no for each label is one label: the set of those that say yes."""

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest

from tasks.core.errors import BadInput
from tasks.ingestion.ingest import ingest
from tasks.ingestion.readers.csv import Csv
from tasks.ingestion.readers.parquet import Parquet
from tasks.ingestion.tables.one_hot_labels import label_columns
from tasks.ingestion.two_passes import Ingestion
from tasks.pipeline.artefacts import Run

N = 120
SAID = {"rain": [i % 2 for i in range(N)], "wind": [i % 3 == 0 for i in range(N)], "sun": ["yes", "no"] * (N // 2)}
EXPECTED = [
    "|".join(name for name, says in (("rain", i % 2), ("sun", i % 2 == 0), ("wind", i % 3 == 0)) if says)
    for i in range(N)
]


def ingested(folder, reader):
    run = Run.start(folder / "lake", "test")
    artefact = ingest.fn(run, reader, Ingestion(max_rejects=1))
    files = run.paths(artefact, ".parquet", "samples")
    rows = pa.concat_tables([pq.read_table(file) for file in files]).sort_by("row")
    return artefact, rows


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_columns_become_one_set_of_labels_and_no_input(tmp_path, kind):
    table = pa.table({"x": [i * i for i in range(N)]} | SAID)
    path = tmp_path / f"a.{kind}"
    (pc.write_csv if kind == "csv" else pq.write_table)(table, path)
    reader = (Csv if kind == "csv" else Parquet)(path=path, target="labels", label="rain,wind,sun")
    artefact, rows = ingested(tmp_path, reader)
    assert rows["label"].to_pylist() == EXPECTED
    assert artefact.facts["payload"]["columns"] == ["x"]
    assert "labels are sets of the columns rain, wind, sun" in artefact.facts["notes"]


def test_nothing_said_is_the_empty_set_and_a_row_without_a_cell_has_no_label(tmp_path):
    lines = [f"{i * i},{i % 2},{int(i % 3 == 0)}" for i in range(N)] + ["7,,1", "8,,", "9,maybe,0"]
    (tmp_path / "a.csv").write_text("\n".join(["x,rain,wind", *lines]))
    artefact, rows = ingested(tmp_path, Csv(path=tmp_path / "a.csv", target="labels", label="rain, wind"))
    labels = dict(zip(rows["row"].to_pylist(), rows["label"].to_pylist(), strict=True))
    assert labels[2] == "(none)"
    assert labels[N] == "wind"
    assert artefact.facts["rejects"] == {"missing label": 1, "neither yes nor no": 1}


def test_a_column_of_that_very_name_is_the_label():
    assert label_columns("a,b", ["a", "b"]) == ("a", "b")
    assert label_columns("a,b", ["a", "b", "a,b"]) == ()
    assert label_columns('"a,1",b', ["a,1", "b"]) == ("a,1", "b")
    assert label_columns("a,c", ["a", "b"]) == ()


def test_a_name_that_would_be_read_as_two_labels_is_refused(tmp_path):
    pq.write_table(pa.table({"x": [1.5, 2], "a|b": [0, 1], "c": [1, 0]}), tmp_path / "a.parquet")
    with pytest.raises(BadInput, match=r"without '\|'.*--reader\.separator"):
        ingested(tmp_path, Parquet(path=tmp_path / "a.parquet", target="labels", label="a|b,c"))
