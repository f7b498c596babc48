"""How networks are made and trained: the one recipe of folds, arms and experiments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator, model_validator

from tasks.core.devices import Device
from tasks.core.plugins import Component
from tasks.dataset.targets import Target
from tasks.pipeline.artefacts import Bundle
from tasks.training.models import Model

if TYPE_CHECKING:
    from tasks.kernels.losses import Loss


class Training(Component):
    """How networks are trained. The last epoch is the one that counts; no split chooses another."""

    epochs: int = Field(default=60, ge=1, description="Passes over the training samples.")
    batch_size: int = Field(default=64, ge=1, description="Samples per optimisation step.")
    optimizer: Literal["adamw", "sgd"] = Field(default="adamw", description="AdamW, or SGD with momentum.")
    lr: float | None = Field(default=None, gt=0, description="Peak learning rate; default 3e-3 for adamw, 0.1 for sgd.")
    schedule: Literal["one_cycle", "step"] = Field(
        default="one_cycle",
        description="one_cycle rises to lr and falls to nothing; step is lr, and a tenth after 60 %.",
    )
    momentum: float = Field(default=0.9, ge=0, lt=1, description="Momentum of sgd.")
    nesterov: bool = Field(default=True, description="Nesterov's momentum; without, the classical one.")
    weight_decay: float = Field(default=5e-4, ge=0, description="Weight decay.")
    decay: Literal["all", "weights"] = Field(
        default="all", description="What weight decay is for: weights leaves biases and normalisations out."
    )
    augment: Literal["none", "crop_flip"] = Field(default="none", description="crop_flip: pad, crop, mirror (images).")
    augment_pad: int = Field(default=4, ge=0, description="Pixels that crop_flip pads; short trainings want fewer.")
    loss: Literal["cross_entropy", "binary_cross_entropy", "squared_error", "likelihood"] = Field(
        default="cross_entropy",
        description="What is minimised, and what gradients are taken of; of other targets than classes what fits them "
        "(number: squared_error, labels: binary_cross_entropy, response: likelihood).",
    )
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="Share of each target spread over all classes.")
    checkpoint_epochs: list[int] = Field(
        default=[],
        description="Take gradients from the network as it was after these epochs (1, 2, …; before it memorises noise, "
        "or several, as TracIn does) instead of after the last. 0 is before the first step: the weights a fine-tuning "
        "begins with.",
    )
    precision: Literal["fp32", "bf16"] = Field(default="fp32", description="bf16: autocast while training.")
    compile: bool = Field(default=False, description="torch.compile: slow to start, then faster; above all on a GPU.")
    device: Device = Field(default="auto", description="auto takes CUDA, then MPS, then the CPU.")
    seed: int = Field(default=0, description="Seed of initialisation, order and augmentation.")

    @field_validator("checkpoint_epochs")
    @classmethod
    def _in_order(cls, value: list[int]) -> list[int]:
        if any(epoch < 0 for epoch in value) or len(set(value)) < len(value):
            raise ValueError("expected different epochs from 0 on")
        return sorted(value)

    @model_validator(mode="after")
    def _within_the_training(self) -> Training:
        if self.checkpoint_epochs and self.checkpoint_epochs[-1] > self.epochs:
            raise ValueError(f"checkpoint_epochs: {self.checkpoint_epochs[-1]} is after the last epoch, {self.epochs}")
        return self

    @property
    def kept_epochs(self) -> list[int]:
        """Epochs after which the network gives gradients."""
        return self.checkpoint_epochs or [self.epochs]

    def objective(self, target: Target) -> Loss:
        """The loss by sample: the one asked for, if the target can have it, else its own."""
        from tasks.kernels.losses import Loss

        return Loss(self.loss if self.loss in target.losses else target.losses[0], self.label_smoothing)  # type: ignore[arg-type]

    @property
    def peak_lr(self) -> float:
        """The highest learning rate of the schedule."""
        return self.lr or (3e-3 if self.optimizer == "adamw" else 0.1)


class Recipe(Bundle):
    """What a network is and how it is trained, the same for every fold, arm and experiment of a run."""

    model: Model
    training: Training
