"""The figures of a verification are those a person would count: accuracies, paired differences, and what was found."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score

from tasks.arms import ARMS
from tasks.artefacts import Run
from tasks.fitting import Training
from tasks.ingest import ingest
from tasks.models.logistic import Logistic
from tasks.readers.digits import Digits
from tasks.retrain import retrain
from tasks.samples import load
from tasks.schemas import FLAGS, METRICS, PREDICTIONS, SAMPLES, scores
from tasks.validation import Ingestion
from tasks.verify import verify

N, TESTED = 40, 25
IDS = [f"{i:04d}" for i in range(N)]
TEST_IDS = [f"t{i:03d}" for i in range(TESTED)]


@pytest.fixture
def run(tmp_path):
    return Run.start(tmp_path, "verify")


def stored(run, stage, table, name, **facts):
    with run.draft(stage) as draft:
        pq.write_table(table, draft.path(name, table.num_rows))
        return draft.commit(**facts)


def samples_of(run, labels, clean):
    """Training samples, and test samples whose clean label is known and differs: they must not count."""
    n = N + TESTED
    columns = {
        "sample_id": IDS + TEST_IDS,
        "source": ["test"] * n,
        "row": range(n),
        "split": ["train"] * N + ["test"] * TESTED,
        "label": labels + ["a"] * TESTED,
        "clean_label": clean + ["b"] * TESTED,
        "group": [None] * n,
        "source_id": [None] * n,
    }
    table = pa.table([pa.array(columns[f.name], f.type) for f in SAMPLES], schema=SAMPLES)
    with run.draft("samples") as draft:
        for split in ("train", "test"):
            part = table.filter(pc.equal(table["split"], split))
            pq.write_table(part, draft.path(f"samples/{split}-00000.parquet", part.num_rows))
        return draft.commit(classes=["a", "b"])


def scores_of(run, columns):
    table = pa.table([pa.array(IDS), *map(pa.array, columns.values())], schema=scores(list(columns)))
    return stored(run, "scores", table, "scores.parquet", detectors=list(columns))


def flags_of(run, flagged):
    rows = [
        {
            "sample_id": name,
            "flag": bool(flag),
            "rank": i,
            "suspicion": 0.0,
            "detector": "l2",
            "marked_by": [],
            "reason": "r",
            "suggested_label": None,
        }
        for i, (name, flag) in enumerate(zip(IDS, flagged, strict=True))
    ]
    return stored(run, "flags", pa.Table.from_pylist(rows, schema=FLAGS), "flags.parquet", detector="l2")


def trial(run, arm, seed, correct):
    """Predictions of one arm under one seed, ``correct`` of them right."""
    columns = [TEST_IDS, ["a"] * TESTED, ["a"] * correct + ["b"] * (TESTED - correct), np.full(TESTED, 0.5, np.float32)]
    table = pa.table([pa.array(c) for c in columns], schema=PREDICTIONS)
    name = f"predictions/{arm}-{seed}.parquet"
    return stored(run, "predictions", table, name, arm=arm, seed=seed, trained_on={"untouched": N}.get(arm, 36))


def verified(run, correct, *, labels=None, clean=None, columns=None, flagged=None):
    """``correct``: arm → right predictions by seed."""
    labels = labels or ["a", "b"] * (N // 2)
    arms = [trial(run, arm, seed, n) for arm, counts in correct.items() for seed, n in enumerate(counts)]
    return verify.fn(
        run,
        samples_of(run, labels, clean or [None] * N),
        scores_of(run, columns or {"l2": np.arange(N, dtype=float)}),
        flags_of(run, np.zeros(N) if flagged is None else flagged),
        arms,
    )


COUNTS = {"untouched": [20, 21, 19, 20], "cleaned": [23, 22, 22, 24], "random": [19, 20, 20, 18]}


@pytest.mark.parametrize("reverse", [False, True])
def test_accuracies_are_a_count_of_right_predictions(run, reverse):
    counts = dict(reversed(COUNTS.items())) if reverse else COUNTS
    found = verified(run, counts)
    table = pq.read_table(run.path(found))
    assert table.schema.equals(METRICS)
    by_hand = {(arm, seed): n / TESTED for arm, counts in COUNTS.items() for seed, n in enumerate(counts)}
    assert {(row["arm"], row["seed"]): row["accuracy"] for row in table.to_pylist()} == pytest.approx(by_hand)
    assert {row["arm"]: row["trained_on"] for row in table.to_pylist()} == {
        "untouched": 40,
        "cleaned": 36,
        "random": 36,
    }
    assert set(table["tested_on"].to_pylist()) == {TESTED}
    assert found.facts["accuracy"] == pytest.approx({arm: sum(c) / 4 / TESTED for arm, c in COUNTS.items()})
    assert (found.facts["seeds"], found.facts["tested_on"]) == (4, TESTED)


@pytest.mark.parametrize("control", ["untouched", "random"])
def test_gains_are_the_paired_t_interval_of_scipy(run, control):
    gain = verified(run, COUNTS).facts["gains"][control]
    cleaned, other = np.array(COUNTS["cleaned"]) / TESTED, np.array(COUNTS[control]) / TESTED
    interval = stats.ttest_rel(cleaned, other).confidence_interval(0.95)
    assert gain["mean"] == pytest.approx((cleaned - other).mean())
    assert (gain["low"], gain["high"]) == pytest.approx((interval.low, interval.high))


def test_one_seed_and_seeds_that_agree_have_no_interval(run):
    alone = verified(run, {arm: counts[:1] for arm, counts in COUNTS.items()}).facts["gains"]["random"]
    assert alone == {"mean": pytest.approx(4 / TESTED), "low": None, "high": None}
    # Differences of 1/25 + rounding, twice: equal as counts, so there is nothing to estimate a spread from.
    same = verified(run, {"untouched": [20, 19], "cleaned": [21, 20], "random": [10, 10]}).facts["gains"]["untouched"]
    assert same["mean"] == pytest.approx(1 / TESTED)
    assert (same["low"], same["high"]) == (None, None)


def test_detection_is_that_of_scikit_learn_against_the_known_labels(run):
    generator = np.random.default_rng(0)
    labels = ["a", "b"] * (N // 2)
    wrong = generator.random(N) < 0.25
    known = generator.random(N) < 0.9
    clean = [
        None if not k else ("b" if y == "a" else "a") if w else y for y, w, k in zip(labels, wrong, known, strict=True)
    ]
    columns = {"l2": wrong + generator.random(N), "l1": generator.integers(0, 4, N).astype(float)}
    flagged = columns["l2"] > 0.9
    found = verified(run, COUNTS, labels=labels, clean=clean, columns=columns, flagged=flagged).facts["detection"]
    assert found.keys() == {"l2", "l1", "flags"}
    for name, suspicion in columns.items():
        s, w = suspicion[known], wrong[known]
        assert found[name]["average_precision"] == pytest.approx(average_precision_score(w, s))
        assert found[name]["roc_auc"] == pytest.approx(roc_auc_score(w, s))
    top = np.argsort(-columns["l2"][known])[: int(wrong[known].sum())]
    assert found["l2"]["recall_at_noise_rate"] == pytest.approx(wrong[known][top].mean())
    truly_wrong = wrong & known
    assert found["flags"]["wrong"] == truly_wrong.sum()
    # Of a flag on a sample whose truth is unknown nothing can be said.
    assert found["flags"]["flagged"] == (flagged & known).sum()
    assert found["flags"]["found"] == (truly_wrong & flagged).sum() > 0


@pytest.mark.parametrize("clean", [[None] * N, ["a", "b"] * (N // 2)])
def test_without_known_errors_there_is_no_detection(run, clean):
    assert verified(run, COUNTS, clean=clean).facts["detection"] == {}


def test_nothing_flagged_finds_nothing(run):
    found = verified(run, COUNTS, clean=["b"] * 4 + ["a", "b"] * (N // 2 - 2))
    assert found.facts["detection"]["flags"] == {"wrong": 2, "flagged": 0, "found": 0}


# ---- the trials it is made of ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """(run, samples, flags) of real digits, a tenth of them flagged."""
    run = Run.start(tmp_path_factory.mktemp("retrain"), "verify")
    samples = ingest.fn(run, Digits(limit=200), Ingestion())
    ids = load(run, samples, "train").ids
    count = round(0.1 * len(ids))
    rows = [
        {
            "sample_id": name,
            "flag": i < count,
            "rank": i + 1,
            "suspicion": 0.0,
            "detector": "l2",
            "marked_by": [],
            "reason": "r",
            "suggested_label": None,
        }
        for i, name in enumerate(ids)
    ]
    return run, samples, stored(run, "flags", pa.Table.from_pylist(rows, schema=FLAGS), "flags.parquet")


TRAINING = Training(epochs=3, device="cpu")


@pytest.mark.parametrize("arm", ARMS)
def test_an_arm_trains_on_what_it_keeps_and_predicts_the_whole_test_split(digits, arm):
    run, samples, flags = digits
    trained = retrain.fn(run, samples, flags, arm, 1, Logistic(), TRAINING)
    table = pq.read_table(run.path(trained))
    test = load(run, samples, "test")
    n = samples.facts["splits"]["train"]
    assert table.schema.equals(PREDICTIONS)
    assert trained.facts == {"arm": arm, "seed": 1, "trained_on": n if arm == "untouched" else n - round(n * 0.1)}
    classes = samples.facts["classes"]
    given = dict(zip(test.ids, (classes[y] for y in test.labels.tolist()), strict=True))
    assert dict(zip(table["sample_id"].to_pylist(), table["label"].to_pylist(), strict=True)) == given
    assert retrain.fn(run, samples, flags, arm, 1, Logistic(), TRAINING).digest == trained.digest


def test_an_arm_that_drops_nothing_is_the_untouched_one(digits):
    run, samples, flags = digits
    table = pq.read_table(run.path(flags))
    none = table.set_column(1, FLAGS.field("flag"), pa.array([False] * table.num_rows))
    nothing = stored(run, "flags", none, "flags.parquet")
    files = {retrain.fn(run, samples, nothing, arm, 2, Logistic(), TRAINING).files[0].sha256 for arm in ARMS}
    assert len(files) == 1
