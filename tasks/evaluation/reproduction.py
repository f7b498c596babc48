"""What an experiment came to: our figures beside the paper's, as data, as text and as Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from tasks.core.intervals import t_interval
from tasks.pipeline.durable_files import write_durably

FIGURES: dict[str, str] = {
    "removed": "removed",
    "detection": "wrong labels found",
    "precision": "of removed wrong",
    "average_precision": "average precision",
    "roc_auc": "ROC AUC",
    "accuracy": "accuracy, cleaned",
    "untouched": "untouched",
    "random": "as many at random",
    "over_untouched": "over untouched",
    "over_random": "over random",
    "query_roc_auc": "ROC AUC by query",
    "query_recall": "of its kind on top",
    "seconds": "seconds",
    "seconds_over_l2": "times l2",
}
"""Figures of a row, in this order, and what a table calls them."""
_SHARES = {
    "detection", "precision", "average_precision", "roc_auc", "accuracy", "untouched", "random", "query_roc_auc",
    "query_recall",
}  # fmt: skip
_CONTROLS = (
    "controls the paper lacks: untouched by the same recipe, ours shuffled; as many of each class removed at random; "
    "last epoch only"
)


class Figure(BaseModel):
    """A mean over repetitions with its 95 % interval by Student's t; none of one repetition. Shares in per cent."""

    model_config = ConfigDict(frozen=True)
    mean: float
    low: float | None = None
    high: float | None = None
    count: int = 1

    @classmethod
    def of(cls, values: Iterable[float]) -> Figure:
        """Of one value a repetition."""
        several = np.array(list(values), np.float64)
        low, high = t_interval(several) or (None, None)
        return cls(mean=float(several.mean()), low=low, high=high, count=len(several))

    def text(self, *, share: bool = False) -> str:
        """For a table; the interval of a share ends where shares do."""
        digits = 1 if share or abs(self.mean) >= 1 else 2
        if self.low is None or self.high is None or self.high - self.low < 1e-9:
            return f"{self.mean:.{digits}f}"
        low, high = (max(self.low, 0.0), min(self.high, 100.0)) if share else (self.low, self.high)
        return f"{self.mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


class Row(BaseModel):
    """One method's figures, and where they are from."""

    model_config = ConfigDict(frozen=True)
    set: str
    method: str
    source: str
    """``paper``, or ``ours, small`` and the like."""
    epoch: str
    seeds: int | None
    figures: dict[str, Figure]
    runs: list[str] = []


class Reproduction(BaseModel):
    """What one run of an experiment came to."""

    model_config = ConfigDict(frozen=True)
    experiment: str
    title: str
    scale: str
    paper: str
    protocol: str
    data: str
    differs: str
    recorded: str
    seconds: float
    rows: list[Row]

    @property
    def columns(self) -> list[str]:
        """The figures that any row has, in a fixed order."""
        return [name for name in FIGURES if any(name in row.figures for row in self.rows)]

    def table(self, of: str) -> list[dict[str, str]]:
        """The rows of one set, as text; a dash for what the paper does not say."""
        return [
            {"method": row.method, "from": row.source}
            | {FIGURES[name]: _cell(row, name) for name in self.columns}
            | {"epoch": row.epoch, "seeds": "–" if row.seeds is None else str(row.seeds)}
            for row in self.rows
            if row.set == of
        ]

    @property
    def sections(self) -> list[tuple[str, list[dict[str, str]]]]:
        """(set, its rows)."""
        return [(name, self.table(name)) for name in dict.fromkeys(row.set for row in self.rows)]

    @property
    def notes(self) -> list[str]:
        """What a reader must know of the figures."""
        return [
            f"paper: {self.paper}; {self.protocol}",
            f"ours, {self.scale} scale: {self.data}",
            f"otherwise than in the paper: {self.differs}",
            "shares in per cent; in brackets 95 % intervals (Student's t over repetitions)",
            *([_CONTROLS] if "random" in self.columns else []),
        ]

    def text(self) -> str:
        """For a terminal."""
        from tasks.evaluation.comparison import align

        lines = [f"gradsieve reproduce: {self.experiment}, {self.scale} scale: {self.title}", "", *self.notes]
        for name, rows in self.sections:
            lines += ["", *([name] if name else []), *(f"  {line}" for line in align(rows))]
        return "\n".join(lines)

    def markdown(self) -> str:
        """For a file."""
        lines = [f"# {self.experiment}, {self.scale} scale", "", self.title, "", *(f"- {note}" for note in self.notes)]
        for name, rows in self.sections:
            bars = [list(rows[0]), ["---"] * len(rows[0]), *(row.values() for row in rows)]
            lines += ["", *([f"## {name}", ""] if name else []), *(f"| {' | '.join(cells)} |" for cells in bars)]
        return "\n".join([*lines, "", f"Recorded {self.recorded}, {self.seconds:.0f} s.", ""])

    def put_down(self, home: Path) -> list[Path]:
        """Write ``<experiment>-<scale>.json`` and ``.md``."""
        home.mkdir(parents=True, exist_ok=True)
        stem = home / f"{self.experiment}-{self.scale}"
        paths = [stem.with_suffix(".json"), stem.with_suffix(".md")]
        for path, text in zip(paths, (self.model_dump_json(indent=1), self.markdown()), strict=True):
            write_durably(path, text)
        return paths


def _cell(row: Row, name: str) -> str:
    return row.figures[name].text(share=name in _SHARES) if name in row.figures else "–"
