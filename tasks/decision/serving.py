"""Which models, detectors and budgets serve a target, and what stands in for the defaults that do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ValidationError

from tasks.dataset.targets import TargetKind, kind_of
from tasks.decision.budgets import Budget, BudgetChoice
from tasks.gradients.kinds import GradientChoice
from tasks.ingestion.readers import ReaderChoice
from tasks.scoring.detectors import Detector
from tasks.training.models import ModelChoice

_JUDGES = {"probabilities", "votes"}


def needs_classes(component: Detector | Budget) -> bool:
    """Whether a detector or budget goes by the classes there are."""
    if isinstance(component, Budget):
        return component.needs_canaries
    return component.compares or bool(_JUDGES & set(component.sees))


def unfit_names(detectors: list[Detector], budgets: list[Budget]) -> list[str]:
    """Detectors and budgets that a target without classes has no use for."""
    unfit = [f"detector {detector.name}" for detector in detectors if needs_classes(detector)]
    return unfit + [f"budget {budget.name}" for budget in budgets if needs_classes(budget)]


def with_serving_defaults(values: Any, config: type[BaseModel], is_default: Callable[[str, Any], bool]) -> Any:
    """The values of a configuration, its defaults replaced by what serves the reader's target.

    Of defaults that are lists those stay that serve it. What is named stays, whether it serves or not.

    Args:
        values: as given, flat or as the run form groups them.
        config: the configuration.
        is_default: whether a value of a field says no more than its default does. The form says every default, so that
            no default it says is one's own choice.
    """
    if not isinstance(values, dict):
        return values
    group = values.get("advanced")
    said = (group | values) if isinstance(group, dict) else values
    kind = _target_of(said.get("reader"))
    if kind is None or kind_of(kind).has_class_probabilities:
        return values
    return values | {
        name: choice
        for name, choice in _serving(config, said.get("model")).items()
        if name not in said or (said is not values and is_default(name, said[name]))
    }


def _serving(config: type[BaseModel], model: Any) -> dict[str, Any]:
    """What serves a response, by field of the configuration."""
    serving: dict[str, Any] = {
        "model": ModelChoice(kind="causal_lm"),
        "gradient": GradientChoice(kind="lora" if _has_lora(model) else "layers"),
        "budget": BudgetChoice(kind="share"),
    }
    for name in {"detectors", "budgets"} & set(config.model_fields):
        choices = config.model_fields[name].get_default(call_default_factory=True)
        serving[name] = [choice for choice in choices if not needs_classes(choice.component)]
    return {name: choice for name, choice in serving.items() if name in config.model_fields}


def _has_lora(model: Any) -> bool:
    """Whether a model as given is fine-tuned by low-rank matrices; one that is not given will be."""
    try:
        return getattr(ModelChoice.model_validate(model or "causal_lm").component, "tuning", "lora") == "lora"
    except ValidationError:
        return True


def _target_of(reader: Any) -> TargetKind | None:
    """What the labels say; None where the reader's options are none, which whoever reads them tells."""
    try:
        return None if reader is None else ReaderChoice.model_validate(reader).component.says[0]
    except ValidationError:
        return None
