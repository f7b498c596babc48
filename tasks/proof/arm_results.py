"""The retrained arms of a verification side by side: the same test samples under the same seeds."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.core.sql import query
from tasks.dataset.samples import sample_paths
from tasks.dataset.targets import target_of
from tasks.kernels.calibration import calibration_error
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.schemas import METRICS
from tasks.proof.arms import ARMS, Arm
from tasks.proof.verdict import CONTROLS, Change, Gain, gain_of

_CALIBRATION = pa.schema(
    [(name, pa.string()) for name in ("arm", "by")] + [("seed", pa.int64()), ("calibration_error", pa.float64())]
)


class ArmResults:
    """Predictions of every arm under every seed, in the order of the test samples' ids.

    What is called accuracy is the mean of the target's ``credit``: of classes, how often the label was predicted.

    Args:
        run: whose lake.
        samples: as ingested; groups are theirs.
        examination: which of the test labels are suspect themselves.
        predictions: what retrain left, one artefact an arm and a seed; only untouched if nothing is flagged.
        arms: that are put to the test.
        leaks: schema ``LEAKS``; of what was left out of training nothing is said there any more.
    """

    def __init__(
        self,
        run: Run,
        samples: Artefact,
        examination: Artefact,
        predictions: list[Artefact],
        arms: tuple[Arm, ...],
        leaks: pa.Table,
    ) -> None:
        self._tables = {
            (artefact.facts["arm"], artefact.facts["seed"]): pq.read_table(run.path(artefact)).sort_by("sample_id")
            for artefact in predictions
        }
        self._trained_on = {(p.facts["arm"], p.facts["seed"]): p.facts["trained_on"] for p in predictions}
        numbers = sorted({seed for _, seed in self._tables})
        if {arm for arm, _ in self._tables} == {"untouched"}:
            # Nothing was flagged, so that every arm would have trained the very same network.
            for of in (self._tables, self._trained_on):
                of |= {(arm, seed): of["untouched", seed] for seed in numbers for arm in arms}
        self.seeds = len(numbers)
        self.ids = next(iter(self._tables.values()))["sample_id"].combine_chunks()
        self.target = target_of(samples)
        self._seeds = numbers
        suspects = pq.read_table(run.path(examination), columns=["sample_id", "suspect"])
        suspects = suspects.filter(suspects["suspect"])["sample_id"].combine_chunks()
        self.suspect = pc.is_in(self.ids, value_set=suspects).to_numpy(zero_copy_only=False)
        self.is_seen = pc.is_in(self.ids, value_set=leaks["sample_id"].combine_chunks()).to_numpy(zero_copy_only=False)
        kinds = leaks.filter(pc.is_in(leaks["sample_id"], value_set=self.ids))["kind"].to_pylist()
        self.seen = {kind: kinds.count(kind) for kind in sorted(set(kinds))}
        self._groups = _thin(run, samples, "test", "group")
        trained = _thin(run, samples, "train", "label")["label"]
        self.few = self.target.few(self._tables["untouched", numbers[0]]["label"], trained)

    @property
    def levels(self) -> dict[str, np.ndarray]:
        """The parts of the test samples that figures are told of, n bool each, as the metrics call them."""
        every = np.ones(len(self.ids), bool)
        return {"all": every, "trusted": ~self.suspect, "unseen": ~self.is_seen, "usual": ~self.few.either}

    def _credit_of(self, arm: str, seed: int, rows: np.ndarray) -> np.ndarray:
        """Of some test samples: R² of these is by the spread of their own labels, whatever the others are."""
        table = self._tables[arm, seed].filter(pa.array(rows))
        return self.target.credit(table["label"], table["predicted"], table["p_predicted"].to_numpy())

    def metrics(self) -> pa.Table:
        """Schema ``METRICS``, by the query of that name."""
        outcomes, calibration = [], []
        for (arm, seed), table in self._tables.items():
            facts = {"arm": arm, "seed": seed, "trained_on": self._trained_on[arm, seed]}
            for name, value in facts.items():
                table = table.append_column(name, pa.array([value] * len(table)))
            confidence = table["p_predicted"].to_numpy()
            table = table.append_column("class", self.target.names_of(table["label"]))
            for by, rows in self.levels.items():
                credit = np.full(len(rows), np.nan)
                if rows.any():
                    credit[rows] = self._credit_of(arm, seed, rows)
                table = table.append_column(f"{by}_credit", pa.array(credit))
            outcomes.append(table)
            if self.target.kind != "class":
                continue  # how sure one is of a number, or of each label of a set, is no probability of being right
            for by, rows in self.levels.items():
                error = calibration_error(confidence[rows], self._credit_of(arm, seed, rows))
                calibration.append({"arm": arm, "seed": seed, "by": by, "calibration_error": error})
        marks = [self.ids, *map(pa.array, (self.suspect, self.is_seen, self.few.either))]
        members = self._groups.join(pa.table(marks, ["sample_id", "suspect", "is_seen", "is_few"]), "sample_id")
        with duckdb.connect() as db:
            db.register("predictions", pa.concat_tables(outcomes))
            db.register("members", members)
            db.register("calibration", pa.Table.from_pylist(calibration, _CALIBRATION))
            return db.sql(query("proof/metrics")).to_arrow_table().cast(METRICS)

    def means(self, metrics: pa.Table, figure: str, by: str = "all") -> dict[str, float]:
        """The mean of a figure over the seeds, by arm; nothing of a figure that is not known."""
        rows = [row for row in metrics.to_pylist() if row["by"] == by and row[figure] is not None]
        values: dict[str, list[float]] = {}
        for row in rows:
            values.setdefault(row["arm"], []).append(row[figure])
        return {arm: sum(values[arm]) / len(values[arm]) for arm in ARMS if arm in values}

    def gains(self, arm: Arm, rows: np.ndarray | None = None) -> dict[Arm, Gain]:
        """The gain of a treated arm over each control, on all test samples or on some."""
        some = np.ones(len(self.ids), bool) if rows is None else rows
        credits = {of: np.stack([self._credit_of(of, seed, some) for seed in self._seeds]) for of in (arm, *CONTROLS)}
        return {control: gain_of(credits[arm], credits[control]) for control in CONTROLS}

    def changes(self, metrics: pa.Table, arm: Arm) -> list[Change]:
        """How an arm's mean accuracy on each class and group differs from the untouched arm's."""
        means: dict[tuple[str, str], dict[str, list[float]]] = {}
        sizes: dict[tuple[str, str], int] = {}
        for row in metrics.to_pylist():
            if row["by"] in ("class", "group") and row["arm"] in (arm, "untouched"):
                part = (row["by"], row["name"])
                means.setdefault(part, {}).setdefault(row["arm"], []).append(row["accuracy"])
                sizes[part] = row["tested_on"]
        return [
            Change.model_validate(
                {"by": by, "name": name, "tested_on": sizes[by, name]}
                | {"called": self.target.strata_called if by == "class" else None}
                | {"change": sum(of[arm]) / self.seeds - sum(of["untouched"]) / self.seeds}
            )
            for (by, name), of in means.items()
        ]

    def figures_without(self, rows: np.ndarray, by: str, metrics: pa.Table, arm: Arm) -> dict[str, Any] | None:
        """Figures without some test samples, which the metrics have as ``by``; None where these are none, or all."""
        if not rows.any() or rows.all():
            return None
        gains = self.gains(arm, ~rows)
        return {
            "tested_on": int((~rows).sum()),
            "accuracy": self.means(metrics, "accuracy", by),
            "gains": {control: gain.model_dump(mode="json") for control, gain in gains.items()},
        }


def _thin(run: Run, samples: Artefact, split: str, column: str) -> pa.Table:
    """A column of one split, and whose it is."""
    tables = [pq.read_table(path, columns=["sample_id", column]) for path in sample_paths(run, samples, split)]
    return pa.concat_tables(tables)
