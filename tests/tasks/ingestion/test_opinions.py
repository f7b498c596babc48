"""A file of opinions is read whatever its format, and refused with a remedy where it is no opinion of these samples."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from tasks.config import CleanConfig
from tasks.core.errors import BadInput
from tasks.ingestion.collect_opinions import collect_opinions
from tasks.ingestion.ingest import ingest
from tasks.ingestion.opinions import OPINIONS, OpinionFile, read
from tasks.ingestion.readers.csv import Csv
from tasks.ingestion.two_passes import Ingestion
from tasks.pipeline.artefacts import Run

CLASSES = ["cat", "dog"]
ROWS = {"sample_id": ["a", "b", "c"], "cat": [0.25, 1.0, None], "dog": [0.75, 0.0, None], "note": ["x", "y", "z"]}


def write(path, columns=None):
    """A table in the format of the path's suffix."""
    table = pa.table(ROWS if columns is None else columns)
    match path.suffix:
        case ".csv":
            pa_csv.write_csv(table, path)
        case ".parquet":
            pq.write_table(table, path)
        case ".jsonl":
            path.write_text("\n".join(map(json.dumps, table.to_pylist())))
        case ".gz":
            plain = write(path.with_suffix(""), columns)
            path.write_bytes(gzip.compress(plain.read_bytes()))
    return path


def opinion_of(path, table=None, **options):
    return read(OpinionFile(path=write(path, table), **options), CLASSES)


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """(run, samples): 30 rows with ids of their own, of which some are set aside as test."""
    folder = tmp_path_factory.mktemp("source")
    lines = [f"{i},{i / 7:.3f},{CLASSES[i % 2]},n{i}" for i in range(30)]
    (folder / "pets.csv").write_text("\n".join(["nr,size,label,name", *lines]))
    run = Run.start(folder / "lake", "pets")
    reader = Csv(path=folder / "pets.csv", id="name", features=["size"], test_share=0.3)
    return run, ingest.fn(run, reader, Ingestion())


def thin(samples):
    run, artefact = samples
    paths = [run.path(artefact, file) for file in artefact.files if file.name.startswith("samples/")]
    return pa.concat_tables([pq.read_table(path, columns=["sample_id", "source_id", "split"]) for path in paths])


def collected(samples, tmp_path, columns, **options):
    """(the table, the facts of the opinion)."""
    run, artefact = samples
    path = write(tmp_path / "judge.csv", columns)
    opinions = collect_opinions.fn(run, artefact, [OpinionFile(path=path, **options)])
    return pq.read_table(run.path(opinions)), opinions.facts["opinions"][0]


# ---- reading -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.jsonl", "a.csv.gz", "a.jsonl.gz"])
def test_every_format_says_the_same(tmp_path, name):
    opinion = opinion_of(tmp_path / name)
    assert (opinion.name, opinion.by, opinion.normalised) == ("a", "sample_id", 0)
    assert opinion.ids.to_pylist() == ["a", "b", "c"]
    assert opinion.unused == ["note"]
    assert opinion.probabilities.dtype == np.float32
    np.testing.assert_array_equal(opinion.probabilities, np.array([[0.25, 0.75], [1, 0], [np.nan, np.nan]], "f"))


def test_columns_are_found_by_name_in_any_order_and_ids_may_be_the_sources_own(tmp_path):
    columns = {"p_dog": [0.2], "file": ["x.png"], "cat": [0.8]}
    opinion = opinion_of(tmp_path / "a.csv", columns, columns={"dog": "p_dog"}, id="file", name="clip")
    assert (opinion.name, opinion.by) == ("clip", "source_id")
    np.testing.assert_allclose(opinion.probabilities, [[0.8, 0.2]])


def test_rows_that_nearly_sum_to_one_are_normalised_and_counted(tmp_path):
    columns = {"sample_id": [1, 2, 3], "cat": [0.5, 0.50004, 0.55], "dog": [0.5, 0.5, 0.5]}
    opinion = opinion_of(tmp_path / "a.parquet", columns)
    assert opinion.normalised == 1
    assert opinion.ids.to_pylist() == ["1", "2", "3"]
    np.testing.assert_allclose(opinion.probabilities.sum(1), 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cat": [0.2, 1.0, 0.5], "dog": [0.2, 0.0, 0.5]}, r"id a: .* got 0\.2, 0\.2; 1 of 3 rows are none.*softmax"),
        ({"cat": [-0.5, 1.0, 0.5], "dog": [1.5, 0.0, 0.5]}, r"id a: .* got -0\.5, 1\.5"),
        ({"cat": [None, 1.0, 0.5], "dog": [1.0, 0.0, 0.5]}, r"id a: .* got nothing, 1"),
        ({"cat": [float("inf"), 1.0, 0.5]}, r"id a: .* got inf"),
        ({"cat": ["yes", "1", "0"]}, r"row 0, column cat: expected a probability, got 'yes'"),
        (
            {"sample_id": ["a", "b", "a"]},
            r"column sample_id: expected each id once, got 1 ids several times, a for one",
        ),
        ({"sample_id": ["a", None, "c"]}, r"row 1, column sample_id: expected an id, got none, and so in 1 rows"),
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_what_is_no_opinion_is_refused_with_the_row_it_stands_in(tmp_path, change, words, suffix):
    with pytest.raises(BadInput, match=words):
        opinion_of(tmp_path / f"a.{suffix}", ROWS | change)


@pytest.mark.parametrize(
    ("columns", "options", "words"),
    [
        (
            {"name": ["a"], "cat": [1.0], "dog": [0.0]},
            {},
            r"expected a column of ids, sample_id or source_id, got .*name",
        ),
        ({"sample_id": ["a"], "cat": [1.0]}, {}, r"for each of 2 classes, got no column dog among sample_id, cat"),
        (ROWS, {"columns": {"cow": "cat"}}, r"option columns: expected classes of the samples: cat, dog, got cow"),
        (ROWS, {"columns": {"cat": "dog"}}, r"a column of its own for each class, got dog for several"),
        (ROWS, {"id": "file"}, r"expected a column of ids, file, got the columns sample_id"),
        ({"sample_id": [], "cat": [], "dog": []}, {}, r"expected a row for each sample, got none"),
    ],
)
def test_columns_that_lack_are_named(tmp_path, columns, options, words):
    with pytest.raises(BadInput, match=words):
        opinion_of(tmp_path / "a.parquet", columns, **options)


def test_a_malformed_row_a_foreign_format_and_a_missing_file_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("sample_id,cat,dog\na,1,0\nb,1\n")
    with pytest.raises(BadInput, match=r"row 1: expected well-formed rows, got ragged row"):
        read(OpinionFile(path=tmp_path / "a.csv"), CLASSES)
    (tmp_path / "a.pdf").write_text("")
    with pytest.raises(BadInput, match=r"one of the suffixes .*\.parquet.*, got \.pdf"):
        read(OpinionFile(path=tmp_path / "a.pdf"), CLASSES)
    with pytest.raises(BadInput, match="no such file"):
        read(OpinionFile(path=tmp_path / "b.csv"), CLASSES)


# ---- matching ----------------------------------------------------------------------------------------------------


def test_what_is_kept_is_of_training_samples_and_the_rest_is_counted(samples, tmp_path):
    known = thin(samples)
    split = dict(zip(known["source_id"].to_pylist(), known["split"].to_pylist(), strict=True))
    names = [f"n{i}" for i in range(20)] + ["stranger"]
    p = np.linspace(0.1, 0.9, 21)
    cat = [None if i == 0 else x for i, x in enumerate(p)]
    dog = [None if i == 0 else 1 - x for i, x in enumerate(p)]
    table, facts = collected(samples, tmp_path, {"source_id": names, "cat": cat, "dog": dog})
    spoken = [name for name in names[1:20] if split[name] == "train"]
    held_out = sum(split[name] != "train" for name in names[:20])
    assert held_out > 0
    assert table.schema.equals(OPINIONS)
    assert facts == {
        "name": "judge", "rows": 21, "samples": len(spoken), "held_out": held_out, "unknown": 1, "empty": 1,
        "silent": sum(value == "train" for value in split.values()) - len(spoken), "normalised": 0, "unused": [],
    }  # fmt: skip
    own = dict(zip(known["sample_id"].to_pylist(), known["source_id"].to_pylist(), strict=True))
    assert table["sample_id"].to_pylist() == sorted(table["sample_id"].to_pylist())
    for row in table.to_pylist():
        expected = p[names.index(own[row["sample_id"]])]
        np.testing.assert_allclose(row["probabilities"], [expected, 1 - expected], rtol=1e-6)
        assert row["predicted"] == CLASSES[int(expected < 0.5)]
        assert row["p_predicted"] == pytest.approx(max(expected, 1 - expected))


def test_sample_ids_and_the_sources_own_ids_say_the_same(samples, tmp_path):
    known = thin(samples)
    p = {"cat": np.linspace(0.2, 0.8, 30), "dog": 1 - np.linspace(0.2, 0.8, 30)}
    first, _ = collected(samples, tmp_path, {"sample_id": known["sample_id"]} | p)
    second, _ = collected(samples, tmp_path, {"source_id": known["source_id"]} | p)
    assert first.equals(second)


def test_ids_that_name_no_training_sample_are_refused(samples, tmp_path):
    p = {"cat": [1.0], "dog": [0.0]}
    with pytest.raises(BadInput, match=r"expected ids of training samples, such as \w+, got 1 others, zebra for one"):
        collected(samples, tmp_path, {"sample_id": ["zebra"]} | p)
    with pytest.raises(BadInput, match=r"such as n\d+, got 1 others, zebra for one.*--reader\.id"):
        collected(samples, tmp_path, {"source_id": ["zebra"]} | p)


def test_an_id_that_the_source_gives_to_several_samples_is_refused(tmp_path):
    (tmp_path / "pets.csv").write_text(
        "size,label,site\n" + "".join(f"{i},{CLASSES[i % 2]},s{i % 3}\n" for i in range(20))
    )
    run = Run.start(tmp_path / "lake", "pets")
    artefact = ingest.fn(run, Csv(path=tmp_path / "pets.csv", features=["size"], id="site"), Ingestion())
    with pytest.raises(BadInput, match=r"name one sample each, got 1 that the source gives to several, s1 for one"):
        collected((run, artefact), tmp_path, {"source_id": ["s1"], "cat": [1.0], "dog": [0.0]})


def test_the_same_opinion_from_another_folder_is_the_same_artefact(samples, tmp_path):
    run, artefact = samples
    columns = {"sample_id": thin(samples)["sample_id"], "cat": np.full(30, 0.5), "dog": np.full(30, 0.5)}
    (tmp_path / "other").mkdir()
    files = [OpinionFile(path=write(folder / "judge.csv", columns)) for folder in (tmp_path, tmp_path / "other")]
    one, other = (collect_opinions.fn(run, artefact, [file]) for file in files)
    assert one.digest == other.digest
    assert files[0].fingerprint() == files[1].fingerprint()


# ---- configuration -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["a.csv", ["a.csv"], {"path": "a.csv"}, [{"path": "a.csv"}]])
def test_a_path_a_mapping_and_lists_of_them_mean_the_same(given):
    config = CleanConfig.model_validate({"opinions": given})
    assert [file.title for file in config.opinions] == ["a"]
    assert CleanConfig.model_validate_json(config.model_dump_json()).opinions == config.opinions


def test_two_opinions_of_one_name_are_refused_and_may_be_named():
    with pytest.raises(ValidationError, match="a stands there twice"):
        CleanConfig.model_validate({"opinions": ["x/a.csv", "y/a.csv"]})
    config = CleanConfig.model_validate({"opinions": ["x/a.csv", {"path": "y/a.csv", "name": "b"}]})
    assert [file.title for file in config.opinions] == ["a", "b"]


def test_where_there_are_no_classes_there_is_no_opinion_of_them():
    with pytest.raises(ValidationError, match="opinions: expected target class, got number"):
        CleanConfig.model_validate(
            {"opinions": "a.csv", "reader": {"kind": "csv", "path": "b.csv", "target": "number"}}
        )
    with pytest.raises(ValidationError, match="detector opinion: expected opinions from outside"):
        CleanConfig.model_validate({"detectors": ["fusion", "opinion"]})
