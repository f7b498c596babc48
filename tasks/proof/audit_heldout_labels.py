"""audit_heldout_labels: checkpoints → how likely the labels of the held-out splits are wrong themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.dataset.payload import payload_of
from tasks.dataset.samples import load_cached, sample_paths
from tasks.dataset.targets import target_of
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.step import step
from tasks.planning.neighbours import Neighbours
from tasks.training.recipe import Recipe

if TYPE_CHECKING:
    import numpy as np

    from tasks.dataset.samples import Inputs


@step("audit held-out labels")
def audit_heldout_labels(
    run: Run,
    samples: Artefact,
    compared: Artefact,
    checkpoints: list[Artefact],
    neighbours: Neighbours,
    recipe: Recipe,
) -> Artefact:
    """Audit the splits that a verification counts by → ``examination.parquet``, most suspect first.

    Args:
        run: where to write.
        samples: as networks receive them.
        compared: the same, as neighbours are looked for.
        checkpoints: of the folds.
        neighbours: whose labels count.
        recipe: of the networks.

    The observers are the folds' networks (the mean of their probabilities) and the nearest training samples (their
    labels' shares); neither was told a held-out label. The networks are those trained on the untouched data, so no arm
    chooses its own examiners; if anything the untouched arm is favoured, whose mistakes resemble theirs.

    Facts: ``suspects`` of each split; where neighbours may be missed, ``recall``, the share of them that is found.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tasks.pipeline.schemas import EXAMINATION
    from tasks.proof.heldout_labels import examine_labels

    target = target_of(samples)
    splits = [split for split in ("test", "validation") if sample_paths(run, samples, split)]
    # Who is never told how likely another label is has no opinion of the given one.
    audited = splits if target.has_class_probabilities else []
    (votes, recall), tables = _votes(run, compared, audited, neighbours, recipe), []
    for split in audited:
        inputs = load_cached(run, samples, split)
        probabilities = _predict(run, samples, checkpoints, recipe, inputs)
        labels = inputs.labels.numpy()
        tables.append(examine_labels(inputs.ids, split, labels, probabilities, votes[split], list(target.classes)))
    table = pa.concat_tables([EXAMINATION.empty_table(), *tables])
    suspect = table.filter(table["suspect"])["split"].to_pylist()
    with run.draft("examination") as draft:
        pq.write_table(table, draft.path("examination.parquet", table.num_rows), compression="zstd")
        facts = {"recall": recall} if recall else {}
        return draft.commit(suspects={split: suspect.count(split) for split in splits}, **facts)


def _predict(run: Run, samples: Artefact, checkpoints: list[Artefact], recipe: Recipe, inputs: Inputs) -> np.ndarray:
    """Mean probabilities of the folds' last networks, n × k."""
    import numpy as np

    from tasks.core.devices import claim
    from tasks.kernels.pieces import pieces
    from tasks.training.fit import load_networks, outputs_of

    payload, target, objective = payload_of(samples), target_of(samples), recipe.training.objective(target_of(samples))
    probabilities = np.zeros((len(inputs.ids), len(target.classes)))
    with claim(recipe.training.device) as device:
        # By fold, so that the sum does not depend on the order in which trainings finished.
        for checkpoint in sorted(checkpoints, key=lambda artefact: artefact.facts["fold"]):
            networks = load_networks(run, checkpoint, recipe.model, payload, target.outputs)
            outputs = outputs_of(networks[-1], inputs, device)
            spread = target.spread(outputs, inputs.values)
            for some in pieces(*probabilities.shape):
                probabilities[some] += target.probabilities(outputs[some], spread, objective).numpy()
    probabilities /= len(checkpoints)
    return probabilities.astype(np.float32)


def _votes(
    run: Run, compared: Artefact, splits: list[str], neighbours: Neighbours, recipe: Recipe
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """(of each split the shares of the labels of the nearest training samples, n × k; the recall where it is not 1)."""
    import numpy as np

    from tasks.core.devices import claim
    from tasks.planning.neighbours import Electorate

    votes: dict[str, np.ndarray] = {}
    recall: dict[str, float] = {}
    if not splits:
        return votes, recall
    train, classes = load_cached(run, compared, "train"), len(target_of(compared).classes)
    with claim(recipe.training.device) as device:
        electorate = Electorate.of(neighbours, train, classes, device, payload_of(compared))
        for split in splits:
            inputs = load_cached(run, compared, split)
            rows = np.arange(len(inputs.ids))
            nobody = np.full(len(rows), -1)
            asked = electorate.asked_by(inputs.x, rows, nobody)
            votes[split] = np.empty((len(rows), classes), np.float32)
            for at, shares, _ in asked.votes(inputs.x, rows, nobody, 1):
                votes[split][at] = shares
            if asked.recall is not None:
                recall[split] = asked.recall
    return votes, recall
