"""score: gradients → scores.parquet, one column of suspicion for each detector."""

from __future__ import annotations

from tasks.artefacts import Artefact, Run
from tasks.detectors import Detector
from tasks.errors import BadArtefact, BadConfig
from tasks.step import step


@step("score")
def score(run: Run, gradients: list[Artefact], detectors: list[Detector]) -> Artefact:
    """Let every detector look at the same gradients.

    Raises:
        BadConfig: two detectors would write the same column.
        BadArtefact: a detector gave a score that is no number.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tasks.progress import Progress
    from tasks.schemas import scores
    from tasks.shards import GradientShards

    names = [detector.name for detector in detectors]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadConfig(
            where="option detectors", expected="each detector once", got=f"{twice[0]} twice", do="Drop one."
        )
    shards = GradientShards(run, gradients)
    columns: list[pa.Array] = [shards.ids()]
    with Progress("score", len(detectors)) as progress:
        for detector in detectors:
            suspicion = detector.score(shards)
            if suspicion.shape != (len(shards),) or not np.isfinite(suspicion).all():
                raise BadArtefact(
                    where=f"detector {detector.name}",
                    expected=f"{len(shards):,} finite scores",
                    got=f"{np.isfinite(suspicion).sum():,} finite of shape {suspicion.shape}",
                    do="Check the detector's parameters; the gradients themselves are finite.",
                )
            columns.append(pa.array(suspicion, pa.float64()))
            progress.step(detector.name)
    with run.draft("scores") as draft:
        table = pa.table(columns, schema=scores(names))
        pq.write_table(table, draft.path("scores.parquet", table.num_rows), compression="zstd")
        return draft.commit(detectors=names)
