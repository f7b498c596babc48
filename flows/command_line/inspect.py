"""gradsieve inspect: what a run would make of a source, told at once and without a server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator
from pydantic_settings import CliPositionalArg

from flows.command_line.options import Options
from tasks.core.errors import BadConfig, printable
from tasks.ingestion.inspect import InspectConfig, Inspection, inspect
from tasks.ingestion.tables.unused_columns import display_name
from tasks.report.data_lines import label_lines

_MOST_LABELS = 20
_WIDEST = 32
_FARTHEST = 3


class Inspect(Options):
    """Tell what clean would make of a source: every column's role and kind, the labels, what would be rejected.

    gradsieve inspect iris.csv --reader.label species
    """

    of = InspectConfig
    source: CliPositionalArg[str | None] = Field(
        default=None, description="File or folder of the samples, as --reader.path says it; its suffix says the reader."
    )

    @model_validator(mode="before")
    @classmethod
    def _a_bare_path_is_the_readers(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("source"):
            values["reader"] = {"path": values["source"]} | (values.get("reader") or {})
        return values

    def cli_cmd(self) -> None:
        """Look, and print what is seen."""
        options = self.model_dump(mode="json", exclude_unset=True, include={"reader", "ingestion"})
        if not options.get("reader"):
            raise BadConfig(
                where="gradsieve inspect", expected="a source", got="none", do="Name it: gradsieve inspect iris.csv"
            )
        _spare_pandas()
        config = InspectConfig.model_validate(options)
        reader = config.reader.component
        seen = inspect(reader, config.ingestion)
        print(printable(text_of(seen, str(getattr(reader, "path", reader.kind)))))
        if seen.error is not None:
            raise SystemExit(seen.error.exit_code)


class _NoPandas:
    """A finder of modules that finds no pandas."""

    @staticmethod
    def find_spec(name: str, *_: Any) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name)


def _spare_pandas() -> None:
    """Let pyarrow take it that there is no pandas.

    It would import it at its first scalar, for a good part of the time that a look may take. It asks once.
    """
    sys.meta_path.insert(0, _NoPandas)  # type: ignore[arg-type]
    try:
        pa.scalar(0)
    finally:
        sys.meta_path.remove(_NoPandas)  # type: ignore[arg-type]


def text_of(seen: Inspection, source: str) -> str:
    """What was seen, for a terminal."""
    rows = f"{seen.rows:,} rows" if seen.whole else f"the first {seen.rows:,} rows, for the source is large"
    lines = [f"{Path(source).absolute().name}: {rows}", *seen.notes, "", *_table(seen), ""]
    if seen.labels:
        lines += [f"labels: {_numbers(seen) if seen.target == 'number' else _labels(seen)}", *label_lines(seen.told)]
    if seen.rejects:
        lines.append(f"would be rejected: {', '.join(f'{reason} {n:,}' for reason, n in seen.rejects.most_common())}")
        lines += [
            f"  {reason}, the first: {seen.examples[reason]}" for reason in seen.rejects if reason in seen.examples
        ]
    return "\n".join([*lines, _verdict(seen)])


def _verdict(seen: Inspection) -> str:
    if seen.refusal:
        return f"would be refused: {seen.refusal}"
    return f"may be refused: {seen.doubt}" if seen.doubt else "would be read"


def _table(seen: Inspection) -> list[str]:
    """Every column, one a line."""
    rows: list[tuple[str, ...]] = [("column", "role", "kind", "values", "missing", "why")]
    for column in seen.columns:
        numbers = ["" if n is None else f"{n:,}" for n in (column.distinct_values, column.missing)]
        rows.append((display_name(column.name)[:_WIDEST], column.role, column.kind, *numbers, column.why))
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if i in (3, 4) else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        lines.append("  ".join([*cells, row[5]]).rstrip())
    return lines


def _labels(seen: Inspection) -> str:
    shown = ", ".join(f"{label[:_WIDEST]} {n:,}" for label, n in seen.labels.most_common(_MOST_LABELS))
    more = len(seen.labels) - _MOST_LABELS
    return shown + (f" and {more:,} more" if more > 0 else "")


def _numbers(seen: Inspection) -> str:
    """Range, middle and extremes of labels that are numbers: an extreme far out may be a typo."""
    values = np.array([float(label) for label in seen.labels])
    median = float(np.median(np.repeat(values, list(seen.labels.values()))))
    far = values[np.argsort(-np.abs(values - median), kind="stable")[:_FARTHEST]]
    ends = f"least {_figure(values.min())}, median {_figure(median)}, most {_figure(values.max())}"
    return f"{ends}; farthest from the median: {', '.join(map(_figure, far))}"


def _figure(value: float) -> str:
    return f"{value:,.15g}"
