"""drift: folds + scores + flags → drift.parquet: are the samples that are new since the base like those before them?"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.step import step
from tasks.training.drift_policy import DriftPolicy


@step("drift")
def drift(run: Run, folds: Artefact, scores: Artefact, flags: Artefact, options: DriftPolicy) -> Artefact:
    """Compare the suspicions of new samples with those of the samples in the base; one row, and the same in the facts.

    Without a base no sample is new, and there is nothing to compare.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from tasks.pipeline.schemas import DRIFT

    detector = flags.facts["detector"]
    table = pq.read_table(run.path(scores), columns=["sample_id", detector])
    base = pq.read_table(run.path(folds), columns=["sample_id", "new"])
    flagged_ids = pq.read_table(run.paths(flags, "flags.parquet")[0], columns=["sample_id", "flag"])
    flagged_ids = flagged_ids.filter(flagged_ids["flag"])["sample_id"].combine_chunks()
    index = pc.index_in(table["sample_id"].combine_chunks(), value_set=base["sample_id"].combine_chunks())
    new = base["new"].combine_chunks().take(index).to_numpy(zero_copy_only=False)
    flagged = pc.is_in(table["sample_id"].combine_chunks(), value_set=flagged_ids).to_numpy(zero_copy_only=False)
    result = options.compare(table[detector].to_numpy(), flagged, new)
    shares = result["share_flagged"]
    row = {name: result[name] for name in ("new", "settled", "distance", "p_value", "alarm")}
    row |= {"detector": detector, "share_new": shares["new"], "share_settled": shares["settled"]}
    row |= {"networks_of": folds.facts["networks_of"]}
    with run.draft("drift") as draft:
        pq.write_table(pa.Table.from_pylist([row], schema=DRIFT), draft.path("drift.parquet", 1), compression="zstd")
        return draft.commit(**result, detector=detector)
