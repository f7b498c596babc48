"""verify: what the retrained arms say, and, where the truth is known, how well the detectors found it."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from typing import Any

from tasks.ingestion.copies import LEAKS
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.step import step
from tasks.proof.arms import TREATMENTS, Verification


@step("verify")
def verify(
    run: Run,
    samples: Artefact,
    scores: Artefact,
    flags: Artefact,
    examination: Artefact,
    arms: list[Artefact],
    verification: Verification,
    copies: Artefact | None = None,
) -> Artefact:
    """Accuracy of every arm and seed → ``metrics.parquet``; paired differences and a verdict in the facts.

    Facts: ``figure`` (what accuracy is called of such labels), ``accuracy`` and ``calibration`` (means by arm),
    ``gains`` (by treated arm that was trained, and control: mean, low, high, the two intervals and a word),
    ``changes`` (classes and groups that change most), ``verdict``, ``suspects`` (held-out labels that are suspect
    themselves), ``trusted`` (figures without these; None where there are none, or nothing else), ``seen`` (test samples
    with a copy in training, by kind), ``unseen`` (figures without these; None as above), ``few`` (test labels that the
    figure hangs on, by why), ``usual`` (figures without these; None as above), ``detection`` (by detector; empty
    without known clean labels).

    ``copies`` is what find_copies left, ``leaks.parquet`` of it; None where nobody looked.
    """
    import pyarrow.parquet as pq

    from tasks.proof.arm_results import ArmResults
    from tasks.proof.verdict import most_changed, verdict_of

    leaks = pq.read_table(run.paths(copies, "leaks.parquet")[0]) if copies else LEAKS.empty_table()
    trials = ArmResults(run, samples, examination, arms, verification.arms, leaks)
    metrics, arm = trials.metrics(), verification.treatment
    gains = {each: trials.gains(each) for each in TREATMENTS if each in verification.arms}
    changes = trials.changes(metrics, arm)
    untested = len(samples.facts.get("untested_classes", ()))
    usual = trials.figures_without(trials.few.either, "usual", metrics, arm)
    verdict = verdict_of(
        gains[arm],
        changes,
        trials.seeds,
        flags.facts["flagged"],
        verification,
        _objection_of(flags),
        untested,
        trials.gains(arm, ~trials.few.either) if usual else None,
    )
    with run.draft("metrics") as draft:
        pq.write_table(metrics, draft.path("metrics.parquet", metrics.num_rows), compression="zstd")
        return draft.commit(
            accuracy=trials.means(metrics, "accuracy"),
            calibration=trials.means(metrics, "calibration_error"),
            gains={
                each: {name: gain.model_dump(mode="json") for name, gain in of.items()} for each, of in gains.items()
            },
            changes=[change.model_dump(mode="json") for change in most_changed(changes)],
            verdict=verdict.model_dump(mode="json"),
            figure=trials.target.figure,
            seeds=trials.seeds,
            tested_on=len(trials.ids),
            suspects=int(trials.suspect.sum()),
            trusted=trials.figures_without(trials.suspect, "trusted", metrics, arm),
            seen=trials.seen,
            unseen=trials.figures_without(trials.is_seen, "unseen", metrics, arm),
            few={"weigh": int(trials.few.weigh.sum()), "far": int(trials.few.far.sum())},
            usual=usual,
            detection=_detection(run, samples, scores, flags),
        )


def _objection_of(flags: Artefact) -> str | None:
    """What stands against a promotion, whatever the figures: a required review that nobody answered."""
    review = flags.facts.get("review")
    if review is None or review["decision"] != "nobody":
        return None
    return f"nobody reviewed what is flagged within {review['hours']:g} hours"


def _detection(run: Run, samples: Artefact, scores: Artefact, flags: Artefact) -> dict[str, dict[str, Any]]:
    """Against known clean labels: average precision, ROC AUC, and the share found in a top as large as the noise."""
    import numpy as np
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from tasks.dataset.samples import table_of
    from tasks.kernels.ranking import average_precision, precision_at, roc_auc

    labels = table_of(run, samples, ["sample_id", "split", "label", "clean_label"])
    labels = labels.filter(pc.and_(pc.equal(labels["split"], "train"), pc.is_valid(labels["clean_label"])))
    if not labels.num_rows:
        return {}
    wrong_ids = labels.filter(pc.not_equal(labels["label"], labels["clean_label"]))["sample_id"]
    table = pq.read_table(run.path(scores))
    table = table.filter(pc.is_in(table["sample_id"], value_set=labels["sample_id"].combine_chunks()))
    wrong = pc.is_in(table["sample_id"], value_set=wrong_ids.combine_chunks()).to_numpy()
    if not wrong.any() or wrong.all():
        return {}
    figures = {}
    for name in scores.facts["detectors"]:
        suspicion = table[name].to_numpy()
        figures[name] = {
            "average_precision": average_precision(suspicion, wrong),
            "roc_auc": roc_auc(suspicion, wrong),
            "recall_at_noise_rate": precision_at(suspicion, wrong, int(wrong.sum())),
        }
    flagged = pq.read_table(run.path(flags), columns=["sample_id", "flag"]).filter(pc.field("flag"))["sample_id"]
    # Of a flag on a sample whose truth is unknown nothing can be said.
    flagged = flagged.filter(pc.is_in(flagged, value_set=labels["sample_id"].combine_chunks()))
    hits = int(np.sum(pc.is_in(flagged, value_set=wrong_ids.combine_chunks()).to_numpy())) if len(flagged) else 0
    figures["flags"] = {"wrong": int(wrong.sum()), "flagged": len(flagged), "found": hits}
    return figures
