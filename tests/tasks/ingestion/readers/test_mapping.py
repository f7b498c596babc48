"""Columns have the roles they are given; what has no role is carried along untouched."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tasks.dataset.payload import payload_of
from tasks.dataset.samples import load
from tasks.ingestion.readers.arrow import Arrow
from tasks.ingestion.readers.csv import Csv
from tasks.ingestion.readers.idx import Idx
from tasks.ingestion.readers.image_folder import ImageFolder
from tasks.ingestion.readers.jsonl import Jsonl
from tasks.ingestion.readers.npz import Npz
from tasks.ingestion.readers.parquet import Parquet

N = 24
LABELS = ["cat", "dog"] * (N // 2)


def _png(seed: int, size: tuple[int, int] = (5, 4), mode: str = "L") -> bytes:
    shape = (*size, 3) if mode == "RGB" else size
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)).save(out, "PNG")
    return out.getvalue()


def _parquet(path: Path, **columns: object) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def _csv(path: Path, header: str, rows: list[str]) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_every_named_role_reaches_its_own_column(read, tmp_path):
    path = _csv(
        tmp_path / "a.csv",
        "uid,a,b,species,part,site,truth,remark,year",
        [f"u{i},{i},{i / 8},{LABELS[i]},train,s{i % 3},{LABELS[-i]},  note {i} ,19{i:02d}" for i in range(N)],
    )
    ingested = read(
        Csv(
            path=path,
            label="species",
            features=["b", "a"],
            id="uid",
            split="part",
            group="site",
            clean_label="truth",
        )
    )
    assert ingested.column("label") == LABELS
    assert ingested.column("source_id") == [f"u{i}" for i in range(N)]
    assert ingested.column("group") == [f"s{i % 3}" for i in range(N)]
    assert ingested.column("clean_label") == [LABELS[-i] for i in range(N)]
    assert set(ingested.column("split")) == {"train"}
    assert ingested.column("source") == ["a.csv"] * N
    assert ingested.column("row") == list(range(N))
    # No role: carried, spaces and all, also numbers when the features are named.
    assert ingested.column("remark") == [f"  note {i} " for i in range(N)]
    assert ingested.column("year") == [f"19{i:02d}" for i in range(N)]
    # Features in the order they are listed.
    x = load(ingested.run, ingested.artefact, "train").x
    assert x.tolist() == [[i / 8, float(i)] for i in range(N)]


def test_without_features_every_number_without_a_role_is_an_input(read, tmp_path):
    path = _parquet(
        tmp_path / "a.parquet",
        a=pa.array([i * i for i in range(N)], pa.int32()),
        words=["w"] * N,
        b=pa.array(np.arange(N) / 4, pa.float32()),
        yes=[i % 2 == 0 for i in range(N)],
        uid=list(range(N)),
        label=LABELS,
    )
    ingested = read(Parquet(path=path, id="uid"))
    assert payload_of(ingested.artefact).columns == ("a", "b", "yes")
    assert ingested.column("words") == ["w"] * N
    assert ingested.column("source_id") == [str(i) for i in range(N)]


def test_scalars_and_lists_stand_side_by_side(read, tmp_path):
    vectors = [[i, i + 1.5] for i in range(N)]
    path = _parquet(tmp_path / "a.parquet", v=vectors, a=np.arange(N, dtype=np.int64), label=LABELS)
    ingested = read(Parquet(path=path, features=["a", "v"], test_share=0))
    assert load(ingested.run, ingested.artefact, "train").x.tolist() == [[float(i), *vectors[i]] for i in range(N)]


@pytest.mark.parametrize(
    "kind",
    [pa.list_(pa.float32()), pa.large_list(pa.float32()), pa.list_(pa.float32(), 2), pa.list_(pa.float16())],
    ids=str,
)
def test_lists_of_every_arrow_type_are_inputs(read, tmp_path, kind):
    vectors = [[np.float16(i), np.float16(0.5)] for i in range(N)]
    path = _parquet(tmp_path / "a.parquet", v=pa.array(vectors, kind), label=LABELS)
    ingested = read(Parquet(path=path, test_share=0))
    assert load(ingested.run, ingested.artefact, "train").x.tolist() == [[float(i), 0.5] for i in range(N)]


@pytest.mark.parametrize(
    "kind",
    ["uint8", "int8", "int16", "uint32", "int64", "float32", "float64", "decimal"],
)
def test_numbers_of_every_arrow_type_are_inputs(read, tmp_path, kind):
    values = pa.array(range(N), pa.int64()).cast(pa.decimal128(24, 2) if kind == "decimal" else kind)
    path = _parquet(tmp_path / "a.parquet", a=values, b=values, label=LABELS)
    ingested = read(Parquet(path=path, features=["a", "b"], test_share=0))
    inputs = load(ingested.run, ingested.artefact, "train")
    assert inputs.x.tolist() == [[i, i] for i in range(N)]
    assert str(inputs.x.dtype) == f"torch.{kind if kind in ('uint8', 'int8') else 'float32'}"


def test_half_floats_are_inputs(read, tmp_path):
    path = _parquet(tmp_path / "a.parquet", a=np.arange(N, dtype=np.float16), label=LABELS)
    ingested = read(Parquet(path=path, features=["a"], test_share=0))
    assert load(ingested.run, ingested.artefact, "train").x.tolist() == [[float(i)] for i in range(N)]


def test_a_column_of_encoded_images_is_the_input(read, tmp_path):
    pictures = [_png(i) for i in range(N)]
    path = _parquet(tmp_path / "a.parquet", img=pictures, brightness=np.arange(N), label=LABELS)
    ingested = read(Parquet(path=path, image="img", test_share=0))
    payload = payload_of(ingested.artefact)
    assert (payload.kind, payload.shape) == ("image", (1, 5, 4))
    x = load(ingested.run, ingested.artefact, "train").x.numpy()
    assert np.array_equal(x, np.stack([np.asarray(Image.open(io.BytesIO(p)))[None] for p in pictures]))
    assert ingested.column("img") == pictures
    assert ingested.column("brightness") == list(range(N))


def test_image_size_resizes_every_image(read, tmp_path):
    pictures = [_png(i, (5 + i % 3, 6), "RGB") for i in range(N)]
    ingested = read(
        Parquet(
            path=_parquet(tmp_path / "a.parquet", img=pictures, label=LABELS), image="img", image_size=8, test_share=0
        )
    )
    assert ingested.rejects.num_rows == 0
    assert tuple(load(ingested.run, ingested.artefact, "train").x.shape) == (N, 3, 8, 8)


def test_shape_makes_channels_height_and_width(read, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (N, 12), dtype=np.uint8)
    path = _parquet(tmp_path / "a.parquet", x=pixels.tolist(), label=LABELS)
    ingested = read(Parquet(path=path, shape=[3, 2, 2], test_share=0))
    assert payload_of(ingested.artefact).is_image
    x = load(ingested.run, ingested.artefact, "train").x.numpy()
    assert np.array_equal(x, pixels.reshape(N, 3, 2, 2))


@pytest.mark.parametrize(
    ("written", "split"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("validation", "validation"),
        ("valid", "validation"),
        ("VAL", "validation"),
        ("dev", "validation"),
        ("test", "test"),
        (" testing ", "test"),
        ("eval", "test"),
    ],
)
def test_a_split_has_its_usual_names(read, tmp_path, written, split):
    rows = [f"{i},{LABELS[i]},{'train' if i < N - 2 else written}" for i in range(N)]
    ingested = read(Csv(path=_csv(tmp_path / "a.csv", "a,label,part", rows), features=["a"], split="part"))
    assert ingested.column("split") == ["train"] * (N - 2) + [split] * 2


@pytest.mark.parametrize("validation", ["validation", "val", "valid", "dev"])
def test_an_image_folder_may_begin_with_its_splits_by_their_usual_names(read, tmp_path, validation):
    for i in range(N):
        for split in ("train", validation, "test"):
            path = tmp_path / "root" / split / LABELS[i] / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_png(i + {"train": 0, "test": 200}.get(split, 100)))
    ingested = read(ImageFolder(path=tmp_path / "root"))
    assert ingested.artefact.facts["classes"] == ["cat", "dog"]
    assert ingested.artefact.facts["splits"] == {"train": N, "validation": N, "test": N}


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl", "arrow"])
def test_the_test_path_is_the_test_split(read, tmp_path, kind):
    def write(name: str, first: int) -> Path:
        path = tmp_path / f"{name}.{kind}"
        table = pa.table({"a": list(range(first, first + N)), "label": LABELS})
        if kind == "csv":
            _csv(path, "a,label", [f"{row['a']},{row['label']}" for row in table.to_pylist()])
        elif kind == "jsonl":
            path.write_text("".join(f'{{"a": {row["a"]}, "label": "{row["label"]}"}}\n' for row in table.to_pylist()))
        elif kind == "parquet":
            pq.write_table(table, path)
        else:
            with pa.ipc.new_file(str(path), table.schema) as writer:
                writer.write_table(table)
        return path

    reader = {"csv": Csv, "parquet": Parquet, "jsonl": Jsonl, "arrow": Arrow}[kind]
    ingested = read(reader(path=write("train", 0), test_path=write("test", 1000)))
    assert ingested.artefact.facts["splits"] == {"train": N, "validation": 0, "test": N}
    values = dict(zip(map(float, ingested.column("a")), ingested.column("split"), strict=True))
    assert all((split == "test") == (value >= 1000) for value, split in values.items())
    # So is a reference the validation split, and no sample of it is trained on.
    referred = read(reader(path=tmp_path / f"train.{kind}", reference_path=tmp_path / f"test.{kind}", test_share=0.0))
    assert referred.artefact.facts["splits"] == {"train": N, "validation": N, "test": 0}
    # The limit is for the training source alone.
    limited = read(reader(path=tmp_path / f"train.{kind}", test_path=tmp_path / f"test.{kind}", limit=10))
    assert limited.artefact.facts["splits"] == {"train": 10, "validation": 0, "test": N}


def test_a_saved_hugging_face_test_set_is_not_ignored(read, tmp_path):
    datasets = pytest.importorskip("datasets")
    from tasks.ingestion.readers.huggingface import HuggingFace

    for name, first in (("train", 0), ("test", 1000)):
        rows = {"a": list(range(first, first + N)), "label": LABELS}
        datasets.Dataset.from_dict(rows).save_to_disk(str(tmp_path / name))
    ingested = read(HuggingFace(path=tmp_path / "train", test_path=tmp_path / "test"))
    assert ingested.artefact.facts["splits"] == {"train": N, "validation": 0, "test": N}
    referred = read(HuggingFace(path=tmp_path / "train", reference_path=tmp_path / "test", test_share=0.0))
    assert referred.artefact.facts["splits"] == {"train": N, "validation": N, "test": 0}


def test_csv_and_parquet_and_arrow_of_the_same_numbers_have_the_same_ids(read, tmp_path):
    random = np.random.default_rng(0)
    table = pa.table(
        {
            "a": random.normal(size=N),
            "b": pa.array(range(N), pa.int16()),
            "c": random.normal(size=N).astype(np.float32),
            "label": LABELS,
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    with pa.ipc.new_stream(str(tmp_path / "a.arrow"), table.schema) as writer:
        writer.write_table(table)
    rows = [f"{row['a']!r},{row['b']},{row['c']!r},{row['label']}" for row in table.to_pylist()]
    _csv(tmp_path / "a.csv", "a,b,c,label", rows)
    readers = [
        Csv(path=tmp_path / "a.csv"),
        Parquet(path=tmp_path / "a.parquet"),
        Arrow(path=tmp_path / "a.arrow"),
    ]
    ids = [read(reader).column("sample_id") for reader in readers]
    assert len(set(ids[0])) == N
    assert ids[0] == ids[1] == ids[2]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (pa.array([True, False] * 12), {"true", "false"}),
        (pa.array([3, -1] * 12, pa.int8()), {"3", "-1"}),
        (pa.array(["b", "a"] * 12).dictionary_encode(), {"a", "b"}),
        (pa.array(["b ", "a"] * 12, pa.large_string()), {"a", "b"}),
    ],
    ids=["booleans", "integers", "categories", "large text"],
)
def test_labels_of_every_sort_become_text(read, tmp_path, labels, expected):
    ingested = read(Parquet(path=_parquet(tmp_path / "a.parquet", a=np.arange(N), label=labels), features=["a"]))
    assert set(ingested.column("label")) == expected


@pytest.mark.parametrize("text", [pa.large_string(), pa.string_view()], ids=str)
def test_an_empty_label_is_missing_in_every_type_of_text(read, tmp_path, text):
    """Polars writes large or view strings, never plain ones."""
    table = pa.table({"a": np.arange(N), "label": pa.array(["", " ", *LABELS[2:]], text)})
    with pa.ipc.new_file(str(tmp_path / "a.arrow"), table.schema) as writer:
        writer.write_table(table)
    ingested = read(Arrow(path=tmp_path / "a.arrow", features=["a"]))
    assert ingested.reasons == {0: "missing label", 1: "missing label"}
    assert ingested.artefact.facts["classes"] == ["cat", "dog"]


def test_clean_labels_that_pandas_made_floats_still_match_integer_labels(read, tmp_path):
    clean = pa.array([None, *[float(i % 2) for i in range(1, N)]], pa.float64())
    path = _parquet(tmp_path / "a.parquet", a=np.arange(N), label=[i % 2 for i in range(N)], truth=clean)
    ingested = read(Parquet(path=path, features=["a"], clean_label="truth"))
    assert ingested.column("clean_label") == [None, *ingested.column("label")[1:]]


def test_a_folder_of_files_is_one_source_in_the_order_of_names(read, tmp_path):
    (tmp_path / "parts").mkdir()
    for part in (1, 0, 2):
        _csv(tmp_path / "parts" / f"{part}.csv", "a,label", [f"{part * 100 + i},{LABELS[i]}" for i in range(8)])
    ingested = read(Csv(path=tmp_path / "parts"))
    assert ingested.column("a") == [float(part * 100 + i) for part in range(3) for i in range(8)]
    assert ingested.column("source") == [f"{part}.csv" for part in range(3) for _ in range(8)]
    assert ingested.column("row") == list(range(8)) * 3


@pytest.mark.parametrize("kind", ["csv", "parquet", "arrow"])
def test_a_file_without_rows_among_others_adds_none(read, tmp_path, kind):
    (tmp_path / "parts").mkdir()
    for part, n in enumerate((8, 0, 8)):
        table = pa.table({"a": pa.array(range(part * 100, part * 100 + n), pa.int64()), "label": LABELS[:n]})
        path = tmp_path / "parts" / f"{part}.{kind}"
        if kind == "csv":
            _csv(path, "a,label", [f"{row['a']},{row['label']}" for row in table.to_pylist()])
        elif kind == "parquet":
            pq.write_table(table.cast(pa.schema([("a", pa.int64()), ("label", pa.string())])), path)
        else:
            schema = pa.schema([("a", pa.int64()), ("label", pa.string())])
            with pa.ipc.new_file(str(path), schema) as writer:
                writer.write_table(table.cast(schema))
    reader = {"csv": Csv, "parquet": Parquet, "arrow": Arrow}[kind]
    assert read(reader(path=tmp_path / "parts")).samples.num_rows == 16


def test_numbers_may_be_whole_in_one_part_of_a_jsonl_file_and_broken_in_another(read, tmp_path):
    """JSON has no schema: 4,096 integers say nothing about the next value."""
    n = 5000
    numbers = [f"{i}{'.5' if i > 4500 else ''}" for i in range(n)]
    lines = [f'{{"a": {number}, "v": [{number}], "label": {i % 2}}}' for i, number in enumerate(numbers)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    ingested = read(Jsonl(path=tmp_path / "a.jsonl", test_share=0))
    assert ingested.rejects.num_rows == 0
    x = load(ingested.run, ingested.artefact, "train").x
    assert x.tolist() == [[i + (0.5 if i > 4500 else 0)] * 2 for i in range(n)]


def test_a_jsonl_key_that_comes_late_or_lacks_is_a_missing_value(read, tmp_path):
    lines = [f'{{"a": {i * i}, "label": "{LABELS[i]}"}}' for i in range(N)]
    lines[5] = '{"label": "cat"}'
    lines[7] = '{"a": 49}'
    (tmp_path / "a.jsonl").write_text("\n".join(lines) + "\n\n")
    ingested = read(Jsonl(path=tmp_path / "a.jsonl"))
    assert ingested.reasons == {7: "missing label"}
    assert ingested.column("a")[5] is None


def test_jsonl_carries_values_of_changing_types_as_text(read, tmp_path):
    extras = ["1", '"one"', "[1, 2]", '{"k": 1}', "null", "true"] * 4
    lines = [f'{{"a": {i}, "label": "{LABELS[i]}", "extra": {extras[i]}}}' for i in range(N)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    ingested = read(Jsonl(path=tmp_path / "a.jsonl", features=["a"]))
    assert ingested.column("extra")[:6] == ["1", "one", "[1, 2]", '{"k": 1}', None, "true"]


def test_npz_may_be_channels_last(read, tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (N, 4, 5, 3), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", x=x, y=np.arange(N) % 2)
    ingested = read(Npz(path=tmp_path / "a.npz", channels_last=True, test_share=0))
    assert np.array_equal(load(ingested.run, ingested.artefact, "train").x.numpy(), x.transpose(0, 3, 1, 2))


def test_npz_test_arrays_are_the_test_split(read, tmp_path):
    x, y = np.arange(N * 3.0).reshape(N, 3), np.arange(N) % 2
    np.savez(tmp_path / "a.npz", x=x, y=y, x_test=x[:6] + 1000, y_test=y[:6])
    ingested = read(Npz(path=tmp_path / "a.npz"))
    assert ingested.artefact.facts["splits"] == {"train": N, "validation": 0, "test": 6}
    assert load(ingested.run, ingested.artefact, "test").x.tolist() == (x[:6] + 1000).tolist()


def test_npz_test_arrays_of_another_type_are_converted_or_refused(read, tmp_path):
    from tasks.core.errors import GradsieveError

    y = np.arange(N) % 2
    x = np.arange(N * 3).reshape(N, 3)
    np.savez(tmp_path / "a.npz", x=x.astype(np.uint8), y=y, x_test=x[:6] + 0.5, y_test=y[:6])
    try:
        ingested = read(Npz(path=tmp_path / "a.npz"))
    except GradsieveError:
        return
    assert load(ingested.run, ingested.artefact, "test").x.tolist() == (x[:6] + 0.5).tolist()


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (3, 2, 2)], ids=str)
@pytest.mark.parametrize("kind", ["idx", "npz"])
def test_arrays_of_every_rank_have_a_shape_a_network_can_take(read, tmp_path, kind, shape):
    import struct

    x = np.arange(N * int(np.prod(shape)), dtype=np.uint8).reshape(N, *shape)
    y = (np.arange(N) % 2).astype(np.uint8)
    if kind == "npz":
        np.savez(tmp_path / "a.npz", x=x, y=y)
        reader = Npz(path=tmp_path / "a.npz", test_share=0)
    else:
        for name, array in (("x", x), ("y", y)):
            header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            (tmp_path / name).write_bytes(header + array.tobytes())
        reader = Idx(images=tmp_path / "x", labels=tmp_path / "y", test_share=0)
    ingested = read(reader)
    expected = (1, *shape) if len(shape) in (0, 2) else shape
    assert payload_of(ingested.artefact).shape == (expected or (1,))
    assert np.array_equal(load(ingested.run, ingested.artefact, "train").x.numpy(), x.reshape(N, *expected))


def test_a_column_that_bears_one_of_our_names_is_kept_under_another(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tasks.ingestion.ingest import ingest
    from tasks.ingestion.readers.parquet import Parquet
    from tasks.ingestion.two_passes import Ingestion
    from tasks.pipeline.artefacts import Run

    table = pa.table({"x": [0.5, 1.5, 2.5, 3.5], "label": ["a", "b"] * 2, "split": ["inner", "outer"] * 2})
    pq.write_table(table, tmp_path / "a.parquet")
    run = Run.start(tmp_path / "lake", "set")
    samples = ingest.fn(run, Parquet(path=tmp_path / "a.parquet", test_share=0), Ingestion())
    (path,) = run.paths(samples, "train-00000.parquet")
    kept = pq.read_table(path)
    assert kept["original_split"].to_pylist() == ["inner", "outer"] * 2
    assert set(kept["split"].to_pylist()) == {"train"}


def test_columns_may_bear_the_names_that_our_own_queries_use(read, tmp_path):
    names = ("place", "splits", "came", "spool", "dropped", "nth", "content", "total", "raw", "zero", "c0")
    inputs = {name: [(i * 7 + k) % 11 + 0.5 for i in range(N)] for k, name in enumerate(names)}
    assert (
        payload_of(read(Parquet(path=_parquet(tmp_path / "a.parquet", label=LABELS, **inputs))).artefact).columns
        == names
    )
