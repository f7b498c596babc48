"""Every training sample has one fold; copies and groups are never torn; what cannot work is refused beforehand."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tasks.core.errors import BadConfig, BadInput
from tasks.dataset.payload import Payload
from tasks.dataset.sample_ids import join_near
from tasks.dataset.samples import check_splits, split_of
from tasks.ingestion.copies import NEAR_CONTENTS
from tasks.ingestion.ingest import ingest
from tasks.ingestion.readers.digits import Digits
from tasks.ingestion.two_passes import Ingestion
from tasks.pipeline.artefacts import Run
from tasks.pipeline.recorded_run import reference
from tasks.pipeline.schemas import FOLDS, SAMPLES
from tasks.planning.make_folds import make_folds


@pytest.fixture
def run(tmp_path):
    return Run.start(tmp_path, "plan")


def stored(run, ids, labels, groups=None, splits=None):
    """An artefact of samples as ingest leaves it, with inputs of width 2."""
    n = len(ids)
    columns = {
        "sample_id": ids,
        "source": ["test"] * n,
        "row": range(n),
        "split": splits or ["train"] * n,
        "label": labels,
        "clean_label": [None] * n,
        "group": groups or [None] * n,
        "source_id": [None] * n,
    }
    table = pa.table([pa.array(columns[f.name], f.type) for f in SAMPLES], schema=SAMPLES)
    x = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(2 * n, dtype=np.float32)), 2)
    payload = Payload(kind="array", columns=("x",), shape=(2,), dtype="float32")
    with run.draft("samples") as draft:
        for split in sorted(set(columns["split"])):
            part = table.append_column("x", x).filter(pc.equal(table["split"], split))
            pq.write_table(part, draft.path(f"samples/{split}-00000.parquet", part.num_rows))
        counts = {name: columns["split"].count(name) for name in ("train", "validation", "test")}
        counts["test"] += 1  # only its number is looked at here
        return draft.commit(
            payload=payload.model_dump(mode="json"), classes=sorted(set(labels)), splits=counts, leaking_duplicates=0
        )


def near(run, *pairs):
    """What find_copies leaves of near contents."""
    with run.draft("copies") as draft:
        rows = [{"content": a, "other": b, "distance": 0.1} for a, b in pairs]
        pq.write_table(pa.Table.from_pylist(rows, NEAR_CONTENTS), draft.path("near_contents.parquet", len(rows)))
        return draft.commit()


def planned(run, samples, folds, copies=None, apart=0):
    artefact = make_folds.fn(run, split_of(samples, "train"), folds, reference(run, None), copies)
    table = pq.read_table(run.path(artefact))
    assert table.schema.equals(FOLDS)
    told = {"apart": apart} if apart else {}
    assert artefact.facts == {"folds": folds, "samples": table.num_rows, "new": 0, "networks_of": None} | told
    assert not any(table["new"].to_pylist())
    assert artefact.rows == table.num_rows
    return dict(zip(table["sample_id"].to_pylist(), table["fold"].to_pylist(), strict=True))


def names(n):
    return [f"{i * 7919 % 10007:032x}" for i in range(n)]


def test_every_training_sample_has_a_fold_and_no_other_has_one(run):
    samples = ingest.fn(run, Digits(limit=200), Ingestion(shard_rows=64))
    fold_of = planned(run, samples, 5)
    paths = [path for path in run.paths(samples, ".parquet") if path.parent.name == "samples"]
    table = pa.concat_tables([pq.read_table(path, columns=["sample_id", "split", "label"]) for path in paths])
    train = {row["sample_id"]: row["label"] for row in table.to_pylist() if row["split"] == "train"}
    assert fold_of.keys() == train.keys()
    assert np.ptp(np.bincount(list(fold_of.values()), minlength=5)) <= 1
    for label in set(train.values()):
        assert np.ptp(np.bincount([fold_of[name] for name in train if train[name] == label], minlength=5)) <= 1


def test_copies_share_a_fold(run):
    originals = names(30)
    copies = [f"{name}-{i}" for name in originals[:10] for i in (1, 2)]
    labels = [str(i % 3) for i in range(30)] + [str(i % 3) for i in range(10) for _ in (1, 2)]
    fold_of = planned(run, stored(run, originals + copies, labels), 4)
    assert all(fold_of[name] == fold_of[name.partition("-")[0]] for name in copies)
    assert set(fold_of.values()) == {0, 1, 2, 3}


def test_copies_with_other_labels_share_a_fold(run):
    originals = names(20)
    fold_of = planned(run, stored(run, [*originals, f"{originals[0]}-1"], ["a", "b"] * 10 + ["b"]), 5)
    assert fold_of[f"{originals[0]}-1"] == fold_of[originals[0]]


def test_near_copies_share_a_fold_with_all_their_copies(run):
    ids = names(40)
    copies = near(run, (ids[0], ids[1]), (ids[2], ids[1]), (ids[7], "f" * 32))
    samples = stored(run, [*ids, f"{ids[2]}-1"], [str(i % 2) for i in range(41)])
    fold_of = planned(run, samples, 4, copies)
    assert len({fold_of[name] for name in (*ids[:3], f"{ids[2]}-1")}) == 1
    assert set(fold_of.values()) == {0, 1, 2, 3}
    assert planned(run, samples, 4, near(run)) == planned(run, samples, 4)


def test_a_crowd_of_near_copies_that_would_fill_half_a_fold_is_parted_and_told(run):
    ids = names(40)
    crowd = near(run, *pairwise(ids[:9]), (ids[20], ids[21]))
    fold_of = planned(run, stored(run, ids, [str(i % 2) for i in range(40)]), 4, crowd, apart=2)
    assert fold_of[ids[20]] == fold_of[ids[21]]
    assert len({fold_of[name] for name in ids[:9]}) > 1


def test_of_a_crowd_the_nearest_are_joined_first_whatever_the_order_of_the_rows():
    ids = names(20)
    pairs = [(0, 1, 0.3), (1, 2, 0.1), (2, 3, 0.2), (3, 4, 0.05), (4, 5, 0.25), (6, 7, 0.2)]
    for order in (pairs, pairs[::-1]):
        rows = [{"content": ids[a], "other": ids[b], "distance": distance} for a, b, distance in order]
        joined, apart = join_near(np.arange(20), ids, pa.Table.from_pylist(rows, NEAR_CONTENTS), 4)
        assert joined[:8].tolist() == [0, 1, 1, 1, 1, 5, 6, 6]
        assert apart == 2


def test_near_copies_of_several_folds_of_a_base_stay_apart_and_are_told():
    ids = names(12)
    units = np.arange(12)
    folds = np.array([0, 1, 0, 0, -1, -1, -1, -1, 0, 1, 0, 1])
    pairs = [(0, 1), (1, 4), (2, 3), (3, 5), (6, 7)]
    columns = {"content": [ids[a] for a, _ in pairs], "other": [ids[b] for _, b in pairs], "distance": [0.1] * 5}
    joined, apart = join_near(units, ids, pa.table(columns), 6, folds)
    assert joined.tolist() == [0, 1, 2, 2, 1, 2, 6, 6, 8, 9, 10, 11]
    assert apart == 1


def test_a_group_shares_a_fold(run):
    groups = [f"g{i % 7}" if i < 28 else None for i in range(40)]
    ids = names(40)
    fold_of = planned(run, stored(run, ids, [str(i % 2) for i in range(40)], groups), 3)
    for group in {group for group in groups if group}:
        assert len({fold_of[name] for name, g in zip(ids, groups, strict=True) if g == group}) == 1
    assert set(fold_of.values()) == {0, 1, 2}


def test_a_copy_in_a_group_keeps_its_original_with_that_group(run):
    ids = names(24)
    # A copy of sample 0 stands in group g, of samples 1 and 2; one of sample 3 in h, whose other member is 4's copy.
    ids += [f"{ids[0]}-1", f"{ids[3]}-1", f"{ids[4]}-1"]
    groups = [None, "g", "g", *[None] * 21, "g", "h", "h"]
    for folds in (2, 5, 7):
        fold_of = planned(run, stored(run, ids, [str(i % 2) for i in range(27)], groups), folds)
        assert len({fold_of[ids[i]] for i in (0, 1, 2, 24)}) == 1
        assert len({fold_of[ids[i]] for i in (3, 4, 25, 26)}) == 1


def test_one_fold_holds_all(run):
    assert set(planned(run, stored(run, names(6), list("ababab")), 1).values()) == {0}


def test_more_folds_than_distinct_samples_are_refused(run):
    ids = [*names(4), f"{names(4)[0]}-1"]
    samples = stored(run, ids, list("ababa"))
    assert set(planned(run, samples, 4).values()) == {0, 1, 2, 3}
    with pytest.raises(BadConfig, match="option folds: expected at most 4"):
        planned(run, samples, 5)


def test_the_order_of_rows_changes_no_fold(run):
    ids, labels = names(20), list("ababc") * 4
    order = np.random.default_rng(0).permutation(20)
    other = stored(run, [ids[i] for i in order], [labels[i] for i in order])
    assert planned(run, other, 3) == planned(run, stored(run, ids, labels), 3)


def test_samples_without_a_training_split_are_refused(run):
    with pytest.raises(BadInput, match="split 'train'"):
        check_splits(stored(run, names(4), list("abab"), splits=["test"] * 4), ("train", "test"))


def test_without_a_test_split_nothing_could_be_verified_and_nothing_is_trained(tmp_path):
    run = Run.start(tmp_path, "plan")
    samples = ingest.fn(run, Digits(limit=100, test_share=0.0), Ingestion())
    with pytest.raises(BadInput, match="split 'test'"):
        check_splits(samples, ("train", "test"))


def test_without_a_validation_split_no_budget_can_be_searched_for_and_nothing_is_trained(tmp_path):
    run = Run.start(tmp_path, "plan")
    samples = ingest.fn(run, Digits(limit=100), Ingestion())
    needed = ("train", "validation", "test")
    with pytest.raises(BadInput, match="or set validation_share above 0"):
        check_splits(samples, needed)
