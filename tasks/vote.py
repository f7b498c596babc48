"""vote: samples → what the labels of each training sample's nearest neighbours say about it."""

from __future__ import annotations

from tasks.artefacts import Artefact, Run
from tasks.devices import Device, claimed
from tasks.neighbourhood import Neighbourhood
from tasks.samples import load, payload_of
from tasks.step import step

# Samples whose neighbours are looked for at a time.
_ROWS = 1 << 14


@step("vote")
def vote(run: Run, samples: Artefact, neighbourhood: Neighbourhood, where: Device) -> Artefact:
    """Nearest neighbours of each training sample among the training samples, in the space of the inputs.

    Leaves ``votes.parquet``, sorted by sample_id: ``votes``, the share of each class among the neighbours' given labels
    (its own label is not asked), and ``neighbours``, the places of the nearest among the sorted ids.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    import torch

    from tasks.identity import uniforms
    from tasks.kernels.neighbours import nearest, votes
    from tasks.progress import Progress
    from tasks.schemas import votes as schema

    inputs = load(run, samples, "train")
    order = np.argsort(inputs.ids, kind="stable")
    n, classes = len(order), len(samples.facts["classes"])
    # Which samples are asked where there are too many: by id, so that a row more moves few others.
    asked = np.sort(np.argsort(uniforms(inputs.ids[order].tolist(), neighbourhood.seed)[0])[: neighbourhood.references])
    count = neighbourhood.count(len(asked))
    listed = min(neighbourhood.listed, count)
    themselves = np.full(n, -1, np.int64)
    themselves[asked] = np.arange(len(asked))
    ballots, near = np.empty((n, classes), np.float32), np.empty((n, listed), np.int32)
    with claimed(where) as device, Progress("vote", -(-n // _ROWS)) as progress:
        space = neighbourhood.space(inputs.x, order, image=payload_of(samples).is_image)
        references = space(inputs.x[torch.from_numpy(order[asked])]).to(device)
        labels = inputs.labels[torch.from_numpy(order[asked])].to(device)
        for first in range(0, n, _ROWS):
            rows = slice(first, min(first + _ROWS, n))
            queries = space(inputs.x[torch.from_numpy(order[rows])]).to(device)
            own = torch.from_numpy(themselves[rows]).to(device)
            for block, found, _ in nearest(queries, references, own, count):
                at = slice(first + block.start, first + min(block.stop, len(queries)))
                ballots[at] = votes(found, labels, classes).cpu().numpy()
                near[at] = asked[found[:, :listed].cpu().numpy()]
            progress.step()
    with run.draft("votes") as draft:
        columns = [
            pa.array(inputs.ids[order], pa.string()),
            pa.FixedSizeListArray.from_arrays(pa.array(ballots.ravel()), classes),
            pa.FixedSizeListArray.from_arrays(pa.array(near.ravel()), listed),
        ]
        table = pa.table(columns, schema=schema(classes, listed))
        pq.write_table(table, draft.path("votes.parquet", n), compression="zstd")
        return draft.commit(neighbours=count, among=len(asked))
