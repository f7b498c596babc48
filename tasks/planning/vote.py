"""vote: samples → what the labels of each training sample's nearest neighbours say about it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tasks.core.devices import Device, claim
from tasks.dataset.payload import payload_of
from tasks.dataset.samples import in_base_of, load_cached
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.step import step
from tasks.planning.neighbours import MOST_NAMED, Electorate, Neighbours

if TYPE_CHECKING:
    import pyarrow as pa


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

    from tasks.core.progress import Progress
    from tasks.pipeline.row_groups import wide_rows, write_groups
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
        names = inputs.ids[order]

        def batches() -> Iterator[pa.RecordBatch]:
            """The votes as they are counted: of many classes all of them would be the largest matrix of a run."""
            for at, shares, indices in electorate.votes(inputs.x, order, themselves, width):
                columns = [
                    pa.array(names[at], pa.string()),
                    pa.FixedSizeListArray.from_arrays(pa.array(shares.ravel()), classes),
                    pa.FixedSizeListArray.from_arrays(pa.array(indices.astype(np.int32).ravel()), width),
                ]
                yield pa.record_batch(columns, schema=schema(classes, width))
                progress.step(steps=len(shares))

        with run.draft("votes") as draft:
            path = draft.path("votes.parquet", n)
            write_groups(path, batches(), schema(classes, width), wide_rows(classes))
            recall = {} if electorate.recall is None else {"recall": electorate.recall}
            return draft.commit(neighbours=count, among=len(ranks), **recall)
