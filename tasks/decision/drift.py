"""drift: folds + scores + flags → drift.parquet: are the samples that are new since the base like those before them?"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.step import step
from tasks.training.drift_policy import DriftPolicy


@step("drift")
def drift(run: Run, folds: Artefact, scores: Artefact, flags: Artefact, options: DriftPolicy) -> Artefact:
    """Compare the suspicions of new samples with those of the settled ones; one row, and the same in the facts.

    Of a run without a base nobody is new, and there is nothing to compare.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from tasks.pipeline.schemas import DRIFT

    detector = flags.facts["detector"]
    table = pq.read_table(run.path(scores), columns=["sample_id", detector])
    said = pq.read_table(run.path(folds), columns=["sample_id", "new"])
    chosen = pq.read_table(run.paths(flags, "flags.parquet")[0], columns=["sample_id", "flag"])
    chosen = chosen.filter(chosen["flag"])["sample_id"].combine_chunks()
    index = pc.index_in(table["sample_id"].combine_chunks(), value_set=said["sample_id"].combine_chunks())
    new = said["new"].combine_chunks().take(index).to_numpy(zero_copy_only=False)
    flagged = pc.is_in(table["sample_id"].combine_chunks(), value_set=chosen).to_numpy(zero_copy_only=False)
    found = options.judged(table[detector].to_numpy(), flagged, new)
    shares = found["share_flagged"]
    row = {name: found[name] for name in ("new", "settled", "distance", "p_value", "alarm")}
    row |= {"detector": detector, "share_new": shares["new"], "share_settled": shares["settled"]}
    row |= {"networks_of": folds.facts["networks_of"]}
    with run.draft("drift") as draft:
        pq.write_table(pa.Table.from_pylist([row], schema=DRIFT), draft.path("drift.parquet", 1), compression="zstd")
        return draft.commit(**found, detector=detector)
