"""A held-out split with wrong labels is found out by networks and neighbours that were never told them."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from by_hand import planned, trained

from tasks.dataset.samples import load
from tasks.ingestion.ingest import ingest
from tasks.ingestion.readers.digits import Digits
from tasks.ingestion.two_passes import Ingestion
from tasks.pipeline.artefacts import Run
from tasks.pipeline.schemas import EXAMINATION
from tasks.planning.canaries import Canaries
from tasks.planning.neighbours import Neighbours
from tasks.proof.audit_heldout_labels import audit_heldout_labels
from tasks.training.models.logistic import Logistic
from tasks.training.recipe import Recipe, Training

TRAINING = Training(epochs=15, device="cpu")
RECIPE = Recipe(model=Logistic(), training=TRAINING)
PARTS = (Neighbours(), RECIPE)
SHARE = 0.1


def mislabelled(run, samples):
    """The same samples with a tenth of the test labels moved to the next class; and their ids."""
    classes, moved = samples.facts["classes"], set()
    with run.draft("samples") as draft:
        for file in samples.files:
            table = pq.read_table(run.path(samples, file))
            if file.name.startswith("samples/test"):
                rows = np.random.default_rng(0).random(table.num_rows) < SHARE
                moved |= {name for name, row in zip(table["sample_id"].to_pylist(), rows, strict=True) if row}
                labels = [
                    classes[(classes.index(label) + 1) % len(classes)] if row else label
                    for label, row in zip(table["label"].to_pylist(), rows, strict=True)
                ]
                at = table.schema.get_field_index("label")
                table = table.set_column(at, table.schema.field("label"), pa.array(labels))
            pq.write_table(table, draft.path(file.name, table.num_rows))
        return draft.commit(**samples.facts), moved


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """(run, samples, ids of the test samples with a wrong label, folds → checkpoints)."""
    run = Run.start(tmp_path_factory.mktemp("examine"), "examine")
    reader = Digits(limit=1200, test_share=0.35, validation_share=0.1)
    samples, moved = mislabelled(run, ingest.fn(run, reader, Ingestion()))
    made = {}

    def checkpoints(folds):
        if folds not in made:
            plan, _ = planned(run, samples, folds, Canaries(share=0.05 if folds > 1 else 0.0))
            made[folds] = trained(run, samples, plan, RECIPE)
        return made[folds]

    return run, samples, moved, checkpoints


def rows_of(run, artefact, split):
    table = pq.read_table(run.path(artefact))
    assert table.schema.equals(EXAMINATION)
    return {row["sample_id"]: row for row in table.to_pylist() if row["split"] == split}


@pytest.mark.parametrize("folds", [1, 3])
def test_wrong_test_labels_are_found_and_few_right_ones_accused(world, folds):
    run, samples, moved, checkpoints = world
    found = audit_heldout_labels.fn(run, samples, samples, checkpoints(folds), *PARTS)
    rows = rows_of(run, found, "test")
    assert set(rows) == set(load(run, samples, "test").ids)
    suspects = {name for name, row in rows.items() if row["suspect"]}
    assert len(suspects & moved) >= 0.5 * len(moved)
    # A tenth are wrong: of those it suspects, nine in ten.
    assert len(suspects & moved) >= 0.9 * len(suspects)
    assert found.facts["suspects"] == {
        "test": len(suspects),
        "validation": sum(row["suspect"] for row in rows_of(run, found, "validation").values()),
    }


def test_probabilities_are_the_mean_over_the_folds_networks(world):
    run, samples, _, checkpoints = world
    rows = rows_of(run, audit_heldout_labels.fn(run, samples, samples, checkpoints(3), *PARTS), "validation")
    inputs = load(run, samples, "validation")
    each = []
    for checkpoint in checkpoints(3):
        state = torch.load(run.path(checkpoint), weights_only=True)
        x = (inputs.x.float() - state["standardize.mean"]) / state["standardize.std"]
        weight, bias = (state[next(n for n in state if n.endswith(end))] for end in (".weight", ".bias"))
        each.append(torch.softmax(x.flatten(1) @ weight.T + bias, 1).double())
    mean = torch.stack(each).mean(0).numpy()
    for i, name in enumerate(inputs.ids):
        assert rows[name]["p_label"] == pytest.approx(mean[i, inputs.labels[i]], abs=1e-5)
        assert rows[name]["p_predicted"] == pytest.approx(mean[i].max(), abs=1e-5)


def test_the_order_of_the_folds_changes_nothing_and_a_second_look_says_the_same(world):
    run, samples, _, checkpoints = world
    first = audit_heldout_labels.fn(run, samples, samples, checkpoints(3), *PARTS)
    assert audit_heldout_labels.fn(run, samples, samples, checkpoints(3)[::-1], *PARTS).digest == first.digest


def test_where_neighbours_may_be_missed_the_recall_of_each_split_is_a_fact(world, monkeypatch):
    run, samples, _, checkpoints = world
    exact = audit_heldout_labels.fn(run, samples, samples, checkpoints(3), *PARTS)
    assert "recall" not in exact.facts
    monkeypatch.setattr("tasks.kernels.bins.EXACT_UP_TO", 100)
    found = audit_heldout_labels.fn(run, samples, samples, checkpoints(3), Neighbours(count=5), RECIPE)
    assert found.facts["recall"].keys() == {"test", "validation"}
    assert all(0.99 <= share <= 1 for share in found.facts["recall"].values())
