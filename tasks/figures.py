"""The evidence of a run, drawn: as SVG for pages, whose text takes the page's colour, and as PNG for the Prefect UI."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's blue and vermilion: told apart by the colour-blind, readable on light and on dark.
_KEPT, _FLAGGED = "#0072B2", "#D55E00"
# Stands for the colour of the text around it.
_INK = "#010203"
# Bars of classes; there may be thousands.
_CLASSES = 20


class Figure(NamedTuple):
    """One figure."""

    name: str
    alt: str
    """What it shows, in words."""
    draw: Callable[[Axes], None]

    def svg(self) -> str:
        """For a page; the same to the byte whenever it is drawn."""
        import matplotlib as mpl

        with mpl.rc_context({"svg.hashsalt": self.name, "svg.fonttype": "none", "font.family": "sans-serif"}):
            text = self._drawn(
                "svg", _INK, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
            ).decode()
        return text[text.index("<svg") :].replace(_INK, "currentColor")

    def png(self) -> bytes:
        """For the Prefect UI, which is light or dark: on white."""
        return self._drawn("png", "#1d2329", dpi=110, facecolor="white")

    def _drawn(self, form: str, ink: str, **how: Any) -> bytes:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure as Canvas

        figure = Canvas(figsize=(7.2, 3.2), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        self.draw(axes)
        axes.tick_params(colors=ink)
        axes.xaxis.label.set_color(ink)
        axes.yaxis.label.set_color(ink)
        for name, spine in axes.spines.items():
            spine.set_visible(name in ("left", "bottom"))
            spine.set_color(ink)
        for text in axes.texts:
            text.set_color(ink)
        legend = axes.get_legend()
        for text in legend.get_texts() if legend else []:
            text.set_color(ink)
        sink = io.BytesIO()
        figure.savefig(sink, format=form, transparent=form == "svg", **how)
        return sink.getvalue()


def figures(folder: Path, facts: dict[str, Any]) -> list[Figure]:
    """Those of a recorded run: what it was worth, how suspicion is spread, what flagging takes of each class.

    Args:
        folder: of the run.
        facts: of its run.json.
    """
    found = [_suspicion(folder, facts["flags"]), _classes(folder)]
    return [_worth(facts["metrics"]), *found] if "verdict" in facts["metrics"] else found


def _worth(metrics: dict[str, Any]) -> Figure:
    """The treated arm over both controls, with its interval."""
    arm = metrics["verdict"]["arm"]
    gains = {
        f"{each} over {control}": gain for each in metrics["gains"] for control, gain in metrics["gains"][each].items()
    }

    def draw(axes: Axes) -> None:
        for place, (name, gain) in enumerate(reversed(gains.items())):
            colour = _FLAGGED if name.startswith(arm) else _KEPT
            axes.plot([100 * gain["low"], 100 * gain["high"]], [place, place], color=colour, linewidth=3)
            axes.plot([100 * gain["mean"]], [place], "o", color=colour, markersize=8)
        axes.axvline(0, color=_KEPT, linewidth=1, linestyle=":")
        axes.set_yticks(range(len(gains)), list(reversed(gains)))
        axes.set_ylim(-0.6, len(gains) - 0.4)
        axes.set_xlabel("difference in test accuracy, points; 95 % interval")

    said = "; ".join(f"{name} {g['mean']:+.2%} [{g['low']:+.2%}, {g['high']:+.2%}]" for name, g in gains.items())
    return Figure("worth", f"What cleaning is worth: {said}", draw)


def _suspicion(folder: Path, flags: dict[str, Any]) -> Figure:
    """Histogram of the deciding detector's suspicion, the flagged apart."""
    table = pq.read_table(folder / "flags.parquet", columns=["suspicion", "flag"])
    suspicion, flagged = table["suspicion"].to_numpy(), table["flag"].to_numpy()
    edges = np.histogram_bin_edges(suspicion, bins=60)
    budget = min(flags["budget"], len(suspicion))
    # Flags are by rank: the last one within the budget is where the line is.
    line = float(suspicion[budget - 1]) if budget else None

    def draw(axes: Axes) -> None:
        counts = [np.histogram(suspicion[mask], edges)[0] for mask in (~flagged, flagged)]
        width = np.diff(edges)
        axes.bar(edges[:-1], counts[0], width, align="edge", color=_KEPT, label="kept")
        axes.bar(edges[:-1], counts[1], width, align="edge", bottom=counts[0], color=_FLAGGED, label="flagged")
        if line is not None:
            axes.axvline(line, color=_FLAGGED, linewidth=1.5, linestyle="--", label=f"budget: {budget:,}")
        axes.set(xlabel=f"suspicion by {flags['detector']}", ylabel="training samples", yscale="symlog")
        axes.legend(frameon=False)

    alt = f"Suspicion of {len(suspicion):,} training samples by {flags['detector']}; {int(flagged.sum()):,} are flagged"
    return Figure("suspicion", alt, draw)


def _classes(folder: Path) -> Figure:
    """Share of each class that is flagged; the most flagged ones where there are many."""
    audit = pq.read_table(folder / "audit.parquet")
    rows = audit.filter(pc.equal(audit["by"], "class")).to_pylist()
    rows = sorted(rows, key=lambda row: (-row["share_flagged"], row["name"]))[:_CLASSES]

    def draw(axes: Axes) -> None:
        names = [row["name"][:16] for row in rows]
        axes.bar(range(len(rows)), [100 * row["share_flagged"] for row in rows], color=_FLAGGED)
        if rows:
            axes.axhline(100 * rows[0]["share_overall"], color=_KEPT, linestyle="--", label="of all")
            axes.legend(frameon=False)
        axes.set_xticks(range(len(rows)), names, rotation=45 if max(map(len, names), default=0) > 3 else 0)
        axes.set_ylabel("flagged, % of the class")

    most = ", ".join(f"{row['name']} {row['share_flagged']:.1%}" for row in rows[:5])
    return Figure("classes", f"Share of each class that is flagged: {most}", draw)
