"""What only the whole dataset can tell: copies, classes nobody can learn, planted noise; never by row order."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError
from scipy import stats

from tasks.core.errors import BadInput, TooManyRejects
from tasks.ingestion.ingest import ingest
from tasks.ingestion.readers import Noise
from tasks.ingestion.readers.csv import Csv
from tasks.ingestion.rejects import by_reason
from tasks.ingestion.two_passes import Ingestion
from tasks.pipeline.artefacts import Artefact, Run

Row = tuple[object, ...]
Read = Callable[..., tuple[Artefact, dict[str, dict]]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Ingest rows of a CSV file; what comes back is the artefact and its samples by id."""

    def ingested(rows: list[Row], header: str = "a,label", ingestion: Ingestion | None = None, **options: object):
        path = tmp_path / "a.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(header.split(","))
            writer.writerows(rows)
        run = Run.start(tmp_path / "lake", "test")
        reader = Csv(path=path, **({"features": ["a"]} | options))
        artefact = ingest.fn(run, reader, ingestion or Ingestion())
        paths = [path for path in run.paths(artefact, ".parquet") if path.parent.name == "samples"]
        samples = pa.concat_tables([pq.read_table(path) for path in paths]).to_pylist()
        by_id = {sample["sample_id"]: sample for sample in samples}
        assert len(by_id) == len(samples), "ids must be unique"
        return artefact, by_id

    return ingested


ROWS: list[Row] = [(i, "xyz"[i % 3]) for i in range(60)]


# ---- copies ------------------------------------------------------------------------------------------------------


def test_exact_copies_get_numbered_ids(read):
    artefact, samples = read([*ROWS, (4, "y"), (4, "y"), (9, "x")], test_share=0)
    copies = sorted(name for name in samples if "-" in name)
    originals = {sample["a"]: name for name, sample in samples.items() if "-" not in name}
    assert copies == sorted([f"{originals[4.0]}-1", f"{originals[4.0]}-2", f"{originals[9.0]}-1"])
    assert artefact.facts["duplicates"] == 3
    assert artefact.facts["leaking_duplicates"] == 0
    assert len(originals) == len(ROWS)


@pytest.mark.parametrize("seed", range(3))
def test_copies_are_named_alike_whatever_the_row_order(read, seed):
    rows = [*ROWS, (4, "y"), (4, "z"), (4, "y"), (9, "x"), (9, "z")]
    _, first = read(rows, test_share=0.3)
    shuffled = [rows[i] for i in np.random.default_rng(seed).permutation(len(rows))]
    _, second = read(shuffled, test_share=0.3)
    assert {name: (s["label"], s["split"]) for name, s in first.items()} == {
        name: (s["label"], s["split"]) for name, s in second.items()
    }


def test_a_validation_share_is_taken_from_the_training_samples_alone(read):
    rows = [(i, "xy"[i % 2]) for i in range(600)]
    _, before = read(rows, test_share=0.3)
    artefact, after = read(rows, test_share=0.3, validation_share=0.2)
    moved = {(before[name]["split"], sample["split"]) for name, sample in after.items()}
    assert moved == {("train", "train"), ("train", "validation"), ("test", "test")}
    assert artefact.facts["splits"]["validation"] == pytest.approx(120, abs=5 * (600 * 0.2 * 0.8) ** 0.5)
    _, none = read(rows, test_share=0.3, validation_share=0)
    assert none == before


def test_shares_that_leave_nothing_to_train_on_are_refused(read):
    with pytest.raises(ValueError, match=r"test_share and validation_share: expected less than 1 together, got 0\.5"):
        read(ROWS, test_share=0.5, validation_share=0.5)


def test_copies_that_a_source_splits_apart_are_counted_as_leaking(read):
    rows = [(*row, "train") for row in ROWS] + [(4, "y", "test"), (5, "z", "val"), (6, "x", "train"), (99, "x", "test")]
    artefact, samples = read(rows, "a,label,part", split="part")
    assert artefact.facts["duplicates"] == 3
    assert artefact.facts["leaking_duplicates"] == 2
    # The training sample keeps the bare id against a test copy.
    assert {s["split"] for name, s in samples.items() if "-" not in name and s["a"] == 4} == {"train"}


def test_copies_land_in_the_same_split_when_a_share_is_set_aside(read):
    artefact, samples = read(ROWS * 3, test_share=0.4)
    splits: dict[float, set[str]] = {}
    for sample in samples.values():
        splits.setdefault(sample["a"], set()).add(sample["split"])
    assert {len(found) for found in splits.values()} == {1}
    assert set.union(*splits.values()) == {"train", "test"}
    assert artefact.facts["leaking_duplicates"] == 0
    assert artefact.facts["duplicates"] == 2 * len(ROWS)


def test_a_relabelled_sample_keeps_its_id_and_its_split(read):
    _, before = read(ROWS)
    _, after = read([(a, "x" if a == 7 else label) for a, label in ROWS])
    assert before.keys() == after.keys()
    changed = [name for name in before if before[name]["label"] != after[name]["label"]]
    assert [before[name]["a"] for name in changed] == [7.0]
    assert all(before[name]["split"] == after[name]["split"] for name in before)


def test_new_rows_move_no_old_ones(read):
    _, before = read(ROWS)
    _, after = read([(1000, "x"), *ROWS, (1001, "y")])
    assert {name: after[name]["split"] for name in before} == {name: s["split"] for name, s in before.items()}


# ---- classes and rejects -----------------------------------------------------------------------------------------


def test_a_class_seen_once_is_rejected_and_is_no_class(read):
    artefact, samples = read([*ROWS, (100, "lonely")], test_share=0)
    assert artefact.facts["classes"] == ["x", "y", "z"]
    assert artefact.facts["rejects"] == {"class seen once": 1}
    assert len(samples) == len(ROWS)


def test_a_class_that_only_tests_show_is_rejected(read):
    rows = [(*row, "train") for row in ROWS] + [(100, "new", "test"), (101, "new", "test"), (102, "x", "test")]
    artefact, _ = read(rows, "a,label,part", split="part")
    assert artefact.facts["rejects"] == {"class not in train": 2}
    assert artefact.facts["splits"] == {"train": 60, "validation": 0, "test": 1}


def test_classes_are_ordered_as_numbers_before_text(read):
    labels = ["10", "9", "-1", "b", "a", "2"]
    artefact, _ = read([(i, labels[i % 6]) for i in range(36)], test_share=0)
    assert artefact.facts["classes"] == ["-1", "2", "9", "10", "a", "b"]


@pytest.mark.parametrize("names", [("x", "x"), ("x", ""), ("", "")])
def test_fewer_than_two_classes_are_refused(read, names):
    with pytest.raises(BadInput, match="two classes"):
        read([(i, names[i % 2]) for i in range(20)], ingestion=Ingestion(max_rejects=1))


def test_every_row_read_is_a_sample_or_a_reject(read):
    bad = [("many", "x"), (100, ""), (101, "lonely"), (102,), ("inf", "y")]
    artefact, samples = read([*ROWS, *bad], ingestion=Ingestion(max_rejects=0.5))
    assert artefact.facts["rows_read"] == len(ROWS) + len(bad)
    assert sum(artefact.facts["rejects"].values()) == len(bad)
    assert len(samples) == sum(artefact.facts["splits"].values()) == len(ROWS)


def test_no_rejects_at_all_may_be_asked_for(read, tmp_path):
    assert read(ROWS, ingestion=Ingestion(max_rejects=0))[0].facts["rejects"] == {}
    with pytest.raises(TooManyRejects) as caught:
        read([*ROWS, ("many", "x")], ingestion=Ingestion(max_rejects=0))
    assert "not a number 1" in str(caught.value)
    kept = pq.read_table(caught.value.where).to_pylist()
    assert [(row["source"], row["row"], row["reason"]) for row in kept] == [("a.csv", 60, "not a number")]
    assert Path(caught.value.where).is_relative_to(tmp_path / "lake")


def test_a_refused_source_leaves_nothing_half_written(read, tmp_path):
    with pytest.raises(BadInput):
        read([(i, "x") for i in range(20)])
    assert list((tmp_path / "lake" / "cache").iterdir()) == []


def test_reasons_are_counted_most_first():
    rejects = [{"reason": reason} for reason in ("b", "a", "c", "c")]
    assert list(by_reason(rejects).items()) == [("c", 2), ("a", 1), ("b", 1)]


def test_shards_hold_as_many_rows_as_asked_and_all_of_them(tmp_path, read):
    artefact, samples = read(ROWS, test_share=0, ingestion=Ingestion(shard_rows=16))
    sizes = [file.rows for file in artefact.files if file.name.startswith("samples/")]
    assert sizes == [16, 16, 16, 12]
    assert {sample["a"] for sample in samples.values()} == {float(i) for i in range(60)}


# ---- planted noise -----------------------------------------------------------------------------------------------

MANY: list[Row] = [(i, "xyz"[i % 3]) for i in range(2000)]
CLASSES = "xyz"
KINDS = ["symmetric", "asymmetric", "instance"]


def _flips(samples: dict[str, dict]) -> dict[str, str]:
    return {name: s["label"] for name, s in samples.items() if s["label"] != s["clean_label"]}


@pytest.mark.parametrize("share", [0.05, 0.3])
@pytest.mark.parametrize("kind", KINDS)
def test_about_the_share_of_training_labels_flips_and_no_other(read, share, kind):
    artefact, samples = read(MANY, noise=Noise(share=share, kind=kind), test_share=0.3)
    flips = _flips(samples)
    n = artefact.facts["splits"]["train"]
    assert {samples[name]["split"] for name in flips} == {"train"}
    if kind == "instance":  # the mean of the flip rates, cut off at 0
        share = stats.truncnorm(-share / 0.1, (1 - share) / 0.1, loc=share, scale=0.1).mean()
    assert abs(len(flips) - share * n) < 4 * np.sqrt(n * share * (1 - share))
    assert artefact.facts["planted"] == len(flips)
    # The truth stands beside every label, flipped or not.
    assert all(s["clean_label"] == CLASSES[int(s["a"]) % 3] for s in samples.values())
    assert artefact.facts["splits"]["test"] > 400


def test_symmetric_noise_reaches_every_other_class_alike(read):
    _, samples = read(MANY, noise=Noise(share=0.5), test_share=0)
    pairs: dict[tuple[str, str], int] = {}
    for name, label in _flips(samples).items():
        pair = (samples[name]["clean_label"], label)
        pairs[pair] = pairs.get(pair, 0) + 1
    assert len(pairs) == 6
    expected = 2000 * 0.5 / 6
    assert all(abs(count - expected) < 5 * np.sqrt(expected) for count in pairs.values())


def test_asymmetric_noise_is_the_next_class(read):
    _, samples = read(MANY, noise=Noise(share=0.3, kind="asymmetric"), test_share=0)
    pairs = {(samples[name]["clean_label"], label) for name, label in _flips(samples).items()}
    assert pairs == {("x", "y"), ("y", "z"), ("z", "x")}


@pytest.mark.parametrize("share", [0, 0.0001, 0.1, 0.3333, 0.9999])
@pytest.mark.parametrize("kind", KINDS)
def test_an_exact_share_is_exact(read, share, kind):
    rows = [*MANY, *MANY[:50], (4000, "lonely")]  # copies count, a class seen once does not
    noise = Noise(share=share, kind=kind, exact=True)
    artefact, samples = read(rows, noise=noise, test_share=0.3)
    n = artefact.facts["splits"]["train"]
    assert n < 2050
    assert artefact.facts["planted"] == round(share * n)
    if share:
        assert len(_flips(samples)) == round(share * n)
        assert {samples[name]["split"] for name in _flips(samples)} <= {"train"}


@pytest.mark.parametrize("kind", KINDS)
def test_exact_flips_are_nearly_those_that_would_be_expected(read, kind):
    _, exact = read(MANY, noise=Noise(share=0.3, kind=kind, exact=True))
    _, expected = read(MANY, noise=Noise(share=0.3, kind=kind))
    few, many = sorted((_flips(exact), _flips(expected)), key=len)
    assert few.items() <= many.items()
    assert len(many) - len(few) < 100


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_one_seed_flips_the_same_samples_whatever_the_row_order(read, kind, exact):
    noise = Noise(share=0.2, seed=3, kind=kind, exact=exact)
    # More rows than a batch of the second pass; and copies, which have numbers of their own.
    rows: list[Row] = [*((i, "xyz"[i % 3]) for i in range(5000)), *MANY[:20]]
    _, first = read(rows, noise=noise)
    _, second = read(rows[::-1], noise=noise)
    assert _flips(first)
    assert _flips(first) == _flips(second)


@pytest.mark.parametrize("kind", KINDS)
def test_another_seed_flips_other_samples(read, kind):
    _, first = read(MANY, noise=Noise(share=0.2, seed=3, kind=kind))
    _, second = read(MANY, noise=Noise(share=0.2, seed=4, kind=kind))
    assert first.keys() == second.keys()
    assert len(_flips(first).keys() ^ _flips(second).keys()) > 100


def test_a_larger_share_flips_the_same_and_more(read):
    _, few = read(MANY, noise=Noise(share=0.1))
    _, many = read(MANY, noise=Noise(share=0.3))
    assert _flips(few).items() < _flips(many).items()


def test_without_noise_no_truth_is_claimed(read):
    artefact, samples = read(ROWS)
    assert artefact.facts["planted"] == 0
    assert {sample["clean_label"] for sample in samples.values()} == {None}


def test_noise_leaves_a_truth_that_is_already_known(read):
    rows = [(i, "xyz"[i % 3], "xyz"[(i + (i % 10 == 0)) % 3]) for i in range(300)]
    _, samples = read(rows, "a,label,truth", clean_label="truth", noise=Noise(share=0.3), test_share=0)
    assert all(s["clean_label"] == rows[int(s["a"])][2] for s in samples.values())


@pytest.mark.parametrize("bad", [{"share": 1.0}, {"share": -0.1}, {"kind": "odd"}, {"surprise": 1}, {"seed": 2**63}])
def test_noise_that_cannot_be_planted_is_refused(bad):
    with pytest.raises(ValidationError):
        Noise(**bad)


@pytest.mark.parametrize("bad", [{"max_rejects": 1.1}, {"max_rejects": -0.1}, {"shard_rows": 0}, {"surprise": 1}])
def test_checks_that_cannot_be_are_refused(bad):
    with pytest.raises(ValidationError):
        Ingestion(**bad)
