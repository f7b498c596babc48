"""What is measured is what a person would count, and what scikit-learn says, from the same scores."""

import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from by_hand import cross_fitted
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score, roc_auc_score

from tasks.config import CompareConfig
from tasks.core.errors import BadInput
from tasks.decision.budgets.canary import Canary
from tasks.decision.budgets.disagreement import Disagreement
from tasks.decision.budgets.mixture import Mixture
from tasks.decision.budgets.share import Share
from tasks.decision.ranking import ranking_of
from tasks.evaluation.measure import measure
from tasks.evaluation.truth import need_truth, truth_of
from tasks.ingestion.ingest import ingest
from tasks.pipeline.artefacts import Run
from tasks.pipeline.schemas import CURVES, MEASURES, SAMPLES
from tasks.scoring.evidence import Evidence
from tasks.scoring.score import score

BUDGETS = [Canary(), Disagreement(), Mixture(), Share(share=0.1), Share(share=0.0)]


@pytest.fixture(scope="module")
def observed(tmp_path_factory):
    """Everything up to the scores of a small run, without Prefect."""
    config = CompareConfig.model_validate(
        {
            "reader": {"kind": "digits", "limit": 400},
            "folds": 2,
            "training": {"epochs": 3},
            "detectors": ["l2", "margin", "neighbours"],
        }
    )
    run = Run.start(tmp_path_factory.mktemp("lake"), "measured")
    samples = ingest.fn(run, config.reader.component, config.ingestion)
    planning = {"folds": config.folds, "canaries": config.effective_canaries, "neighbours": config.neighbours}
    crossfit = cross_fitted(run, samples, config.recipe, config.gradient.component, **planning)
    return (run, crossfit), score.fn(run, crossfit, config.detector_components)


@pytest.fixture(scope="module")
def measured(observed):
    evidence, scores = observed
    return measure.fn(*evidence, scores, BUDGETS)


@pytest.fixture(scope="module")
def figures(observed, measured):
    (run, *_), _ = observed
    table = pq.read_table(run.path(measured, measured.files[0]), schema=MEASURES)
    return {(row["detector"], row["budget"], row["measure"]): row["value"] for row in table.to_pylist()}


@pytest.fixture(scope="module")
def truth(observed):
    """(suspicions by detector, which labels are wrong), joined by hand."""
    (run, crossfit), scores = observed
    samples = crossfit.samples
    table = pq.read_table(run.path(scores))
    known = {}
    for file in samples.files:
        if file.name.startswith("samples/train"):
            for row in pq.read_table(run.path(samples, file)).to_pylist():
                known[row["sample_id"]] = row["label"] != row["clean_label"]
    wrong = np.array([known[name] for name in table["sample_id"].to_pylist()])
    return {name: table[name].to_numpy() for name in table.column_names[1:]}, wrong


@pytest.mark.parametrize("name", ["l2", "margin", "neighbours"])
def test_a_ranking_is_judged_as_scikit_learn_judges_it(figures, truth, name):
    suspicions, wrong = truth
    suspicion = suspicions[name]
    assert figures[name, None, "average_precision"] == pytest.approx(average_precision_score(wrong, suspicion))
    assert figures[name, None, "roc_auc"] == pytest.approx(roc_auc_score(wrong, suspicion))


@pytest.mark.parametrize("name", ["l2", "margin"])  # neighbours has ties, which are drawn by lot
def test_cuts_are_those_of_a_sorted_list(figures, truth, name):
    suspicions, wrong = truth
    order = np.argsort(-suspicions[name])
    top = wrong[order[: round(0.05 * len(wrong))]]
    assert figures[name, None, "precision_in_top_5_percent"] == pytest.approx(top.mean())
    chosen = np.zeros(len(wrong), bool)
    chosen[order[: wrong.sum()]] = True
    assert figures[name, None, "f1_at_true_count"] == pytest.approx(f1_score(wrong, chosen))


@pytest.mark.parametrize("name", ["l2", "margin"])
@pytest.mark.parametrize("budget", BUDGETS[:-1], ids=lambda budget: budget.name)
def test_a_budget_is_judged_by_what_it_would_flag(observed, figures, truth, name, budget):
    evidence, _ = observed
    suspicions, wrong = truth
    found = budget.find(ranking_of(Evidence(*evidence), suspicions[name]))
    chosen = np.zeros(len(wrong), bool)
    chosen[np.argsort(-suspicions[name])[: found.count]] = True
    mine = {measured: value for (n, b, measured), value in figures.items() if (n, b) == (name, budget.name)}
    assert mine["count"] == found.count
    if chosen.any():
        assert mine["precision"] == pytest.approx(precision_score(wrong, chosen))
    else:
        assert "precision" not in mine
    assert mine["recall"] == pytest.approx(recall_score(wrong, chosen))
    assert mine["f1"] == pytest.approx(f1_score(wrong, chosen))
    assert mine["f1_share"] == pytest.approx(f1_score(wrong, chosen) / figures[name, None, "f1_at_true_count"])
    for figure, true in (("precision", mine.get("precision")), ("recall", mine["recall"]), ("wrong", wrong.mean())):
        stated = getattr(found, figure)
        given = {key: value for key, value in mine.items() if key.startswith(f"stated_{figure}")}
        if stated is None:
            assert given == {}
        else:
            expected = {"": stated.value, "_low": stated.low, "_high": stated.high}
            expected["_holds"] = float(stated.low <= true <= stated.high)
            assert given == {f"stated_{figure}{end}": value for end, value in expected.items() if value is not None}


def test_what_flags_nothing_has_no_precision(figures):
    assert figures["l2", "share_0", "recall"] == 0
    assert ("l2", "share_0", "precision") not in figures


def test_nothing_that_is_kept_is_no_number(figures):
    assert all(math.isfinite(value) for value in figures.values())


def test_a_curve_ends_where_all_is_found_and_has_at_most_five_hundred_points(observed, measured):
    (run, *_), scores = observed
    curves = pq.read_table(run.path(measured, measured.files[1]), schema=CURVES)
    for name in scores.facts["detectors"]:
        curve = curves.filter(pc.equal(curves["detector"], name))
        assert curve.num_rows <= 500
        assert curve["recall"][-1].as_py() == 1


def test_what_each_detector_sees_stands_beside_it(observed, measured):
    (run, *_), _ = observed
    table = pq.read_table(run.path(measured, measured.files[0]))
    sees = dict(zip(table["detector"].to_pylist(), table["sees"].to_pylist(), strict=True))
    assert sees == {"l2": "gradients", "margin": "probabilities", "neighbours": "votes"}


# ---- truth that is not known of every sample ------------------------------------------------------------------------


def samples_of(run, labels, clean):
    n = len(labels)
    columns = {
        "sample_id": [f"{i:03d}" for i in range(n)],
        "source": ["test"] * n,
        "row": range(n),
        "split": ["train"] * (n - 1) + ["test"],
        "label": labels,
        "clean_label": clean,
        "group": [None] * n,
        "source_id": [None] * n,
    }
    table = pa.table([pa.array(columns[f.name], f.type) for f in SAMPLES], schema=SAMPLES)
    with run.draft("samples") as draft:
        pq.write_table(table, draft.path("samples/all-00000.parquet", n))
        return draft.commit(classes=["a", "b"])


def test_a_label_of_unknown_truth_is_neither_right_nor_wrong(tmp_path):
    run = Run.start(tmp_path, "truth")
    samples = samples_of(run, ["a", "a", "b", "b"], ["a", "b", None, "a"])
    known, wrong = truth_of(run, samples, pa.array(["003", "002", "001", "000"]))
    assert known.tolist() == [True, False, True, True]
    assert wrong.tolist() == [True, False, True, False]


def test_unknown_truth_counts_neither_as_found_nor_as_missed(observed, truth, tmp_path):
    """The same scores, with every third clean label taken away: figures are those of the rest."""
    (run, crossfit), scores = observed
    samples = crossfit.samples
    with run.draft("samples") as draft:
        for file in samples.files:
            table = pq.read_table(run.path(samples, file))
            if file.name.startswith("samples/train"):
                hidden = [i for i, name in enumerate(table["sample_id"].to_pylist()) if int(name[:8], 16) % 3 == 0]
                clean = [None if i in hidden else c for i, c in enumerate(table["clean_label"].to_pylist())]
                place = table.column_names.index("clean_label")
                table = table.set_column(place, SAMPLES.field("clean_label"), pa.array(clean, pa.string()))
            pq.write_table(table, draft.path(file.name, table.num_rows))
        partly = draft.commit(**samples.facts)
    found = measure.fn(run, crossfit.model_copy(update={"samples": partly}), scores, [Share(share=0.1)])
    figures = {
        (row["detector"], row["measure"]): row["value"]
        for row in pq.read_table(run.path(found, found.files[0])).to_pylist()
    }
    suspicions, wrong = truth
    ids = pq.read_table(run.path(scores))["sample_id"].to_pylist()
    known = np.array([int(name[:8], 16) % 3 != 0 for name in ids])
    assert 0 < found.facts["known"] == known.sum() < found.facts["samples"]
    ap = average_precision_score(wrong[known], suspicions["l2"][known])
    assert figures["l2", "average_precision"] == pytest.approx(ap)
    chosen = np.zeros(len(wrong), bool)
    chosen[np.argsort(-suspicions["l2"])[: round(0.1 * len(wrong))]] = True
    assert figures["l2", "precision"] == pytest.approx(precision_score(wrong[known], chosen[known]))
    assert figures["l2", "recall"] == pytest.approx(recall_score(wrong[known], chosen[known]))
    assert figures["l2", "f1"] == pytest.approx(f1_score(wrong[known], chosen[known]))


@pytest.mark.parametrize(
    ("clean", "words"),
    [
        ([None, None, None, "a"], "0 known of 3"),  # the fourth is a test sample
        (["a", "a", "b", "a"], "3 known of 3, none of which differ"),
        (["b", "b", None, "a"], "2 known of 3, all of which differ"),
    ],
)
def test_samples_without_known_noise_are_refused(tmp_path, clean, words):
    run = Run.start(tmp_path, "truth")
    with pytest.raises(BadInput, match=words):
        need_truth(run, samples_of(run, ["a", "a", "b", "b"], clean))


def test_samples_with_known_noise_are_taken(tmp_path):
    run = Run.start(tmp_path, "truth")
    need_truth(run, samples_of(run, ["a", "a", "b", "b"], ["a", None, "a", None]))
