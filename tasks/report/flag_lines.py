"""The lines of a summary about what is flagged, and what is expected of it."""

from __future__ import annotations

from typing import Any


def flag_lines(facts: dict[str, Any]) -> list[str]:
    """How many are flagged, by which rule, and what that expects.

    Args:
        facts: of the flags.
    """
    lines = [
        f"{facts['flagged']:,} of {facts['of']:,} training samples, decided by {facts['detector']} "
        f"(budget {facts['budget']:,})"
    ]
    # That all is well is said of the labels alone; the view diagnoses has the rest.
    diagnoses = facts.get("diagnoses") or []
    lines += [each["text"] for each in diagnoses if not each["passed"] or each["subject"] == "unpredictability"]
    lines += _budget_lines(facts.get("found") or {})
    if not facts["flagged"] and any(each["subject"] == "network" and each["passed"] for each in diagnoses):
        lines.append(
            "of no first part of the order is it sure enough that its labels are wrong; the order stands (view flags, "
            "by rank), and --budget.kind share --budget.share 0.01 flags its first hundredth at your own risk"
        )
    return [*lines, *_guards(facts)]


def _budget_lines(estimate: dict[str, Any]) -> list[str]:
    """The range and, where there is one, the figure of wrong labels, and of those flagged; nothing without canaries."""
    figures = {name: _estimate(estimate[name]) for name in ("wrong", "precision", "recall") if estimate.get(name)}
    lines = [f"labels thought wrong: {figures['wrong']}"] if "wrong" in figures else []
    expected = ", ".join(f"{name} {figures[name]}" for name in ("precision", "recall") if name in figures)
    lines += [f"expected of the flagged: {expected}"] if expected else []
    return lines + ([estimate["note"]] if estimate.get("note") else [])


def _estimate(figure: dict[str, float | None]) -> str:
    """``8.2% (95 % [6.9%, 14.5%])``, or ``between 0.0% and 14.5%`` where the data carry no figure."""
    if figure["value"] is None:
        return f"between {figure['low']:.1%} and {figure['high']:.1%}"
    return f"{figure['value']:.1%} (95 % [{figure['low']:.1%}, {figure['high']:.1%}])"


def _guards(facts: dict[str, Any]) -> list[str]:
    """Whom the guards kept, and which classes lose most beyond their share."""
    counts = {
        "as rare but valid": facts.get("protected"),
        "by a cap": facts.get("capped"),
        "of a class that no observer recognises": facts.get("unrecognised"),
    }
    reasons = [f"{count:,} {why}" for why, count in counts.items() if count]
    lines = [f"kept by guards: {', '.join(reasons)}"] if reasons else []
    most = [
        f"{row['name']} ({row['flagged']:,} of {row['samples']:,}, lift {row['lift']:.2f})"
        for row in facts.get("most_flagged", [])
    ]
    return lines + ([f"{facts.get('strata', 'classes')} flagged most: {', '.join(most)}"] if most else [])
