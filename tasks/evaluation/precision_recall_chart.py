"""Precision against recall, drawn."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# Okabe and Ito's, told apart by the colour-blind, less the yellow, too pale for a line. The best are drawn whole; after
# each round through the colours lines are thinner and broken otherwise.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)), (0, (2, 4)))
# Levels of recall at which the repetitions are averaged.
_LEVELS = np.linspace(0, 1, 401)


def precision_recall_chart(
    curves: pa.Table, ranking: list[tuple[str, float]], noise: float, title: str, path: Path
) -> None:
    """Write a PNG of about 1,600 × 1,000 pixels: one line a detector, the mean over repetitions.

    Args:
        curves: schema ``CURVES`` with the column ``repetition``.
        ranking: (detector, average precision), the best first: the order of colours and of the legend.
        noise: share of wrong labels, what a draw by lot would find.
        title: above it all.
        path: of the file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6.2), dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for index, (name, average) in enumerate(ranking):
        round_, colour = divmod(index, len(_COLOURS))
        axes.plot(
            _LEVELS,
            mean_precision(curves.filter(pc.equal(curves["detector"], name))),
            color=_COLOURS[colour],
            linewidth=max(2.0 - 0.4 * round_, 0.9),
            linestyle=_DASHES[round_ % len(_DASHES)],
            zorder=3 - index / 100,
            label=f"{average:.3f}  {name}",
        )
    axes.axhline(noise, color="black", linestyle=":", linewidth=1.2, label=f"{noise:.3f}  share of wrong labels")
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall: share of the wrong labels that is flagged")
    axes.set(ylabel="precision: share of the flagged that is wrong", title=title)
    axes.grid(visible=True, color="0.9")
    axes.set_axisbelow(True)
    figure.legend(loc="outside right upper", title="average precision", alignment="left", frameon=False, fontsize=9)
    figure.savefig(path)


def mean_precision(curve: pa.Table) -> np.ndarray:
    """Precision where each level of recall is first reached, the mean over the repetitions of one detector."""
    means = np.zeros(len(_LEVELS))
    repetitions = pc.unique(curve["repetition"]).to_pylist()
    for repetition in repetitions:
        part = curve.filter(pc.equal(curve["repetition"], repetition))
        recall, precision = part["recall"].to_numpy(), part["precision"].to_numpy()
        # The last point's recall is 1 but for rounding.
        means += precision[np.minimum(np.searchsorted(recall, _LEVELS), len(recall) - 1)] / len(repetitions)
    return means
