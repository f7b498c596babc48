"""A pretrained encoder of pictures or texts, and a head on what it makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from tasks.core.errors import BadModel
from tasks.dataset.encoders.frozen import FrozenEncoder
from tasks.dataset.encoders.frozen_pictures import Normalisation, OwnPictures, PretrainedPictures
from tasks.dataset.encoders.frozen_texts import PretrainedTexts
from tasks.dataset.payload import Payload
from tasks.training.models import Model, Scale

if TYPE_CHECKING:
    from torch import nn


OWN_ENCODER = "encoder (your own)"
"""What a summary calls a network on an encoder that a factory returns."""


class Encoder(Model, kind="encoder"):
    """An encoder that others trained, of pictures or of texts, and an ``nn.Linear`` head.

    Frozen, it makes one vector of each sample, once in the lake's life; networks are then heads on these vectors.
    """

    weights: str | None = Field(
        default=None,
        description="Folder written by save_pretrained (of transformers, timm or sentence-transformers), an installed "
        "package that carries one, or a name on the Hugging Face hub; safetensors alone are read.",
    )
    encoder_factory: str | None = Field(
        default=None,
        description="package.module:function that returns a frozen network of your own, n × 3 × size × size → n × d.",
    )
    tuning: Literal["frozen", "lora", "full"] = Field(
        default="frozen",
        description="frozen: the head alone is trained, on vectors that are computed once. lora: low-rank changes "
        "beside the chosen layers, and the head. full: everything.",
    )
    size: int | None = Field(
        default=None, ge=16, description="Side of the pictures it is given; default: the processor's own, or 224."
    )
    normalisation: Normalisation = Field(
        default="imagenet",
        description="Of the pictures an encoder-factory's network is given (other encoders bring a processor): by "
        "ImageNet's mean and deviation, from −1 to 1 (symmetric) or from 0 to 1 (none).",
    )
    lora_rank: int = Field(default=8, ge=1, description="Rank of LoRA's changes.")
    lora_targets: list[str] = Field(
        default=["query", "value", "q_proj", "v_proj"],
        min_length=1,
        description="Layers they stand beside, by the end of their names.",
    )

    @model_validator(mode="after")
    def _one_encoder(self) -> Self:
        if (self.weights is None) == (self.encoder_factory is None):
            raise ValueError("expected one of weights (a folder, a package, a hub name) and encoder_factory")
        if self.tuning != "frozen" and self.weights is None:
            raise ValueError(f"tuning {self.tuning}: expected weights; a network of your own is --model.kind custom")
        if self.encoder_factory is not None and not all(self.encoder_factory.partition(":")):
            raise ValueError("encoder_factory: expected package.module:function, for example mypackage.nets:features")
        return self

    @property
    def own_code(self) -> str | None:
        """The factory, where there is one."""
        return self.encoder_factory

    @property
    def is_frozen(self) -> bool:
        """Whether networks receive the encoder's vectors in place of the inputs."""
        return self.tuning == "frozen"

    def frozen_encoder(self, payload: Payload) -> FrozenEncoder:
        """The encoder as it is before anything is trained."""
        if self.encoder_factory is not None:
            return OwnPictures(factory=self.encoder_factory, size=self.size, normalisation=self.normalisation)
        if payload.tokens is not None:
            return PretrainedTexts(weights=str(self.weights))
        return PretrainedPictures(weights=str(self.weights), size=self.size)

    def fingerprint(self) -> str:
        """The weights."""
        return self.weights_digest()

    def weights_digest(self) -> str:
        """Of the encoder."""
        from tasks.dataset.encoders.pretrained_network import digest_of_weights
        from tasks.dataset.own_network import weights_digest

        return digest_of_weights(self.weights) if self.weights else weights_digest(str(self.encoder_factory))

    def name_for(self, payload: Payload) -> str:
        """Whether the encoder is one's own: what it was trained on nobody else can know."""
        return OWN_ENCODER if self.encoder_factory else "encoder"

    def scale(self, payload: Payload) -> Scale:
        """Vectors by the data; pictures by the processor, which is part of the network."""
        return "data" if payload.kind == "features" else "none"

    def build(self, payload: Payload, classes: int) -> nn.Module:
        """The head; where the encoder is trained too, both.

        Raises:
            BadModel: a text encoder is to be trained, or the inputs are no pictures.
        """
        if payload.kind == "features":
            from tasks.training.feature_head import FeatureHead

            return FeatureHead(payload.shape[0], classes)
        if not payload.is_image:
            raise BadModel(
                where=f"model encoder, tuning {self.tuning}",
                expected="pictures",
                got=f"inputs of shape {' × '.join(map(str, payload.shape))}",
                do="Text is fine-tuned by --model.kind transformer; or leave --model.tuning frozen.",
            )
        from tasks.training.picture_encoder import tuned_encoder

        lora = (self.lora_rank, self.lora_targets) if self.tuning == "lora" else None
        return tuned_encoder(str(self.weights), self.size, lora, classes)
