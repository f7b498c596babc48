"""What a page shows of a sample that is text."""

from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.dataset.payload import Payload
from tasks.dataset.tokenizer import Tokens
from tasks.report.pictures import pictures, texts


def test_texts_are_those_asked_for_and_cut_to_fit(tmp_path):
    table = pa.table({"sample_id": ["a", "b", "c"], "t": ["short", "word " * 200, "other"], "u": ["x", "y", "z"]})
    pq.write_table(table, tmp_path / "part.parquet")
    payload = Payload(kind="tokens", columns=("t", "u"), shape=(2, 8), dtype="int32", tokens=Tokens.of("words", 99))
    content = SimpleNamespace(payload=payload.model_dump(mode="json"), parts=[SimpleNamespace(path="part.parquet")])
    rows = SimpleNamespace(content=content, file=lambda name: tmp_path / name)
    found = texts(rows, ["b", "a", "nobody"])
    assert found["a"] == ["short", "x"]
    assert found["b"][0].endswith("word …")
    assert len(found["b"][0]) <= 402
    assert set(found) == {"a", "b"}
    assert pictures(rows, ["a"]) == {}
    content.payload = {"kind": "array", "columns": ["t"], "shape": [1], "dtype": "float32"}
    assert texts(rows, ["a"]) == {}
