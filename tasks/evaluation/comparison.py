"""A comparison in figures and words: the same for the terminal and the Prefect artifacts."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.core.intervals import t_interval
from tasks.core.markdown import as_table, escape
from tasks.pipeline.artefacts import Artefact
from tasks.pipeline.schemas import COMPARISON
from tasks.pipeline.stored_names import in_lake


def summarise(rows: list[dict[str, Any]], dataset: str) -> pa.Table:
    """Means and 95 % t intervals of the measures of all repetitions.

    Args:
        rows: schema ``MEASURES``, of all repetitions; their order is kept.
        dataset: whose.

    Returns:
        Schema ``COMPARISON``; no interval where there is one value, or where all are the same.
    """
    values: dict[tuple[Any, ...], list[float]] = {}
    for row in rows:
        values.setdefault((row["detector"], row["sees"], row["budget"], row["measure"]), []).append(row["value"])
    summary = []
    for (detector, sees, budget, measure), several in values.items():
        sample = np.array(several)
        low = high = None
        # The same figure by another order of summation may differ in its last bits.
        if len(sample) > 1 and np.ptp(sample) > 1e-12:
            low, high = t_interval(sample) or (None, None)
        about = {"dataset": dataset, "detector": detector, "sees": sees, "budget": budget, "measure": measure}
        summary.append(about | {"mean": sample.mean(), "low": low, "high": high, "repetitions": len(sample)})
    return pa.Table.from_pylist(summary, COMPARISON)


def rank_detectors(rows: Iterable[dict[str, Any]]) -> list[tuple[str, float]]:
    """(detector, average precision), the best first."""
    pairs = [(row["detector"], row["mean"]) for row in rows if row["measure"] == "average_precision"]
    return sorted(pairs, key=lambda pair: -pair[1])


@dataclass(frozen=True)
class Comparison:
    """A finished comparison: its folder, what tabulate says of it, and the rows of ``comparison.parquet``."""

    folder: Path
    facts: dict[str, Any]
    rows: list[dict[str, Any]]

    @classmethod
    def read(cls, lake: Path, artefact: Artefact) -> Comparison:
        """The comparison that ``tabulate`` wrote."""
        folder = in_lake(lake, artefact.folder)
        return cls(folder, artefact.facts, pq.read_table(folder / "comparison.parquet").to_pylist())

    @cached_property
    def _cells(self) -> dict[tuple[str, str | None, str], dict[str, Any]]:
        return {(row["detector"], row["budget"], row["measure"]): row for row in self.rows}

    def _figure(self, detector: str, budget: str | None, measure: str, *, interval: bool = False) -> str:
        """A mean, and its interval if it has one; a dash for what is not defined."""
        cell = self._cells.get((detector, budget, measure))
        if cell is None:
            return "–"
        return _format(cell["mean"], *((cell["low"], cell["high"]) if interval else ()))

    def detectors(self) -> list[dict[str, str]]:
        """One row a detector, by average precision."""
        return [
            {
                "detector": name,
                "average precision": self._figure(name, None, "average_precision", interval=True),
                "ROC AUC": self._figure(name, None, "roc_auc"),
                "precision in top 5 %": self._figure(name, None, "precision_in_top_5_percent"),
                "F1 at true count": self._figure(name, None, "f1_at_true_count"),
                "sees": self._cells[name, None, "average_precision"]["sees"],
            }
            for name, _ in rank_detectors(self.rows)
        ]

    def budgets(self, of: str | None = None) -> list[dict[str, str]]:
        """One row for each detector (or of one) and budget, by F1."""
        f1_rows = [row for row in self.rows if row["measure"] == "f1" and of in (None, row["detector"])]
        pairs = [(row["detector"], row["budget"]) for row in sorted(f1_rows, key=lambda row: -row["mean"])]
        return [
            {
                "detector": detector,
                "budget": budget,
                "flags": f"{self._cells[detector, budget, 'count']['mean']:,.0f}",
                "precision": self._figure(detector, budget, "precision", interval=True),
                "precision it states": self._precision_estimate(detector, budget),
                "recall": self._figure(detector, budget, "recall"),
                "F1": self._figure(detector, budget, "f1", interval=True),
                "of F1 at true count": self._figure(detector, budget, "f1_share"),
            }
            for detector, budget in pairs
        ]

    def _precision_estimate(self, detector: str, budget: str) -> str:
        ends = [self._cells.get((detector, budget, f"stated_precision{end}")) for end in ("", "_low", "_high")]
        return "–" if None in ends else _format(*(cell["mean"] for cell in ends if cell))

    @property
    def sections(self) -> list[tuple[str, list[dict[str, str]]]]:
        """(title, rows) for a reader: all detectors, and the budgets of the one that ranks best."""
        best = rank_detectors(self.rows)[0][0]
        budgets = [{name: cell for name, cell in row.items() if name != "detector"} for row in self.budgets(best)]
        return [("Detectors, by average precision", self.detectors()), (f"Budgets on {best}, by F1", budgets)]

    @property
    def headline(self) -> str:
        """What was compared on."""
        facts = self.facts
        return (
            f"{facts['wrong']:,} of {facts['known']:,} known labels are wrong ({facts['wrong'] / facts['known']:.1%}); "
            f"means of {facts['repetitions']} repetitions, in brackets their 95 % interval or the one that is stated"
        )

    def text(self) -> str:
        """Plain text, for a terminal or a log."""
        lines = [f"gradsieve compare: {self.facts['dataset']}, run {self.folder.name}", "", self.headline]
        for title, rows in self.sections:
            lines += ["", title, *(f"  {line}" for line in align(rows))] if rows else []
        lines += ["", "Kept", f"  {self.folder}: comparison.parquet, curves.parquet, plot.png"]
        return "\n".join([*lines, "", "Ask", f"  {self.command}"])

    @property
    def command(self) -> str:
        """The query that ranks every pair of a detector and a budget."""
        lake = self.folder.parents[1]
        option = "" if lake == Path("data").resolve() else f" --lake {shlex.quote(str(lake))}"
        return (
            f'gradsieve sql{option} "SELECT detector, budget, mean, low, high FROM comparisons '
            f"WHERE measure = 'f1' AND run_id = '{self.folder.name}' ORDER BY mean DESC\""
        )

    def markdown(self) -> str:
        """Markdown, for the Prefect UI."""
        lines = [f"# {self.facts['dataset']}", f"Run `{self.folder.name}`", "", escape(self.headline)]
        for title, rows in self.sections:
            if rows:
                lines += ["", f"## {title}", "", as_table(rows[0], (row.values() for row in rows))]
        return "\n".join([*lines, "", f"`{self.folder}`", "", f"```\n{self.command}\n```"])


def _format(value: float, low: float | None = None, high: float | None = None) -> str:
    # All that is shown is a share: an interval by Student's t may reach beyond what a share can be.
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} [{max(low, 0):.3f}, {min(high, 1):.3f}]"


def align(rows: list[dict[str, str]]) -> list[str]:
    """Columns as wide as they need to be; words to the left, and figures, which have the same digits, too."""
    table = [list(rows[0]), *(list(row.values()) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
