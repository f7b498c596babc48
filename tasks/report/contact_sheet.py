"""The most suspect pictures on one sheet, for the Prefect UI."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tasks.report.gallery import Gallery, Suspect

# Pictures side by side.
_COLUMNS = 6
# Inches of one of them with its title, of the title, and between two.
_CELL, _TITLE, _GAP = (1.5, 1.75), 0.28, 0.08
_LABEL = 14


def contact_sheet(shown: Gallery) -> bytes:
    """A grid of pictures, each under its rank and its given → suggested label; on white, as figures are."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = -(-len(shown.suspects) // _COLUMNS)
    size = (_COLUMNS * _CELL[0], lines * _CELL[1])
    # A dollar sign in a label is no formula.
    with rc_context({"text.parse_math": False}):
        canvas = Figure(figsize=size)
        FigureCanvasAgg(canvas)
        # One pair of axes, in inches: a pair for each picture takes ten times as long to draw.
        axes = canvas.add_axes((0, 0, 1, 1), xlim=(0, size[0]), ylim=(size[1], 0))
        axes.set_axis_off()
        for index, suspect in enumerate(shown.suspects):
            line, column = divmod(index, _COLUMNS)
            _draw(suspect, axes, column * _CELL[0], line * _CELL[1])
        sink = io.BytesIO()
        canvas.savefig(sink, format="png", dpi=110, facecolor="white")
    return sink.getvalue()


def _draw(suspect: Suspect, axes: Axes, left: float, top: float) -> None:
    """Its title and its picture, as large as it fits, in the cell at a corner of axes that are in inches."""
    change = f"{_short(suspect.label)} → {_short(suspect.suggested) or '?'}"
    middle, under = left + _CELL[0] / 2, top + _TITLE
    axes.text(middle, under - 0.05, f"{suspect.rank}.  {change}", fontsize=9, color="#1d2329", ha="center")
    if suspect.picture is not None:
        image = Image.open(io.BytesIO(base64.b64decode(suspect.picture.partition(",")[2])))
        scale = min((_CELL[0] - _GAP) / image.width, (_CELL[1] - _TITLE - _GAP) / image.height)
        half, bottom = scale * image.width / 2, under + scale * image.height
        extent = (middle - half, middle + half, bottom, under)
        how: dict[str, Any] = {"cmap": "gray", "vmin": 0, "vmax": 255, "interpolation": "nearest"}
        axes.imshow(image, aspect="auto", extent=extent, **how)


def _short(text: str) -> str:
    return text if len(text) <= _LABEL else f"{text[: _LABEL - 1]}…"
