"""verify: what the retrained arms say, and, where the truth is known, how well the detectors found it."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tasks.artefacts import Artefact, Run
from tasks.queries import query
from tasks.step import step

if TYPE_CHECKING:
    import pyarrow as pa


@step("verify")
def verify(run: Run, samples: Artefact, scores: Artefact, flags: Artefact, arms: list[Artefact]) -> Artefact:
    """Test accuracy by arm and seed → ``metrics.parquet``; paired differences with a 95 % interval in the facts.

    Facts: ``accuracy`` (mean by arm), ``gains`` (cleaned minus each control: mean, low, high; a paired t interval, None
    where the seeds do not differ or there is one), ``detection`` (by detector; empty without known clean labels).
    """
    import pyarrow.parquet as pq

    from tasks.schemas import METRICS

    metrics = _metrics(run, arms).cast(METRICS)
    accuracy: dict[str, dict[int, float]] = {}
    for row in metrics.to_pylist():
        accuracy.setdefault(row["arm"], {})[row["seed"]] = row["accuracy"]
    with run.draft("metrics") as draft:
        pq.write_table(metrics, draft.path("metrics.parquet", metrics.num_rows), compression="zstd")
        return draft.commit(
            accuracy={arm: sum(values.values()) / len(values) for arm, values in accuracy.items()},
            gains={arm: _gain(accuracy["cleaned"], accuracy[arm]) for arm in ("untouched", "random")},
            seeds=len(accuracy["cleaned"]),
            tested_on=metrics["tested_on"][0].as_py(),
            detection=_detection(run, samples, scores, flags),
        )


def _metrics(run: Run, arms: list[Artefact]) -> pa.Table:
    import duckdb
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = []
    for artefact in arms:
        table = pq.read_table(run.path(artefact), columns=["label", "predicted"])
        facts = {name: pa.array([artefact.facts[name]] * table.num_rows) for name in ("arm", "seed", "trained_on")}
        for name, column in facts.items():
            table = table.append_column(name, column)
        tables.append(table)
    with duckdb.connect() as db:
        db.register("predictions", pa.concat_tables(tables))
        return db.sql(query("metrics")).to_arrow_table()


def _gain(cleaned: dict[int, float], control: dict[int, float]) -> dict[str, float | None]:
    """Mean of the paired differences and its 95 % t interval."""
    import numpy as np
    from scipy import stats

    differences = np.array([cleaned[seed] - control[seed] for seed in sorted(cleaned)])
    gain: dict[str, float | None] = {"mean": float(differences.mean()), "low": None, "high": None}
    # Accuracies are quotients: differences of equal counts may differ in their last bit.
    if len(differences) > 1 and np.ptp(differences) > 1e-12:
        interval = stats.ttest_1samp(differences, 0.0).confidence_interval(0.95)
        gain |= {"low": float(interval.low), "high": float(interval.high)}
    return gain


def _detection(run: Run, samples: Artefact, scores: Artefact, flags: Artefact) -> dict[str, dict[str, Any]]:
    """Against known clean labels: average precision, ROC AUC, and the share found in a top as large as the noise."""
    import numpy as np
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from tasks.kernels.ranking import average_precision, precision_at, roc_auc
    from tasks.samples import table_of

    known = table_of(run, samples, ["sample_id", "split", "label", "clean_label"])
    known = known.filter(pc.and_(pc.equal(known["split"], "train"), pc.is_valid(known["clean_label"])))
    if not known.num_rows:
        return {}
    wrong_ids = known.filter(pc.not_equal(known["label"], known["clean_label"]))["sample_id"]
    table = pq.read_table(run.path(scores))
    table = table.filter(pc.is_in(table["sample_id"], value_set=known["sample_id"].combine_chunks()))
    wrong = pc.is_in(table["sample_id"], value_set=wrong_ids.combine_chunks()).to_numpy()
    if not wrong.any() or wrong.all():
        return {}
    found = {}
    for name in scores.facts["detectors"]:
        suspicion = table[name].to_numpy()
        found[name] = {
            "average_precision": average_precision(suspicion, wrong),
            "roc_auc": roc_auc(suspicion, wrong),
            "recall_at_noise_rate": precision_at(suspicion, wrong, int(wrong.sum())),
        }
    decided = pq.read_table(run.path(flags), columns=["sample_id", "flag"]).filter(pc.field("flag"))["sample_id"]
    # Of a flag on a sample whose truth is unknown nothing can be said.
    decided = decided.filter(pc.is_in(decided, value_set=known["sample_id"].combine_chunks()))
    hits = int(np.sum(pc.is_in(decided, value_set=wrong_ids.combine_chunks()).to_numpy())) if len(decided) else 0
    found["flags"] = {"wrong": int(wrong.sum()), "flagged": len(decided), "found": hits}
    return found
