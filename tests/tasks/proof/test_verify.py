"""The figures of a verification are those a person would count: accuracies, paired differences, and what was found."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from by_hand import retrained
from sklearn.metrics import average_precision_score, roc_auc_score

from tasks.dataset.samples import load
from tasks.ingestion.copies import LEAKS
from tasks.ingestion.ingest import ingest
from tasks.ingestion.readers.digits import Digits
from tasks.ingestion.two_passes import Ingestion
from tasks.kernels.calibration import calibration_error
from tasks.pipeline.artefacts import Run
from tasks.pipeline.schemas import EXAMINATION, FLAGS, METRICS, PREDICTIONS, SAMPLES, scores
from tasks.proof.arms import ARMS, Verification
from tasks.proof.verdict import gain_of, verdict_lines
from tasks.proof.verify import verify
from tasks.training.models.logistic import Logistic
from tasks.training.recipe import Recipe, Training

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


def samples_of(run, labels, clean, test_labels=None, groups=None):
    """Training samples, and test samples whose clean label is known and differs: they must not count."""
    n = N + TESTED
    columns = {
        "sample_id": IDS + TEST_IDS,
        "source": ["test"] * n,
        "row": range(n),
        "split": ["train"] * N + ["test"] * TESTED,
        "label": labels + (test_labels or ["a"] * TESTED),
        "clean_label": clean + ["b"] * TESTED,
        "group": [None] * N + (groups or [None] * TESTED),
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
    table = pa.Table.from_pylist(rows, schema=FLAGS)
    return stored(run, "flags", table, "flags.parquet", detector="l2", flagged=int(np.sum(flagged)))


def examination_of(run, suspects=()):
    """Of the test samples, ``suspects`` are suspect."""
    rows = [
        {"sample_id": name, "split": "test", "label": "a", "predicted": "a", "p_label": 1.0, "p_predicted": 1.0}
        | {"p_wrong": 0.0, "suspect": name in suspects, "reason": "r"}
        for name in TEST_IDS
    ]
    return stored(run, "examination", pa.Table.from_pylist(rows, schema=EXAMINATION), "examination.parquet")


def trial(run, arm, seed, correct, labels=None, confidence=None, order=slice(None)):
    """Predictions of one arm under one seed: so many of them right, or which."""
    labels = labels or ["a"] * TESTED
    right = np.arange(TESTED) < correct if isinstance(correct, int) else correct
    predicted = [y if r else ("b" if y == "a" else "a") for y, r in zip(labels, right, strict=True)]
    p = np.full(TESTED, 0.5, np.float32) if confidence is None else confidence
    columns = [np.array(column)[order] for column in (TEST_IDS, labels, predicted, p)]
    table = pa.table([pa.array(c) for c in columns], schema=PREDICTIONS)
    name = f"predictions/{arm}-{seed}.parquet"
    return stored(
        run, "predictions", table, name, arm=arm, seed=seed, trained_on={"untouched": N}.get(arm, 36), split="test"
    )


def leaks_of(run, seen):
    """What find_copies leaves of test samples with a copy in training, and of these copies."""
    rows = [
        {"sample_id": name, "other_id": IDS[i], "kind": kind, "distance": 0.0, "split": "test", "other_split": "train"}
        for i, (name, kind) in enumerate(seen.items())
    ]
    rows += [row | {"sample_id": row["other_id"], "split": "train"} for row in rows]
    return stored(run, "copies", pa.Table.from_pylist(rows, schema=LEAKS), "leaks.parquet")


def verified(run, correct, *, labels=None, clean=None, columns=None, flagged=None, suspects=(), seen=None, **options):
    """``correct``: arm → right predictions by seed."""
    labels = labels or ["a", "b"] * (N // 2)
    arms = [trial(run, arm, seed, n) for arm, counts in correct.items() for seed, n in enumerate(counts)]
    return verify.fn(
        run,
        samples_of(run, labels, clean or [None] * N),
        scores_of(run, columns or {"l2": np.arange(N, dtype=float)}),
        flags_of(run, np.arange(N) < 4 if flagged is None else flagged),
        examination_of(run, suspects),
        arms,
        Verification(**options),
        leaks_of(run, seen) if seen is not None else None,
    )


COUNTS = {
    "untouched": [20, 21, 19, 20],
    "cleaned": [23, 22, 22, 24],
    "random": [19, 20, 20, 18],
    "relabelled": [21, 21, 22, 20],
}


@pytest.mark.parametrize("reverse", [False, True])
def test_accuracies_are_a_count_of_right_predictions(run, reverse):
    counts = dict(reversed(COUNTS.items())) if reverse else COUNTS
    found = verified(run, counts)
    table = pq.read_table(run.path(found))
    assert table.schema.equals(METRICS)
    rows = [row for row in table.to_pylist() if row["by"] == "all"]
    by_hand = {(arm, seed): n / TESTED for arm, counts in COUNTS.items() for seed, n in enumerate(counts)}
    assert {(row["arm"], row["seed"]): row["accuracy"] for row in rows} == pytest.approx(by_hand)
    assert {row["arm"]: row["trained_on"] for row in rows} == dict.fromkeys(ARMS, 36) | {"untouched": N}
    assert {row["tested_on"] for row in rows} == {TESTED}
    assert found.facts["accuracy"] == pytest.approx({arm: sum(c) / 4 / TESTED for arm, c in COUNTS.items()})
    # Always as sure as 0.5: that is what the share of right ones differs from.
    errors = {arm: sum(abs(n / TESTED - 0.5) for n in c) / 4 for arm, c in COUNTS.items()}
    assert found.facts["calibration"] == pytest.approx(errors)
    assert (found.facts["seeds"], found.facts["tested_on"]) == (4, TESTED)
    assert (found.facts["suspects"], found.facts["trusted"]) == (0, None)


def random_trials(run, labels, suspects):
    """Random predictions of every arm under three seeds, and a loop's figures of them, by (arm, seed, by, name)."""
    generator = np.random.default_rng(0)
    arms, by_hand = [], {}
    groups = ["g" if i % 3 == 0 else "h" if i % 3 == 1 else None for i in range(TESTED)]
    for arm in ARMS:
        for seed in range(3):
            right, p = generator.random(TESTED) < 0.7, generator.random(TESTED).astype(np.float32)
            arms.append(trial(run, arm, seed, right, labels, p, generator.permutation(TESTED)))
            trusted = np.array([name not in suspects for name in TEST_IDS])
            parts = {("all", ""): np.ones(TESTED, bool), ("trusted", ""): trusted}
            parts |= {("class", c): np.array(labels) == c for c in "ab"}
            parts |= {("group", g): np.array(groups) == g for g in "gh"}
            for (by, name), rows in parts.items():
                error = calibration_error(p[rows], right[rows]) if by in ("all", "trusted") else None
                by_hand[arm, seed, by, name] = (int(rows.sum()), float(right[rows].mean()), error)
    return arms, by_hand, groups


def test_figures_by_class_by_group_and_without_suspects_are_those_of_a_loop(run):
    labels = ["a" if i % 4 else "b" for i in range(TESTED)]
    suspects = TEST_IDS[3:8]
    arms, by_hand, groups = random_trials(run, labels, suspects)
    given = ["a", "b"] * (N // 2)
    parts = samples_of(run, given, [None] * N, labels, groups), scores_of(run, {"l2": np.arange(N, dtype=float)})
    rest = flags_of(run, np.arange(N) < 4), examination_of(run, suspects)
    found = verify.fn(run, *parts, *rest, arms, Verification())
    rows = pq.read_table(run.path(found)).to_pylist()
    assert len(rows) == len(by_hand)
    for row in rows:
        tested_on, accuracy, error = by_hand[row["arm"], row["seed"], row["by"], row["name"]]
        assert (row["tested_on"], row["accuracy"]) == (tested_on, pytest.approx(accuracy))
        assert row["calibration_error"] == (None if error is None else pytest.approx(error, abs=1e-6))
    changes = {(c["by"], c["name"]): c["change"] for c in found.facts["changes"]}
    for by, name in changes:
        pairs = [(by_hand["cleaned", s, by, name][1], by_hand["untouched", s, by, name][1]) for s in range(3)]
        assert changes[by, name] == pytest.approx(sum(c - u for c, u in pairs) / 3)
    assert set(changes) == {("class", "a"), ("class", "b"), ("group", "g"), ("group", "h")}
    assert found.facts["suspects"] == 5
    trusted = found.facts["trusted"]
    differences = [by_hand["cleaned", s, "trusted", ""][1] - by_hand["random", s, "trusted", ""][1] for s in range(3)]
    assert trusted["gains"]["random"]["mean"] == pytest.approx(sum(differences) / 3)
    assert trusted["tested_on"] == TESTED - 5
    # In whatever order trials come and rows stand.
    assert verify.fn(run, *parts, *rest, arms[::-1], Verification()).digest == found.digest


def test_figures_without_what_training_has_a_copy_of_are_told_beside_the_others(run):
    found = verified(run, COUNTS, seen={TEST_IDS[0]: "exact", TEST_IDS[1]: "near", TEST_IDS[24]: "near"})
    assert found.facts["seen"] == {"exact": 1, "near": 2}
    unseen = found.facts["unseen"]
    assert unseen["tested_on"] == TESTED - 3
    # The first so many answers are right: two of the samples with a copy are, and the last is not.
    expected = {arm: sum(n - 2 for n in counts) / 4 / (TESTED - 3) for arm, counts in COUNTS.items()}
    assert unseen["accuracy"] == pytest.approx(expected)
    rows = [row for row in pq.read_table(run.path(found)).to_pylist() if row["by"] == "unseen"]
    assert {row["tested_on"] for row in rows} == {TESTED - 3}
    assert all(row["calibration_error"] is not None for row in rows)
    (line,) = [line for line in verdict_lines(found.facts) if "copy in training" in line]
    assert line.startswith(
        "3 of 25 test samples have a copy in training (exact 1, near 2; copies.remove leaks); without "
    )
    assert f"before {expected['untouched']:.2%}, after {expected['cleaned']:.2%}" in line


@pytest.mark.parametrize("seen", [None, {}])
def test_nothing_is_told_of_copies_where_training_has_none(run, seen):
    found = verified(run, COUNTS, seen=seen)
    assert (found.facts["seen"], found.facts["unseen"]) == ({}, None)
    assert "unseen" not in pq.read_table(run.path(found))["by"].to_pylist()
    assert not [line for line in verdict_lines(found.facts) if "copy" in line]


def test_all_suspect_leaves_nothing_to_trust(run):
    found = verified(run, COUNTS, suspects=TEST_IDS)
    assert (found.facts["suspects"], found.facts["trusted"]) == (TESTED, None)
    assert "trusted" not in pq.read_table(run.path(found))["by"].to_pylist()


@pytest.mark.parametrize("arm", ["cleaned", "relabelled"])
@pytest.mark.parametrize("control", ["untouched", "random"])
def test_gains_are_those_of_the_right_predictions_pair_by_pair(run, arm, control):
    gain = verified(run, COUNTS).facts["gains"][arm][control]
    right = [np.arange(TESTED) < np.array(COUNTS[name])[:, None] for name in (arm, control)]
    assert gain == gain_of(*right).model_dump(mode="json")


def test_the_verdict_is_about_the_arm_that_is_published(run):
    assert verified(run, COUNTS).facts["verdict"]["arm"] == "cleaned"
    found = verified(run, COUNTS, remedy="relabel").facts
    assert (found["verdict"]["arm"], found["verdict"]["word"]) == ("relabelled", "no evidence")


@pytest.mark.parametrize(
    ("remedy", "arm", "left"), [("remove", "cleaned", "relabelled"), ("relabel", "relabelled", "cleaned")]
)
def test_without_the_other_remedy_all_else_is_the_same(run, remedy, arm, left):
    whole = verified(run, COUNTS, remedy=remedy)
    found = verified(run, {a: c for a, c in COUNTS.items() if a != left}, remedy=remedy, other_remedy=False)
    for name in ("accuracy", "calibration", "gains"):
        assert found.facts[name] == {key: value for key, value in whole.facts[name].items() if key != left}
    assert found.facts["verdict"] == whole.facts["verdict"]
    arms = pq.read_table(run.path(found))["arm"].to_pylist()
    assert set(arms) == set(ARMS) - {left}


def test_one_seed_and_nothing_flagged_are_no_evidence(run):
    alone = verified(run, {arm: counts[:1] for arm, counts in COUNTS.items()}).facts
    assert alone["gains"]["cleaned"]["random"]["t"] is None
    assert alone["verdict"]["word"] == "no evidence"
    assert "one seed" in alone["verdict"]["sentence"]
    nothing = verified(run, dict.fromkeys(COUNTS, COUNTS["cleaned"]), flagged=np.zeros(N)).facts["verdict"]
    assert (nothing["word"], nothing["promote"]) == ("no evidence", False)


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
    found = verified(run, COUNTS, clean=["b"] * 4 + ["a", "b"] * (N // 2 - 2), flagged=np.zeros(N))
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


RECIPE = Recipe(model=Logistic(), training=Training(epochs=3, device="cpu"))


@pytest.mark.parametrize("arm", ARMS)
def test_an_arm_trains_on_what_it_keeps_and_predicts_the_whole_test_split(digits, arm):
    run, samples, flags = digits
    trained = retrained(run, samples, flags, arm, 1, RECIPE)
    table = pq.read_table(run.path(trained))
    test = load(run, samples, "test")
    n = samples.facts["splits"]["train"]
    assert table.schema.equals(PREDICTIONS)
    assert trained.facts == {
        "arm": arm,
        "seed": 1,
        "trained_on": n if arm == "untouched" else n - round(n * 0.1),
        "split": "test",
        "credit": np.mean(np.array(table["label"]) == np.array(table["predicted"])),
    }
    classes = samples.facts["classes"]
    given = dict(zip(test.ids, (classes[y] for y in test.labels.tolist()), strict=True))
    assert dict(zip(table["sample_id"].to_pylist(), table["label"].to_pylist(), strict=True)) == given
    assert retrained(run, samples, flags, arm, 1, RECIPE).digest == trained.digest


def test_an_arm_that_drops_nothing_is_the_untouched_one(digits):
    run, samples, flags = digits
    table = pq.read_table(run.path(flags))
    none = table.set_column(1, FLAGS.field("flag"), pa.array([False] * table.num_rows))
    nothing = stored(run, "flags", none, "flags.parquet")
    files = {retrained(run, samples, nothing, arm, 2, RECIPE).files[0].sha256 for arm in ARMS}
    assert len(files) == 1
