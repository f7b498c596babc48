"""Models: each builds one network. To add one, add a file here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from tasks.core.errors import BadModel
from tasks.core.foreign_code import objection
from tasks.core.plugins import Choice, Component, Registry
from tasks.dataset.payload import Payload

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tasks.dataset.encoders.frozen import FrozenEncoder


Scale = Literal["data", "imagenet", "none"]
"""Of a network's inputs: mean 0 and deviation 1 among its training samples, pixels as ImageNet's, or as they are."""


class Model(Component):
    """Base of all models."""

    kind: Any = None
    reads_tokens: ClassVar[bool] = False
    """Whether it takes token ids; one that does not is given standardised counts of tokens instead."""
    answers: ClassVar[bool] = False
    """Whether its one output is how likely it thinks a response, and so nothing it can be trained on but those."""

    def build(self, payload: Payload, classes: int) -> nn.Module:
        """A freshly initialised network from n × payload.shape standardised floats to n × classes logits.

        Of a payload of tokens a model that reads them gets n × payload.shape int64 ids.

        Raises:
            BadModel: the model cannot take such inputs.
        """
        raise TypeError(f"{type(self).__name__} must define build()")

    def scale(self, payload: Payload) -> Scale:
        """How inputs that measure something are scaled before the network receives them."""
        return "data"

    @property
    def own_code(self) -> str | None:
        """The factory of somebody's own that it imports; None of most."""
        return None

    @property
    def is_frozen(self) -> bool:
        """Whether networks receive the vectors of its frozen encoder in place of the inputs."""
        return False

    def frozen_encoder(self, payload: Payload) -> FrozenEncoder | None:
        """What others trained, and what samples are compared by; None of a network that is trained from scratch."""
        return None

    def name_for(self, payload: Payload) -> str:
        """What the network is called in a summary."""
        return str(self.kind)

    def weights_digest(self) -> str:
        """Of the weights that others trained, whatever their place; empty without any."""
        return ""

    def begins_trained(self, payload: Payload, classes: int) -> bool:
        """Whether what is trained begins with weights that others trained, perhaps on these very samples."""
        return False

    def largest(self, example: torch.Tensor) -> torch.Tensor:
        """Inputs of the same shape of which the network makes as much as of any, to count memory by."""
        return example


MODELS: Registry[Model] = Registry(__name__, Model)


class ModelChoice(Choice[Model], registry=MODELS):
    """The network that is trained and whose gradients are taken."""

    kind: str = Field(default="auto", description="Architecture.")

    @model_validator(mode="after")
    def _own_code_may_run(self) -> ModelChoice:
        """It is refused here, before anything is imported (tasks/core/foreign_code.py)."""
        if problem := objection(self.component.own_code):
            raise ValueError(problem)
        return self


def need_images(payload: Payload, model: str) -> int:
    """Channels of an image payload.

    Raises:
        BadModel: the inputs are no images.
    """
    if not payload.is_image:
        raise BadModel(
            where=f"model {model}",
            expected="images (channels, height, width)",
            got=f"inputs of shape {' × '.join(map(str, payload.shape))}",
            do="Give the reader's shape option, or choose logistic or mlp.",
        )
    return payload.shape[0]
