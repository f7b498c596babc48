"""The user's own network."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator

from tasks.core.errors import BadModel
from tasks.dataset.payload import Payload
from tasks.pipeline.cache_keys import code_digest
from tasks.training.models import Model

if TYPE_CHECKING:
    from torch import nn


class Custom(Model, kind="custom"):
    """A factory of yours, called as ``factory(shape, classes, **arguments)``, that returns a torch module.

    ``shape`` is one input's shape as a tuple, without the batch; text arrives as int64 token ids. The module must end
    in an ``nn.Linear``: its output is that layer's output. Its source, and what it imports within its own package, is
    part of the cache key.
    """

    reads_tokens: ClassVar[bool] = True
    factory: str = Field(description="package.module:factory; importable, or in the working directory.")
    arguments: dict[str, Any] = Field(default_factory=dict, description="Keyword arguments for the factory.")

    @field_validator("factory")
    @classmethod
    def _names_module_and_function(cls, value: str) -> str:
        module, _, name = value.partition(":")
        if not module or not name:
            raise ValueError("expected package.module:factory, for example mypackage.nets:small")
        return value

    def build(self, payload: Payload, classes: int) -> nn.Module:
        """Import the factory and call it."""
        from torch import nn

        module_name, _, name = self.factory.partition(":")
        try:
            factory = getattr(importlib.import_module(module_name), name)
        except Exception as error:  # it is the user's code: whatever it raises is about it
            raise BadModel(
                where=f"model custom, factory {self.factory}",
                expected="an importable function",
                got=f"{type(error).__name__}: {error}",
                do="Install its package, or run from the folder that holds the module, and import it there yourself.",
            ) from error
        try:
            network = factory(payload.shape, classes, **self.arguments)
        except Exception as error:
            raise BadModel(
                where=f"model custom, factory {self.factory}",
                expected=f"a network for inputs {payload.shape} and {classes} classes",
                got=f"{type(error).__name__}: {error}",
                do="The factory is called as factory(shape, classes, **arguments); call it so yourself to see more.",
            ) from error
        if not isinstance(network, nn.Module):
            raise BadModel(
                where=f"model custom, factory {self.factory}",
                expected="a torch.nn.Module",
                got=type(network).__name__,
                do="Return the network itself from the factory.",
            )
        return network

    def fingerprint(self) -> str:
        """The factory's code."""
        return code_digest([self.factory.partition(":")[0]])
