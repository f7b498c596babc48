"""score: evidence → scores.parquet, one column of suspicion for each detector, and those of the canaries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.core.errors import BadArtefact, BadConfig
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.step import step
from tasks.scoring.crossfit import CrossFit
from tasks.scoring.detectors import Detector

if TYPE_CHECKING:
    import numpy as np


@step("score")
def score(
    run: Run,
    crossfit: CrossFit,
    detectors: list[Detector],
) -> Artefact:
    """Let every detector look at the same evidence.

    ``scores_of_canaries.parquet`` holds what those that learn from canaries say of them under their planted labels.
    How long each took is shown while it works and stands in no table: what several of them need (gradients, votes, the
    signals of a fusion) is read and computed once, by whoever asks first.

    Raises:
        BadConfig: two detectors would write the same column.
        BadArtefact: a detector gave a score that is no number.
    """
    import time

    import pyarrow as pa
    import pyarrow.parquet as pq

    from tasks.core.progress import Progress
    from tasks.pipeline.schemas import scores
    from tasks.scoring.canary_evidence import canaries_of
    from tasks.scoring.evidence import Evidence

    names = [detector.name for detector in detectors]
    _refuse_twice(names)
    evidence = Evidence(run, crossfit)
    columns: list[pa.Array] = [evidence.ids]
    canaries: dict[str, np.ndarray] = {}
    facts = {}
    with Progress("score", len(detectors)) as progress:
        for detector in detectors:
            began = time.monotonic()
            suspicion = evidence.score(detector)
            _refuse_gaps(detector.name, suspicion, len(evidence))
            columns.append(pa.array(suspicion, pa.float64()))
            # What learns from canaries has scored them under their planted labels anyway.
            if "canaries" in detector.sees:
                planted = canaries_of(evidence)
                canaries[detector.name] = planted.score(detector)[planted.canary_ranks]
            facts[detector.name] = detector.facts(evidence)
            progress.step(f"{detector.name} {time.monotonic() - began:.1f} s")
    with run.draft("scores") as draft:
        table = pa.table(columns, schema=scores(names))
        pq.write_table(table, draft.path("scores.parquet", table.num_rows), compression="zstd")
        if canaries:
            table = pa.table({"sample_id": pa.array(evidence.canaries.ids, pa.string()), **canaries})
            pq.write_table(table, draft.path("scores_of_canaries.parquet", table.num_rows), compression="zstd")
        return draft.commit(
            detectors=names,
            sees={detector.name: list(detector.sees) for detector in detectors},
            about={name: values for name, values in facts.items() if values},
        )


def _refuse_twice(names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadConfig(
            where="option detectors", expected="each detector once", got=f"{twice[0]} twice", do="Drop one."
        )


def _refuse_gaps(name: str, suspicion: np.ndarray, n: int) -> None:
    import numpy as np

    if suspicion.shape != (n,) or not np.isfinite(suspicion).all():
        raise BadArtefact(
            where=f"detector {name}",
            expected=f"{n:,} finite scores",
            got=f"{np.isfinite(suspicion).sum():,} finite of shape {suspicion.shape}",
            do="Check its parameters. Training dynamics are not known of samples that are new since the base "
            "(run without one), nor where gradients are of epoch 0 alone (training.checkpoint-epochs).",
        )
