"""plant: samples + folds + votes → the canaries of this run."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.dataset.samples import fold_of, given_texts
from tasks.dataset.targets import target_of
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.recorded_run import stages_of
from tasks.pipeline.step import step
from tasks.planning.canaries import KINDS, Canaries

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


@step("plant")
def plant(
    run: Run, samples: Artefact, folds: Artefact, votes: Artefact, canaries: Canaries, base: Artefact
) -> Artefact:
    """Choose canaries and their planted labels, a third of each kind → ``canaries.parquet``, sorted by sample_id.

    With a base, its canaries that are still among the samples (and have not been given their planted label since); if
    there are none, new ones that no network is trained on.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tasks.dataset.sample_ids import uniforms
    from tasks.kernels.canaries import drawn_within, planted_labels, planting_networks
    from tasks.pipeline.schemas import canaries as schema

    target, classes, count = target_of(samples), samples.facts["classes"], folds.facts["folds"]
    every = pq.read_table(run.path(votes), columns=["sample_id"])["sample_id"].combine_chunks()
    ids = every.to_pylist()
    texts = given_texts(run, samples, every)
    labels = target.strata(texts)
    base_canaries = _of_base(run, base, ids, texts)
    if base_canaries is not None:
        return _commit(run, base_canaries)
    which, kind_draw = uniforms(ids, canaries.seed, b"canary")
    rows = np.flatnonzero(canaries.draw(which))
    names = [ids[row] for row in rows]
    kinds = np.floor(kind_draw[rows] * len(KINDS)).astype(np.int64)
    label_draw, _ = uniforms(names, canaries.seed, b"canary label")
    own, usual = _votes(run, votes, labels, rows, len(classes))
    new_strata = planted_labels(labels[rows], own, usual, kinds, label_draw)
    # A stratum is drawn, then one of the labels that its samples bear.
    within, _ = uniforms(names, canaries.seed, b"canary value")
    if target.kind == "class":
        text = pa.array(classes, pa.string()).take(pa.array(new_strata))
    else:
        text = texts.take(pa.array(drawn_within(new_strata, labels, within)))
    draws = np.stack([uniforms(names, canaries.seed, f"canary fold {f}".encode())[0] for f in range(count)], 1)
    fold = fold_of(run, folds, np.array(names, dtype=object)).astype(np.int64)
    networks = planting_networks(fold, draws)
    if base.facts["run"] is not None:
        networks[:] = False  # the base's networks are trained already
    columns = [
        pa.array(names, pa.string()),
        text,
        pa.array(KINDS).take(pa.array(kinds)),
        pa.FixedSizeListArray.from_arrays(pa.array(networks.ravel()), count),
    ]
    return _commit(run, pa.table(columns, schema=schema(count)))


def _votes(
    run: Run, votes: Artefact, labels: np.ndarray, rows: np.ndarray, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """(the votes on the samples ``rows``, the mean votes on the samples of the class of each); m × k each."""
    import numpy as np
    import pyarrow.parquet as pq

    from tasks.kernels.canaries import ClassVotes
    from tasks.pipeline.row_groups import wide_rows

    own, usual, first = np.empty((len(rows), classes), np.float32), ClassVotes(labels[rows], classes), 0
    with pq.ParquetFile(run.path(votes)) as file:
        for batch in file.iter_batches(wide_rows(classes), columns=["votes"]):
            ballots = batch["votes"].flatten().to_numpy().reshape(batch.num_rows, classes)
            usual.add(labels[first : first + batch.num_rows], ballots)
            some = slice(*np.searchsorted(rows, [first, first + batch.num_rows]))
            own[some] = ballots[rows[some] - first]
            first += batch.num_rows
    return own, usual.means()


def _of_base(run: Run, base: Artefact, ids: list[str], texts: pa.Array) -> pa.Table | None:
    """The base's canaries that are still among the samples ``ids``, under another label than the planted one."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    artefacts = stages_of(run, base, "canaries")
    if not artefacts:
        return None
    old = pq.read_table(run.path(artefacts[0]))
    now = texts.take(pc.index_in(old["sample_id"], value_set=pa.array(ids, pa.string())).combine_chunks())
    valid = old.filter(pc.not_equal(old["planted_label"], now))  # null, and so dropped, where the sample is gone
    return valid if valid.num_rows else None


def _commit(run: Run, canaries: pa.Table) -> Artefact:
    import pyarrow.parquet as pq

    with run.draft("canaries") as draft:
        pq.write_table(canaries, draft.path("canaries.parquet", canaries.num_rows), compression="zstd")
        return draft.commit(canaries=canaries.num_rows)
