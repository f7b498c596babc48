"""Every reader brings back what was written: the same inputs and labels, the same ids, the same digest."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import struct
import zipfile
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pydantic import ValidationError

from tasks.core.errors import BadInput, GradsieveError
from tasks.dataset.samples import load
from tasks.ingestion.files.source_kind import kind_of_source
from tasks.ingestion.readers import READERS, Noise, Reader

N = 36
_random = np.random.default_rng(0)
PIXELS = _random.integers(0, 256, (N, 4, 4), dtype=np.uint8)
LABELS = [("2", "10", "1")[i % 3] for i in range(N)]
COLUMNS = [f"p{i}" for i in range(16)]
FORWARD = list(range(N))
BACKWARD = FORWARD[::-1]


def _table(order: list[int]) -> pa.Table:
    flat = PIXELS[order].reshape(len(order), 16)
    columns = {name: pa.array(flat[:, i]) for i, name in enumerate(COLUMNS)}
    return pa.table(columns | {"label": [LABELS[i] for i in order]})


def _part(kind: str, **options: object) -> Reader:
    return READERS.components[kind](**({"test_share": 0.0} | options))


def _digits(folder: Path, order: list[int]) -> Reader:
    return _part("digits", noise=Noise())


def _csv(folder: Path, order: list[int]) -> Reader:
    path = folder / "a.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*COLUMNS, "label"])
        writer.writerows([*PIXELS[i].ravel().tolist(), LABELS[i]] for i in order)
    return _part("csv", path=path)


def _excel(folder: Path, order: list[int]) -> Reader:
    pytest.importorskip("python_calamine")
    book = pytest.importorskip("openpyxl").Workbook()
    for row in [[*COLUMNS, "label"], *([*PIXELS[i].ravel().tolist(), LABELS[i]] for i in order)]:
        book.active.append(row)
    book.save(folder / "a.xlsx")
    return _part("excel", path=folder / "a.xlsx")


def _jsonl(folder: Path, order: list[int]) -> Reader:
    path = folder / "a.jsonl"
    rows = [{"x": PIXELS[i].ravel().tolist(), "label": LABELS[i]} for i in order]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return _part("jsonl", path=path)


def _parquet(folder: Path, order: list[int]) -> Reader:
    pq.write_table(_table(order), folder / "a.parquet", row_group_size=7)
    return _part("parquet", path=folder / "a.parquet")


def _arrow_file(folder: Path, order: list[int]) -> Reader:
    table = _table(order)
    with pa.ipc.new_file(str(folder / "a.arrow"), table.schema) as writer:
        writer.write_table(table, max_chunksize=7)
    return _part("arrow", path=folder / "a.arrow")


def _arrow_stream(folder: Path, order: list[int]) -> Reader:
    table = _table(order)
    with pa.ipc.new_stream(str(folder / "a.arrows"), table.schema) as writer:
        writer.write_table(table, max_chunksize=7)
    return _part("arrow", path=folder / "a.arrows")


def _image_folder(folder: Path, order: list[int]) -> Reader:
    root = folder / "images"
    for position, i in enumerate(order):
        path = root / LABELS[i] / f"{position:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(PIXELS[i]).save(path)
    return _part("image_folder", path=root)


def _idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def _idx(folder: Path, order: list[int]) -> Reader:
    (folder / "images").write_bytes(_idx_bytes(PIXELS[order]))
    (folder / "labels").write_bytes(_idx_bytes(np.array([int(LABELS[i]) for i in order], np.uint8)))
    return _part("idx", images=folder / "images", labels=folder / "labels")


def _idx_gz(folder: Path, order: list[int]) -> Reader:
    plain = _idx(folder, order)
    for path in plain.files():
        path.with_suffix(".gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    return _part("idx", images=folder / "images.gz", labels=folder / "labels.gz")


def _npz(folder: Path, order: list[int]) -> Reader:
    np.savez_compressed(folder / "a.npz", x=PIXELS[order], y=np.array([LABELS[i] for i in order]))
    return _part("npz", path=folder / "a.npz")


def _hub(order: list[int]):
    datasets = pytest.importorskip("datasets")
    names = sorted(set(LABELS))
    features = datasets.Features(
        {"x": datasets.Sequence(datasets.Value("uint8"), length=16), "label": datasets.ClassLabel(names=names)}
    )
    rows = {"x": [PIXELS[i].ravel().tolist() for i in order], "label": [names.index(LABELS[i]) for i in order]}
    return datasets.Dataset.from_dict(rows, features=features)


def _huggingface(folder: Path, order: list[int]) -> Reader:
    _hub(order).save_to_disk(str(folder / "hub"))
    return _part("huggingface", path=folder / "hub")


def _huggingface_splits(folder: Path, order: list[int]) -> Reader:
    datasets = pytest.importorskip("datasets")
    parts = {"test": [i for i in order if i < 9], "train": [i for i in order if i >= 9]}
    datasets.DatasetDict({name: _hub(part) for name, part in parts.items()}).save_to_disk(str(folder / "hub"))
    return _part("huggingface", path=folder / "hub")


def _delta(folder: Path, order: list[int]) -> Reader:
    deltalake = pytest.importorskip("deltalake")
    table = _table(order)
    # The format has no unsigned integers.
    narrow = table.cast(
        pa.schema([(name, pa.int16() if name in COLUMNS else pa.string()) for name in table.schema.names])
    )
    deltalake.write_deltalake(folder / "delta", narrow)
    return _part("delta", path=folder / "delta")


def _lance(folder: Path, order: list[int]) -> Reader:
    pytest.importorskip("lance").write_dataset(_table(order), folder / "a.lance")
    return _part("lance", path=folder / "a.lance")


def _iceberg(folder: Path, order: list[int]) -> Reader:
    catalog = pytest.importorskip("pyiceberg.catalog").load_catalog(
        "gradsieve", type="sql", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}"
    )
    catalog.create_namespace("a")
    catalog.create_table("a.b", schema=_table(order).schema).append(_table(order))
    return _part("iceberg", path=folder, name="a.b")


CASES: dict[str, Callable[[Path, list[int]], Reader]] = {
    "digits": _digits,
    "csv": _csv,
    "excel": _excel,
    "jsonl": _jsonl,
    "parquet": _parquet,
    "arrow": _arrow_file,
    "arrow stream": _arrow_stream,
    "image_folder": _image_folder,
    "idx": _idx,
    "idx gzipped": _idx_gz,
    "npz": _npz,
    "huggingface": _huggingface,
    "huggingface splits": _huggingface_splits,
    "delta": _delta,
    "lance": _lance,
    "iceberg": _iceberg,
}


def _example(kind: str) -> Callable[[Path, list[int]], Reader]:
    """The case of a reader that brings its own."""
    return lambda folder, order: READERS.components[kind].example(_table(order), folder)


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": lambda data: gzip.compress(data, mtime=0),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: pa.compress(data, codec="zstd", asbytes=True),
    ".lz4": lambda data: _by_stream(data, "lz4"),
    ".br": lambda data: _by_stream(data, "brotli"),
    ".zip": lambda data: _zipped(data),
}


def _by_stream(data: bytes, codec: str) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


def _zipped(data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner/table", data)
        archive.writestr("__MACOSX/._table", b"what macOS adds")
    return file.getvalue()


def _packed(suffix: str, pack: str) -> Callable[[Path, list[int]], Reader]:
    """The rows as text, in a file of this suffix that is packed."""

    def made(folder: Path, order: list[int]) -> Reader:
        rows = [dict(zip(COLUMNS, PIXELS[i].ravel().tolist(), strict=True)) | {"label": LABELS[i]} for i in order]
        if suffix in (".json", ".jsonl", ".ndjson"):
            text = json.dumps(rows) if suffix == ".json" else "".join(json.dumps(row) + "\n" for row in rows)
        else:
            lines = [[*COLUMNS, "label"], *(map(str, row.values()) for row in rows)]
            text = "".join(("," if suffix == ".csv" else "\t").join(line) + "\n" for line in lines)
        path = folder / f"a{suffix}{pack}"
        path.write_bytes(PACKERS[pack](text.encode()))
        return _part(kind_of_source(path), path=path)

    return made


# Each suffix packed in each way: that what was written comes back says it all.
SUFFIXES = [suffix for reader in READERS.components.values() if reader.packed for suffix in reader.suffixes]
PACKED = {f"{suffix}{pack}": _packed(suffix, pack) for suffix in SUFFIXES for pack in PACKERS}

CASES |= {kind: _example(kind) for kind in READERS.components if kind not in CASES}
WRITTEN = [name for name in CASES if name != "digits"]
OWN_SPLITS = ["huggingface splits"]


def _source(case: str, folder: Path, order: list[int]) -> Reader:
    folder.mkdir()
    return (CASES | PACKED)[case](folder, order)


@pytest.fixture(scope="module")
def once(tmp_path_factory, read_into):
    """Of a case the reader and what it brings: written and ingested once for the tests that change neither."""

    @cache
    def made(case: str):
        folder = tmp_path_factory.mktemp("case")
        reader = _source(case, folder / "source", FORWARD)
        return reader, read_into(folder / "lake", reader)

    return made


def _pairs(ingested) -> list[tuple[str, tuple[float, ...]]]:
    pairs = []
    for split, n in ingested.artefact.facts["splits"].items():
        if n:
            inputs = load(ingested.run, ingested.artefact, split)
            labels = [ingested.artefact.facts["classes"][i] for i in inputs.labels.tolist()]
            flat = inputs.x.reshape(len(labels), -1).tolist()
            pairs += [(label, tuple(map(float, values))) for label, values in zip(labels, flat, strict=True)]
    return sorted(pairs)


def test_no_two_readers_claim_one_suffix():
    claims = Counter(suffix for reader in READERS.components.values() for suffix in reader.suffixes)
    assert set(claims.values()) == {1}


@pytest.mark.parametrize(("kind", "share"), [("digits", 0.1), ("csv", 0)])
def test_noise_of_ones_own_keeps_what_nobody_said_otherwise(kind, share):
    options = {"path": "a.csv"} if kind == "csv" else {}
    reader = READERS.components[kind].model_validate(options | {"noise": {"seed": 3}})
    assert (reader.noise.seed, reader.noise.share) == (3, share)
    assert READERS.components[kind].model_validate(options | {"noise": {"share": 0.3}}).noise.share == 0.3


@pytest.mark.parametrize("case", [*WRITTEN, *PACKED])
def test_what_was_written_comes_back(case, once):
    _, ingested = once(case)
    written = [(LABELS[i], tuple(map(float, PIXELS[i].ravel()))) for i in FORWARD]
    assert _pairs(ingested) == sorted(written)


def test_the_digits_are_scikit_learns(read, tmp_path):
    from sklearn.datasets import load_digits

    digits = load_digits()
    ingested = read(_digits(tmp_path, []))
    written = [(str(y), tuple(x)) for x, y in zip(digits.data.tolist(), digits.target.tolist(), strict=True)]
    assert _pairs(ingested) == sorted(written)
    assert tuple(ingested.artefact.facts["payload"]["shape"]) == (1, 8, 8)


@pytest.mark.parametrize("case", ["digits", "image_folder"])
def test_noise_by_instance_is_planted_on_arrays_and_on_encoded_images(case, read, tmp_path, monkeypatch):
    noise = Noise(share=0.25, kind="instance", exact=True)
    reader = _source(case, tmp_path / "source", FORWARD).model_copy(update={"noise": noise})
    ingested = read(reader)
    monkeypatch.setattr("tasks.ingestion.label_noise._VALUES", 1000)  # decoded a few at a time, they flip alike
    assert read(reader).artefact.digest == ingested.artefact.digest
    truth = dict(zip(ingested.column("sample_id"), ingested.column("clean_label"), strict=True))
    given = dict(zip(ingested.column("sample_id"), ingested.column("label"), strict=True))
    flips = [name for name in truth if truth[name] != given[name]]
    assert len(flips) == ingested.artefact.facts["planted"] == round(0.25 * len(truth))
    if case == "digits":
        # Digits of one class look alike: most of its flips go to its two favourites, of nine.
        for digit in sorted(set(truth.values())):
            counts = Counter(given[name] for name in flips if truth[name] == digit)
            assert sum(count for _, count in counts.most_common(2)) > 0.5 * counts.total(), digit


@pytest.mark.parametrize("case", CASES)
def test_as_many_samples_come_out_as_rows_went_in(case, once):
    _, ingested = once(case)
    n = 1797 if case == "digits" else N
    assert ingested.samples.num_rows == n
    assert ingested.artefact.facts["rows_read"] == n
    assert sum(ingested.artefact.facts["splits"].values()) == n
    assert ingested.rejects.num_rows == 0
    assert len(set(ingested.column("sample_id"))) == n


@pytest.mark.parametrize("case", CASES)
def test_classes_are_in_their_own_order_and_labels_are_text(case, once):
    _, ingested = once(case)
    expected = [str(i) for i in range(10)] if case == "digits" else ["1", "2", "10"]
    assert ingested.artefact.facts["classes"] == expected
    assert ingested.samples.schema.field("label").type == pa.string()


@pytest.mark.parametrize("case", CASES)
def test_the_same_source_gives_the_same_digest(case, once, read_into):
    reader, first = once(case)
    second = read_into(first.run.lake, reader)
    assert first.run.run_id != second.run.run_id
    assert first.artefact.digest == second.artefact.digest


@pytest.mark.parametrize("case", WRITTEN)
def test_sample_ids_do_not_depend_on_row_order(case, once, read, tmp_path):
    _, forward = once(case)
    backward = read(_source(case, tmp_path / "backward", BACKWARD))
    named = dict(zip(forward.column("sample_id"), forward.column("label"), strict=True))
    assert named == dict(zip(backward.column("sample_id"), backward.column("label"), strict=True))
    assert forward.column("sample_id") != backward.column("sample_id")


@pytest.mark.parametrize("case", WRITTEN)
def test_the_fingerprint_changes_with_any_byte_of_any_file(case, tmp_path):
    reader = _source(case, tmp_path / "source", FORWARD)
    before = reader.fingerprint()
    assert reader.fingerprint() == before
    for path in reader.files():
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert reader.fingerprint() != before, path
        path.write_bytes(content)
        assert reader.fingerprint() == before


def test_the_digits_fingerprint_is_of_a_file_that_is_there():
    reader = _part("digits")
    assert [path.is_file() for path in reader.files()] == [True]


@pytest.mark.parametrize("case", CASES)
def test_a_limit_limits(case, once, read):
    reader = once(case)[0].model_copy(update={"limit": 20})
    ingested = read(reader)
    splits = ingested.artefact.facts["splits"]
    # A separate test split is read whole.
    assert splits["train"] == 20
    assert splits["test"] == (9 if case in OWN_SPLITS else 0)


@pytest.mark.parametrize("case", CASES)
def test_a_share_is_set_aside_as_test_by_content(case, once, read):
    reader, _ = once(case)
    if case in OWN_SPLITS:
        return  # it names its own splits
    ingested = read(reader.model_copy(update={"test_share": 0.4}))
    splits = dict(zip(ingested.column("sample_id"), ingested.column("split"), strict=True))
    assert set(splits.values()) == {"train", "test"}
    assert all((split == "test") == (int(name[:8], 16) / 2**32 < 0.4) for name, split in splits.items())


@pytest.mark.parametrize("case", CASES)
def test_options_are_frozen(case, once):
    reader, _ = once(case)
    with pytest.raises(ValidationError, match="frozen"):
        reader.limit = 3


@pytest.mark.parametrize("kind", READERS.components)
def test_unknown_options_are_refused(kind):
    with pytest.raises(ValidationError) as caught:
        READERS.components[kind](surprise=1)
    assert ("extra_forbidden", ("surprise",)) in [(e["type"], e["loc"]) for e in caught.value.errors()]


@pytest.mark.parametrize("kind", READERS.components)
def test_every_option_is_described(kind):
    fields = READERS.components[kind].model_fields
    assert [name for name, field in fields.items() if name != "kind" and not field.description] == []


@pytest.mark.parametrize("kind", READERS.components)
def test_a_choice_by_name_makes_the_same_part(case_options, kind):
    from tasks.ingestion.readers import ReaderChoice

    options = case_options[kind]
    assert ReaderChoice(kind=kind, options=options).component == READERS.components[kind](**options)


@pytest.fixture
def case_options() -> dict[str, dict[str, str]]:
    """The required options of each kind."""
    required = {
        kind: {name: "somewhere" for name, field in part.model_fields.items() if field.is_required()}
        for kind, part in READERS.components.items()
    }
    assert required["idx"].keys() == {"images", "labels"}
    return required


def test_an_image_folder_sample_names_its_file(once):
    _, ingested = once("image_folder")
    names = dict(zip(ingested.column("source_id"), ingested.column("image"), strict=True))
    assert names.keys() == {f"{LABELS[i]}/{i:03d}.png" for i in FORWARD}
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(names[f"{LABELS[5]}/005.png"]))), PIXELS[5])


@pytest.mark.parametrize("kind", ["csv", "json"])
@pytest.mark.parametrize("pack", PACKERS)
def test_a_packed_file_that_is_cut_short_is_refused(kind, pack, read, tmp_path):
    reader = _source(f".{kind}{pack}", tmp_path / "source", FORWARD)
    (path,) = reader.files()
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(GradsieveError):
        read(reader)


def test_an_archive_of_several_files_is_refused_with_what_to_do(read, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("train.csv", "a,label\n1,x\n")
        archive.writestr("test.csv", "a,label\n1,x\n")
    with pytest.raises(BadInput, match=r"2 files: train.csv, test.csv.*--reader.path a"):
        read(_part("csv", path=tmp_path / "a.zip"))


def test_an_archive_of_one_file_is_named_by_it(read, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("fruit.tsv", "a\tlabel\n" + "".join(f"{i * i}\t{'xy'[i % 2]}\n" for i in range(N)))
    assert kind_of_source(tmp_path / "a.zip") == "csv"
    assert read(_part("csv", path=tmp_path / "a.zip")).samples.num_rows == N
