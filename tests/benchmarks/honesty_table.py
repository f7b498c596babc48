"""The table of the honesty benchmark: each figure beside its goal, then a line for each case."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from honesty_bars import CLEANLAB, Line, bars_of, best_single, by_case, f1_ratio, leads_of, mean, short, true_of


def table(lines: list[Line]) -> str:
    """Markdown. A run is one case under one seed."""
    if not lines:
        return "nothing is measured yet"
    cases = by_case(lines)
    rows = [
        f"| {bar.figure} | {bar.goal} | {bar.got}{'' if bar.met else ' ✗'} | {_listed(bar.missing)} |"
        for bar in bars_of(lines)
    ]
    return "\n".join(
        [
            f"{len(lines)} runs of {len(cases)} cases\n",
            "| figure | goal | got | cases that miss it |\n|---|---|---|---|",
            *rows,
            "\nMeans over the seeds; in brackets what is stated.\n",
            f"| {' | '.join(_COLUMNS)} |\n|{'---|' * len(_COLUMNS)}",
            *(
                f"| {' | '.join([name, *(column(runs) for column in _COLUMNS.values() if column)])} |"
                for name, runs in cases.items()
            ),
        ]
    )


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "–"


def _stated(name: str) -> Callable[[list[Line]], str]:
    """True, and in brackets what is stated: point and ends."""

    def column(runs: list[Line]) -> str:
        true = short(mean([true_of(run, name) for run in runs]))
        said = [run["default"]["stated"][name] for run in runs]
        said = [stated for stated in said if stated is not None]
        if not said:
            return f"{true} (–)"
        value, low, high = (short(mean([stated.get(part) for stated in said])) for part in ("value", "low", "high"))
        return f"{true} ({value}, {low} to {high})"

    return column


def _lead(kinds: tuple[str, ...] | None) -> Callable[[list[Line]], str]:
    def column(runs: list[Line]) -> str:
        noisy = [run for run in runs if run["ap"]]
        return f"{next(iter(leads_of(noisy, kinds).values())):+.3f} {best_single(noisy, kinds)}" if noisy else "–"

    return column


def _budget(name: str, figure: str) -> Callable[[list[Line]], str]:
    return lambda runs: short(mean([run[name][figure] for run in runs]))


def _diagnosis(runs: list[Line]) -> str:
    named = [_said(run["default"]["diagnosis"]) for run in runs]
    return max(named, key=named.count) or "–"


def _said(diagnosis: Any) -> str:
    """A short name of what is diagnosed, in whatever form the run states it."""
    if isinstance(diagnosis, dict):
        diagnosis = diagnosis.get("kind") or diagnosis.get("name") or [key for key, value in diagnosis.items() if value]
    if isinstance(diagnosis, list):
        return " ".join(map(_said, diagnosis))
    return "" if diagnosis is None else str(diagnosis)[:40]


_COLUMNS: dict[str, Callable[[list[Line]], str] | None] = {
    "case": None,
    "n": lambda runs: f"{runs[0]['n']:,}" + (f" ({runs[0]['left_out']} rejected)" if runs[0]["left_out"] else ""),
    "wrong": _stated("wrong"),
    "flagged": lambda runs: f"{mean([run['default']['flagged'] for run in runs]):.0f}",
    "precision": _stated("precision"),
    "recall": _stated("recall"),
    "asked for .9: flagged": lambda runs: f"{mean([run['precise']['flagged'] for run in runs]):.0f}",
    "its precision": _budget("precise", "precision"),
    "AP of the fusion": lambda runs: short(mean([run["ap"].get("fusion") for run in runs])),
    "less cleanlab's best": _lead(CLEANLAB),
    "less the best single": _lead(None),
    "F1 of that at the true count": lambda runs: short(mean([f1_ratio(run) for run in runs])),
    "p_wrong: mean": _budget("default", "p_wrong"),
    "its Brier score": _budget("default", "brier"),
    "diagnosis": _diagnosis,
    "CPU s": lambda runs: f"{mean([run['cpu'] for run in runs]):.0f}",
}
