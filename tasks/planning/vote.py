"""vote: samples → what the labels of each training sample's nearest neighbours say about it."""

from __future__ import annotations

from tasks.core.devices import Device, claim
from tasks.dataset.payload import payload_of
from tasks.dataset.samples import in_base_of, load_cached
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.step import step
from tasks.planning.neighbours import MOST_NAMED, Electorate, Neighbours


@step("vote")
def vote(run: Run, samples: Artefact, neighbours: Neighbours, where: Device, folds: Artefact | None = None) -> Artefact:
    """Nearest neighbours of each training sample among the training samples, in the space of the inputs.

    Leaves ``votes.parquet``, sorted by sample_id: ``votes``, the share of each class among the neighbours' given labels
    (its own label has no vote), and ``neighbours``, the ranks of the nearest among the sorted ids. Samples that
    ``folds`` calls new are voted on, but have no vote. Of more than 30,000 samples some of the nearest are missed; the
    fact ``recall`` is the share that is found, by a sample of the samples.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tasks.core.progress import Progress
    from tasks.pipeline.schemas import votes as schema

    inputs = load_cached(run, samples, "train")
    order = np.argsort(inputs.ids, kind="stable")
    n, classes = len(order), len(samples.facts["classes"])
    with claim(where) as device, Progress("vote", n) as progress:
        in_base = None if folds is None else in_base_of(run, folds, inputs.ids)
        electorate = Electorate.of(neighbours, inputs, classes, device, payload_of(samples), in_base)
        ranks, count = electorate.ranks, electorate.count
        width = min(MOST_NAMED, count)
        themselves = np.full(n, -1, np.int64)
        themselves[ranks] = np.arange(len(ranks))
        electorate = electorate.asked_by(inputs.x, order, themselves)
        ballots, near = np.empty((n, classes), np.float32), np.empty((n, width), np.int32)
        for at, shares, indices in electorate.votes(inputs.x, order, themselves, width):
            ballots[at], near[at] = shares, indices
            progress.step(steps=len(shares))
    with run.draft("votes") as draft:
        columns = [
            pa.array(inputs.ids[order], pa.string()),
            pa.FixedSizeListArray.from_arrays(pa.array(ballots.ravel()), classes),
            pa.FixedSizeListArray.from_arrays(pa.array(near.ravel()), width),
        ]
        table = pa.table(columns, schema=schema(classes, width))
        pq.write_table(table, draft.path("votes.parquet", n), compression="zstd")
        recall = {} if electorate.recall is None else {"recall": electorate.recall}
        return draft.commit(neighbours=count, among=len(ranks), **recall)
