"""The bars of the honesty benchmark: each figure, its goal, and the cases that miss it. A run is one case and seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Line = dict[str, Any]

# From so many samples on, an interval or range wider than this says as much as none.
_MANY, _WIDEST = 1000, {"wrong": 0.15, "precision": 0.25, "recall": 0.25}
# Sets of which every figure can be known.
_KNOWABLE, _PLAIN = ("cifar10n", "fashion", "digits"), "CIFAR-10N, Fashion-MNIST, digits"
_CIFAR = {"cifar10n-aggre-50000": 0.08, "cifar10n-worse-50000": 0.04}
CLEANLAB = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")
_NAMES = {"wrong": "share of wrong labels", "precision": "precision", "recall": "recall"}


@dataclass(frozen=True)
class Bar:
    """One figure, its goal and what it is."""

    figure: str
    goal: str
    got: str
    met: bool
    missing: list[str]
    """The cases that miss it."""


def bars_of(lines: list[Line]) -> list[Bar]:
    """Every bar of these runs."""
    return [
        *(_held(lines, name) for name in _NAMES),
        *(_unknown(lines, name) for name in _NAMES),
        _flagged_of_nothing(lines),
        _kept(lines, "precise", 0.9, "precision 0.9 kept, of runs that flag any"),
        _kept(lines, "default", 0.8, "true precision ≥ .8 of what the default flags, of runs that flag any"),
        _cowards(lines),
        _median_recall(lines),
        _over_cleanlab(lines),
        _cifar10n(lines),
        _beside_singles(lines),
        _f1(lines),
    ]


def by_case(lines: list[Line]) -> dict[str, list[Line]]:
    """The runs of each case, in the order of the lines."""
    cases: dict[str, list[Line]] = {}
    for line in lines:
        cases.setdefault(line["case"], []).append(line)
    return cases


def true_of(line: Line, name: str) -> float | None:
    """What is true of the default's flags; None where nothing is flagged, or nothing wrong that could be found."""
    if name == "wrong":
        return line["wrong"]
    return line["default"][name] if line["default"]["flagged"] else None


def interval_of(line: Line, name: str) -> tuple[float, float] | None:
    """What the default states, from its lower to its upper end."""
    stated = line["default"]["stated"][name]
    if stated is None or stated.get("low") is None or stated.get("high") is None:
        return None
    return stated["low"], stated["high"]


def is_known(line: Line, name: str) -> bool:
    """Whether something is stated that is no wider than what says as much as nothing."""
    interval = interval_of(line, name)
    return interval is not None and (line["n"] < _MANY or interval[1] - interval[0] <= _WIDEST[name])


def _counted(figure: str, goal: str, least: float, judged: list[tuple[Line, bool]], note: str = "") -> Bar:
    """So many of the runs are good."""
    good = sum(fine for _, fine in judged)
    met = not judged or good / len(judged) >= least
    return Bar(figure, goal, f"{_of(good, len(judged))}{note}", met, _missing(judged))


def _missing(judged: list[tuple[Line, bool]]) -> list[str]:
    runs: dict[str, list[bool]] = {}
    for line, fine in judged:
        runs.setdefault(line["case"], []).append(fine)
    return [
        name if not any(fine) else f"{name} ({len(fine) - sum(fine)} of {len(fine)})"
        for name, fine in runs.items()
        if not all(fine)
    ]


def _held(lines: list[Line], name: str) -> Bar:
    """Every interval that is stated counts, wide ones as well; those that are known are counted beside it."""
    judged, known = [], []
    for line in lines:
        interval, true = interval_of(line, name), true_of(line, name)
        if interval is None or true is None:
            continue
        fine = interval[0] - 1e-9 <= true <= interval[1] + 1e-9
        judged.append((line, fine))
        if is_known(line, name):
            known.append(fine)
    note = f"; of those known {_of(sum(known), len(known))}"
    return _counted(f"truth inside the stated interval: {_NAMES[name]}", "≥ 90 %", 0.9, judged, note)


def _unknown(lines: list[Line], name: str) -> Bar:
    """Precision and recall are asked for where anything is flagged and there is something to find."""
    asked = [line for line in lines if true_of(line, name) is not None]
    judged = [(line, is_known(line, name)) for line in asked]
    unknown = sum(not known for _, known in judged)
    plain = [line["case"] for line, known in judged if not known and line["case"].startswith(_KNOWABLE)]
    got = f"{_of(unknown, len(judged))}; of {_PLAIN} {len(plain)}"
    met = not plain and (not judged or unknown <= len(judged) / 4)
    return Bar(f"not known: {_NAMES[name]}", f"≤ 25 %, of {_PLAIN} none", got, met, _missing(judged))


def _flagged_of_nothing(lines: list[Line]) -> Bar:
    clean = [line for line in lines if not line["wrong"]]
    shares = [line["default"]["flagged"] / line["n"] for line in clean]
    judged = [(line, share <= 0.005) for line, share in zip(clean, shares, strict=True)]
    got = f"at most {max(shares, default=0):.1%}; {_of(sum(fine for _, fine in judged), len(judged))} fine"
    return Bar(
        "flagged by default where no label is wrong",
        "≤ .5 %, each",
        got,
        all(s <= 0.005 for s in shares),
        _missing(judged),
    )


def _kept(lines: list[Line], budget: str, least: float, figure: str) -> Bar:
    flagging = [line for line in lines if line[budget]["flagged"]]
    note = f"; {len(lines) - len(flagging)} runs flag none"
    return _counted(figure, "≥ 95 %", 0.95, [(line, line[budget]["precision"] >= least) for line in flagging], note)


def _findable(lines: list[Line]) -> list[Line]:
    return [line for line in lines if line["ap"].get("fusion", 0) >= 0.8]


def _cowards(lines: list[Line]) -> Bar:
    judged = [(line, line["default"]["flagged"] > 0) for line in _findable(lines)]
    idle = sum(not flags for _, flags in judged)
    met = not judged or idle / len(judged) <= 0.1
    return Bar("flag nothing, of noisy runs with AP ≥ .8", "≤ 10 %", _of(idle, len(judged)), met, _missing(judged))


def _median_recall(lines: list[Line]) -> Bar:
    recalls = [(line, line["default"]["recall"]) for line in _findable(lines)]
    median = float(np.median([recall for _, recall in recalls])) if recalls else float("nan")
    return Bar(
        "median recall of these",
        "≥ .5",
        short(median),
        not median < 0.5,
        _missing([(a, b >= 0.5) for a, b in recalls]),
    )


def _over_cleanlab(lines: list[Line]) -> Bar:
    leads = leads_of(lines, CLEANLAB)
    got = f"{min(leads.values(), default=0):+.3f} to {max(leads.values(), default=0):+.3f}"
    behind = [f"{case} {lead:+.3f}" for case, lead in leads.items() if lead < 0]
    return Bar("AP of the fusion less cleanlab's best on the same networks", "≥ 0, each case", got, not behind, behind)


def _cifar10n(lines: list[Line]) -> Bar:
    leads = {case: lead for case, lead in leads_of(lines, CLEANLAB).items() if case in _CIFAR}
    behind = [case for case, lead in leads.items() if lead < _CIFAR[case]]
    got = ", ".join(f"{case} {lead:+.3f}" for case, lead in leads.items()) or "not measured"
    return Bar("the same, CIFAR-10N whole", "≥ +.08 aggre, ≥ +.04 worse", got, not behind, behind)


def _beside_singles(lines: list[Line]) -> Bar:
    leads = leads_of(lines)
    behind = [f"{case} {lead:+.3f}" for case, lead in leads.items() if lead < -0.005]
    got = _of(len(leads) - len(behind), len(leads))
    met = not leads or len(behind) <= len(leads) / 10
    return Bar("fusion within .005 of the best single score, of the cases", "≥ 90 %", got, met, behind)


def leads_of(lines: list[Line], kinds: tuple[str, ...] | None = None) -> dict[str, float]:
    """Of each noisy case, AP of the fusion less the best of these (of all single scores)."""
    found = {}
    for case, runs in by_case([line for line in lines if line["ap"]]).items():
        best = best_single(runs, kinds)
        found[case] = mean([run["ap"]["fusion"] for run in runs]) - mean([run["ap"][best] for run in runs])
    return found


def best_single(runs: list[Line], kinds: tuple[str, ...] | None = None) -> str:
    """The single score whose mean AP is highest."""
    there = set.intersection(*(set(run["ap"]) for run in runs)) - {"fusion"}
    return max(sorted(there & set(kinds or there)), key=lambda kind: mean([run["ap"][kind] for run in runs]))


def _f1(lines: list[Line]) -> Bar:
    judged = [(line, ratio >= 0.95) for line in lines if (ratio := f1_ratio(line)) is not None]
    return _counted("F1 at the found count ≥ .95 of that at the true one, where a point is stated", "all", 1.0, judged)


def f1_ratio(line: Line) -> float | None:
    """F1 at the found count over F1 at the true one; None without a point, or without a wrong label."""
    found, true = line["f1"]["found"], line["f1"]["true"]
    return None if found is None or not true else found / true


def mean(values: list[float | None]) -> float:
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else float("nan")


def short(value: float) -> str:
    return "–" if value != value else f"{value:.3f}"


def _of(good: int, of: int) -> str:
    return f"{good} of {of} ({good / of:.0%})" if of else "none to judge"
