"""The evidence of a run, drawn: what it was worth, how suspicion is spread, and what is flagged of whom."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.core.intervals import t_interval
from tasks.decision.flagging import is_stated
from tasks.report.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's blue and vermilion: told apart by the colour-blind, readable on light and on dark.
_KEPT, _FLAGGED = "#0072B2", "#D55E00"
# Bars of classes, of which there may be thousands; bins of the histogram in one row of its table.
_CLASSES, _BINS = 20, 5
# Points of a curve; there may be millions of samples.
_POINTS = 1000


def figures(folder: Path, facts: dict[str, Any]) -> list[Figure]:
    """Those of a recorded run: what it was worth, how suspicion is spread, how precise the flags are thought to be, and
    what flagging takes of each class.

    Args:
        folder: of the run.
        facts: of its run.json.
    """
    flags = pq.read_table(folder / "flags.parquet", columns=["suspicion", "flag", "guard", "p_wrong"])
    has_verdict = "verdict" in facts["metrics"]
    charts = [_accuracy(folder, facts["metrics"]), _worth(facts["metrics"])] if has_verdict else []
    charts.append(_suspicion(flags, facts["flags"]))
    # Only canaries tell how likely a label is wrong.
    charts += [_precision(flags, facts["flags"])] if len(flags) and is_stated(flags["p_wrong"]) else []
    return [*charts, _classes(folder, facts)]


def _accuracy(folder: Path, metrics: dict[str, Any]) -> Figure:
    """Of every arm: the mean over the seeds, and Student's interval where there are several."""
    table = pq.read_table(folder / "metrics.parquet", columns=["arm", "by", "accuracy"])
    table = table.filter(pc.equal(table["by"], "all"))
    arms = {arm: table.filter(pc.equal(table["arm"], arm))["accuracy"].to_numpy() for arm in metrics["accuracy"]}
    means = {arm: float(each.mean()) for arm, each in arms.items()}
    bounds = {arm: _interval(each) for arm, each in arms.items()}
    treatment, figure = metrics["verdict"]["arm"], metrics.get("figure", "accuracy")

    def draw(axes: Axes) -> None:
        for index, arm in enumerate(reversed(arms)):
            colour = _FLAGGED if arm == treatment else _KEPT
            if (bound := bounds[arm]) is not None:
                axes.plot([100 * bound[0], 100 * bound[1]], [index, index], color=colour, linewidth=3)
            axes.plot(100 * arms[arm], [index] * len(arms[arm]), "|", color=colour, markersize=12)
            axes.plot([100 * means[arm]], [index], "o", color=colour, markersize=8)
        axes.set_yticks(range(len(arms)), list(reversed(arms)))
        axes.set_ylim(-0.6, len(arms) - 0.4)
        axes.set_xlabel(f"test {figure}, %; seeds, mean" + (", 95 % interval" if any(bounds.values()) else ""))

    rows = [
        (
            f"{arm} (treated)" if arm == treatment else arm,
            f"{means[arm]:.2%}",
            "–" if bound is None else f"{bound[0]:.2%} to {bound[1]:.2%}",
            str(len(arms[arm])),
        )
        for arm, bound in bounds.items()
    ]
    said = ", ".join(f"{arm} {mean:.2%}" for arm, mean in means.items())
    title = f"How good models are on the test samples ({figure})"
    caption = (
        "untouched: trained on all samples as they came; cleaned: without the flagged; random: without as many others; "
        "relabelled: the flagged under the label suggested. A stroke is one training, the dot their mean, the bar a "
        "95 % interval. The verdict is about the orange one."
    )
    return Figure(
        "accuracy",
        title,
        caption,
        f"Test {figure} by arm: {said}",
        draw,
        ("arm", figure, "95 % interval", "seeds"),
        rows,
    )


def _interval(values: np.ndarray) -> tuple[float, float] | None:
    """Student's 95 % interval of a mean of shares; of a single value none."""
    interval = t_interval(values)
    return None if interval is None else (max(min(0.0, *values), interval[0]), min(1.0, interval[1]))


def _worth(metrics: dict[str, Any]) -> Figure:
    """The treated arm over both controls, with its interval."""
    arm = metrics["verdict"]["arm"]
    gains = {
        f"{each} over {control}": gain for each in metrics["gains"] for control, gain in metrics["gains"][each].items()
    }

    def draw(axes: Axes) -> None:
        for index, (name, gain) in enumerate(reversed(gains.items())):
            colour = _FLAGGED if name.startswith(arm) else _KEPT
            axes.plot([100 * gain["low"], 100 * gain["high"]], [index, index], color=colour, linewidth=3)
            axes.plot([100 * gain["mean"]], [index], "o", color=colour, markersize=8)
        axes.axvline(0, color=_KEPT, linewidth=1, linestyle=":")
        axes.set_yticks(range(len(gains)), list(reversed(gains)))
        axes.set_ylim(-0.6, len(gains) - 0.4)
        axes.set_xlabel(f"points of test {metrics.get('figure', 'accuracy')}; 95 % interval")

    said = "; ".join(f"{name} {g['mean']:+.2%} [{g['low']:+.2%}, {g['high']:+.2%}]" for name, g in gains.items())
    rows = [
        (name, f"{g['mean']:+.2%}", f"{g['low']:+.2%} to {g['high']:+.2%}", str(g.get("word", "")))
        for name, g in gains.items()
    ]
    columns = ("arms", "difference", "95 % interval", "which")
    caption = (
        "To the right of the dotted line it helps. A bar that crosses the line may as well be nothing. Only where both "
        "orange bars lie to the right of it does the verdict say helps."
    )
    return Figure(
        "worth",
        "Is it better than doing nothing, or removing at random?",
        caption,
        f"What cleaning is worth: {said}",
        draw,
        columns,
        rows,
    )


def _suspicion(table: pa.Table, flags: dict[str, Any]) -> Figure:
    """Histogram of the deciding detector's suspicion, the flagged apart."""
    suspicion, flagged = table["suspicion"].to_numpy(), table["flag"].to_numpy()
    edges = np.histogram_bin_edges(suspicion, bins=60)
    counts = [np.histogram(suspicion[mask], edges)[0] for mask in (~flagged, flagged)]
    # By rank: the last one within the budget is where the line is.
    budget = min(flags["budget"], len(suspicion))
    line = float(suspicion[budget - 1]) if budget else None

    def draw(axes: Axes) -> None:
        width = np.diff(edges)
        layers = ((counts[0], 0 * counts[0], _KEPT, "kept"), (counts[1], counts[0], _FLAGGED, "flagged"))
        for heights, bottom, colour, name in layers:
            # An edge of the bar's own colour hides the hairline between two of them.
            how: dict[str, Any] = {"color": colour, "edgecolor": colour, "linewidth": 0.4, "label": name}
            some = heights > 0
            axes.bar(edges[:-1][some], heights[some], width[some], bottom[some], align="edge", **how)
        if line is not None:
            axes.axvline(line, color=_FLAGGED, linewidth=1.5, linestyle="--", label=f"the first {budget:,}")
        axes.set(xlabel=f"suspicion, by {flags['detector']}", ylabel="training samples", yscale="symlog")
        axes.yaxis.set_major_formatter("{x:,.0f}")
        _legend(axes)

    # Twelve of five bins each: what is read, not what is seen.
    firsts = range(0, len(counts[0]), _BINS)
    kept, marks = ([f"{int(count[first : first + _BINS].sum()):,}" for first in firsts] for count in counts)
    spans = [f"{edges[first]:.4g} to {edges[first + _BINS]:.4g}" for first in firsts]
    rows = list(zip(spans, kept, marks, strict=True))
    alt = f"Suspicion of {len(suspicion):,} training samples by {flags['detector']}; {int(flagged.sum()):,} are flagged"
    if line is not None:
        alt += f"; the budget of {budget:,} ends at {line:.4g}"
    caption = (
        "Each bar counts the training samples of one degree of suspicion, on a logarithmic scale. The dashed line "
    )
    caption += "is where flagging ends; what is blue beyond it was kept by a guard or by a person."
    return Figure(
        "suspicion", "How suspect are the training samples?", caption, alt, draw, ("suspicion", "kept", "flagged"), rows
    )


def _without_guarded(table: pa.Table) -> pa.Table:
    """The rows that no guard keeps; the ranks of the others stay empty."""
    return table.filter(pc.or_(table["flag"], pc.is_null(table["guard"])))


def _legend(axes: Axes) -> None:
    """Above the axes, where nothing is drawn."""
    axes.legend(
        frameon=False,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=3,
        fontsize=8,
        columnspacing=1.2,
        handlelength=1.5,
        borderaxespad=0.2,
    )


def expected_precision(p_wrong: np.ndarray) -> np.ndarray:
    """Of the n most suspect, for n = 1, 2 …: the share expected to be wrong, P_n = (1/n) Σ_i≤n p_i.

    Args:
        p_wrong: p, by rank.
    """
    return np.cumsum(p_wrong) / np.arange(1, len(p_wrong) + 1)


def _precision(table: pa.Table, flags: dict[str, Any]) -> Figure:
    """How precise flags are thought to be, by how many there are: guards keep whom they keep."""
    # Of a class that is not recognised nothing is known, and nothing of it is flagged.
    table = _without_guarded(table)
    table = table.filter(pc.is_valid(table["p_wrong"]))
    chance, flagged = table["p_wrong"].to_numpy(), int(pc.sum(table["flag"]).as_py())
    curve, wrong = expected_precision(chance), np.cumsum(chance)
    size = len(curve)
    # Beyond three times as many the curve says little of the flagged.
    end = min(size, max(3 * flagged, 100))
    estimate = (flags.get("found") or {}).get("precision")

    def draw(axes: Axes) -> None:
        counts = np.unique(np.linspace(1, end, min(end, _POINTS)).round().astype(int))
        axes.plot(counts, 100 * curve[counts - 1], color=_KEPT, linewidth=2, label="by each sample's chance")
        if flagged:
            axes.axvline(flagged, color=_FLAGGED, linewidth=1.5, linestyle="--", label=f"flagged: {flagged:,}")
        if estimate and flagged:
            low, high = 100 * estimate["low"], 100 * estimate["high"]
            axes.plot([flagged, flagged], [low, high], color=_FLAGGED, linewidth=3, label="the rule's own, 95 %")
            if estimate["value"] is not None:
                axes.plot([flagged], [100 * estimate["value"]], "o", color=_FLAGGED, markersize=7)
        axes.set(
            xlabel="so many flagged, the most suspect first", ylabel="wrong among them, %", xlim=(0, end), ylim=(0, 103)
        )
        _legend(axes)

    marks = {step * 10**power for power in range(1, 9) for step in (1, 2, 5)}
    counts = sorted({count for count in {*marks, flagged, size} if 0 < count <= size})
    rows = [
        (
            f"{count:,}{' (flagged)' if count == flagged else ''}",
            f"{wrong[count - 1]:,.1f}",
            f"{curve[count - 1]:.1%}",
            f"{wrong[count - 1] / wrong[-1]:.1%}" if wrong[-1] else "–",
        )
        for count in counts
    ]
    alt = "Expected precision of the flagged by how many are flagged"
    if flagged:
        # Of those themselves: after a review they need not be the most suspect.
        own = chance[table["flag"].to_numpy()]
        alt += f": of the {flagged:,} that are, {own.mean():.1%} or {own.sum():,.0f} wrong labels"
    if estimate:
        alt += f"; the budget itself expects {estimate['value']:.1%}"
    columns = ("flagged", "expected wrong among them", "expected precision", "expected recall")
    caption = "The line takes each sample at the chance that the run gives it, the most suspect first. "
    if estimate and flagged:
        caption += "The dot with its bar is the estimate of the rule that chose how many to flag, made in another way."
    title = "How many of the flagged are wrong, as far as the run can tell?"
    return Figure(
        "precision", title, caption, f"{alt}; of all {size:,} no guard keeps, {curve[-1]:.1%}", draw, columns, rows
    )


def _classes(folder: Path, facts: dict[str, Any]) -> Figure:
    """Share of each class that is flagged, the most flagged first; of each range of a number, the lowest first."""
    audit = pq.read_table(folder / "audit.parquet")
    every = audit.filter(pc.equal(audit["by"], "class")).to_pylist()
    strata = facts["flags"].get("strata", "classes")
    is_range = strata == "ranges"
    rows = sorted(every, key=lambda row: (-row["share_flagged"], row["name"]))[:_CLASSES]
    rows = sorted(rows, key=lambda row: facts["samples"]["classes"].index(row["name"])) if is_range else rows
    one = "range" if is_range else "class"

    def draw(axes: Axes) -> None:
        names = [row["name"][:16] for row in rows]
        axes.bar(range(len(rows)), [100 * row["share_flagged"] for row in rows], color=_FLAGGED)
        if rows:
            axes.axhline(100 * rows[0]["share_overall"], color=_KEPT, linestyle="--", label=f"all {strata} together")
            _legend(axes)
        is_long = max(map(len, names), default=0) > 3
        axes.set_xticks(
            range(len(rows)), names, rotation=45 if is_long else 0, ha="right" if is_long else "center",
            rotation_mode="anchor",
        )  # fmt: skip
        axes.set_ylabel(f"flagged, % of the {one}")

    most = ", ".join(f"{row['name']} {row['share_flagged']:.1%}" for row in rows[:5])
    table = [(row["name"], f"{row['flagged']:,}", f"{row['samples']:,}", f"{row['share_flagged']:.1%}") for row in rows]
    more = f"; the {_CLASSES} most flagged of {len(every):,}" if len(every) > len(rows) else ""
    columns = (one, "flagged", "of", "share")
    caption = f"A bar far above the dashed line is a {one} with many wrong labels, or one that the model does not know."
    alt = f"Share of each {one} that is flagged: {most}{more}"
    return Figure("classes", f"Which {strata} lose most?", caption, alt, draw, columns, table)
