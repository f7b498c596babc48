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
    checkpoints: list[Artefact],
    neighbours: Neighbours,
    recipe: Recipe,
) -> Artefact:
    """Audit the splits that a verification counts by → ``examination.parquet``, most suspect first.

    The observers are the folds' networks (the mean of their probabilities) and the nearest training samples (their
    labels' shares); neither was told a held-out label. The networks are those trained on the untouched data, so no arm
    chooses its own examiners; if anything the untouched arm is favoured, whose mistakes resemble theirs.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tasks.pipeline.schemas import EXAMINATION
    from tasks.proof.heldout_labels import examine_labels

    target = target_of(samples)
    splits = [split for split in ("test", "validation") if sample_paths(run, samples, split)]
    tables = []
    # Who is never told how likely another label is has no opinion of the given one.
    for split in splits if target.has_class_probabilities else []:
        inputs = load_cached(run, samples, split)
        probabilities, votes = _observe(run, samples, checkpoints, neighbours, recipe, inputs)
        tables.append(
            examine_labels(inputs.ids, split, inputs.labels.numpy(), probabilities, votes, list(target.classes))
        )
    table = pa.concat_tables([EXAMINATION.empty_table(), *tables])
    suspect = table.filter(table["suspect"])["split"].to_pylist()
    with run.draft("examination") as draft:
        pq.write_table(table, draft.path("examination.parquet", table.num_rows), compression="zstd")
        return draft.commit(suspects={split: suspect.count(split) for split in splits})


def _observe(
    run: Run,
    samples: Artefact,
    checkpoints: list[Artefact],
    neighbours: Neighbours,
    recipe: Recipe,
    inputs: Inputs,
) -> tuple[np.ndarray, np.ndarray]:
    """(mean probabilities of the folds' last networks, shares of the neighbours' labels), n × k each."""
    import numpy as np

    from tasks.core.devices import claim
    from tasks.planning.neighbours import Electorate
    from tasks.training.fit import load_networks, outputs_of

    payload, target, n = payload_of(samples), target_of(samples), len(inputs.ids)
    k, objective = len(target.classes), recipe.training.objective(target)
    probabilities, shares = np.zeros((n, k)), np.empty((n, k), np.float32)
    with claim(recipe.training.device) as device:
        # By fold, so that the sum does not depend on the order in which trainings finished.
        for checkpoint in sorted(checkpoints, key=lambda artefact: artefact.facts["fold"]):
            outputs = outputs_of(
                load_networks(run, checkpoint, recipe.model, payload, target.outputs)[-1], inputs, device
            )
            spread = target.spread(outputs, inputs.values)
            probabilities += target.probabilities(outputs, spread, objective).numpy()
        train = load_cached(run, samples, "train")
        electorate = Electorate.of(neighbours, train, k, device, payload)
        for at, of_block, _ in electorate.votes(inputs.x, np.arange(n), np.full(n, -1), 1):
            shares[at] = of_block
    return (probabilities / len(checkpoints)).astype(np.float32), shares
