"""Arms differ in their data alone, decode it once, open no split but their own, and tell good cleaning from bad."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from by_hand import retrained

from tasks.core.errors import BadArtefact
from tasks.dataset import samples as samples_module
from tasks.dataset.samples import load, load_cached, table_of
from tasks.ingestion.ingest import ingest
from tasks.ingestion.readers import Noise
from tasks.ingestion.readers.digits import Digits
from tasks.ingestion.two_passes import Ingestion
from tasks.pipeline.artefacts import Run
from tasks.pipeline.schemas import EXAMINATION, FLAGS, scores
from tasks.proof.arms import ARMS, Verification
from tasks.proof.verify import verify
from tasks.training import fit_together
from tasks.training.models.logistic import Logistic
from tasks.training.recipe import Recipe, Training

RECIPE = Recipe(model=Logistic(), training=Training(epochs=3, device="cpu"))


def stored(run, stage, table, name, **facts):
    with run.draft(stage) as draft:
        pq.write_table(table, draft.path(name, table.num_rows))
        return draft.commit(**facts)


def flags_of(run, ids, flagged, suggestions=None):
    """Flags on the samples ``flagged`` of ``ids``."""
    blank = dict.fromkeys(FLAGS.names) | {"suspicion": 0.0, "detector": "l2", "marked_by": [], "reason": "r"}
    rows = [
        blank | {"sample_id": name, "flag": bool(flag), "rank": i + 1, "suggested_label": other}
        for i, (name, flag, other) in enumerate(zip(ids, flagged, suggestions or [None] * len(ids), strict=True))
    ]
    table = pa.Table.from_pylist(rows, schema=FLAGS)
    return stored(run, "flags", table, "flags.parquet", flagged=int(np.sum(flagged)))


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """(run, samples) with three splits, and a third of the training labels wrong."""
    run = Run.start(tmp_path_factory.mktemp("retrain"), "retrain")
    reader = Digits(limit=700, test_share=0.4, validation_share=0.2, noise=Noise(share=0.35, exact=True))
    return run, ingest.fn(run, reader, Ingestion())


def known(run, samples):
    """(ids, whether the label is wrong, the true labels) of the training samples."""
    table = table_of(run, samples, ["sample_id", "split", "label", "clean_label"]).to_pylist()
    table = [row for row in table if row["split"] == "train"]
    wrong = np.array([row["label"] != row["clean_label"] for row in table])
    return [row["sample_id"] for row in table], wrong, [row["clean_label"] for row in table]


def verified(run, samples, flags, seeds=3, **options):
    """The facts of a verification by real trainings."""
    verification = Verification(seeds=seeds, **options)
    training = Training(epochs=12, device="cpu")
    pairs = zip(*verification.pairs(flags.facts["flagged"]), strict=True)
    recipe = Recipe(model=Logistic(), training=training)
    trials = [retrained(run, samples, flags, arm, seed, recipe) for arm, seed in pairs]
    ids = load(run, samples, "train").ids
    table = pa.table([pa.array(ids, pa.string()), pa.array(np.zeros(len(ids)))], schema=scores(["l2"]))
    scored = stored(run, "scores", table, "scores.parquet", detectors=["l2"])
    nothing = stored(run, "examination", EXAMINATION.empty_table(), "examination.parquet")
    return verify.fn(run, samples, scored, flags, nothing, trials, verification).facts


def test_a_perfect_detector_helps_and_relabelling_by_the_truth_helps_more(digits):
    run, samples = digits
    ids, wrong, truth = known(run, samples)
    facts = verified(run, samples, flags_of(run, ids, wrong, truth), remedy="relabel", class_loss=1.0)
    assert (facts["verdict"]["word"], facts["verdict"]["promote"]) == ("helps", True)
    assert facts["accuracy"]["relabelled"] > facts["accuracy"]["random"]
    assert facts["accuracy"]["cleaned"] > facts["accuracy"]["untouched"]


def test_an_inverted_detector_harms(digits):
    run, samples = digits
    ids, wrong, _ = known(run, samples)
    right = np.flatnonzero(~wrong)
    least_suspect = np.isin(np.arange(len(ids)), right[: round(0.75 * len(right))])
    verdict = verified(run, samples, flags_of(run, ids, least_suspect))["verdict"]
    assert (verdict["word"], verdict["promote"]) == ("harms", False)
    assert "it harms" in verdict["because"]


@pytest.mark.parametrize("draw", range(3))
def test_on_clean_data_there_is_no_evidence(tmp_path, draw):
    run = Run.start(tmp_path, "retrain")
    samples = ingest.fn(run, Digits(test_share=0.4), Ingestion())
    ids, _, _ = known(run, samples)
    flagged = np.random.default_rng(draw).random(len(ids)) < 0.02
    verdict = verified(run, samples, flags_of(run, ids, flagged))["verdict"]
    assert (verdict["word"], verdict["promote"]) == ("no evidence", False)


def test_where_nothing_is_flagged_all_arms_are_the_untouched_one_trained_once_a_seed(digits, monkeypatch):
    run, samples = digits
    ids, wrong, _ = known(run, samples)
    module, trained = fit_together, []
    original = module.fit
    monkeypatch.setattr(module, "fit", lambda *a, **k: trained.append(k["label"]) or original(*a, **k))
    facts = verified(run, samples, flags_of(run, ids, wrong & False), seeds=2)
    assert trained == ["retrain untouched, seed 0", "retrain untouched, seed 1"]
    assert set(facts["accuracy"]) == set(ARMS)
    assert len(set(facts["accuracy"].values())) == 1
    assert {change["change"] for change in facts["changes"]} == {0.0}
    assert (facts["verdict"]["word"], facts["verdict"]["promote"]) == ("no evidence", False)


def test_relabelling_trains_on_the_suggested_labels(digits):
    run, samples = digits
    ids, wrong, truth = known(run, samples)
    half = [other if i % 2 else None for i, other in enumerate(truth)]
    flags = flags_of(run, ids, wrong, half)
    trained = {arm: retrained(run, samples, flags, arm, 0, RECIPE).facts["trained_on"] for arm in ARMS}
    mended = int((wrong & (np.arange(len(ids)) % 2 == 1)).sum())
    kept = len(ids) - int(wrong.sum())
    assert trained == {"untouched": len(ids), "cleaned": kept, "random": kept, "relabelled": kept + mended}


def test_a_trial_on_the_validation_split_never_opens_a_test_file(digits, tmp_path):
    run, samples = digits
    ids, wrong, _ = known(run, samples)
    flags = flags_of(run, ids, wrong)
    shutil.copytree(run.lake, tmp_path / "lake")
    elsewhere = Run(lake=tmp_path / "lake", run_id="elsewhere")
    for path in (elsewhere.lake / samples.folder / "samples").glob("test-*"):
        path.unlink()
    trial = retrained(elsewhere, samples, flags, "cleaned", 0, RECIPE, "validation")
    predicted = pq.read_table(elsewhere.path(trial))["sample_id"].to_pylist()
    assert sorted(predicted) == sorted(load(run, samples, "validation").ids)
    assert trial.facts["split"] == "validation"
    with pytest.raises(BadArtefact):
        retrained(elsewhere, samples, flags, "cleaned", 0, RECIPE)


def test_twenty_trials_decode_the_samples_once_and_give_the_bytes_of_trials_that_decode_anew(digits, monkeypatch):
    run, samples = digits
    ids, wrong, truth = known(run, samples)
    flags = flags_of(run, ids, wrong, truth)
    loaded, original = [], samples_module.load
    monkeypatch.setattr(samples_module, "load", lambda *a: loaded.append(a[2]) or original(*a))
    pairs = list(zip(*Verification(seeds=5).pairs(flagged=1), strict=True))

    def trials(anew):
        digests = []
        for arm, seed in pairs:
            if anew:
                samples_module._CACHE.clear()
            digests.append(retrained(run, samples, flags, arm, seed, RECIPE).digest)
        return digests

    samples_module._CACHE.clear()
    once = trials(anew=False)
    assert sorted(loaded) == ["test", "train"]
    assert trials(anew=True) == once
    assert len(loaded) == 2 + 2 * len(pairs)


def test_what_is_remembered_is_not_changed_by_who_changes_labels(digits):
    run, samples = digits
    first = load_cached(run, samples, "train")
    first.labels.fill_(0)
    second = load_cached(run, samples, "train")
    fresh = load(run, samples, "train")
    torch.testing.assert_close(second.labels, fresh.labels)
    assert second.x is first.x
    with pytest.raises(ValueError, match="read-only"):
        second.ids[0] = "x"


def test_what_is_remembered_is_bounded(digits):
    run, samples = digits
    samples_module._CACHE.clear()
    for split in ("train", "validation", "test"):
        load_cached(run, samples, split)
    assert len(samples_module._CACHE) == 3
    load_cached(run.model_copy(update={"memory_gib": 1e-9}), samples, "validation")
    # The two that were asked for last stay, whatever their size: every trial needs two.
    assert [key[2] for key in samples_module._CACHE] == ["test", "validation"]


def test_inputs_larger_than_the_run_s_memory_are_read_from_a_mapped_file(digits):
    run, samples = digits
    mapped = load(run.model_copy(update={"memory_gib": 1e-6}), samples, "train")
    maps = Path("/proc/self/maps")
    assert not maps.exists() or f"{run.lake / 'cache'}/" in maps.read_text()
    torch.testing.assert_close(mapped.x, load(run, samples, "train").x)
    assert not list((run.lake / "cache").glob("tmp*"))
