"""measure: one repetition's scores against the truth → how well each detector ranks and each budget counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.decision.budgets import Budget, BudgetEstimate
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.step import step
from tasks.scoring.crossfit import CrossFit

if TYPE_CHECKING:
    import numpy as np

    from tasks.evaluation.truth import Truth

# Points of a curve that are kept.
_POINTS = 500
# How the parts of a stated figure are called.
_ENDS = {"": "value", "_low": "low", "_high": "high"}


@step("measure")
def measure(
    run: Run,
    crossfit: CrossFit,
    scores: Artefact,
    budgets: list[Budget],
) -> Artefact:
    """Each detector, and each budget on each detector's scores → ``measures.parquet`` and ``curves.parquet``.

    A budget is taken at its word: so many of the most suspect, without the guards by which ``flag`` spares some.
    A sample whose clean label is not known counts neither as found nor as missed. A figure that is not defined (the
    precision of nothing flagged, what a budget does not state) has no row.
    """
    from dataclasses import replace

    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tasks.decision.ranking import canary_suspicions, ranking_of
    from tasks.evaluation.truth import truth_of
    from tasks.pipeline.schemas import CURVES, MEASURES
    from tasks.scoring.evidence import Evidence

    evidence = Evidence(run, crossfit)
    truth = truth_of(run, crossfit.samples, evidence.ids)
    table = pq.read_table(run.path(scores))
    ranking = ranking_of(evidence, np.zeros(len(evidence)))
    rows, curves = [], []
    for detector in scores.facts["detectors"]:
        suspicion, canaries = table[detector].to_numpy(), canary_suspicions(run, scores, detector)
        figures: dict[str | None, dict[str, float]] = {None: _ranking_figures(suspicion, truth)}
        for budget in budgets:
            # Who is wrong with what chance is the same whoever ranks them.
            estimate = budget.find(replace(ranking, suspicion=suspicion, canaries=canaries))
            figures[budget.name] = _budget_figures(estimate, suspicion, truth, figures[None]["f1_at_true_count"])
        sees = ", ".join(scores.facts["sees"][detector])
        rows += [
            {"detector": detector, "sees": sees, "budget": budget, "measure": name, "value": value}
            for budget, values in figures.items()
            for name, value in values.items()
            if np.isfinite(value)
        ]
        recall, precision, count = _curve(suspicion, truth)
        curves.append(pa.table([pa.array([detector] * len(count)), recall, precision, count], schema=CURVES))
    with run.draft("measures") as draft:
        for file, part in (("measures", pa.Table.from_pylist(rows, MEASURES)), ("curves", pa.concat_tables(curves))):
            pq.write_table(part, draft.path(f"{file}.parquet", part.num_rows), compression="zstd")
        known, wrong = int(truth.known.sum()), int(truth.wrong.sum())
        return draft.commit(detectors=scores.facts["detectors"], samples=len(evidence), known=known, wrong=wrong)


def _ranking_figures(suspicion: np.ndarray, truth: Truth) -> dict[str, float]:
    """What can be said of a ranking alone. At the true count, precision, recall and F1 are the same."""
    from tasks.kernels.ranking import average_precision, precision_at, roc_auc

    suspicion, wrong = suspicion[truth.known], truth.wrong[truth.known]
    return {
        "average_precision": average_precision(suspicion, wrong),
        "roc_auc": roc_auc(suspicion, wrong),
        "precision_in_top_5_percent": precision_at(suspicion, wrong, max(1, round(0.05 * len(wrong)))),
        "f1_at_true_count": precision_at(suspicion, wrong, int(wrong.sum())),
    }


def _curve(suspicion: np.ndarray, truth: Truth) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from tasks.kernels.curves import precision_recall

    return precision_recall(suspicion[truth.known], truth.wrong[truth.known], _POINTS)


def _budget_figures(estimate: BudgetEstimate, suspicion: np.ndarray, truth: Truth, best: float) -> dict[str, float]:
    """What a budget flags, what it says of that, and whether the truth lies within the interval it gives."""
    from tasks.kernels.curves import expected_flags

    flagged, wrong = expected_flags(suspicion, estimate.count), int(truth.wrong.sum())
    hits, count = float(flagged[truth.wrong].sum()), float(flagged[truth.known].sum())
    true = {
        "precision": hits / count if count else float("nan"),
        "recall": hits / wrong,
        "wrong": wrong / int(truth.known.sum()),
    }
    f1 = 2 * hits / (count + wrong)
    figures = {"count": float(estimate.count), "f1": f1, "f1_share": f1 / best if best else float("nan")} | true
    for name, value in true.items():
        interval = getattr(estimate, name)
        if interval is not None:
            ends = {f"stated_{name}{end}": getattr(interval, of) for end, of in _ENDS.items()}
            # A range without a figure states its ends alone.
            figures |= {key: end for key, end in ends.items() if end is not None}
            figures[f"stated_{name}_holds"] = float(interval.low <= value <= interval.high) if value == value else value
    return figures
