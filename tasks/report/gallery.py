"""The most suspect samples of a recorded run, as a person looks at them: pictures, or what stands in their columns."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq

from tasks.core.markdown import as_table, escape
from tasks.dataset.payload import Payload, to_array
from tasks.report.pictures import as_image, batches_of, has_pictures, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 300
"""Samples on a page, whose size is bounded so."""
LEAST_SHOWN = 24
"""Samples of the artifact, and on a page even where fewer are flagged."""

# Pictures side by side in the artifact.
_COLUMNS = 6
# Inches of one of them with its title, of the title, and between two.
_CELL, _TITLE, _GAP = (1.5, 1.75), 0.28, 0.08
# Of samples that are no pictures: columns, numbers of a list, and letters of a text that are shown.
_FIELDS, _NUMBERS, _LETTERS = 12, 8, 400


@dataclass(frozen=True)
class Suspect:
    """One sample of a gallery."""

    rank: int
    sample_id: str
    label: str
    suggested: str
    """The class another label is suggested of; empty where none is."""
    p_wrong: float | None
    suspicion: float
    flagged: bool
    reason: str
    source: str
    row: int | None
    pixels: np.ndarray | None
    """C × H × W, where it is a picture."""
    values: list[tuple[str, str]]
    """(column, what stands in it), where it is none."""

    @property
    def picture(self) -> str | None:
        """As a data URI."""
        return None if self.pixels is None else picture(self.pixels)

    def draw(self, axes: Axes, left: float, top: float) -> None:
        """Its title and its picture, as large as it fits, in the cell at a corner of axes that are in inches."""
        change = f"{_short(self.label)} → {_short(self.suggested) or '?'}"
        middle, under = left + _CELL[0] / 2, top + _TITLE
        axes.text(middle, under - 0.05, f"{self.rank}.  {change}", fontsize=9, color="#1d2329", ha="center")
        if self.pixels is not None:
            image = as_image(self.pixels)
            scale = min((_CELL[0] - _GAP) / image.width, (_CELL[1] - _TITLE - _GAP) / image.height)
            half, bottom = scale * image.width / 2, under + scale * image.height
            extent = (middle - half, middle + half, bottom, under)
            how: dict[str, Any] = {"cmap": "gray", "vmin": 0, "vmax": 255, "interpolation": "nearest"}
            axes.imshow(image, aspect="auto", extent=extent, **how)


@dataclass(frozen=True)
class Gallery:
    """The most suspect training samples, by rank."""

    run_id: str
    suspects: list[Suspect]
    flagged: int
    """In the whole run."""

    @property
    def missing(self) -> int:
        """Flagged samples that are not in it."""
        return self.flagged - sum(suspect.flagged for suspect in self.suspects)

    @property
    def sql(self) -> str:
        """The query that lists those, whatever their number."""
        last = self.suspects[-1].rank if self.suspects else 0
        return (
            "SELECT rank, sample_id, label, suggested_label, p_wrong, source, source_row, reason FROM suspects "
            f"WHERE flag AND rank > {last} AND run_id = '{self.run_id}' ORDER BY rank"
        )

    @property
    def labels(self) -> list[str]:
        """Given labels there are."""
        return sorted({suspect.label for suspect in self.suspects})

    @property
    def suggestions(self) -> list[str]:
        """Suggested labels there are."""
        return sorted({suspect.suggested for suspect in self.suspects} - {""})

    @property
    def are_pictures(self) -> bool:
        """Whether any of them is one."""
        return any(suspect.pixels is not None for suspect in self.suspects)

    def png(self) -> bytes:
        """A grid of pictures, each under its rank and its given → suggested label; on white, as figures are."""
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        lines = -(-len(self.suspects) // _COLUMNS)
        size = (_COLUMNS * _CELL[0], lines * _CELL[1])
        # A dollar sign in a label is no formula.
        with rc_context({"text.parse_math": False}):
            canvas = Figure(figsize=size)
            FigureCanvasAgg(canvas)
            # One pair of axes, in inches: a pair for each picture takes ten times as long to draw.
            axes = canvas.add_axes((0, 0, 1, 1), xlim=(0, size[0]), ylim=(size[1], 0))
            axes.set_axis_off()
            for index, suspect in enumerate(self.suspects):
                line, column = divmod(index, _COLUMNS)
                suspect.draw(axes, column * _CELL[0], line * _CELL[1])
            sink = io.BytesIO()
            canvas.savefig(sink, format="png", dpi=110, facecolor="white")
        return sink.getvalue()

    def markdown(self) -> str:
        """As a table with what stands in the samples' columns; of pictures, which say more, the changes in a line."""
        if self.are_pictures:
            changes = (f"{each.rank}. {each.label} → {each.suggested or '?'}" for each in self.suspects)
            return escape("; ".join(changes))
        columns = ("rank", "given", "suggested", "p(wrong)", "flagged", "sample", "sample_id")
        rows = [
            (
                f"{suspect.rank:,}",
                suspect.label,
                suspect.suggested,
                "" if suspect.p_wrong is None else f"{suspect.p_wrong:.3f}",
                "yes" if suspect.flagged else "no",
                "; ".join(f"{name} {value}" for name, value in suspect.values),
                suspect.sample_id,
            )
            for suspect in self.suspects
        ]
        return as_table(columns, rows)


def gallery(folder: Path, facts: dict[str, Any], most: int) -> Gallery:
    """The most suspect of a recorded run, down to the last flagged one: at least ``LEAST_SHOWN``, at most ``most``.

    Args:
        folder: of the run.
        facts: of its run.json.
        most: samples in it.
    """
    flags = pq.read_table(folder / "flags.parquet")
    flagged = np.flatnonzero(flags["flag"].to_numpy())
    head = flags.slice(0, min(most, max(LEAST_SHOWN, int(flagged[-1]) + 1 if len(flagged) else 0))).to_pylist()
    payload = Payload.model_validate(facts["samples"]["payload"])
    samples = _samples(folder, payload, [flag["sample_id"] for flag in head])
    suspects = [
        Suspect(
            suggested=flag["suggested_label"] or "",
            flagged=flag["flag"],
            **{name: flag[name] for name in ("rank", "sample_id", "p_wrong", "suspicion", "reason")},
            **samples[flag["sample_id"]],
        )
        for flag in head
    ]
    return Gallery(folder.name, suspects, len(flagged))


def _samples(folder: Path, payload: Payload, ids: list[str]) -> dict[str, dict[str, Any]]:
    """sample_id → label, source, row, pixels and values."""
    about = ["sample_id", "label", "source", "row"]
    samples = {}
    for batch in batches_of(sorted((folder / "samples").glob("*.parquet")), ids, [*about, *payload.columns]):
        inputs = batch.select(list(payload.columns))
        rows = batch.select(about).to_pylist()
        images = to_array(inputs, payload) if has_pictures(payload) else [None] * len(rows)
        fields = [[]] * len(rows) if has_pictures(payload) else map(_values, inputs.to_pylist())
        for row, pixels, values in zip(rows, images, fields, strict=True):
            name = row.pop("sample_id")
            samples[name] = row | {"pixels": pixels, "values": values}
    return samples


def _values(row: dict[str, Any]) -> list[tuple[str, str]]:
    """(column, value) of the first columns, and how many there are besides."""
    fields = [(name, _value(value)) for name, value in list(row.items())[:_FIELDS]]
    return [*fields, ("and", f"{len(row) - _FIELDS:,} columns more")] if len(row) > _FIELDS else fields


def _value(value: Any) -> str:
    if isinstance(value, list):
        more = f" … ({len(value):,} in all)" if len(value) > _NUMBERS else ""
        return ", ".join(map(_value, value[:_NUMBERS])) + more
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    return f"{value:.4g}" if isinstance(value, float) else _short(str(value), _LETTERS)


def _short(text: str, letters: int = 14) -> str:
    return text if len(text) <= letters else f"{text[: letters - 1]}…"
