"""A column that numbers the rows is no input unless it is named, and every other one is told with its reason."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.core.errors import BadInput
from tasks.dataset.payload import payload_of
from tasks.ingestion.readers.jsonl import Jsonl
from tasks.ingestion.readers.parquet import Parquet
from tasks.ingestion.tables.unused_columns import columns_by_reason, is_row_number
from tests.support.written_tables import WRITERS, csv_of, parquet_of

N = 24
LABELS = ["cat", "dog"] * (N // 2)
NUMBERED = "a row number by its name"


def _unused(ingested) -> dict[str, str]:
    return {row["column"]: row["reason"] for row in ingested.artefact.facts["unused"]}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("name", ["", "Unnamed: 0", "index", "__index_level_0__"])
def test_a_column_that_numbers_the_rows_is_an_input_only_where_it_is_named(read, tmp_path, kind, name):
    table = pa.table({name: list(range(N)), "a": [i / 2 for i in range(N)], "label": LABELS})
    reader = WRITERS[kind](tmp_path, table)
    ingested = read(reader)
    assert payload_of(ingested.artefact).columns == ("a",)
    assert _unused(ingested) == {name: NUMBERED}
    assert [int(value) for value in ingested.column(name)] == list(range(N)), "it is carried along all the same"
    named = read(reader.model_copy(update={"features": [name, "a"]}))
    assert payload_of(named.artefact).columns == (name, "a")
    assert _unused(named) == {}


@pytest.mark.parametrize("name", ["Index", "indexes", "unnamed", "Unnamed: a", "id", "index_level_0"])
def test_a_name_that_only_sounds_like_an_index_is_an_inputs(name):
    assert not is_row_number(name)


@pytest.mark.parametrize("name", [" ", "Unnamed: 12", "Unnamed: 0.1", "__index_level_3__"])
def test_what_r_and_pandas_write_above_row_numbers_is_known(name):
    assert is_row_number(name)


def test_every_column_that_is_no_input_is_told_with_its_reason(read, tmp_path):
    table = pa.table(
        {
            "a": [i / 2 for i in range(N)],
            "words": ["w"] * N,
            "half": ["1"] * (N // 3) + ["w"] * (N - N // 3),
            "nothing": pa.nulls(N),
            "blank": [" "] * N,
            "day": pa.array([0] * N, pa.date32()),
            "about": [{"x": i} for i in range(N)],
            "tags": [["t"]] * N,
            "colour": pa.array(["red"] * N).dictionary_encode(),
            "long": pa.array(["1"] * N, pa.large_string()),
            "row": list(range(N)),
            "label": LABELS,
        }
    )
    ingested = read(parquet_of(tmp_path, table))
    assert _unused(ingested) == {
        "words": "the same value in every row",
        "nothing": "empty",
        "blank": "empty",
        "day": "the same value in every row",
        "about": "struct",
        "tags": "lists of string",
        "colour": "the same value in every row",
        "row": "a name of gradsieve's own",
    }


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"features": ["a"]}, "not named by --reader.features"), ({"text": "words"}, "not named by --reader.text")],
)
def test_columns_beside_the_named_inputs_are_told_too(read, tmp_path, options, reason):
    table = pa.table({"a": [i / 2 for i in range(N)], "words": [f"w {i}" for i in range(N)], "label": LABELS})
    ingested = read(parquet_of(tmp_path, table).model_copy(update=options))
    assert _unused(ingested) == dict.fromkeys({"a", "words"} - set(payload_of(ingested.artefact).columns), reason)


@pytest.mark.parametrize("target", ["class", "number"])
def test_free_text_is_told_with_what_one_types_to_read_it(read, tmp_path, target):
    words = [f"these are words of {i}" for i in range(N)]
    labels = LABELS if target == "class" else [i * i for i in range(N)]
    often = [f"once more {i % 20}" for i in range(N)]
    table = {"a": [i / 2 for i in range(N)], "the body": words, "subject": often, "code": [f"c{i}" for i in range(N)]}
    ingested = read(parquet_of(tmp_path, pa.table(table | {"label": labels})).model_copy(update={"target": target}))
    way = {"the body": "; --reader.text 'the body' reads it", "subject": "; --reader.text subject reads it"}
    told = {
        "the body": "text that differs in every row",
        "subject": f"text, 20 different in {N} rows",
        "code": "text that differs in every row",
    }
    assert _unused(ingested) == {name: why + way.get(name, "") * (target == "class") for name, why in told.items()}


def test_columns_with_a_role_are_used(read, tmp_path):
    table = pa.table({"a": [i / 2 for i in range(N)], "uid": [f"u{i}" for i in range(N)], "label": LABELS})
    assert _unused(read(parquet_of(tmp_path, table).model_copy(update={"id": "uid"}))) == {}


def test_a_column_that_the_first_file_lacks_is_told(read, tmp_path):
    table = pa.table({"a": [i / 2 for i in range(N)], "label": LABELS})
    pq.write_table(table, tmp_path / "1.parquet")
    pq.write_table(table.append_column("late", table["a"]), tmp_path / "2.parquet")
    ingested = read(Parquet(path=tmp_path / "1.parquet", test_path=tmp_path / "2.parquet"))
    assert _unused(ingested) == {"late": "not in the first rows, so in no version either"}
    assert "late" not in ingested.samples.column_names


def test_a_key_that_only_later_lines_have_is_a_column_like_any_other(read, tmp_path):
    lines = [{"a": i * i, "label": LABELS[i % N]} | ({"late": i} if i > 4200 else {}) for i in range(4300)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    ingested = read(Jsonl(path=tmp_path / "a.jsonl"))
    assert _unused(ingested) == {}
    assert ingested.column("late") == [float(i) if i > 4200 else None for i in range(4300)]
    assert ingested.samples.num_rows == 4300


def test_a_limit_keeps_what_is_told(read, tmp_path):
    table = pa.table({"a": [i / 2 for i in range(N)], "words": ["w"] * N, "label": LABELS})
    ingested = read(parquet_of(tmp_path, table).model_copy(update={"limit": 20}))
    assert _unused(ingested) == {"words": "the same value in every row"}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_table_with_nothing_to_learn_from_is_refused_with_every_columns_reason(read, tmp_path, kind):
    names = [f"passenger {i}" for i in range(N)]
    table = pa.table({"": list(range(N)), "name": names, "sex": ["man"] * N, "label": LABELS})
    with pytest.raises(BadInput) as caught:
        read(WRITERS[kind](tmp_path, table))
    assert caught.value.got == (
        f"none: '' ({NUMBERED}); name (text that differs in every row); sex (the same value in every row)"
    )
    assert "--reader.features" in caught.value.do
    assert "--reader.text" in caught.value.do


def test_a_table_of_labels_alone_is_refused(read, tmp_path):
    with pytest.raises(BadInput) as caught:
        read(csv_of(tmp_path, pa.table({"label": LABELS})))
    assert caught.value.got == "no column without another role, among label"


def test_columns_are_listed_by_their_reason():
    assert columns_by_reason({"b": "text", "": NUMBERED, "a": "text"}) == f"b, a (text); '' ({NUMBERED})"
