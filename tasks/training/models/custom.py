"""The user's own network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator

from tasks.core.errors import BadModel
from tasks.dataset.own_network import network_from
from tasks.dataset.payload import Payload
from tasks.pipeline.cache_keys import code_digest
from tasks.pipeline.durable_files import sha256_of
from tasks.training.models import Model, Scale

if TYPE_CHECKING:
    from torch import nn


class Custom(Model, kind="custom"):
    """A factory of yours, called as ``factory(shape, classes, **arguments)``, that returns a torch module.

    ``shape`` is one input's shape as a tuple, without the batch; text arrives as int64 token ids. The module returns
    logits (a tensor, the first of a tuple, or what a dict or an output class calls ``logits``), the output of an
    ``nn.Linear``. Its source, and what it imports within its own package, is part of the cache key.
    """

    reads_tokens: ClassVar[bool] = True
    factory: str = Field(description="package.module:factory; importable, or in the working directory.")
    arguments: dict[str, Any] = Field(default_factory=dict, description="Keyword arguments for the factory.")
    checkpoint: Path | None = Field(
        default=None,
        description="Weights that you have trained: a .safetensors file, or a state dict saved by torch.save. Networks "
        "begin with them.",
    )
    head: Literal["auto", "new", "kept"] = Field(
        default="auto",
        description="Whether the last Linear is drawn anew: trained weights have seen every label, the wrong ones too. "
        "auto: with a checkpoint.",
    )
    normalisation: Literal["data", "none", "imagenet"] = Field(
        default="data",
        description="Of the inputs. data: mean 0 and deviation 1 among the training samples. none: as they are, pixels "
        "from 0 to 255. imagenet: pixels from 0 to 1, by ImageNet's mean and deviation.",
    )

    @field_validator("factory")
    @classmethod
    def _names_module_and_function(cls, value: str) -> str:
        module, _, name = value.partition(":")
        if not module or not name:
            raise ValueError("expected package.module:factory, for example mypackage.nets:small")
        return value

    @property
    def own_code(self) -> str:
        """The factory."""
        return self.factory

    def scale(self, payload: Payload) -> Scale:
        """As told."""
        return self.normalisation

    def build(self, payload: Payload, classes: int) -> nn.Module:
        """Import the factory and call it; then the checkpoint's weights, and a new head where one is wanted."""
        from tasks.training.given_weights import load_weights, renew_head
        from tasks.training.modules import Logits, returns_tensor

        network = self._made(payload, classes)
        if self.checkpoint is not None:
            load_weights(network, _existing(self.checkpoint))
        example = payload.blank(2)
        is_renewed = self.head == "new" or (self.head == "auto" and self.checkpoint is not None)
        if is_renewed and not renew_head(network, example):
            raise BadModel(
                where=f"model custom, factory {self.factory}, head {self.head}",
                expected="a network whose logits are the output of an nn.Linear",
                got="one whose logits are something else",
                do="Set --model.head kept, or let the network end in an nn.Linear.",
            )
        return network if returns_tensor(network, example) else Logits(network)

    def begins_trained(self, payload: Payload, classes: int) -> bool:
        """Whether networks begin with weights that were trained: a checkpoint's, or what the factory itself loads."""
        import torch

        from tasks.training.given_weights import are_given

        if self.checkpoint is not None:
            return True
        with torch.random.fork_rng(devices=[]):
            networks = []
            for seed in (0, 1):
                torch.manual_seed(seed)
                networks.append(self._made(payload, classes))
        return are_given(*networks)

    def _made(self, payload: Payload, classes: int) -> nn.Module:
        return network_from(
            f"model custom, factory {self.factory}",
            self.factory,
            f"a network for inputs {payload.shape} and {classes} classes, of factory(shape, classes, **arguments)",
            (payload.shape, classes),
            self.arguments,
        )

    def fingerprint(self) -> str:
        """The factory's code, and the checkpoint."""
        return code_digest([self.factory.partition(":")[0]]) + self.weights_digest()

    def weights_digest(self) -> str:
        """Of the checkpoint."""
        path = self.checkpoint.expanduser() if self.checkpoint else None
        return sha256_of(path) if path and path.is_file() else ""


def _existing(path: Path) -> Path:
    path = path.expanduser()
    if not path.is_file():
        raise BadModel(
            where="model custom, --model.checkpoint",
            expected="a file of weights",
            got=f"{path}, which is none",
            do="Check the path; relative paths are taken from the working directory.",
        )
    return path
