"""trace: evidence → traced.parquet: which training samples shaped the answer to each query."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tasks.dataset.samples import observed_shards
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.step import step
from tasks.scoring.crossfit import CrossFit
from tasks.scoring.influence_traces import Tracing

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


@step("trace")
def trace(run: Run, samples: Artefact, crossfit: CrossFit, options: Tracing) -> Artefact:
    """Name the ``top`` samples of each query → ``traced.parquet``, by query and rank.

    Facts: ``queries`` and their ``split``, and ``alike``: where samples have groups, how well traces tell those of the
    query's own group from the others (mean ROC AUC, and the share of its own among as many on top). Groups are looked
    at for that alone.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tasks.pipeline.schemas import TRACES
    from tasks.scoring.evidence import Evidence

    evidence = Evidence(run, crossfit)
    queries, traces = options.traces(evidence)
    count = min(options.top, len(evidence))
    top = np.argsort(-traces, axis=1, kind="stable")[:, :count]
    columns = [
        queries.take(pa.array(np.repeat(np.arange(len(queries)), count))),
        evidence.ids.take(pa.array(top.ravel())),
        pa.array(np.tile(np.arange(1, count + 1), len(queries))),
        pa.array(np.take_along_axis(traces, top, axis=1).ravel()),
    ]
    table = pa.table(columns, schema=TRACES)
    alike = _alike(run, samples, queries, evidence.ids, traces)
    with run.draft("traced") as draft:
        pq.write_table(table, draft.path("traced.parquet", table.num_rows), compression="zstd")
        split = next(split for split in ("validation", "test") if observed_shards(samples, (split,)))
        return draft.commit(queries=len(queries), split=split, alike=alike)


def _alike(run: Run, samples: Artefact, queries: pa.Array, ids: pa.Array, traces: np.ndarray) -> dict[str, Any] | None:
    import numpy as np
    import pyarrow.compute as pc

    from tasks.dataset.samples import table_of
    from tasks.kernels.tracing import shares_alike

    table = table_of(run, samples, ["sample_id", "group"])
    if table["group"].null_count:
        return None
    groups = pc.dictionary_encode(table["group"].combine_chunks()).indices.to_numpy()
    of = [
        groups[pc.index_in(each, value_set=table["sample_id"].combine_chunks()).to_numpy()] for each in (queries, ids)
    ]
    auc, recall = shares_alike(traces, of[0][:, None] == of[1])
    if np.isnan(auc).all():
        return None
    return {"roc_auc": float(np.nanmean(auc)), "recall": float(np.nanmean(recall))}
