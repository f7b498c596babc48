"""A verdict on numbers must not hang on a few test labels that may be typing errors."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import r2_score

from tasks.dataset.targets.number import number_from
from tasks.ingestion.copies import LEAKS
from tasks.pipeline.artefacts import Run
from tasks.pipeline.schemas import EXAMINATION, FLAGS, PREDICTIONS, SAMPLES, scores
from tasks.proof.arms import ARMS, Verification
from tasks.proof.verdict import verdict_lines
from tasks.proof.verify import verify

TRAINED, TESTED, TYPED, SEEDS = 600, 300, 8, 5
RNG = np.random.default_rng(0)
TRUE = RNG.normal(300, 80, TRAINED + TESTED).clip(100)
TEST = TRUE[TRAINED:]
IDS = [f"{i:04d}" for i in range(TRAINED + TESTED)]


def stored(run, stage, table, name, **facts):
    with run.draft(stage) as draft:
        pq.write_table(table, draft.path(name, table.num_rows))
        return draft.commit(**facts)


def texts(numbers):
    return [repr(float(number)) for number in numbers]


def samples_of(run, labels):
    target = number_from(labels[:TRAINED], "here")
    with run.draft("samples") as draft:
        for split, part in (("train", slice(TRAINED)), ("test", slice(TRAINED, None))):
            columns = {"sample_id": IDS[part], "label": texts(labels[part])}
            n = len(columns["label"])
            columns |= {"source": ["x"] * n, "row": range(n), "split": [split] * n}
            arrays = [pa.array(columns.get(f.name, [None] * n), f.type) for f in SAMPLES]
            path = draft.path(f"samples/{split}-00000.parquet", n)
            pq.write_table(pa.table(arrays, schema=SAMPLES), path)
        return draft.commit(classes=list(target.classes), target=target.model_dump(mode="json"))


def said(arm, seed, labels):
    """The untouched and the random arm have learned of typing errors: worse on all, a little nearer to the typed."""
    rng = np.random.default_rng([ARMS.index(arm), seed])
    is_clean = arm in ("cleaned", "relabelled")
    far = np.abs(labels - TEST) > 1
    return TEST + rng.normal(0, 10 if is_clean else 40, TESTED) + np.where(far & (not is_clean), 120, 0)


def verified(run, typed=TYPED):
    labels = TRUE.copy()
    labels[TRAINED : TRAINED + typed] *= 10
    arms = []
    for arm in ARMS:
        for seed in range(SEEDS):
            columns = [IDS[TRAINED:], texts(labels[TRAINED:]), texts(said(arm, seed, labels[TRAINED:]))]
            table = pa.table([*map(pa.array, columns), pa.array(np.ones(TESTED, np.float32))], schema=PREDICTIONS)
            facts = {"arm": arm, "seed": seed, "trained_on": TRAINED, "split": "test"}
            arms.append(stored(run, "predictions", table, f"predictions/{arm}-{seed}.parquet", **facts))
    samples = samples_of(run, labels)
    scored = pa.table([pa.array(IDS[:TRAINED]), pa.array(np.zeros(TRAINED))], schema=scores(["l2"]))
    return labels[TRAINED:], verify.fn(
        run,
        samples,
        stored(run, "scores", scored, "scores.parquet", detectors=["l2"]),
        stored(run, "flags", FLAGS.empty_table(), "flags.parquet", flagged=30),
        stored(run, "examination", EXAMINATION.empty_table(), "examination.parquet"),
        arms,
        Verification(seeds=SEEDS),
        stored(run, "copies", LEAKS.empty_table(), "leaks.parquet"),
    )


@pytest.fixture
def run(tmp_path):
    return Run.start(tmp_path, "few")


def test_typing_errors_among_the_test_labels_do_not_make_harm_of_what_helps(run):
    _, found = verified(run)
    told = found.facts
    assert told["gains"]["cleaned"]["untouched"]["word"] == "harms"  # by R² of all rows, typed ones included
    assert {gain["word"] for gain in told["usual"]["gains"].values()} == {"helps"}
    assert (told["verdict"]["word"], told["verdict"]["promote"]) == ("no evidence", False)
    assert told["verdict"]["sentence"].startswith("it hangs on few test labels: harms by all of them, helps without")
    assert told["few"]["weigh"] + told["few"]["far"] == TYPED
    (line,) = [line for line in verdict_lines(told) if line.startswith("R² hangs on few labels")]
    assert any(each.startswith("ranges that change most: ") for each in verdict_lines(told))
    assert f"{told['few']['weigh']} of 300 test labels make up more than half" in line


def test_r_squared_without_them_is_that_of_the_other_rows_alone(run):
    labels, found = verified(run)
    rows = slice(TYPED, None)
    by_hand = [r2_score(labels[rows], said("cleaned", seed, labels)[rows]) for seed in range(SEEDS)]
    assert found.facts["usual"]["accuracy"]["cleaned"] == pytest.approx(np.mean(by_hand))
    assert found.facts["usual"]["tested_on"] == TESTED - TYPED
    table = pq.read_table(run.path(found)).to_pylist()
    levels = [row for row in table if row["by"] == "usual" and row["arm"] == "cleaned"]
    assert [row["accuracy"] for row in levels] == pytest.approx(by_hand)


def test_of_numbers_without_such_labels_nothing_is_left_out(run):
    _, found = verified(run, typed=0)
    assert (found.facts["few"], found.facts["usual"]) == ({"weigh": 0, "far": 0}, None)
    assert found.facts["verdict"]["word"] == "helps"
    assert "usual" not in pq.read_table(run.path(found))["by"].to_pylist()
    assert not [line for line in verdict_lines(found.facts) if "few" in line]
