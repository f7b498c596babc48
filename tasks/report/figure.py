"""One figure of a run, as SVG: for pages, whose text takes the page's colour, and on white for the Prefect UI."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tasks.core.markdown import as_table, escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Stands for the colour of the text around it.
_INK = "#010203"


@dataclass(frozen=True)
class Figure:
    """One figure."""

    name: str
    title: str
    """The question it answers."""
    caption: str
    """How to read it, without a number: those stand in the drawing and in its table."""
    alt: str
    """What it shows, in words and numbers."""
    draw: Callable[[Axes], None]
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    """The numbers, for whom the drawing says nothing."""

    def markdown(self) -> str:
        """What it shows, and its numbers under it."""
        return f"{escape(self.alt)}\n\n{as_table(self.columns, self.rows)}"

    @cached_property
    def svg(self) -> str:
        """For a page; the same to the byte whenever it is drawn, which takes a tenth of a second and is done once."""
        import matplotlib as mpl

        how: dict[Any, Any] = {"svg.hashsalt": self.name, "svg.fonttype": "none", "font.family": "sans-serif"}
        with mpl.rc_context({**how, "text.parse_math": False}):  # a dollar sign in a class's name is no formula
            text = self._draw()
        # Groups of all figures have the same names, and a page has one of each at most; nothing refers to them.
        text = re.sub(r'<g id="[^"]*">', "<g>", text[text.index("<svg") :])
        return text.replace(_INK, "currentColor")

    @property
    def image(self) -> str:
        """For the Prefect UI, which is light or dark: on white, as a data URI."""
        text = self.svg.replace("currentColor", "#1d2329")
        head, _, rest = text.partition(">")
        text = f'{head}><rect width="100%" height="100%" fill="#fff"/>{rest}'
        return f"data:image/svg+xml;base64,{base64.b64encode(text.encode()).decode()}"

    def _draw(self) -> str:
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure as Canvas

        figure = Canvas(figsize=(5.4, 3.2), layout="constrained", facecolor="none")
        canvas = FigureCanvasSVG(figure)
        axes = figure.add_subplot(facecolor="none")
        self.draw(axes)
        axes.tick_params(colors=_INK)
        axes.xaxis.label.set_color(_INK)
        axes.yaxis.label.set_color(_INK)
        for name, spine in axes.spines.items():
            spine.set_visible(name in ("left", "bottom"))
            spine.set_color(_INK)
        legend = axes.get_legend()
        for text in [*axes.texts, *(legend.get_texts() if legend else [])]:
            text.set_color(_INK)
        sink = io.BytesIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        # savefig draws all of it once more, for the layout's sake.
        if (layout := figure.get_layout_engine()) is not None:
            layout.execute(figure)
        figure.set_layout_engine("none")
        canvas.print_svg(sink, metadata=nothing)
        return sink.getvalue().decode()
