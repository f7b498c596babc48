"""The configuration of each flow, composed of the rooms' own. Only flows import it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from pydantic import Field, field_validator, model_validator

from tasks.core.form import Form
from tasks.core.runner import Runner
from tasks.dataset.targets import kind_of
from tasks.decision.budget_search import BudgetSearch
from tasks.decision.budgets import Budget, BudgetChoice
from tasks.decision.flagging import Flagging
from tasks.decision.review_sheet import Review
from tasks.decision.serving import unfit_names, with_serving_defaults
from tasks.gradients.kinds import GradientChoice
from tasks.ingestion.copies import Copies
from tasks.ingestion.opinions import OpinionFiles
from tasks.ingestion.readers import ReaderChoice
from tasks.ingestion.two_passes import Ingestion
from tasks.pipeline.artefacts import MEMORY_GIB
from tasks.planning.canaries import Canaries
from tasks.planning.neighbours import Neighbours
from tasks.proof.arms import Verification
from tasks.scoring.detectors import DETECTORS, Detector, DetectorChoice
from tasks.training.drift_policy import DriftPolicy
from tasks.training.models import ModelChoice
from tasks.training.recipe import Recipe, Training
from tasks.versions.promotion import Promotion
from tasks.versions.store import Store

# What is compared unless told otherwise, as far as it is there: all that serve every model, and in seconds.
_DEFAULT_DETECTORS = (
    "fusion", "label_flow", "margin", "aum", "mean_loss", "neighbours", "self_confidence", "normalized_margin",
    "confidence_weighted_entropy", "l2", "l1", "iforest", "gradient_tracing", "datainf", "lissa", "self_lissa",
    "dawid_skene", "sei", "random",
)  # fmt: skip
_NAME = "[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"


class EvidenceConfig(Form):
    """What every flow that scores samples is told: which data, which networks, which evidence, which detectors."""

    first: ClassVar[tuple[str, ...]] = ("dataset", "reader", "model", "lake")

    dataset: str | None = Field(
        default=None,
        description="Name of the dataset; what is found is filed under it. Default: the source's own name.",
        # For the form, which knows no validators.
        json_schema_extra={"pattern": f"^{_NAME}$"},
    )
    lake: Path = Field(default=Path("data"), description="Folder that holds runs, versions and the catalogue.")
    reader: ReaderChoice = Field(default=ReaderChoice(), description="Where the samples come from.")
    ingestion: Ingestion = Field(default=Ingestion(), description="How samples are checked and laid out.")
    copies: Copies = Field(default=Copies(), description="What becomes of samples with equal inputs.")
    neighbours: Neighbours = Field(
        default=Neighbours(), description="Whose labels are asked when a sample's own is doubted."
    )
    canaries: Canaries = Field(
        default=Canaries(), description="Labels flipped on purpose, so that it is known how suspect a wrong one looks."
    )
    folds: int = Field(default=5, ge=1, le=100, description="Cross-fitting folds; 1 takes gradients in-sample.")
    model: ModelChoice = Field(default=ModelChoice(), description="The network that is trained.")
    training: Training = Field(default=Training(), description="How networks are trained.")
    gradient: GradientChoice = Field(default=GradientChoice(), description="Which gradients are taken.")
    detectors: list[DetectorChoice] = Field(
        default=[DetectorChoice()], min_length=1, description="Detectors that score every sample."
    )
    opinions: OpinionFiles = Field(
        default=[],
        description="Files of class probabilities by sample_id or source_id, from any other model (a zero-shot "
        "classifier, an LLM judge): paths, or mappings of path, name, id and columns. Each is one more signal.",
    )
    runner: Runner = Field(default=Runner(), description="Where the tasks of a stage run.")
    memory_gib: float = Field(
        default=MEMORY_GIB,
        gt=0,
        description="Refuse a matrix of gradients that takes more memory; inputs of a split that do are read from a "
        "mapped file, as are outputs, probabilities and votes of more than an eighth of it; a batch of samples and the "
        "query that flags take an eighth each, on a CUDA device a batch a quarter of the device's.",
    )

    @model_validator(mode="before")
    @classmethod
    def _defaults_serve_the_target(cls, value: Any) -> Any:
        """A target alone is enough."""
        return with_serving_defaults(value, cls, cls._is_default)

    @field_validator("dataset")
    @classmethod
    def _is_a_folder_name(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(_NAME, value):
            raise ValueError("expected letters, digits, '_', '-' and '.', at most 64, beginning with a letter or digit")
        return value

    @model_validator(mode="after")
    def _names_are_told_apart(self) -> EvidenceConfig:
        """A duplicate is refused here and not after hours of training."""
        for field, names in (("detectors", self.names), ("budgets", self.budget_names)):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{field}: {twice[0]} stands there twice; each goes by its name")
        return self

    @model_validator(mode="after")
    def _labels_are_judged(self) -> EvidenceConfig:
        """A response has no class probabilities, so no detector or budget may need them."""
        if not kind_of(self.reader.component.says[0]).has_class_probabilities:
            unfit = unfit_names(self.detector_components, self.budget_components)
            if unfit:
                raise ValueError(
                    f"{unfit[0]} goes by the classes there are, of which target response has none: name detectors that "
                    "see gradients or training alone (iforest, l2, mean_loss, lissa …), and budget mixture or share"
                )
        return self

    @model_validator(mode="after")
    def _the_target_can_be_learned(self) -> EvidenceConfig:
        kind = self.reader.component.says[0]
        if self.model.component.answers != (kind == "response"):
            needs = "model causal_lm" if kind == "response" else "another model, or target response"
            raise ValueError(f"target {kind} with model {self.model.component.kind}: expected {needs}")
        if self.training.label_smoothing and not kind_of(kind).smoothed:
            raise ValueError(f"training.label_smoothing: of target {kind} nothing can be smoothed; expected 0")
        return self

    @model_validator(mode="after")
    def _opinions_are_there(self) -> EvidenceConfig:
        kind = self.reader.component.says[0]
        if self.opinions and kind != "class":
            raise ValueError(f"opinions: expected target class, got {kind}, which has no classes to have opinions of")
        if not self.opinions and any("opinions" in component.sees for component in self.detector_components):
            raise ValueError("detector opinion: expected opinions from outside, got none; name files by --opinions")
        return self

    @model_validator(mode="after")
    def _canaries_are_there(self) -> EvidenceConfig:
        """What learns from canaries needs them, and networks that have not seen the sample they are asked about."""
        learners = [f"detector {one.name}" for one in self.detector_components if "canaries" in one.sees]
        learners += [f"budget {budget.name}" for budget in self.budget_components if budget.needs_canaries]
        if learners and not self.effective_canaries.share:
            raise ValueError(
                f"{learners[0]} learns from canaries: expected canaries.share above 0 and folds of 2 or more, got "
                f"{self.canaries.share:g} and {self.folds}; or name other detectors and another budget, for example "
                "detectors l2 and budget share"
            )
        return self

    @property
    def recipe(self) -> Recipe:
        """What every network of the run is and how it is trained."""
        return Recipe(model=self.model.component, training=self.training)

    @property
    def splits(self) -> tuple[str, ...]:
        """Those that must not be empty."""
        return ("train",)

    @property
    def detector_components(self) -> list[Detector]:
        """The detectors."""
        return [choice.component for choice in self.detectors]

    @property
    def names(self) -> list[str]:
        """Their names."""
        return [component.name for component in self.detector_components]

    @property
    def budget_components(self) -> list[Budget]:
        """The budgets."""
        return []

    @property
    def budget_names(self) -> list[str]:
        """The budgets' names."""
        return [budget.name for budget in self.budget_components]

    @property
    def effective_canaries(self) -> Canaries:
        """The canaries of this run: none where every network has seen every sample, or where there are no classes."""
        if self.folds > 1 and kind_of(self.reader.component.says[0]).has_class_probabilities:
            return self.canaries
        return self.canaries.model_copy(update={"share": 0.0})

    @property
    def name(self) -> str:
        """The dataset's name, or one derived from its source."""
        if self.dataset is not None:
            return self.dataset
        options = self.reader.options
        source = options.get("path") or options.get("images") or self.reader.kind
        stem = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(str(source)).name.partition(".")[0]).strip("-_")
        return stem[:64] or self.reader.kind


class CleanConfig(EvidenceConfig):
    """Find the training samples that hurt a model, prove it by retraining, publish the dataset without them."""

    first: ClassVar[tuple[str, ...]] = ("dataset", "reader", "model", "budget", "review", "lake")

    detectors: list[DetectorChoice] = Field(
        default=[DetectorChoice(kind=kind) for kind in ("fusion", "l2", "iforest", "self_confidence")],
        min_length=1,
        description="Detectors that score every sample; the first decides, unless flagging names another.",
    )
    base: str | None = Field(
        default=None,
        description="A recorded run's id, or latest: its folds, models and gradients are taken over, and only new "
        "samples are worked on. auto: the latest that was no trial, unless its networks are too old, it drifted, or "
        "the samples have changed in kind. Default: none; what is unchanged is reused all the same.",
    )
    drift: DriftPolicy = Field(default=DriftPolicy(), description="What is a drift, and when base auto trains anew.")
    budget: BudgetChoice = Field(default=BudgetChoice(), description="How many samples are flagged.")
    search: BudgetSearch = Field(default=BudgetSearch(), description="Other budgets to try on a validation split.")
    flagging: Flagging = Field(default=Flagging(), description="How scores become flags.")
    verification: Verification = Field(default=Verification(), description="How the cleaning is put to the test.")
    review: Review = Field(default=Review(), description="Whether a person looks at what is flagged.")
    store: Store = None
    promotion: Promotion = "auto"

    @model_validator(mode="after")
    def _the_decider_is_there(self) -> CleanConfig:
        if self.flagging.detector is not None and self.flagging.detector not in self.names:
            raise ValueError(
                f"flagging.detector: expected one of {', '.join(self.names)}, got {self.flagging.detector}"
            )
        return self

    @property
    def splits(self) -> tuple[str, ...]:
        """Those that must not be empty, of the proof and the search as well."""
        return tuple(dict.fromkeys(("train", "test", *self.search.splits)))

    @property
    def budget_components(self) -> list[Budget]:
        """The budget, and those that are tried beside it."""
        return [self.budget.component, *(choice.component for choice in self.search.budgets)]


class Repetition(NamedTuple):
    """What differs between the repetitions of a comparison."""

    recipe: Recipe
    canaries: Canaries


class CompareConfig(EvidenceConfig):
    """Detectors and budgets against labels that are known to be wrong: one table and one plot.

    Every detector scores the same held-out evidence, every budget counts by every detector's scores; networks and
    canaries are drawn anew for each repetition.
    """

    first: ClassVar[tuple[str, ...]] = ("dataset", "reader", "model", "seeds", "lake")

    detectors: list[DetectorChoice] = Field(
        default=[DetectorChoice(kind=kind) for kind in _DEFAULT_DETECTORS if kind in DETECTORS.components],
        min_length=1,
        description="Detectors that are compared.",
    )
    budgets: list[BudgetChoice] = Field(
        default=[
            BudgetChoice(kind="canary"),
            BudgetChoice(kind="canary", options={"precision": 0.9}),
            BudgetChoice(kind="disagreement"),
            BudgetChoice(kind="mixture"),
            BudgetChoice(kind="share", options={"share": 0.1}),
        ],
        description="Budgets that are compared, each on the scores of each detector.",
    )
    seeds: int = Field(
        default=3,
        ge=1,
        le=1000,
        description="Repetitions: the i-th trains with seed training.seed + 1000 i and plants with canaries.seed + i. "
        "Folds and the labels themselves, noise included, stay.",
    )

    @property
    def budget_components(self) -> list[Budget]:
        """The budgets."""
        return [choice.component for choice in self.budgets]

    @property
    def repetitions(self) -> list[Repetition]:
        """The first is what ``clean`` does by the same options."""
        return [
            Repetition(
                Recipe(
                    model=self.model.component,
                    training=self.training.model_copy(update={"seed": self.training.seed + 1000 * i}),
                ),
                self.effective_canaries.model_copy(update={"seed": self.effective_canaries.seed + i}),
            )
            for i in range(self.seeds)
        ]
